//! Columns of a table, read from the file that `format.parquet.schema` names: our YAML, or what the format step knows besides.
//!
//! Names and the text of types only: what a type text means is the format step's matter, which can point back at it by
//! line and column.

use super::problem::{self, Errors, Problem};
use super::tree::{self, NodeKind, TreeEntry, TreeNode, join, quote};
use crate::format::schema::NamedType;
use crate::format::schema::source::{self, SchemaForm, SchemaProblem};
use std::path::Path;

/// One column. The position is that of its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaColumn {
    pub name: String,
    pub type_text: String,
    /// The key that it is read from, unless that is its name.
    pub key: Option<String>,
    pub line: usize,
    pub column: usize,
}

/// More columns than any table here; each costs memory in every open file.
const COLUMNS_MAX: usize = 10_000;
const COLUMNS_EXPECTED: &str = "a mapping from column to type, or a list of mappings with `name` and `type`";
/// Of a file with a schema, which may be a Parquet file.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Longest key that is read from JSON.
const KEY_BYTES_MAX: usize = 262_144;

/// Reads the columns in a file, whatever form it has (see [`SchemaForm`]).
pub fn load_columns(path: &Path) -> Result<Vec<SchemaColumn>, Errors> {
    let file_name = path.display().to_string();
    let metadata = std::fs::metadata(path).ok();
    if let Some(metadata) = metadata.filter(|metadata| !metadata.is_file() || metadata.len() > FILE_BYTES_MAX) {
        let found = if metadata.is_file() { format!("{} bytes", metadata.len()) } else { "no file".to_owned() };
        let message = format!("found {found}, expected a file of at most {FILE_BYTES_MAX} bytes");
        return Err(Errors::new(vec![Problem { file: file_name, line: 0, column: 0, path: String::new(), message }]));
    }
    let bytes = match std::fs::read(path) {
        Ok(bytes) if SchemaForm::of(&bytes) != SchemaForm::Yaml => bytes,
        _ => return parse_columns(&problem::read_text(path)?, &file_name),
    };
    let problem = |SchemaProblem { line, column, message }: SchemaProblem| {
        Errors::new(vec![Problem { file: file_name.clone(), line, column, path: String::new(), message }])
    };
    let schema = source::read(&bytes).map_err(problem)?;
    let count = schema.columns.len();
    if !(1..=COLUMNS_MAX).contains(&count) {
        let message = format!("found {count} columns, expected 1 to {COLUMNS_MAX}");
        return Err(problem(SchemaProblem { line: 1, column: 1, message }));
    }
    let column =
        |NamedType { name, of, key }| SchemaColumn { name, type_text: of.to_string(), key, line: 1, column: 1 };
    Ok(schema.columns.into_iter().map(column).collect())
}

/// Reads `columns: {id: bigint, …}` or `columns: [{name: id, type: bigint}, …]`, in file order. A type may be written as
/// `{type: bigint, key: "@id"}`, and a list's mapping may have a `key`.
///
/// `file_name` is for messages.
pub fn parse_columns(text: &str, file_name: &str) -> Result<Vec<SchemaColumn>, Errors> {
    let mut problems = Vec::new();
    let root = tree::parse(text, file_name, &mut problems)?;
    let mut reader = SchemaReader { file: file_name, problems, columns: Vec::new() };
    reader.file(&root);
    if reader.problems.is_empty() { Ok(reader.columns) } else { Err(Errors::new(reader.problems)) }
}

struct SchemaReader<'f> {
    file: &'f str,
    problems: Vec<Problem>,
    columns: Vec<SchemaColumn>,
}

