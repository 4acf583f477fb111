//! Columns of a JSON Schema: what its objects have is read from JSON by the same names.
//! Source: json-schema.org, draft 2020-12, and its `definitions` of before.

use super::{ColumnType, NamedMembers, NamedType, TypeError, TypesLeft};
use serde_json::{Map, Value};

/// References and objects inside one another.
const DEPTH_MAX: usize = 32;

/// The columns of a schema whose root is an object. On errors, the JSON pointer of the place.
pub(super) fn columns(root: &Value) -> Result<Vec<NamedType>, (String, TypeError)> {
    let reader = JsonSchemaReader { root, left: TypesLeft::default() };
    match reader.of(root, "", 0)? {
        ColumnType::Struct(members) => Ok(members),
        other => Err(at("", &other.to_string(), "an object with `properties`")),
    }
}

struct JsonSchemaReader<'s> {
    root: &'s Value,
    left: TypesLeft,
}

type Found<T> = Result<T, (String, TypeError)>;

fn at(pointer: &str, found: &str, expected: &str) -> (String, TypeError) {
    (pointer.to_owned(), TypeError { found: found.to_owned(), expected: expected.to_owned() })
}

impl JsonSchemaReader<'_> {
    fn of(&self, schema: &Value, pointer: &str, depth: usize) -> Found<ColumnType> {
        if depth > DEPTH_MAX {
            return Err(at(pointer, "a schema that is in itself", "at most 32 types inside one another"));
        }
        self.left.take(1).map_err(|e| (pointer.to_owned(), e))?;
        // `true`: anything.
        let Some(schema) = schema.as_object() else { return Ok(ColumnType::String) };
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let place = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            let place = place.ok_or_else(|| at(pointer, reference, "a `$ref` to a place in the same file"))?;
            return self.of(place, &reference[1..], depth + 1);
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            return self.all_of(schema, parts, pointer, depth);
        }
        // Beside a type of its own, alternatives only say more of its values.
        let has_type = schema.contains_key("type") || schema.contains_key("properties");
        for word in ["anyOf", "oneOf"].into_iter().filter(|_| !has_type) {
            if let Some(parts) = schema.get(word).and_then(Value::as_array) {
                let types = parts.iter().enumerate().filter(|(_, part)| says_type(part)).map(|(i, part)| {
                    let pointer = format!("{pointer}/{word}/{i}");
                    Ok((!is_null(part)).then_some(self.of(part, &pointer, depth + 1)?))
                });
                let types: Vec<ColumnType> = types.collect::<Found<Vec<_>>>()?.into_iter().flatten().collect();
                return Ok(one_of(types));
            }
        }
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(some)) => some.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
            Some(other) => return Err(at(&format!("{pointer}/type"), &other.to_string(), "a type of JSON Schema")),
            _ if schema.contains_key("properties") => vec!["object"],
            _ if schema.contains_key("items") => vec!["array"],
            _ => return Ok(of_values(schema)),
        };
        let types = types.into_iter().map(|one| self.of_type(schema, one, pointer, depth));
        Ok(one_of(types.collect::<Found<_>>()?))
    }

    fn of_type(&self, schema: &Map<String, Value>, one: &str, pointer: &str, depth: usize) -> Found<ColumnType> {
        let format = schema.get("format").and_then(Value::as_str);
        Ok(match (one, format) {
            ("boolean", _) => ColumnType::Boolean,
            ("integer", Some("int32")) => ColumnType::Int,
            ("integer", _) => ColumnType::BigInt,
            ("number", Some("float")) => ColumnType::Float,
            ("number", _) => ColumnType::Double,
            ("string", Some("date-time")) => ColumnType::Timestamp(None),
            ("string", Some("date")) => ColumnType::Date,
            ("string", _) if schema.get("contentEncoding").is_some_and(|e| e == "base64") => ColumnType::Binary,
            ("string" | "null", _) => ColumnType::String,
            ("array", _) => {
                let items = schema.get("items").unwrap_or(&Value::Bool(true));
                ColumnType::Array(Box::new(self.of(items, &format!("{pointer}/items"), depth + 1)?))
            }
            ("object", _) => self.object(schema, pointer, depth)?,
            (other, _) => return Err(at(&format!("{pointer}/type"), other, "a type of JSON Schema")),
        })
    }

    fn object(&self, schema: &Map<String, Value>, pointer: &str, depth: usize) -> Found<ColumnType> {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object)
            && !properties.is_empty()
        {
            let mut members = NamedMembers::default();
            for (name, property) in properties {
                let of = self.of(property, &format!("{pointer}/properties/{name}"), depth + 1)?;
                members.add(name, of).map_err(|e| (pointer.to_owned(), e))?;
            }
            return Ok(ColumnType::Struct(members.members));
        }
        match schema.get("additionalProperties") {
            Some(value @ Value::Object(_)) => {
                let value = self.of(value, &format!("{pointer}/additionalProperties"), depth + 1)?;
                Ok(ColumnType::Map(Box::new(ColumnType::String), Box::new(value)))
            }
            // Anything may be in it: its JSON is kept.
            _ => Ok(ColumnType::String),
        }
    }

    /// Members of all parts together.
    fn all_of(&self, schema: &Map<String, Value>, parts: &[Value], pointer: &str, depth: usize) -> Found<ColumnType> {
        let mut own = schema.clone();
        own.remove("allOf");
        let own = (own.contains_key("properties") || own.contains_key("type")).then_some(Value::Object(own));
        let mut members: Vec<NamedType> = Vec::new();
        let mut other = None;
        for (i, part) in own.iter().chain(parts).enumerate().filter(|(_, part)| says_type(part)) {
            match self.of(part, &format!("{pointer}/allOf/{i}"), depth + 1)? {
                ColumnType::Struct(more) => {
                    let new = more.into_iter().filter(|m| members.iter().all(|known| known.name != m.name));
                    members.extend(new.collect::<Vec<_>>());
                }
                simple => other = Some(simple),
            }
        }
        Ok(if members.is_empty() { other.unwrap_or(ColumnType::String) } else { ColumnType::Struct(members) })
    }
}

