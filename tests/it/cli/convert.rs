//! `hydrant convert` and `hydrant schema`: what a user tries first, without a service.

use crate::rig::service::{scale, variable};
use std::path::Path;
use std::process::Command;

/// Runs a command in a directory: its exit code, and what it printed, standard output first.
fn hydrant(dir: &Path, arguments: &[&str]) -> (i32, String) {
    let run = Command::new(variable("HYDRANT_TEST_BIN")).current_dir(dir).args(arguments).output().unwrap();
    let text = [run.stdout, run.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (run.status.code().unwrap(), text)
}

/// The rows of a file, as pyarrow and DuckDB read them alike.
fn rows(file: &Path) -> String {
    let run = Command::new(variable("HYDRANT_TEST_PYTHON")).arg("tests/clients/rows.py").arg(file).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn a_file_is_converted_as_a_stream_would_and_failures_are_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("clicks.json"), "{\"id\":1,\"price\":19.999}\n\n{\"id\":\"x\"}\n{\"ID\":2,\"Price\":\"3\"}\n")
        .unwrap();
    std::fs::write(at("table.sql"), "CREATE EXTERNAL TABLE t (id int, price decimal(10,2))").unwrap();
    let (code, text) = hydrant(dir.path(), &["convert", "clicks.json", "--schema", "table.sql"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("2 of 3 records in `clicks.parquet`, ") && text.contains("1 values were rounded"), "{text}");
    assert!(
        text.contains("1 failed, in `clicks.parquet.failed.jsonl`; the first: record 2: DataFormatConversion."),
        "{text}"
    );
    assert_eq!(rows(&at("clicks.parquet")), "{\"id\": 1, \"price\": \"20.00\"}\n{\"id\": 2, \"price\": \"3.00\"}\n");
    let failed = std::fs::read_to_string(at("clicks.parquet.failed.jsonl")).unwrap();
    let failed: serde_json::Value = serde_json::from_str(failed.trim()).unwrap();
    assert_eq!(failed["rawData"], base64_simd::STANDARD.encode_to_string("{\"id\":\"x\"}"));

    let (code, text) = hydrant(dir.path(), &["convert", "clicks.json", "--schema", "table.sql"]);
    assert!(code == 1 && text.contains("`clicks.parquet` is there already; `--force` replaces it"), "{text}");
    let (code, text) =
        hydrant(dir.path(), &["convert", "clicks.json", "--schema", "table.sql", "--force", "--serde", "strict"]);
    let complaint = "had no value in 1 row, while the keys `ID`, `Price` named no column";
    assert!(code == 1 && text.contains("1 of 3 records") && text.contains(complaint), "{text}");

    let config = "streams: { s: { format: { parquet: { schema: table.sql } }, destination: { local: { dir: out } } }, \
                  l: { format: lines, destination: { local: { dir: out } } } }";
    std::fs::write(at("hydrant.yaml"), config).unwrap();
    let gzip = Command::new("gzip").arg("-k").arg(at("clicks.json")).status().unwrap();
    assert!(gzip.success());
    let arguments =
        ["convert", "clicks.json.gz", "--config", "hydrant.yaml", "--stream", "s", "-o", "by-config.parquet"];
    assert_eq!(hydrant(dir.path(), &arguments).0, 1);
    assert_eq!(rows(&at("by-config.parquet")).lines().count(), 2);
    let arguments = ["convert", "clicks.json", "--config", "hydrant.yaml", "--stream", "l"];
    assert_eq!(hydrant(dir.path(), &arguments), (0, "3 of 3 records in `clicks.out`, 56 bytes\n".into()));
    let (code, text) = hydrant(dir.path(), &["convert", "clicks.json", "--config", "hydrant.yaml", "--stream", "x"]);
    assert!(code == 1 && text.contains("`hydrant.yaml` has no stream `x`"), "{text}");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".partial")), "{left:?}");
}

#[test]
fn a_file_whose_lines_are_no_records_is_told_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("table.sql"), "CREATE EXTERNAL TABLE t (id int)").unwrap();
    std::fs::write(dir.path().join("array.json"), "[\n{\"id\": 1\n},\n{\"id\": 2\n}\n]\n").unwrap();
    let (code, text) = hydrant(dir.path(), &["convert", "array.json", "--schema", "table.sql"]);
    assert!(code == 1 && text.contains("0 of 6 records") && text.contains("each line is a record"), "{text}");
}

#[test]
fn a_line_may_be_larger_than_a_record_of_a_put() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("table.sql"), "CREATE EXTERNAL TABLE t (id int, pad string)").unwrap();
    let large = |text: &str| text.repeat(10 << 20);
    let lines = format!("{{\"id\":1,\"pad\":\"{}\"}}\n{{\"id\":{}}}\n{{\"id\":3}}\n", large("x"), large("9"));
    std::fs::write(dir.path().join("large.json"), lines).unwrap();
    let (code, text) = hydrant(dir.path(), &["convert", "large.json", "--schema", "table.sql"]);
    assert!(code == 1 && text.contains("2 of 3 records") && text.contains("the first: record 2"), "{text}");
    let expected = format!("{{\"id\": 1, \"pad\": \"{}\"}}\n{{\"id\": 3, \"pad\": null}}\n", large("x"));
    assert!(rows(&dir.path().join("large.parquet")) == expected);
}

