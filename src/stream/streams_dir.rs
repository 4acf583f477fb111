//! The directory of a node's streams: which of them is whose, and which cannot be told.

use super::lane::meta::{META, Meta, is_used, read_or_make_meta};
use crate::error::{Error, Result};
use crate::fs::{Fs, copy_of};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use uuid::Uuid;

/// Names of directories that are being made begin with this.
pub const ASIDE: &str = ".new-";

/// Directories of streams, each under an id of its own.
pub(super) struct StreamsDir {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    /// Directories that are nobody's as far as can be told, and why, as they were last found.
    unreadable: RwLock<BTreeMap<String, UnreadableDir>>,
}

/// Why a directory is no stream's.
#[derive(Clone, PartialEq, Eq)]
struct UnreadableDir {
    why: String,
    /// It may be that of any stream.
    is_nameless: bool,
}

impl StreamsDir {
    pub(super) fn new(fs: Arc<dyn Fs>, path: PathBuf) -> StreamsDir {
        StreamsDir { fs, path, unreadable: RwLock::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a stream's directory is made before it has its name.
    pub(super) fn aside(&self, dir: &Path) -> PathBuf {
        self.path.join(format!("{ASIDE}{}", dir.file_name().unwrap_or_default().display()))
    }

    /// A directory for a stream that has none, as far as can be told. The error says which may be its.
    pub(super) fn new_dir(&self) -> Result<PathBuf, String> {
        let unreadable = self.unreadable.read().expect("nobody panics holding it");
        match unreadable.iter().find(|(_, unreadable)| unreadable.is_nameless) {
            None => Ok(self.path.join(Uuid::new_v4().to_string())),
            Some((dir, UnreadableDir { why, .. })) => Err(format!(
                "`{}` may be its directory and does not say so ({why}): put its `META` back, see `hydrant repair`, or move it \
                 away for the stream to begin anew",
                self.path.join(dir).display()
            )),
        }
    }

    /// Directories that were no stream's when they were last looked for, and why.
    pub(super) fn unreadable(&self) -> Vec<(String, String)> {
        let unreadable = self.unreadable.read().expect("nobody panics holding it");
        unreadable.iter().map(|(dir, unreadable)| (dir.clone(), unreadable.why.clone())).collect()
    }

    /// Streams that have a directory, by name. Of two directories that say they are the same stream's, the one that is among
    /// `open` is it.
    pub(super) fn find(&self, open: &[PathBuf]) -> Result<BTreeMap<String, (PathBuf, Meta)>> {
        let fs = &*self.fs;
        let (mut found, mut unreadable) = (BTreeMap::<String, (PathBuf, Meta)>::new(), BTreeMap::new());
        let mut entries = fs.list(&self.path).map_err(|e| Error::io("list streams", e))?;
        entries.sort_by_key(|e| !open.contains(&self.path.join(e)));
        for entry in entries {
            let dir = self.path.join(&entry);
            if entry.starts_with(ASIDE) {
                // It was being made when the process died, and never had its name.
                #[expect(clippy::disallowed_methods, reason = "nothing of it was ever relied on")]
                let removed = std::fs::remove_dir_all(&dir);
                if let Err(e) = removed {
                    tracing::warn!(directory = entry, error = %e, "what is left of a stream that was being made cannot be removed");
                }
                continue;
            }
            match read_or_make_meta(fs, &dir, None) {
                Ok(meta) => match found.get(&meta.name) {
                    None => drop(found.insert(meta.name.clone(), (dir, meta))),
                    Some((other, _)) => {
                        let (name, other) = (&meta.name, other.display());
                        let why =
                            format!("`{}` says that it is stream `{name}` too, which is in `{other}`", dir.display());
                        unreadable.insert(entry, UnreadableDir { why, is_nameless: false });
                    }
                },
                // A directory without META was being made when the process died: it never held a record.
                Err(_) if is_nothing(fs, &dir) => {}
                // Whose it is cannot be told, so it is shown as what it is: a stream that is not open.
                Err(e) => drop(unreadable.insert(entry, UnreadableDir { why: e.to_string(), is_nameless: true })),
            }
        }
        let mut known = self.unreadable.write().expect("nobody panics holding it");
        for (directory, found) in unreadable.iter().filter(|(d, found)| known.get(*d) != Some(found)) {
            tracing::error!(directory, error = found.why, "a stream's directory cannot be used; the others run");
        }
        *known = unreadable;
        Ok(found)
    }
}

/// Whether an entry is certainly no stream's directory. One that cannot be looked into may be.
fn is_nothing(fs: &dyn Fs, dir: &Path) -> bool {
    let path = dir.join(META);
    let is_absent = |path: &Path| matches!(path.try_exists(), Ok(false));
    let is_file = std::fs::metadata(dir).is_ok_and(|found| found.is_file());
    is_file
        || dir.ends_with("lost+found")
        || is_absent(&path) && is_absent(&copy_of(&path)) && matches!(is_used(fs, dir), Ok(false))
}
