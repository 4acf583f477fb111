//! How a stream's stores are reached for plans that outlive their configuration: a stream that the file does not name any
//! more, a backup that was switched off. What configurations said of it is in a file of the stream's directory, newest
//! first, with references in place of secrets.

use super::sealed;
use crate::config::{Destination, Places, Store, StreamConfig};
use crate::error::{Kind, Result};
use crate::fs::Fs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// The file's name.
const FILE: &str = "PLACES";

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    versions: Vec<Places>,
}

/// What configurations before the one in force say, newest first.
#[derive(Default)]
pub struct Before {
    pub(super) configs: Vec<StreamConfig>,
    /// Why what others say is of no use today.
    pub(super) lacking: Vec<String>,
}

/// What is to be told of the file: it was damaged, or cannot be written for want of room.
pub type Complaint = Option<String>;

/// Keeps how a configuration reaches its places in the stream's `dir`, and returns what is known of those before it; without
/// a configuration, of all. Durable when it returns, unless it complains.
pub fn keep(fs: &dyn Fs, dir: &Path, config: Option<&StreamConfig>) -> Result<(Before, Complaint)> {
    let path = dir.join(FILE);
    let (Kept { mut versions }, mut complaint) = match sealed::read::<Kept>(fs, &path) {
        Ok(found) => found.unwrap_or_default(),
        Err(e) => {
            let what = "plans that go where the configuration does not lead any more may have to be given up on";
            (Kept::default(), Some(format!("{e}: {what}")))
        }
    };
    let found = versions.clone();
    if let Some(config) = config {
        versions.retain(|version| *version != config.places);
        versions.insert(0, config.places.clone());
    }
    let (before, versions) = load(versions, config, &path.display().to_string());
    if config.is_some() && (versions != found || complaint.is_some()) {
        match sealed::write(fs, &path, &Kept { versions }) {
            Err(e) if e.kind == Kind::NoSpace => complaint = complaint.or(Some(e.to_string())),
            done => done?,
        }
    }
    Ok((before, complaint))
}

/// Reads versions under today's environment, and leaves out those that newer ones have everything of.
fn load(versions: Vec<Places>, config: Option<&StreamConfig>, file: &str) -> (Before, Vec<Places>) {
    let (mut before, mut kept) = (Before::default(), Vec::new());
    let mut known: BTreeSet<&str> = config.map(ways).unwrap_or_default();
    for (i, version) in versions.into_iter().enumerate() {
        if i == 0 && config.is_some() {
            kept.push(version);
            continue;
        }
        match version.load(file, &|name| std::env::var(name).ok()) {
            Ok(older) => {
                if ways(&older).is_subset(&known) {
                    continue;
                }
                known.extend(ways(&older));
                before.configs.push(older);
            }
            Err(e) => before.lacking.push(e.to_string()),
        }
        kept.push(version);
    }
    (before, kept)
}

/// What a configuration has settings for: they serve every store of that kind.
fn ways(config: &StreamConfig) -> BTreeSet<&'static str> {
    let is_bucket = |store: Option<Store>| matches!(store, Some(Store::S3(_)));
    let mut ways = BTreeSet::new();
    if is_bucket(config.destination.store()) {
        ways.insert("bucket");
    }
    if config.backup.as_ref().is_some_and(|backup| is_bucket(backup.destination.store())) {
        ways.insert("bucket of the backup");
    }
    match config.destination {
        Destination::S3(_) | Destination::Local(_) => {}
        Destination::Http(_) | Destination::Redshift(_) | Destination::Postgres(_) => {
            ways.insert(config.destination.kind());
        }
    }
    ways
}
