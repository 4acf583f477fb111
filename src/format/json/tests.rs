//! What becomes of values, one by one; [`agreement`] has what holds of all of them.

pub(super) mod agreement;
mod coercions;
mod oracle;

use super::*;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_json::writer::{LineDelimited, WriterBuilder};

pub(super) fn openx() -> SerdeRules {
    SerdeRules::OpenX(OpenXRules::default())
}

pub(super) fn hive() -> SerdeRules {
    SerdeRules::Hive(HiveRules::default())
}

pub(super) fn table(columns: &[(&str, &str)], rules: SerdeRules) -> JsonTable {
    JsonTable::new(TableSchema::parse(columns.iter().copied()).unwrap(), rules)
}

/// A batch as lines of JSON, nulls included.
pub(super) fn lines(batch: &RecordBatch) -> String {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    String::from_utf8(writer.into_inner()).unwrap().trim_end().to_owned()
}

/// A record's rows as lines of JSON, or why it has none.
pub(super) fn read(table: &JsonTable, record: &[u8]) -> Result<String, NotConverted> {
    let mut reader = table.reader();
    reader.read(record)?;
    Ok(lines(&reader.flush()))
}

/// What a value becomes in a column of that type.
fn value(of: &str, rules: SerdeRules, json: &str) -> String {
    match read(&table(&[("v", of)], rules), format!("{{\"v\":{json}}}").as_bytes()) {
        Ok(line) => line.strip_prefix("{\"v\":").and_then(|l| l.strip_suffix('}')).unwrap().to_owned(),
        Err(why) => format!("{}: {}", why.code.strip_prefix("DataFormatConversion.").unwrap(), why.message),
    }
}

