//! Streams that are held because both copies of something are damaged, and what `hydrant repair` makes of them.

use crate::rig::service::Service;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const STREAM: &str = "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: \
                      DIR/out } }\n";

/// A service that has delivered forty records in ten objects and holds ten more, killed; and its stream's directory.
fn killed() -> (Service, PathBuf) {
    let mut service = Service::start(&STREAM.replace("interval: 1s", "interval: 0s"));
    for batch in 0..10u64 {
        let records: Vec<String> = (0..4).map(|i| format!("r-{batch}-{i}")).collect();
        let records: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
        assert_eq!(service.put("s", &records), 200);
        service.settled(4 * (batch + 1));
    }
    let config = service.config().display().to_string();
    assert_eq!(service.command_with(&["pause", &config, "s"]).0, 0);
    let records: Vec<String> = (0..10).map(|i| format!("held-{i}")).collect();
    let records: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
    assert_eq!(service.put("s", &records), 200);
    service.until("they are planned", |s| s.status("s").open_plans > 0);
    service.kill();
    let streams = service.dir.path().join("data/streams");
    let dir = std::fs::read_dir(streams).unwrap().next().unwrap().unwrap().path();
    (service, dir)
}

fn held(service: &mut Service, why: &str) {
    service.restart_until("/healthz");
    let status = service.statuses();
    let alarm = |s: &hydrant::stream::supervise::Status| s.alarm.as_ref().is_some_and(|alarm| alarm.contains(why));
    assert!(status.iter().any(|s| s.state == "stopped" && alarm(s)), "{status:?}");
    assert_eq!((service.put("s", &[b"refused".as_slice()]), service.get("/readyz").unwrap().0), (503, 503));
    let (code, text) = service.command(&["repair"]);
    assert!(code == 1 && text.contains("another process uses it"), "{text}");
    service.kill();
}

/// Everything was delivered, each record once.
fn whole(service: &mut Service) {
    service.restart();
    let config = service.config().display().to_string();
    service.command_with(&["resume", &config, "s"]);
    service.settled(50);
    let mut found = BTreeSet::new();
    for (name, bytes) in service.objects("out") {
        for record in String::from_utf8(bytes).unwrap().lines() {
            assert!(found.insert(record.to_owned()), "`{record}` is delivered twice, here in {name}");
        }
    }
    assert_eq!(found.len(), 50);
    let (code, text) = service.command(&["audit", "--deep"]);
    assert_eq!(code, 0, "{text}");
}

