//! JSON objects, one after the other, as lines of the text format of PostgreSQL's COPY.
//!
//! Promises: a line per object, so that the line that the database complains of is the record's number. A value is what
//! it was: numbers keep their digits, strings their characters, a column of JSON gets the value's own text, a column of
//! arrays gets an array. A key that is no column is left out, a column without a key is NULL, and of a key that stands
//! twice the last holds. Never more than one object and a piece of input is held, and nothing is allocated per value.

mod array;
mod text;

use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

/// Input read at once.
const INPUT_BYTES: usize = 256 << 10;
/// Output made at once.
const PIECE_BYTES: usize = 256 << 10;
/// A record cannot be larger than what a source or a transform may hand on; this is far above.
const OBJECT_BYTES_MAX: usize = 64 << 20;

/// How a column takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Strings by their characters, all else by its text.
    Plain,
    /// The value's own text, strings in their quotes.
    Json,
    /// An array as PostgreSQL writes it; `json`: its elements are JSON.
    Array { json: bool },
}

/// A column that is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    pub name: String,
    pub kind: ColumnKind,
}

/// Why there is no further line.
#[derive(Debug)]
pub enum Broken {
    /// The object's bytes could not be read.
    Unreadable(io::Error),
    /// A record is not what it has to be.
    Record { number: u64, column: Option<String>, found: String },
}

/// The way from input to lines.
pub struct TableRows<R> {
    source: R,
    columns: Arc<TableColumns>,
    input: Vec<u8>,
    /// Read at once.
    input_bytes: usize,
    /// Where in the input the next object begins.
    at: usize,
    ended: bool,
    /// Objects that became lines.
    count: u64,
    /// Where in the input each column's value stands, from `at`.
    values: Vec<Option<Range<usize>>>,
}

impl<R: Read> TableRows<R> {
    pub fn new(source: R, columns: Arc<TableColumns>) -> TableRows<R> {
        let values = vec![None; columns.list.len()];
        TableRows {
            source,
            columns,
            input: Vec::new(),
            input_bytes: INPUT_BYTES,
            at: 0,
            ended: false,
            count: 0,
            values,
        }
    }

    /// The next lines, a piece; none when there are no more.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let mut out = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
        while out.len() < PIECE_BYTES && self.line(&mut out)? {}
        Ok((!out.is_empty()).then_some(out))
    }

    /// Objects that became lines so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Writes a line; false when there are no more objects.
    fn line(&mut self, out: &mut Vec<u8>) -> Result<bool, Broken> {
        let Some(bytes) = self.object()? else { return Ok(false) };
        let object = &self.input[self.at..self.at + bytes];
        for (i, (column, value)) in self.columns.list.iter().zip(&self.values).enumerate() {
            if i > 0 {
                out.push(b'\t');
            }
            let Some(value) = value else {
                out.extend_from_slice(text::NULL);
                continue;
            };
            let written = write(&object[value.clone()], column.kind, out);
            written.map_err(|found| self.broken(Some(column.name.clone()), found))?;
        }
        out.push(b'\n');
        self.at += bytes;
        self.count += 1;
        Ok(true)
    }

    /// Finds the values of the next object, which begins at `at`, and how long it is.
    fn object(&mut self) -> Result<Option<usize>, Broken> {
        loop {
            self.at += self.input[self.at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
            let left = &self.input[self.at..];
            if left.is_empty() {
                if self.ended {
                    return Ok(None);
                }
                self.read()?;
                continue;
            }
            self.values.fill(None);
            let begin = left.as_ptr() as usize;
            let object = RowObject { columns: &self.columns, values: &mut self.values, begin };
            match object.deserialize(&mut Deserializer::from_slice(left)) {
                Ok(bytes) => return Ok(Some(end(left, bytes))),
                Err(e) if !self.ended && is_cut(&e, left) && left.len() <= OBJECT_BYTES_MAX => self.read()?,
                Err(e) if !self.ended && is_cut(&e, left) => {
                    return Err(self.broken(None, format!("it is larger than {} MiB", OBJECT_BYTES_MAX >> 20)));
                }
                Err(e) => return Err(self.broken(None, plainly(&e))),
            }
        }
    }

    /// Reads more input, as much again as an object that is not whole yet already has: it is gone through anew.
    fn read(&mut self) -> Result<(), Broken> {
        self.input.drain(..self.at);
        self.at = 0;
        let wanted = self.input_bytes.max(self.input.len());
        let had = self.input.len();
        let got = (&mut self.source).take(wanted as u64).read_to_end(&mut self.input);
        got.map_err(Broken::Unreadable)?;
        self.ended = self.input.len() - had < wanted;
        Ok(())
    }

    fn broken(&self, column: Option<String>, found: String) -> Broken {
        Broken::Record { number: self.count + 1, column, found }
    }
}