#[test]
fn values_become_what_openx_makes_of_them_or_are_refused() {
    for (of, json, expected) in [
        ("bigint", "9007199254740993.0", "9007199254740993"),
        ("bigint", "1e3", "1000"),
        ("bigint", "-9223372036854775808", "-9223372036854775808"),
        ("int", "\"+12\"", "12"),
        ("double", "1e-400", "0.0"),
        ("decimal(10,2)", "19.999", "20.00"),
        ("decimal(10,2)", "1.995", "2.00"),
        ("decimal(10,2)", "-0.009", "-0.01"),
        ("decimal(38,38)", "\"0.00000000000000000000000000000000000001\"", "0.00000000000000000000000000000000000001"),
        ("boolean", "\"TRUE\"", "true"),
        ("boolean", "\"false\"", "false"),
        ("string", "1.50", "\"1.50\""),
        ("string", "{\"Host\": [\"x\", 1.0]}", "\"{\\\"Host\\\": [\\\"x\\\", 1.0]}\""),
        ("string", "[]", "\"[]\""),
        ("string", "\"a\\u0000\\ud83d\\ude00\"", "\"a\\u0000😀\""),
        ("array<string>", "\"a\"", "[\"a\"]"),
        ("array<string>", "{\"name\":\"a\"}", "[\"{\\\"name\\\":\\\"a\\\"}\"]"),
        ("array<int>", "null", "null"),
        ("array<int>", "[1,null,\"3\"]", "[1,null,3]"),
        ("struct<a:int,b:string>", "[1]", "{\"a\":1,\"b\":null}"),
        ("struct<a:int,b:struct<c:int>>", "{\"B\":{\"C\":2},\"x\":[{}]}", "{\"a\":null,\"b\":{\"c\":2}}"),
        ("map<string,string>", "{\"a\":\"1\",\"b\":null,\"a\":\"2\"}", "{\"b\":null,\"a\":\"2\"}"),
        ("timestamp", "1493668022", "\"2017-05-01T19:47:02Z\""),
        ("timestamp", "1493668022112", "\"2017-05-01T19:47:02.112Z\""),
        ("timestamp", "1493668022.112", "\"2017-05-01T19:47:02.112Z\""),
        ("timestamp", "\"1493668022\"", "\"2017-05-01T19:47:02Z\""),
        ("timestamp", "\"2018-1-5 3:04:05\"", "\"2018-01-05T03:04:05Z\""),
        ("timestamp", "\"2018-01-05T03:04:05.123456789+02:00\"", "\"2018-01-05T01:04:05.123457Z\""),
        ("timestamp(9)", "\"2018-01-05T03:04:05.123456789Z\"", "\"2018-01-05T03:04:05.123456789Z\""),
        ("date", "\"2018-1-5\"", "\"2018-01-05\""),
        ("date", "17536", "\"2018-01-05\""),
        ("binary", "\"AAEC\"", "\"000102\""),
        ("varchar(3)", "\"äöü\"", "\"äöü\""),
    ] {
        assert_eq!(value(of, openx(), json), expected, "{of} {json}");
    }
    let malformed = "MalformedData: Data does not match the schema.";
    for (of, json, expected) in [
        ("int", "\"oops\"", "For input string: \"oops\". Column `v`: found `\"oops\"`, expected a number."),
        ("bigint", "1.5", "Column `v`: found `1.5`, expected a whole number, for bigint."),
        (
            "bigint",
            "9223372036854775808",
            "Column `v`: found `9223372036854775808`, expected a number in the range of bigint.",
        ),
        ("tinyint", "128", "Column `v`: found `128`, expected a number in the range of tinyint."),
        ("double", "1E400", "Column `v`: found `1E400`, expected a number in the range of double."),
        ("float", "1e39", "Column `v`: found `1e39`, expected a number in the range of float."),
        (
            "decimal(10,2)",
            "99999999.999",
            "Column `v`: found `99999999.999`, expected a number with at most 8 digits before the point.",
        ),
        ("boolean", "1", "Column `v`: found `1`, expected true or false."),
        (
            "struct<a:int>",
            "42",
            "Data is not JSONObject  but java.lang.Long with value 42. Column `v`: found `42`, expected an object.",
        ),
        ("struct<a:array<int>>", "{\"a\":[1,{}]}", "Column `v.a[1]`: found `{}`, expected a number."),
        (
            "struct<a:int>",
            "[1,2]",
            "Column `v[1]`: found `2`, expected an array of at most 1 elements, one for each member.",
        ),
        ("map<string,int>", "[1]", "Start of Object expected. Column `v`: found `[1]`, expected an object."),
        ("varchar(3)", "\"abcd\"", "Column `v`: found `\"abcd\"`, expected at most 3 characters."),
        (
            "date",
            "\"2018-02-30\"",
            "Column `v`: found `\"2018-02-30\"`, expected a day in the years 1 to 9999, such as 2026-11-20.",
        ),
        ("binary", "\"?\"", "Column `v`: found `\"?\"`, expected bytes in base64."),
        (
            "timestamp(9)",
            "\"2300-01-01\"",
            "Column `v`: found `\"2300-01-01\"`, expected a time in the years 1677 to 2262, which nanoseconds can count.",
        ),
        (
            "timestamp",
            "1529014095948999936",
            "Column `v`: found `1529014095948999936`, expected a time in the years 1 to 9999, in seconds or milliseconds since 1970.",
        ),
    ] {
        assert_eq!(value(of, openx(), json), format!("{malformed} {expected}"), "{of} {json}");
    }
    // A map whose keys are no strings has no JSON.
    let maps = table(&[("v", "map<int,string>")], openx());
    let mut reader = maps.reader();
    reader.read(br#"{"v":{"7":"x","8":null,"07":"y"}}"#).unwrap();
    let batch = reader.flush();
    let entries = batch.column(0).as_map().value(0);
    assert_eq!(entries.column(0).as_primitive::<Int32Type>().values(), &[8, 7]);
    assert_eq!(entries.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), [None, Some("y")]);
    let key = "InvalidRecord: Column `v`: found `x`, expected a number.";
    assert_eq!(value("map<int,string>", openx(), "{\"x\":\"\"}"), key);
}

