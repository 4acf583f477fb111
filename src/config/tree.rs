//! YAML text to nodes that know where they stand.
//!
//! Read from the parser's events rather than into types, because only so every value keeps its text as written, every
//! key its position, and keys that stand twice can be named. Aliases are copied, merge keys (`<<`) filled in.

use super::problem::{Errors, Problem};
use serde::{Deserialize, Serialize};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use std::collections::HashMap;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeNode {
    pub line: usize,
    pub column: usize,
    pub kind: NodeKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeKind {
    Scalar {
        /// As written: what messages show.
        raw: String,
        /// With `${…}` replaced: what is read.
        text: String,
        /// Not in quotes.
        plain: bool,
    },
    List(Vec<TreeEntry>),
    Map(Vec<TreeEntry>),
}

/// A key with its value, or an element of a list, whose key is `[0]`, `[1]`, …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    pub key: String,
    pub line: usize,
    pub column: usize,
    pub value: TreeNode,
    /// Reported already: reading goes on without it.
    #[serde(skip)]
    pub skip: bool,
}

impl TreeNode {
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar { text, plain: true, .. } if matches!(text.as_str(), "" | "~" | "null"))
    }

    pub fn entries(&self) -> &[TreeEntry] {
        match &self.kind {
            NodeKind::Scalar { .. } => &[],
            NodeKind::List(entries) | NodeKind::Map(entries) => entries,
        }
    }

    pub fn entries_mut(&mut self) -> &mut [TreeEntry] {
        match &mut self.kind {
            NodeKind::Scalar { .. } => &mut [],
            NodeKind::List(entries) | NodeKind::Map(entries) => entries,
        }
    }

    /// Whether something directly below was reported and left out.
    pub fn is_mended(&self) -> bool {
        self.entries().iter().any(|entry| entry.skip)
    }

    pub fn get(&self, key: &str) -> Option<&TreeEntry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The deepest value on the way that is in the file, and whether it is the last one.
    pub fn locate(&self, keys: &[&str]) -> (&TreeNode, bool) {
        let mut node = self;
        for key in keys {
            match node.get(key) {
                Some(entry) => node = &entry.value,
                None => return (node, false),
            }
        }
        (node, true)
    }

    /// Something that is wrong with the value that `keys` lead to, or with what is not there.
    pub fn problem(&self, file: &str, keys: &[&str], message: impl Into<String>) -> Problem {
        let node = self.locate(keys).0;
        let (line, column) = (node.line, node.column);
        let path = keys.iter().fold(String::new(), |path, key| join(&path, key));
        Problem { file: file.to_string(), line, column, path, message: message.into() }
    }

    /// What a message says was found here.
    pub fn found(&self) -> String {
        match &self.kind {
            NodeKind::List(_) => "a list".to_string(),
            NodeKind::Map(entries) if entries.is_empty() => "an empty mapping".to_string(),
            NodeKind::Map(_) => "a mapping".to_string(),
            NodeKind::Scalar { .. } if self.is_null() => "nothing".to_string(),
            NodeKind::Scalar { raw, .. } if raw.is_empty() => "an empty text".to_string(),
            NodeKind::Scalar { raw, .. } => quote(raw),
        }
    }
}

const SHOWN_CHARS_MAX: usize = 60;

/// In backticks, on one line, not too long.
pub(super) fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).flat_map(shown_char).collect();
    if text.chars().count() > SHOWN_CHARS_MAX {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn shown_char(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

/// `streams.clicks` and `[0]` give `streams.clicks[0]`.
pub(super) fn join(path: &str, key: &str) -> String {
    let dot = if path.is_empty() || key.starts_with('[') { "" } else { "." };
    format!("{path}{dot}{key}")
}

/// Deeper is no configuration of ours, and recursion has to end.
const DEPTH_MAX: usize = 64;
/// Copies of aliases included: a few lines of YAML can name billions.
const NODES_MAX: usize = 200_000;

/// The tree of the one document in `text`. Keys that stand twice become problems; a syntax error ends the reading.
pub(super) fn parse(text: &str, file: &str, problems: &mut Vec<Problem>) -> Result<TreeNode, Errors> {
    let mut reader =
        TreeReader { parser: Parser::new_from_str(text), file, anchors: HashMap::new(), nodes: 0, problems };
    let mut root = TreeNode { line: 1, column: 1, kind: NodeKind::Map(Vec::new()) };
    let mut documents = 0;
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(root),
            (Event::DocumentStart(..), span) => {
                documents += 1;
                if documents > 1 {
                    return Err(reader.problem(span, "", "found a second document, expected one").into());
                }
                let first = reader.next()?;
                if !matches!(first.0, Event::DocumentEnd) {
                    root = reader.node(first, "", 0)?;
                }
            }
            _ => {}
        }
    }
}

