//! The journal where the medium, an operator or a full disk takes something away: what is gone is reported with its
//! exact offsets, what is there is read, and room that comes back is used again.

use crate::journal::disk::{INCARNATION, limits, put, read_all};
use hydrant::error::Kind;
use hydrant::fs::Fs;
use hydrant::fs::fake::FakeFs;
use hydrant::journal::segment::Segment;
use hydrant::journal::{Budget, Journal, JournalLimits, Put, Recovered, Writer, survey};
use hydrant::lane::{Cursor, Lane, Read};
use hydrant::record::{EntryPoint, Frame, Records};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DIR: &str = "/j";

fn disk(fake: &FakeFs) -> Arc<dyn Fs> {
    Arc::new(fake.clone())
}

fn open_at(fake: &FakeFs, floor: u64) -> (Arc<Journal>, Writer, Recovered) {
    Journal::open(disk(fake), Path::new(DIR), INCARNATION, limits(), Budget::unlimited(), floor).unwrap()
}

fn open_within(fake: &FakeFs, limits: JournalLimits, budget: &Arc<Budget>) -> (Arc<Journal>, Writer) {
    let opened = Journal::open(disk(fake), Path::new(DIR), INCARNATION, limits, budget.clone(), 0);
    let (journal, writer, _) = opened.unwrap();
    (journal, writer)
}

/// Paths of the journal's files with this ending, and their sizes.
fn files(fake: &FakeFs, ending: &str) -> Vec<(PathBuf, u64)> {
    let names = fake.list(Path::new(DIR)).unwrap().into_iter().filter(|n| n.ends_with(ending));
    let paths = names.map(|n| Path::new(DIR).join(n));
    paths.map(|p| (p.clone(), fake.open(&p).unwrap().size().unwrap())).collect()
}

fn sizes(fake: &FakeFs, ending: &str) -> Vec<u64> {
    files(fake, ending).into_iter().map(|f| f.1).collect()
}

/// Of segments, named, unnamed and set aside: what a budget is of.
fn bytes_on_disk(fake: &FakeFs) -> u64 {
    [".seg", ".spare", ".damaged"].iter().flat_map(|ending| sizes(fake, ending)).sum()
}

/// A journal that has lived for a while.
struct Lived {
    fake: FakeFs,
    /// What can be read of it.
    frames: Vec<Frame>,
    /// Its segments with the first offset of each.
    segments: Vec<(PathBuf, u64)>,
    end: u64,
}

/// Four segments and a bit, commits of two frames and three records; an older segment was recycled.
fn lived() -> Lived {
    let fake = FakeFs::new();
    let (journal, mut writer, _) = open_at(&fake, 0);
    let mut end = 0;
    while files(&fake, ".seg").len() < 5 {
        assert_eq!(writer.commit(vec![put(&end.to_string(), 2), put("x", 1)]).unwrap(), [end, end + 2]);
        end += 3;
    }
    let second = Segment::open(&fake, &files(&fake, ".seg")[1].0, &INCARNATION).unwrap().unwrap().first;
    assert_eq!(journal.recycle(second).unwrap(), 1);
    let first = |path: &Path| Segment::open(&fake, path, &INCARNATION).unwrap().unwrap().first;
    let segments: Vec<_> = files(&fake, ".seg").into_iter().map(|(path, _)| (path.clone(), first(&path))).collect();
    let (frames, lost) = read_all(&journal, second);
    assert!(lost.is_empty());
    Lived { fake: fake.after_kill(), frames, segments, end }
}

impl Lived {
    fn low(&self) -> u64 {
        self.segments[0].1
    }

