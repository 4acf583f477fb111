//! Destinations that are down, wrongly configured, or full: data waits, the alarm says why, delivery resumes by itself or
//! after the file was mended.

use crate::rig::service::Service;
use crate::rig::store::{Store, fill};
use rustix::process::Signal;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[test]
fn a_store_that_is_down_is_waited_for_and_others_are_served() {
    let mut store = Store::start();
    store.make_bucket("lake");
    let other = "  other:\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: DIR/bucket } }\n";
    let mut service = Service::start(&(store.stream("s", "lake", "tests-secret") + other));
    let mut records = 0;
    let mut put = |service: &Service, stream: &str| {
        assert_eq!(service.put(stream, &[b"{\"a\":1}".as_slice(); 100]), 200);
        records += 100;
    };
    put(&service, "s");
    service.until("the first delivery", |s| s.status("s").pending == 0 && s.status("s").accepted > 0);
    store.stop();
    let down = Duration::from_secs_f64(60.0 * crate::rig::service::scale());
    let began = Instant::now();
    while began.elapsed() < down {
        put(&service, "s");
        put(&service, "other");
    }
    service.until("an alarm", |s| s.status("s").alarm.is_some());
    let alarm = service.status("s").alarm.unwrap();
    assert!(alarm.contains("not delivered"), "{alarm}");
    assert!(service.status("other").alarm.is_none());
    assert!(service.status("s").pending > 0);
    store.run();
    service.settled(records);
    service.until("no alarm", |s| s.status("s").alarm.is_none());
}

#[test]
fn a_wrong_secret_and_a_missing_bucket_hold_the_data_until_the_file_is_mended() {
    let store = Store::start();
    let both =
        |bucket: &str, secret: &str| store.stream("s", bucket, secret) + &store.stream("t", "there", "tests-secret");
    store.make_bucket("there");
    let mut service = Service::start(&both("lake", "wrong"));
    assert_eq!(service.put("s", &[b"{\"a\":1}".as_slice(); 10]), 200);
    assert_eq!(service.put("t", &[b"{\"a\":1}".as_slice(); 10]), 200);
    service.until("t is delivered", |s| s.status("t").pending == 0);
    let alarm_says = |s: &Service, text: &str| s.status("s").alarm.is_some_and(|a| a.contains(text));
    service.until("the alarm about the secret", |s| alarm_says(s, "S3.SignatureDoesNotMatch"));
    service.configure("", &both("lake", "tests-secret"));
    service.signal(Signal::HUP);
    service.until("the alarm about the bucket", |s| alarm_says(s, "S3.NoSuchBucket"));
    assert_eq!(service.put("s", &[b"{\"a\":1}".as_slice(); 10]), 200, "intake goes on");
    store.make_bucket("lake");
    service.settled(30);
    assert_eq!(service.status("s").outlets["destination"].records, 20);
}

#[test]
fn a_file_with_problems_changes_nothing() {
    let good = "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: DIR/b } }\n";
    let mut service = Service::start(good);
    service.configure("", "  s:\n    bufer: 1\n    destination: { local: { dir: DIR/b } }\n");
    service.signal(Signal::HUP);
    service.until("the log names the problem", |s| s.log().contains("bufer"));
    assert_eq!(service.put("s", &[b"x"]), 200);
    service.settled(1);
    assert_eq!(service.status("s").epoch, 1);
    service.configure("", &good.replace("format: lines", "format: raw"));
    service.signal(Signal::HUP);
    service.until("a new epoch", |s| s.status("s").epoch == 2);
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let service = Service::start("  s:\n    destination: { local: { dir: DIR/b } }\n");
    let (code, text) = service.command(&["run"]);
    assert_eq!(code, 1);
    assert!(text.contains("another process uses it"), "{text}");
    assert_eq!(service.put("s", &[b"x"]), 200);
}

#[test]
fn sigterm_delivers_what_is_held() {
    let stream = "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 900s }\n    destination: { local: { dir: DIR/b } }\n";
    let mut service = Service::start(stream);
    assert_eq!(service.put("s", &[b"one".as_slice(), b"two"]), 200);
    assert_eq!(service.terminate(), Some(0));
    let objects = service.objects("b");
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0].1, b"one\ntwo\n");
    let (code, text) = service.command(&["audit", "--deep"]);
    assert!(code == 0 && text.contains("gap 0"), "{text}");
    std::fs::remove_file(&objects[0].0).unwrap();
    let (code, text) = service.command(&["audit", "--deep"]);
    assert!(code == 1 && text.contains("PROBLEM"), "an object deleted behind our back: {text}");
}

/// A small file system of the test's own; needs the right to mount.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &std::path::Path, mib: u32) -> SmallDisk {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={mib}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).status();
        let mounted = mount.expect("run mount").success();
        assert!(mounted, "mounting a tmpfs of {mib} MiB failed: this test needs the right to mount (root)");
        SmallDisk(at.to_path_buf())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A client that puts a few records a hundred times a second, whatever else happens, and counts what is taken.