fn change(path: &Path, what: impl Fn(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    what(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// The file of the plan log that was written last.
fn newest(dir: &Path) -> PathBuf {
    let generation = |path: &PathBuf| std::fs::read(path).unwrap()[32..40].try_into().map(u64::from_le_bytes).unwrap();
    (0..3).map(|i| dir.join(format!("plans.{i}"))).max_by_key(generation).unwrap()
}

#[test]
fn a_commit_that_stands_in_neither_copy_is_made_good_by_the_ledger() {
    let (mut service, dir) = killed();
    let file = newest(&dir);
    let copy = dir.join(format!("{}.copy", file.file_name().unwrap().to_str().unwrap()));
    // The snapshot, and with it all plans and marks before the last commits, cannot be read.
    for path in [&file, &copy] {
        change(path, |bytes| bytes[64 + 12] ^= 1);
    }
    held(&mut service, "cannot be read");
    let (code, text) = service.command(&["repair"]);
    assert!(code == 1 && text.contains("would be done") && text.contains("nothing was changed"), "{text}");
    let config = service.config().display().to_string();
    let (code, text) = service.command_with(&["repair", "--apply", &config]);
    assert!(code == 0 && text.contains("done: "), "{text}");
    whole(&mut service);
}

#[test]
fn a_plan_log_that_is_gone_is_made_again_from_the_ledger() {
    let (mut service, dir) = killed();
    for i in 0..3 {
        for end in ["", ".copy"] {
            std::fs::remove_file(dir.join(format!("plans.{i}{end}"))).unwrap();
        }
    }
    held(&mut service, "a journal and no plan log");
    let config = service.config().display().to_string();
    let (code, text) = service.command_with(&["repair", "--apply", &config]);
    assert!(code == 0 && text.contains("its digest is of just these"), "{text}");
    whole(&mut service);
}

#[test]
fn a_directory_without_a_name_gets_it_back() {
    let (mut service, dir) = killed();
    for name in ["META", "META.copy"] {
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    held(&mut service, "may be its directory and does not say so");
    let (code, text) = service.command(&["repair"]);
    assert!(code == 1 && text.contains("streams of the configuration without a directory: s"), "{text}");
    let (config, name) =
        (service.config().display().to_string(), dir.file_name().unwrap().to_str().unwrap().to_owned());
    let (code, text) = service.command_with(&["repair", "--apply", "--dir", &name, "--name", "s", &config]);
    assert!(code == 0 && text.contains("it is that of stream `s` again"), "{text}");
    whole(&mut service);
}

#[test]
fn what_is_whole_is_left_alone() {
    let (mut service, _) = killed();
    let (code, text) = service.command(&["repair"]);
    assert_eq!((code, text.as_str()), (0, "nothing is left to be repaired\n"));
    whole(&mut service);
}

/// Copies what is in one directory into another.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        match path.is_dir() {
            true => copy(&path, &to),
            false => assert!(std::fs::copy(&path, &to).is_ok()),
        }
    }
}

/// The plan log is as it was before the last plans were delivered, with everything that says how far it was durable.
#[test]
fn a_plan_log_that_is_older_than_the_ledger_is_not_believed() {
    let (mut service, dir) = killed();
    let logs = |to: &Path| {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            if entry.file_name().to_str().unwrap().starts_with("plans.") {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    };
    let (older, newer) = (service.dir.path().join("older"), service.dir.path().join("newer"));
    logs(&older);
    whole(&mut service);
    service.kill();
    logs(&newer);
    copy(&older, &dir);
    held(&mut service, "is older than the ledger beside it");
    copy(&newer, &dir);
    whole(&mut service);
}

/// The file itself is sound: that its copy cannot be written keeps nobody from delivering.
#[test]
fn a_copy_that_cannot_be_written_holds_no_stream() {
    let (mut service, dir) = killed();
    for copy in ["META.copy", "PLACES.copy", "REACHED.copy"] {
        std::fs::remove_file(dir.join(copy)).unwrap();
        std::fs::create_dir(dir.join(copy)).unwrap();
    }
    whole(&mut service);
}

/// What stands beside the logs: whatever happens to one file of it, its copy makes up for it.
#[test]
fn a_file_beside_the_logs_that_is_damaged_has_nothing_delivered_twice_or_lost() {
    let (mut service, dir) = killed();
    let root = service.dir.path().to_owned();
    let (data, out, kept) = (root.join("data"), root.join("out"), root.join("kept"));
    copy(&data, &kept.join("data"));
    copy(&out, &kept.join("out"));
    let files = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let is_log =
        |name: &str| name.strip_prefix("plans.").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let names = files.filter(|path| path.is_file()).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    let names: BTreeSet<String> = names.filter(|name| !is_log(name)).collect();
    for name in ["META", "META.copy", "PLACES", "REACHED", "plans.frontier", "journal.frontier"] {
        assert!(names.contains(name), "{name} is not among {names:?}");
    }
    for name in &names {
        for damage in ["flipped", "cut", "emptied", "removed"] {
            for place in [&data, &out] {
                std::fs::remove_dir_all(place).unwrap();
            }
            copy(&kept.join("data"), &data);
            copy(&kept.join("out"), &out);
            let path = dir.join(name);
            match damage {
                "flipped" => change(&path, |bytes| {
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 4;
                }),
                "cut" => change(&path, |bytes| bytes.truncate(bytes.len() / 2)),
                "emptied" => change(&path, Vec::clear),
                _ => std::fs::remove_file(&path).unwrap(),
            }
            service.restart();
            let shown = service.status("s").damage;
            assert!(!shown.is_empty() || name.ends_with(".copy"), "{name} was {damage}, and nothing is shown");
            service.kill();
            whole(&mut service);
            service.kill();
            if let Some(file @ ("META" | "PLACES" | "REACHED")) = name.strip_suffix(".copy") {
                let [file, copy] = [file, name].map(|name| std::fs::read(dir.join(name)).unwrap_or_default());
                assert!(!copy.is_empty() && file == copy, "{name} was {damage}, and is not made again");
            }
        }
    }
}
