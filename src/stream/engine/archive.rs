//! Closed files of the ledger on their way to the destination's store, below `_ledger/`. Only what is there is deleted
//! here; where it went stays in a stub, so that an audit finds it again.
//!
//! An archived file is the local one and a last line with the totals up to its end. Its name and id follow from the
//! stream's incarnation and the file's number, so that sending it twice has the effect of sending it once.

use crate::deliver::Attempt;
use crate::stream::state_log::ledger::Stub;
use std::time::Duration;

/// Stands for a plan's number in a ledger file's shipment; plans never get that far.
pub(super) const SHIPMENT: u64 = u64::MAX;

/// The file of the ledger that is on its way, one at a time.
#[derive(Default)]
pub(super) struct Archive {
    attempts: u32,
    phase: ArchivePhase,
}

#[derive(Default)]
enum ArchivePhase {
    #[default]
    Idle,
    Sent(u64, Stub),
    Waiting(Duration),
    Stored(u64, Stub),
    /// Something else stands at its name: it stays here.
    Held,
}

impl Archive {
    /// File `number` is on its way.
    pub(super) fn send(&mut self, number: u64, stub: Stub) {
        self.phase = ArchivePhase::Sent(number, stub);
    }

    /// Nothing is sent any more in this life.
    pub(super) fn hold(&mut self) {
        self.phase = ArchivePhase::Held;
    }

    /// The file is sent again then, by the steady clock.
    pub(super) fn wait(&mut self, until: Duration) {
        self.phase = ArchivePhase::Waiting(until);
    }

    /// Whether a file may be sent now.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        match &self.phase {
            ArchivePhase::Idle => true,
            ArchivePhase::Waiting(until) => *until <= now,
            ArchivePhase::Sent(..) | ArchivePhase::Stored(..) | ArchivePhase::Held => false,
        }
    }

    /// What became of the file that was sent. `pause`: before it is sent again, by how often it was.
    pub(super) fn answered(&mut self, attempt: Attempt, stream: &str, pause: impl FnOnce(u32) -> Duration) {
        let ArchivePhase::Sent(number, stub) = std::mem::take(&mut self.phase) else { return };
        self.attempts += 1;
        self.phase = match attempt {
            Attempt::Stored { tag } => ArchivePhase::Stored(number, Stub { tag, ..stub }),
            Attempt::Retry { .. } | Attempt::Misconfigured { .. } | Attempt::Nowhere { .. } => {
                ArchivePhase::Waiting(pause(self.attempts))
            }
            _ => {
                tracing::warn!(stream, name = stub.name, "something else stands there; the ledger file stays here");
                ArchivePhase::Held
            }
        };
    }

    /// The file that is in the store and can be removed here.
    pub(super) fn stored(&self) -> Option<(u64, Stub)> {
        match &self.phase {
            ArchivePhase::Stored(number, stub) => Some((*number, stub.clone())),
            _ => None,
        }
    }

    /// Until when it waits to be sent again.
    pub(super) fn waits_until(&self) -> Option<Duration> {
        match self.phase {
            ArchivePhase::Waiting(until) => Some(until),
            _ => None,
        }
    }
}
