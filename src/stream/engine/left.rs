//! A lane that holds only what its readers have not passed takes in no more when one of them is stalled. A track that is, since
//! its destination takes nothing, is left behind after a while, so that the other one goes on. When everything that it has read
//! is settled, the lane is opened again, and what it has missed comes once more from where it came.

use crate::stream::plan::Track;
use std::time::Duration;

/// How long a track may keep the other one waiting: less is the ordinary unevenness of two stores.
const PATIENCE: Duration = Duration::from_secs(5);

/// The track that is left behind, or may soon be.
#[derive(Default)]
pub(super) struct LeftTrack {
    /// Since when the lane has been full for the sake of a track.
    waits_for: Option<(Track, Duration)>,
    /// The track that was left. Never both: the lane begins again where the one stands that is the furthest behind.
    track: Option<Track>,
}

impl LeftTrack {
    /// The track that was left, if one was.
    pub(super) fn track(&self) -> Option<Track> {
        self.track
    }

    /// Takes note of the track that keeps a full lane waiting at this moment. One that has done so for long is left behind:
    /// then it is returned, with how long that was.
    pub(super) fn wait_for(&mut self, track: Option<Track>, now: Duration) -> Option<(Track, Duration)> {
        self.waits_for = track.map(|track| match self.waits_for {
            Some((same, since)) if same == track => (track, since),
            _ => (track, now),
        });
        let (track, since) = self.waits_for.filter(|(_, since)| now >= *since + PATIENCE)?;
        self.track = Some(track);
        Some((track, now - since))
    }

    /// When a track will have kept the other one waiting for too long.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.waits_for.map(|(_, since)| since + PATIENCE)
    }
}
