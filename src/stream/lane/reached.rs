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
    /// All stores that were reached are named here, unless the file was damaged, or is of a version that did not name them
    /// all.
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

/// Whose list it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stream) enum ReachedBy {
    /// A stream has one from its beginning on. `is_expected`: this version has run it before.
    Stream { is_expected: bool },
    /// A shard has one when there is something to note.
    Shard,
}

/// The list in a stream's `dir`, and what of it is damaged. `is_expected`: there was one.
fn read(fs: &dyn Fs, dir: &Path, is_expected: bool) -> (ReachedFile, Option<String>) {
    let what = "if an endpoint has been changed since, nothing tells";
    match sealed::read::<ReachedFile>(fs, &dir.join(REACHED)) {
        Ok(Some(found)) => found,
        Ok(None) if is_expected => {
            let message = format!("`{}` is not there, nor its copy: {what}", dir.join(REACHED).display());
            (ReachedFile::default(), Some(message))
        }
        Ok(None) => Default::default(),
        Err(e) => (ReachedFile::default(), Some(format!("{e}: {what}"))),
    }
}

/// Begins the list of a new stream: one that is missed later was lost.
pub(in crate::stream) fn begin(fs: &dyn Fs, dir: &Path) -> Result<()> {
    sealed::write(fs, &dir.join(REACHED), &ReachedFile { reached: Vec::new(), is_complete: true })
}

/// What is damaged of the list in a stream's `dir`, for who only looks. `is_expected`: there was one.
pub(in crate::stream) fn damage(fs: &dyn Fs, dir: &Path, is_expected: bool) -> Option<String> {
    read(fs, dir, is_expected).1
}

impl ReachedStores {
    /// What lives before know, in the stream's `dir`, and what of it is damaged, if anything. `has_open_plans`: something may
    /// be on its way.
    pub(super) fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        has_open_plans: bool,
        of: ReachedBy,
    ) -> (ReachedStores, Option<String>) {
        let path = dir.join(REACHED);
        let is_kept_twice = sealed::is_kept_twice(&**fs, &path);
        let (file, damage) = read(&**fs, dir, of == ReachedBy::Stream { is_expected: true });
        // Without open plans nothing is on its way to a store that is not named.
        let is_complete = !has_open_plans || damage.is_none() && file.is_complete;
        let reached = Mutex::new(file.reached.clone().into_iter().collect());
        let stores = ReachedStores { fs: fs.clone(), path, reached, is_complete };
        if of != ReachedBy::Shard && (!is_kept_twice || damage.is_some() || file.is_complete != is_complete) {
            let written = sealed::write(&**fs, &stores.path, &ReachedFile { is_complete, ..file });
            if let Err(e) = written {
                tracing::warn!(error = %e, "the list of reached stores is written with the next store that is reached");
            }
        }
        (stores, damage)
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
