//! Rows from JSON, in one pass and directed by the schema: each value goes straight into its column.
//!
//! A record is an object, or several one after the other, each a row. It is read whole or not at all: what a refused record had
//! added to its columns is taken back. Values as they mostly are take a short way ([`fast`]); the long one ([`general`]) knows
//! every legal value and all coercions, and both say the same. Reading is linear, bounded in memory, and recurses no deeper than
//! the schema.
//!
//! What a value may become is the matter of the SerDe ([`SerdeRules`]); docs/columns.md has its rules side by side.

mod bits;
mod column;
mod fast;
mod general;
mod joda;
mod keys;
mod nesting;
mod number;
mod refusal;
mod remainder;
mod rows;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code, unused_imports, reason = "without its tests"))]
mod tests;
mod text;
mod time;
mod unchecked;

use super::NotConverted;
use super::coverage::ColumnCoverage;
use super::schema::{ColumnType, NamedType, TableSchema, TimestampUnit};
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use column::{Column, Members};
pub use joda::JodaPattern;
use keys::KeyNames;
use refusal::Reading;
use rows::RowReader;
use std::ops::Range;
use std::sync::Arc;
use text::Text;

/// What `fuzz/json.rs` calls with its inputs.
#[cfg(fuzzing)]
pub fn compare_readings(input: &[u8]) {
    tests::agreement::corpus::compare(input);
}

/// Which of Firehose's two deserializers is followed, or ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerdeRules {
    /// `OpenXJsonSerDe`.
    OpenX(OpenXRules),
    /// `HiveJsonSerDe`.
    Hive(HiveRules),
    /// Names and types are exact, and what would be lost is refused.
    Strict,
}

/// Settings of `OpenXJsonSerDe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenXRules {
    /// `CaseInsensitive`
    pub case_insensitive: bool,
    /// `ConvertDotsInJsonKeysToUnderscores`
    pub dots_to_underscores: bool,
    /// `ColumnToJsonKeyMappings`: a column, or a member of a `struct`, and the key it is read from.
    pub keys: Vec<(String, String)>,
}

/// Settings of `HiveJsonSerDe`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HiveRules {
    /// `TimestampFormats`; without any, what `java.sql.Timestamp.valueOf` takes.
    pub timestamp_formats: Vec<HiveTimestampFormat>,
}

/// A way to write a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HiveTimestampFormat {
    /// `millis`: milliseconds since 1970.
    Millis,
    Pattern(JodaPattern),
}

impl HiveTimestampFormat {
    /// Reads `millis` or a pattern.
    ///
    /// # Errors
    /// What cannot be read, and what was expected.
    pub fn parse(text: &str) -> Result<HiveTimestampFormat, String> {
        match text {
            "millis" => Ok(HiveTimestampFormat::Millis),
            pattern => JodaPattern::parse(pattern).map(HiveTimestampFormat::Pattern),
        }
    }
}

impl Default for OpenXRules {
    fn default() -> Self {
        OpenXRules { case_insensitive: true, dots_to_underscores: false, keys: Vec::new() }
    }
}

impl SerdeRules {
    fn ignores_case(&self) -> bool {
        match self {
            SerdeRules::OpenX(rules) => rules.case_insensitive,
            SerdeRules::Hive(_) => true,
            SerdeRules::Strict => false,
        }
    }

    fn dots_to_underscores(&self) -> bool {
        matches!(self, SerdeRules::OpenX(rules) if rules.dots_to_underscores)
    }

    /// Whether an ISO text with `Z` is a moment.
    fn takes_short_moments(&self) -> bool {
        !matches!(self, SerdeRules::Hive(_))
    }

    /// The key that a member is read from.
    fn key_of<'a>(&'a self, member: &'a str) -> &'a str {
        let SerdeRules::OpenX(rules) = self else { return member };
        rules.keys.iter().find(|(column, _)| self.is_named(member, column)).map_or(member, |(_, key)| key)
    }

    /// Whether a member is the one that a mapping names.
    fn is_named(&self, member: &str, column: &str) -> bool {
        member == column || self.ignores_case() && member.to_lowercase() == column.to_lowercase()
    }
}

/// A table that JSON is read into.
pub struct JsonTable {
    schema: TableSchema,
    rules: SerdeRules,
    orc_times: bool,
    /// Of the table and of each `struct` in it, in the order in which they stand in the schema.
    names: Vec<Arc<KeyNames>>,
    /// A further column has what the schema does not know.
    has_extra: bool,
    /// Paths of all columns, in the order of [`column::Column::note_filled`].
    paths: Arc<[String]>,
    arrow: SchemaRef,
}