#[test]
fn orc_files_hold_what_parquet_files_hold_as_two_readers_find_it() {
    let dir = tempfile::tempdir().unwrap();
    let python = |arguments: &[&str]| {
        let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/orc.py");
        let mut run = Command::new(variable("HYDRANT_TEST_PYTHON"));
        let run = run.current_dir(dir.path()).arg(client).args(arguments).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        run.stdout
    };
    std::fs::copy("tests/clients/orc-columns.yaml", dir.path().join("columns.yaml")).unwrap();
    std::fs::write(dir.path().join("rows.json"), python(&["rows", "12000", "1"])).unwrap();
    let mut files = Vec::new();
    for compression in ["parquet", "none", "snappy", "zlib", "zstd"] {
        let format = match compression {
            "parquet" => "parquet: { schema: columns.yaml }".to_owned(),
            codec => format!(
                "orc: {{ schema: columns.yaml, compression: {codec}, writer: {{ row_index_stride: 1000, stripe_size: 1MiB }} }}"
            ),
        };
        let config =
            format!("streams: {{ s: {{ format: {{ {format} }}, destination: {{ local: {{ dir: out }} }} }} }}");
        std::fs::write(dir.path().join("hydrant.yaml"), config).unwrap();
        let arguments = ["convert", "rows.json", "--config", "hydrant.yaml", "--stream", "s", "-o", compression];
        let (code, text) = hydrant(dir.path(), &arguments);
        assert!(code == 0 && text.starts_with("12000 of 12000 records"), "{compression}: {text}");
        files.push(compression);
    }
    python(&[&["compare"], files.as_slice()].concat());
    if scale() < 1.0 {
        return;
    }
    // Apache's own libraries, which know files by their ends.
    let rows_of = |compression: &str| {
        let file = dir.path().join(compression);
        let ended = file.with_extension(if compression == "parquet" { "parquet" } else { "orc" });
        std::fs::rename(file, &ended).unwrap();
        let mut java = Command::new("java");
        java.args(["-cp", &variable("HYDRANT_TEST_COLUMNS_JAVA"), "Columns"]);
        if compression != "parquet" {
            java.args(["--seek", "--where", "id", "2500", "2600"]);
        }
        let run = java.arg(ended).output().unwrap();
        let told = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success(), "{compression}: {told}");
        assert!(compression == "parquet" || told.contains("101 match") && !told.contains("12000 of"), "{told}");
        run.stdout
    };
    let wanted = rows_of("parquet");
    assert_eq!(wanted.split(|byte| *byte == b'\n').count(), 12_001);
    for compression in &files[1..] {
        assert!(rows_of(compression) == wanted, "parquet-java and ORC's Java library differ on {compression}");
    }
}

#[test]
fn a_time_that_orc_cannot_hold_is_an_error_record() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("columns.yaml"), "columns: { id: int, at: timestamp }").unwrap();
    let times =
        ["1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.0001Z", "1969-12-31T23:59:58.5Z", "1970-01-01T00:00:00Z"];
    let records = (1..).zip(times).map(|(id, at)| format!("{{\"id\":{id},\"at\":\"{at}\"}}\n"));
    std::fs::write(dir.path().join("rows.json"), records.collect::<String>()).unwrap();
    let config = "streams: { s: { format: { orc: { schema: columns.yaml } }, destination: { local: { dir: out } } } }";
    std::fs::write(dir.path().join("hydrant.yaml"), config).unwrap();
    let (code, text) = hydrant(dir.path(), &["convert", "rows.json", "--config", "hydrant.yaml", "--stream", "s"]);
    assert!(code == 1 && text.contains("3 of 4 records in `rows.orc`"), "{text}");
    assert!(text.contains("record 1: DataFormatConversion.MalformedData") && text.contains("before 1970"), "{text}");
}

