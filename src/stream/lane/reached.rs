//! Which stores a stream has reached, in a file of its directory: an endpoint may be changed while the process is not there,
//! and another store would get objects that the first may have already.

use crate::error::Result;
use crate::fs::Fs;
use crate::stream::state_log::sealed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Whose settings lead to a store, and its name: the same bucket name may stand for different stores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct StorePlace {
    pub(super) of_backup: bool,
    pub(super) store: String,
}

/// A store that was reached: under which endpoint, and what it calls the probe's content. That is empty where it tells
/// no store from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Reached {
    pub(super) endpoint: Option<String>,
    pub(super) probe: String,
}

/// Stores that were reached, in a file: an endpoint may be changed while the process is not there.
pub(super) struct ReachedStores {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    reached: Mutex<BTreeMap<StorePlace, Reached>>,
    /// All stores that were reached are named here, unless the file was damaged, or is of a version that did not name them all.
    is_complete: bool,
}

/// The file.
#[derive(Default, Serialize, Deserialize)]
struct ReachedFile {
    reached: Vec<(StorePlace, Reached)>,
    /// Whether all stores are named that were reached. Earlier versions did not name local directories.
    #[serde(default)]
    is_complete: bool,
}

/// Its name in a stream's directory.
const REACHED: &str = "REACHED";

impl ReachedStores {
    /// What lives before know, in the stream's `dir`, and what of it is damaged, if anything. `has_delivered`: they have
    /// delivered something.
    pub(super) fn open(fs: &Arc<dyn Fs>, dir: &Path, has_delivered: bool) -> (ReachedStores, Option<String>) {
        let path = dir.join(REACHED);
        let (file, damage) = match sealed::read::<ReachedFile>(&**fs, &path) {
            Ok(found) => found.unwrap_or_default(),
            Err(e) => {
                let message = format!("{e}: if an endpoint has been changed since, nothing tells");
                (ReachedFile::default(), Some(message))
            }
        };
        let is_complete = damage.is_none() && (file.is_complete || !has_delivered);
        let reached = Mutex::new(file.reached.into_iter().collect());
        (ReachedStores { fs: fs.clone(), path, reached, is_complete }, damage)
    }

    /// The stores that were reached.
    pub(super) fn known(&self) -> BTreeMap<StorePlace, Reached> {
        self.reached.lock().expect("nobody panics holding it").clone()
    }

    /// Whether something may have been sent to a store.
    pub(super) fn may_have_been(&self, place: &StorePlace) -> bool {
        !self.is_complete || self.known().contains_key(place)
    }

    /// Takes note of a store before anything is sent there.
    pub(super) fn note(&self, place: &StorePlace, reached: &Reached) -> Result<()> {
        let mut known = self.reached.lock().expect("nobody panics holding it");
        let is_known =
            |known: &Reached| known == reached || reached.probe.is_empty() && known.endpoint == reached.endpoint;
        if known.get(place).is_some_and(is_known) {
            return Ok(());
        }
        let mut all = known.clone();
        all.insert(place.clone(), reached.clone());
        let file = ReachedFile { reached: all.clone().into_iter().collect(), is_complete: self.is_complete };
        sealed::write(&*self.fs, &self.path, &file)?;
        *known = all;
        Ok(())
    }
}
