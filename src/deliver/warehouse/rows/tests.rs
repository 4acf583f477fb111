use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value};

fn columns(names: &[(&str, ColumnKind)]) -> Vec<TableColumn> {
    names.iter().map(|(name, kind)| TableColumn { name: (*name).to_owned(), kind: *kind }).collect()
}

/// The lines, which are the same wherever the input is cut.
fn lines(input: &[u8], columns: Vec<TableColumn>) -> Result<String, String> {
    let whole = lines_read(input, columns.clone(), INPUT_BYTES);
    // A large input is cut often enough as it is.
    for input_bytes in (1..=input.len()).take_while(|_| input.len() < 1000) {
        assert_eq!(lines_read(input, columns.clone(), input_bytes), whole, "{input_bytes} bytes at once");
    }
    whole
}

fn lines_read(input: &[u8], columns: Vec<TableColumn>, input_bytes: usize) -> Result<String, String> {
    let mut rows = TableRows { input_bytes, ..TableRows::new(input, Arc::new(columns.into())) };
    let mut out = Vec::new();
    while let Some(piece) = rows.piece().map_err(|e| e.to_string())? {
        out.extend(piece);
    }
    Ok(String::from_utf8(out).expect("COPY text is text"))
}

fn plain(input: &str) -> Result<String, String> {
    lines(input.as_bytes(), columns(&[("a", ColumnKind::Plain), ("b", ColumnKind::Plain)]))
}

