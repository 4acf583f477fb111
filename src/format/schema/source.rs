//! Where a table's columns are read from, besides our own YAML: a type's text, a `CREATE EXTERNAL TABLE` statement, a JSON Schema,
//! an Avro schema, a Parquet file. Which of them a file is, is seen in what it begins with.

use super::{ColumnType, TableSchema, TypeError, as_columns, avro, columnar, ddl, json_schema};
use serde_json::Value;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaProblem {
    /// Where, from 1; of a file that is no text, 1 and 1.
    pub line: usize,
    pub column: usize,
    /// What was found, and what was expected.
    pub message: String,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaForm {
    /// Ours, with `columns`.
    Yaml,
    /// `struct<a:int,b:array<string>>`
    Type,
    /// `CREATE EXTERNAL TABLE`
    Statement,
    /// A JSON Schema or an Avro schema.
    Json,
    Parquet,
}

/// Parquet files begin with it.
const PARQUET: &[u8] = b"PAR1";

impl SchemaForm {
    /// What a file holds, from its bytes.
    pub fn of(file: &[u8]) -> SchemaForm {
        let text = file.strip_prefix("\u{feff}".as_bytes()).unwrap_or(file).trim_ascii_start();
        let begins =
            |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()));
        let is_json = || {
            text.first() == Some(&b'{')
                && serde_json::from_slice::<Value>(file).is_ok_and(|v| v.get("columns").is_none())
        };
        match () {
            () if file.starts_with(PARQUET) => SchemaForm::Parquet,
            () if begins("struct") && text[6..].trim_ascii_start().starts_with(b"<") => SchemaForm::Type,
            () if begins("create") || begins("--") || begins("/*") => SchemaForm::Statement,
            () if is_json() => SchemaForm::Json,
            () => SchemaForm::Yaml,
        }
    }
}

/// The columns in a file that is not our YAML.
///
/// # Errors
/// What cannot be read, and where.
pub fn read(file: &[u8]) -> Result<TableSchema, SchemaProblem> {
    let file = file.strip_prefix("\u{feff}".as_bytes()).unwrap_or(file);
    let text =
        || std::str::from_utf8(file).map_err(|e| problem("", 0, &format!("found bytes that are no UTF-8 ({e})")));
    let members = match SchemaForm::of(file) {
        SchemaForm::Parquet => columnar::columns(file.to_vec()).map_err(|e| problem("", 0, &e.to_string()))?,
        SchemaForm::Statement => {
            let text = text()?;
            ddl::columns(text).map_err(|(at, e)| problem(text, at, &e.to_string()))?
        }
        SchemaForm::Json => of_json(text()?)?,
        SchemaForm::Type | SchemaForm::Yaml => {
            let text = text()?;
            let at = text.len() - text.trim_start().len();
            match ColumnType::parse(text).map_err(|e| problem(text, at, &e.to_string()))? {
                ColumnType::Struct(members) => members,
                other => return Err(problem(text, at, &format!("found `{other}`, expected `struct<name:type,…>`"))),
            }
        }
    };
    Ok(as_columns(members))
}

fn of_json(text: &str) -> Result<Vec<super::NamedType>, SchemaProblem> {
    let root: Value = serde_json::from_str(text).map_err(|e| {
        let (line, column) = (e.line(), e.column());
        SchemaProblem { line, column, message: e.to_string() }
    })?;
    if avro::is_avro(&root) {
        return avro::columns(&root).map_err(|e: TypeError| problem("", 0, &e.to_string()));
    }
    json_schema::columns(&root).map_err(|(pointer, e)| {
        let place = if pointer.is_empty() { "the root".to_owned() } else { format!("`{pointer}`") };
        problem("", 0, &format!("{place}: {e}"))
    })
}

fn problem(text: &str, at: usize, message: &str) -> SchemaProblem {
    let before = text.get(..at).unwrap_or_default();
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count();
    SchemaProblem { line, column, message: message.to_owned() }
}

