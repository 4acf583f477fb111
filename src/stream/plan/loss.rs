//! What the medium has lost of acknowledged records. It is part of a lane's state, so that no later life forgets to say so, until
//! somebody has taken note of it.

use super::{Entry, Track};
use std::ops::{Add, Range};

/// Ranges that a sentence names; it only counts the others.
const NAMED_MAX: usize = 5;

/// Lost records of which somebody takes note.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcknowledgedLoss {
    pub records: u64,
    /// Records that were lost before they were backed up.
    pub of_backup: u64,
}

impl Add for AcknowledgedLoss {
    type Output = AcknowledgedLoss;

    fn add(self, other: AcknowledgedLoss) -> AcknowledgedLoss {
        AcknowledgedLoss { records: self.records + other.records, of_backup: self.of_backup + other.of_backup }
    }
}

/// What the medium has lost, by tracks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Offsets of each track, in order and apart.
    ranges: [Vec<Range<u64>>; 2],
    /// Records of both tracks of which somebody has taken note.
    acknowledged: u64,
}

impl Loss {
    /// Takes note of offsets that a track has lost; they may be known already.
    pub fn add(&mut self, track: Track, lost: Range<u64>) {
        let ranges = &mut self.ranges[track as usize];
        let touches = |range: &Range<u64>| range.start <= lost.end && lost.start <= range.end;
        let merged = ranges
            .iter()
            .filter(|range| touches(range))
            .fold(lost.clone(), |sum, range| sum.start.min(range.start)..sum.end.max(range.end));
        ranges.retain(|range| !touches(range));
        let at = ranges.partition_point(|range| range.start < merged.start);
        ranges.insert(at, merged);
    }

    /// Whether all of these offsets are known to be lost.
    pub fn covers(&self, track: Track, lost: &Range<u64>) -> bool {
        self.ranges[track as usize].iter().any(|range| range.start <= lost.start && lost.end <= range.end)
    }

    /// Records that a track has lost.
    pub fn records(&self, track: Track) -> u64 {
        self.ranges[track as usize].iter().map(|range| range.end - range.start).sum()
    }

    /// Records of both tracks.
    pub fn total(&self) -> u64 {
        self.records(Track::Main) + self.records(Track::Backup)
    }

    /// Everything that is lost so far, for who takes note of it.
    pub fn acknowledged_by_now(&self) -> AcknowledgedLoss {
        AcknowledgedLoss { records: self.records(Track::Main), of_backup: self.records(Track::Backup) }
    }

    /// Somebody has taken note of so many.
    pub fn acknowledge(&mut self, records: u64) {
        self.acknowledged = records;
    }

    /// What is said of it until somebody has taken note.
    pub fn alarm(&self) -> Option<String> {
        if self.total() <= self.acknowledged {
            return None;
        }
        let of = |track: Track, what: &str| {
            let ranges = &self.ranges[track as usize];
            let named: Vec<String> =
                ranges.iter().take(NAMED_MAX).map(|range| format!("{} to {}", range.start, range.end - 1)).collect();
            let more = match ranges.len().saturating_sub(NAMED_MAX) {
                0 => String::new(),
                more => format!(" and {more} more ranges"),
            };
            (!ranges.is_empty()).then(|| format!("records {}{more} {what}", named.join(", ")))
        };
        let lost = of(Track::Main, "were acknowledged and cannot be read any more");
        let backup = of(Track::Backup, "were acknowledged and cannot be read any more for the backup");
        let words: Vec<String> = [lost, backup].into_iter().flatten().collect();
        Some(format!("{} (`hydrant acknowledge` ends this alarm)", words.join("; ")))
    }

    /// The entries that rebuild it.
    pub(super) fn snapshot(&self) -> impl Iterator<Item = Entry> {
        let of = |track: Track| {
            let ranges = self.ranges[track as usize].iter();
            ranges.map(move |range| Entry::Lost { track, from: range.start, to: range.end })
        };
        let acknowledged = (self.acknowledged > 0).then_some(Entry::LossAcknowledged { records: self.acknowledged });
        of(Track::Main).chain(of(Track::Backup)).chain(acknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_counted_once_and_said_until_it_is_acknowledged() {
        let mut loss = Loss::default();
        assert_eq!(loss.alarm(), None);
        for lost in [10..20, 30..31, 15..25, 10..20, 25..30] {
            loss.add(Track::Main, lost);
        }
        assert_eq!(loss.records(Track::Main), 21);
        assert!(loss.covers(Track::Main, &(12..31)) && !loss.covers(Track::Main, &(9..11)));
        loss.add(Track::Backup, 40..42);
        let alarm = loss.alarm().expect("nobody has taken note");
        assert!(alarm.contains("records 10 to 30 were") && alarm.contains("records 40 to 41"), "{alarm}");
        loss.acknowledge(loss.total());
        assert_eq!(loss.alarm(), None);
        loss.add(Track::Main, 50..51);
        assert!(loss.alarm().is_some(), "more was lost since");
    }
}
