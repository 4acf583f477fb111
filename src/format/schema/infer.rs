//! A schema from samples: what types the values have, how often they are there, and which two records disagree.

use super::source::column_yaml;
use super::{ColumnType, NamedType, TableSchema, TypeError, as_columns};
use crate::format::json::{is_day, moment_digits};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;

/// Objects with more members than that, none of which is in half of them, are maps: their keys are data.
const MEMBERS_MAX: usize = 64;
/// Digits that a double keeps.
const DOUBLE_DIGITS: usize = 15;
/// Types inside one another, one of which is the table's.
const DEPTH_MAX: usize = 31;

/// What samples have shown.
#[derive(Debug, Default)]
pub struct SchemaInference {
    root: InferredMembers,
    /// Objects that were looked at.
    pub objects: u64,
}

/// A schema with what is to be said of it.
#[derive(Debug)]
pub struct InferredSchema {
    pub schema: TableSchema,
    /// Of each column, how often it has a value.
    presence: Vec<String>,
    /// Values that disagree, and other things that somebody should look at: a sentence each.
    pub notes: Vec<String>,
}

#[derive(Debug, Default)]
struct InferredMembers {
    objects: u64,
    members: Vec<(String, Inferred)>,
    /// From a name in lower case.
    known: HashMap<String, usize>,
}

/// What the values of one column have been.
#[derive(Debug, Default)]
struct Inferred {
    values: u64,
    nulls: u64,
    /// For each kind that was seen, how often and where first.
    kinds: [Option<(u64, String)>; ValueKind::ALL.len()],
    /// Digits before and behind the point, at most; and whether an exponent was seen.
    digits: (usize, usize),
    exponent: bool,
    /// A number is beyond what a double holds.
    is_huge: bool,
    /// Texts that are moments, and digits of a second, at most.
    moments: u64,
    moment_digits: usize,
    /// Moments that nanoseconds cannot count.
    far_moments: u64,
    days: u64,
    members: Option<Box<InferredMembers>>,
    elements: Option<Box<Inferred>>,
}

/// What a value that is not null is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueKind {
    Boolean,
    Integer,
    Fraction,
    Text,
    Object,
    Array,
}

impl ValueKind {
    const ALL: [ValueKind; 6] = [
        ValueKind::Boolean,
        ValueKind::Integer,
        ValueKind::Fraction,
        ValueKind::Text,
        ValueKind::Object,
        ValueKind::Array,
    ];

    fn name(self) -> &'static str {
        match self {
            ValueKind::Boolean => "a boolean",
            ValueKind::Integer => "an integer",
            ValueKind::Fraction => "a fraction",
            ValueKind::Text => "a text",
            ValueKind::Object => "an object",
            ValueKind::Array => "an array",
        }
    }
}

impl SchemaInference {
    /// Takes note of an object, which stands at `place`.
    ///
    /// # Errors
    /// It is no JSON, or no object.
    pub fn add(&mut self, place: &str, object: &str) -> Result<(), String> {
        let members: RawMembers = serde_json::from_str(object).map_err(|e| format!("{place}: {e}"))?;
        self.objects += 1;
        self.root.add(place, members, 0);
        Ok(())
    }

    /// The schema.
    ///
    /// # Errors
    /// No object had a member, or two names would be the same column.
    pub fn finish(self) -> Result<InferredSchema, TypeError> {
        let mut notes = Vec::new();
        let mut members = Vec::new();
        let mut presence = Vec::new();
        for (name, column) in &self.root.members {
            presence.push(column.presence(self.objects));
            members.push(NamedType { name: name.clone(), of: column.of(name, &mut notes, 0), key: None });
        }
        if members.is_empty() {
            return Err(TypeError { found: "no member in any object".into(), expected: "samples with members".into() });
        }
        Ok(InferredSchema { schema: as_columns(members), presence, notes })
    }
}

