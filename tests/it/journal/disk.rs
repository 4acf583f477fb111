//! Journal and plan log on a disk that misbehaves, and files of format 1 that must be readable for ever.

use hydrant::error::Kind;
use hydrant::fs::fake::FakeFs;
use hydrant::fs::{Fs, real::RealFs};
use hydrant::journal::{Budget, Journal, JournalLimits, Put, Writer, survey};
use hydrant::lane::{Cursor, Lane, Read};
use hydrant::record::{EntryPoint, Frame, Records};
use hydrant::stream::plan::list::ListBuilder;
use hydrant::stream::plan::{self, Epoch, Mark, Outlet, Plan, Reason, Track};
use hydrant::stream::state_log::plan_log::PlanLog;
use hydrant::stream::state_log::plan_log::recover::find;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const INCARNATION: [u8; 16] = *b"golden-format-01";

pub(crate) fn limits() -> JournalLimits {
    // No tail in memory: what is read comes from the segments.
    JournalLimits { segment_bytes_min: 32768, segment_bytes_max: 65536, tail_bytes_max: 0 }
}

fn open(fs: &Arc<dyn Fs>, dir: &Path, budget: Arc<Budget>) -> (Arc<Journal>, Writer) {
    let (journal, writer, _) = Journal::open(fs.clone(), dir, INCARNATION, limits(), budget, 0).unwrap();
    (journal, writer)
}

pub(crate) fn put(text: &str, records: usize) -> Put {
    let mut batch = Records::default();
    (0..records).for_each(|i| batch.push(format!("{text}-{i}").as_bytes()));
    Put { arrival_ms: 1_790_000_000_000, entry: EntryPoint::Source, batch }
}

/// Everything from `from` on: frames, and what was reported lost.
pub(crate) fn read_all(journal: &Journal, from: u64) -> (Vec<Frame>, Vec<(u64, u64)>) {
    let (mut cursor, mut frames, mut lost) = (Cursor::at(from), Vec::new(), Vec::new());
    loop {
        match journal.read(&mut cursor).unwrap() {
            Read::Frame(frame) => frames.push((*frame).clone()),
            Read::Lost { from, to } => lost.push((from, to)),
            Read::Gap { .. } => {}
            Read::End => return (frames, lost),
        }
    }
}

#[test]
fn what_was_committed_is_read_back_across_segments_and_restarts() {
    let fake = FakeFs::new();
    let (fs, dir): (Arc<dyn Fs>, _) = (Arc::new(fake.clone()), PathBuf::from("/j"));
    let mut expected = 0;
    for life in 0..5 {
        let (journal, mut writer) = open(&fs, &dir, Budget::unlimited());
        for i in 0..40 {
            let firsts = writer.commit(vec![put(&format!("{life}.{i}"), 3), put("x", 1)]).unwrap();
            assert_eq!(firsts, [expected, expected + 3]);
            expected += 4;
        }
        let (frames, lost) = read_all(&journal, 0);
        assert_eq!(frames.iter().map(|f| f.batch.len() as u64).sum::<u64>(), expected);
        assert!(lost.is_empty());
        assert_eq!((journal.accepted(), journal.records_from(10)), (expected, expected - 10));
        assert_eq!(read_all(&journal, expected - 2).0[0].first, expected - 4, "a cursor inside a frame gets the frame");
    }
    let (journal, _) = open(&fs, &dir, Budget::unlimited());
    assert!(journal.recycle(expected / 2).unwrap() > 0);
    assert_eq!(journal.accepted(), expected, "recycling does not change what was accepted");
    assert_eq!(survey(fs.clone(), &dir, &INCARNATION, 0, 0).unwrap().accepted, expected);
}

#[test]
fn a_damaged_record_is_reported_with_its_exact_offsets() {
    let fake = FakeFs::new();
    let (fs, dir): (Arc<dyn Fs>, _) = (Arc::new(fake.clone()), PathBuf::from("/j"));
    {
        let (_, mut writer) = open(&fs, &dir, Budget::unlimited());
        for i in 0..6 {
            writer.commit(vec![put(&i.to_string(), 2)]).unwrap();
        }
    }
    let first = dir.join(fs.list(&dir).unwrap().into_iter().find(|n| n.ends_with(".seg")).unwrap());
    // A header block, then a block for each commit: the third one starts at 3 * 4096.
    fake.flip_bit(&first, 3 * 4096 + 50);
    let (journal, _) = open(&fs, &dir, Budget::unlimited());
    let (frames, lost) = read_all(&journal, 0);
    assert_eq!(lost, [(4, 6)]);
    assert_eq!(frames.iter().map(|f| f.first).collect::<Vec<_>>(), [0, 2, 6, 8, 10]);
}

