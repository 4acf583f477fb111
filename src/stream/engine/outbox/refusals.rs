//! How destinations refuse plans: what that has cost so far goes on through restarts.

use crate::stream::plan::Refused;
use std::time::Duration;

/// What a destination that refuses has cost so far.
#[derive(Default)]
pub(super) struct Refusals {
    pub(super) count: u32,
    /// There is one that the plan log does not know.
    pub(super) is_new: bool,
    /// From the first attempt of an earlier life to the beginning of this one's.
    pub(super) before: Duration,
    /// When the first attempt of this life began, and the last one.
    pub(super) first_sent: Option<Duration>,
    pub(super) sent: Duration,
    /// The pauses together, and when the present one began.
    pub(super) paused: Duration,
    pub(super) since: Option<Duration>,
}

impl Refusals {
    /// Goes on with what an earlier life has seen.
    pub(super) fn of(refused: Refused) -> Refusals {
        let Refused { count, spent_ms, paused_ms } = refused;
        let before = Duration::from_millis(spent_ms);
        Refusals { count, before, paused: Duration::from_millis(paused_ms), ..Refusals::default() }
    }

    /// The time since the first attempt began.
    fn since_first(&self, now: Duration) -> Duration {
        self.before + (now - self.first_sent.unwrap_or(now))
    }

    /// An attempt begins.
    pub(super) fn send(&mut self, now: Duration) {
        self.paused += self.since.take().map_or(Duration::ZERO, |since| now - since);
        self.first_sent.get_or_insert(now);
        self.sent = now;
    }

    /// It is refused; the time since the first attempt began.
    pub(super) fn refuse(&mut self, now: Duration) -> Duration {
        self.count += 1;
        self.is_new = true;
        self.since = Some(now);
        self.since_first(now)
    }

    /// What is persisted of it. The pause that is under way counts.
    pub(super) fn so_far(&self, now: Duration) -> Refused {
        let pause = self.since.map_or(Duration::ZERO, |since| now - since);
        Refused {
            count: self.count,
            spent_ms: self.since_first(now).as_millis() as u64,
            paused_ms: (self.paused + pause).as_millis() as u64,
        }
    }
}
