//! A table of a warehouse, loaded from objects: Redshift, which fetches them from S3 itself, and PostgreSQL, which is
//! sent their rows.
//!
//! Promises: an object is staged before its rows last, by the same rules as any other, and loaded once: a row in a claims table, in the
//! same transaction as the data, says which plans are loaded, and an attempt after one whose end was not seen waits for
//! its transaction and finds what became of it. No object is held in memory whole: rows go out in pieces of 256 KiB.
//! What the database does not take is said in its own words, with the row and column if it names them.
//!
//! Does not promise: to see a load that somebody does by hand from our objects, nor one whose row in the claims table
//! was deleted. What was given up on and is loaded later has to be loaded under its plan, which its manifest names.
//!
//! The way: `connect` (settings to session) -> `load` (the transaction) -> `claim` (once) -> `rows`, over `source` (the
//! bytes), by `columns` (PostgreSQL) or `manifest` (Redshift), and `apart`
//! where some of them are not taken. `refusal` has the codes, `check` tries it all out.

mod apart;
mod check;
mod claim;
mod columns;
mod connect;
mod load;
pub mod manifest;
mod refusal;
pub mod rows;
pub mod settings;
mod source;

use super::{Attempt, Rejection, Shipment, Sink};
use crate::config::{Dialect, Target};
use crate::error::{Error, Kind, Result};
use claim::{Claims, LoadedPlan};
use connect::Door;
use load::NotLoaded;
use refusal::{Code, WarehouseRefusal};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Plans whose staging is remembered. One that is forgotten is staged again, which finds it.
const STAGED_MAX: usize = 1024;
/// See [`WarehouseInner::may_be_of_rows`].
const REFUSED_IN_A_ROW_MAX: u32 = 10;
/// A look asks for one row.
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// A table of a warehouse. All calls block and belong on threads that may: a call from an asynchronous task panics.
pub struct Warehouse(Arc<WarehouseInner>);

struct WarehouseInner {
    target: Target,
    door: Door,
    stage: Arc<dyn Sink>,
    staged: Mutex<Staged>,
    /// One for each load at once. Whoever has staged its object waits for one.
    loads: Semaphore,
    /// The last object could not be staged.
    stages_first: AtomicBool,
    /// Objects of which Redshift did not take the first record, since the last one that was loaded.
    refused_in_a_row: AtomicU32,
    runtime: Handle,
}

impl Warehouse {
    /// What its settings lead to, as far as they are sound. `stage` is the bucket of them. Nothing is sent yet.
    pub fn connect(target: Result<Target, String>, stage: Arc<dyn Sink>, runtime: Handle) -> Result<Warehouse> {
        let target = target.map_err(|message| Error::new(Kind::Misconfigured, message))?;
        let loads = Semaphore::new(target.concurrency as usize);
        Ok(Warehouse(Arc::new(WarehouseInner {
            door: Door::new(&target)?,
            target,
            stage,
            staged: Mutex::default(),
            loads,
            stages_first: AtomicBool::default(),
            refused_in_a_row: AtomicU32::default(),
            runtime,
        })))
    }
}

impl WarehouseInner {
    /// The manifest of an object that was given up on; [`manifest::read`] reads it.
    fn manifest(&self, shipment: &Shipment, code: &str, message: &str) -> Vec<u8> {
        manifest::given_up(&self.target.bucket, &[shipment], code, message)
    }

    /// Puts the object, and what it is loaded by, where it is loaded from: its tag there.
    fn stage(&self, shipment: &Shipment) -> Result<String, Attempt> {
        if let Some(tag) = self.staged().tag(shipment) {
            return Ok(tag);
        }
        let tag = stored(self.stage.attempt(shipment))?;
        if self.is_redshift() {
            stored(self.stage.attempt(&manifest::working(&self.target.bucket, shipment)))?;
        }
        self.staged().add(shipment, &tag);
        Ok(tag)
    }

    fn is_redshift(&self) -> bool {
        matches!(self.target.dialect, Dialect::Redshift { .. })
    }

