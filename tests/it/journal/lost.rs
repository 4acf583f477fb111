//! Acknowledged records that the medium has lost: counted, with their offsets, and said in every life until somebody takes note.

use crate::rig::service::Service;
use hydrant::alarm::AlarmKind;
use hydrant::stream::supervise::Status;
use std::path::PathBuf;

/// What goes to the destination waits; so does the backup.
const WAITING: &str = "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 900s }\n    destination: { local: { dir: \
                       DIR/out } }\n";
/// What goes to the destination is delivered at once, and the backup waits.
const BACKUP_WAITS: &str = "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 0s }\n    destination: { local: { dir: \
                            DIR/out } }\n    backup: { local: { dir: DIR/raw }, buffer: { size: 1MiB, interval: 900s } }\n";

const BATCHES: u64 = 10;
const BATCH: u64 = 4;

/// A service that has acknowledged forty records, killed, and its stream's directory. `delivered`: each batch before the next
/// is put, as an object of its own.
fn killed(streams: &str, delivered: bool) -> (Service, PathBuf) {
    let mut service = Service::start(streams);
    for batch in 0..BATCHES {
        let records: Vec<String> = (0..BATCH).map(|i| format!("r-{batch}-{i}-{}", "x".repeat(1000))).collect();
        let records: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
        assert_eq!(service.put("s", &records), 200);
        let so_far = (batch + 1) * BATCH;
        let is_delivered = |s: &Service| s.status("s").outlets["destination"].records == so_far;
        if delivered {
            service.until("the batch is delivered", is_delivered);
        }
    }
    service.kill();
    let streams = service.dir.path().join("data/streams");
    let dir = std::fs::read_dir(streams).unwrap().next().unwrap().unwrap().path();
    (service, dir)
}

/// Cuts the journal's only segment behind about half of its records.
fn cut(dir: &std::path::Path) {
    let segment = std::fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|e| e == "seg")).min().expect("a segment");
    let file = std::fs::File::options().write(true).open(segment).unwrap();
    file.set_len(20 << 10).unwrap();
}

/// The loss is said in every life, by every command, until it is acknowledged; and stays counted.
fn said_until_acknowledged(service: &mut Service, says: &str, lost: impl Fn(&Status) -> u64) {
    let config = service.config().display().to_string();
    let (code, text) = service.command(&["audit"]);
    assert!(code == 1 && text.contains(says), "before a start: {text}");
    let mut known = None;
    for life in 1..=3 {
        service.restart_until("/healthz");
        service.until("the loss is known", |s| lost(&s.status("s")) > 0);
        let status = service.status("s");
        assert!(status.alarm.as_ref().is_some_and(|alarm| alarm.contains(says)), "life {life}: {status:?}");
        assert_eq!((status.gap, *known.get_or_insert(lost(&status))), (0, lost(&status)), "life {life}");
        let raised: Vec<AlarmKind> = status.alarms.iter().map(|alarm| alarm.kind).collect();
        let (_, page) = service.get("/metrics").unwrap();
        let line = "hydrant_alarms{DeliveryStreamName=\"s\",kind=\"records_lost\"} 1\n";
        assert!(raised == [AlarmKind::RecordsLost] && String::from_utf8(page).unwrap().contains(line), "{raised:?}");
        assert!(status.alarms[0].since_ms > 0, "{status:?}");
        for command in [&["status", &config][..], &["audit", "--deep", &config]] {
            let (code, text) = service.command_with(command);
            assert!(code == 1 && text.contains(says), "life {life}, {command:?}: {text}");
        }
        service.kill();
    }
    service.restart();
    assert_eq!(service.command_with(&["acknowledge", &config, "s"]).0, 0);
    for life in 1..=2 {
        assert_eq!(service.status("s").alarm, None, "life {life} after it");
        let (code, text) = service.command_with(&["audit", "--deep", &config]);
        assert!(code == 0 && text.contains("lost"), "life {life} after it: {text}");
        assert_eq!(known, Some(lost(&service.status("s"))));
        service.kill();
        service.restart();
    }
}

#[test]
fn a_journal_that_was_cut_is_said_in_every_life() {
    let (mut service, dir) = killed(WAITING, false);
    cut(&dir);
    said_until_acknowledged(&mut service, "were acknowledged and cannot be read any more", |s| s.lost);
    let status = service.status("s");
    assert_eq!((status.accepted, status.pending + status.lost), (40, 40), "{status:?}");
}

/// Flips a bit of the last frame that stands in a journal's newest segment.
fn flip_last_frame(dir: &std::path::Path) {
    let segments = std::fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let segment = segments.filter(|path| path.extension().is_some_and(|e| e == "seg")).max().expect("a segment");
    let mut bytes = std::fs::read(&segment).unwrap();
    let last = bytes.iter().rposition(|byte| *byte == b'x').expect("a record");
    bytes[last] ^= 1;
    std::fs::write(segment, bytes).unwrap();
}

