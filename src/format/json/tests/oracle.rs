//! A second reading of records, to hold the reader against: slow, plain, and written from docs/columns.md and RFC 8259 alone. It
//! shares no code with the reader: `serde_json` says what is JSON, `std` what a double is, `jiff` which days there are, and
//! numbers are texts of digits. What docs/columns.md leaves open is as the reader has it.

mod scalars;
mod times;

use crate::format::json::SerdeRules;
use crate::format::schema::{ColumnType, NamedType, TableSchema};
use scalars::OracleScalar;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::fmt;

/// The record is no JSON.
pub(super) const PARSE_ERROR: &str = "DataFormatConversion.ParseError";
/// It is, but not of the schema.
pub(super) const MALFORMED_DATA: &str = "DataFormatConversion.MalformedData";
/// A key of a map does not fit.
pub(super) const INVALID_RECORD: &str = "DataFormatConversion.InvalidRecord";

/// A value, or the code of the failure.
pub(super) type OracleResult<T> = Result<T, &'static str>;

/// A value in a column. Decimals, dates and timestamps are integers, in units of their column.
#[derive(Clone, Debug)]
pub(super) enum OracleCell {
    Null,
    Bool(bool),
    Int(i128),
    Double(f64),
    Float(f32),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<OracleCell>),
    Map(Vec<(OracleCell, OracleCell)>),
    Struct(Vec<OracleCell>),
}

impl PartialEq for OracleCell {
    /// Zeros differ by their signs.
    fn eq(&self, other: &OracleCell) -> bool {
        use OracleCell::*;
        match (self, other) {
            (Null, Null) => true,
            (Bool(one), Bool(other)) => one == other,
            (Int(one), Int(other)) => one == other,
            (Double(one), Double(other)) => one.to_bits() == other.to_bits(),
            (Float(one), Float(other)) => one.to_bits() == other.to_bits(),
            (Text(one), Text(other)) => one == other,
            (Bytes(one), Bytes(other)) => one == other,
            (List(one), List(other)) | (Struct(one), Struct(other)) => one == other,
            (Map(one), Map(other)) => one == other,
            _ => false,
        }
    }
}

/// The rows of a record, or the code of its failure.
pub(super) fn rows(schema: &TableSchema, rules: &SerdeRules, record: &[u8]) -> OracleResult<Vec<Vec<OracleCell>>> {
    let text = std::str::from_utf8(record).map_err(|_| MALFORMED_DATA)?;
    // Form feeds are whitespace in this alone.
    if text.bytes().all(|b| b.is_ascii_whitespace()) {
        return Err(MALFORMED_DATA);
    }
    // A record that is no JSON is that, whatever its values are.
    let documents = documents_of(text).map_err(|_| PARSE_ERROR)?;
    if documents.iter().any(|document| !document.starts_with('{')) {
        return Err(MALFORMED_DATA);
    }
    let oracle = RecordOracle { rules };
    documents.into_iter().map(|document| oracle.object(&schema.columns, document)).collect()
}

/// The documents of a text. There may be nothing between them.
fn documents_of(text: &str) -> Result<Vec<&str>, serde_json::Error> {
    let without_space = |text| str::trim_start_matches(text, [' ', '\t', '\n', '\r']);
    let (mut documents, mut rest) = (Vec::new(), without_space(text));
    while !rest.is_empty() {
        let document = <&RawValue>::deserialize(&mut serde_json::Deserializer::from_str(rest))?.get();
        documents.push(document);
        rest = without_space(&rest[document.len()..]);
    }
    Ok(documents)
}

/// Members of an object, in order, with keys and values as they are spelled.
struct SpelledMembers<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for SpelledMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SpelledMembers(Vec::new()))
    }
}

impl<'de> Visitor<'de> for SpelledMembers<'de> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self, A::Error> {
        while let Some(member) = members.next_entry()? {
            self.0.push(member);
        }
        Ok(self)
    }
}

/// The members of an object that is known to be one.
fn members_of(object: &str) -> impl Iterator<Item = (&str, &str)> {
    let members: SpelledMembers = serde_json::from_str(object).expect("an object was read before");
    members.0.into_iter().map(|(key, value)| (key.get(), value.get()))
}

/// The elements of an array that is known to be one.
fn elements_of(array: &str) -> Vec<&str> {
    let elements: Vec<&RawValue> = serde_json::from_str(array).expect("an array was read before");
    elements.into_iter().map(RawValue::get).collect()
}

/// The text that a JSON string spells, if it is one without half of a surrogate pair.
fn text_of(spelled: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::new();
    let mut chars = spelled[1..spelled.len() - 1].chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
            continue;
        }
        units.push(match chars.next().expect("an escape") {
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'u' => {
                let digits: String = chars.by_ref().take(4).collect();
                u16::from_str_radix(&digits, 16).expect("four digits")
            }
            plain => plain as u16,
        });
    }
    String::from_utf16(&units).ok()
}