#[test]
fn a_schema_is_inferred_from_samples_of_every_kind_and_holds_them() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(
        at("lines.json"),
        "{\"id\":1,\"@time\":\"2026-11-20T12:30:00Z\"}\n{\"id\":\n{\"id\":2,\"tags\":[\"a\"]}\n",
    )
    .unwrap();
    std::fs::write(at("array.json"), "[\n  {\"id\": 3, \"user\": {\"name\": \"a\"}},\n  {\"ID\": 4}\n]\n").unwrap();
    let raw = base64_simd::STANDARD.encode_to_string("{\"id\":\"five\"}");
    std::fs::write(at("failed.json"), format!("{{\"attemptsMade\":1,\"errorCode\":\"c\",\"rawData\":\"{raw}\"}}\n"))
        .unwrap();
    let (code, text) = hydrant(dir.path(), &["schema", "infer", "lines.json", "array.json", "failed.json"]);
    let expected = "# `id` is an integer in lines.json:1 (4 of 5), and a text in failed.json:1:1 (1 of 5): taken as text\n\
                    columns:\n  id: string  # in every record\n  time: { type: timestamp, key: \"@time\" }  # in 1 of 5 records\n  \
                    tags: \"array<string>\"  # in 1 of 5 records\n  user: \"struct<name:string>\"  # in 1 of 5 records\n";
    assert_eq!(code, 1, "{text}");
    let (printed, wrong) = text.split_at(expected.len());
    assert_eq!(printed, expected);
    assert!(wrong.starts_with("lines.json:2: "), "{wrong}");

    std::fs::write(at("inferred.yaml"), printed).unwrap();
    let (code, text) = hydrant(dir.path(), &["convert", "lines.json", "--schema", "inferred.yaml"]);
    assert!(code == 1 && text.contains("2 of 3 records"), "{text}");
    let (code, text) = hydrant(dir.path(), &["schema", "show", "lines.parquet"]);
    assert_eq!(
        (code, text.as_str()),
        (0, "columns:\n  id: string\n  time: timestamp\n  tags: \"array<string>\"\n  user: \"struct<name:string>\"\n")
    );
    let (code, text) = hydrant(dir.path(), &["schema", "diff", "inferred.yaml", "lines.parquet"]);
    assert_eq!((code, text.as_str()), (1, "! time: key `@time` -> key `time`\n"));
    assert_eq!(hydrant(dir.path(), &["schema", "diff", "inferred.yaml", "inferred.yaml"]), (0, String::new()));
    std::fs::write(at("bad.sql"), "create table t (\n  a strng)").unwrap();
    let (code, text) = hydrant(dir.path(), &["schema", "show", "bad.sql"]);
    assert!(code == 1 && text.contains("bad.sql:2:5: ") && text.contains("found `strng)`"), "{text}");
}

#[test]
fn schemas_without_end_and_samples_of_any_shape_end_nothing_but_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let step = |i: usize| {
        let properties: Vec<String> = (0..4).map(|p| format!(r##""p{p}":{{"$ref":"#/$defs/d{}"}}"##, i + 1)).collect();
        format!(r#""d{i}":{{"properties":{{{}}}}}"#, properties.join(","))
    };
    let steps: Vec<String> = (0..12).map(step).collect();
    let last = r#""d12":{"type":"integer"}"#;
    write("wide.json", &format!(r##"{{"$defs":{{{},{last}}},"$ref":"#/$defs/d0"}}"##, steps.join(",")));
    let record =
        (1..12).fold(r#"{"type":"record","name":"R0","fields":[{"name":"a","type":"int"}]}"#.to_owned(), |inner, i| {
            let others: Vec<String> = (1..6).map(|f| format!(r#"{{"name":"f{f}","type":"R{}"}}"#, i - 1)).collect();
            format!(
                r#"{{"type":"record","name":"R{i}","fields":[{{"name":"f0","type":{inner}}},{}]}}"#,
                others.join(",")
            )
        });
    write("wide.avsc", &record);
    for (file, message) in [
        ("wide.json", "at most 100000 types"),
        ("wide.avsc", "at most 100000 types"),
        ("/dev/zero", "expected a file of at most"),
    ] {
        let (code, text) = hydrant(dir.path(), &["schema", "show", file]);
        assert!(code == 1 && text.contains(message), "{file}: {text}");
    }

    write("arrays.json", &format!("{}{}", "[".repeat(60_000), "]".repeat(60_000)));
    let (code, text) = hydrant(dir.path(), &["schema", "infer", "arrays.json"]);
    assert!(code == 1 && text.contains("found an array in an array"), "{}", &text[..text.len().min(500)]);
    write("open.json", &"{\"a\":\n".repeat(20_000));
    let (code, text) = hydrant(dir.path(), &["schema", "infer", "open.json"]);
    assert!(code == 1 && text.contains("91 more could not be read"), "{}", &text[..text.len().min(500)]);

    let odd = "{\"@t\":\"0001-01-01T00:00:00.0000000Z\",\"t\":1,\"\":2,\"a.b\":1,\"a_b\":2,\"x\\ny: int\":[],\"h\":1e400,\"n\":{\"\":1,\"k\":2}}\n";
    write("odd.json", odd);
    let (code, text) = hydrant(dir.path(), &["schema", "infer", "odd.json"]);
    assert_eq!(code, 0, "{text}");
    write("odd.yaml", &text);
    assert!(
        text.contains("t_2: { type: timestamp, key: \"@t\" }") && text.contains("column: { type: bigint, key: \"\" }"),
        "{text}"
    );
    let (code, text) = hydrant(dir.path(), &["convert", "odd.json", "--schema", "odd.yaml"]);
    assert!(code == 0 && text.starts_with("1 of 1 records"), "{text}");
}
