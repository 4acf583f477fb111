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

/// See the module. One file at a time.
#[derive(Default)]
pub(super) struct Archive {
    attempts: u32,
    phase: Phase,
}

#[derive(Default)]
enum Phase {
    #[default]
    Idle,
    Sent(u64, Stub),
    Waiting(Duration),
    Stored(u64, Stub),
    /// Something else stands at its name: it stays here.
    Held,
}

impl Engine {
    /// The next closed file, if it can be sent now.
    pub(super) fn ledger_shipment(&mut self) -> Option<(String, Shipment)> {
        let now = self.home.clock.steady();
        let due = match &self.archive.phase {
            Phase::Idle => true,
            Phase::Waiting(until) => *until <= now,
            Phase::Sent(..) | Phase::Stored(..) | Phase::Held => false,
        };
        let number = self.ledger.oldest_closed().filter(|_| due)?;
        match self.archived(number) {
            Ok((store, shipment)) => {
                let (store_name, name) = (store.clone(), shipment.name.clone());
                self.archive.phase = Phase::Sent(number, Stub { store: store_name, name, tag: String::new() });
                Some((store, shipment))
            }
            Err(e) => {
                tracing::warn!(stream = self.home.stream, error = %e, "a ledger file cannot be sent; it stays here");
                self.archive.phase = Phase::Held;
                None
            }
        }
    }

    fn archived(&mut self, number: u64) -> Result<(String, Shipment)> {
        let contents = self.ledger.read_file(number)?;
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

    pub(super) fn ledger_reply(&mut self, attempt: Attempt) {
        let Phase::Sent(number, stub) = std::mem::take(&mut self.archive.phase) else { return };
        self.archive.attempts += 1;
        self.archive.phase = match attempt {
            Attempt::Stored { tag } => Phase::Stored(number, Stub { tag, ..stub }),
            Attempt::Retry { .. } | Attempt::Misconfigured { .. } | Attempt::Nowhere { .. } => {
                let random = self.home.jitter();
                Phase::Waiting(self.home.clock.steady() + retry::pause(self.archive.attempts, true, random))
            }
            _ => {
                let name = stub.name;
                tracing::warn!(
                    stream = self.home.stream,
                    name,
                    "something else stands there; the ledger file stays here"
                );
                Phase::Held
            }
        };
    }

    /// Deletes a file that is in the store.
    pub(super) fn settle_archive(&mut self) -> Result<bool> {
        let Phase::Stored(number, stub) = &self.archive.phase else { return Ok(false) };
        sabotage::point("ledger.archived");
        self.ledger.replace_by_stub(*number, stub)?;
        self.archive = Archive::default();
        Ok(true)
    }

    pub(super) fn next_archive(&self) -> Option<Duration> {
        match self.archive.phase {
            Phase::Waiting(until) if self.ledger.oldest_closed().is_some() => Some(until),
            _ => None,
        }
    }
}

fn archive_name(stream: &str, number: u64, id: &Uuid) -> String {
    format!("_ledger/{stream}/{number:08}-{id}.jsonl")
}