#[test]
fn hive_and_strict_refuse_what_is_not_of_the_column() {
    let numeric = "Current token (VALUE_STRING) not numeric, can not use numeric value accessors";
    for (of, json, by_hive, by_strict) in [
        ("int", "\"12\"", numeric, "expected a number"),
        ("string", "12", "\"12\"", "expected a string"),
        ("string", "{}", "expected a string", "expected a string"),
        ("array<int>", "1", "java.io.IOException: Start of Array expected", "expected an array"),
        ("struct<a:int>", "[1]", "Start of Object expected", "expected an object"),
        ("struct<a:int>", "{\"A\":1}", "{\"a\":1}", "{\"a\":null}"),
        ("decimal(10,2)", "1.995", "2.00", "expected a number with at most 2 digits behind the point"),
        ("decimal(10,2)", "\"1.5\"", "1.50", "expected a number"),
        ("double", "9007199254740993", "9.007199254740992e15", "expected a number that a double holds"),
        ("timestamp", "\"2018-01-05T03:04:05Z\"", "expected a time", "\"2018-01-05T03:04:05Z\""),
        ("timestamp", "\"2018-1-5 3:04:05.5\"", "\"2018-01-05T03:04:05.500Z\"", "expected a time"),
        ("timestamp", "1493668022", "expected a time", "expected a time"),
        ("timestamp", "\"2018-01-05T03:04:05.1234567Z\"", "expected a time", "no more digits than the column has"),
        ("date", "\"2018-1-5\"", "\"2018-01-05\"", "expected a day"),
        ("boolean", "\"true\"", "expected true or false", "expected true or false"),
        ("map<string,int>", "{\"a\":1,\"a\":2}", "{\"a\":2}", "expected one value for a key"),
    ] {
        for (rules, expected) in [(hive(), by_hive), (SerdeRules::Strict, by_strict)] {
            let found = value(of, rules.clone(), json);
            let fits = if expected.starts_with(['"', '{', '[']) || expected.parse::<f64>().is_ok() {
                found == expected
            } else {
                found.contains(expected) && found.starts_with("MalformedData: ")
            };
            assert!(fits, "{of} {json} by {rules:?}: {found}, expected {expected}");
        }
    }
    let twice = read(&table(&[("v", "int")], SerdeRules::Strict), b"{\"v\":1,\"v\":1}").unwrap_err();
    assert!(twice.message.contains("Column `v`: found `another value`"), "{}", twice.message);
    let formats = ["yyyy/MM/dd", "millis"].map(|format| HiveTimestampFormat::parse(format).unwrap()).to_vec();
    let rules = SerdeRules::Hive(HiveRules { timestamp_formats: formats });
    assert_eq!(value("timestamp", rules.clone(), "\"2018/01/05\""), "\"2018-01-05T00:00:00Z\"");
    assert_eq!(value("timestamp", rules, "1493668022112"), "\"2017-05-01T19:47:02.112Z\"");
}

