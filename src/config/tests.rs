use super::definition::Definition;
use super::*;
use crate::destination::DestinationKind;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn no_env(_: &str) -> Option<String> {
    None
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).expect(folder);
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect(folder).path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

fn parse_here(text: &str) -> Result<Config, Errors> {
    parse(text, "t.yaml", &root().join("config"), &|name| (name == "SET").then(|| "value".to_string()))
}

fn stream(text: &str) -> StreamConfig {
    let mut config = parse_here(&format!("streams: {{ s: {text} }}")).expect(text);
    config.streams.remove("s").expect("the stream that was just given")
}

const LOCAL: &str = "destination: { local: { dir: out } }";

#[test]
fn every_bad_file_gets_exactly_the_messages_it_names() {
    let files = yaml_files("tests/data/bad_config");
    assert!(files.len() >= 20, "{} files", files.len());
    let mut wrong = Vec::new();
    for path in &files {
        let text = std::fs::read_to_string(path).expect("a file that was just listed");
        let expected: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("# expect: ")).collect();
        let base_dir = path.parent().expect("a file in a folder");
        let found = match parse(&text, "", base_dir, &no_env) {
            Ok(_) => Vec::new(),
            Err(errors) => {
                let text = errors.to_string().replace(&format!("{}/", base_dir.display()), "");
                text.lines().map(|line| line.trim_start_matches(':').to_string()).collect()
            }
        };
        if expected.is_empty() || found != expected {
            wrong.push(format!("{}\n  expected {expected:#?}\n  found    {found:#?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_example_loads_without_any_environment() {
    for path in yaml_files("config") {
        if path.ends_with("clicks-schema.yaml") {
            let columns = load_columns(&path).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!((columns[0].name.as_str(), columns[0].type_text.as_str()), ("id", "bigint"));
        } else {
            load(&path, &no_env).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

#[test]
fn the_values_of_the_reference_are_the_defaults() {
    let reference = load(&root().join("config/reference.yaml"), &no_env).unwrap_or_else(|e| panic!("{e}"));
    let defaults = parse_here("streams: { clicks: { destination: { s3: { bucket: lake } } } }").expect("defaults");
    assert_eq!(json!(reference), json!(defaults));
}

#[test]
fn the_reference_names_every_key() {
    let reference = std::fs::read_to_string(root().join("config/reference.yaml")).expect("reference.yaml");
    let mut keys = BTreeSet::new();
    properties(&serde_json::from_str(&json_schema()).expect("a schema is JSON"), &mut keys);
    assert!(keys.contains("error_prefix") && keys.contains("max_calls"), "{keys:?}");
    let absent: Vec<&String> = keys.iter().filter(|key| !reference.contains(&format!("{key}:"))).collect();
    assert!(absent.is_empty(), "{absent:?}");
}

#[test]
fn the_pin_of_the_reference_is_that_of_the_blueprint() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect(path);
    let sums = read("transforms/blueprints/SHA256SUMS");
    let sum = sums.lines().find_map(|line| line.strip_suffix("  mask.wasm")).expect("the sum of mask.wasm");
    assert!(read("config/reference.yaml").contains(&format!("sha256: {sum} ")), "{sum}");
}

fn properties(schema: &Value, keys: &mut BTreeSet<String>) {
    let children =
        schema.as_object().into_iter().flat_map(|o| o.values()).chain(schema.as_array().into_iter().flatten());
    children.for_each(|child| properties(child, keys));
    if let Some(own) = schema.get("properties").and_then(Value::as_object) {
        keys.extend(own.keys().cloned());
    }
}

#[test]
fn the_schema_in_the_repository_is_the_one_of_the_types() {
    let path = root().join("config/schema.json");
    if std::env::var_os("HYDRANT_WRITE_SCHEMA").is_some() {
        #[expect(clippy::disallowed_methods, reason = "a file of the checkout")]
        std::fs::write(&path, json_schema()).expect("write config/schema.json");
    }
    let stored = std::fs::read_to_string(&path).expect("config/schema.json");
    assert_eq!(stored, json_schema(), "HYDRANT_WRITE_SCHEMA=1 with this test writes the new one");
}

#[test]
fn an_empty_file_is_the_default_configuration() {
    for text in ["", "# nothing\n", "streams:\n", "api:\nmemory: 192MiB\n"] {
        assert_eq!(json!(parse_here(text).expect(text)), json!(Config::default()), "{text}");
    }
}

#[test]
fn values_are_replaced_after_parsing_and_only_values() {
    let config = parse_here(
        r#"
data_dir: "/${env:SET}/${env:UNSET:-a: b # c}/$${x}"
api: { max_connections: "${env:UNSET:-7}", account: 000000000012 }
"#,
    )
    .expect("replacements");
    assert_eq!(config.data_dir, Path::new("/value/a: b # c/${x}"));
    assert_eq!((config.api.max_connections, config.api.account.as_str()), (7, "000000000012"));
    let key = parse_here("streams: { \"${env:SET}\": { destination: { local: { dir: out } } } }");
    assert!(key.expect_err("a key is not replaced").to_string().contains("stream name `${env:SET}`"));
}

#[test]
fn what_was_put_in_and_secrets_are_never_shown() {
    let texts = [
        "api: { max_connections: \"${env:SET}\" }",
        "api: { access_keys: value }",
        "api: { access_keys: { A: [value] } }",
        "api: { access_keys: { A: { secret: { value: 1 } } } }",
        "streams: { s: { destination: { s3: { bucket: b, secret_access_key: [value] } } } }",
    ];
    for text in texts {
        let errors = parse_here(text).expect_err(text).to_string();
        assert!(!errors.contains("value:") && !errors.contains("`value`"), "{errors}");
    }
    let config = parse_here("api: { access_keys: { A: hush-hush } }").expect("a key");
    assert!(!format!("{config:?} {}", json!(config)).contains("hush"), "{config:?}");
}

#[test]
fn names_of_variants_stand_for_their_defaults() {
    let plain = stream(&format!("{{ format: lines, compress: gzip, {LOCAL} }}"));
    let long = stream(&format!("{{ format: {{ lines: }}, compress: {{ gzip: {{ level: 1 }} }}, {LOCAL} }}"));
    assert_eq!(json!(plain), json!(long));
    assert_eq!(plain.compress, Compress::Gzip(Gzip { level: 1 }));
}

#[test]
fn the_config_of_a_transform_is_json_as_yaml_says() {
    let module = "module: ../transforms/blueprints/mask.wasm";
    let config = "{ n: 1, f: -1.5, b: true, z: ~, s: \"1\", e: \"${env:SET}\", zip: 01234, l: [x, {}] }";
    let stream = stream(&format!("{{ transform: [{{ wasm: {{ {module}, config: {config} }} }}], {LOCAL} }}"));
    let Transform::Wasm(wasm) = &stream.transform[0];
    let expected =
        json!({ "n": 1, "f": -1.5, "b": true, "z": null, "s": "1", "e": "value", "zip": "01234", "l": ["x", {}] });
    assert_eq!(wasm.config, Some(expected));
    assert!(wasm.module.is_file(), "{:?} is relative to the configuration", wasm.module);
}

#[test]
fn parquet_buffers_are_large_unless_told_otherwise() {
    let parquet = "format: { parquet: { schema: clicks-schema.yaml } }";
    assert_eq!(stream(&format!("{{ {parquet}, {LOCAL} }}")).buffer.size, ByteSize::mib(128));
    let small = stream(&format!("{{ {parquet}, buffer: {{ size: 2MiB }}, {LOCAL} }}"));
    assert_eq!((small.buffer.size, small.buffer.interval), (ByteSize::mib(2), Duration::from_secs(300)));
}

#[test]
fn a_backup_of_mode_none_is_none() {
    let none = stream(&format!("{{ backup: {{ mode: none }}, {LOCAL} }}"));
    assert!(none.backup.is_none());
    let all = stream(&format!("{{ backup: {{ s3: {{ bucket: raw }}, compress: gzip }}, {LOCAL} }}"));
    assert_eq!(all.backup.expect("a backup").destination.kind(), DestinationKind::S3);
}

#[test]
fn a_stream_is_read_back_from_its_json() {
    let first = stream(&format!("{{ backup: {{ s3: {{ bucket: raw, sse: {{ kms_key_id: k }} }} }}, {LOCAL} }}"));
    let again = stream(&json!(first).to_string());
    assert_eq!(json!(first), json!(again));
}

#[test]
fn aliases_and_merge_keys_share_settings() {
    let text = "
streams:
  a: { destination: { s3: &lake { bucket: lake, region: eu-west-1 } } }
  b: { destination: { s3: { <<: *lake, bucket: other } } }
";
    let config = parse_here(text).expect("aliases");
    let Destination::S3(s3) = &config.streams["b"].destination else { panic!("{config:?}") };
    assert_eq!((s3.bucket.as_str(), s3.region.as_str()), ("other", "eu-west-1"));
}

#[test]
fn aliases_cannot_grow_without_bound() {
    let mut text = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_string();
    for i in 1..10 {
        text += &format!("b{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", "));
    }
    assert!(parse_here(&text).expect_err("a bomb").to_string().contains("more than 200000 values"));
    let deep = "[".repeat(200);
    assert!(parse_here(&format!("a: {deep}")).is_err());
}

#[test]
fn only_what_decides_bytes_and_places_is_in_an_epoch() {
    let hash = |path: &Path| format!("hash of {}", path.file_name().expect("a file").display());
    let live = "endpoint: http://h:1, access_key_id: a, secret_access_key: b, timeout: 5s, concurrency: 9";
    let text = |live: &str, buffer: &str, limits: &str| {
        format!(
            "{{ transform: [{{ wasm: {{ module: ../transforms/blueprints/mask.wasm, limits: {limits} }} }}],
               format: {{ parquet: {{ schema: clicks-schema.yaml }} }}, buffer: {buffer}, disk_budget: 1GiB,
               destination: {{ s3: {{ bucket: b, {live} }} }}, backup: {{ local: {{ dir: d, prefix: p }} }} }}"
        )
    };
    let epoch = stream(&text(live, "{}", "{}")).definition(&hash);
    assert_eq!(epoch, stream(&text("", "{ size: 1MiB }", "{ timeout: 2s }")).definition(&hash));
    assert_ne!(epoch, stream(&text("prefix: x", "{}", "{}")).definition(&hash));
    assert_ne!(epoch, stream(&text("", "{}", "{ memory: 1MiB }")).definition(&hash));
    let expected = json!({
        "transform": [{ "wasm": {
            "module": "hash of mask.wasm", "config": null, "max_records": 500, "max_bytes": 3 << 20,
            "memory": 64 << 20, "output": 16 << 20, "isolate_max_calls": 64, "wasi": "auto",
        }}],
        "partition": null,
        "format": { "parquet": {
            "schema": "hash of clicks-schema.yaml",
            "compression": "snappy",
            "serde": { "openx": {
                "case_insensitive": true,
                "convert_dots_in_json_keys_to_underscores": false,
                "column_to_json_key_mappings": {},
            } },
        } },
        "compress": "none",
        "time_zone": null,
        "file_extension": null,
        "destination": { "kind": "s3", "place": "b", "prefix": "", "error_prefix": null },
        "failures": null,
        "backup": { "kind": "local", "place": "d", "prefix": "p", "compress": "none" },
        "hydrant": env!("CARGO_PKG_VERSION"),
    });
    let value = |definition: &Definition| -> Value { serde_json::from_slice(&definition.to_json()).expect("JSON") };
    assert_eq!(value(&epoch), expected);
    assert_eq!(serde_json::from_value::<Definition>(expected).expect("what was written"), epoch);
    let http = "{ destination: { http: { url: 'http://h/', access_key: k, timeout: 5s } }, backup: { mode: failed, local: \
                { dir: d, error_prefix: 'e/!{firehose:error-output-type}/' }, compress: gzip } }";
    let epoch = value(&stream(http).definition(&hash));
    assert_eq!(epoch["destination"], json!({ "kind": "http", "place": "", "prefix": "", "error_prefix": null }));
    assert_eq!((&epoch["backup"], &epoch["failures"]["compress"]), (&Value::Null, &json!({ "gzip": { "level": 1 } })));
    assert_eq!(epoch["failures"]["error_prefix"], "e/!{firehose:error-output-type}/");
}

#[test]
fn an_access_key_opens_what_it_names() {
    let config = parse_here(
        "api: { access_keys: { A: s, B: { secret: s, actions: [PutRecord], streams: [\"clicks-*\", \"*x\"] } } }",
    )
    .expect("keys");
    let (a, b) = (&config.api.access_keys["A"], &config.api.access_keys["B"]);
    assert!(a.allows("DeleteDeliveryStream", Some("any")) && a.allows("ListDeliveryStreams", None));
    assert!(b.allows("PutRecord", Some("clicks-")) && b.allows("PutRecord", Some("box")));
    assert!(!b.allows("PutRecord", Some("clicks")) && !b.allows("PutRecordBatch", Some("clicks-1")));
    assert!(!b.allows("ListDeliveryStreams", None));
}

#[test]
fn columns_come_as_a_mapping_or_a_list_with_positions() {
    let list = "columns:\n  - { name: id, type: bigint }\n  - name: tags\n    type: array<string>\n";
    let columns = parse_columns_here(list);
    assert_eq!(columns, ["id bigint 2:23", "tags array<string> 4:11"]);
    assert_eq!(
        parse_columns_here("columns: { id: bigint, t: 'map<string,int>' }"),
        ["id bigint 1:16", "t map<string,int> 1:27"]
    );
}

fn parse_columns_here(text: &str) -> Vec<String> {
    let columns = schema::parse_columns(text, "s.yaml").unwrap_or_else(|e| panic!("{e}"));
    columns.iter().map(|c| format!("{} {} {}:{}", c.name, c.type_text, c.line, c.column)).collect()
}

#[test]
fn bad_columns_are_named() {
    let bad = "columns:\n  - { name: a b, type: int }\n  - { name: A }\n  - x\ncolums: {}\n";
    let errors = schema::parse_columns(bad, "s.yaml").expect_err("bad columns").to_string();
    let expected = "\
s.yaml:2:13: `columns[0].type`: found `a b`, expected a column name of letters, digits and `_`
s.yaml:3:5: `columns[1]`: found a mapping, expected a mapping with `name` and `type`
s.yaml:4:5: `columns[2]`: found `x`, expected a mapping with `name` and `type`
s.yaml:5:1: `colums`: unknown key, expected one of `columns`";
    assert_eq!(errors, expected);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let errors = load(Path::new("no/such.yaml"), &no_env).expect_err("no file").to_string();
    assert!(errors.starts_with("no/such.yaml: "), "{errors}");
}

#[test]
fn the_address_of_an_endpoint_is_taken_where_it_is_sent_as_it_is() {
    for url in [
        "https://h",
        "https://h?x=1",
        "https://H.example:443/x//y/",
        "http://h:80/a%20b/%C3%A9?x=%2F..&y=a+b&z=%27&w=..",
        "http://h/...;a=b/..c/d../!$&()*+,=:@~|'",
        "http://[::1]:8/",
        "http://[0:0::1]/",
        "http://127.0.0.1:1/",
        "http://münchen.example/",
        "http://a_b/",
    ] {
        stream(&format!("{{ destination: {{ http: {{ url: \"{url}\" }} }}, backup: {{ local: {{ dir: d }} }} }}"));
    }
}