/// Whether a schema says what type a value has, and not only what else it is like.
fn says_type(schema: &Value) -> bool {
    const WORDS: [&str; 9] = ["type", "properties", "items", "$ref", "allOf", "anyOf", "oneOf", "enum", "const"];
    WORDS.iter().any(|word| schema.get(word).is_some())
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|t| t == "null")
}

/// The type of what may be of several: itself, a wider number, or the JSON as a text.
fn one_of(types: Vec<ColumnType>) -> ColumnType {
    let mut types = types.into_iter();
    let first = types.next().unwrap_or(ColumnType::String);
    types.fold(first, |known, next| match (known, next) {
        (a, b) if a == b => a,
        (ColumnType::Int | ColumnType::BigInt, ColumnType::Int | ColumnType::BigInt) => ColumnType::BigInt,
        (ColumnType::Int | ColumnType::BigInt | ColumnType::Float | ColumnType::Double, ColumnType::Double)
        | (ColumnType::Double, ColumnType::Int | ColumnType::BigInt | ColumnType::Float) => ColumnType::Double,
        _ => ColumnType::String,
    })
}

/// The type of `const` and `enum` without a `type`.
fn of_values(schema: &Map<String, Value>) -> ColumnType {
    let values =
        schema.get("const").into_iter().chain(schema.get("enum").and_then(Value::as_array).into_iter().flatten());
    one_of(
        values
            .filter(|value| !value.is_null())
            .map(|value| match value {
                Value::Bool(_) => ColumnType::Boolean,
                Value::Number(n) if n.is_f64() => ColumnType::Double,
                Value::Number(_) => ColumnType::BigInt,
                _ => ColumnType::String,
            })
            .collect(),
    )
}
