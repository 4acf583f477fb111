//! The state of a shard's lane in the row of its lease, where only the lease's owner can write it.

use crate::error::{Error, Kind, Result};
use crate::lane::{CommitOutcome, Start};
use crate::source::kinesis::lease_state::{KeptState, StateCommit};
use crate::source::kinesis::leases::Leases;
use crate::stream::state_log::objects::StateObjects;
use crate::stream::state_log::shared_log::{LoadedState, StateStore};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use uuid::Uuid;

/// A row has 400 KB at most; a larger state is an object that the row names.
const IN_ROW_BYTES_MAX: usize = 100 << 10;

/// The pause after a table refused a commit; it doubles with each up to the longest. Each may have cost an object.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(3);

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
    /// In the first half of the ids of the objects that this opening of the lane writes: they are told from what others left.
    opening: Uuid,
    known: Mutex<KnownRow>,
    /// Objects that earlier openings left, as they were listed after the load.
    left: Arc<Mutex<Vec<String>>>,
}

/// What the row said last.
#[derive(Default)]
struct KnownRow {
    /// The folder of the lane's objects; chosen at the first load of a row that has none.
    folder: Option<Uuid>,
    /// The object with the state.
    named: Option<String>,
    /// The commit of which it is not known whether the row has it.
    unknown: Option<Uuid>,
    /// How often in a row the table has refused to write, why the last time, and until when it is not asked again.
    refusals: u32,
    refused: Option<(Instant, String)>,
}

impl LeaseStore {
    pub(super) fn new(
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
            opening: Uuid::new_v4(),
            known: Mutex::default(),
            left: Arc::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, KnownRow> {
        self.known.lock().expect("nobody panics holding it")
    }

    /// Takes note of the object that the row names now, and removes the one before.
    fn names(&self, name: Option<String>) {
        let before = std::mem::replace(&mut self.known().named, name.clone());
        // What stands elsewhere was written for another table, or by an earlier version: other rows may name it, too.
        let is_ours = |before: &String| before.starts_with(&format!("{}/", self.objects.folder(&self.states())));
        let before = before.filter(|before| Some(before) != name.as_ref() && is_ours(before));
        self.remove(before.into_iter().collect());
    }

    /// The folder of all states that rows of this table name: a copy of the table has the folders of its lanes, too.
    fn states(&self) -> String {
        format!("states/{}", self.leases.table())
    }

    /// The kind of objects that this lane's states are.
    fn kind(&self, folder: Uuid) -> String {
        format!("{}/{folder}", self.states())
    }

    /// Removes objects beside whatever goes on.
    fn remove(&self, names: Vec<String>) {
        if !names.is_empty() {
            let objects = self.objects.clone();
            self.runtime.spawn_blocking(move || names.iter().for_each(|name| objects.remove(name)));
        }
    }

    /// Lists what earlier openings wrote into the folder: a node that was killed between an object and its row, or between
    /// a row and the removal of the object before it, has left one that nothing names.
    fn look_for_what_is_left(&self, folder: Uuid) {
        let (objects, left, opening) = (self.objects.clone(), self.left.clone(), self.opening);
        let kind = self.kind(folder);
        self.runtime.spawn_blocking(move || {
            let mut names = objects.list(&kind);
            names.retain(|name| {
                StateObjects::id_of(name).is_none_or(|id| id.as_u64_pair().0 != opening.as_u64_pair().0)
            });
            *left.lock().expect("nobody panics holding it") = names;
        });
    }

    /// The id of the object that a commit writes, however often it is tried.
    fn object_id(&self, commit: Uuid) -> Uuid {
        Uuid::from_u64_pair(self.opening.as_u64_pair().0, commit.as_u64_pair().1)
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
        if let Some(folder) = kept.folder {
            self.look_for_what_is_left(folder);
        }
        self.known().folder = Some(kept.folder.unwrap_or_else(Uuid::new_v4));
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
        let (folder, is_unknown) = {
            let known = self.known();
            let is_unknown = known.unknown == Some(id);
            // In the same words each time: an alarm is of one cause for as long as it lasts.
            if let Some((_, why)) = known.refused.as_ref().filter(|(until, _)| !is_unknown && Instant::now() < *until) {
                return CommitOutcome::Refused(why.clone());
            }
            (known.folder.expect("a commit follows a load"), is_unknown)
        };
        // Listed before this commit. If it is done, the row has changed since by nobody else, and whoever else may still be
        // about to name one of them knows an older version, and is kept out.
        let left = std::mem::take(&mut *self.left.lock().expect("nobody panics holding it"));
        let kept = if state.len() <= IN_ROW_BYTES_MAX {
            KeptState::Bytes(state.to_vec())
        } else {
            // Durable before the row names it.
            match self.objects.put_as(&self.kind(folder), self.object_id(id), state) {
                Ok(name) => KeptState::Object { store: self.objects.store.clone(), name },
                Err(e) => return CommitOutcome::Refused(e.to_string()),
            }
        };
        let shard = (self.shard.as_str(), self.created_ms, self.hand_overs);
        let commit = StateCommit { version, id, state: &kept, folder, start };
        let done = self.runtime.block_on(self.leases.commit(shard, commit));
        let object = match kept {
            KeptState::Object { name, .. } => Some(name),
            _ => None,
        };
        if done == CommitOutcome::Done {
            self.remove(left);
            self.names(object);
            let mut known = self.known();
            (known.unknown, known.refusals, known.refused) = (None, 0, None);
            return done;
        }
        *self.left.lock().expect("nobody panics holding it") = left;
        match &done {
            // Whoever is fenced may have been so by an answer to itself that was lost.
            CommitOutcome::Unknown(_) | CommitOutcome::Fenced(_) => self.known().unknown = Some(id),
            // No try of this commit has reached the row.
            CommitOutcome::Refused(why) if !is_unknown => {
                self.remove(object.into_iter().collect());
                let mut known = self.known();
                let pause = REFUSED_PAUSE * (1 << known.refusals.min(10));
                known.refused = Some((Instant::now() + pause.min(REFUSED_PAUSE_MAX), why.clone()));
                known.refusals += 1;
            }
            _ => {}
        }
        done
    }
}