/// Damages both slots of a note of what is durable, so that none in that file can be read.
fn damage_note(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    for slot in [0, 512] {
        bytes[slot + 20] ^= 1;
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_last_frame_is_missed_though_a_note_of_it_is_damaged_too() {
    for note in ["journal.frontier", "journal.frontier.copy"] {
        let (mut service, dir) = killed(WAITING, false);
        flip_last_frame(&dir);
        damage_note(&dir.join(note));
        said_until_acknowledged(&mut service, "records 36 to 39 were acknowledged", |s| s.lost);
        assert_eq!(service.status("s").lost, BATCH);
    }
}

#[test]
fn a_journal_that_is_gone_with_every_note_of_it_is_said() {
    let (mut service, dir) = killed(WAITING, false);
    for gone in ["journal.frontier", "journal.frontier.copy"] {
        std::fs::remove_file(dir.join(gone)).unwrap();
    }
    std::fs::remove_dir_all(dir.join("journal")).unwrap();
    let says = "journal.frontier` is not there, nor its copy";
    let (code, text) = service.command(&["audit"]);
    assert!(code == 1 && text.contains(says), "{text}");
    service.restart();
    let damage = service.status("s").damage;
    assert!(damage.iter().any(|damage| damage.contains(says)), "{damage:?}");
}

#[test]
fn a_journal_that_is_gone_is_lost_with_all_its_records() {
    let (mut service, dir) = killed(WAITING, false);
    std::fs::remove_dir_all(dir.join("journal")).unwrap();
    said_until_acknowledged(&mut service, "records 0 to 39 were acknowledged", |s| s.lost);
    let status = service.status("s");
    assert_eq!((status.accepted, status.lost, status.pending), (40, 40, 0), "{status:?}");
}

#[test]
fn what_was_not_backed_up_yet_is_said_in_every_life() {
    let (mut service, dir) = killed(BACKUP_WAITS, true);
    cut(&dir);
    said_until_acknowledged(&mut service, "cannot be read any more for the backup", |s| s.lost_of_backup);
    let (_, page) = service.get("/metrics").unwrap();
    let lost = service.status("s").lost_of_backup;
    let line = format!("hydrant_lost_backup_records{{DeliveryStreamName=\"s\"}} {lost}");
    assert!(String::from_utf8(page).unwrap().contains(&line), "{line}");
    let status = service.status("s");
    assert_eq!((status.lost, status.outlets["destination"].records), (0, 40), "{status:?}");
}

#[test]
fn a_repair_says_which_records_it_may_deliver_again() {
    let (service, dir) = killed(&WAITING.replace("900s", "0s"), true);
    for entry in std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.file_name().unwrap().to_str().unwrap().starts_with("plans.") {
            std::fs::remove_file(entry).unwrap();
        }
    }
    std::fs::remove_dir_all(dir.join("ledger")).unwrap();
    let (code, text) = service.command(&["repair"]);
    assert!(code == 1 && text.contains("records 0 to 39 are in no plan that is known"), "{text}");
}

/// The ledger's only file and its copy.
fn ledger(dir: &std::path::Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir.join("ledger")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn an_audit_looks_at_every_object_though_a_line_of_the_ledger_is_damaged() {
    let (service, dir) = killed(&WAITING.replace("900s", "0s"), true);
    let (_, text) = service.command(&["audit", "--deep"]);
    let objects = text.split("looked at ").nth(1).and_then(|rest| rest.trim().split('\n').next()).unwrap().to_owned();
    let objects: u64 = objects.parse().unwrap();
    assert_eq!(objects, BATCHES, "{text}");
    for file in ledger(&dir) {
        let mut bytes = std::fs::read(&file).unwrap();
        let second = bytes.iter().position(|b| *b == b'\n').unwrap() + 20;
        bytes[second] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }
    let (code, text) = service.command(&["audit", "--deep"]);
    assert!(code == 1 && text.contains(&format!("looked at {}", objects - 1)), "of {objects}: {text}");
}

#[test]
fn an_audit_without_a_ledger_looks_at_what_the_plan_log_knows() {
    let (service, dir) = killed(&WAITING.replace("900s", "0s"), true);
    let (_, before) = service.command(&["audit", "--deep"]);
    std::fs::remove_dir_all(dir.join("ledger")).unwrap();
    std::fs::create_dir(dir.join("ledger")).unwrap();
    let (_, text) = service.command(&["audit", "--deep"]);
    let looked = |text: &str| text.split("looked at ").nth(1).map(|rest| rest.trim().to_owned());
    assert_eq!(looked(&text), looked(&before), "{text}");
}

#[test]
fn a_directory_whose_name_was_written_over_is_held_and_takes_nobody_elses_place() {
    let stream = WAITING.replace("900s", "0s");
    let streams = format!("{stream}{}", stream.replace("  s:", "  o:").replace("DIR/out", "DIR/other"));
    let mut service = Service::start(&streams);
    assert_eq!((service.put("s", &[b"one".as_slice()]), service.put("o", &[b"two".as_slice()])), (200, 200));
    service.until("both are delivered", |s| ["s", "o"].iter().all(|name| s.status(name).pending == 0));
    service.kill();
    let dirs = std::fs::read_dir(service.dir.path().join("data/streams")).unwrap();
    let meta = |name: &str| format!("\"name\":\"{name}\"");
    let of = |dirs: &[PathBuf], name: &str| {
        let is_of = |dir: &&PathBuf| std::fs::read_to_string(dir.join("META")).unwrap().contains(&meta(name));
        dirs.iter().find(is_of).unwrap().clone()
    };
    let dirs: Vec<PathBuf> = dirs.map(|entry| entry.unwrap().path()).collect();
    let (s, o) = (of(&dirs, "s"), of(&dirs, "o"));
    std::fs::copy(o.join("META"), s.join("META")).unwrap();
    service.restart_until("/healthz");
    assert_eq!(service.status("o").state, "running");
    assert!(service.statuses().iter().any(|s| s.alarm.as_ref().is_some_and(|alarm| alarm.contains("its copy"))));
    assert_eq!((service.put("o", &[b"three".as_slice()]), service.put("s", &[b"four".as_slice()])), (200, 503));
    service.kill();
    std::fs::copy(s.join("META.copy"), s.join("META")).unwrap();
    service.restart();
    let status = service.status("s");
    assert_eq!((status.accepted, status.outlets["destination"].records), (1, 1), "{status:?}");
}
