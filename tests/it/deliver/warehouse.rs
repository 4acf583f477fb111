//! The warehouse sinks: against a real PostgreSQL, for Redshift behind a front that carries out its COPY
//! ([`crate::rig::redshift_front`]), with a real S3 between.

mod faults;
mod once;
mod refusals;

use crate::deliver::s3;
use crate::rig::eye::{self, Eye};
use crate::rig::postgres::{Database, PASSWORD, RUNTIME, SHARED, USER};
use crate::rig::redshift_front::Front;
use hydrant::config::{Postgres, Redshift, WarehouseInput, WarehouseTls, WarehouseTlsMode};
use hydrant::deliver::warehouse::{Warehouse, manifest};
use hydrant::deliver::{Attempt, Shipment, Sink};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where sinks load into if nothing else is said.
pub const TABLE: &str = "t";
pub const ROLE: &str = "arn:aws:iam::123456789012:role/copy";

fn no_tls() -> WarehouseTls {
    WarehouseTls { mode: WarehouseTlsMode::Disable, ca: None }
}

/// Settings for the table `t`.
fn postgres(database: &Database, eye: &Eye) -> Postgres {
    Postgres {
        url: format!("postgresql://127.0.0.1:{}/{}", database.server.port, database.name),
        table: TABLE.to_owned(),
        columns: Vec::new(),
        input: WarehouseInput::Json,
        username: USER.to_owned(),
        password: Some(PASSWORD.to_owned().into()),
        tls: no_tls(),
        s3: Box::new(eye::settings(&eye.bucket)),
        claims_table: "hydrant_loads".to_owned(),
        retry_duration: Duration::from_secs(3600),
        retry_every: Duration::from_secs(300),
        timeout: Duration::from_secs(60),
        concurrency: 1,
    }
}

/// Settings for the table `t`, behind a front at this address.
fn redshift(address: SocketAddr, database: &Database, eye: &Eye) -> Redshift {
    let like = postgres(database, eye);
    Redshift {
        url: format!("jdbc:redshift://{address}/{}", database.name),
        copy_options: "json 'auto'".to_owned(),
        role_arn: Some(ROLE.to_owned()),
        table: like.table,
        columns: like.columns,
        username: like.username,
        password: like.password,
        tls: like.tls,
        s3: like.s3,
        claims_table: like.claims_table,
        retry_duration: like.retry_duration,
        retry_every: like.retry_every,
        timeout: like.timeout,
        concurrency: like.concurrency,
    }
}

fn postgres_sink(settings: &Postgres, eye: &Eye) -> Warehouse {
    Warehouse::connect(settings.target(), Arc::new(eye.sink()), RUNTIME.handle().clone())
        .expect("the settings are sound")
}

fn redshift_sink(settings: &Redshift, eye: &Eye) -> Warehouse {
    Warehouse::connect(settings.target(), Arc::new(eye.sink()), RUNTIME.handle().clone())
        .expect("the settings are sound")
}

/// Either dialect, for what holds for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    Redshift,
}

pub const BOTH: [Dialect; 2] = [Dialect::Postgres, Dialect::Redshift];

impl Dialect {
    /// A database with what the dialect needs, and where it listens.
    pub fn front(self, database: &Database) -> (Option<Front>, SocketAddr) {
        match self {
            Dialect::Postgres => (None, ([127, 0, 0, 1], database.server.port).into()),
            Dialect::Redshift => {
                let front = Front::of(database);
                let address = front.address;
                (Some(front), address)
            }
        }
    }

    /// A sink for the table `t` that connects to `address`.
    fn sink(self, database: &Database, eye: &Eye, address: SocketAddr, timeout: Duration) -> Warehouse {
        self.sink_of(TABLE, database, eye, address, timeout)
    }

    /// The same for another table.
    pub fn sink_of(
        self,
        table: &str,
        database: &Database,
        eye: &Eye,
        address: SocketAddr,
        timeout: Duration,
    ) -> Warehouse {
        let table = table.to_owned();
        match self {
            Dialect::Postgres => {
                let url = format!("postgresql://{address}/{}", database.name);
                postgres_sink(&Postgres { url, table, timeout, ..postgres(database, eye) }, eye)
            }
            Dialect::Redshift => redshift_sink(&Redshift { table, timeout, ..redshift(address, database, eye) }, eye),
        }
    }

    pub fn code(self, code: &str) -> String {
        format!("{self:?}.{code}")
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // Two members, as an object has several.
    let (a, b) = bytes.split_at(bytes.len() / 2);
    let mut out = Vec::new();
    for part in [a, b] {
        let mut encoder = flate2::write::GzEncoder::new(&mut out, flate2::Compression::fast());
        encoder.write_all(part).expect("a vector takes everything");
        encoder.finish().expect("a vector takes everything");
    }
    out
}

fn gzipped(name: &str, bytes: &[u8]) -> Shipment {
    Shipment { content_encoding: Some("gzip"), ..s3::shipment(name, &gzip(bytes)) }
}

#[track_caller]
fn stored(attempt: Attempt) -> String {
    match attempt {
        Attempt::Stored { tag } => tag,
        other => panic!("expected Stored, found {other:?}"),
    }
}

/// The message of a refusal with this code.
#[track_caller]
fn refused(attempt: Attempt, code: &str) -> String {
    match attempt {
        Attempt::Refused { code: found, message, busy: false, instead: Some(_) } if found == code => {
            assert!(!message.contains('\n'), "{message}");
            message
        }
        other => panic!("expected Refused by `{code}`, found {other:?}"),
    }
}

fn some(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| Some((*value).to_owned())).collect()
}

