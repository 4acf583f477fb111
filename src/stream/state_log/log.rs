//! Where the state of a lane is kept: in files of its own, or where several nodes find it.

use super::plan_log::PlanLog;
use super::shared_log::SharedLog;
use crate::error::Result;
use crate::stream::plan::Entry;
use crate::stream::plan::state::State;

/// See the module. Either makes all entries of a commit durable together, or none.
pub enum Log {
    Files(Box<PlanLog>),
    Shared(Box<SharedLog>),
}

impl From<PlanLog> for Log {
    fn from(log: PlanLog) -> Log {
        Log::Files(Box::new(log))
    }
}

impl From<SharedLog> for Log {
    fn from(log: SharedLog) -> Log {
        Log::Shared(Box::new(log))
    }
}

impl Log {
    pub fn state(&self) -> &State {
        match self {
            Log::Files(log) => log.state(),
            Log::Shared(log) => log.state(),
        }
    }

    /// Makes all of `entries` durable together, then applies them; or none of them. Blocks.
    ///
    /// Errors: `NoSpace`, `Retry` (nothing was changed; a later call may succeed), `Poisoned` (what was written is
    /// unknown), `Fenced` (somebody else has the lane).
    pub fn commit(&mut self, entries: Vec<Entry>) -> Result<()> {
        match self {
            Log::Files(log) => log.commit(entries),
            Log::Shared(log) => log.commit(entries),
        }
    }

    /// A wrong build's way of changing the state.
    pub fn apply_in_memory(&mut self, entries: Vec<Entry>) {
        match self {
            Log::Files(log) => log.apply_in_memory(entries),
            Log::Shared(log) => log.apply_in_memory(entries),
        }
    }

    /// Lines up to this mark are durable in the ledger: their plans may go.
    pub fn ledger_is_durable_to(&mut self, mark: u64) {
        match self {
            Log::Files(log) => log.ledger_is_durable_to(mark),
            Log::Shared(log) => log.ledger_is_durable_to(mark),
        }
    }

    /// The mark behind which a ledger has to go on; `None`: the one that stands beside it knows.
    pub fn ledger_from(&self) -> Option<u64> {
        match self {
            Log::Files(_) => None,
            Log::Shared(log) => Some(log.ledger_from()),
        }
    }

    /// What was damaged when it was opened, and read from a copy.
    pub fn damage(&self) -> &[String] {
        match self {
            Log::Files(log) => log.damage(),
            Log::Shared(_) => &[],
        }
    }

    /// Lets go of what is only needed for the next commit.
    pub fn rest(&mut self) {
        if let Log::Files(log) = self {
            log.rest();
        }
    }

    /// Whether the reserve is at its low mark.
    pub fn is_starved(&self) -> bool {
        matches!(self, Log::Files(log) if log.is_starved())
    }

    /// Asks again for the room that could not be had.
    pub fn retry_room(&mut self) -> Result<()> {
        match self {
            Log::Files(log) => log.retry_room(),
            Log::Shared(_) => Ok(()),
        }
    }
}
