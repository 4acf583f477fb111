//! Streams with transforms, partitions and backups, end to end into a directory; and the commands that look at them.

use crate::rig::service::{Service, variable};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).expect("one gzip stream of text");
    text
}

fn error_records(service: &Service, dir: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for (name, bytes) in service.objects(dir) {
        for line in String::from_utf8_lossy(&bytes).lines() {
            let record: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {e}: {line}"));
            let code = record["errorCode"].as_str().or(record["lastErrorCode"].as_str()).unwrap_or_default().to_owned();
            let raw = base64_simd::STANDARD.decode_to_vec(record["rawData"].as_str().unwrap_or_default()).unwrap();
            assert!(
                record["arrivalTimestamp"].as_u64() > Some(0) && record["attemptsMade"].as_u64() > Some(0),
                "{line}"
            );
            found.push((code, raw));
        }
    }
    found.sort();
    found
}

#[test]
fn the_mask_blueprint_keeps_drops_and_fails_as_it_says() {
    let mut service = Service::start(&format!(
        r#"  users:
    transform:
      - wasm:
          module: {ROOT}/transforms/blueprints/mask.wasm
          config:
            mask_fields: [email]
            drop_fields: [secret]
            drop_if: {{ level: debug }}
            partition_keys: {{ country: country }}
    compress: gzip
    buffer: {{ size: 1MiB, interval: 1s }}
    destination:
      local: {{ dir: DIR/b, prefix: "users/!{{partitionKeyFromLambda:country}}/", error_prefix: "bad/!{{firehose:error-output-type}}/" }}
    backup: {{ mode: all, buffer: {{ size: 1MiB, interval: 1s }}, local: {{ dir: DIR/b, prefix: "raw/" }} }}
"#
    ));
    let records: [&[u8]; 6] = [
        br#"{"email":"ann@example.com","country":"NO","secret":1}"#,
        br#"{"email":"bob@example.com","country":"SE"}"#,
        br#"{"email":"eve@example.com","country":"NO","level":"debug"}"#,
        br#"{"email":"no-country@example.com"}"#,
        b"not json at all",
        br#"{"email":"../up@example.com","country":"../../etc"}"#,
    ];
    assert_eq!(service.put("users", &records), 200);
    service.settled(6);
    let status = service.status("users");
    let count = |outlet: &str| status.outlets[outlet].records;
    assert_eq!((count("destination"), count("dropped"), count("processing-failed"), count("backup")), (2, 1, 3, 6));
    let delivered = service.objects("b/users");
    assert_eq!(delivered.len(), 2, "a country an object: {delivered:?}");
    let norway = delivered.iter().find(|(name, _)| name.contains("/NO/")).expect("an object of Norway");
    assert_eq!(gunzip(&norway.1), "{\"email\":\"a***@example.com\",\"country\":\"NO\"}\n");
    let failed = error_records(&service, "b/bad/processing-failed");
    assert_eq!(failed.iter().map(|(_, raw)| raw.as_slice()).filter(|raw| records[3..].contains(raw)).count(), 3);
    assert!(failed.iter().any(|(code, _)| code == "Transform.InvalidPartitionKey"), "{failed:?}");
    let raw: Vec<u8> = service.objects("b/raw").into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(raw, records.concat(), "the backup holds the source bytes, untouched");
    assert_eq!(service.terminate(), Some(0));
    let (code, text) = service.command(&["audit", "--deep"]);
    assert!(code == 0 && text.contains("gap 0"), "{text}");
}

fn fault(name: &str) -> Vec<u8> {
    wat::parse_file(format!("{ROOT}/transforms/faults/{name}.wat")).expect("a component in text")
}

#[test]
fn a_trapping_record_of_500_costs_only_itself_and_a_replaced_module_is_a_new_epoch() {
    let stream = r#"  s:
    transform: [ { wasm: { module: DIR/module.wasm } } ]
    format: lines
    buffer: { size: 1MiB, interval: 1s }
    destination: { local: { dir: DIR/b, prefix: "ok/", error_prefix: "bad/!{firehose:error-output-type}/" } }
"#;
    let mut service = Service::start("  first:\n    destination: { local: { dir: DIR/none } }\n");
    let module = service.dir.path().join("module.wasm");
    std::fs::write(&module, fault("misbehave")).unwrap();
    service.configure("", stream);
    assert_eq!(service.terminate(), Some(0));
    service.restart();
    let lines: Vec<String> = (0..500).map(|i| if i == 137 { "Poison".into() } else { format!("record-{i}") }).collect();
    let records: Vec<&[u8]> = lines.iter().map(|l| l.as_bytes()).collect();
    assert_eq!(service.put("s", &records), 200);
    service.until("500 are settled", |s| s.status("s").accepted == 500 && s.status("s").pending == 0);
    assert_eq!(service.status("s").outlets["destination"].records, 499);
    assert_eq!(error_records(&service, "b/bad"), [("Transform.Trap".to_owned(), b"Poison".to_vec())]);
    assert_eq!(service.status("s").epoch, 1);
    std::fs::write(&module, fault("v2")).unwrap();
    service.until("the new module is a new epoch", |s| s.status("s").epoch == 2);
    assert_eq!(service.put("s", &[b"later".as_slice()]), 200);
    service.until("one more", |s| s.status("s").outlets["destination"].records == 500);
    let objects = service.objects("b/ok");
    assert!(objects.iter().any(|(name, bytes)| name.contains("s-2-") && bytes == b"2later\n"), "{objects:?}");
    std::fs::write(&module, b"not a module").unwrap();
    service.until("the log says why the module is refused", |s| s.log().contains("keeps its old configuration"));
    assert_eq!(service.put("s", &[b"still".as_slice()]), 200);
    service.until("the old module goes on", |s| s.status("s").outlets["destination"].records == 501);
}