const RECORDS: &str = concat!(
    r#"{"n":1,"big":123456789012345678901234567890.12,"s":"tab\t, \"quote\", \\N, é \ud83d\ude00","ok":true,"#,
    r#""at":"2026-01-02T03:04:05Z","doc":{"a":[1,null],"s":"x\ny"},"tags":["a,b","\"c\"",null],"more":1}"#,
    "\n",
    r#"{"s":"","N":5,"n":2,"doc":"text","tags":[]}{"n":3,"s":null}"#,
    "\n"
);

#[test]
fn rows_are_the_records_that_were_given() {
    let (eye, database) = (Eye::new(), SHARED.database());
    database.run(
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, n int, big numeric, s text, ok bool, at timestamptz, \
         doc jsonb, tags text[], twice int GENERATED ALWAYS AS (n * 2) STORED)",
    );
    let sink = postgres_sink(&postgres(&database, &eye), &eye);
    stored(sink.attempt(&s3::shipment("plain", RECORDS.as_bytes())));
    stored(sink.attempt(&gzipped("packed.gz", RECORDS.as_bytes())));
    let rows = database.rows("SELECT n, big, s, ok, at AT TIME ZONE 'UTC', doc, tags, twice FROM t ORDER BY n, id");
    let first = some(&[
        "1",
        "123456789012345678901234567890.12",
        "tab\t, \"quote\", \\N, é 😀",
        "t",
        "2026-01-02 03:04:05",
        r#"{"a": [1, null], "s": "x\ny"}"#,
        r#"{"a,b","\"c\"",NULL}"#,
        "2",
    ]);
    let text = |s: &str| Some(s.to_owned());
    let second = vec![text("2"), None, text(""), None, None, text("\"text\""), text("{}"), text("4")];
    let third = vec![text("3"), None, None, None, None, None, None, text("6")];
    assert_eq!(rows, [first.clone(), first, second.clone(), second, third.clone(), third]);
    // What was staged stays, and is what was sent.
    assert_eq!(eye.bytes("plain"), RECORDS.as_bytes());
    let mut names = eye.names();
    names.sort();
    assert_eq!(names, ["packed.gz", "plain"]);
}

