//! How destinations refuse plans: what that has cost so far goes on through restarts.

use super::Engine;
use super::ship::Phase;
use crate::error::{Kind, Result};
use crate::stream::plan::{Entry, Refused};
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
    pub(super) fn since_first(&self, now: Duration) -> Duration {
        self.before + (now - self.first_sent.unwrap_or(now))
    }

    /// An attempt begins.
    pub(super) fn send(&mut self, now: Duration) {
        self.paused += self.since.take().map_or(Duration::ZERO, |since| now - since);
        self.first_sent.get_or_insert(now);
        self.sent = now;
    }
}

impl Engine {
    /// Persists how plans were refused since the last time. Without room it is done when there is some.
    pub(super) fn note_refusals(&mut self) -> Result<()> {
        let now = self.home.clock.steady();
        let new = self.shipping.iter().filter(|(_, s)| s.refusals.is_new && matches!(s.phase, Phase::Waiting { .. }));
        let refused = |refusals: &Refusals| Refused {
            count: refusals.count,
            spent_ms: refusals.since_first(now).as_millis() as u64,
            // The pause that is under way counts.
            paused_ms: (refusals.paused + refusals.since.map_or(Duration::ZERO, |since| now - since)).as_millis()
                as u64,
        };
        let new = new.map(|(plan, s)| Entry::Refused { plan: *plan, refused: refused(&s.refusals) });
        let new: Vec<Entry> = new.collect();
        if new.is_empty() {
            return Ok(());
        }
        match self.log.commit(new) {
            Err(e) if e.kind == Kind::NoSpace => Ok(()),
            done => {
                self.shipping.values_mut().for_each(|s| s.refusals.is_new = false);
                done
            }
        }
    }
}
