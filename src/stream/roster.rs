//! The streams of a node by name: those that are open, and why the others are not.

use super::supervise::Stream;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Every stream that a node knows, under one lock: whoever looks never finds one missing that is just being opened again.
#[derive(Default)]
pub(super) struct Roster(RwLock<BTreeMap<String, KnownStream>>);

/// A stream as far as its node knows it. One that is neither open nor not open is not there any more.
#[derive(Clone, Default)]
struct KnownStream {
    open: Option<Arc<Stream>>,
    not_open: Option<NotOpen>,
    /// Where it was when it was last opened.
    dir: Option<PathBuf>,
}

/// Why a stream is not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotOpen {
    /// It will be.
    Opening,
    /// It could not be opened: a sentence.
    Failed(String),
}

impl NotOpen {
    /// What a person is told.
    pub fn why(self) -> String {
        match self {
            NotOpen::Opening => "it is being opened".to_owned(),
            NotOpen::Failed(why) => why,
        }
    }
}

impl Roster {
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, KnownStream>> {
        self.0.read().expect("nobody panics holding it")
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, KnownStream>> {
        self.0.write().expect("nobody panics holding it")
    }

    /// A stream that is open.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Stream>> {
        self.read().get(name)?.open.clone()
    }

    /// A stream, or why it is not open; `None` if there is none of that name.
    pub(super) fn lookup(&self, name: &str) -> Option<Result<Arc<Stream>, NotOpen>> {
        let known = self.read().get(name)?.clone();
        known.open.map(Ok).or_else(|| known.not_open.map(Err))
    }

    /// All of them, in the order of their names.
    pub(super) fn all(&self) -> Vec<(String, Result<Arc<Stream>, NotOpen>)> {
        let all = self.read();
        let found = all.iter().filter_map(|(name, known)| {
            let known = known.clone();
            Some((name.clone(), known.open.map(Ok).or_else(|| known.not_open.map(Err))?))
        });
        found.collect()
    }

    /// Those that are open.
    pub(super) fn open(&self) -> Vec<Arc<Stream>> {
        self.read().values().filter_map(|known| known.open.clone()).collect()
    }

    /// Where a stream was when it was last opened in this life.
    pub(super) fn dir(&self, name: &str) -> Option<PathBuf> {
        self.read().get(name)?.dir.clone()
    }

    /// A stream is open.
    pub(super) fn opened(&self, name: &str, dir: &Path, stream: Stream) {
        let known = KnownStream { open: Some(Arc::new(stream)), not_open: None, dir: Some(dir.to_path_buf()) };
        self.write().insert(name.to_owned(), known);
    }

    /// A stream is not open, and not to be had any more if it was. Returns what was open, and whether this is news.
    pub(super) fn not_open(&self, name: &str, why: NotOpen) -> (Option<Arc<Stream>>, bool) {
        let mut all = self.write();
        let known = all.entry(name.to_owned()).or_default();
        let is_news = known.not_open.as_ref() != Some(&why);
        known.not_open = Some(why);
        (known.open.take(), is_news)
    }

    /// A stream is not there any more: what was open of it.
    pub(super) fn take(&self, name: &str) -> Option<Arc<Stream>> {
        self.write().get_mut(name)?.open.take()
    }

    /// Forgets why streams are not open that are not there any more.
    pub(super) fn forget(&self, exists: impl Fn(&str) -> bool) {
        for (name, known) in self.write().iter_mut() {
            if !exists(name) {
                known.not_open = None;
            }
        }
    }
}
