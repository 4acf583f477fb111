//! What a stream lives through while the process runs: leaving the file and coming back, stores that hang or move,
//! settings that go away with objects still under way, directories that cannot be read, a journal whose write fails.
//!
//! `clients` puts all the while and knows what was acknowledged; `proxy` stands in front of a store.

mod clients;
mod left;
#[cfg(feature = "sabotage")]
mod poison;

use crate::rig::eye::Eye;
use crate::rig::proxy::Proxy;
use crate::rig::service::{Service, variable};
use crate::rig::store::{Store, fill};
use clients::{Clients, put_batch};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const NOT_FOUND: &str = "ResourceNotFoundException";

/// A stream into a directory of the test's own, called as the stream.
fn local(name: &str, more: &str) -> String {
    format!(
        "  {name}:\n    format: lines\n    buffer: {{ size: 1MiB, interval: 1s }}\n    destination: {{ local: {{ dir: \
         DIR/{name} }} }}\n{more}"
    )
}

/// The keys of a destination or backup in a bucket of the MinIO that `tests/run` started.
fn bucket(bucket: &str, address: SocketAddr, timeout: &str) -> String {
    let (id, secret) = (variable("HYDRANT_TEST_S3_ACCESS_KEY"), variable("HYDRANT_TEST_S3_SECRET_KEY"));
    format!(
        "s3: {{ bucket: {bucket}, prefix: \"p/\", endpoint: \"http://{address}\", access_key_id: \"{id}\", \
         secret_access_key: \"{secret}\", timeout: {timeout} }}"
    )
}

fn minio() -> SocketAddr {
    let endpoint = variable("HYDRANT_TEST_S3_ENDPOINT");
    endpoint.trim_start_matches("http://").parse().expect("the endpoint is an address")
}

fn records(what: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{what}-{i}")).collect()
}

/// Puts `count` records called `what`, all of which must be taken.
fn put(service: &Service, stream: &str, what: &str, count: usize) {
    // A backup holds source bytes as they came, so that they end themselves.
    let ended: Vec<String> = records(what, count).into_iter().map(|r| r + ";").collect();
    assert_eq!(put_batch(service.client(), stream, &ended), (200, "ok".to_owned()), "put {what}");
}

fn reload(service: &Service, top: &str, streams: &str) {
    service.configure(top, streams);
    service.signal(Signal::HUP);
}

/// The records of objects, none of which may be there twice.
fn once(objects: impl IntoIterator<Item = Vec<u8>>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for object in objects {
        let text = String::from_utf8(object).expect("text");
        for record in text.split(['\n', ';']).filter(|r| !r.is_empty()) {
            assert!(found.insert(record.to_owned()), "`{record}` is delivered twice");
        }
    }
    found
}

fn delivered(service: &Service, dir: &str) -> BTreeSet<String> {
    once(service.objects(dir).into_iter().map(|(_, bytes)| bytes))
}

/// The records of a bucket's objects.
fn in_bucket(eye: &Eye) -> BTreeSet<String> {
    let names = eye.names().into_iter().filter(|n| n.starts_with("p/"));
    once(names.map(|n| eye.bytes(&n)))
}

fn audit(service: &Service) {
    let (code, text) = service.command(&["audit", "--deep"]);
    assert_eq!(code, 0, "{text}");
}

/// The directories of `data/streams` that say they are `stream`.
fn dirs_of(service: &Service, stream: &str) -> Vec<PathBuf> {
    let dirs = std::fs::read_dir(service.dir.path().join("data/streams")).expect("list streams");
    let is_ours = |dir: &PathBuf| {
        let meta = std::fs::read(dir.join("META")).unwrap_or_default();
        serde_json::from_slice::<serde_json::Value>(&meta).is_ok_and(|m| m["name"] == stream)
    };
    dirs.map(|d| d.expect("a directory").path()).filter(is_ours).collect()
}