impl InferredSchema {
    /// As our YAML, with what is to be said as comments.
    pub fn to_yaml(&self) -> String {
        // Keys may hold what ends a comment.
        let plain = |note: &String| note.replace(|c: char| c.is_control(), " ");
        let mut yaml: String = self.notes.iter().map(|note| format!("# {}\n", plain(note))).collect();
        yaml += "columns:\n";
        for (column, presence) in self.schema.columns.iter().zip(&self.presence) {
            yaml += &format!("  {}: {}  # {presence}\n", column.name, column_yaml(column));
        }
        yaml
    }
}

impl InferredMembers {
    fn add(&mut self, place: &str, members: RawMembers, depth: usize) {
        self.objects += 1;
        for (name, value) in members.0 {
            let at = match self.known.get(&name.to_lowercase()) {
                Some(at) => *at,
                None => {
                    self.known.insert(name.to_lowercase(), self.members.len());
                    self.members.push((name.into_owned(), Inferred::default()));
                    self.members.len() - 1
                }
            };
            self.members[at].1.add(place, value.get(), depth + 1);
        }
    }

    /// Whether the keys are data.
    fn is_map(&self) -> bool {
        let often = |member: &(String, Inferred)| 2 * (member.1.values + member.1.nulls) > self.objects;
        self.members.len() > MEMBERS_MAX && !self.members.iter().any(often)
    }
}

impl Inferred {
    fn add(&mut self, place: &str, value: &str, depth: usize) {
        let kind = match value.as_bytes()[0] {
            b'n' => {
                self.nulls += 1;
                return;
            }
            b't' | b'f' => ValueKind::Boolean,
            b'"' => {
                self.text(value);
                ValueKind::Text
            }
            b'{' => {
                if depth < DEPTH_MAX
                    && let Ok(members) = serde_json::from_str(value)
                {
                    self.members.get_or_insert_default().add(place, members, depth);
                }
                ValueKind::Object
            }
            b'[' => {
                let elements: Vec<&RawValue> = serde_json::from_str(value).unwrap_or_default();
                let inferred = self.elements.get_or_insert_default();
                if depth < DEPTH_MAX {
                    elements.iter().for_each(|element| inferred.add(place, element.get(), depth + 1));
                }
                ValueKind::Array
            }
            _ => self.number(value),
        };
        self.values += 1;
        self.kinds[kind as usize].get_or_insert_with(|| (0, place.to_owned())).0 += 1;
    }

    fn number(&mut self, text: &str) -> ValueKind {
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let integer = integer.trim_start_matches(['-', '0']).len();
        self.digits = (self.digits.0.max(integer), self.digits.1.max(fraction.len()));
        self.exponent |= mantissa.len() < text.len();
        self.is_huge |= text.parse::<f64>().is_ok_and(f64::is_infinite);
        if mantissa.len() < text.len() || !fraction.is_empty() { ValueKind::Fraction } else { ValueKind::Integer }
    }

    fn text(&mut self, json: &str) {
        let text: Cow<str> = serde_json::from_str(json).unwrap_or_default();
        if let Some((digits, is_near)) = moment_digits(&text) {
            self.moments += 1;
            self.far_moments += u64::from(!is_near);
            self.moment_digits = self.moment_digits.max(digits);
        } else if is_day(&text) {
            self.days += 1;
        }
    }

    fn seen(&self, kind: ValueKind) -> u64 {
        self.kinds[kind as usize].as_ref().map_or(0, |(count, _)| *count)
    }