#[test]
fn a_full_budget_refuses_and_takes_again_after_recycling() {
    let (fs, dir): (Arc<dyn Fs>, _) = (Arc::new(FakeFs::new()), PathBuf::from("/j"));
    let (journal, mut writer) = open(&fs, &dir, Budget::new("stream", 200_000, None));
    let mut taken = 0;
    let refused = loop {
        match writer.commit(vec![put("some bytes that fill a segment soon enough", 20)]) {
            Ok(_) => taken += 20,
            Err(e) => break e,
        }
    };
    assert_eq!(refused.kind, Kind::NoSpace);
    assert!(refused.to_string().contains("disk budget of this stream"), "{refused}");
    assert_eq!(read_all(&journal, 0).0.len() as u64 * 20, taken, "a refused batch left nothing behind");
    assert!(journal.recycle(taken).unwrap() > 0);
    writer.commit(vec![put("again", 1)]).unwrap();
}

#[test]
fn segments_are_recycled_and_no_more_are_made_once_they_have_grown() {
    let fake = FakeFs::new();
    let (fs, dir): (Arc<dyn Fs>, _) = (Arc::new(fake.clone()), PathBuf::from("/j"));
    let limits = JournalLimits { segment_bytes_min: 8192, segment_bytes_max: 131_072, tail_bytes_max: 0 };
    let (journal, mut writer, _) =
        Journal::open(fs.clone(), &dir, INCARNATION, limits, Budget::unlimited(), 0).unwrap();
    let mut run = |commits: u64| {
        for i in 0..commits {
            let first = writer.commit(vec![put("a record", 1)]).unwrap()[0];
            // Trimmed in bursts of three segments, as by a buffer that holds so much.
            if i % 90 == 89 {
                journal.recycle(first).unwrap();
            }
        }
    };
    run(450);
    let grown = fake.files_created();
    run(450);
    assert_eq!(fake.files_created(), grown, "fourteen more segments were filled without making a file");
}

#[test]
fn after_a_failed_sync_nothing_is_accepted_until_the_next_start() {
    let fake = FakeFs::new();
    let (fs, dir): (Arc<dyn Fs>, _) = (Arc::new(fake.clone()), PathBuf::from("/j"));
    let (journal, mut writer) = open(&fs, &dir, Budget::unlimited());
    writer.commit(vec![put("a", 1)]).unwrap();
    fake.fail_syncs(1);
    assert_eq!(writer.commit(vec![put("b", 1)]).unwrap_err().kind, Kind::Poisoned);
    assert_eq!(writer.commit(vec![put("c", 1)]).unwrap_err().kind, Kind::Poisoned);
    assert_eq!(journal.durable(), 1, "what was not synced is never shown");
    let fs: Arc<dyn Fs> = Arc::new(fake.after_kill());
    let (journal, mut writer) = open(&fs, &dir, Budget::unlimited());
    assert_eq!(read_all(&journal, 0).0.len(), 2, "found in the page cache, and made durable before it is shown");
    writer.commit(vec![put("d", 1)]).unwrap();
}

#[test]
fn a_full_disk_refuses_and_what_is_held_is_still_read() {
    let fake = FakeFs::new();
    let (fs, dir): (Arc<dyn Fs>, _) = (Arc::new(fake.clone()), PathBuf::from("/j"));
    let (journal, mut writer) = open(&fs, &dir, Budget::unlimited());
    fake.set_capacity(Some(70_000));
    let mut taken = 0;
    let refused = loop {
        match writer.commit(vec![put("some bytes that fill a segment soon enough", 20)]) {
            Ok(_) => taken += 1,
            Err(e) => break e,
        }
    };
    assert_eq!(refused.kind, Kind::NoSpace);
    assert_eq!(read_all(&journal, 0).0.len(), taken);
    fake.set_capacity(None);
    writer.commit(vec![put("again", 1)]).unwrap();
}

/// Entries of every kind.
fn entries() -> Vec<plan::Entry> {
    let mut list = ListBuilder::default();
    list.push(3, 0, 1);
    list.push(4, 0, 1);
    list.push(7, 1, 2);
    let open = Plan {
        number: 0,
        id: uuid::Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        outlet: Outlet::ProcessingFailed,
        epoch: 1,
        store: "s3://lake".into(),
        name: "errors/processing-failed/x".into(),
        list: list.finish(),
        oldest_arrival_ms: 1_790_000_000_000,
        reasons: vec![Reason { code: "Transform.Trap".into(), message: "m".into(), attempts: 2, ended_ms: 5 }; 3],
        bytes: 30,
        lengths: None,
        planned_ms: 1_790_000_000_000,
        abandoned: None,
        mark: None,
    };
    let settled = Plan { number: 1, outlet: Outlet::Dropped, ..open.clone() };
    let mark = Mark { plan: 1, mark: 1, at_ms: 9, completed: 2, failed: 0, object_bytes: 0, tag: "tag".into() };
    vec![
        plan::Entry::Epoch(Epoch { number: 1, from: 0, hash: [7; 32] }),
        plan::Entry::BackupFrom(Some(2)),
        plan::Entry::Plan(open),
        plan::Entry::Plan(settled),
        plan::Entry::Mark(mark),
        plan::Entry::Rename { plan: 0, name: "errors/processing-failed/y".into() },
        plan::Entry::Low { track: Track::Main, low: 3 },
    ]
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/format1")
}