#[test]
fn a_stream_that_leaves_the_file_and_comes_back_under_load_delivers_what_was_acknowledged_once() {
    let other = local("other", "");
    let both = other.clone() + &local("s", "");
    let mut service = Service::start(&both);
    let clients = Clients::start(&service, "s", 6);
    for _ in 0..6 {
        let taken = clients.answers(200);
        service.until("records are taken", |_| clients.answers(200) > taken + 20);
        reload(&service, "", &other);
        let refused = clients.answers(400);
        service.until("it is retired and refuses", |s| {
            s.status("s").state == "retired" && clients.answers(400) > refused + 20
        });
        service.until("what it holds is delivered", |s| s.status("s").pending == 0);
        put(&service, "other", "o", 1);
        reload(&service, "", &both);
        let taken = clients.answers(200);
        service.until("it takes records again", |_| clients.answers(200) > taken);
        assert_eq!(service.status("s").state, "running");
    }
    let seen = clients.end();
    service.settled(seen.taken.len() as u64 + 6);
    let answers: Vec<_> = seen.answers.keys().map(|(status, code)| (*status, code.as_str())).collect();
    assert_eq!(answers, [(200, "ok"), (400, NOT_FOUND)]);
    let found = delivered(&service, "s");
    let lost: Vec<_> = seen.taken.difference(&found).take(5).collect();
    assert!(lost.is_empty(), "acknowledged and not delivered: {lost:?}");
    assert_eq!(found.len(), seen.taken.len(), "what was refused is not delivered");
    assert_eq!(service.status("s").accepted, found.len() as u64);
    audit(&service);
}

#[test]
fn a_retired_stream_delivers_to_s3_what_it_holds_without_a_restart() {
    let (eye, proxy) = (Eye::new(), Proxy::hanging(minio()));
    let other = local("other", "");
    let to_s3 = bucket(&eye.bucket, proxy.address, "30s");
    let s = format!(
        "  s:\n    format: lines\n    buffer: {{ size: 1MiB, interval: 1s }}\n    destination: {{ {to_s3} }}\n"
    );
    let mut service = Service::start(&(other.clone() + &s));
    put(&service, "s", "early", 20);
    service.until("an object is on its way", |s| s.status("s").open_plans > 0 && proxy.hung() > 0);
    put(&service, "s", "late", 10);
    reload(&service, "", &other);
    service.until("it is retired", |s| s.status("s").state == "retired");
    let refused = put_batch(service.client(), "s", &records("refused", 1));
    assert_eq!(refused, (400, NOT_FOUND.to_owned()));
    assert_eq!(service.status("s").pending, 30, "held");
    proxy.forward();
    service.until("it is delivered", |s| s.status("s").pending == 0);
    let expected = records("early", 20).into_iter().chain(records("late", 10)).collect();
    assert_eq!(in_bucket(&eye), expected);
    assert_eq!(service.status("s").outlets["destination"].records, 30);
    reload(&service, "", &(other + &s));
    service.until("it is back", |s| s.status("s").state == "running");
    put(&service, "s", "again", 10);
    service.until("and delivers", |s| s.status("s").outlets["destination"].records == 40);
    audit(&service);
}

#[test]
fn a_stream_that_goes_and_comes_ten_times_does_not_use_up_the_disk_budget() {
    let (top, other) = ("disk_budget: 8MiB", local("other", ""));
    let both = other.clone() + &local("s", "");
    let mut service = Service::start_with(top, &both);
    for round in 0..10 {
        put(&service, "s", &format!("r{round}"), 10);
        reload(&service, top, &other);
        service.until("it is retired", |s| s.status("s").state == "retired");
        service.until("and empty", |s| s.status("s").pending == 0);
        reload(&service, top, &both);
        service.until("it takes records again", |s| s.put("s", &[b"x".as_slice()]) == 200);
    }
    put(&service, "other", "o", 10);
    service.settled(10 * 11 + 10);
    let used: u64 = service.statuses().iter().map(|s| s.disk_bytes).sum();
    assert!(used <= 8 << 20, "{used} bytes");
}

