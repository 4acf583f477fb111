//! JSON to columns, end to end: what was put, as readers that we did not write find it.

use crate::rig::kinesis::client::Kinesis;
use crate::rig::kinesis::servers::KinesisLocal;
use crate::rig::service::{Service, variable};
use crate::source::kinesis::source::{reads, settled};
use hydrant::alarm::AlarmKind;
use hydrant::clock::wall_ms;
use serde_json::{Value, json};
use std::process::Command;

fn service(columns: &str, rest: &str) -> Service {
    let mut service = configured(columns, rest);
    service.restart();
    service
}

/// A stream that writes Parquet below `b/`, with that schema and what `format.parquet` has besides.
fn configured(columns: &str, rest: &str) -> Service {
    let service = Service::new();
    std::fs::write(service.dir.path().join("schema.yaml"), format!("columns:\n{columns}")).unwrap();
    service.configure(
        "",
        &format!(
            "  s:\n    format: {{ parquet: {{ schema: schema.yaml{rest} }} }}\n    buffer: {{ size: 1MiB, interval: 1s }}\n    \
             destination: {{ local: {{ dir: DIR/b, error_prefix: \"bad/\" }} }}\n"
        ),
    );
    service
}

/// The rows of all objects, as pyarrow and DuckDB read them alike.
fn rows(service: &Service) -> Vec<Value> {
    let files = service.objects("b").into_iter().map(|(name, _)| name).filter(|name| name.ends_with(".parquet"));
    let files: Vec<_> = files.map(|name| service.dir.path().join("b").join(name)).collect();
    let run = Command::new(variable("HYDRANT_TEST_PYTHON")).arg("tests/clients/rows.py").args(files).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The messages of error records, in the order of their records.
fn failures(service: &Service) -> Vec<String> {
    let mut failures: Vec<(String, String)> = Vec::new();
    for (_, bytes) in service.objects("b/bad") {
        for line in String::from_utf8(bytes).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let text =
                |member: &str| record[member].as_str().unwrap_or_else(|| panic!("{member} in {line}")).to_owned();
            failures.push((text("sequenceNumber"), text("lastErrorMessage")));
        }
    }
    failures.sort();
    failures.into_iter().map(|(_, message)| message).collect()
}

