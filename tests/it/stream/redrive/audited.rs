//! What `hydrant audit --deep` says of failure objects and the marks of redrives.

use super::{Service, assert_audit, put, records, redrive, stream};
use crate::rig::endpoint::{Answer, Endpoint};

fn audit(service: &Service) -> (i32, String) {
    service.command(&["audit", "--deep"])
}

#[test]
fn each_failed_record_is_in_one_failure_object_or_was_redriven_once() {
    let endpoint = Endpoint::start();
    endpoint.always(Answer::status(500));
    let mut service = Service::start(&stream(&endpoint, "0s"));
    put(&service, &records(0, 5));
    service.settled(5);
    let (object, bytes) = service.objects("failed/errors").remove(0);
    let (code, text) = audit(&service);
    assert!(code == 0 && text.contains("in failure objects 5, of these redriven 0"), "{text}");
    std::fs::remove_file(&object).unwrap();
    let (code, text) = audit(&service);
    assert!(code == 1 && text.contains("not there any more, and 0 of its 5 records were redriven"), "{text}");
    std::fs::write(&object, bytes).unwrap();

    endpoint.always(Answer::Ok);
    let (code, text) = redrive(&service, &[]);
    assert_eq!(code, 0, "{text}");
    service.settled(10);
    let (code, text) = service.command(&["audit", "--deep", "--json"]);
    let found: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((code, &found["failed_in_objects"], &found["redriven"]), (0, &5.into(), &5.into()), "{text}");
    // All of it was redriven: nobody needs it any more.
    std::fs::remove_file(&object).unwrap();
    assert_audit(&service);

    let marks = service.objects("failed/_hydrant/redriven");
    assert_eq!(marks.len(), 1);
    let mark: serde_json::Value = serde_json::from_slice(&marks[0].1).unwrap();
    assert_eq!(mark["lines"], serde_json::json!([[0, 5]]));
    let forged = std::path::Path::new(&marks[0].0).with_file_name("forged.json");
    let forge = |object: &str, lines: [u64; 2]| {
        let forged_mark = serde_json::json!({ "object": object, "lines": [lines], "redriven_ms": 0 });
        std::fs::write(&forged, forged_mark.to_string()).unwrap();
        let (code, text) = audit(&service);
        assert_eq!(code, 1, "{text}");
        text
    };
    let object = mark["object"].as_str().unwrap();
    let text = forge(object, [3, 1]);
    assert!(text.contains("PROBLEM") && text.contains("two marks say of line 4 that it was redriven"), "{text}");
    let text = forge(object, [5, 1]);
    assert!(text.contains("a mark says of line 6 that it was redriven, and it holds 5"), "{text}");
    let text = forge("from-aws/1", [0, 3]);
    assert!(text.contains("marks say it was redriven, and it is neither there nor in the ledger"), "{text}");
    // An object that the ledger does not name is counted where it is.
    let other = service.dir.path().join("failed/from-aws");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("1"), "1\n2").unwrap();
    let text = forge("from-aws/1", [0, 3]);
    assert!(text.contains("a mark says of line 3 that it was redriven, and it holds 2"), "{text}");
    std::fs::write(other.join("1"), "1\n2\n3").unwrap();
    assert_audit(&service);
}

/// A run dies between its mark and the plan log's note of it, and the next one selects more of the same object.
#[test]
fn no_line_is_in_two_marks_although_a_redrive_died_beside_one() {
    let mut service = Service::start(
        "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 100ms }\n    destination:\n      local: { dir: DIR/out }\n",
    );
    let line = |record: &str, code: &str| {
        let data = base64_simd::STANDARD.encode_to_string(record.as_bytes());
        format!("{{\"errorCode\":\"{code}\",\"rawData\":\"{data}\"}}\n")
    };
    let folder = service.dir.path().join("out/from-aws");
    std::fs::create_dir_all(&folder).unwrap();
    let text = line("a", "Splunk.AckTimeout") + &line("b", "HttpEndpoint.RequestTimeout");
    std::fs::write(folder.join("1"), text).unwrap();
    service.terminate();
    service.restart_to_die(Some(("redrive.marked", 1)));
    let (code, text) = redrive(&service, &["--prefix", "from-aws/", "--code", "Splunk.AckTimeout"]);
    assert_ne!(code, 0, "{text}");
    service.reap();
    service.restart();
    let (code, text) = redrive(&service, &["--prefix", "from-aws/"]);
    assert!(code == 0 && text.contains("1 records put in (1 at `deliver`), 1 were before"), "{text}");
    service.settled(2);
    assert_eq!(service.objects("out/_hydrant/redriven").len(), 2);
    assert_audit(&service);
}