/// One value as its column takes it.
fn write(value: &[u8], kind: ColumnKind, out: &mut Vec<u8>) -> Result<(), String> {
    match (value[0], kind) {
        (b'n', _) => out.extend_from_slice(text::NULL),
        (b'"', ColumnKind::Plain | ColumnKind::Array { .. }) => text::string(value, out)?,
        (b'[', ColumnKind::Array { json }) => text::escape(array::literal(value, json)?.as_bytes(), out),
        (b'"' | b'{' | b'[', _) => text::escape(value, out),
        _ => out.extend_from_slice(value),
    }
    Ok(())
}

/// Whether an object may only be wrong because its end has not been read yet. A number that ends in `.` or `-` is wrong
/// rather than cut to the parser, but then it is so at the very end.
fn is_cut(e: &serde_json::Error, object: &[u8]) -> bool {
    let line = match e.line() {
        0 | 1 => 0,
        line => memchr::memchr_iter(b'\n', object).nth(line - 2).map_or(object.len(), |at| at + 1),
    };
    e.is_eof() || line + e.column() >= object.len()
}

/// Where the object ends whose last value ends at `bytes`, 0 if it has none.
fn end(object: &[u8], bytes: usize) -> usize {
    let behind = &object[bytes..];
    // Only white space and, of an empty object, its opening brace stand in front of it.
    bytes + memchr::memchr(b'}', behind).expect("an object that was read has an end") + 1
}

/// What is wrong with a record, without the line and column of our buffer.
fn plainly(e: &serde_json::Error) -> String {
    let message = e.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    if e.is_data() { format!("it is no JSON object: {message}") } else { format!("it is no JSON: {message}") }
}

/// The columns that are loaded.
pub struct TableColumns {
    list: Vec<TableColumn>,
    places: HashMap<String, usize>,
}

impl From<Vec<TableColumn>> for TableColumns {
    fn from(list: Vec<TableColumn>) -> TableColumns {
        let places = list.iter().enumerate().map(|(i, column)| (column.name.clone(), i)).collect();
        TableColumns { list, places }
    }
}

impl TableColumns {
    /// Records mostly have their keys in one order: the column after the last one is asked first.
    fn find(&self, key: &str, likely: usize) -> Option<usize> {
        match self.list.get(likely) {
            Some(column) if column.name == key => Some(likely),
            _ => self.places.get(key).copied(),
        }
    }
}

/// Reads an object and notes where the columns' values stand; gives the end of its last value.
struct RowObject<'r> {
    columns: &'r TableColumns,
    values: &'r mut [Option<Range<usize>>],
    begin: usize,
}

impl<'de> DeserializeSeed<'de> for RowObject<'_> {
    type Value = usize;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowObject<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
        let (mut likely, mut last) = (0, 0);
        while let Some(column) = map.next_key_seed(ColumnKey { columns: self.columns, likely })? {
            let value = map.next_value::<&'de RawValue>()?.get();
            // It is borrowed from the input that begins at `begin`.
            let at = value.as_ptr() as usize - self.begin;
            last = at + value.len();
            if let Some(column) = column {
                self.values[column] = Some(at..last);
                likely = column + 1;
            }
        }
        Ok(last)
    }
}

/// Reads a key: the column of this name.
struct ColumnKey<'r> {
    columns: &'r TableColumns,
    likely: usize,
}

impl<'de> DeserializeSeed<'de> for ColumnKey<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for ColumnKey<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(self.columns.find(key, self.likely))
    }
}

impl Broken {
    /// What is wrong, without which record it is.
    pub fn what(&self) -> String {
        match self {
            Broken::Unreadable(e) => format!(": {e}"),
            Broken::Record { column: Some(column), found, .. } => format!(", column `{column}`: {found}"),
            Broken::Record { column: None, found, .. } => format!(": {found}"),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Unreadable(e) => write!(f, "read the object: {e}"),
            Broken::Record { number, .. } => write!(f, "record {number}{}", self.what()),
        }
    }
}

#[cfg(test)]
mod tests;