#[test]
fn records_that_do_not_convert_fail_alone_and_parquet_holds_the_rest() {
    let mut service = Service::start(
        "  p:\n    format: { parquet: { schema: DIR/schema.yaml } }\n    buffer: { size: 1MiB, interval: 1s }\n    \
         destination: { local: { dir: DIR/b, prefix: \"rows/\" } }\n"
            .replace("DIR/schema.yaml", &format!("{ROOT}/config/clicks-schema.yaml"))
            .as_str(),
    );
    let records: [&[u8]; 4] = [b"{}", b"[1,2]", b"{\"half\":", b" {} "];
    assert_eq!(service.put("p", &records), 200);
    service.settled(4);
    assert_eq!(service.status("p").outlets["destination"].records, 2);
    let failed = error_records(&service, "b/rows/format-conversion-failed");
    assert_eq!(failed.iter().map(|(_, raw)| raw.as_slice()).collect::<Vec<_>>(), [records[1], records[2]]);
    let rows = service.objects("b/rows").into_iter().filter(|(name, _)| name.ends_with(".parquet")).count();
    assert_eq!(rows, 1);
}

#[test]
fn check_prints_the_place_and_the_sentence_of_every_bad_file() {
    let mut files: Vec<_> = std::fs::read_dir(format!("{ROOT}/tests/data/bad_config"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() > 20);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let output = Command::new(variable("HYDRANT_TEST_BIN")).arg("check").arg(&file).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("# expect: ")).collect();
        assert!(!expected.is_empty(), "{} names no expectation", file.display());
        assert_eq!(output.status.code(), Some(1), "{}: {printed}", file.display());
        for line in expected {
            assert!(printed.contains(line), "{}: found\n{printed}expected\n{line}", file.display());
        }
    }
}

#[test]
fn the_demo_delivers_and_ends_by_itself() {
    let output = Command::new(variable("HYDRANT_TEST_BIN")).arg("demo").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(".parquet") && text.contains(".gz") && text.matches("gap 0").count() == 2, "{text}");
}

#[test]
fn lines_of_a_file_are_put_by_the_command() {
    let mut service = Service::start(
        "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: DIR/b } }\n",
    );
    let file = service.dir.path().join("lines");
    std::fs::write(&file, (0..1234).map(|i| format!("line {i}\n")).collect::<String>()).unwrap();
    let output =
        Command::new(variable("HYDRANT_TEST_BIN")).arg("put").arg(service.config()).arg("s").arg(&file).output();
    let output = output.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1234 records acknowledged\n");
    service.settled(1234);
    let all: Vec<u8> = service.objects("b").into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(all, std::fs::read(&file).unwrap());
    let (code, text) = service.command(&["status"]);
    assert!(code == 0 && text.contains("accepted 1234 = delivered 1234"), "{text}");
}

#[test]
fn what_a_transform_counts_is_among_the_metrics() {
    let wat = std::fs::read_to_string(format!("{ROOT}/transforms/faults/chatty.wat")).unwrap();
    let module = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(module.path(), wat::parse_str(&wat).unwrap()).unwrap();
    let mut service = Service::start(&format!(
        "  s:\n    transform: [{{ wasm: {{ module: {} }} }}]\n    buffer: {{ size: 1MiB, interval: 1s }}\n    destination: \
         {{ local: {{ dir: DIR/b }} }}\n",
        module.path().display()
    ));
    assert_eq!(service.put("s", &[b"x".as_slice(); 18]), 200);
    service.settled(18);
    let page = String::from_utf8(service.get("/metrics").unwrap().1).unwrap();
    let expected = "hydrant_transform_metrics{DeliveryStreamName=\"s\",name=\"records\"} 18\n";
    assert!(page.contains(expected), "{page}");
}

