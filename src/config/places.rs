//! How a stream's places are reached, as its file says it: what is kept of a configuration for plans that outlive it.

use super::place::is_secret;
use super::problem::{Errors, Problem};
use super::read;
use super::replace::{self, Sources};
use super::tree::{Entry, Kind, Node, join};
use super::{Destination, StreamConfig};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The keys of a stream that say where its objects and requests go.
const KEYS: [&str; 2] = ["destination", "backup"];

/// `destination` and `backup` of a stream with their `${…}` as written, so that no secret is in here: one that the file has
/// itself is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// What relative files are relative to.
    base_dir: PathBuf,
    /// A mapping.
    stream: Option<Node>,
    /// The secrets that were left out, such as `destination.s3.secret_access_key`.
    left_out: Vec<String>,
}

impl Places {
    /// Of a stream's tree in which nothing is replaced yet.
    pub(super) fn of(stream: &Node, base_dir: &Path) -> Places {
        let mut left_out = Vec::new();
        let entries = stream.entries().iter().filter(|entry| KEYS.contains(&entry.key.as_str()));
        let entries = entries.filter_map(|entry| without_secrets(entry, "", false, &mut left_out)).collect();
        Places {
            base_dir: std::path::absolute(base_dir).unwrap_or_else(|_| base_dir.to_owned()),
            stream: Some(Node { line: 0, column: 0, kind: Kind::Map(entries) }),
            left_out,
        }
    }

    /// A stream with these places and nothing else. `env` answers for environment variables; `file_name` is for messages.
    /// Errors: a secret was left out, a variable is not set, a file is not there, or a key is unknown today.
    pub fn load(&self, file_name: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<StreamConfig, Errors> {
        let problem = |path: &str, message: &str| Problem {
            file: file_name.to_owned(),
            line: 0,
            column: 0,
            path: path.to_owned(),
            message: message.to_owned(),
        };
        if !self.left_out.is_empty() {
            let message = "it stood in the configuration itself and is not kept: expected `${env:…}` or `${file:…}`";
            return Err(Errors::new(self.left_out.iter().map(|path| problem(path, message)).collect()));
        }
        let Some(mut stream) = self.stream.clone() else { return Err(problem("", "found no places").into()) };
        let mut problems = Vec::new();
        replace::replace(&mut stream, &Sources { file_name, base_dir: &self.base_dir, env }, &mut problems);
        let config: Option<StreamConfig> = read::read(&mut stream, file_name, &mut problems);
        let Some(mut config) = config.filter(|_| problems.is_empty()) else { return Err(Errors::new(problems)) };
        if let Some(ca) = ca_of(&mut config.destination) {
            *ca = self.base_dir.join(&*ca);
        }
        Ok(config)
    }
}

/// The file of certificates that a destination names.
fn ca_of(destination: &mut Destination) -> Option<&mut PathBuf> {
    match destination {
        Destination::Http(http) => http.ca.as_mut(),
        Destination::Postgres(postgres) => postgres.tls.ca.as_mut(),
        Destination::Redshift(redshift) => redshift.tls.ca.as_mut(),
        Destination::S3(_) | Destination::Local(_) => None,
    }
}

/// A copy without positions, which change with every line above; `None` of a secret that is written out.
fn without_secrets(entry: &Entry, path: &str, is_below_secret: bool, left_out: &mut Vec<String>) -> Option<Entry> {
    let (path, is_secret) = (join(path, &entry.key), is_below_secret || is_secret(&entry.key));
    let mut below = |entries: &[Entry]| {
        entries.iter().filter_map(|entry| without_secrets(entry, &path, is_secret, left_out)).collect()
    };
    let kind = match &entry.value.kind {
        Kind::Scalar { text, .. } if is_secret && !is_reference(text) && !entry.value.is_null() => {
            left_out.push(path);
            return None;
        }
        Kind::Scalar { .. } => entry.value.kind.clone(),
        Kind::List(entries) => Kind::List(below(entries)),
        Kind::Map(entries) => Kind::Map(below(entries)),
    };
    Some(Entry { key: entry.key.clone(), line: 0, column: 0, value: Node { line: 0, column: 0, kind }, skip: false })
}

/// Whether a value is nothing but a reference, without a default: that is written out, too.
fn is_reference(text: &str) -> bool {
    let inner = text.strip_prefix("${").and_then(|text| text.strip_suffix('}'));
    inner.is_some_and(|inner| !inner.contains(['{', '}']) && !inner.contains(":-"))
}
