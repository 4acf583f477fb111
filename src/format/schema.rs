//! Column types as Hive and Glue write them (docs/firehose.md: "Types of columns"), as Arrow types.

use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// A type that cannot be used, with where in its text that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeError {
    pub found: String,
    pub expected: String,
}

impl std::fmt::Display for TypeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: String = self.found.chars().take(SHOWN_CHARS_MAX).collect();
        let rest = if shown.len() < self.found.len() { "…" } else { "" };
        write!(f, "found `{shown}{rest}`, expected {}", self.expected)
    }
}

/// Of what was found; a type's text may be as long as its file.
const SHOWN_CHARS_MAX: usize = 60;
/// Types inside one another. Reading them, and every reader and writer of such a column, recurses; tables have a few.
const DEPTH_MAX: usize = 32;

const TYPES: &str = "tinyint, smallint, int, bigint, float, double, boolean, string, char(n), varchar(n), date, \
                     timestamp, decimal(precision,scale), array<type>, map<string,type> or struct<name:type,…>";

/// The schema of named columns, all nullable as in Hive.
pub fn schema(columns: &[(String, String)]) -> Result<SchemaRef, TypeError> {
    let fields = columns.iter().map(|(name, text)| Ok(Field::new(name, data_type(text)?, true)));
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>, _>>()?)))
}

/// Reads one Hive type.
pub fn data_type(text: &str) -> Result<DataType, TypeError> {
    let mut parser = Parser { text, rest: text, depth: 0 };
    let found = parser.data_type()?;
    if parser.rest.trim().is_empty() { Ok(found) } else { Err(parser.error("the end of the type")) }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    /// Types that are open around `rest`.
    depth: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, expected: impl Into<String>) -> TypeError {
        let found = if self.rest.trim().is_empty() { self.text } else { self.rest.trim() };
        TypeError { found: found.to_owned(), expected: expected.into() }
    }

    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn symbol(&mut self, symbol: char) -> Result<(), TypeError> {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.error(format!("`{symbol}`"))),
        }
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, TypeError> {
        let before = self.rest;
        let word = self.word();
        word.parse().map_err(|_| TypeError { found: before.to_owned(), expected: "a number".into() })
    }

    fn data_type(&mut self) -> Result<DataType, TypeError> {
        if self.depth == DEPTH_MAX {
            return Err(self.error(format!("at most {DEPTH_MAX} types inside one another")));
        }
        self.depth += 1;
        let found = self.one_type();
        self.depth -= 1;
        found
    }

    fn one_type(&mut self) -> Result<DataType, TypeError> {
        let before = self.rest;
        let word = self.word().to_ascii_lowercase();
        Ok(match word.as_str() {
            "tinyint" => DataType::Int8,
            "smallint" => DataType::Int16,
            "int" | "integer" => DataType::Int32,
            "bigint" => DataType::Int64,
            "float" => DataType::Float32,
            "double" => DataType::Float64,
            "boolean" => DataType::Boolean,
            "string" => DataType::Utf8,
            "date" => DataType::Date32,
            "timestamp" => DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into())),
            "char" | "varchar" => {
                self.symbol('(')?;
                self.number::<u32>()?;
                self.symbol(')')?;
                DataType::Utf8
            }
            "decimal" => self.decimal()?,
            "array" => {
                self.symbol('<')?;
                let item = self.data_type()?;
                self.symbol('>')?;
                DataType::List(Arc::new(Field::new("element", item, true)))
            }
            "map" => self.map()?,
            "struct" => self.structure()?,
            _ => return Err(TypeError { found: before.trim().to_owned(), expected: TYPES.into() }),
        })
    }

    fn decimal(&mut self) -> Result<DataType, TypeError> {
        if !self.rest.trim_start().starts_with('(') {
            return Ok(DataType::Decimal128(10, 0));
        }
        self.symbol('(')?;
        let precision = self.number::<u8>()?;
        let mut scale = 0;
        if self.rest.trim_start().starts_with(',') {
            self.symbol(',')?;
            scale = self.number::<i8>()?;
        }
        self.symbol(')')?;
        if !(1..=38).contains(&precision) || !(0..=precision as i8).contains(&scale) {
            let found = format!("decimal({precision},{scale})");
            return Err(TypeError { found, expected: "a precision from 1 to 38 and a scale up to it".into() });
        }
        Ok(DataType::Decimal128(precision, scale))
    }

    fn map(&mut self) -> Result<DataType, TypeError> {
        self.symbol('<')?;
        let before = self.rest;
        if self.data_type()? != DataType::Utf8 {
            return Err(TypeError { found: before.to_owned(), expected: "`string` as a map's key".into() });
        }
        self.symbol(',')?;
        let value = self.data_type()?;
        self.symbol('>')?;
        let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)]);
        let entries = Field::new("key_value", DataType::Struct(entries), false);
        Ok(DataType::Map(Arc::new(entries), false))
    }

    fn structure(&mut self) -> Result<DataType, TypeError> {
        self.symbol('<')?;
        let mut fields: Vec<Field> = Vec::new();
        loop {
            let name = self.word().to_owned();
            if name.is_empty() {
                return Err(self.error("a field's name"));
            }
            // As for columns: catalogues fold case.
            if fields.iter().any(|f| f.name().eq_ignore_ascii_case(&name)) {
                return Err(TypeError { found: name, expected: "every name in a struct once".into() });
            }
            self.symbol(':')?;
            fields.push(Field::new(name, self.data_type()?, true));
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix(',') {
                Some(rest) => self.rest = rest,
                None => break,
            }
        }
        self.symbol('>')?;
        Ok(DataType::Struct(fields.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_types_are_read() {
        let found = data_type("array<struct<sku:string, price:decimal(10,2), tags:map<string,array<int>>>>").unwrap();
        assert!(matches!(found, DataType::List(f) if matches!(f.data_type(), DataType::Struct(s) if s.len() == 3)));
    }

    #[test]
    fn a_wrong_type_is_named() {
        for (text, message) in [
            ("strin", "found `strin`, expected tinyint"),
            ("array<int", "found `array<int`, expected `>`"),
            ("map<int,string>", "expected `string` as a map's key"),
            ("decimal(40,2)", "found `decimal(40,2)`, expected a precision"),
            ("int int", "found `int`, expected the end of the type"),
            ("struct<a:int,A:string>", "found `A`, expected every name in a struct once"),
        ] {
            let error = data_type(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn nesting_without_end_is_an_error_and_not_the_end_of_the_process() {
        let nested = |depth: usize| format!("{}int{}", "array<".repeat(depth), ">".repeat(depth));
        assert!(data_type(&nested(DEPTH_MAX - 1)).is_ok());
        for text in [nested(DEPTH_MAX), nested(200_000), "struct<a:map<string,".repeat(100_000)] {
            let error = data_type(&text).unwrap_err().to_string();
            assert!(error.contains("expected at most 32 types inside one another") && error.len() < 200, "{error}");
        }
    }
}