    fn of(&self, path: &str, notes: &mut Vec<String>, depth: usize) -> ColumnType {
        let kinds: Vec<ValueKind> = ValueKind::ALL.into_iter().filter(|kind| self.seen(*kind) > 0).collect();
        match kinds.as_slice() {
            [] => {
                notes.push(format!("`{path}` never had a value"));
                ColumnType::String
            }
            [ValueKind::Boolean] => ColumnType::Boolean,
            [ValueKind::Integer] => self.integers(path, notes),
            [ValueKind::Fraction] | [ValueKind::Integer, ValueKind::Fraction] => self.fractions(path, notes),
            [ValueKind::Text] if self.moments == self.values => match self.moment_digits {
                7.. if self.far_moments == 0 => ColumnType::Timestamp(Some(super::TimestampUnit::Nanos)),
                _ => ColumnType::Timestamp(None),
            },
            [ValueKind::Text] if self.days == self.values => ColumnType::Date,
            [ValueKind::Text] => ColumnType::String,
            [ValueKind::Array] => {
                let elements = self.elements.as_deref().filter(|elements| elements.values > 0);
                match elements {
                    Some(elements) => ColumnType::Array(Box::new(elements.of(&format!("{path}[]"), notes, depth + 1))),
                    None => {
                        notes.push(format!("`{path}` had no element in any array"));
                        ColumnType::Array(Box::new(ColumnType::String))
                    }
                }
            }
            [ValueKind::Object] => self.objects(path, notes, depth),
            [first, second, ..] => {
                let told = |kind: ValueKind| {
                    let (count, place) = self.kinds[kind as usize].as_ref().expect("a kind that was seen");
                    format!("{} in {place} ({count} of {})", kind.name(), self.values)
                };
                notes.push(format!("`{path}` is {}, and {}: taken as text", told(*first), told(*second)));
                ColumnType::String
            }
        }
    }

    fn integers(&self, path: &str, notes: &mut Vec<String>) -> ColumnType {
        match self.digits.0 {
            0..=18 => ColumnType::BigInt,
            19..=38 => {
                notes.push(format!("`{path}` has integers of {} digits, which a bigint may not hold", self.digits.0));
                ColumnType::Decimal { precision: 38, scale: 0 }
            }
            digits => {
                notes.push(format!("`{path}` has integers of {digits} digits, which no number holds: taken as text"));
                ColumnType::String
            }
        }
    }

    fn fractions(&self, path: &str, notes: &mut Vec<String>) -> ColumnType {
        if self.is_huge {
            notes.push(format!("`{path}` has numbers that no double holds: taken as text"));
            return ColumnType::String;
        }
        let (before, behind) = self.digits;
        if before + behind <= DOUBLE_DIGITS || self.exponent {
            return ColumnType::Double;
        }
        if before + behind > 38 {
            notes.push(format!("`{path}` has numbers of {} digits, of which a double keeps 15", before + behind));
            return ColumnType::Double;
        }
        notes.push(format!("`{path}` has more digits than a double keeps"));
        ColumnType::Decimal { precision: 38, scale: behind as u8 }
    }

    fn objects(&self, path: &str, notes: &mut Vec<String>, depth: usize) -> ColumnType {
        let Some(inside) =
            self.members.as_deref().filter(|inside| inside.members.iter().any(|(name, _)| !name.is_empty()))
        else {
            notes.push(format!("`{path}` had no member in any object that was looked at: taken as text"));
            return ColumnType::String;
        };
        if inside.is_map() {
            let mut all = Inferred::default();
            inside.members.iter().for_each(|(_, value)| all.merge(value));
            let value = if all.members.is_some() || all.elements.is_some() {
                ColumnType::String
            } else {
                all.of(&format!("{path}{{}}"), notes, depth + 1)
            };
            notes.push(format!("`{path}` has {} keys, none of them often: taken as a map", inside.members.len()));
            return ColumnType::Map(Box::new(ColumnType::String), Box::new(value));
        }
        if inside.members.iter().any(|(name, _)| name.is_empty()) {
            notes.push(format!("`{path}` has members without a name, which no column can have"));
        }
        let of = |(name, value): &(String, Inferred)| NamedType {
            name: name.clone(),
            of: value.of(&format!("{path}.{name}"), notes, depth + 1),
            key: None,
        };
        let named = inside.members.iter().filter(|(name, _)| !name.is_empty());
        ColumnType::Struct(named.map(of).collect())
    }

