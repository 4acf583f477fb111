//! `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` in scalar values; `$${` stands for `${`.
//!
//! Done after parsing, so that what is put in can never become a key, a list or more YAML.

use super::problem::Problem;
use super::tree::{NodeKind, TreeNode, join, quote};
use std::path::Path;

/// What replacements are taken from.
pub(super) struct Sources<'s> {
    pub file_name: &'s str,
    pub base_dir: &'s Path,
    pub env: &'s dyn Fn(&str) -> Option<String>,
}

/// Fills in every value below `root`. A value that cannot be filled in is reported and left out.
pub(super) fn replace(root: &mut TreeNode, sources: &Sources, problems: &mut Vec<Problem>) {
    below(root, "", sources, problems);
}

fn below(node: &mut TreeNode, path: &str, sources: &Sources, problems: &mut Vec<Problem>) {
    for entry in node.entries_mut() {
        let path = join(path, &entry.key);
        let (line, column) = (entry.value.line, entry.value.column);
        match &mut entry.value.kind {
            NodeKind::Scalar { text, .. } if text.contains("${") => match sources.fill(text) {
                Ok(filled) => *text = filled,
                Err(message) => {
                    entry.skip = true;
                    problems.push(Problem { file: sources.file_name.to_string(), line, column, path, message });
                }
            },
            NodeKind::Scalar { .. } => {}
            _ => below(&mut entry.value, &path, sources, problems),
        }
    }
}

const EXPECTED: &str = "expected `${env:NAME}`, `${env:NAME:-default}` or `${file:PATH}` (`$${` for `${` itself)";
/// A secret or a certificate, not a data set.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Sources<'_> {
    fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, from) = rest.split_at(start);
            if let Some(before) = before.strip_suffix('$') {
                filled.push_str(before);
                filled.push_str("${");
                rest = &from[2..];
                continue;
            }
            let end = from.find('}').ok_or_else(|| format!("found {} without `}}`, {EXPECTED}", quote(from)))?;
            filled.push_str(before);
            filled.push_str(&self.value(&from[2..end]).map_err(|why| {
                if why.is_empty() { format!("found {}, {EXPECTED}", quote(&from[..=end])) } else { why }
            })?);
            rest = &from[end + 1..];
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// What stands for the text between `${` and `}`. An empty error: it is none of the known forms.
    fn value(&self, expression: &str) -> Result<String, String> {
        match expression.split_once(':') {
            Some(("env", name)) => match name.split_once(":-") {
                _ if name.is_empty() || name.starts_with(":-") => Err(String::new()),
                Some((name, default)) => Ok((self.env)(name).filter(|v| !v.is_empty()).unwrap_or(default.to_string())),
                None => (self.env)(name).ok_or_else(|| format!("environment variable `{name}` is not set")),
            },
            Some(("file", path)) if !path.is_empty() => self.file(path),
            _ => Err(String::new()),
        }
    }

    /// A file's text without the line ends at its end.
    fn file(&self, path: &str) -> Result<String, String> {
        let problem = |what: &dyn std::fmt::Display| format!("file `{path}`: {what}");
        let full = self.base_dir.join(path);
        let size = std::fs::metadata(&full).map_err(|e| problem(&e))?.len();
        if size > FILE_BYTES_MAX {
            return Err(problem(&format!("found {size} bytes, expected at most {FILE_BYTES_MAX}")));
        }
        let text = std::fs::read_to_string(&full).map_err(|e| problem(&e))?;
        Ok(text.trim_end_matches(['\r', '\n']).to_string())
    }
}