struct Steady {
    taken: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Steady {
    const PAUSE: Duration = Duration::from_millis(10);

    fn start(service: &Service, stream: &str) -> Steady {
        let (taken, refused, stop): (Arc<AtomicU64>, Arc<AtomicU64>, Arc<AtomicBool>) = Default::default();
        let (client, stream) = (service.client(), stream.to_owned());
        let (count, no, end) = (taken.clone(), refused.clone(), stop.clone());
        let run = move || {
            let mut due = Instant::now();
            while !end.load(Ordering::Relaxed) {
                let counter = if client.put(&stream, &[b"a record".as_slice(); 10]) == 200 { &count } else { &no };
                counter.fetch_add(1, Ordering::Relaxed);
                // What was late is caught up, so that the rate falls only if less is taken than comes.
                due += Steady::PAUSE;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        };
        Steady { taken, refused, stop, thread: Some(std::thread::spawn(run)) }
    }

    /// Batches taken a second while `work` runs.
    fn rate(&self, work: impl FnOnce()) -> f64 {
        let (began, before) = (Instant::now(), self.taken.load(Ordering::Relaxed));
        work();
        (self.taken.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64()
    }

    /// Ends it; batches taken in all, none of which may have been refused.
    fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        assert_eq!(self.refused.load(Ordering::Relaxed), 0, "another stream is never refused");
        self.taken.load(Ordering::Relaxed)
    }
}

/// Puts batches of 1 MB at a steady pace for `time`; counts those taken. Nothing but 200 and 503 may come.
fn load(service: &Service, stream: &str, time: Duration) -> u64 {
    let record = vec![b'x'; 100_000];
    let (began, mut taken) = (Instant::now(), 0);
    while began.elapsed() < time {
        match service.put(stream, &[record.as_slice(); 10]) {
            200 => taken += 1,
            503 => {}
            other => panic!("status {other}, expected 200 or 503"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    taken
}

#[test]
fn an_outage_a_full_budget_and_a_full_disk_only_refuse_slow_nobody_else_and_lose_nothing() {
    let mut store = Store::start();
    store.make_bucket("lake");
    let disk = tempfile::tempdir().unwrap();
    let small = SmallDisk::mount(disk.path(), 128);
    let held = store.stream("held", "lake", "tests-secret");
    let streams = |budget: &str| {
        held.clone()
            + budget
            + "  other:\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: DIR/bucket } }\n"
    };
    let data = format!("{}/data", disk.path().display());
    let budget = "    disk_budget: 48MiB\n";
    let mut service = Service::start_in(&data, &streams(budget));
    let other = Steady::start(&service, "other");
    let long = Duration::from_secs_f64((60.0 * crate::rig::service::scale()).max(5.0));
    let brief = Duration::from_secs(3);
    let mut taken = 0;
    let all_well = other.rate(|| taken += load(&service, "held", brief));
    let bears = |what: &str, rate: f64| {
        eprintln!("another stream's rate, {what}: {:.3} of what it was", rate / all_well);
        assert!(rate > 0.9 * all_well, "{what}: {rate:.1} batches a second, {all_well:.1} before");
    };
    store.stop();
    bears("the store is down", other.rate(|| taken += load(&service, "held", long)));
    taken += fill(&service, "held", 64);
    assert!(service.status("held").disk_bytes <= 48 << 20);
    bears("the budget is used up", other.rate(|| taken += load(&service, "held", brief)));
    service.configure_in(&data, &streams(""));
    service.signal(Signal::HUP);
    service.until("the new budget", |s| s.put("held", &[b"x".as_slice()]) == 200);
    taken += fill(&service, "held", 400);
    bears("the disk is full", other.rate(|| taken += load(&service, "held", brief)));
    store.run();
    let before = service.pid();
    service.until("what was taken is delivered", |s| s.status("held").pending == 0);
    service.until("intake resumes by itself", |s| s.put("held", &[b"x".as_slice()]) == 200);
    let records = 10 * other.end();
    service.settled(10 * taken + 2 + records);
    assert_eq!(service.pid(), before, "without a restart");
    let held = service.status("held");
    assert_eq!((held.accepted, held.outlets["destination"].records), (10 * taken + 2, 10 * taken + 2), "{held:?}");
    assert_eq!(service.status("other").outlets["destination"].records, records);
    let (code, text) = service.command(&["audit", "--deep"]);
    assert_eq!(code, 0, "{text}");
    service.kill();
    drop(small);
}

/// A disk without a free byte at the start of the process, whose store is away.
#[test]
fn a_stream_on_a_full_disk_opens_after_every_kill_and_delivers_when_the_store_is_back() {
    let mut store = Store::start();
    store.make_bucket("lake");
    let stream = store.stream("s", "lake", "tests-secret");
    store.stop();
    let mut service = Service::new();
    service.configure("", &stream);
    let data = service.dir.path().join("data");
    let _disk = SmallDisk::mount(&data, 24);
    service.restart();
    let mut taken = 10 * fill(&service, "s", 64);
    assert!(taken > 0);
    let somebodys = data.join("somebody's");
    let mut file = std::fs::File::create(&somebodys).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    for _ in 0..2 {
        service.kill();
        service.restart_until("/healthz");
        service.until("it is open", |s| s.statuses().iter().any(|s| s.state == "running"));
        assert_eq!(service.status("s").accepted, taken);
        // What is left of a segment still takes something.
        taken += 10 * fill(&service, "s", 64);
    }
    store.run();
    service.settled(taken);
    assert_eq!(service.status("s").outlets["destination"].records, taken);
    std::fs::remove_file(&somebodys).unwrap();
    service.until("it takes records again", |s| s.put("s", &[b"x".as_slice()]) == 200);
    service.settled(taken + 1);
    let (code, text) = service.command(&["audit"]);
    assert_eq!(code, 0, "{text}");
}