struct TreeReader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    file: &'t str,
    anchors: HashMap<usize, TreeNode>,
    nodes: usize,
    problems: &'t mut Vec<Problem>,
}

impl<'t> TreeReader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Errors> {
        loop {
            match self.parser.next_event() {
                None => return Ok((Event::StreamEnd, Span::default())),
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok(event)) => return Ok(event),
                Some(Err(e)) => {
                    let info = e.info();
                    let hint =
                        if info.contains("scanning a tag") { ": a text that begins with `!` needs quotes" } else { "" };
                    let message = format!("not YAML: {info}{hint}");
                    return Err(self.problem(Span::empty(*e.marker()), "", &message).into());
                }
            }
        }
    }

    fn problem(&self, span: Span, path: &str, message: &str) -> Problem {
        Problem {
            file: self.file.to_string(),
            line: span.start.line(),
            column: span.start.col() + 1,
            path: path.to_string(),
            message: message.to_string(),
        }
    }

    fn node(&mut self, (event, span): (Event<'t>, Span), path: &str, depth: usize) -> Result<TreeNode, Errors> {
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            let message = format!("nested deeper than {DEPTH_MAX} levels, or more than {NODES_MAX} values");
            return Err(self.problem(span, path, &message).into());
        }
        if let Event::Scalar(.., Some(tag)) | Event::SequenceStart(.., Some(tag)) | Event::MappingStart(.., Some(tag)) =
            &event
        {
            let message =
                format!("found the tag `{}`, expected none: a text that begins with `!` needs quotes", tag.original());
            return Err(self.problem(span.tag_span().unwrap_or(span), path, &message).into());
        }
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let (raw, text) = (text.to_string(), text.into_owned());
                (NodeKind::Scalar { raw, text, plain: style == ScalarStyle::Plain }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (NodeKind::List(self.list(path, depth)?), anchor),
            Event::MappingStart(_, anchor, _) => (NodeKind::Map(self.map(path, depth)?), anchor),
            Event::Alias(id) => return self.alias(id, span, path),
            other => return Err(self.problem(span, path, &format!("found {other:?}, expected a value")).into()),
        };
        let node = TreeNode { line: span.start.line(), column: span.start.col() + 1, kind };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// A copy of what the alias names. Its values keep the positions at which they are written.
    fn alias(&mut self, id: usize, span: Span, path: &str) -> Result<TreeNode, Errors> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            return Err(self.problem(span, path, "found an alias inside what it names, expected it after").into());
        };
        self.nodes += count(&node);
        Ok(node)
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Vec<TreeEntry>, Errors> {
        let mut entries = Vec::new();
        loop {
            let next = self.next()?;
            if matches!(next.0, Event::SequenceEnd) {
                return Ok(entries);
            }
            let key = format!("[{}]", entries.len());
            let value = self.node(next, &join(path, &key), depth + 1)?;
            entries.push(TreeEntry { key, line: value.line, column: value.column, value, skip: false });
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Vec<TreeEntry>, Errors> {
        let (mut entries, mut merged): (Vec<TreeEntry>, _) = (Vec::new(), Vec::new());
        loop {
            let (event, span) = self.next()?;
            let (key, plain) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, ..) => (text.into_owned(), style == ScalarStyle::Plain),
                _ => return Err(self.problem(span, path, "found a key that is not a text").into()),
            };
            let key_path = join(path, &key);
            let next = self.next()?;
            let value = self.node(next, &key_path, depth + 1)?;
            if plain && key == "<<" {
                merged.push((value, span));
                continue;
            }
            if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let message = format!("stands twice, first on line {}", first.line);
                self.problems.push(self.problem(span, &key_path, &message));
                continue;
            }
            entries.push(TreeEntry { key, line: span.start.line(), column: span.start.col() + 1, value, skip: false });
        }
        for (source, span) in merged {
            self.merge(&mut entries, source, span, path)?;
        }
        Ok(entries)
    }

    /// Adds what `<<` names and the mapping itself has not.
    fn merge(&mut self, entries: &mut Vec<TreeEntry>, source: TreeNode, span: Span, path: &str) -> Result<(), Errors> {
        match source.kind {
            NodeKind::Map(more) => {
                for entry in more {
                    if !entries.iter().any(|own| own.key == entry.key) {
                        entries.push(entry);
                    }
                }
                Ok(())
            }
            NodeKind::List(sources) => {
                sources.into_iter().try_for_each(|source| self.merge(entries, source.value, span, path))
            }
            NodeKind::Scalar { .. } => {
                let message = format!("found {}, expected a mapping", source.found());
                Err(self.problem(span, &join(path, "<<"), &message).into())
            }
        }
    }
}

fn count(node: &TreeNode) -> usize {
    1 + node.entries().iter().map(|entry| count(&entry.value)).sum::<usize>()
}
