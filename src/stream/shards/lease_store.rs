//! The state of a shard's lane in the row of its lease, where only the lease's owner can write it.

use crate::error::{Error, Kind, Result};
use crate::lane::{CommitOutcome, Start};
use crate::source::kinesis::lease_state::{KeptState, StateCommit};
use crate::source::kinesis::leases::Leases;
use crate::stream::state_log::objects::StateObjects;
use crate::stream::state_log::shared_log::{LoadedState, StateStore};
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use uuid::Uuid;

/// A row has 400 KB at most; a larger state is an object that the row names.
const IN_ROW_BYTES_MAX: usize = 100 << 10;

/// The state of a shard's lane in its lease's row.
pub(super) struct LeaseStore {
    leases: Leases,
    objects: Arc<StateObjects>,
    runtime: Handle,
    shard: String,
    /// When the stream was made that the shard is of.
    created_ms: u64,
    /// How often it came back from another application.
    hand_overs: u64,
    /// The object that the row names, as last seen.
    named: Mutex<Option<String>>,
}

impl LeaseStore {
    pub fn new(
        leases: Leases,
        objects: Arc<StateObjects>,
        runtime: Handle,
        (shard, created_ms, hand_overs): (&str, u64, u64),
    ) -> LeaseStore {
        LeaseStore {
            leases,
            objects,
            runtime,
            shard: shard.to_owned(),
            created_ms,
            hand_overs,
            named: Mutex::default(),
        }
    }

    /// Takes note of the object that the row names now, and removes the one before.
    fn names(&self, name: Option<String>) {
        let before = std::mem::replace(&mut *self.named.lock().expect("nobody panics holding it"), name.clone());
        if let Some(before) = before.filter(|before| Some(before) != name.as_ref()) {
            let objects = self.objects.clone();
            self.runtime.spawn_blocking(move || objects.remove(&before));
        }
    }

    fn object(&self, store: &str, name: &str) -> Result<Vec<u8>> {
        if store != self.objects.store {
            let message = format!(
                "the lane's state is in {store}, and the configuration leads to {}: let the stream go on where it was \
                 until it has little to deliver",
                self.objects.store
            );
            return Err(Error::new(Kind::Misconfigured, message));
        }
        self.objects.get(name)
    }
}

impl StateStore for LeaseStore {
    fn load(&self) -> Result<LoadedState> {
        let (_, kept) = self.runtime.block_on(self.leases.load(&self.shard))?;
        let mut named = None;
        let state = match kept.state {
            KeptState::None => None,
            KeptState::Bytes(bytes) => Some(bytes),
            KeptState::Object { store, name } => {
                let state = self.object(&store, &name)?;
                named = Some(name);
                Some(state)
            }
        };
        self.names(named);
        Ok(LoadedState { version: kept.version, commit: kept.commit, state })
    }

    fn commit(&self, version: u64, id: Uuid, state: &[u8], start: Option<&Start>) -> CommitOutcome {
        // Where a lane begins is in its first commit.
        let Some(start) = start else { return CommitOutcome::Refused("the lane begins nowhere".into()) };
        let kept = if state.len() <= IN_ROW_BYTES_MAX {
            KeptState::Bytes(state.to_vec())
        } else {
            // Durable before the row names it.
            match self.objects.put_as("states", id, state) {
                Ok(name) => KeptState::Object { store: self.objects.store.clone(), name },
                Err(e) => return CommitOutcome::Refused(e.to_string()),
            }
        };
        let shard = (self.shard.as_str(), self.created_ms, self.hand_overs);
        let done = self.runtime.block_on(self.leases.commit(shard, StateCommit { version, id, state: &kept, start }));
        if done == CommitOutcome::Done {
            self.names(match kept {
                KeptState::Object { name, .. } => Some(name),
                _ => None,
            });
        }
        done
    }
}
