//! How a rule is checked and what is said of a value that breaks it: at its place in the file, with what was found and what was
//! expected.

use super::problem::Problem;
use super::tree::TreeNode;
use crate::units::{ByteSize, format_duration};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The largest body of a request.
pub const REQUEST_BYTES_MAX: ByteSize = ByteSize::mib(6);
/// A request counts twice while it is in flight: its body, and the records in it.
pub(super) const INTAKE_MIN: ByteSize = ByteSize(2 * REQUEST_BYTES_MAX.bytes());
/// A stream opens with a segment of 1 MiB and needs a second one of that size to go on when the first is full.
pub(super) const STREAM_DISK_MIN: ByteSize = ByteSize::mib(2);

/// Keys from the root to a value.
pub(super) type Keys<'k> = [&'k str];

/// Where rules are checked.
pub struct Checker<'c> {
    root: &'c TreeNode,
    file: &'c str,
    base_dir: &'c Path,
    pub problems: &'c mut Vec<Problem>,
}

impl<'c> Checker<'c> {
    pub fn new(root: &'c TreeNode, file: &'c str, base_dir: &'c Path, problems: &'c mut Vec<Problem>) -> Checker<'c> {
        Checker { root, file, base_dir, problems }
    }
}

impl Checker<'_> {
    pub fn locate(&self, keys: &Keys) -> (&TreeNode, bool) {
        self.root.locate(keys)
    }

    pub fn has(&self, keys: &Keys) -> bool {
        self.locate(keys).1
    }

    pub fn problem(&mut self, keys: &Keys, message: impl Into<String>) {
        self.problems.push(self.root.problem(self.file, keys, message));
    }

    /// At the key rather than at its value.
    pub fn problem_at_key(&mut self, keys: &Keys, message: String) {
        self.problem(keys, message);
        let (last, way) = keys.split_last().expect("a key has a name");
        let position = self.locate(way).0.get(last).map(|entry| (entry.line, entry.column));
        if let (Some(problem), Some((line, column))) = (self.problems.last_mut(), position) {
            (problem.line, problem.column) = (line, column);
        }
    }

    /// At a value, of which the text as written is shown.
    pub fn expected(&mut self, keys: &Keys, what: impl Display) {
        let found = match self.locate(keys) {
            (node, true) => node.found(),
            (_, false) => "nothing".to_string(),
        };
        self.problem(keys, format!("found {found}, expected {what}"));
    }

    pub fn range<T: PartialOrd + Display>(&mut self, keys: &Keys, what: &str, value: T, range: RangeInclusive<T>) {
        if !range.contains(&value) {
            self.expected(keys, format!("{what} from {} to {}", range.start(), range.end()));
        }
    }

    pub fn time(&mut self, keys: &Keys, value: Duration, range: RangeInclusive<Duration>) {
        if !range.contains(&value) {
            let (start, end) = (format_duration(*range.start()), format_duration(*range.end()));
            self.expected(keys, format!("a time from {start} to {end}"));
        }
    }

    /// Makes `path` relative to the configuration file and sees that the file is there.
    pub fn file(&mut self, keys: &Keys, path: &mut PathBuf) -> bool {
        let full = self.base_dir.join(&*path);
        match std::fs::metadata(&full) {
            Ok(meta) if meta.is_file() => {
                *path = full;
                return true;
            }
            Ok(_) => self.expected(keys, "a file"),
            Err(e) => {
                let base = if path.is_relative() { " (relative to the configuration file)" } else { "" };
                let written = self.locate(keys).0.found();
                self.problem(keys, format!("file {written}{base}: {e}"));
            }
        }
        false
    }

    pub fn region(&mut self, keys: &Keys, region: &str) {
        if region.is_empty() || !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            self.expected(keys, "a region such as `us-east-1`");
        }
    }
}
