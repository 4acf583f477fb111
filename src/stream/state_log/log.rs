//! Where the state of a lane is kept: in files of its own, or where several nodes find it.

use super::plan_log::PlanLog;
use super::shared_log::SharedLog;
use crate::error::Result;
use crate::stream::plan::Entry;
use crate::stream::plan::state::State;

/// Where the state of a lane is kept. Either makes all entries of a commit durable together, or none.
pub enum StateLog {
    Files(Box<PlanLog>),
    Shared(Box<SharedLog>),
}

impl From<PlanLog> for StateLog {
    fn from(log: PlanLog) -> StateLog {
        StateLog::Files(Box::new(log))
    }
}

impl From<SharedLog> for StateLog {
    fn from(log: SharedLog) -> StateLog {
        StateLog::Shared(Box::new(log))
    }
}

impl StateLog {
    pub fn state(&self) -> &State {
        match self {
            StateLog::Files(log) => log.state(),
            StateLog::Shared(log) => log.state(),
        }
    }

    /// Makes all of `entries` durable together, then applies them; or none of them. Blocks.
    ///
    /// Errors: `NoSpace`, `Retry` (nothing was changed; a later call may succeed), `Poisoned` (what was written is
    /// unknown), `Fenced` (somebody else has the lane).
    pub fn commit(&mut self, entries: Vec<Entry>) -> Result<()> {
        match self {
            StateLog::Files(log) => log.commit(entries),
            StateLog::Shared(log) => log.commit(entries),
        }
    }

    /// A wrong build's way of changing the state.
    pub fn apply_in_memory(&mut self, entries: Vec<Entry>) {
        match self {
            StateLog::Files(log) => log.apply_in_memory(entries),
            StateLog::Shared(log) => log.apply_in_memory(entries),
        }
    }

    /// Lines up to this mark are durable in the ledger: their plans may go.
    pub fn ledger_is_durable_to(&mut self, mark: u64) {
        match self {
            StateLog::Files(log) => log.ledger_is_durable_to(mark),
            StateLog::Shared(log) => log.ledger_is_durable_to(mark),
        }
    }

    /// The mark behind which a ledger has to go on; `None`: the one that stands beside it knows.
    pub fn ledger_from(&self) -> Option<u64> {
        match self {
            StateLog::Files(_) => None,
            StateLog::Shared(log) => Some(log.ledger_from()),
        }
    }

    /// What was damaged when it was opened, and read from a copy.
    pub fn damage(&self) -> &[String] {
        match self {
            StateLog::Files(log) => log.damage(),
            StateLog::Shared(_) => &[],
        }
    }

    /// Lets go of what is only needed for the next commit.
    pub fn rest(&mut self) {
        if let StateLog::Files(log) = self {
            log.rest();
        }
    }

    /// Whether the reserve is at its low mark.
    pub fn is_starved(&self) -> bool {
        matches!(self, StateLog::Files(log) if log.is_starved())
    }

    /// Asks again for the room that could not be had.
    pub fn retry_room(&mut self) -> Result<()> {
        match self {
            StateLog::Files(log) => log.retry_room(),
            StateLog::Shared(_) => Ok(()),
        }
    }
}
