//! Effectively-once creation of a named object, over any store that can create conditionally and look.
//!
//! The plan's id, count and digest travel in the object's metadata. A create that is refused because the name is taken
//! is decided by looking, never by guessing: ours with our digest is done, anything else is never overwritten, and a
//! look that fails decides nothing.

use super::{Attempt, Shipment};
use crate::sabotage;
use uuid::Uuid;

/// Answer to a conditional create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    Stored {
        tag: String,
    },
    /// The name is taken, or another writer is at it (412, 409): look.
    Taken,
    Failed(Failure),
}

/// What stands at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    Absent,
    /// Metadata as found; `None` where an object carries none of ours.
    Present {
        owner: Option<Owner>,
        tag: String,
    },
    Failed(Failure),
}

/// Whose object it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub id: Uuid,
    pub outputs: u64,
    pub digest: u128,
}

/// A request that did not work out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub misconfigured: bool,
    /// There is no such store: nothing of ours is or can come to be there.
    pub nowhere: bool,
    /// The object that was to be read is not there, or in an archive: the others may be.
    pub gone: bool,
    pub reason: String,
}

/// What the protocol needs of a store. Both calls block.
pub trait ObjectStore: Send + Sync {
    /// Creates the object with all its bytes, only if the name is free.
    fn create(&self, shipment: &Shipment) -> Created;
    /// Looks at the name.
    fn look(&self, name: &str) -> Looked;
    /// Whether `create` really refuses a taken name. A store without conditions is looked at first.
    fn has_conditions(&self) -> bool;
}

impl From<Failure> for Attempt {
    fn from(f: Failure) -> Attempt {
        match (f.nowhere, f.misconfigured) {
            (true, _) => Attempt::Nowhere { reason: f.reason },
            (false, true) => Attempt::Misconfigured { reason: f.reason },
            (false, false) => Attempt::Retry { reason: f.reason },
        }
    }
}

/// One attempt at a shipment.
pub fn attempt(store: &dyn ObjectStore, shipment: &Shipment) -> Attempt {
    if shipment.only_look {
        return match store.look(&shipment.name) {
            Looked::Absent => Attempt::Absent,
            found => judge(found, shipment),
        };
    }
    if !store.has_conditions() {
        match store.look(&shipment.name) {
            Looked::Absent => {}
            found => return judge(found, shipment),
        }
    }
    match store.create(shipment) {
        Created::Stored { tag } => Attempt::Stored { tag },
        Created::Taken if sabotage::on("taken_is_success") => Attempt::Stored { tag: String::new() },
        Created::Taken => judge(store.look(&shipment.name), shipment),
        Created::Failed(failure) => failure.into(),
    }
}

fn judge(found: Looked, shipment: &Shipment) -> Attempt {
    match found {
        Looked::Absent => Attempt::Retry { reason: "the name was taken but nothing stands there".into() },
        Looked::Failed(failure) if sabotage::on("look_failed_is_foreign") => {
            let _ = failure;
            Attempt::Foreign
        }
        Looked::Failed(failure) => failure.into(),
        Looked::Present { owner: Some(owner), tag } if owner.id == shipment.id => {
            if owner.outputs == shipment.outputs && owner.digest == shipment.digest {
                Attempt::Stored { tag }
            } else {
                let found = format!(
                    "`{}` has {} outputs and digest {:032x}, expected {} and {:032x}",
                    shipment.name, owner.outputs, owner.digest, shipment.outputs, shipment.digest
                );
                Attempt::Differs { found }
            }
        }
        Looked::Present { .. } => Attempt::Foreign,
    }
}