/// A key of a map as it is compared: zeros of both signs are one.
fn without_sign(key: &OracleCell) -> OracleCell {
    match key {
        OracleCell::Double(zero) if *zero == 0.0 => OracleCell::Double(0.0),
        OracleCell::Float(zero) if *zero == 0.0 => OracleCell::Float(0.0),
        other => other.clone(),
    }
}

/// Reads values by the rules of a SerDe.
struct RecordOracle<'r> {
    rules: &'r SerdeRules,
}

impl RecordOracle<'_> {
    fn is_openx(&self) -> bool {
        matches!(self.rules, SerdeRules::OpenX(_))
    }

    fn is_strict(&self) -> bool {
        matches!(self.rules, SerdeRules::Strict)
    }

    /// A key as it is compared.
    fn compared(&self, key: &str) -> String {
        let (ignores_case, dots) = match self.rules {
            SerdeRules::OpenX(rules) => (rules.case_insensitive, rules.dots_to_underscores),
            SerdeRules::Hive(_) => (true, false),
            SerdeRules::Strict => (false, false),
        };
        let key = if dots { key.replace('.', "_") } else { key.to_owned() };
        if ignores_case { key.to_lowercase() } else { key }
    }

    /// Whether a key names a member.
    fn names(&self, key: &str, member: &NamedType) -> bool {
        let mapped = match self.rules {
            SerdeRules::OpenX(rules) => rules.keys.iter().find(|(name, _)| match rules.case_insensitive {
                true => name.to_lowercase() == member.name.to_lowercase(),
                false => *name == member.name,
            }),
            _ => None,
        };
        let expected = member.key.as_ref().or(mapped.map(|(_, key)| key)).unwrap_or(&member.name);
        self.compared(key) == self.compared(expected)
    }

    /// The values of an object's members.
    fn object(&self, members: &[NamedType], json: &str) -> OracleResult<Vec<OracleCell>> {
        if !json.starts_with('{') {
            return Err(MALFORMED_DATA);
        }
        let mut cells: Vec<Option<OracleCell>> = vec![None; members.len()];
        for (key, value) in members_of(json) {
            let Some(key) = text_of(key) else {
                // What has half of a pair in it names nothing.
                continue;
            };
            let Some(number) = members.iter().position(|member| self.names(&key, member)) else { continue };
            if self.is_strict() && cells[number].is_some() {
                return Err(MALFORMED_DATA);
            }
            cells[number] = Some(self.value(&members[number].of, value)?);
        }
        Ok(cells.into_iter().map(|cell| cell.unwrap_or(OracleCell::Null)).collect())
    }

    /// What a value becomes in a column of that type.
    fn value(&self, of: &ColumnType, json: &str) -> OracleResult<OracleCell> {
        if json == "null" {
            return Ok(OracleCell::Null);
        }
        match of {
            ColumnType::Array(element) => self.list(element, json).map(OracleCell::List),
            ColumnType::Struct(members) if json.starts_with('[') && self.is_openx() => self.in_order(members, json),
            ColumnType::Struct(members) => self.object(members, json).map(OracleCell::Struct),
            ColumnType::Map(key, value) => self.map(key, value, json).map(OracleCell::Map),
            _ => OracleScalar::of_json(json).ok_or(MALFORMED_DATA)?.cell(of, self.rules).ok_or(MALFORMED_DATA),
        }
    }

    fn list(&self, element: &ColumnType, json: &str) -> OracleResult<Vec<OracleCell>> {
        match json.starts_with('[') {
            true => elements_of(json).into_iter().map(|json| self.value(element, json)).collect(),
            false if self.is_openx() => Ok(vec![self.value(element, json)?]),
            false => Err(MALFORMED_DATA),
        }
    }

    /// An array whose elements are a struct's members.
    fn in_order(&self, members: &[NamedType], json: &str) -> OracleResult<OracleCell> {
        let elements = elements_of(json);
        let mut cells = Vec::new();
        for (i, member) in members.iter().enumerate() {
            cells.push(elements.get(i).map_or(Ok(OracleCell::Null), |json| self.value(&member.of, json))?);
        }
        if elements.len() > members.len() { Err(MALFORMED_DATA) } else { Ok(OracleCell::Struct(cells)) }
    }

    /// The entries of a map, each where its key stands for the last time.
    fn map(&self, key_of: &ColumnType, of: &ColumnType, json: &str) -> OracleResult<Vec<(OracleCell, OracleCell)>> {
        if !json.starts_with('{') {
            return Err(MALFORMED_DATA);
        }
        let mut entries: Vec<(OracleCell, OracleCell)> = Vec::new();
        let (mut seen, mut any_twice) = (HashSet::new(), false);
        for (key, value) in members_of(json) {
            let key = OracleScalar::Key(text_of(key).ok_or(MALFORMED_DATA)?);
            let key = key.cell(key_of, self.rules).ok_or(INVALID_RECORD)?;
            if !seen.insert(format!("{:?}", without_sign(&key))) {
                any_twice = true;
                entries.retain(|(earlier, _)| without_sign(earlier) != without_sign(&key));
            }
            entries.push((key, self.value(of, value)?));
        }
        if any_twice && self.is_strict() { Err(MALFORMED_DATA) } else { Ok(entries) }
    }
}
