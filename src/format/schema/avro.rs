//! Columns of an Avro schema, for records in JSON that follow it. Source: the Avro specification, 1.12.

use super::{ColumnType, NamedMembers, NamedType, TimestampUnit, TypeError, TypesLeft};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Types inside one another.
const DEPTH_MAX: usize = 32;

/// The columns of a record's schema.
pub(super) fn columns(root: &Value) -> Result<Vec<NamedType>, TypeError> {
    match AvroReader::default().of(root, "", 0)? {
        ColumnType::Struct(members) => Ok(members),
        other => Err(error(&other.to_string(), "a `record`")),
    }
}

/// Whether it looks like one.
pub(super) fn is_avro(root: &Value) -> bool {
    root.get("type").is_some_and(|t| t == "record") && root.get("fields").is_some_and(Value::is_array)
}

#[derive(Default)]
struct AvroReader {
    /// Named types that have been read, by full name.
    named: BTreeMap<String, ColumnType>,
    left: TypesLeft,
}

fn error(found: &str, expected: &str) -> TypeError {
    TypeError { found: found.to_owned(), expected: expected.to_owned() }
}

impl AvroReader {
    fn of(&mut self, schema: &Value, space: &str, depth: usize) -> Result<ColumnType, TypeError> {
        if depth > DEPTH_MAX {
            return Err(error("types without end", "at most 32 types inside one another"));
        }
        match schema {
            Value::String(name) => self.by_name(name, space),
            Value::Array(union) => {
                let others: Vec<&Value> = union.iter().filter(|branch| **branch != "null").collect();
                match others.as_slice() {
                    [one] => self.of(one, space, depth + 1),
                    [] => Err(error("null", "a type that has values")),
                    _ => Err(error(&schema.to_string(), "a union of `null` and one type")),
                }
            }
            Value::Object(of) => self.described(of, space, depth),
            other => Err(error(&other.to_string(), "a type of Avro")),
        }
    }

    fn by_name(&self, name: &str, space: &str) -> Result<ColumnType, TypeError> {
        Ok(match name {
            "boolean" => ColumnType::Boolean,
            "int" => ColumnType::Int,
            "long" => ColumnType::BigInt,
            "float" => ColumnType::Float,
            "double" => ColumnType::Double,
            "bytes" => ColumnType::Binary,
            "string" => ColumnType::String,
            name => {
                let full = full_name(name, space);
                let known = self.named.get(&full).or_else(|| self.named.get(name));
                let known = known.ok_or_else(|| error(name, "a type of Avro, or one that is named before"))?;
                self.left.take(known.types())?;
                known.clone()
            }
        })
    }

    fn described(&mut self, of: &Map<String, Value>, space: &str, depth: usize) -> Result<ColumnType, TypeError> {
        let kind = of.get("type").unwrap_or(&Value::Null);
        let Some(kind) = kind.as_str() else { return self.of(kind, space, depth + 1) };
        let text = |key: &str| of.get(key).and_then(Value::as_str);
        let number = |key: &str| of.get(key).and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok());
        let found = match (kind, text("logicalType")) {
            ("bytes" | "fixed", Some("decimal")) => {
                let (precision, scale) = (number("precision").unwrap_or(0), number("scale").unwrap_or(0));
                if !(1..=38).contains(&precision) || scale > precision {
                    let found = format!("decimal({precision},{scale})");
                    return Err(error(&found, "a precision from 1 to 38 and a scale up to it"));
                }
                ColumnType::Decimal { precision, scale }
            }
            ("int", Some("date")) => ColumnType::Date,
            ("long", Some("timestamp-millis" | "local-timestamp-millis")) => {
                ColumnType::Timestamp(Some(TimestampUnit::Millis))
            }
            ("long", Some("timestamp-micros" | "local-timestamp-micros")) => {
                ColumnType::Timestamp(Some(TimestampUnit::Micros))
            }
            ("long", Some("timestamp-nanos" | "local-timestamp-nanos")) => {
                ColumnType::Timestamp(Some(TimestampUnit::Nanos))
            }
            ("enum", _) => ColumnType::String,
            ("fixed", _) => ColumnType::Binary,
            ("array", _) => {
                let items = of.get("items").ok_or_else(|| error("an array", "its `items`"))?;
                ColumnType::Array(Box::new(self.of(items, space, depth + 1)?))
            }
            ("map", _) => {
                let values = of.get("values").ok_or_else(|| error("a map", "its `values`"))?;
                ColumnType::Map(Box::new(ColumnType::String), Box::new(self.of(values, space, depth + 1)?))
            }
            ("record" | "error", _) => self.record(of, space, depth)?,
            (kind, _) => self.by_name(kind, space)?,
        };
        if let Some(name) = text("name").filter(|_| ["record", "error", "enum", "fixed"].contains(&kind)) {
            self.named.insert(full_name(name, text("namespace").unwrap_or(space)), found.clone());
        }
        Ok(found)
    }

    fn record(&mut self, of: &Map<String, Value>, space: &str, depth: usize) -> Result<ColumnType, TypeError> {
        let name = of.get("name").and_then(Value::as_str).unwrap_or_default();
        let own = name.rsplit_once('.').map(|(space, _)| space);
        let space = of.get("namespace").and_then(Value::as_str).or(own).unwrap_or(space).to_owned();
        let fields = of.get("fields").and_then(Value::as_array).filter(|fields| !fields.is_empty());
        let mut members = NamedMembers::default();
        for field in fields.ok_or_else(|| error(&format!("the record `{name}`"), "`fields` in it"))? {
            let field_name = field.get("name").and_then(Value::as_str).unwrap_or_default();
            let of = self.of(field.get("type").unwrap_or(&Value::Null), &space, depth + 1);
            let of = of.map_err(|e| TypeError { found: format!("{} in `{field_name}`", e.found), ..e })?;
            members.add(field_name, of)?;
        }
        Ok(ColumnType::Struct(members.members))
    }
}

fn full_name(name: &str, space: &str) -> String {
    if name.contains('.') || space.is_empty() { name.to_owned() } else { format!("{space}.{name}") }
}
