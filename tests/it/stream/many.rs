//! Many streams that have nothing to do: what they cost, and how soon they are there.

use crate::rig::service::{Service, scale};
use std::path::Path;
use std::time::{Duration, Instant};

fn number(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel says so");
    line.split_whitespace().next().expect("a number").parse().expect("a number")
}

/// Bytes of disk below a directory, in blocks that are taken.
fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let own = std::fs::metadata(dir).expect("a directory").blocks() * 512;
    let entries = std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let of = |path: std::path::PathBuf| match path.is_dir() {
        true => disk_bytes(&path),
        false => std::fs::metadata(&path).expect("a file").blocks() * 512,
    };
    own + entries.map(of).sum::<u64>()
}

/// A thousand with `--full`, in both lives within the bars: three descriptors, 256 KiB of disk, 64 threads and 96 MiB. The
/// time is given some slack, for the machine may be busy; a release build took a fraction of it.
#[test]
fn idle_streams_are_ready_at_once_and_cost_next_to_nothing() {
    let count = (1000.0 * scale()) as usize;
    let stream = |i| {
        format!(
            "  s{i}:\n    format: lines\n    buffer: {{ size: 1MiB, interval: 1s }}\n    destination: {{ local: {{ dir: \
             DIR/out/{i} }} }}\n"
        )
    };
    let mut service = Service::new();
    service.configure("", &(0..count).map(stream).collect::<String>());
    for life in 0..2 {
        let began = Instant::now();
        service.restart();
        let took = began.elapsed();
        // What it opened them with goes after a while.
        service.until("it is at rest", |s| {
            number(&std::fs::read_to_string(format!("/proc/{}/status", s.pid())).unwrap(), "Threads:") <= 40
        });
        let process = format!("/proc/{}", service.pid());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let (threads, resident) = (number(&status, "Threads:"), number(&status, "VmHWM:") / 1024);
        let descriptors = std::fs::read_dir(format!("{process}/fd")).unwrap().count();
        let disk = disk_bytes(&service.dir.path().join("data")) / 1024 / count as u64;
        println!(
            "life {life}, {count} streams: ready after {took:.2?}, {threads} threads, {descriptors} descriptors, {resident} \
             MiB, {disk} KiB of disk each"
        );
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert!(descriptors <= 3 * count + 60 && disk <= 256 && resident <= 96, "more than it may take");
        // A put to any of them wakes it.
        for i in [0, count / 2, count - 1] {
            assert_eq!(service.put(&format!("s{i}"), &[b"x".as_slice()]), 200);
        }
        service.settled(3 * (life + 1));
        assert_eq!(service.terminate(), Some(0));
    }
    let (code, text) = service.command(&["audit"]);
    assert_eq!(code, 0, "{text}");
}