#[test]
fn closed_files_of_the_ledger_go_to_the_store_and_audits_find_them_there() {
    let mut service = Service::start(&format!(
        "  s:\n    transform: [{{ wasm: {{ module: {ROOT}/transforms/blueprints/mask.wasm, config: {{ partition_keys: {{ key: \
         key }} }} }} }}]\n    buffer: {{ size: 1MiB, interval: 1s }}\n    destination: {{ local: {{ dir: DIR/b, prefix: \
         \"!{{partitionKeyFromLambda:key}}/\", error_prefix: \"bad/!{{firehose:error-output-type}}/\" }} }}\n"
    ));
    // A line of the ledger has about half a kilobyte, a file of it a mebibyte; a key makes an object, and that a line.
    let records: Vec<String> = (0..500).map(|key| format!("{{\"key\":\"{key}\"}}")).collect();
    let records: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
    let mut objects = 0;
    while !service.dir.path().join("b/_ledger/s").exists() {
        assert!(objects < 10_000, "no file of the ledger was closed");
        assert_eq!(service.put("s", &records), 200);
        objects += 500;
        service.settled(objects);
    }
    service.until("the archived file is deleted here", |s| {
        let dirs = std::fs::read_dir(s.dir.path().join("data/streams")).unwrap();
        let ledgers = dirs.flat_map(|d| std::fs::read_dir(d.unwrap().path().join("ledger")).unwrap());
        let names: Vec<String> = ledgers.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.iter().any(|n| n.ends_with(".archived")) && names.iter().filter(|n| n.ends_with(".jsonl")).count() == 1
    });
    let (code, text) = service.command(&["audit", "--deep", "--json"]);
    let found: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((code, found["objects_checked"].as_u64()), (0, Some(objects)), "{text}");
    let archived = service.objects("b/_ledger/s");
    let last = archived[0].1.split(|b| *b == b'\n').rfind(|l| !l.is_empty()).unwrap();
    let totals: serde_json::Value = serde_json::from_slice(last).unwrap();
    let records = totals["totals"]["outlets"]["destination"]["records"].as_u64().unwrap();
    assert!(records > 1000 && records <= objects, "{totals}");
    let oldest =
        service.objects("b/0").into_iter().min_by_key(|(n, _)| std::fs::metadata(n).unwrap().modified().unwrap());
    std::fs::remove_file(oldest.unwrap().0).unwrap();
    let (code, text) = service.command(&["audit", "--deep"]);
    assert!(code == 1 && text.contains("PROBLEM"), "an object that only an archived line names: {text}");
}

#[test]
fn records_that_are_gzip_make_one_object_that_is_gzip() {
    let mut service = Service::start(
        "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: DIR/b } }\n",
    );
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let (one, two) = (gzip("one\n"), gzip("two\n"));
    assert_eq!(service.put("s", &[&one, &two]), 200);
    service.settled(2);
    let mut text = String::new();
    let (_, object) = service.objects("b").remove(0);
    flate2::read::MultiGzDecoder::new(&*object).read_to_string(&mut text).expect("gzip, and nothing between");
    assert_eq!(text, "one\ntwo\n");
}

/// The modes of what is below a directory, files and folders apart.
fn modes(dir: &std::path::Path, found: &mut [BTreeSet<u32>; 2]) {
    for entry in std::fs::read_dir(dir).expect("it lists") {
        let entry = entry.expect("it lists");
        let metadata = entry.metadata().expect("it is there");
        found[metadata.is_dir() as usize].insert(metadata.permissions().mode() & 0o7777);
        if metadata.is_dir() {
            modes(&entry.path(), found);
        }
    }
}

#[test]
fn what_is_delivered_to_a_directory_obeys_the_umask_and_what_is_held_is_nobody_elses() {
    for (umask, file, folder) in [("022", 0o644, 0o755), ("027", 0o640, 0o750), ("002", 0o664, 0o775)] {
        let mut service = Service::new();
        service.configure(
            "",
            "  s:\n    buffer: { size: 5MiB, interval: 1s }\n    destination: { local: { dir: DIR/out/b, prefix: \"a/b/\" } }\n",
        );
        service.restart_with_umask(umask);
        // A small object is written out of memory, a large one is linked.
        assert_eq!(service.put("s", &[b"small"]), 200);
        service.settled(1);
        let large = vec![b'x'; 1_000_000];
        (0..8).for_each(|_| assert_eq!(service.put("s", &[&large, &large, &large]), 200));
        service.settled(25);
        let mut delivered = [BTreeSet::new(), BTreeSet::new()];
        modes(&service.dir.path().join("out"), &mut delivered);
        assert_eq!(delivered, [[file].into(), [folder].into()], "umask {umask}: {delivered:?}");
        let mut held = [BTreeSet::new(), BTreeSet::new()];
        modes(&service.dir.path().join("data/streams"), &mut held);
        assert_eq!(held, [[0o600].into(), [0o700].into()], "umask {umask}: {held:?}");
    }
}