#[test]
fn what_people_s_json_has_becomes_what_they_mean_or_an_error_record() {
    let mut service = service(
        r#"  id: int
  eventname: string
  useridentity: "struct<type:string,accountid:string>"
  at: { type: timestamp, key: "@timestamp" }
  headers: "map<string,string>"
  params: string
  mfa: boolean
  authors: "array<string>"
  price: "decimal(10,2)"
  n: bigint
  nanos: timestamp(9)
  raw: binary
  day: date
  f: float
"#,
        "",
    );
    let records: [&[u8]; 12] = [
        br#"{"id":1,"eventName":"GetObject","userIdentity":{"type":"IAMUser","accountId":"111122223333"}}"#,
        br#"{"id":2,"@timestamp":1493668022,"headers":{"a":"1","a":"2"},"mfa":"TRUE","authors":"a"}"#,
        br#"{"id":3,"@timestamp":1493668022112,"params":{"bucketName":"b","Host":["x",1.0]},"authors":{"name":"a"}}"#,
        br#"{"id":4,"@timestamp":"2018-1-5 3:04:05","params":[],"price":19.999,"n":9007199254740993.0}"#,
        br#"{"id":5,"price":-0.009,"n":1e3,"nanos":"2018-01-05T03:04:05.123456789Z","raw":"AAEC","day":"2018-1-5","f":1.5}"#,
        br#"{"id":6,"@timestamp":1529014095948999936}"#,
        br#"{"id":7,"n":1.5}"#,
        br#"{"id":8,"authors":["a",{"b":[]}],"n":9223372036854775808}"#,
        b"{\"id\":9,\"params\":\"\xff\"}",
        br#"{"id":10,"n":}"#,
        b"{\"ID\":11,\"params\":7}\n{\"iD\":12,\"Params\":null} ",
        br#"{"id":13,"@timestamp":"9999-12-31T23:59:59.999999Z","day":"0001-01-01","f":3e-39}"#,
    ];
    assert_eq!(service.put("s", &records), 200);
    service.settled(12);
    let found = rows(&service);
    let expected = [
        (1, json!({"eventname": "GetObject", "useridentity": {"type": "IAMUser", "accountid": "111122223333"}})),
        (2, json!({"at": "2017-05-01T19:47:02", "headers": {"a": "2"}, "mfa": true, "authors": ["a"]})),
        (
            3,
            json!({"at": "2017-05-01T19:47:02.112000", "params": r#"{"bucketName":"b","Host":["x",1.0]}"#,
                   "authors": [r#"{"name":"a"}"#]}),
        ),
        (4, json!({"at": "2018-01-05T03:04:05", "params": "[]", "price": "20.00", "n": 9007199254740993u64})),
        (
            5,
            json!({"price": "-0.01", "n": 1000, "nanos": 1_515_121_445_123_456_789u64, "raw": "000102",
                   "day": "2018-01-05", "f": 1.5}),
        ),
        (11, json!({"params": "7"})),
        (12, json!({})),
        (13, json!({"at": "9999-12-31T23:59:59.999999", "day": "0001-01-01", "f": 3e-39f32 as f64})),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (row, (id, values)) in found.iter().zip(expected) {
        let row = row.as_object().unwrap();
        let filled: serde_json::Map<String, Value> = row
            .iter()
            .filter(|(name, value)| *name != "id" && !value.is_null())
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        assert_eq!((row["id"].as_i64(), Value::Object(filled)), (Some(id), values));
    }
    let failures = failures(&service);
    let parts =
        ["years 1 to 9999", "whole number", "range of bigint", "not valid UTF-8", "found `}`, expected a value"];
    assert_eq!(failures.len(), parts.len(), "{failures:#?}");
    for (failure, part) in failures.iter().zip(parts) {
        assert!(failure.contains(part), "{failure}, expected {part}");
    }
    // 19.999, -0.009 and 3e-39 as a float that is not normal.
    let status = service.status("s");
    assert_eq!(status.values_rounded, 2, "{status:?}");
    assert_eq!(status.alarms, []);
    let metrics = String::from_utf8(service.get("/metrics").unwrap().1).unwrap();
    assert!(metrics.contains("hydrant_values_rounded{DeliveryStreamName=\"s\"} 2"), "{metrics}");
}

#[test]
fn columns_that_stay_empty_while_keys_name_none_are_an_alarm_with_both() {
    let mut service = service("  id: int\n  user_name: string\n", "");
    let put = |service: &mut Service, record: &str, count: u64| {
        let records = vec![record.as_bytes(); count as usize];
        let before = service.status("s").accepted;
        assert_eq!(service.put("s", &records), 200);
        service.settled(before + count);
    };
    put(&mut service, r#"{"userName":"a","Id":1}"#, 99);
    assert_eq!(service.status("s").alarms, []);
    put(&mut service, r#"{"userName":"a","Id":1}"#, 1);
    let alarms = service.status("s").alarms;
    assert_eq!(alarms.iter().map(|alarm| alarm.kind).collect::<Vec<_>>(), [AlarmKind::ColumnsEmpty]);
    let expected = "the column `user_name` had no value in 100 rows, while the key `userName` named no column";
    assert_eq!(alarms[0].detail, expected);
    put(&mut service, r#"{"USER_NAME":"a"}"#, 1);
    service.until("the alarm ends", |s| s.status("s").alarms.is_empty());
    assert!(service.log().contains("alarm cleared"), "{}", service.log());
}

#[test]
fn what_the_schema_does_not_know_is_in_a_column_of_its_own() {
    let mut service =
        service("  id: int\n  user: \"struct<name:string>\"\n", ", extra: rest, writer: { dictionary: none }");
    let records: [&[u8]; 2] = [br#"{"id":1,"user":{"name":"a","mail":"b"},"new":[1]}"#, br#"{"id":2}"#];
    assert_eq!(service.put("s", &records), 200);
    service.settled(2);
    let expected = [
        json!({"id": 1, "user": {"name": "a"}, "rest": r#"{"user":{"mail":"b"},"new":[1]}"#}),
        json!({"id": 2, "user": null, "rest": null}),
    ];
    assert_eq!(rows(&service), expected);
}

#[test]
fn the_serde_of_a_stream_is_in_its_yaml_and_in_describe() {
    for (serde, expected) in [
        (
            "",
            json!({"OpenXJsonSerDe": {"CaseInsensitive": true, "ConvertDotsInJsonKeysToUnderscores": false,
                                       "ColumnToJsonKeyMappings": {}}}),
        ),
        (
            ", serde: { openx: { case_insensitive: false, column_to_json_key_mappings: { a: \"x-y\" } } }",
            json!({"OpenXJsonSerDe": {"CaseInsensitive": false, "ConvertDotsInJsonKeysToUnderscores": false,
                                      "ColumnToJsonKeyMappings": {"a": "x-y"}}}),
        ),
        (
            ", serde: { hive: { timestamp_formats: [millis, yyyy-MM-dd] } }",
            json!({"HiveJsonSerDe": {"TimestampFormats": ["millis", "yyyy-MM-dd"]}}),
        ),
        (", serde: strict", json!({"StrictJsonSerDe": {}})),
    ] {
        let service = service("  id: int\n  a: string\n", serde);
        let (status, body) = service.call("DescribeDeliveryStream", br#"{"DeliveryStreamName":"s"}"#).unwrap();
        assert_eq!(status, 200);
        let described: Value = serde_json::from_slice(&body).unwrap();
        let destination = &described["DeliveryStreamDescription"]["Destinations"][0];
        let conversion = &destination["ExtendedS3DestinationDescription"]["DataFormatConversionConfiguration"];
        assert_eq!(conversion["InputFormatConfiguration"]["Deserializer"], expected);
        assert_eq!(conversion["Enabled"], true);
    }
    let service = configured("  id: int\n", ", serde: { hive: { timestamp_formats: [yyyy-ww] } }");
    let (code, text) = service.command(&["check"]);
    assert!(code != 0 && text.contains("found `ww` in the pattern `yyyy-ww`"), "{text}");
}

#[test]
fn what_is_known_of_records_besides_their_bytes_is_in_columns() {
    let began = wall_ms();
    let mut service = service("  id: int\n", ", metadata: { arrival_time: at, stream: of, partition_key: key }");
    assert_eq!(service.put("s", &[br#"{"id":1}"#, br#"{"id":2}{"id":3}"#]), 200);
    service.settled(2);
    let rows = rows(&service);
    assert_eq!(rows.iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    for row in rows {
        let at: jiff::Timestamp = format!("{}Z", row["at"].as_str().unwrap()).parse().unwrap();
        assert!((began as i64..=wall_ms() as i64).contains(&at.as_millisecond()), "{row}");
        assert_eq!((&row["of"], &row["key"]), (&json!("s"), &Value::Null));
    }
    let config = "streams: { s: { format: { orc: { schema: schema.yaml, metadata: { stream: Id } } }, destination: { local: \
                  { dir: out } } } }";
    std::fs::write(service.dir.path().join("taken.yaml"), config).unwrap();
    let (code, text) = service.command_with(&["check", service.dir.path().join("taken.yaml").to_str().unwrap()]);
    assert!(code == 1 && text.contains("found the metadata column `Id`"), "{text}");
}

#[test]
fn of_records_from_kinesis_key_and_sequence_number_are_in_columns() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    let record = |n: usize| (format!("key {n}"), format!("{{\"id\":{n}}}").into_bytes());
    let alone = kinesis.put("s", &(0..3).map(record).collect::<Vec<_>>());
    // Records of an aggregate share its sequence number, and have keys of their own.
    let together = kinesis.put_aggregates("s", &(3..6).map(record).collect::<Vec<_>>(), 3);
    let mut service = Service::new();
    std::fs::write(service.dir.path().join("schema.yaml"), "columns:\n  id: int\n").unwrap();
    let metadata = "{ stream: of, partition_key: key, sequence_number: number, arrival_time: at }";
    let format = format!("format: {{ parquet: {{ schema: schema.yaml, metadata: {metadata} }} }}");
    service.configure("", &reads(&server.endpoint(), "").replace("format: lines", &format).replace("DIR/out", "DIR/b"));
    service.restart();
    settled(&mut service, 6);
    let mut rows = rows(&service);
    rows.sort_by_key(|row| row["id"].as_i64());
    assert_eq!(rows.len(), 6, "{rows:?}");
    for (n, row) in rows.iter().enumerate() {
        let number = &alone.get(n).unwrap_or(&together[0]).sequence_number;
        assert_eq!(
            (&row["of"], &row["key"], &row["number"]),
            (&json!("r"), &json!(format!("key {n}")), &json!(number))
        );
        assert!(row["at"].is_string(), "{row}");
    }
}