#[test]
fn a_stream_with_a_full_budget_opens_after_every_kill_and_delivers_when_the_store_is_back() {
    let mut store = Store::start();
    store.make_bucket("lake");
    let stream = store.stream("s", "lake", "tests-secret") + "    disk_budget: 6MiB\n";
    store.stop();
    let mut service = Service::start(&stream);
    let mut taken = fill(&service, "s", 64);
    assert!(taken > 0);
    let mut bytes = vec![service.status("s").disk_bytes];
    for _ in 0..2 {
        service.kill();
        service.restart();
        assert_eq!(service.status("s").state, "running");
        taken += fill(&service, "s", 64);
        service.kill();
        service.restart();
        assert_eq!(service.status("s").state, "running");
        taken += fill(&service, "s", 64);
        bytes.push(service.status("s").disk_bytes);
    }
    // No opening takes anything of the budget for good.
    assert!(bytes.iter().all(|&b| b <= bytes[0]), "{bytes:?}");
    assert_eq!(service.status("s").accepted, 10 * taken);
    store.run();
    service.settled(10 * taken);
    service.until("it takes records again", |s| s.put("s", &[b"x".as_slice()]) == 200);
    service.settled(10 * taken + 1);
    assert_eq!(service.status("s").outlets["destination"].records, 10 * taken + 1);
    audit(&service);
}