#[test]
fn values_keep_what_they_are() {
    for (input, expected) in [
        (r#"{"a":1,"b":"x"}"#, "1\tx\n"),
        (r#"{"b":"x","a":1.10e+007}"#, "1.10e+007\tx\n"),
        (r#"{"a":123456789012345678901234567890.10}"#, "123456789012345678901234567890.10\t\\N\n"),
        (r#"{}{"a":null}  {"c":{"a":5},"b":true}"#, "\\N\t\\N\n\\N\t\\N\n\\N\ttrue\n"),
        (r#" { "a" : "" , "b" : "\\N" } "#, "\t\\\\N\n"),
        (r#"{"a":1,"a":2}"#, "2\t\\N\n"),
        (
            "{\"a\":{\"x\":[1,\n2]},\"b\":\"t\\tn\\nr\\r\\\"\\/\\b\\f\\u0041\\ud83d\\ude00\"}",
            "{\"x\":[1,\\n2]}\tt\\tn\\nr\\r\"/\u{8}\u{c}A😀\n",
        ),
        (r#"{"a":{"s":"\n"},"b":"\u005c\u0009"}"#, "{\"s\":\"\\\\n\"}\t\\\\\\t\n"),
        ("{\"a\":-1.5,\n\"b\":2E-3}\n{\"a\":-0.0}", "-1.5\t2E-3\n-0.0\t\\N\n"),
        (r#"{"\u0061":1}"#, "1\t\\N\n"),
        ("", ""),
        (" \n ", ""),
    ] {
        assert_eq!(plain(input), Ok(expected.to_owned()), "{input}");
    }
}

#[test]
fn json_and_arrays_are_written_as_their_columns_take_them() {
    let kinds = || {
        columns(&[
            ("j", ColumnKind::Json),
            ("t", ColumnKind::Array { json: false }),
            ("k", ColumnKind::Array { json: true }),
        ])
    };
    let line = lines(br#"{"j":"x","t":["a\"\\,\n",null,"NULL",1.0,[true]],"k":[{"a":[1]},"s",null]}"#, kinds());
    let expected = concat!(
        "\"x\"\t",
        r#"{"a\\"\\\\,\n",NULL,"NULL",1.0,{true}}"#,
        "\t",
        r#"{"{\\"a\\":[1]}","\\"s\\"",NULL}"#,
        "\n"
    );
    assert_eq!(line, Ok(expected.to_owned()));
    assert_eq!(lines(br#"{"j":[1],"t":"{1}","k":[]}"#, kinds()), Ok("[1]\t{1}\t{}\n".to_owned()));
}

#[test]
fn what_is_no_record_is_named_by_its_number_and_column() {
    for (input, parts) in [
        (r#"{"a":1} [1]"#, &["record 2: it is no JSON object"][..]),
        ("1", &["record 1: it is no JSON object", "integer `1`"]),
        (r#"{"a":1}{"a":x}"#, &["record 2: it is no JSON"]),
        (r#"{"a":1}{"a":"x"#, &["record 2: it is no JSON: EOF"]),
        (r#"{"a":1}{"b":"\u0000"}"#, &["record 2, column `b`: found the character NUL"]),
        (r#"{"a":"\ud83d"}"#, &["record 1, column `a`: found half a character, `\\ud83d`"]),
        (r#"{"a":"\ud83dA"}"#, &["half a character"]),
        ("{\"a\":\"\n\"}", &["record 1: it is no JSON: control character"]),
        (r#"{"a":01}"#, &["record 1: it is no JSON"]),
    ] {
        let message = plain(input).expect_err(input);
        assert!(parts.iter().all(|part| message.contains(part)) && !message.contains("at line"), "{input}: {message}");
    }
    let message = lines(b"{\"a\":\"\xff\"}", columns(&[("a", ColumnKind::Plain)])).expect_err("it is no UTF-8");
    assert!(message.starts_with("record 1: it is no JSON"), "{message}");
}

#[test]
fn input_and_output_larger_than_a_piece_are_the_same_rows() {
    let record = format!(r#"{{"a":"{}","b":1}}"#, "x".repeat(3000));
    let rows = lines(record.repeat(500).as_bytes(), columns(&[("a", ColumnKind::Plain), ("b", ColumnKind::Plain)]));
    assert_eq!(rows, Ok(format!("{}\t1\n", "x".repeat(3000)).repeat(500)));
    let large = format!(r#"{{"a":"{}"}}"#, "y".repeat(3 << 20));
    let rows = lines((large.clone() + &large).as_bytes(), columns(&[("a", ColumnKind::Plain)]));
    assert_eq!(rows, Ok(format!("{}\n", "y".repeat(3 << 20)).repeat(2)));
}

/// COPY's text format as its documentation has it, the other way.
fn decode(field: &str) -> Option<String> {
    if field == "\\N" {
        return None;
    }
    let (mut out, mut chars) = (String::new(), field.chars());
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next().expect("a backslash introduces something") {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'v' => '\u{b}',
                other => other,
            },
            c => c,
        });
    }
    Some(out)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_filter("PostgreSQL has no NUL", |s| !s.contains('\0')).prop_map(Value::from),
        "[\\\\\"\t\n\r/N.bu]{0,8}".prop_map(Value::from),
    ]
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

proptest! {
    #[test]
    fn any_object_comes_out_as_it_went_in(
        records in prop::collection::vec(prop::collection::vec(value(), 3), 0..5),
        names in prop::sample::subsequence(vec!["a", "é\"\\", "c", "x"], 3),
        ascii in any::<bool>(),
    ) {
        let input: String = records.iter().map(|values| {
            let object: Map<String, Value> = names.iter().map(|n| (*n).to_owned()).zip(values.iter().cloned()).collect();
            let text = Value::Object(object).to_string();
            // The same characters, all of them as escapes.
            if ascii { escape_all(&text) } else { text }
        }).collect();
        let kinds: Vec<(&str, ColumnKind)> = names.iter().map(|name| (*name, ColumnKind::Plain)).collect();
        let text = lines(input.as_bytes(), columns(&kinds)).expect("they are objects");
        let found: Vec<Vec<Option<String>>> =
            text.split_terminator('\n').map(|line| line.split('\t').map(decode).collect()).collect();
        let expected: Vec<Vec<Option<String>>> =
            records.iter().map(|values| values.iter().map(shown).collect()).collect();
        prop_assert_eq!(found, expected);
    }
}

fn escape_all(json: &str) -> String {
    let unit = |unit: &u16| format!("\\u{unit:04x}");
    json.chars()
        .map(|c| match c.is_ascii() {
            true => c.to_string(),
            false => c.encode_utf16(&mut [0; 2]).iter().map(unit).collect(),
        })
        .collect()
}