/// The unit of a `timestamp` without digits: the finest that every reader of columns knows for the years 1 to 9999.
const TIMESTAMP: TimestampUnit = TimestampUnit::Micros;
/// Values of one record, of which a few bytes may make many: each row has one for each column.
const RECORD_VALUES_MAX: usize = 4 << 20;
/// The same for each byte of it, beyond what every record may have: others of the chunk want memory, too.
const BYTE_VALUES_MAX: usize = 32;
const SMALL_RECORD_VALUES: usize = 64 << 10;

impl JsonTable {
    pub fn new(schema: TableSchema, rules: SerdeRules) -> JsonTable {
        let mut names = Vec::new();
        key_names(&schema.columns, &rules, &mut names);
        let mut paths = Vec::new();
        add_paths(&schema.columns, "", &mut paths);
        let arrow = schema.arrow(TIMESTAMP);
        JsonTable { schema, rules, orc_times: false, names, has_extra: false, paths: paths.into(), arrow }
    }

    /// The same for rows that become ORC, which does not have every time.
    pub fn for_orc(self) -> JsonTable {
        JsonTable { orc_times: true, ..self }
    }

    /// The same with a further column of that name, with what the schema does not know of a record, as JSON.
    ///
    /// # Errors
    /// There is such a column already.
    pub fn with_extra(self, name: &str) -> Result<JsonTable, String> {
        let fields = self.arrow.fields();
        if name.is_empty() || fields.iter().any(|field| field.name().to_lowercase() == name.to_lowercase()) {
            return Err(format!(
                "found the column `{name}` for what the schema does not know, expected a name of its own"
            ));
        }
        let extra = Arc::new(Field::new(name, DataType::Utf8, true));
        let fields: Vec<_> = fields.iter().cloned().chain([extra]).collect();
        Ok(JsonTable { has_extra: true, arrow: Arc::new(Schema::new(fields)), ..self })
    }

    /// The batches' schema.
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// Whether every key names one column, and every mapping a column or a member of a struct.
    ///
    /// # Errors
    /// Which do not.
    pub fn check_keys(&self) -> Result<(), String> {
        for names in &self.names {
            if let Some((first, second)) = names.same_key() {
                return Err(format!(
                    "found the columns `{first}` and `{second}` with the same key, expected a key of its own for each"
                ));
            }
        }
        let SerdeRules::OpenX(rules) = &self.rules else { return Ok(()) };
        for (column, key) in &rules.keys {
            let is_member = |name: &String| self.rules.is_named(name, column);
            if !self.names.iter().flat_map(|names| &names.names).any(is_member) {
                return Err(format!("found a mapping of `{column}`, expected a column or a member of a struct"));
            }
            if key.is_empty() {
                return Err(format!("found an empty key for `{column}`, expected 1 to 1024 characters"));
            }
        }
        Ok(())
    }

    /// A reader with nothing read.
    pub fn reader(&self) -> JsonReader<'_> {
        let root = Members::new(&self.schema.columns, &mut self.names.iter().cloned(), TIMESTAMP);
        let filled = vec![false; self.paths.len()];
        let text = || Column::new(&ColumnType::String, &mut std::iter::empty(), TIMESTAMP);
        JsonReader {
            table: self,
            root,
            extra: self.has_extra.then(text),
            padded: Vec::new(),
            filled,
            read: 0,
            rounded: 0,
            values: 0,
            long_way_only: false,
        }
    }
}

fn key_names(members: &[NamedType], rules: &SerdeRules, names: &mut Vec<Arc<KeyNames>>) {
    names.push(Arc::new(KeyNames::new(members, rules)));
    members.iter().filter_map(|member| members_of(&member.of)).for_each(|inside| key_names(inside, rules, names));
}

fn add_paths(members: &[NamedType], before: &str, paths: &mut Vec<String>) {
    for member in members {
        let path = format!("{before}{}", member.name);
        paths.push(path.clone());
        if let Some(inside) = members_of(&member.of) {
            add_paths(inside, &format!("{path}."), paths);
        }
    }
}

/// The members of a `struct`, also of one in an array or in a map.
fn members_of(of: &ColumnType) -> Option<&[NamedType]> {
    match of {
        ColumnType::Struct(members) => Some(members),
        ColumnType::Array(element) => members_of(element),
        ColumnType::Map(_, value) => members_of(value),
        _ => None,
    }
}

/// Reads records into a batch.
pub struct JsonReader<'t> {
    table: &'t JsonTable,
    root: Members,
    /// What the schema does not know, if that is kept.
    extra: Option<Column>,
    /// The record that is being read.
    padded: Vec<u8>,
    /// Of flushed batches, whether a column had a value.
    filled: Vec<bool>,
    /// Rows of flushed batches.
    read: u64,
    /// Values of which digits were rounded away.
    rounded: u64,
    /// Values of the batch, about.
    values: usize,
    long_way_only: bool,
}

