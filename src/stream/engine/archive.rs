//! Closed files of the ledger on their way to the destination's store, below `_ledger/`. Only what is there is deleted
//! here; where it went stays in a stub, so that an audit finds it again.
//!
//! An archived file is the local one and a last line with the totals up to its end. Its name and id follow from the
//! stream's incarnation and the file's number, so that sending it twice has the effect of sending it once.

use super::Engine;
use crate::deliver::{Attempt, Shipment, Spool, retry};
use crate::error::Result;
use crate::sabotage;
use crate::stream::plan::Outlet;
use crate::stream::state_log::ledger::{Footer, Stub};
use crate::stream::state_log::sealed;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

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
    /// Whether a file may be sent now.
    fn is_due(&self, now: Duration) -> bool {
        match &self.phase {
            ArchivePhase::Idle => true,
            ArchivePhase::Waiting(until) => *until <= now,
            ArchivePhase::Sent(..) | ArchivePhase::Stored(..) | ArchivePhase::Held => false,
        }
    }

    /// What became of the file that was sent. `pause`: before it is sent again, by how often it was.
    fn answered(&mut self, attempt: Attempt, stream: &str, pause: impl FnOnce(u32) -> Duration) {
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
    fn stored(&self) -> Option<(u64, Stub)> {
        match &self.phase {
            ArchivePhase::Stored(number, stub) => Some((*number, stub.clone())),
            _ => None,
        }
    }

    /// Until when it waits to be sent again.
    fn waits_until(&self) -> Option<Duration> {
        match self.phase {
            ArchivePhase::Waiting(until) => Some(until),
            _ => None,
        }
    }
}

impl Engine {
    /// The next closed file, if it can be sent now.
    pub(super) fn ledger_shipment(&mut self) -> Option<(String, Shipment)> {
        let is_due = self.books.archive.is_due(self.home.clock.steady());
        let number = self.books.ledger().oldest_closed().filter(|_| is_due)?;
        match self.archived(number) {
            Ok((store, shipment)) => {
                let (store_name, name) = (store.clone(), shipment.name.clone());
                self.books.archive.phase =
                    ArchivePhase::Sent(number, Stub { store: store_name, name, tag: String::new() });
                Some((store, shipment))
            }
            Err(e) => {
                tracing::warn!(stream = self.home.stream, error = %e, "a ledger file cannot be sent; it stays here");
                self.books.archive.phase = ArchivePhase::Held;
                None
            }
        }
    }

    fn archived(&mut self, number: u64) -> Result<(String, Shipment)> {
        let contents = self.books.ledger().read_file(number)?;
        let mut bytes = contents.text().to_vec();
        sealed::push(&mut bytes, &Footer { totals: contents.totals() });
        let hash = Sha256::new_with_prefix(self.home.incarnation).chain_update(number.to_le_bytes()).finalize();
        let id = uuid::Builder::from_random_bytes(hash[..16].try_into().expect("sixteen bytes")).into_uuid();
        let digest = Sha256::digest(&bytes);
        let mut spool = Spool::new(&self.scratch);
        spool.tail().append(&mut bytes);
        let epoch = self.epoch();
        // A destination may take no objects; where failures go, they are.
        let store = self.route(epoch)?.store(Outlet::ProcessingFailed).to_owned();
        let shipment = Shipment {
            plan: SHIPMENT,
            id,
            outputs: contents.lines.len() as u64,
            digest: u128::from_le_bytes(digest[..16].try_into().expect("sixteen bytes")),
            name: archive_name(&self.home.stream, number, &id),
            planned_ms: 0,
            content_encoding: None,
            body: Arc::new(spool.finish(false)),
            only_look: false,
        };
        Ok((store, shipment))
    }

    /// What became of a file of the ledger.
    pub(super) fn ledger_reply(&mut self, attempt: Attempt) {
        let (random, now) = (self.home.jitter(), self.home.clock.steady());
        let pause = |attempts| now + retry::pause(attempts, true, random);
        self.books.archive.answered(attempt, &self.home.stream, pause);
    }

    /// Deletes a file that is in the store.
    pub(super) fn settle_archive(&mut self) -> Result<bool> {
        let Some((number, stub)) = self.books.archive.stored() else { return Ok(false) };
        sabotage::point("ledger.archived");
        self.books.ledger_mut().replace_by_stub(number, &stub)?;
        self.books.archive = Archive::default();
        Ok(true)
    }

    /// When a file that was not taken is sent again.
    pub(super) fn next_archive(&self) -> Option<Duration> {
        self.books.archive.waits_until().filter(|_| self.books.ledger().oldest_closed().is_some())
    }
}

fn archive_name(stream: &str, number: u64, id: &Uuid) -> String {
    format!("_ledger/{stream}/{number:08}-{id}.jsonl")
}
