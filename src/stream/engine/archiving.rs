//! Closed files of the ledger are sent to the destination's store, and removed here when they are there.

use super::archive::{Archive, SHIPMENT};
use super::{Engine, WAITING};
use crate::alarm::Alarm;
use crate::deliver::{Attempt, Shipment, Spool};
use crate::destination::retry;
use crate::error::{Kind, Result};
use crate::sabotage;
use crate::stream::plan::Outlet;
use crate::stream::state_log::ledger::{Footer, Stub};
use crate::stream::state_log::sealed;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

impl Engine {
    /// The next closed file, if it can be sent now.
    pub(super) fn ledger_shipment(&mut self) -> Option<(String, Shipment)> {
        let is_due = self.books.archive.is_due(self.home.clock.steady());
        let number = self.books.ledger().oldest_closed().filter(|_| is_due)?;
        match self.archived(number) {
            Ok((stub, shipment)) => {
                let store = stub.store.clone();
                self.books.archive.send(number, stub);
                Some((store, shipment))
            }
            Err(e) => {
                tracing::warn!(stream = self.home.stream, error = %e, "a ledger file cannot be sent; it stays here");
                self.books.archive.hold();
                None
            }
        }
    }

    fn archived(&mut self, number: u64) -> Result<(Stub, Shipment)> {
        let contents = self.books.ledger().read_file(number)?;
        let (mut bytes, totals) = (contents.text().to_vec(), contents.totals());
        sealed::push(&mut bytes, &Footer { totals: totals.clone() });
        let hash = Sha256::new_with_prefix(self.home.incarnation).chain_update(number.to_le_bytes()).finalize();
        let id = uuid::Builder::from_random_bytes(hash[..16].try_into().expect("sixteen bytes")).into_uuid();
        let digest = Sha256::digest(&bytes);
        let mut spool = Spool::new(&self.scratch);
        spool.tail().append(&mut bytes);
        let epoch = self.epoch();
        // A destination may take no objects; where failures go, they are.
        let store = self.route(epoch)?.store(Outlet::ProcessingFailed).to_string();
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
        let stub = Stub { store, name: shipment.name.clone(), tag: String::new(), totals: Some(totals) };
        Ok((stub, shipment))
    }

    /// What became of a file of the ledger.
    pub(super) fn ledger_reply(&mut self, attempt: Attempt) {
        let stream = self.home.stream.clone();
        let home = &mut self.home;
        let pause = |attempts| home.clock.steady() + retry::pause(attempts, true, home.jitter());
        self.books.archive.answered(attempt, &stream, pause);
    }

    /// Deletes a file that is in the store.
    pub(super) fn settle_archive(&mut self) -> Result<bool> {
        let Some((number, stub)) = self.books.archive.stored() else { return Ok(false) };
        sabotage::point("ledger.archived");
        match self.books.ledger_mut().replace_by_stub(number, &stub) {
            // It stays here, and is sent again when there may be room, which marks make.
            Err(e) if e.kind == Kind::NoSpace => {
                self.alarm = Some(Alarm::of_error(&e));
                self.books.archive.wait(self.home.clock.steady() + WAITING);
                return Ok(false);
            }
            done => done?,
        }
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