impl JsonReader<'_> {
    /// Adds a record's rows, and says how many.
    ///
    /// # Errors
    /// The record is no JSON, or does not fit the schema. Nothing of it is added.
    pub fn read(&mut self, record: &[u8]) -> Result<usize, NotConverted> {
        let before = self.root.rows;
        let mut padded = std::mem::take(&mut self.padded);
        let read = Text::new(record, &mut padded).and_then(|text| self.documents(text));
        self.padded = padded;
        if read.is_err() {
            self.take_back(before);
        }
        read.map_err(|refusal| refusal.told())
    }

    /// The same of a record among others, which is mostly read without being copied: that is a tenth of all reading.
    ///
    /// # Errors
    /// As [`JsonReader::read`].
    pub fn read_among(&mut self, others: &[u8], record: Range<usize>) -> Result<usize, NotConverted> {
        let before = self.root.rows;
        if let Some(Ok(text)) = Text::among(others, record.clone()) {
            match self.documents(text) {
                Ok(rows) => return Ok(rows),
                // Why can only be said without the others.
                Err(_) => self.take_back(before),
            }
        }
        self.read(&others[record])
    }

    fn take_back(&mut self, rows: usize) {
        self.root.truncate(rows);
        self.extra.iter_mut().for_each(|extra| extra.truncate(rows));
    }

    /// Adds the rows of all documents of a record, and says how many.
    fn documents(&mut self, text: Text) -> Reading<usize> {
        let before = self.root.rows;
        let values_max = RECORD_VALUES_MAX.min(SMALL_RECORD_VALUES.max(self.root.width) + BYTE_VALUES_MAX * text.end());
        let mut reader = RowReader {
            text,
            rules: &self.table.rules,
            orc_times: self.table.orc_times,
            values_max,
            values_left: values_max,
            rounded: 0,
            unknown: false,
            long_way_only: self.long_way_only,
        };
        // What is wrong with its values matters only if it is JSON.
        reader
            .documents(&mut self.root, self.extra.as_mut())
            .map_err(|refusal| reader.check().err().unwrap_or(refusal))?;
        self.rounded += reader.rounded;
        self.values += values_max - reader.values_left;
        Ok(self.root.rows - before)
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.root.rows
    }

    /// Values so far, about.
    pub fn values(&self) -> usize {
        self.values
    }

    /// What the flushed rows show.
    pub fn coverage(self) -> ColumnCoverage {
        let mut coverage = ColumnCoverage::new(self.table.paths.clone(), self.filled, self.read, self.rounded);
        add_unknown(&self.root, "", &mut coverage);
        coverage
    }

    /// The rows so far, as a batch; none are left.
    pub fn flush(&mut self) -> RecordBatch {
        let mut noted = self.filled.iter_mut();
        let mut note = |filled: bool| noted.by_ref().take(1).for_each(|noted| *noted |= filled);
        self.root.columns.iter().for_each(|column| column.note_filled(&mut note));
        self.read += self.root.rows as u64;
        let options = RecordBatchOptions::new().with_row_count(Some(self.root.rows));
        let mut columns = self.root.finish(self.table.arrow.fields());
        columns.extend(self.extra.iter_mut().map(|extra| extra.finish(&DataType::Utf8)));
        self.values = 0;
        RecordBatch::try_new_with_options(self.table.arrow.clone(), columns, &options).expect("columns of this schema")
    }
}

/// Adds the keys of objects that named none of their members.
fn add_unknown(members: &Members, before: &str, coverage: &mut ColumnCoverage) {
    for key in members.keys.unknown() {
        coverage.add_unknown(format!("{before}{key}"));
    }
    for (name, column) in members.names.names.iter().zip(&members.columns) {
        if let Some(inside) = column.members() {
            add_unknown(inside, &format!("{before}{name}."), coverage);
        }
    }
}

/// How many digits of a second a text has, and whether nanoseconds can count it, if it is a moment for the OpenX SerDe: not a
/// number, and not a day alone.
pub(super) fn moment_digits(text: &str) -> Option<(usize, bool)> {
    let moment = time::moment(text, time::Shape::Any).filter(|_| text.contains(':'))?;
    let (_, rest) = text.split_once('.').unwrap_or_default();
    let fraction = &rest[..rest.bytes().take_while(u8::is_ascii_digit).count()];
    Some((fraction.trim_end_matches('0').len(), moment.in_unit(TimestampUnit::Nanos).is_some()))
}

/// Whether a text is a day.
pub(super) fn is_day(text: &str) -> bool {
    time::day(text, false).is_some()
}
