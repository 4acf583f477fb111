//! A lane that holds only what its readers have not passed takes in no more when one of them does not get on. A track that
//! does not, since its destination takes nothing, is left behind after a while, so that the other one goes on. When everything
//! that it has read is settled, the lane is opened again, and what it has missed comes once more from where it came.

use super::Engine;
use crate::stream::plan::Track;
use std::time::Duration;

/// How long a track may keep the other one waiting: less is the ordinary unevenness of two stores.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Default)]
pub(super) struct Left {
    /// Since when the lane has been full for the sake of a track.
    waits_for: Option<(Track, Duration)>,
    /// The track that was left. Never both: the lane begins again where the one stands that is the furthest behind.
    track: Option<Track>,
}

impl Engine {
    /// Whether a track reads nothing more until the lane is opened again.
    pub(super) fn is_left(&self, track: Track) -> bool {
        self.left.track == Some(track)
    }

    /// Leaves a track behind that has kept the other one waiting for long, and has its records read again when it may go on.
    pub(super) fn leave_behind(&mut self) {
        if self.left.track.is_some_and(|track| self.has_settled_what_it_read(track)) {
            self.lane.read_again();
        }
        let now = self.home.clock.steady();
        self.left.waits_for = self.kept_waiting_by().map(|track| match self.left.waits_for {
            Some((same, since)) if same == track => (track, since),
            _ => (track, now),
        });
        if let Some((track, since)) = self.left.waits_for.filter(|(_, since)| now >= *since + PATIENCE) {
            self.left.track = Some(track);
            tracing::warn!(
                stream = self.home.stream,
                track = ?track,
                waited_s = (now - since).as_secs(),
                "a track does not get on and kept the other one waiting: what it has not read is read again later"
            );
            let labels = [("DeliveryStreamName", self.home.stream.clone())];
            metrics::counter!("hydrant_kinesis_read_again", &labels).increment(1);
        }
    }

    /// Whether a track was left behind and everything that was read is settled: the rest waits for the lane to be opened again.
    pub fn waits_to_be_read_again(&self) -> bool {
        self.left.track.is_some()
            && [Track::Main, Track::Backup].iter().all(|track| self.has_settled_what_it_read(*track))
    }

    /// When a track will have kept the other one waiting for too long.
    pub(super) fn next_left(&self) -> Option<Duration> {
        self.left.waits_for.map(|(_, since)| since + PATIENCE)
    }

    /// What an alarm says of a track that was left.
    pub fn left_behind(&self) -> Option<&'static str> {
        self.left.track.map(|track| match track {
            Track::Main => {
                "the destination is left behind: what it has missed is read again when it has delivered what it holds"
            }
            Track::Backup => {
                "the backup is left behind: what it has missed is read again when it has delivered what it holds"
            }
        })
    }

    /// The track that keeps a full lane from taking in more, while the other one has read everything.
    fn kept_waiting_by(&self) -> Option<Track> {
        if self.state().backup_from.is_none() || self.left.track.is_some() || !self.lane.is_full() {
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
