//! Leaving a stalled track behind, so that the other one goes on.

use super::Engine;
use crate::alarm::{Alarm, AlarmKind};
use crate::stream::plan::Track;
use std::time::Duration;

impl Engine {
    /// Whether a track reads nothing more until the lane is opened again.
    pub(super) fn is_left(&self, track: Track) -> bool {
        self.left.track() == Some(track)
    }

    /// Leaves a track behind that has kept the other one waiting for long, and has its records read again when it may go on.
    pub(super) fn leave_behind(&mut self) {
        if self.left.track().is_some_and(|track| self.has_settled_what_it_read(track)) {
            self.lane.read_again();
        }
        let (now, waits_for) = (self.home.clock.steady(), self.kept_waiting_by());
        if let Some((track, waited)) = self.left.wait_for(waits_for, now) {
            tracing::warn!(
                stream = self.home.stream,
                track = ?track,
                waited_s = waited.as_secs(),
                "a track is stalled and kept the other one waiting: what it has not read is read again later"
            );
            let labels = [("DeliveryStreamName", self.home.stream.clone())];
            metrics::counter!("hydrant_kinesis_read_again", &labels).increment(1);
        }
    }

    /// Whether a track was left behind and everything that was read is settled: the rest waits for the lane to be opened again.
    pub fn waits_to_be_read_again(&self) -> bool {
        self.left.track().is_some()
            && [Track::Main, Track::Backup].iter().all(|track| self.has_settled_what_it_read(*track))
    }

    /// When a track will have kept the other one waiting for too long.
    pub(super) fn next_left(&self) -> Option<Duration> {
        self.left.deadline()
    }

    /// The alarm of a track that was left.
    pub(super) fn left_behind(&self) -> Option<Alarm> {
        self.left.track().map(|track| {
            let what = match track {
                Track::Main => "destination",
                Track::Backup => "backup",
            };
            let detail = format!(
                "the {what} is left behind: what it has missed is read again when it has delivered what it holds"
            );
            Alarm::new(AlarmKind::TrackLeftBehind, detail).about(what)
        })
    }

    /// The track that keeps a full lane from taking in more, while the other one has read everything.
    fn kept_waiting_by(&self) -> Option<Track> {
        if self.state().backup_from.is_none() || self.left.track().is_some() || !self.lane.is_full() {
            return None;
        }
        let has_more = |track: Track| self.readers[track].offset() < self.lane.durable();
        match (has_more(Track::Main), has_more(Track::Backup)) {
            (true, false) if self.is_at_rest(Track::Main) => Some(Track::Main),
            (false, true) if self.is_at_rest(Track::Backup) => Some(Track::Backup),
            _ => None,
        }
    }

    fn has_settled_what_it_read(&self, track: Track) -> bool {
        self.state().low_of(track) >= self.readers[track].offset()
    }
}