    /// Adds what values without members have shown elsewhere.
    fn merge(&mut self, other: &Inferred) {
        self.values += other.values;
        self.nulls += other.nulls;
        for (kind, seen) in self.kinds.iter_mut().zip(&other.kinds) {
            if let Some((count, place)) = seen {
                kind.get_or_insert_with(|| (0, place.clone())).0 += count;
            }
        }
        self.digits = (self.digits.0.max(other.digits.0), self.digits.1.max(other.digits.1));
        self.exponent |= other.exponent;
        self.moments += other.moments;
        self.moment_digits = self.moment_digits.max(other.moment_digits);
        self.far_moments += other.far_moments;
        self.is_huge |= other.is_huge;
        self.days += other.days;
        if other.members.is_some() {
            self.members.get_or_insert_default();
        }
        if other.elements.is_some() {
            self.elements.get_or_insert_default();
        }
    }

    fn presence(&self, objects: u64) -> String {
        let nulls = if self.nulls > 0 { format!(", null in {}", self.nulls) } else { String::new() };
        match self.values == objects {
            true => "in every record".to_owned(),
            false => format!("in {} of {objects} records{nulls}", self.values),
        }
    }
}

/// Members in their order, values as they are written.
#[derive(Default)]
struct RawMembers<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfObject;
        impl<'de> Visitor<'de> for OfObject {
            type Value = RawMembers<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = RawMembers::default();
                while let Some(name) = map.next_key()? {
                    members.0.push((name, map.next_value()?));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(OfObject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(objects: &[&str]) -> InferredSchema {
        let mut inference = SchemaInference::default();
        for (line, object) in (1..).zip(objects) {
            inference.add(&format!("s:{line}"), object).unwrap();
        }
        inference.finish().unwrap()
    }

    #[test]
    fn types_are_those_of_all_values_and_disagreements_are_named() {
        let found = inferred(&[
            r#"{"id":1,"at":"2026-11-20T12:30:00.123Z","day":"2026-11-20","x":1,"price":12.5,"u":{"n":"a","l":[1,2.5]},"@t":true}"#,
            r#"{"ID":2,"at":"2026-11-20T12:30:00+01:00","day":"2026-1-2","x":{"y":1},"price":3,"u":{"n":null,"m":[]},"long":123456789012345.678}"#,
            r#"{"id":null,"at":"2026-11-20 12:30:00","day":null,"x":"t","price":1e3,"u":{},"nul":null,"big":12345678901234567890}"#,
        ]);
        let expected = "# `x` is an integer in s:1 (1 of 3), and a text in s:3 (1 of 3): taken as text\n\
                        # `u.m` had no element in any array\n\
                        # `long` has more digits than a double keeps\n\
                        # `nul` never had a value\n\
                        # `big` has integers of 20 digits, which a bigint may not hold\n\
                        columns:\n  id: bigint  # in 2 of 3 records, null in 1\n  at: timestamp  # in every record\n  day: date  # in 2 of 3 records, null \
                        in 1\n  x: string  # in every record\n  price: double  # in every record\n  u: \"struct<n:string,l:array<double>,m:array<string>>\"  # in \
                        every record\n  t: { type: boolean, key: \"@t\" }  # in 1 of 3 records\n  long: \"decimal(38,3)\"  # in 1 of 3 records\n  nul: string  \
                        # in 0 of 3 records, null in 1\n  big: \"decimal(38,0)\"  # in 1 of 3 records\n";
        assert_eq!(found.to_yaml(), expected);
    }

    #[test]
    fn an_object_whose_keys_are_data_is_a_map() {
        let objects: Vec<String> = (0..100)
            .map(|i| format!(r#"{{"id":{i},"by_user":{{"u{i}":{i},"u{}":1.5}},"fixed":{{"a":1,"b":"c"}}}}"#, i + 1))
            .collect();
        let found = inferred(&objects.iter().map(String::as_str).collect::<Vec<_>>());
        let types: Vec<String> = found.schema.columns.iter().map(|column| column.of.to_string()).collect();
        assert_eq!(types, ["bigint", "map<string,double>", "struct<a:bigint,b:string>"]);
    }
}