#[test]
fn only_the_named_columns_are_loaded_in_their_order() {
    let (eye, database) = (Eye::new(), SHARED.database());
    database.run(r#"CREATE SCHEMA "S.x"; CREATE TABLE "S.x"."T t" (a int, "B" text DEFAULT 'default', c int)"#);
    let settings = Postgres {
        table: r#""S.x".T t"#.to_owned(),
        columns: vec!["c".to_owned(), "a".to_owned()],
        claims_table: r#""S.x".claims"#.to_owned(),
        ..postgres(&database, &eye)
    };
    let json = s3::shipment("json", br#"{"a":1,"B":"given","c":3}"#);
    stored(postgres_sink(&settings, &eye).attempt(&json));
    let csv = s3::shipment("csv", b"30,10\n\"40\",\n");
    let settings = Postgres { input: WarehouseInput::Csv, ..settings };
    stored(postgres_sink(&settings, &eye).attempt(&csv));
    let found = database.rows(r#"SELECT a, "B", c FROM "S.x"."T t" ORDER BY c"#);
    let last = vec![None, Some("default".to_owned()), Some("40".to_owned())];
    assert_eq!(found, [some(&["1", "default", "3"]), some(&["10", "default", "30"]), last]);
    assert_eq!(database.value(r#"SELECT count(*) FROM "S.x".claims"#), "2");
}

#[test]
fn comma_separated_values_are_read_by_the_database() {
    let (eye, database) = (Eye::new(), SHARED.database());
    database.run("CREATE TABLE t (a int, b text)");
    let settings = Postgres { input: WarehouseInput::Csv, ..postgres(&database, &eye) };
    let rows: String = (0..50_000).map(|i| format!("{i},\"line {i}\n, \"\"x\"\"\"\n")).collect();
    stored(postgres_sink(&settings, &eye).attempt(&gzipped("csv.gz", rows.as_bytes())));
    assert_eq!(database.value("SELECT count(*) FROM t"), "50000");
    assert_eq!(database.rows("SELECT * FROM t WHERE a = 49999"), [some(&["49999", "line 49999\n, \"x\""])]);
}

#[test]
fn redshift_loads_what_is_staged_by_a_manifest() {
    let (eye, database) = (Eye::new(), SHARED.database());
    let front = Front::of(&database);
    database.run("CREATE TABLE t (n int, s text, ok bool)");
    let object = gzipped("p/it's \\ one.gz", br#"{"n":1,"s":"a|b","ok":true}{"s":"c"}"#);
    let settings = Redshift { copy_options: "json 'auto' gzip".to_owned(), ..redshift(front.address, &database, &eye) };
    stored(redshift_sink(&settings, &eye).attempt(&object));
    let text = |s: &str| Some(s.to_owned());
    assert_eq!(database.rows("SELECT * FROM t ORDER BY n"), [some(&["1", "a|b", "t"]), vec![None, text("c"), None]]);

    let bucket = &eye.bucket;
    let statement = format!(
        "COPY \"t\" FROM 's3://{bucket}/manifests/p/it''s \\\\ one.gz' CREDENTIALS 'aws_iam_role={ROLE}' MANIFEST \
         json 'auto' gzip;"
    );
    assert_eq!(front.copies(), [statement]);
    let manifest = format!(
        r#"{{"entries":[{{"url":"s3://{bucket}/p/it's \\ one.gz","mandatory":true,"meta":{{"content_length":{}}}}}]}}"#,
        object.body.len()
    );
    assert_eq!(String::from_utf8_lossy(&eye.bytes("manifests/p/it's \\ one.gz")), manifest);

    let changed = Redshift {
        columns: vec!["s".to_owned(), "n".to_owned()],
        copy_options: "delimiter '\\t'".to_owned(),
        role_arn: None,
        ..settings.clone()
    };
    stored(redshift_sink(&changed, &eye).attempt(&s3::shipment("tabs", b"x\t5\n")));
    let changed = Redshift { copy_options: "csv".to_owned(), ..settings };
    stored(redshift_sink(&changed, &eye).attempt(&s3::shipment("csv", b"6,\"y,z\",f\n")));
    assert_eq!(
        database.rows("SELECT * FROM t WHERE n > 4 ORDER BY n"),
        [vec![text("5"), text("x"), None], some(&["6", "y,z", "f"])]
    );
    assert!(front.copies()[1].starts_with("COPY \"t\" (\"s\", \"n\") FROM "), "{:?}", front.copies());
    assert!(front.copies()[1].contains(" IAM_ROLE default MANIFEST "), "{:?}", front.copies());
}

#[test]
fn what_is_given_up_on_is_loaded_later_under_its_plan() {
    let (eye, database) = (Eye::new(), SHARED.database());
    let front = Front::of(&database);
    let sink = redshift_sink(&redshift(front.address, &database, &eye), &eye);
    let object = s3::shipment("p/object", br#"{"a":1}"#);
    let Attempt::Refused { code, message, instead: Some(instead), .. } = sink.attempt(&object) else {
        panic!("there is no table")
    };
    let read = manifest::read(&instead).expect("it is a manifest");
    assert_eq!(read.error, Some((code, message)));
    let load = &read.loads[0];
    assert_eq!((load.plan, &load.bucket, &load.object), (object.id, &eye.bucket, &object.name));
    database.run("CREATE TABLE t (a int)");
    let bytes = eye.bytes(&load.object);
    let again =
        Shipment { id: load.plan, outputs: load.outputs, digest: load.digest, ..s3::shipment(&load.object, &bytes) };
    stored(sink.attempt(&again));
    stored(sink.attempt(&object));
    assert_eq!(database.value("SELECT count(*) FROM t"), "1");
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        prop::num::f64::NORMAL.prop_map(Into::into),
        any::<String>().prop_filter("PostgreSQL has no NUL", |s| !s.contains('\0')).prop_map(Into::into),
        "[\\\\\"'\t\n\r\u{b}/N.,{}]{0,8}".prop_map(Into::into),
    ]
}

#[test]
fn any_value_goes_through_a_real_table() {
    let (eye, database) = (Eye::new(), SHARED.database());
    database.run("CREATE TABLE t (i int, s text, j json, a text[])");
    let sink = postgres_sink(&postgres(&database, &eye), &eye);
    let mut runner = proptest::test_runner::TestRunner::default();
    let values: Vec<serde_json::Value> =
        (0..500).map(|_| any_value().new_tree(&mut runner).expect("there is always a value").current()).collect();
    let records: String = values
        .iter()
        .enumerate()
        .map(|(i, v)| serde_json::json!({ "i": i, "s": v, "j": { "v": v }, "a": [v, v] }).to_string())
        .collect();
    stored(sink.attempt(&s3::shipment("any", records.as_bytes())));
    let rows = database.rows("SELECT s, j, a[1], a[2] FROM t ORDER BY i");
    assert_eq!(rows.len(), values.len());
    for (row, value) in rows.iter().zip(&values) {
        let shown = match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let json = Some(serde_json::json!({ "v": value }).to_string());
        assert_eq!(row, &[shown.clone(), json, shown.clone(), shown], "{value}");
    }
}