    fn staged(&self) -> std::sync::MutexGuard<'_, Staged> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(self: &Arc<Self>, shipment: &Shipment) -> Attempt {
        // Redshift loads the object itself. Where its rows are sent, those that are not taken are found before it is staged,
        // unless it cannot be staged: then nothing is sent in vain.
        if (self.is_redshift() || self.stages_first.load(Ordering::Relaxed))
            && let Err(attempt) = self.stage(shipment)
        {
            return attempt;
        }
        let stage = async || {
            let (this, shipment) = (self.clone(), shipment.clone());
            let staged = self.runtime.spawn_blocking(move || this.stage(&shipment).map(drop)).await;
            staged.unwrap_or_else(|_| Err(Attempt::Retry { reason: "staging the object panicked".into() }))
        };
        let load = async {
            let _turn = self.loads.acquire().await.expect("it is never closed");
            load::load(&self.door, &self.target, shipment, stage).await
        };
        let loaded = self.runtime.block_on(load);
        self.stages_first.store(matches!(loaded, Err(NotLoaded::NotStaged(_))), Ordering::Relaxed);
        match loaded {
            Ok(loaded) => match self.stage(shipment) {
                Ok(tag) => {
                    self.staged().remove(shipment.id);
                    self.refused_in_a_row.store(0, Ordering::Relaxed);
                    judge(&loaded, shipment, tag)
                }
                Err(attempt) => attempt,
            },
            Err(NotLoaded::NotStaged(attempt)) => attempt,
            Err(NotLoaded::Rejected(records)) if self.may_be_of_rows(shipment, &records) => {
                Attempt::Rejected { records }
            }
            Err(NotLoaded::Rejected(records)) => {
                let Rejection { code, message, .. } = records.into_iter().next().expect("some are rejected");
                self.refused(shipment, code, message)
            }
            Err(NotLoaded::Refused(refusal)) => {
                if refusal.code == Code::MissingS3File {
                    self.staged().remove(shipment.id);
                }
                self.refused(shipment, refusal.code.of(&self.target), refusal.message)
            }
        }
    }

    /// What is left where it is given up on names the staged object.
    fn refused(&self, shipment: &Shipment, code: String, message: String) -> Attempt {
        if let Err(attempt) = self.stage(shipment) {
            return attempt;
        }
        let instead = Some(self.manifest(shipment, &code, &message));
        Attempt::Refused { code, message, busy: false, instead }
    }

    /// Redshift names one record at a time, the first that it does not take. Where that is the first one of object after
    /// object, and none is loaded, it is rather the table's fault.
    fn may_be_of_rows(&self, shipment: &Shipment, rejected: &[Rejection]) -> bool {
        let is_first = self.is_redshift() && shipment.outputs > 1 && rejected.iter().all(|r| r.record == 0);
        match is_first {
            true => self.refused_in_a_row.fetch_add(1, Ordering::Relaxed) < REFUSED_IN_A_ROW_MAX,
            false => true,
        }
    }

    /// Whether the plan is loaded. An older load whose COMMIT is under way is awaited, as by a load.
    fn look(&self, shipment: &Shipment) -> Attempt {
        let look = async {
            let session = self.door.open().await?;
            let claims = Claims::of(&self.target);
            let loaded = match claims.exists(&session).await? {
                true => load::look(&session, &self.target, &claims, shipment).await?,
                false => None,
            };
            session.end().await;
            Ok::<_, WarehouseRefusal>(loaded)
        };
        match self.runtime.block_on(async { tokio::time::timeout(LOOK_TIMEOUT, look).await }) {
            Ok(Ok(None)) => Attempt::Absent,
            Ok(Ok(Some(loaded))) => {
                // The rows are in; the staged object's tag is for the ledger.
                let tag = stored(self.stage.attempt(shipment)).unwrap_or_default();
                judge(&loaded, shipment, tag)
            }
            Ok(Err(refusal)) => {
                Attempt::Retry { reason: format!("{}: {}", refusal.code.of(&self.target), refusal.message) }
            }
            Err(_) => Attempt::Retry { reason: self.no_answer() },
        }
    }

    fn no_answer(&self) -> String {
        format!("ask {}: no answer within {LOOK_TIMEOUT:?}", self.door.place)
    }
}

impl Sink for Warehouse {
    fn attempt(&self, shipment: &Shipment) -> Attempt {
        if shipment.only_look { self.0.look(shipment) } else { self.0.load(shipment) }
    }

    /// Everything is tried out, and nothing of it stays.
    fn check(&self) -> Vec<String> {
        let WarehouseInner { door, target, runtime, .. } = &*self.0;
        let check = check::check(door, target);
        let checked = runtime.block_on(async { tokio::time::timeout(LOOK_TIMEOUT, check).await });
        checked.unwrap_or_else(|_| vec![self.0.no_answer()])
    }
}

fn stored(attempt: Attempt) -> Result<String, Attempt> {
    match attempt {
        Attempt::Stored { tag } => Ok(tag),
        other => Err(other),
    }
}

/// What it means that this plan is loaded as `loaded`.
fn judge(loaded: &LoadedPlan, shipment: &Shipment, tag: String) -> Attempt {
    let ours = LoadedPlan::of(shipment);
    if *loaded == ours {
        return Attempt::Stored { tag };
    }
    let found = format!(
        "plan {} was loaded with {} outputs and digest {}, expected {} and {}",
        shipment.id, loaded.outputs, loaded.digest, ours.outputs, ours.digest
    );
    Attempt::Differs { found }
}

/// Plans whose object is staged, with its name and tag.
#[derive(Default)]
struct Staged {
    plans: HashMap<Uuid, (String, String)>,
    /// Oldest first; what has been removed may still stand here.
    order: VecDeque<Uuid>,
}

impl Staged {
    fn tag(&self, shipment: &Shipment) -> Option<String> {
        self.plans.get(&shipment.id).filter(|(name, _)| *name == shipment.name).map(|(_, tag)| tag.clone())
    }

    fn add(&mut self, shipment: &Shipment, tag: &str) {
        self.plans.insert(shipment.id, (shipment.name.clone(), tag.to_owned()));
        self.order.push_back(shipment.id);
        while self.order.len() > STAGED_MAX {
            self.order.pop_front().and_then(|oldest| self.plans.remove(&oldest));
        }
    }

    fn remove(&mut self, plan: Uuid) {
        self.plans.remove(&plan);
    }
}