impl TableSchema {
    /// As our YAML.
    pub fn to_yaml(&self) -> String {
        let mut yaml = String::from("columns:\n");
        for column in &self.columns {
            yaml += &format!("  {}: {}\n", quoted(&column.name), column_yaml(column));
        }
        yaml
    }
}

/// A column's type in YAML, with its key if it has one.
pub(super) fn column_yaml(column: &super::NamedType) -> String {
    let of = quoted(&column.of.to_string());
    match &column.key {
        None => of,
        Some(key) => format!("{{ type: {of}, key: {} }}", serde_json::Value::from(key.as_str())),
    }
}

/// A text as YAML has it: in quotation marks if it is no plain name.
fn quoted(text: &str) -> String {
    const WORDS: [&str; 12] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "~", ".nan", ".inf"];
    let is_plain = text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '(' || c == ')')
        && text.chars().next().is_some_and(char::is_alphabetic)
        && !WORDS.contains(&text.to_lowercase().as_str());
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The columns, as YAML.
    fn yaml(file: &str) -> String {
        let schema = read(file.as_bytes()).unwrap_or_else(|e| panic!("{file}: {e:?}"));
        schema.to_yaml().strip_prefix("columns:\n").unwrap().replace("  ", "")
    }

    #[test]
    fn a_table_of_athena_is_read() {
        let file = "-- CloudTrail\nCREATE EXTERNAL TABLE IF NOT EXISTS `logs`.`trail` ( -- its columns\n  `eventversion` STRING COMMENT 'a, b)',\n  \
                    useridentity STRUCT<type:STRING, sessioncontext: struct<attributes:struct<mfa:string>>>,\n  at timestamp, \
                    amount DECIMAL(10, 2) /* money */,\n  `@tags` map<string,array<int>>\n)\nPARTITIONED BY (year string)\nROW FORMAT SERDE \
                    'org.openx.data.jsonserde.JsonSerDe'\nLOCATION 's3://b/'";
        assert_eq!(
            yaml(file),
            "eventversion: string\nuseridentity: \"struct<type:string,sessioncontext:struct<attributes:struct<mfa:string>>>\"\n\
             at: timestamp\namount: \"decimal(10,2)\"\ntags: { type: \"map<string,array<int>>\", key: \"@tags\" }\n"
        );
        let odd = "\u{feff}create temporary external table a.b.c (x numeric(4,1) not null comment 'it''s, (', w double precision comment \"a\\\")\", \
                   z struct <`q r`:int comment 'c', s:dec>)";
        assert_eq!(yaml(odd), "x: \"decimal(4,1)\"\nw: double\nz: \"struct<`q r`:int,s:decimal(10,0)>\"\n");
        let wrong = read(b"CREATE TABLE t (\n  a int,\n  b strng)").unwrap_err();
        assert_eq!((wrong.line, wrong.column), (3, 5));
        assert!(wrong.message.contains("found `strng)`"), "{}", wrong.message);
        let wrong = read(b"CREATE TABLE t a int").unwrap_err();
        assert!(wrong.message.contains("expected `(`"), "{}", wrong.message);
    }

    #[test]
    fn a_type_s_text_is_read() {
        assert_eq!(
            yaml("struct<a:int,`b c`:array<struct<`x-y`:string>>>\n"),
            "a: int\nb_c: { type: \"array<struct<`x-y`:string>>\", key: \"b c\" }\n"
        );
        assert!(read(b"struct<a:int").unwrap_err().message.contains("expected `>`"));
    }

    #[test]
    fn a_json_schema_is_read() {
        let file = r##"{ "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "$defs": { "money": { "type": "object", "properties": { "amount": { "type": "number" }, "unit": { "enum": ["EUR", null] } } } },
            "properties": {
                "id": { "type": "integer" }, "small": { "type": ["integer", "null"], "format": "int32" },
                "at": { "type": "string", "format": "date-time" }, "day": { "type": "string", "format": "date" },
                "price": { "$ref": "#/$defs/money" }, "tags": { "type": "array", "items": { "type": "string" } },
                "labels": { "type": "object", "additionalProperties": { "type": "number" } },
                "any": {}, "open": { "type": "object" }, "either": { "anyOf": [{ "type": "integer" }, { "type": "null" }, { "type": "number" }] },
                "all": { "allOf": [{ "$ref": "#/$defs/money" }, { "properties": { "tax": { "type": "boolean" } } }] },
                "@raw": { "type": "string", "contentEncoding": "base64" } } }"##;
        let expected = "id: bigint\nsmall: int\nat: timestamp\nday: date\nprice: \"struct<amount:double,unit:string>\"\ntags: \
                        \"array<string>\"\nlabels: \"map<string,double>\"\nany: string\nopen: string\neither: double\nall: \
                        \"struct<amount:double,unit:string,tax:boolean>\"\nraw: { type: binary, key: \"@raw\" }\n";
        let mut found: Vec<String> = yaml(file).lines().map(str::to_owned).collect();
        let mut expected: Vec<String> = expected.lines().map(str::to_owned).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        let endless =
            r##"{ "$defs": { "n": { "properties": { "next": { "$ref": "#/$defs/n" } } } }, "$ref": "#/$defs/n" }"##;
        assert!(read(endless.as_bytes()).unwrap_err().message.contains("at most 32 types"));
        let elsewhere = r#"{ "properties": { "a": { "$ref": "other.json" } } }"#;
        let wrong = read(elsewhere.as_bytes()).unwrap_err();
        assert!(wrong.message.contains("`/properties/a`: found `other.json`"), "{}", wrong.message);
    }

    #[test]
    fn an_avro_schema_is_read() {
        let file = r#"{ "type": "record", "name": "Click", "namespace": "a.b", "fields": [
            { "name": "id", "type": "long" }, { "name": "at", "type": { "type": "long", "logicalType": "timestamp-millis" } },
            { "name": "price", "type": ["null", { "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2 }] },
            { "name": "user", "type": { "type": "record", "name": "User", "fields": [{ "name": "name", "type": "string" }] } },
            { "name": "friends", "type": { "type": "array", "items": "User" } }, { "name": "kind", "type": { "type": "enum", "name": "Kind", "symbols": ["a"] } },
            { "name": "props", "type": { "type": "map", "values": ["null", "double"] } } ] }"#;
        assert_eq!(
            yaml(file),
            "id: bigint\nat: timestamp(3)\nprice: \"decimal(9,2)\"\nuser: \"struct<name:string>\"\nfriends: \"array<struct<name:string>>\"\n\
             kind: string\nprops: \"map<string,double>\"\n"
        );
        let wrong = r#"{ "type": "record", "name": "R", "fields": [{ "name": "a", "type": ["int", "string"] }] }"#;
        assert!(read(wrong.as_bytes()).unwrap_err().message.contains("expected a union of `null` and one type"));
        let endless = r#"{ "type": "record", "name": "R", "fields": [{ "name": "a", "type": ["null", "R"] }] }"#;
        assert!(read(endless.as_bytes()).unwrap_err().message.contains("`R in `a``"), "{:?}", read(endless.as_bytes()));
    }

    #[test]
    fn a_parquet_file_has_the_columns_that_were_written() {
        let text = "struct<a:tinyint,b:decimal(9,2),c:timestamp,d:timestamp(9),e:map<int,array<struct<x:date,y:binary>>>,f:float>";
        let schema = read(text.as_bytes()).unwrap();
        let writer =
            parquet::arrow::ArrowWriter::try_new(Vec::new(), schema.arrow(super::super::TimestampUnit::Micros), None);
        let file = writer.unwrap().into_inner().unwrap();
        assert_eq!(read(&file), Ok(schema));
        assert!(read(b"PAR1 and nothing more").unwrap_err().message.contains("expected a Parquet file"));
    }
}
