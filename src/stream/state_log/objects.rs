//! What the nodes that share a lane find there, whichever of them runs it: immutable objects in the bucket of its failures,
//! each under a name that has its contents' hash.

use super::blobs::{hash, hex, unhex};
use crate::deliver::object::Failure;
use crate::deliver::{Attempt, Body, Shelf, Shipment};
use crate::error::{Error, Kind, Result};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

/// Below this nobody's data lies (see `sinks`, and what `redrive` passes over).
const PLACE: &str = "_hydrant/shared";

/// The immutable objects that the nodes of a shared lane find. Calls block.
pub struct StateObjects {
    shelf: Mutex<Arc<dyn Shelf>>,
    /// The shelf's name, for whoever reads rows.
    pub store: String,
    stream: String,
    /// The log has told that old states cannot be listed, and they could not be since.
    are_unlisted: AtomicBool,
    /// The same of removing them.
    are_unremoved: AtomicBool,
}

fn id(hash: &[u8; 32]) -> Uuid {
    Uuid::from_slice(&hash[..16]).expect("sixteen bytes")
}

impl StateObjects {
    pub fn new(shelf: Arc<dyn Shelf>, store: String, stream: &str) -> Arc<StateObjects> {
        Arc::new(StateObjects {
            shelf: Mutex::new(shelf),
            store,
            stream: stream.to_owned(),
            are_unlisted: AtomicBool::new(false),
            are_unremoved: AtomicBool::new(false),
        })
    }

    /// The same store is reached in another way from now on.
    pub fn reach(&self, shelf: Arc<dyn Shelf>) {
        *self.shelf.lock().expect("nobody panics holding it") = shelf;
    }

    fn shelf(&self) -> Arc<dyn Shelf> {
        self.shelf.lock().expect("nobody panics holding it").clone()
    }

    /// The name of contents of a kind. It holds the id under which they are written: a directory knows them by that.
    pub fn name(&self, kind: &str, hash: &[u8; 32]) -> String {
        self.named(kind, id(hash), hash)
    }

    fn named(&self, kind: &str, id: Uuid, hash: &[u8; 32]) -> String {
        format!("{}/{id}-{}", self.folder(kind), hex(hash))
    }

    /// The folder of contents of a kind.
    pub fn folder(&self, kind: &str) -> String {
        format!("{PLACE}/{}/{kind}", self.stream)
    }

    /// Keeps contents under the name that follows from them. What is there already is not written again.
    pub fn put(&self, kind: &str, bytes: &[u8]) -> Result<String> {
        self.put_as(kind, id(&hash(bytes)), bytes)
    }

    /// The same under a name that has this id in it, and so is nobody else's.
    pub fn put_as(&self, kind: &str, id: Uuid, bytes: &[u8]) -> Result<String> {
        let hash = hash(bytes);
        let shipment = Shipment {
            plan: 0,
            id,
            outputs: 1,
            digest: u128::from_le_bytes(hash[16..].try_into().expect("sixteen bytes")),
            name: self.named(kind, id, &hash),
            planned_ms: 0,
            content_encoding: None,
            body: Arc::new(Body::of(bytes.to_vec())),
            only_look: false,
        };
        let failed = |kind, reason: String| {
            Err(Error::new(kind, format!("keep `{}` in {}: {reason}", shipment.name, self.store)))
        };
        match self.shelf().attempt(&shipment) {
            Attempt::Stored { .. } => Ok(shipment.name),
            Attempt::Retry { reason } => failed(Kind::Retry, reason),
            Attempt::Misconfigured { reason } | Attempt::Nowhere { reason } => failed(Kind::Misconfigured, reason),
            other => failed(Kind::Misconfigured, format!("found something else there ({other:?})")),
        }
    }

    /// The names of contents of a kind; none if they cannot be listed.
    pub fn list(&self, kind: &str) -> Vec<String> {
        let folder = format!("{}/", self.folder(kind));
        self.or_stays(self.shelf().list(&folder), &self.are_unlisted, ("listed", &folder)).unwrap_or_default()
    }

    /// The id in the name of an object.
    pub fn id_of(name: &str) -> Option<Uuid> {
        let (_, last) = name.rsplit_once('/')?;
        last.get(..uuid::fmt::Hyphenated::LENGTH).and_then(|id| Uuid::try_parse(id).ok())
    }

    /// Removes contents that nothing names any more. If that cannot be, they stay.
    pub fn remove(&self, name: &str) {
        self.or_stays(self.shelf().remove(name), &self.are_unremoved, ("removed", name));
    }

    /// What became of old states: those that stay cost room and nothing else. They are counted, and the log tells of the
    /// first.
    fn or_stays<T>(&self, done: Result<T, Failure>, is_told: &AtomicBool, (verb, what): (&str, &str)) -> Option<T> {
        match done {
            Ok(done) => {
                is_told.store(false, Ordering::Relaxed);
                Some(done)
            }
            Err(failure) => {
                let labels = [("DeliveryStreamName", self.stream.clone())];
                metrics::counter!("hydrant_old_states_left", &labels).increment(1);
                if !is_told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        stream = self.stream,
                        error = failure.reason,
                        "an old state of a lane cannot be {verb}, `{what}`, and stays; if that lasts, allow it below `{PLACE}/{}/` in {}",
                        self.stream,
                        self.store
                    );
                }
                None
            }
        }
    }

    /// Contents by their name.
    pub fn get(&self, name: &str) -> Result<Vec<u8>> {
        read(&*self.shelf(), name).map_err(|e| e.during(format!("read `{name}` in {}", self.store)))
    }
}

/// Contents by their name, as they were kept.
pub fn read(shelf: &dyn Shelf, name: &str) -> Result<Vec<u8>> {
    let expected = name.rsplit('-').next().and_then(unhex);
    let expected = expected.ok_or_else(|| Error::new(Kind::Corrupt, "it is no such name"))?;
    let mut spool = Body::of(Vec::new()).spool();
    shelf.fetch(name, &mut spool).map_err(|failure| {
        let kind = if failure.misconfigured || failure.gone { Kind::Misconfigured } else { Kind::Retry };
        Error::new(kind, failure.reason)
    })?;
    let mut bytes = Vec::new();
    spool.finish(false).reader().read_to_end(&mut bytes).map_err(|e| Error::io("read it", e))?;
    let found = hash(&bytes);
    match found == expected {
        true => Ok(bytes),
        false => Err(Error::new(Kind::Corrupt, format!("found contents with the SHA-256 {}", hex(&found)))),
    }
}