/// Format 1 as it was first written. `HYDRANT_WRITE_GOLDEN=1` makes the files; they are never made again.
#[test]
fn files_of_format_1_are_read_for_ever() {
    let dir = golden();
    if std::env::var_os("HYDRANT_WRITE_GOLDEN").is_some() {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let (_, mut writer) = open(&fs, &dir, Budget::unlimited());
        writer.commit(vec![put("golden", 2), put("file", 1)]).unwrap();
        writer.commit(vec![put("last", 1)]).unwrap();
        let mut log = PlanLog::open(Arc::new(RealFs), &dir, INCARNATION, 512).unwrap();
        log.commit(entries()).unwrap();
    }
    let temporary = tempfile::tempdir().unwrap();
    let copy = temporary.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let (journal, mut writer) = open(&fs, &copy, Budget::unlimited());
    let (frames, lost) = read_all(&journal, 0);
    assert!(lost.is_empty());
    let records: Vec<String> = frames
        .iter()
        .flat_map(|f| f.batch.iter().map(|r| String::from_utf8_lossy(r).into_owned()).collect::<Vec<_>>())
        .collect();
    assert_eq!(records, ["golden-0", "golden-1", "file-0", "last-0"]);
    assert_eq!(writer.commit(vec![put("more", 1)]).unwrap(), [4]);
    let mut expected = plan::state::State::default();
    entries().into_iter().for_each(|e| expected.apply(e));
    assert_eq!(find(&RealFs, &copy, &INCARNATION).unwrap().state, expected);
    assert_eq!(PlanLog::open(Arc::new(RealFs), &copy, INCARNATION, 512).unwrap().state(), &expected);
}

#[test]
fn a_plan_log_damaged_in_the_middle_stops_the_stream_rather_than_guess() {
    let fake = FakeFs::new();
    let dir = PathBuf::from("/p");
    let mut log = PlanLog::open(Arc::new(fake.clone()), &dir, INCARNATION, 4096).unwrap();
    for entry in entries() {
        log.commit(vec![entry]).unwrap();
    }
    drop(log);
    // The first file was written first; its snapshot frame stands at 64, the first commit behind it.
    let bytes = hydrant::fs::read(&fake, &dir.join("plans.1")).unwrap();
    let at = memchr::memmem::find(&bytes, &[7; 32]).expect("the epoch's hash");
    fake.flip_bit(&dir.join("plans.1"), at);
    let copied = PlanLog::open(Arc::new(fake.after_kill()), &dir, INCARNATION, 4096).unwrap();
    assert!(copied.damage()[0].contains("`plans.1` is damaged, and was read from its copy"), "{:?}", copied.damage());
    let mut expected = plan::state::State::default();
    entries().into_iter().for_each(|e| expected.apply(e));
    assert_eq!(copied.state(), &expected);
    fake.flip_bit(&dir.join("plans.1.copy"), at);
    let refused =
        PlanLog::open(Arc::new(fake.clone()), &dir, INCARNATION, 4096).err().expect("damage is not guessed about");
    assert_eq!(refused.kind, Kind::Corrupt);
    assert!(refused.to_string().contains("plans.1"), "{refused}");
}

#[test]
fn a_plan_log_whose_reserve_cannot_grow_is_starved_until_there_is_room_for_all_its_files() {
    let fake = FakeFs::new();
    let dir = PathBuf::from("/p");
    let mut log = PlanLog::open(Arc::new(fake.clone()), &dir, INCARNATION, 4096).unwrap();
    log.commit(entries()).unwrap();
    fake.set_capacity(Some(fake.used()));
    let rename = |c: &str| vec![plan::Entry::Rename { plan: 0, name: c.repeat(2200) }];
    // The first fits behind the snapshot. The second needs a snapshot of more than half a file, and no file can grow.
    log.commit(rename("a")).unwrap();
    assert!(!log.is_starved());
    log.commit(rename("b")).unwrap();
    assert!(log.is_starved());
    log.retry_room().unwrap();
    assert!(log.is_starved(), "there is still no room");
    fake.set_capacity(None);
    log.retry_room().unwrap();
    assert!(!log.is_starved());
    for i in 0..3 {
        let size = fake.open(&dir.join(format!("plans.{i}"))).unwrap().size().unwrap();
        assert_eq!(size, 65536, "`plans.{i}` is the next to be written one day");
    }
    // Grown for good: whichever file is next, the log needs nothing of the disk for it.
    fake.set_capacity(Some(0));
    for _ in 0..200 {
        log.commit(rename("c")).unwrap();
        assert!(!log.is_starved());
    }
    assert_eq!(&find(&fake, &dir, &INCARNATION).unwrap().state, log.state());
}

#[test]
fn a_settled_plan_keeps_no_reasons() {
    let mut state = plan::state::State::default();
    entries().into_iter().for_each(|e| state.apply(e));
    assert_eq!((state.plans[&0].reasons.len(), state.plans[&1].reasons.len()), (3, 0));
    assert_eq!(plan::state::State::from_snapshot(state.snapshot()), state);
}