impl SchemaReader<'_> {
    fn problem(&mut self, (line, column): (usize, usize), path: &str, message: String) {
        let (file, path) = (self.file.to_string(), path.to_string());
        self.problems.push(Problem { file, line, column, path, message });
    }

    fn file(&mut self, root: &TreeNode) {
        for entry in root.entries().iter().filter(|entry| entry.key != "columns") {
            self.problem((entry.line, entry.column), &entry.key, "unknown key, expected one of `columns`".to_string());
        }
        let Some(columns) = root.get("columns") else {
            return self.problem((root.line, root.column), "columns", format!("missing, expected {COLUMNS_EXPECTED}"));
        };
        let position = (columns.value.line, columns.value.column);
        match &columns.value.kind {
            NodeKind::Map(entries) if (1..=COLUMNS_MAX).contains(&entries.len()) => {
                for TreeEntry { key, line, column, value, .. } in entries {
                    self.described(key, (*line, *column), value, &join("columns", key));
                }
            }
            NodeKind::List(entries) if (1..=COLUMNS_MAX).contains(&entries.len()) => {
                entries.iter().for_each(|entry| self.element(&entry.value, &join("columns", &entry.key)));
            }
            NodeKind::Scalar { .. } => {
                self.problem(
                    position,
                    "columns",
                    format!("found {}, expected {COLUMNS_EXPECTED}", columns.value.found()),
                );
            }
            NodeKind::Map(entries) | NodeKind::List(entries) => {
                let message = format!("found {} columns, expected 1 to {COLUMNS_MAX}", entries.len());
                self.problem(position, "columns", message);
            }
        }
    }

    /// `bigint`, or `{type: bigint, key: "@id"}`
    fn described(&mut self, name: &str, at: (usize, usize), node: &TreeNode, path: &str) {
        if node.entries().is_empty() {
            return self.column((name, at), node, path, None);
        }
        self.known_keys(node, path, &["type", "key"]);
        match node.get("type") {
            Some(kind) => self.column((name, at), &kind.value, &join(path, "type"), node.get("key")),
            None => {
                let message = format!("found {}, expected a type, or a mapping with `type`", node.found());
                self.problem((node.line, node.column), path, message);
            }
        }
    }

    fn known_keys(&mut self, node: &TreeNode, path: &str, known: &[&str]) {
        for entry in node.entries().iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let known: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
            let message = format!("unknown key, expected one of {}", known.join(", "));
            self.problem((entry.line, entry.column), &join(path, &entry.key), message);
        }
    }

    /// The key that a column is read from.
    fn key(&mut self, entry: &TreeEntry, path: &str) -> Option<String> {
        let found = match &entry.value.kind {
            NodeKind::Scalar { text, .. } => Some(text.clone()),
            _ => None,
        };
        let key = found.filter(|key| key.len() <= KEY_BYTES_MAX);
        if key.is_none() {
            let message = format!("found {}, expected a key of at most {KEY_BYTES_MAX} bytes", entry.value.found());
            self.problem((entry.value.line, entry.value.column), &join(path, "key"), message);
        }
        key
    }

    /// `{name: id, type: bigint}`, or with a `key`
    fn element(&mut self, node: &TreeNode, path: &str) {
        self.known_keys(node, path, &["name", "type", "key"]);
        let (Some(name), Some(kind)) = (node.get("name"), node.get("type")) else {
            let message = format!("found {}, expected a mapping with `name` and `type`", node.found());
            return self.problem((node.line, node.column), path, message);
        };
        match &name.value.kind {
            NodeKind::Scalar { text, .. } => {
                let at = (name.value.line, name.value.column);
                self.column((text, at), &kind.value, &join(path, "type"), node.get("key"));
            }
            _ => {
                let message = format!("found {}, expected a text", name.value.found());
                self.problem((name.value.line, name.value.column), &join(path, "name"), message);
            }
        }
    }

    fn column(&mut self, (name, at): (&str, (usize, usize)), kind: &TreeNode, path: &str, key: Option<&TreeEntry>) {
        let key = key.and_then(|key| self.key(key, path));
        if let Err(message) = check_column_name(name) {
            self.problem(at, path, message);
        }
        if let Some(first) = self.columns.iter().find(|column| column.name.to_lowercase() == name.to_lowercase()) {
            // Catalogues fold case, so two such columns could not be told apart.
            let message = format!("found {} again, first on line {}", quote(name), first.line);
            self.problem(at, path, message);
        }
        match &kind.kind {
            NodeKind::Scalar { text, .. } if !kind.is_null() => {
                let (name, type_text) = (name.to_string(), text.clone());
                self.columns.push(SchemaColumn { name, type_text, key, line: kind.line, column: kind.column });
            }
            _ => self.problem((kind.line, kind.column), path, format!("found {}, expected a type", kind.found())),
        }
    }
}

/// Whether every reader of columns can name one so.
///
/// # Errors
/// What was found, and what was expected.
pub(super) fn check_column_name(name: &str) -> Result<(), String> {
    match !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        true => Ok(()),
        false => Err(format!("found {}, expected a column name of letters, digits and `_`", quote(name))),
    }
}