#[test]
fn a_directory_that_cannot_be_read_is_shown_and_keeps_no_other_stream_from_running() {
    let streams = local("a", "") + &local("b", "");
    let mut service = Service::start(&streams);
    put(&service, "a", "early", 5);
    put(&service, "b", "early", 5);
    service.kill();
    let dir = dirs_of(&service, "b").remove(0);
    let meta = std::fs::read(dir.join("META")).unwrap();
    // A bit that flips in the file costs nothing: there is a copy, and the file is made again.
    let mut flipped = meta.clone();
    flipped[meta.len() / 2] ^= 4;
    std::fs::write(dir.join("META"), flipped).unwrap();
    service.restart();
    let damage = service.status("b").damage;
    assert!(damage.len() == 1 && damage[0].contains("META` is damaged, and was read from its copy"), "{damage:?}");
    assert_eq!(std::fs::read(dir.join("META")).unwrap(), meta);
    service.kill();
    for name in ["META", "META.copy"] {
        std::fs::write(dir.join(name), b"\x00garbage").unwrap();
    }
    std::fs::write(dir.with_file_name("stray"), b"somebody's").unwrap();
    std::fs::create_dir(dir.with_file_name("empty")).unwrap();
    service.restart_until("/healthz");
    put(&service, "a", "late", 5);
    service.until("a is delivered", |s| s.status("a").outlets["destination"].records == 10);
    let name = dir.file_name().unwrap().to_string_lossy().into_owned();
    // It may be that of b, which does not begin anew beside it.
    for (stream, what) in [(name.as_str(), "META"), ("b", "may be its directory and does not say so")] {
        let broken = service.status(stream);
        assert_eq!(broken.state, "stopped");
        let alarm = broken.alarm.unwrap();
        assert!(alarm.contains(what) && alarm.contains(&name), "{alarm}");
    }
    assert_eq!(service.put("b", &[b"refused".as_slice()]), 503);
    assert_eq!(service.get("/readyz").unwrap().0, 503);
    let shown: Vec<String> = service.statuses().into_iter().map(|s| s.stream).collect();
    assert_eq!(shown.len(), 3, "no word of what is no stream: {shown:?}");
    // Mended by hand while it runs.
    std::fs::write(dir.join("META"), &meta).unwrap();
    service.until("b runs", |s| s.put("b", &[b"late-0".as_slice()]) == 200);
    service.until("nothing is broken", |s| s.get("/readyz").is_some_and(|(status, _)| status == 200));
    service.settled(16);
    let expected: BTreeSet<String> = records("early", 5).into_iter().chain(records("late", 1)).collect();
    assert_eq!(delivered(&service, "b"), expected);
    // A second directory that says that it is b is shown beside it, and not merged with it.
    let other = dir.with_file_name("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("META"), &meta).unwrap();
    service.signal(Signal::HUP);
    service.until("two that say they are b", |s| s.status("other").alarm.is_some_and(|a| a.contains("stream `b` too")));
    std::fs::remove_file(dir.with_file_name("stray")).unwrap();
    audit(&service);
}

/// A stream into a directory, with a backup in a bucket.
fn with_backup(name: &str, eye: &Eye, address: SocketAddr, timeout: &str) -> String {
    let backup = bucket(&eye.bucket, address, timeout);
    local(name, &format!("    backup: {{ mode: all, buffer: {{ size: 1MiB, interval: 1s }}, {backup} }}\n"))
}

#[test]
fn a_backup_that_hangs_slows_nothing_shows_an_alarm_and_is_made_good() {
    let (replaced, mended) = (Eye::new(), Eye::new());
    let (proxy, hanging) = (Proxy::hanging(minio()), Proxy::hanging(minio()));
    let streams =
        |address| with_backup("r", &replaced, proxy.address, "20s") + &with_backup("m", &mended, address, "20s");
    let mut service = Service::start(&streams(hanging.address));
    let (mut expected, mut slowest) = (BTreeSet::new(), Duration::ZERO);
    let mut round = |service: &mut Service| {
        let what = format!("round-{}", expected.len());
        put(service, "r", &what, 10);
        put(service, "m", &what, 10);
        expected.extend(records(&what, 10));
        let began = Instant::now();
        service.until("both destinations have it", |s| s.statuses().iter().all(|s| s.pending == 0));
        slowest = slowest.max(began.elapsed());
        expected.clone()
    };
    for _ in 0..8 {
        round(&mut service);
    }
    service.until("the backups are behind, with an alarm", |s| {
        s.statuses().iter().all(|s| s.backup_pending == 80 && s.alarm.is_some())
    });
    let expected = round(&mut service);
    for status in service.statuses() {
        let alarm = status.alarm.expect("deliveries elsewhere are no reason to forget it");
        assert!(alarm.contains("is not delivered"), "{alarm}");
        assert_eq!(status.outlets["destination"].records, 90);
    }
    // A request hangs for 20 s.
    assert!(slowest < Duration::from_secs(12), "{slowest:?}");
    proxy.forward();
    reload(&service, "", &streams(minio()));
    service.until("both backups are whole", |s| s.statuses().iter().all(|s| s.backup_pending == 0));
    service.until("no alarm is left", |s| s.statuses().iter().all(|s| s.alarm.is_none()));
    for eye in [&replaced, &mended] {
        assert_eq!(in_bucket(eye), expected);
    }
    audit(&service);
}

#[test]
fn a_backup_that_is_switched_off_delivers_what_is_on_its_way_with_its_old_settings() {
    let (eye, proxy) = (Eye::new(), Proxy::hanging(minio()));
    let mut service = Service::start(&with_backup("s", &eye, proxy.address, "20s"));
    put(&service, "s", "with", 50);
    service.until("the destination has all, the backup hangs", |s| {
        s.status("s").pending == 0 && s.status("s").open_plans > 0 && proxy.hung() > 0
    });
    reload(&service, "", &local("s", ""));
    service.until("a new epoch", |s| s.status("s").epoch == 2);
    put(&service, "s", "without", 10);
    service.until("the destination has these, too", |s| s.status("s").outlets["destination"].records == 60);
    assert_eq!(service.status("s").outlets["backup"].records, 0);
    proxy.forward();
    service.until("the backup is made", |s| s.status("s").backup_pending == 0 && s.status("s").open_plans == 0);
    assert_eq!(service.status("s").outlets["backup"].records, 50);
    assert_eq!(in_bucket(&eye), records("with", 50).into_iter().collect());
    service.until("no alarm is left", |s| s.status("s").alarm.is_none());
}

fn alarm_says(service: &Service, text: &str) -> bool {
    service.status("s").alarm.is_some_and(|a| a.contains(text))
}

#[test]
fn an_endpoint_that_leads_elsewhere_gets_nothing_while_objects_are_on_their_way_to_the_first() {
    let (mut first, second) = (Store::start(), Store::start());
    [&first, &second].iter().for_each(|s| s.make_bucket("lake"));
    let (to_first, to_second) = (first.stream("s", "lake", "tests-secret"), second.stream("s", "lake", "tests-secret"));
    let mut service = Service::start(&to_first);
    put(&service, "s", "reached", 10);
    service.settled(10);
    first.stop();
    put(&service, "s", "under-way", 10);
    service.until("an object is on its way", |s| alarm_says(s, "is not delivered"));
    reload(&service, "", &to_second);
    service.until("the alarm says so", |s| alarm_says(s, "leads to another store than before"));
    put(&service, "s", "meanwhile", 10);
    service.until("more objects wait", |s| s.status("s").open_plans >= 2);
    service.until("they were tried", |s| s.log().matches("leads to another store").count() > 0);
    assert_eq!(second.objects("lake"), [""; 0], "nothing is sent");
    first.run();
    reload(&service, "", &to_first);
    service.settled(30);
    let status = service.status("s");
    assert_eq!(status.outlets["destination"].records, 30);
    let ours = |store: &Store| store.objects("lake").iter().filter(|n| n.starts_with("lake/s/")).count() as u64;
    assert_eq!((ours(&first), ours(&second)), (status.outlets["destination"].objects, 0));
    service.until("no alarm is left", |s| s.status("s").alarm.is_none());
    audit(&service);
    // With nothing on its way it may move.
    reload(&service, "", &to_second);
    service.until("the reload", |s| s.log().matches("reloaded").count() == 3);
    put(&service, "s", "moved", 10);
    service.settled(40);
    assert_eq!(ours(&second), 1);
}

/// The same where the file is changed while the process is not there.
#[test]
fn an_endpoint_that_was_changed_before_a_start_gets_nothing_while_objects_are_on_their_way_to_the_first() {
    let (mut first, second) = (Store::start(), Store::start());
    [&first, &second].iter().for_each(|s| s.make_bucket("lake"));
    let (to_first, to_second) = (first.stream("s", "lake", "tests-secret"), second.stream("s", "lake", "tests-secret"));
    let mut service = Service::start(&to_first);
    put(&service, "s", "reached", 10);
    service.settled(10);
    first.stop();
    put(&service, "s", "under-way", 10);
    service.until("an object is on its way", |s| alarm_says(s, "is not delivered"));
    for _ in 0..2 {
        service.kill();
        service.configure("", &to_second);
        service.restart_until("/healthz");
        service.until("the alarm says so", |s| alarm_says(s, "leads to another store than before"));
    }
    assert_eq!(second.objects("lake"), [""; 0], "nothing is sent");
    service.kill();
    first.run();
    service.configure("", &to_first);
    service.restart();
    service.settled(20);
    // With nothing on its way it may move.
    service.kill();
    service.configure("", &to_second);
    service.restart();
    put(&service, "s", "moved", 10);
    service.settled(30);
    assert_eq!(second.objects("lake").iter().filter(|n| n.starts_with("lake/s/")).count(), 1);
    audit_of_what_is_here(&service);
}

/// The account agrees; objects of before are where the endpoint does not lead any more.
fn audit_of_what_is_here(service: &Service) {
    let (_, text) = service.command(&["audit"]);
    assert!(text.contains("gap 0"), "{text}");
}

#[test]
fn two_stores_that_were_both_used_are_told_apart() {
    let (first, mut second) = (Store::start(), Store::start());
    [&first, &second].iter().for_each(|s| s.make_bucket("lake"));
    let (to_first, to_second) = (first.stream("s", "lake", "tests-secret"), second.stream("s", "lake", "tests-secret"));
    let mut service = Service::start(&to_first);
    put(&service, "s", "first", 10);
    service.settled(10);
    reload(&service, "", &to_second);
    service.until("the reload", |s| s.log().contains("reloaded"));
    put(&service, "s", "second", 10);
    service.settled(20);
    second.stop();
    put(&service, "s", "under-way", 10);
    service.until("an object is on its way", |s| alarm_says(s, "is not delivered"));
    let before = first.objects("lake");
    reload(&service, "", &to_first);
    service.until("the alarm says so", |s| alarm_says(s, "leads to another store than before"));
    assert_eq!(first.objects("lake"), before, "nothing is sent");
    second.run();
    reload(&service, "", &to_second);
    service.settled(30);
}

#[test]
fn a_mistyped_endpoint_that_never_answered_is_mended_by_a_reload() {
    let store = Store::start();
    store.make_bucket("lake");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let right = store.stream("s", "lake", "tests-secret");
    let mut service = Service::start(&right.replace(&store.address.to_string(), &nobody.to_string()));
    put(&service, "s", "early", 10);
    service.until("an alarm", |s| alarm_says(s, "is not delivered"));
    reload(&service, "", &right);
    service.settled(10);
    assert_eq!(service.status("s").outlets["destination"].records, 10);
}

#[test]
fn the_same_store_under_another_address_gets_what_is_on_its_way() {
    let mut store = Store::start();
    store.make_bucket("lake");
    let stream = store.stream("s", "lake", "tests-secret");
    let mut service = Service::start(&stream);
    put(&service, "s", "reached", 10);
    service.settled(10);
    store.stop();
    put(&service, "s", "under-way", 10);
    service.until("an object is on its way", |s| alarm_says(s, "is not delivered"));
    reload(&service, "", &stream.replace("127.0.0.1", "localhost"));
    store.run();
    service.settled(20);
    assert_eq!(service.status("s").outlets["destination"].records, 20);
    service.until("no alarm is left", |s| s.status("s").alarm.is_none());
    audit(&service);
}

#[test]
fn what_waits_for_a_directory_that_cannot_be_goes_to_the_one_that_is_meant() {
    let right = "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: \
                 DIR/out } }\n";
    for stopped in [false, true] {
        // Nothing can be made in /proc, whoever asks.
        let mut service = Service::start(&right.replace("DIR/out", "/proc/mistyped"));
        put(&service, "s", "early", 5);
        service.until("the alarm says so", |s| alarm_says(s, "make `/proc/mistyped`"));
        service.configure("", right);
        match stopped {
            true => {
                service.kill();
                service.restart();
            }
            false => service.signal(Signal::HUP),
        }
        service.settled(5);
        assert_eq!(service.objects("out").len(), 1);
    }
}

#[test]
fn a_directory_that_was_there_is_waited_for_whatever_the_file_says_then() {
    let stream = "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: DIR/out } }\n";
    let mut service = Service::start(stream);
    put(&service, "s", "early", 5);
    service.settled(5);
    let (out, aside) = (service.dir.path().join("out"), service.dir.path().join("aside"));
    std::fs::rename(&out, &aside).unwrap();
    // A disk that is not mounted: something else is in its place.
    std::fs::write(&out, "").unwrap();
    put(&service, "s", "late", 5);
    service.until("an alarm", |s| alarm_says(s, "is not delivered"));
    service.kill();
    service.configure("", &stream.replace("DIR/out", "DIR/other"));
    service.restart();
    service.until("an alarm", |s| alarm_says(s, "is not delivered"));
    assert_eq!(service.status("s").pending, 5, "they may be there already");
    std::fs::remove_file(&out).unwrap();
    std::fs::rename(&aside, &out).unwrap();
    service.settled(10);
    assert_eq!((service.objects("out").len(), service.objects("other").len()), (2, 0));
}

/// A stream whose bucket was mistyped, and what becomes of its records when the file is mended.
fn mended(stop: bool) {
    let eye = Eye::new();
    let right = "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 1s }\n    destination:\n      "
        .to_owned()
        + &bucket(&eye.bucket, minio(), "5s")
        + "\n";
    let mut service = Service::start(&right.replace(&eye.bucket, "mistyped-and-not-there"));
    put(&service, "s", "early", 5);
    service.until("the alarm says so", |s| alarm_says(s, "NoSuchBucket"));
    assert_eq!(service.status("s").pending, 5);
    service.configure("", &right);
    match stop {
        true => {
            service.kill();
            service.restart();
        }
        false => service.signal(Signal::HUP),
    }
    service.settled(5);
    put(&service, "s", "late", 5);
    service.settled(10);
    assert_eq!(in_bucket(&eye), records("early", 5).into_iter().chain(records("late", 5)).collect());
    service.until("no alarm is left", |s| s.status("s").alarm.is_none());
    audit(&service);
}

#[test]
fn what_waits_for_a_bucket_that_was_mistyped_goes_to_the_one_that_is_meant() {
    mended(false);
}

#[test]
fn so_it_does_when_the_file_is_mended_while_the_service_is_stopped() {
    mended(true);
}
