//! The columns of a table: their types, as Hive and Glue write them (docs/firehose.md: "Types of columns"), and where they are
//! read from.

mod avro;
mod columnar;
mod ddl;
pub mod diff;
mod hive;
pub mod infer;
mod json_schema;
pub mod source;

use arrow_schema::{DataType, Field, Fields, SchemaRef, TimeUnit};
use hive::HiveParser;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// The columns of a table, in order. All are nullable, as in Hive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    pub columns: Vec<NamedType>,
}

/// A column, or a member of a `struct`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedType {
    pub name: String,
    pub of: ColumnType,
    /// The key that a column is read from, unless that is its name.
    pub key: Option<String>,
}

/// A column's type. [`fmt::Display`] writes it as Hive does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnType {
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Float,
    Double,
    Boolean,
    String,
    /// At most so many characters.
    Char(u32),
    /// At most so many characters.
    Varchar(u32),
    Binary,
    Date,
    /// Ours has digits of a second, `timestamp(9)`; without them it is what the format takes it for.
    Timestamp(Option<TimestampUnit>),
    Decimal {
        precision: u8,
        scale: u8,
    },
    Array(Box<ColumnType>),
    /// Keys are of a type without members.
    Map(Box<ColumnType>, Box<ColumnType>),
    Struct(Vec<NamedType>),
}

/// What a timestamp column counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampUnit {
    Millis,
    Micros,
    Nanos,
}

impl TimestampUnit {
    /// Digits of a second.
    pub fn digits(self) -> u32 {
        match self {
            TimestampUnit::Millis => 3,
            TimestampUnit::Micros => 6,
            TimestampUnit::Nanos => 9,
        }
    }

    fn of_digits(digits: u32) -> Option<TimestampUnit> {
        [TimestampUnit::Millis, TimestampUnit::Micros, TimestampUnit::Nanos].into_iter().find(|u| u.digits() == digits)
    }
}

impl TableSchema {
    /// Reads named types.
    pub fn parse<'a>(columns: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<TableSchema, TypeError> {
        let named = |(name, text)| Ok(NamedType { name: str::to_owned(name), of: ColumnType::parse(text)?, key: None });
        Ok(TableSchema { columns: columns.into_iter().map(named).collect::<Result<_, TypeError>>()? })
    }

    /// As Arrow has it; a `timestamp` without digits is of this unit.
    pub fn arrow(&self, timestamp: TimestampUnit) -> SchemaRef {
        Arc::new(arrow_schema::Schema::new(fields(&self.columns, timestamp)))
    }
}

fn fields(members: &[NamedType], timestamp: TimestampUnit) -> Fields {
    members.iter().map(|member| Field::new(&member.name, member.of.arrow(timestamp), true)).collect()
}

impl ColumnType {
    /// Reads one Hive type.
    pub fn parse(text: &str) -> Result<ColumnType, TypeError> {
        let mut parser = HiveParser::new(text);
        let found = parser.column_type()?;
        if parser.is_end() { Ok(found) } else { Err(parser.error("the end of the type")) }
    }

    /// As Arrow has it; a `timestamp` without digits is of this unit.
    pub fn arrow(&self, timestamp: TimestampUnit) -> DataType {
        match self {
            ColumnType::TinyInt => DataType::Int8,
            ColumnType::SmallInt => DataType::Int16,
            ColumnType::Int => DataType::Int32,
            ColumnType::BigInt => DataType::Int64,
            ColumnType::Float => DataType::Float32,
            ColumnType::Double => DataType::Float64,
            ColumnType::Boolean => DataType::Boolean,
            ColumnType::String | ColumnType::Char(_) | ColumnType::Varchar(_) => DataType::Utf8,
            ColumnType::Binary => DataType::Binary,
            ColumnType::Date => DataType::Date32,
            ColumnType::Timestamp(unit) => {
                let unit = match unit.unwrap_or(timestamp) {
                    TimestampUnit::Millis => TimeUnit::Millisecond,
                    TimestampUnit::Micros => TimeUnit::Microsecond,
                    TimestampUnit::Nanos => TimeUnit::Nanosecond,
                };
                DataType::Timestamp(unit, Some("+00:00".into()))
            }
            ColumnType::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
            ColumnType::Array(element) => {
                DataType::List(Arc::new(Field::new("element", element.arrow(timestamp), true)))
            }
            ColumnType::Map(key, value) => {
                let key = Field::new("key", key.arrow(timestamp), false);
                let value = Field::new("value", value.arrow(timestamp), true);
                let entries = DataType::Struct(Fields::from(vec![key, value]));
                DataType::Map(Arc::new(Field::new("key_value", entries, false)), false)
            }
            ColumnType::Struct(members) => DataType::Struct(fields(members, timestamp)),
        }
    }

    fn has_members(&self) -> bool {
        matches!(self, ColumnType::Array(_) | ColumnType::Map(..) | ColumnType::Struct(_))
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::TinyInt => f.write_str("tinyint"),
            ColumnType::SmallInt => f.write_str("smallint"),
            ColumnType::Int => f.write_str("int"),
            ColumnType::BigInt => f.write_str("bigint"),
            ColumnType::Float => f.write_str("float"),
            ColumnType::Double => f.write_str("double"),
            ColumnType::Boolean => f.write_str("boolean"),
            ColumnType::String => f.write_str("string"),
            ColumnType::Char(length) => write!(f, "char({length})"),
            ColumnType::Varchar(length) => write!(f, "varchar({length})"),
            ColumnType::Binary => f.write_str("binary"),
            ColumnType::Date => f.write_str("date"),
            ColumnType::Timestamp(None) => f.write_str("timestamp"),
            ColumnType::Timestamp(Some(unit)) => write!(f, "timestamp({})", unit.digits()),
            ColumnType::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            ColumnType::Array(element) => write!(f, "array<{element}>"),
            ColumnType::Map(key, value) => write!(f, "map<{key},{value}>"),
            ColumnType::Struct(members) => {
                f.write_str("struct<")?;
                for (i, NamedType { name, of, .. }) in members.iter().enumerate() {
                    let quote = if is_plain_name(name) { "" } else { "`" };
                    write!(f, "{}{quote}{}{quote}:{of}", if i == 0 { "" } else { "," }, name.replace('`', "``"))?;
                }
                f.write_str(">")
            }
        }
    }
}

