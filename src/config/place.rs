//! Errors of reading, and the places they carry.

use super::tree::{NodeKind, TreeNode, join};
use serde::de;
use std::fmt;

/// What is wrong, and where once that is known.
#[derive(Debug)]
pub(super) struct YamlError {
    message: String,
    /// `message` says what was expected; what was found is put in front when the place is known.
    wants_found: bool,
    /// The key that is missing below the place.
    missing: Option<&'static str>,
    place: Option<Box<YamlPlace>>,
}

#[derive(Debug)]
pub(super) struct YamlPlace {
    pub line: usize,
    pub column: usize,
    pub path: String,
    /// The indices of the entries that lead to what has to be left out.
    pub steps: Vec<usize>,
    /// A consequence of something already reported.
    pub quiet: bool,
}

impl YamlError {
    pub(super) fn expected(what: &dyn fmt::Display) -> Self {
        YamlError { message: plainly(&what.to_string()), wants_found: true, missing: None, place: None }
    }

    /// At a value, unless a deeper place is known already.
    pub(super) fn at(self, node: &TreeNode, trail: &Trail) -> Self {
        let quiet = node.is_mended();
        let is_shown = node.is_null() || !matches!(node.kind, NodeKind::Scalar { .. }) || !trail.is_secret();
        let found = if is_shown { node.found() } else { "something else".to_string() };
        self.put((node.line, node.column), &found, trail, quiet)
    }

    /// At a key, whose value is left out with it.
    pub(super) fn at_key(self, position: (usize, usize), found: &str, trail: &Trail) -> Self {
        self.put(position, found, trail, false)
    }

    fn put(mut self, (line, column): (usize, usize), found: &str, trail: &Trail, quiet: bool) -> Self {
        if self.place.is_some() {
            return self;
        }
        if self.wants_found {
            self.message = format!("found {found}, expected {}", self.message);
        }
        let path = self.missing.iter().fold(trail.path(), |path, key| join(&path, key));
        self.place = Some(Box::new(YamlPlace { line, column, path, steps: trail.steps(), quiet }));
        self
    }

    /// The message and its place, which is the root if nothing below was at fault.
    pub(super) fn at_last(self, root: &TreeNode) -> (String, YamlPlace) {
        let error = self.at(root, &Trail::Root);
        (error.message, *error.place.expect("`at` gives every error a place"))
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for YamlError {}

impl de::Error for YamlError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        YamlError { message: message.to_string(), wants_found: false, missing: None, place: None }
    }

    fn invalid_type(_: de::Unexpected, expected: &dyn de::Expected) -> Self {
        YamlError::expected(&expected)
    }

    fn invalid_value(_: de::Unexpected, expected: &dyn de::Expected) -> Self {
        YamlError::expected(&expected)
    }

    fn missing_field(field: &'static str) -> Self {
        YamlError { missing: Some(field), ..de::Error::custom("missing, and has no default") }
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        match known {
            [] => de::Error::custom("unknown key, expected none"),
            _ => de::Error::custom(format!("unknown key, expected one of {}", list(known))),
        }
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        YamlError::expected(&one_of(known))
    }
}

pub(super) fn one_of(names: &[&str]) -> String {
    format!("one of {}", list(names))
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Rust's names for what was expected, in the reader's words.
fn plainly(expected: &str) -> String {
    match expected {
        "a string" => "a text".to_string(),
        "path string" => "a path".to_string(),
        "a boolean" => "`true` or `false`".to_string(),
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number".to_string(),
        "a map" => "a mapping".to_string(),
        "a sequence" => "a list".to_string(),
        _ if expected.starts_with("struct ") => "a mapping".to_string(),
        _ => expected.to_string(),
    }
}

/// The way from the root to a node, on the stack of the readers above it.
#[derive(Clone, Copy)]
pub(super) enum Trail<'t> {
    Root,
    /// `index` is none where a name stands for a mapping that is not there: `compress: gzip`.
    Step {
        parent: &'t Trail<'t>,
        key: &'t str,
        index: Option<usize>,
    },
}

/// What stands below these keys is never shown, nor kept.
const SECRETS: [&str; 6] = ["access_key", "access_keys", "password", "secret", "secret_access_key", "session_token"];

/// Whether what stands below this key is a secret.
pub(super) fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key)
}

impl Trail<'_> {
    fn path(&self) -> String {
        match self {
            Trail::Root => String::new(),
            Trail::Step { parent, key, .. } => join(&parent.path(), key),
        }
    }

    fn steps(&self) -> Vec<usize> {
        match self {
            Trail::Root => Vec::new(),
            Trail::Step { parent, index, .. } => parent.steps().into_iter().chain(*index).collect(),
        }
    }

    fn is_secret(&self) -> bool {
        match self {
            Trail::Root => false,
            Trail::Step { parent, key, .. } => is_secret(key) || parent.is_secret(),
        }
    }
}