    /// The frames without those that lie in `from..to`.
    fn without(&self, (from, to): (u64, u64)) -> Vec<Frame> {
        self.frames.iter().filter(|f| f.end() <= from || f.first >= to).cloned().collect()
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_segment_with_a_damaged_header_is_made_again_from_its_frames() {
    let lived = lived();
    // One byte each of the magic, the checksum, the incarnation, the number, the offsets and the count.
    for (segment, byte) in (0..4).flat_map(|s| [3, 13, 20, 33, 41, 50, 60].map(|byte| (s, byte))) {
        let fake = lived.fake.after_kill();
        let path = &lived.segments[segment].0;
        fake.flip_bit(path, byte);
        assert_eq!(survey(disk(&fake), Path::new(DIR), &INCARNATION, 0, 0).unwrap().accepted, lived.end);
        let mut end = lived.end;
        for life in 0..2 {
            let story = format!("segment {segment}, byte {byte}, life {life}");
            let (journal, mut writer, recovered) = open_at(&fake, 0);
            assert!(!recovered.damage(Path::new(DIR)).is_empty(), "{story}");
            assert_eq!((recovered.headers_rebuilt, recovered.set_aside), (vec![name(path)], vec![]), "{story}");
            let (frames, lost) = read_all(&journal, lived.low());
            assert_eq!(frames[..lived.frames.len()], lived.frames, "{story}");
            assert_eq!((lost, journal.start(), journal.accepted()), (vec![], lived.low(), end), "{story}");
            assert_eq!(journal.records_from(lived.low() + 1), end - lived.low() - 1, "{story}");
            assert_eq!(writer.commit(vec![put("new", 1)]).unwrap(), [end], "{story}");
            end += 1;
        }
        let (journal, ..) = open_at(&fake, 0);
        journal.recycle(lived.end).unwrap();
        assert_eq!(journal.accepted(), end);
        assert_eq!(read_all(&journal, lived.end).0.len(), 2);
    }
}

#[test]
fn a_damaged_header_and_a_damaged_first_frame_cost_the_records_of_that_frame() {
    let lived = lived();
    for (path, first) in &lived.segments {
        let fake = lived.fake.after_kill();
        fake.flip_bit(path, 40);
        fake.flip_bit(path, 4096 + 50);
        let (journal, mut writer, _) = open_at(&fake, 0);
        let gone = (*first, first + 2);
        assert_eq!(read_all(&journal, lived.low()), (lived.without(gone), vec![gone]));
        assert_eq!(journal.accepted(), lived.end);
        assert_eq!(writer.commit(vec![put("new", 1)]).unwrap(), [lived.end]);
    }
}

#[test]
fn what_an_operator_removed_is_lost_with_its_exact_offsets_and_nothing_is_skipped_silently() {
    let lived = lived();
    for removed in 0..3 {
        let fake = lived.fake.after_kill();
        fake.remove(&lived.segments[removed].0).unwrap();
        let (journal, mut writer, _) = open_at(&fake, 0);
        let gone = (lived.segments[removed].1, lived.segments[removed + 1].1);
        assert_eq!(read_all(&journal, lived.low()), (lived.without(gone), vec![gone]), "segment {removed}");
        assert_eq!(journal.accepted(), lived.end);
        assert_eq!(writer.commit(vec![put("new", 1)]).unwrap(), [lived.end]);
    }
    // The newest one: only the plans know what it held.
    let fake = lived.fake.after_kill();
    fake.remove(&lived.segments[3].0).unwrap();
    let (journal, _, recovered) = open_at(&fake, lived.end);
    let gone = (lived.segments[3].1, lived.end);
    assert_eq!(recovered.records_lost, gone.1 - gone.0);
    assert_eq!(read_all(&journal, lived.low()), (lived.without(gone), vec![gone]));
}

#[test]
fn what_plans_list_and_the_journal_has_not_is_lost_and_its_offsets_are_not_given_again() {
    for held in [0, 4, 10] {
        let fake = FakeFs::new();
        if held > 0 {
            let (_, mut writer, _) = open_at(&fake, 0);
            (0..held / 2).for_each(|i| drop(writer.commit(vec![put(&i.to_string(), 2)]).unwrap()));
        }
        let (mut lost, mut accepted) = (25 - held, 25);
        for life in 0..3 {
            let (journal, mut writer, recovered) = open_at(&fake, 25);
            assert_eq!(
                (recovered.records_lost, !recovered.damage(Path::new(DIR)).is_empty()),
                (lost, lost > 0),
                "held {held}, life {life}"
            );
            let (frames, gone) = read_all(&journal, 0);
            assert_eq!(gone, [(held, 25)], "held {held}, life {life}");
            let firsts: Vec<u64> = frames.iter().map(|f| f.first).collect();
            let expected: Vec<u64> = (0..held).step_by(2).chain(25..accepted).collect();
            assert_eq!(firsts, expected, "held {held}, life {life}");
            assert_eq!((journal.durable(), journal.accepted()), (accepted, accepted));
            assert_eq!(survey(disk(&fake), Path::new(DIR), &INCARNATION, 0, 25).unwrap().accepted, accepted);
            assert_eq!(writer.commit(vec![put("new", 1)]).unwrap(), [accepted]);
            (lost, accepted) = (0, accepted + 1);
        }
    }
}

#[test]
fn what_a_journal_took_of_the_budgets_it_gives_back_when_it_goes() {
    let fake = FakeFs::new();
    let node = Budget::new("node", u64::MAX, None);
    for life in 0..6 {
        let stream = Budget::new("stream", u64::MAX, Some(node.clone()));
        let (journal, mut writer) = open_within(&fake, limits(), &stream);
        for i in 0..40 {
            writer.commit(vec![put(&i.to_string(), 2)]).unwrap();
        }
        journal.prepare_spare().unwrap();
        if life % 2 == 1 {
            assert!(journal.recycle(journal.durable()).unwrap() > 0);
        }
        let bytes = bytes_on_disk(&fake);
        assert_eq!((stream.used(), node.used(), journal.disk_bytes()), (bytes, bytes, bytes), "life {life}");
        drop(journal);
        assert_eq!(node.used(), bytes, "its writer goes on");
        drop(writer);
        assert_eq!((stream.used(), node.used()), (0, 0), "life {life}");
    }
}

#[test]
fn a_journal_that_ends_badly_gives_its_budgets_back_all_the_same() {
    let lived = lived();
    let node = Budget::new("node", u64::MAX, None);
    let open = |fake: &FakeFs| {
        let stream = Budget::new("stream", u64::MAX, Some(node.clone()));
        Journal::open(disk(fake), Path::new(DIR), INCARNATION, limits(), stream, 0)
    };
    // Its recovery fails, wherever it may be.
    for at in 1.. {
        let fake = lived.fake.after_kill();
        fake.crash_at(at);
        let opened = open(&fake).map(drop);
        // What is noted beside it may fail, and nothing else.
        assert!(opened.is_ok() || fake.crashed(), "operation {at}");
        assert_eq!(node.used(), 0, "operation {at}");
        if !fake.crashed() {
            break;
        }
    }
    // The header of its next segment cannot be synced.
    let fake = lived.fake.after_kill();
    let (journal, mut writer, _) = open(&fake).unwrap();
    journal.prepare_spare().unwrap();
    fake.fail_syncs(1);
    assert_eq!(writer.commit(vec![put("more than the segment holds", 2000)]).unwrap_err().kind, Kind::Poisoned);
    drop((journal, writer));
    assert_eq!(node.used(), 0);
    // A damaged segment is set aside, where nobody counts it any more.
    let fake = lived.fake.after_kill();
    fake.flip_bit(&lived.segments[1].0, 4096 + 50);
    let (journal, writer, _) = open(&fake).unwrap();
    assert_eq!(read_all(&journal, 0).1.len(), 2);
    journal.recycle(lived.end).unwrap();
    assert_eq!(files(&fake, ".damaged").len(), 1);
    assert_eq!(node.used(), bytes_on_disk(&fake));
    drop((journal, writer));
    assert_eq!(node.used(), 0);
}

#[test]
fn a_journal_over_its_budget_is_opened_and_read_all_the_same() {
    let lived = lived();
    let mut fake = lived.fake.after_kill();
    let mut end = lived.end;
    for life in 0..3 {
        let budget = Budget::new("stream", 40_000, None);
        let (journal, mut writer) = open_within(&fake, limits(), &budget);
        let (frames, lost) = read_all(&journal, lived.low());
        assert_eq!((frames.last().unwrap().end(), lost), (end, vec![]), "life {life}");
        assert_eq!(budget.used(), bytes_on_disk(&fake), "what recovery wrote is counted");
        // What its own segment holds is room that it has; there is none for another.
        let refused = loop {
            match writer.commit(vec![put("more", 1)]) {
                Ok(_) => end += 1,
                Err(e) => break e.kind,
            }
        };
        assert_eq!(refused, Kind::NoSpace);
        assert_eq!(journal.accepted(), end);
        fake = fake.after_kill();
    }
    let budget = Budget::new("stream", 100_000, None);
    let (journal, mut writer) = open_within(&fake, limits(), &budget);
    journal.recycle(end).unwrap();
    (0..100).for_each(|_| {
        let first = writer.commit(vec![put("intake goes on", 1)]).unwrap()[0];
        journal.recycle(first).unwrap();
    });
}

/// Segments that grow from 32 KiB, as far as the budget lets them.
fn growing() -> JournalLimits {
    JournalLimits { segment_bytes_max: 1 << 20, ..limits() }
}

/// Puts single records until the budget refuses.
fn fill(writer: &mut Writer) {
    let refused = loop {
        if let Err(e) = writer.commit(vec![put("a record", 1)]) {
            break e;
        }
    };
    assert_eq!(refused.kind, Kind::NoSpace);
}

#[test]
fn where_the_usual_segment_does_not_fit_a_smaller_one_does_and_intake_never_stops_for_good() {
    for limit in [2, 3, 4, 5, 6].map(|halves| halves * 16384 + 32768) {
        let budget = Budget::new("stream", limit, None);
        let fake = FakeFs::new();
        let (journal, mut writer) = open_within(&fake, growing(), &budget);
        fill(&mut writer);
        assert!(budget.used() > limit - 16384, "{} of {limit} bytes are used when it refuses", budget.used());
        for round in 0..20 {
            assert!(journal.recycle(journal.durable()).unwrap() > 0);
            for i in 0..100 {
                let first = writer.commit(vec![put("intake goes on", 1)]);
                let first = first.unwrap_or_else(|e| panic!("limit {limit}, round {round}, put {i}: {e}"))[0];
                journal.recycle(first).unwrap();
                // Its room may be refused, which stops nothing.
                let _ = journal.prepare_spare();
                assert!(budget.used() <= limit);
            }
            fill(&mut writer);
        }
        assert_eq!(budget.used(), bytes_on_disk(&fake));
    }
}

#[test]
fn a_disk_that_others_fill_stops_intake_only_as_long_as_it_is_full() {
    let fake = FakeFs::new();
    let (journal, mut writer) = open_within(&fake, growing(), &Budget::unlimited());
    fake.set_capacity(Some(3 * 32768));
    for _ in 0..20 {
        fill(&mut writer);
        assert!(journal.recycle(journal.durable()).unwrap() > 0);
        writer.commit(vec![put("again", 1)]).unwrap();
    }
}

#[test]
fn spares_too_small_for_a_large_put_make_room_for_a_segment_that_is_not() {
    let budget = Budget::new("stream", 112 << 10, None);
    let fake = FakeFs::new();
    let (journal, mut writer) = open_within(&fake, growing(), &budget);
    fill(&mut writer);
    journal.recycle(journal.durable()).unwrap();
    let large = || Put { batch: Records::from_parts(vec![7; 36 << 10], vec![36 << 10]).unwrap(), ..put("", 0) };
    for i in 0..20 {
        let first = writer.commit(vec![large()]).unwrap_or_else(|e| panic!("put {i}: {e}"))[0];
        journal.recycle(first).unwrap();
    }
}

#[test]
fn a_small_spare_is_kept_until_there_is_room_for_a_larger_one() {
    let budget = Budget::new("stream", (32 + 64 + 20) << 10, None);
    let fake = FakeFs::new();
    let (journal, mut writer) = open_within(&fake, growing(), &budget);
    let writer = std::cell::RefCell::new(&mut writer);
    let commit = || drop(writer.borrow_mut().commit(vec![put("a record", 1)]).unwrap());
    let until_rolled = || {
        let before = files(&fake, ".seg").len();
        while files(&fake, ".seg").len() == before {
            commit();
        }
    };
    // Commits take a block each, of which a segment of 64 KiB has sixteen.
    let until_half_full = || (0..8).for_each(|_| commit());
    commit();
    until_rolled();
    journal.recycle(journal.durable()).unwrap();
    assert_eq!(sizes(&fake, ".spare"), [32 << 10], "smaller than the next segment should be, but the only one");
    journal.prepare_spare().unwrap();
    assert_eq!(sizes(&fake, ".spare"), [32 << 10], "there is much room in the segment that is written to");
    until_half_full();
    assert_eq!(journal.prepare_spare().unwrap_err().kind, Kind::NoSpace);
    assert_eq!(sizes(&fake, ".spare"), [32 << 10], "a larger one cannot be had");
    let created = fake.files_created();
    until_rolled();
    assert_eq!((fake.files_created(), sizes(&fake, ".spare").len()), (created, 0), "it became the next segment");
    journal.recycle(journal.durable()).unwrap();
    until_rolled();
    journal.recycle(journal.durable()).unwrap();
    assert_eq!((sizes(&fake, ".spare"), sizes(&fake, ".seg")), (vec![32 << 10], vec![64 << 10]));
    until_half_full();
    budget.set_limit(u64::MAX);
    journal.prepare_spare().unwrap();
    assert_eq!(sizes(&fake, ".spare"), [128 << 10]);
    assert_eq!(budget.used(), bytes_on_disk(&fake));
}

/// A journal with all its frames in memory, in several segments.
fn remembered(fake: &FakeFs) -> (Arc<Journal>, Vec<Frame>) {
    let limits = JournalLimits { tail_bytes_max: usize::MAX, ..limits() };
    let (journal, mut writer) = open_within(fake, limits, &Budget::unlimited());
    for i in 0..40 {
        writer.commit(vec![put(&i.to_string(), 2), put("x", 1), put("y", 3)]).unwrap();
    }
    assert!(files(fake, ".seg").len() > 3);
    let frames = read_all(&journal, 0).0;
    assert_eq!(frames.len(), 120);
    (journal, frames)
}

fn memory_bytes(frames: &[Frame]) -> usize {
    frames.iter().map(|f| f.batch.bytes().len() + 4 * f.batch.len()).sum()
}

/// The frames behind a cursor, all of them whole.
fn rest(journal: &Journal, mut cursor: Cursor) -> Vec<Frame> {
    let mut frames = Vec::new();
    loop {
        match journal.read(&mut cursor).unwrap() {
            Read::Frame(frame) => frames.push((*frame).clone()),
            Read::End => return frames,
            Read::Lost { from, to } | Read::Gap { from, to } => panic!("{from}..{to} is not read"),
        }
    }
}

#[test]
fn a_reader_that_falls_out_of_memory_goes_on_from_disk_where_it_stood() {
    let fake = FakeFs::new();
    let (journal, frames) = remembered(&fake);
    let mut cursor = Cursor::default();
    let mut cursors = vec![cursor];
    while let Read::Frame(_) = journal.read(&mut cursor).unwrap() {
        cursors.push(cursor);
    }
    // The first commit of the first segment can be read from memory only.
    fake.flip_bit(&files(&fake, ".seg")[0].0, 4096 + 50);
    assert_eq!(rest(&journal, cursors[0]), frames);
    assert_eq!(journal.trim_tail(0, 0), 0);
    for (read, cursor) in cursors.into_iter().enumerate().skip(1) {
        assert_eq!(rest(&journal, cursor), frames[read..], "after {read} frames");
    }
    journal.recycle(journal.durable()).unwrap();
    assert_eq!(files(&fake, ".damaged").len(), 0, "no reader went back to what it had read");
}

#[test]
fn what_every_reader_has_passed_is_forgotten_and_the_rest_is_kept_as_far_as_memory_allows() {
    let fake = FakeFs::new();
    let (journal, frames) = remembered(&fake);
    // The last commit is damaged on disk: its frames are read only as long as they are in memory.
    let (last, first) = (frames.len() - 3, frames[frames.len() - 3].first);
    let (path, _) = files(&fake, ".seg").pop().unwrap();
    let segment = Segment::open(&fake, &path, &INCARNATION).unwrap().unwrap();
    let commits = (first - segment.first) / 6;
    fake.flip_bit(&path, 4096 * (1 + commits as usize) + 50);
    assert_eq!(journal.trim_tail(0, usize::MAX), memory_bytes(&frames));
    assert_eq!(journal.trim_tail(frames[10].end(), usize::MAX), memory_bytes(&frames[11..]));
    assert_eq!(journal.trim_tail(frames[20].end() - 1, usize::MAX), memory_bytes(&frames[20..]), "inside a frame");
    let bytes_max = memory_bytes(&frames[30..]) - 1;
    assert_eq!(journal.trim_tail(0, bytes_max), memory_bytes(&frames[31..]), "the newest are kept");
    assert_eq!(read_all(&journal, 0), (frames.clone(), vec![]), "from disk, then from memory");
    assert_eq!(journal.trim_tail(first, bytes_max), memory_bytes(&frames[last..]));
    assert_eq!(read_all(&journal, 0), (frames.clone(), vec![]));
    assert_eq!(journal.trim_tail(frames[last].end(), bytes_max), memory_bytes(&frames[last + 1..]));
    assert_eq!(read_all(&journal, 0).1, [(first, frames[last].end())]);
}

/// Or each of the first commits of a new stream under load would write a file of its own on the way to its answer.
#[test]
fn segments_follow_the_size_of_the_commits_that_need_them() {
    let fake = FakeFs::new();
    let limits = JournalLimits { segment_bytes_min: 8192, segment_bytes_max: 1 << 20, tail_bytes_max: 0 };
    let (_, mut writer) = open_within(&fake, limits, &Budget::unlimited());
    let batch = Records::from_parts(vec![b'x'; 60_000], vec![60_000]).unwrap();
    for _ in 0..16 {
        writer.commit(vec![Put { arrival_ms: 1, entry: EntryPoint::Source, batch: batch.clone() }]).unwrap();
    }
    let sizes: Vec<u64> = files(&fake, ".seg").into_iter().map(|(_, size)| size).collect();
    // One that holds a commit and no more, the next one as large, and then twice as large each time.
    assert!(sizes.len() <= 5 && sizes.windows(2).all(|pair| pair[0] <= pair[1]), "{sizes:?}");
}

#[test]
fn records_full_of_what_looks_like_frames_do_not_keep_a_journal_from_being_opened() {
    let fake = FakeFs::new();
    let limits = JournalLimits { segment_bytes_min: 2 << 20, segment_bytes_max: 2 << 20, tail_bytes_max: 0 };
    // Each sixteen bytes claim to begin a frame of one record and a megabyte, at an offset far above (what follows).
    let claim = [&b"HJF1"[..], &[0; 4], &(1u32 << 20).to_le_bytes(), &1u32.to_le_bytes()].concat();
    let claims = Records::from_parts(claim.repeat(32 << 10), vec![512 << 10]).unwrap();
    let claims = || Put { arrival_ms: 1, entry: EntryPoint::Source, batch: claims.clone() };
    {
        let (_, mut writer) = open_within(&fake, limits.clone(), &Budget::unlimited());
        for put in [put("before", 2), claims(), claims(), put("behind", 3)] {
            writer.commit(vec![put]).unwrap();
        }
    }
    let (path, size) = files(&fake, ".seg").remove(0);
    assert_eq!(size, 2 << 20);
    fake.flip_bit(&path, 2 * 4096);
    let (journal, mut writer) = open_within(&fake, limits, &Budget::unlimited());
    let (frames, lost) = read_all(&journal, 0);
    assert_eq!(frames.iter().map(|f| (f.first, f.end())).collect::<Vec<_>>(), [(0, 2), (3, 4), (4, 7)]);
    assert_eq!(lost, [(2, 3)]);
    assert_eq!(writer.commit(vec![put("new", 1)]).unwrap(), [7]);
}