/// A type that cannot be used, with where in its text that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeError {
    pub found: String,
    pub expected: String,
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.found.chars().take(SHOWN_CHARS_MAX).collect();
        let rest = if shown.len() < self.found.len() { "…" } else { "" };
        write!(f, "found `{shown}{rest}`, expected {}", self.expected)
    }
}

/// Of what was found; a type's text may be as long as its file.
const SHOWN_CHARS_MAX: usize = 60;
/// Members by their names, which may be any text but an empty one, each once.
#[derive(Default)]
struct NamedMembers {
    members: Vec<NamedType>,
    taken: HashSet<String>,
}

impl NamedMembers {
    fn add(&mut self, name: &str, of: ColumnType) -> Result<(), TypeError> {
        if name.is_empty() || !self.taken.insert(name.to_lowercase()) {
            return Err(TypeError {
                found: name.to_owned(),
                expected: "every name once, and none that is empty".into(),
            });
        }
        self.members.push(NamedType { name: name.to_owned(), of, key: None });
        Ok(())
    }
}

/// Types that a schema may have, those inside others included: a few lines of references may stand for any number.
const TYPES_MAX: usize = 100_000;

/// How many types are left.
struct TypesLeft(Cell<usize>);

impl Default for TypesLeft {
    fn default() -> Self {
        TypesLeft(Cell::new(TYPES_MAX))
    }
}

impl TypesLeft {
    fn take(&self, types: usize) -> Result<(), TypeError> {
        let left = self.0.get().checked_sub(types);
        let error = || TypeError { found: "types without end".into(), expected: format!("at most {TYPES_MAX} types") };
        self.0.set(left.ok_or_else(error)?);
        Ok(())
    }
}

impl ColumnType {
    /// Itself and those inside it.
    fn types(&self) -> usize {
        1 + match self {
            ColumnType::Array(element) => element.types(),
            ColumnType::Map(key, value) => key.types() + value.types(),
            ColumnType::Struct(members) => members.iter().map(|member| member.of.types()).sum(),
            _ => 0,
        }
    }
}

/// Members as columns of a table: names of other characters than letters, digits and `_` get them replaced, and one that would be
/// there again gets a number; what it was called stays as its key.
fn as_columns(members: Vec<NamedType>) -> TableSchema {
    // Names that need no other are kept, whatever comes before them.
    let is_kept = |name: &str| is_plain_name(name);
    let mut taken: HashSet<String> =
        members.iter().filter(|member| is_kept(&member.name)).map(|member| member.name.to_lowercase()).collect();
    let named = members.into_iter().map(|NamedType { name: key, of, .. }| {
        if is_kept(&key) {
            return NamedType { name: key, of, key: None };
        }
        let plain: String = key.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '_' }).collect();
        let plain = plain.trim_matches('_');
        let plain = if plain.is_empty() { "column" } else { plain };
        let numbered = (2..).map(|number| format!("{plain}_{number}"));
        let mut names = std::iter::once(plain.to_owned()).chain(numbered);
        let name = names.find(|name| taken.insert(name.to_lowercase())).expect("there is no end of numbers");
        NamedType { name, of, key: Some(key) }
    });
    TableSchema { columns: named.collect() }
}

/// Whether a name needs no backticks in a type's text.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::hive::DEPTH_MAX;
    use super::*;

    #[test]
    fn nested_types_are_read() {
        let text = "array<struct<sku:string, price:decimal(10,2), at:timestamp(9), tags:map<string,array<int>>>>";
        let found = ColumnType::parse(text).unwrap();
        assert_eq!(found.to_string(), text.replace(' ', ""));
        let DataType::List(element) = found.arrow(TimestampUnit::Micros) else { panic!("found {found}") };
        assert!(matches!(element.data_type(), DataType::Struct(members) if members.len() == 4));
    }

    #[test]
    fn a_wrong_type_is_named() {
        for (text, message) in [
            ("strin", "found `strin`, expected tinyint"),
            ("array<int", "found `array<int`, expected `>`"),
            ("map<array<int>,string>", "expected a map's key of a type without members"),
            ("timestamp(4)", "found `timestamp(4)`, expected 3, 6 or 9 digits"),
            ("decimal(40,2)", "found `decimal(40,2)`, expected a precision"),
            ("int int", "found `int`, expected the end of the type"),
            ("struct<a:int,A:string>", "found `A`, expected every name in a struct once"),
        ] {
            let error = ColumnType::parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn nesting_without_end_is_an_error_and_not_the_end_of_the_process() {
        let nested = |depth: usize| format!("{}int{}", "array<".repeat(depth), ">".repeat(depth));
        assert!(ColumnType::parse(&nested(DEPTH_MAX - 1)).is_ok());
        for text in [nested(DEPTH_MAX), nested(200_000), "struct<a:map<string,".repeat(100_000)] {
            let error = ColumnType::parse(&text).unwrap_err().to_string();
            assert!(error.contains("expected at most 32 types inside one another") && error.len() < 200, "{error}");
        }
    }
}
