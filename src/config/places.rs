//! How a stream's places are reached, as its file says it: what is kept of a configuration for plans that outlive it.

use super::place::is_secret;
use super::problem::{Errors, Problem};
use super::read;
use super::replace::{self, Sources};
use super::tree::{NodeKind, TreeEntry, TreeNode, join};
use super::{Backup, Destination};
use crate::destination::{DestinationKind, Way};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The keys of a stream that say where its objects and requests go.
const KEYS: [&str; 2] = ["destination", "backup"];

/// `destination` and `backup` of a stream with their `${…}` as written: a key or password that the file has itself is left
/// out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// What relative files are relative to.
    base_dir: PathBuf,
    /// A mapping.
    stream: Option<TreeNode>,
    /// The secrets that were left out, such as `destination.s3.secret_access_key`.
    left_out: Vec<String>,
}

impl Places {
    /// Of a stream's tree in which nothing is replaced yet.
    pub(super) fn of(stream: &TreeNode, base_dir: &Path) -> Places {
        let mut left_out = Vec::new();
        let entries = stream.entries().iter().filter(|entry| KEYS.contains(&entry.key.as_str()));
        let entries = entries.filter_map(|entry| without_secrets(entry, "", false, &mut left_out)).collect();
        Places {
            base_dir: std::path::absolute(base_dir).unwrap_or_else(|_| base_dir.to_owned()),
            stream: Some(TreeNode { line: 0, column: 0, kind: NodeKind::Map(entries) }),
            left_out,
        }
    }

    /// Reads each part under today's environment: `env` answers for its variables; `file_name` is for messages. An error says
    /// why a part is of no use: a secret was left out, a variable is not set, a file is not there, a key is unknown today.
    pub fn load(&self, file_name: &str, env: &dyn Fn(&str) -> Option<String>) -> LoadedPlaces {
        let sources = Sources { file_name, base_dir: &self.base_dir, env };
        let destination = self.part("destination", &sources).and_then(|part| match part {
            Some(PlacesPart { destination: Some(mut destination), .. }) => {
                if let Some(ca) = destination.settings_mut().ca() {
                    *ca = self.base_dir.join(&*ca);
                }
                Ok(destination)
            }
            _ => Err(Problem::of_file(file_name, "", "found no destination").into()),
        });
        let backup = self.part("backup", &sources).map(|part| part.and_then(|part| part.backup));
        LoadedPlaces { destination, backup }
    }

    fn part(&self, key: &str, sources: &Sources) -> Result<Option<PlacesPart>, Errors> {
        let Some(entry) = self.stream.as_ref().and_then(|stream| stream.get(key)) else { return Ok(None) };
        let left_out = self.left_out.iter().filter(|path| path.split('.').next() == Some(key));
        let message = "it stood in the configuration itself and is not kept: expected `${env:…}` or `${file:…}`";
        let left_out: Vec<Problem> = left_out.map(|path| Problem::of_file(sources.file_name, path, message)).collect();
        if !left_out.is_empty() {
            return Err(Errors::new(left_out));
        }
        let mut part = TreeNode { line: 0, column: 0, kind: NodeKind::Map(vec![entry.clone()]) };
        let mut problems = Vec::new();
        replace::replace(&mut part, sources, &mut problems);
        let read: Option<PlacesPart> = read::read(&mut part, sources.file_name, &mut problems);
        read.filter(|_| problems.is_empty()).map(Some).ok_or_else(|| Errors::new(problems))
    }

    /// The destination's kind.
    pub fn kind(&self) -> Option<DestinationKind> {
        let destination = self.stream.as_ref()?.get("destination")?;
        destination.value.entries().first().and_then(|kind| DestinationKind::of_key(&kind.key))
    }

    /// What these places have settings for, whether they can be read today or not.
    pub fn ways(&self) -> Vec<Way> {
        let of_destination = self.kind().map_or(&[][..], |kind| kind.spec().ways);
        let backup = self.stream.as_ref().and_then(|stream| stream.get("backup"));
        // Switched off it may keep its keys, and leads nowhere.
        let is_off = |mode: &TreeEntry| matches!(&mode.value.kind, NodeKind::Scalar { text, .. } if text == "none");
        let leads =
            |backup: &TreeEntry| backup.value.get("s3").is_some() && !backup.value.get("mode").is_some_and(is_off);
        let of_backup = backup.is_some_and(leads).then_some(Way::BackupBucket);
        of_destination.iter().copied().chain(of_backup).collect()
    }
}

/// What could be read of places.
pub struct LoadedPlaces {
    pub destination: Result<Destination, Errors>,
    pub backup: Result<Option<Backup>, Errors>,
}

/// One of the keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlacesPart {
    #[serde(default)]
    destination: Option<Destination>,
    #[serde(default, with = "super::stream::backup")]
    backup: Option<Backup>,
}

/// A copy without positions, which change with every line above; `None` of a secret that is written out.
fn without_secrets(
    entry: &TreeEntry,
    path: &str,
    is_below_secret: bool,
    left_out: &mut Vec<String>,
) -> Option<TreeEntry> {
    let (path, is_secret) = (join(path, &entry.key), is_below_secret || is_secret(&entry.key));
    let mut below = |entries: &[TreeEntry]| {
        entries.iter().filter_map(|entry| without_secrets(entry, &path, is_secret, left_out)).collect()
    };
    let kind = match &entry.value.kind {
        NodeKind::Scalar { text, .. }
            if is_secret && !text.is_empty() && !is_reference(text) && !entry.value.is_null() =>
        {
            left_out.push(path);
            return None;
        }
        NodeKind::Scalar { .. } => entry.value.kind.clone(),
        NodeKind::List(entries) => NodeKind::List(below(entries)),
        NodeKind::Map(entries) => NodeKind::Map(below(entries)),
    };
    Some(TreeEntry {
        key: entry.key.clone(),
        line: 0,
        column: 0,
        value: TreeNode { line: 0, column: 0, kind },
        skip: false,
    })
}

/// Whether a value is nothing but a reference, without a default: that is written out, too.
fn is_reference(text: &str) -> bool {
    let inner = text.strip_prefix("${").and_then(|text| text.strip_suffix('}'));
    inner.is_some_and(|inner| !inner.contains(['{', '}']) && !inner.contains(":-"))
}