#[test]
fn keys_name_columns_by_the_serde_s_rules() {
    let columns = [("ts", "string"), ("service_name", "string"), ("agent", "string")];
    let keys = vec![("ts".to_owned(), "@Timestamp".to_owned())];
    let rules = OpenXRules { dots_to_underscores: true, keys, ..Default::default() };
    let record = br#"{"@timestamp":"t","Service.Name":"s","\u0061gent":"a","ts":"no"}"#;
    let read_by = |rules| read(&table(&columns, SerdeRules::OpenX(rules)), record).unwrap();
    assert_eq!(read_by(rules), r#"{"ts":"t","service_name":"s","agent":"a"}"#);
    assert_eq!(read_by(OpenXRules::default()), r#"{"ts":"no","service_name":null,"agent":"a"}"#);
    let exact = OpenXRules { case_insensitive: false, dots_to_underscores: true, keys: Vec::new() };
    assert_eq!(read_by(exact), r#"{"ts":"no","service_name":null,"agent":"a"}"#);

    let mut schema = TableSchema::parse(columns).unwrap();
    schema.columns[0].key = Some("@timestamp".into());
    let line = read(&JsonTable::new(schema, SerdeRules::Strict), record).unwrap();
    assert_eq!(line, r#"{"ts":"t","service_name":null,"agent":"a"}"#);
}

#[test]
fn a_key_of_two_columns_and_a_mapping_of_none_are_refused() {
    let check = |columns: &[(&str, &str)], keys: &[(&str, &str)], dots_to_underscores| {
        let keys = keys.iter().map(|(column, key)| (column.to_string(), key.to_string())).collect();
        let rules = OpenXRules { dots_to_underscores, keys, ..Default::default() };
        table(columns, SerdeRules::OpenX(rules)).check_keys()
    };
    let columns = [("a", "int"), ("b", "struct<c:int,d:int>")];
    assert_eq!(check(&columns, &[("A", "z"), ("d", "e")], false), Ok(()));
    for keys in [&[("a", "b")][..], &[("a", "x"), ("b", "X")], &[("c", "D")]] {
        assert!(check(&columns, keys, false).unwrap_err().contains("with the same key"), "{keys:?}");
    }
    assert!(check(&[("a_b", "int"), ("x", "int")], &[("x", "a.b")], true).unwrap_err().contains("`a_b` and `x`"));
    assert!(check(&columns, &[("nocol", "z")], false).unwrap_err().contains("found a mapping of `nocol`"));
    assert!(check(&columns, &[("a", "")], false).unwrap_err().contains("found an empty key for `a`"));
}

#[test]
fn what_the_schema_does_not_know_is_kept_where_that_is_asked_for() {
    let nested = "struct<a:int,l:array<struct<b:int>>,m:map<string,struct<c:int>>>";
    let with_extra = |name| table(&[("id", "int"), ("v", nested), ("x", "array<int>")], openx()).with_extra(name);
    assert!(with_extra("ID").is_err_and(|e| e.contains("found the column `ID`")));
    let table = with_extra("rest").unwrap();
    let rest = |record: &str| {
        let line = read(&table, record.as_bytes()).unwrap();
        let row: serde_json::Value = serde_json::from_str(&line).unwrap();
        row["rest"].as_str().map(str::to_owned)
    };
    assert_eq!(rest(r#"{"id":1,"X":[2],"v":{"A":1,"l":[{},{"b":2}],"m":{"k":{"c":3}}}}"#), None);
    assert_eq!(rest("{}"), None);
    let known_and_not = r#" { "id" : 1 , "new" : [ 1.0 , "\ud800" ] ,"v":{"z":null,"l":[{"b":1},{"q":"}"},null],"m":{"k":{"c":1},"n":{"d":{}}}}, "rest":7 } "#;
    let expected = r#"{"new":[ 1.0 , "\ud800" ],"v":{"z":null,"l":[null,{"q":"}"},null],"m":{"n":{"d":{}}}},"rest":7}"#;
    assert_eq!(rest(known_and_not).as_deref(), Some(expected));
    // One value for an array, an array for a struct, and a key that nothing is named for.
    assert_eq!(rest(r#"{"v":{"l":{"b":1,"e":2}}}"#).as_deref(), Some(r#"{"v":{"l":{"e":2}}}"#));
    assert_eq!(rest(r#"{"v":[1,[{"f":0}]]}"#).as_deref(), Some(r#"{"v":[null,[{"f":0}]]}"#));
    assert_eq!(rest(r#"{"\udc00":true}"#).as_deref(), Some(r#"{"\udc00":true}"#));
    let mut reader = table.reader();
    assert!(reader.read(br#"{"new":1}{"id":"?"}"#).is_err());
    assert_eq!(reader.read(br#"{"a":1}{"id":2}{"b":3}"#), Ok(3));
    let lines = lines(&reader.flush());
    let rests: Vec<_> = lines.lines().map(|line| line.split("\"rest\":").nth(1).unwrap()).collect();
    assert_eq!(rests, [r#""{\"a\":1}"}"#, "null}", r#""{\"b\":3}"}"#]);
}

#[test]
fn a_refused_record_leaves_nothing_in_the_rows_of_others() {
    let nested = "struct<a:int,l:array<struct<m:map<string,array<int>>,s:string>>>";
    let table = table(&[("id", "bigint"), ("v", nested), ("s", "string"), ("b", "boolean")], openx());
    let good = [
        r#"{"id":1,"v":{"a":1,"l":[{"m":{"x":[1,2]},"s":"p"}]},"s":"one","b":true}"#,
        r#"{"id":2}"#,
        r#"{"s":"drei","v":{"l":[{},{"s":"q\n"}]}}{"id":4,"b":false}"#,
    ];
    let bad = [
        r#"{"id":9,"v":{"a":1,"l":[{"m":{"x":[1,2,"?"]},"s":"p"}]},"s":"nine"}"#,
        r#"{"s":"nine","b":true,"id":9"#,
        r#"{"id":9,"s":"a","s":"half \x"}"#,
        r#"{"v":{"l":[{"m":{"k":[7]}}]},"b":true}{"id":{}}"#,
    ];
    let mut reader = table.reader();
    let mut expected = String::new();
    for round in 0..50 {
        for record in &good {
            assert_eq!(reader.read(bad[round % 4].as_bytes()).map_err(|_| ()), Err(()));
            reader.read(record.as_bytes()).unwrap();
            expected += &read(&table, record.as_bytes()).unwrap();
            expected += "\n";
        }
    }
    assert_eq!(lines(&reader.flush()), expected.trim_end());
}

#[test]
fn what_is_no_json_or_no_object_is_told_as_such() {
    let table = table(&[("v", "int")], openx());
    let code = |record: &[u8]| {
        let why = read(&table, record).expect_err(&String::from_utf8_lossy(record));
        (why.code.strip_prefix("DataFormatConversion.").unwrap(), why.message)
    };
    for record in [
        "\u{feff}{\"v\":1}".as_bytes(),
        b"{\"v\":NaN}",
        b"{\"v\":1,}",
        b"{\"v\":01}",
        b"{\"v\":1.}",
        b"{\"v\":+1}",
        b"{'v':1}",
        b"{v:1}",
        b"{\"v\":1}x",
        b"{\"v\":1} , {\"v\":2}",
        b"{\"v\" 1}",
        b"{\"v\":1",
        b"{\"v\":\"a",
        b"{\"x\":\"\\ud800\"",
        b"{\"x\":\"\x01\"}",
        b"{\"x\":[1}}",
        b"{\"x\":tru}",
        b"{\"v\":\"x\",]",
        b"nul",
        b"{\"x\":\"a\0\"}",
        b"{\"v\":1}\0",
    ] {
        let (code, message) = code(record);
        assert_eq!(code, "ParseError", "{}: {message}", String::from_utf8_lossy(record));
        assert!(message.starts_with("Encountered malformed JSON. At byte "), "{message}");
    }
    let whole = |record: &[u8], expected: &str| {
        let (code, message) = code(record);
        assert_eq!((code, message.starts_with(expected)), ("MalformedData", true), "{message}");
    };
    whole(b"", "The record was empty or contained only whitespace.");
    whole(b" \n\t ", "The record was empty or contained only whitespace.");
    whole(b"[{\"v\":1}]", "The input JSON contained an array at the top level.");
    whole(b"{\"v\":1} 7", "The input JSON contained a primitive at the top level.");
    whole(b"null", "The input JSON contained a primitive at the top level.");
    let long = format!("{{\"{}\":1}}", "k".repeat(262_145));
    whole(long.as_bytes(), "The record has a JSON key longer than 262144 bytes.");
    let record = "{\"x\":\"äöü😀\",\"v\":1}".as_bytes();
    for end in 1..record.len() {
        let broken = [&record[..end], b"\xff", &record[end..]].concat();
        whole(&broken, "The record is not valid UTF-8.");
    }
}

#[test]
fn half_of_a_surrogate_pair_is_refused_where_it_would_be_stored() {
    let table = table(&[("v", "string")], openx());
    for half in ["\\ud800", "\\udc00", "\\ud800x", "\\ud800\\ud800", "\\udbff\\u0041"] {
        let why = read(&table, format!("{{\"v\":\"{half}\"}}").as_bytes()).unwrap_err();
        assert!(why.message.contains("half of a surrogate pair"), "{half}: {}", why.message);
        let beside = format!("{{\"x\":\"{half}\",\"v\":\"a\"}}");
        assert_eq!(read(&table, beside.as_bytes()).unwrap(), "{\"v\":\"a\"}");
    }
}

#[test]
fn large_and_deep_records_are_read_in_linear_time_or_refused() {
    let table = table(&[("v", "double"), ("d", "decimal(38,0)"), ("s", "string"), ("a", "array<array<int>>")], openx());
    let digits = "1".repeat(10 << 20);
    let why = read(&table, format!("{{\"v\":{digits}}}").as_bytes()).unwrap_err();
    assert!(why.message.contains("expected a number in the range of double") && why.message.len() < 300);
    assert!(read(&table, format!("{{\"d\":{digits}}}").as_bytes()).is_err());
    let small = format!("{{\"v\":0.{digits},\"d\":{}1}}", "0".repeat(0));
    assert!(read(&table, small.as_bytes()).is_ok());
    let deep = |levels: usize| format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(read(&table, deep(1000).as_bytes()).is_ok());
    for record in [
        deep(1001),
        deep(100_000),
        format!("{{\"s\":{}", "{\"a\":".repeat(100_000)),
        format!("{{\"a\":{}", "[".repeat(100_000)),
    ] {
        assert!(read(&table, record.as_bytes()).is_err());
    }
}

#[test]
fn maps_in_maps_with_equal_keys_are_read_in_linear_time() {
    let depth = 30;
    let of = "map<string,".repeat(depth) + "int" + &">".repeat(depth);
    let record = format!("{{\"v\":{}1{}}}", "{\"a\":null,\"a\":".repeat(depth), "}".repeat(depth));
    let expected = format!("{{\"v\":{}1{}}}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert_eq!(read(&table(&[("v", &of)], openx()), record.as_bytes()).unwrap(), expected);
}

#[test]
fn a_few_bytes_do_not_make_many_gigabytes() {
    let members: Vec<String> = (0..2000).map(|i| format!("m{i}:string")).collect();
    let table = table(&[("v", &format!("array<struct<{}>>", members.join(",")))], openx());
    for element in ["{}", "null"] {
        let elements = vec![element; 3000].join(",");
        let why = read(&table, format!("{{\"v\":[{elements}]}}").as_bytes()).unwrap_err();
        assert!(
            why.message.starts_with("The record has more than ") && why.message.contains(" values, nulls included.")
        );
        let elements = vec![element; 30].join(",");
        assert!(read(&table, format!("{{\"v\":[{elements}]}}").as_bytes()).is_ok());
    }
    // Columns without a value share their nulls.
    let columns: Vec<String> = (0..1000).map(|i| format!("c{i}")).collect();
    let columns: Vec<_> = columns.iter().map(|name| (name.as_str(), "bigint")).collect();
    let wide = self::table(&columns, openx());
    let mut reader = wide.reader();
    (0..8).for_each(|_| assert_eq!(reader.read("{}".repeat(50).as_bytes()), Ok(50)));
    let batch = reader.flush();
    assert_eq!((batch.num_rows(), batch.column(999).null_count()), (400, 400));
    let data = |column: usize| batch.column(column).to_data().buffers()[0].as_ptr();
    assert_eq!(data(0), data(999));
}
