//! What a journal holds, read without changing anything: for audits.

use super::frontier::Frontier;
use super::recover::{find_segments, read_tail};
use super::{Budget, Journal, JournalLimits, JournalState};
use crate::error::Result;
use crate::fs::Fs;
use crate::lane::{Cursor, Lane, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What a journal holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Records ever accepted in this incarnation.
    pub accepted: u64,
    /// One above the last durable record's offset.
    pub end: u64,
    /// Offsets at or above the oldest segment that were never given to a record.
    pub skipped: Vec<(u64, u64)>,
    /// Offsets at or above `from` that were acknowledged and cannot be read.
    pub lost: Vec<(u64, u64)>,
    /// Whether there is a note of what is durable.
    pub is_noted: bool,
    /// What of that note is damaged: a sentence each.
    pub note_damage: Vec<String>,
}

/// Surveys the journal in `dir`, of which everything below `from` is settled; `floor` is that of [`Journal::open`].
pub fn survey(fs: Arc<dyn Fs>, dir: &Path, incarnation: &[u8; 16], from: u64, floor: u64) -> Result<Survey> {
    let (known, noted) = Frontier::read(&*fs, dir, incarnation)?;
    let segments = find_segments(&*fs, dir, incarnation, None)?;
    let (mut accepted, mut end) = (0, 0);
    if let Some(last) = segments.last() {
        let tail = read_tail(last, incarnation)?;
        (accepted, end) = (last.records_before + (tail.end - last.first), tail.end);
    }
    let next = end.max(known.durable).max(floor);
    accepted += next - end;
    let skipped = segments.iter().skip(1).filter(|s| s.first > s.previous_end).map(|s| (s.previous_end, s.first));
    let skipped = skipped.collect();
    let journal = Journal {
        fs,
        dir: dir.to_path_buf(),
        incarnation: *incarnation,
        limits: JournalLimits::default(),
        budget: Budget::unlimited(),
        frontier: Mutex::default(),
        shared: Mutex::new(JournalState { durable: next, accepted, ..JournalState::of(segments) }),
    };
    let (mut cursor, mut lost) = (Cursor::at(from.min(next)), Vec::new());
    loop {
        match journal.read(&mut cursor)? {
            Read::Lost { from, to } => lost.push((from, to)),
            Read::Frame(_) | Read::Gap { .. } => {}
            Read::End => {
                let (is_noted, note_damage) = (noted.exists, noted.damage);
                return Ok(Survey { accepted, end: next, skipped, lost, is_noted, note_damage });
            }
        }
    }
}
