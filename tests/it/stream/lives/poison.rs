//! A journal whose write fails for good, by a switch of ours: no honest way makes a real disk do that.

use super::clients::{Clients, put_batch};
use super::{audit, delivered, dirs_of, local, put, records, reload};
use crate::rig::service::Service;
use std::io::Write;
use std::process::Command;

/// The next commit of `stream` is written and then fails, as a disk's.
fn fail_next_commit(service: &Service, stream: &str) {
    let dir = dirs_of(service, stream).remove(0);
    std::fs::write(dir.join("journal/journal.poison"), b"").unwrap();
}

#[test]
fn a_stream_whose_journal_failed_opens_again_by_itself_and_nobody_else_notices() {
    let mut service = Service::start(&(local("s", "") + &local("other", "")));
    let (clients, others) = (Clients::start(&service, "s", 4), Clients::start(&service, "other", 1));
    for _ in 0..3 {
        let (taken, failed) = (clients.answers(200), clients.answers(500));
        service.until("records are taken", |_| clients.answers(200) > taken + 20);
        fail_next_commit(&service, "s");
        service.until("a put fails", |_| clients.answers(500) > failed);
        let taken = clients.answers(200);
        service.until("records are taken again", |_| clients.answers(200) > taken);
    }
    let (seen, others) = (clients.end(), others.end());
    service.until("all is delivered", |s| s.statuses().iter().all(|s| s.state == "running" && s.pending == 0));
    let answers: Vec<_> = others.answers.keys().map(|(status, code)| (*status, code.as_str())).collect();
    assert_eq!(answers, [(200, "ok")], "nobody else is refused");
    assert_eq!(delivered(&service, "other"), others.taken);
    // Clients try both again; after anything else they would give up.
    assert!(seen.answers.keys().all(|(status, _)| [200, 500, 503].contains(status)), "{:?}", seen.answers);
    let found = delivered(&service, "s");
    let lost: Vec<_> = seen.taken.difference(&found).take(5).collect();
    assert!(lost.is_empty(), "acknowledged and not delivered: {lost:?}");
    let made_up: Vec<_> = found.iter().filter(|r| !seen.taken.contains(*r) && !seen.in_doubt.contains(*r)).collect();
    assert!(made_up.is_empty(), "{made_up:?}");
    audit(&service);
}

#[test]
fn ten_openings_do_not_use_up_the_disk_budget() {
    let (top, streams) = ("disk_budget: 8MiB", local("s", "") + &local("other", ""));
    let mut service = Service::start_with(top, &streams);
    for round in 0..10 {
        fail_next_commit(&service, "s");
        assert_eq!(put_batch(service.client(), "s", &records("in-doubt", 1)).0, 500);
        // Does not wait for the stream to be opened by itself.
        reload(&service, top, &streams);
        let what = format!("r{round}");
        service.until("it takes records again", |s| {
            let (status, code) = put_batch(s.client(), "s", &records(&what, 1));
            assert!([200, 500, 503].contains(&status), "{status} {code}: a client would give up");
            status == 200
        });
    }
    put(&service, "other", "o", 1);
    service.settled(11);
    let used: u64 = service.statuses().iter().map(|s| s.disk_bytes).sum();
    assert!(used <= 8 << 20, "{used} bytes");
}

#[test]
fn a_stream_that_is_being_opened_again_is_shown_and_refuses_and_all_else_answers() {
    let module_of = "    transform: [ { wasm: { module: DIR/module.wasm } } ]\n";
    let streams = local("other", "") + &local("s", module_of);
    let mut service = Service::start(&local("other", ""));
    let module = service.dir.path().join("module.wasm");
    let bytes = wat::parse_file(concat!(env!("CARGO_MANIFEST_DIR"), "/transforms/faults/v2.wat")).unwrap();
    std::fs::write(&module, &bytes).unwrap();
    reload(&service, "", &streams);
    service.until("s runs", |s| s.put("s", &[b"early".as_slice()]) == 200);
    fail_next_commit(&service, "s");
    assert_eq!(put_batch(service.client(), "s", &records("in-doubt", 1)).0, 500);
    // Opening the stream reads its module, which takes until we say: a pipe.
    let pipe = service.dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::rename(&pipe, &module).unwrap();
    let opens = |s: &Service| s.status("s").alarm.is_some_and(|a| a.contains("it is being opened"));
    service.until("it is being opened", opens);
    for _ in 0..20 {
        assert_eq!(put_batch(service.client(), "s", &records("refused", 1)).0, 503);
        put(&service, "other", "o", 1);
        let names: Vec<String> = service.statuses().into_iter().map(|s| s.stream).collect();
        assert_eq!(names, ["other", "s"]);
        assert!(opens(&service));
        let (status, page) = service.get("/metrics").unwrap();
        assert!(status == 200 && String::from_utf8_lossy(&page).contains("DeliveryStreamName=\"s\""));
        let (_, listed) = service.call("ListDeliveryStreams", b"{}").unwrap();
        let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
        assert_eq!(listed["DeliveryStreamNames"], serde_json::json!(["other", "s"]));
        let (status, _) = service.call("DescribeDeliveryStream", b"{\"DeliveryStreamName\":\"s\"}").unwrap();
        assert_eq!(status, 200);
    }
    std::fs::rename(&module, &pipe).unwrap();
    std::fs::write(&module, &bytes).unwrap();
    std::fs::File::options().write(true).open(&pipe).unwrap().write_all(&bytes).unwrap();
    service.until("it runs again", |s| s.put("s", &[b"late".as_slice()]) == 200);
    service.until("all is delivered", |s| s.statuses().iter().all(|s| s.state == "running" && s.pending == 0));
    let found = delivered(&service, "s");
    assert!(found.contains("2early") && found.contains("2late"), "{found:?}");
}
