//! What earlier versions have left on disk. `data/earlier/first-layout.tar.gz` was written by the version at commit 61c27e1, which
//! took puts for three streams until it was killed: 200 records each were delivered and 100 more of `epochs` under a second
//! prefix, then nothing could be delivered any more. `acked` names the records that were acknowledged behind those.
//!
//! `data/earlier/first-shards.tar.gz` is of the same version. It read two streams of Kinesis with 440 records each until it was
//! killed, one alone and one by leases that nodes share: 300 were delivered, among them all of a shard that was split, 100 more
//! were planned and could not be delivered, and the last 40 were hardly read. `kinesis` and `dynamodb` are what the servers held,
//! `at` is when.

use crate::rig::endpoint::Endpoint;
use crate::rig::kinesis::servers::{Dynalite, Kinesalite};
use crate::rig::service::{Service, collect, variable};
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// The streams as they were configured, but for intervals and the endpoint's address. Directories are relative.
fn streams(endpoint: &str) -> String {
    format!(
        "  epochs: {{ format: lines, buffer: {{ size: 1MiB, interval: 300ms }}, destination: {{ local: {{ dir: out, prefix: three/ }} }}, \
         backup: {{ local: {{ dir: kept, prefix: source/ }}, buffer: {{ interval: 300ms }} }} }}\n  \
         endpoint: {{ buffer: {{ size: 1MiB, interval: 300ms }}, destination: {{ http: {{ url: \"{endpoint}\", retry_duration: 2h }} }}, \
         backup: {{ mode: failed, local: {{ dir: failed }} }} }}\n  \
         columns: {{ format: {{ parquet: {{ schema: schema.yaml }} }}, buffer: {{ size: 1MiB, interval: 300ms }}, destination: {{ local: {{ \
         dir: out, prefix: columns/, error_prefix: \"errors/!{{firehose:error-output-type}}/\" }} }} }}\n"
    )
}

/// The `n` of each of these records, whatever stands between them.
fn numbers(records: &[u8]) -> Vec<u64> {
    let records = serde_json::Deserializer::from_slice(records).into_iter::<serde_json::Value>();
    records.map(|record| record.expect("a record as it was put")["n"].as_u64().expect("a number")).collect()
}

/// Every number that these records have, none of them twice.
fn once(records: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    records.into_iter().for_each(|n| assert!(numbers.insert(n), "{n} is there twice"));
    numbers
}

/// The numbers of what is in a directory's objects.
fn numbers_in(dir: &Path) -> Vec<u64> {
    let mut objects = Vec::new();
    collect(dir, &mut objects);
    let is_data = |name: &str| !name.contains("/_hydrant/") && !name.contains("/_ledger/");
    objects.iter().filter(|(name, _)| is_data(name)).flat_map(|(_, bytes)| numbers(bytes)).collect()
}

/// What was acknowledged, by stream.
fn acknowledged(dir: &Path) -> BTreeMap<String, BTreeSet<u64>> {
    let mut all = BTreeMap::from(
        [("epochs", 300), ("endpoint", 200), ("columns", 200)].map(|(s, n)| (s.to_owned(), (0..n).collect())),
    );
    for line in std::fs::read_to_string(dir.join("acked")).expect("it was packed").lines() {
        let [stream, first, last] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let numbers: &mut BTreeSet<u64> = all.get_mut(stream).expect("one of the three");
        numbers.extend(first.parse::<u64>().expect("a number")..=last.parse().expect("a number"));
    }
    all
}

fn unpack(packed: &str, dir: &Path) {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/earlier").join(packed);
    let unpacked = Command::new("tar").arg("xzf").arg(packed).arg("-C").arg(dir).status().expect("run tar");
    assert!(unpacked.success());
}

/// Has the service run where its directories are.
fn run(service: &mut Service) {
    let mut command = Command::new(variable("HYDRANT_TEST_BIN"));
    command.current_dir(service.dir.path());
    let log = service.log_file();
    service.spawn_as(&mut command, log);
}

fn assert_audit(service: &Service) {
    let mut audit = Command::new(variable("HYDRANT_TEST_BIN"));
    audit.args(["audit", "--deep"]).arg(service.config()).current_dir(service.dir.path());
    let audit = audit.output().expect("run audit");
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
}

#[test]
fn what_the_first_layout_held_under_load_is_delivered_with_each_record_once() {
    let mut service = Service::new();
    let dir = service.dir.path().to_owned();
    unpack("first-layout.tar.gz", &dir);
    let endpoint = Endpoint::start();
    service.configure("", &streams(&endpoint.url("/")));
    run(&mut service);
    service.until("all is delivered", |s| {
        let statuses = s.statuses();
        statuses.len() == 3 && statuses.iter().all(|s| s.accepted > 0 && s.pending + s.backup_pending == 0)
    });
    let accepted = service.status("columns").accepted;
    for status in service.statuses() {
        assert_eq!((status.gap, status.lost, &status.alarms[..]), (0, 0, &[][..]), "{status:?}");
    }
    assert_eq!(service.terminate(), Some(0));
    let acknowledged = acknowledged(&dir);
    let out = dir.join("out");
    let delivered = once(["one", "two", "three"].into_iter().flat_map(|prefix| numbers_in(&out.join(prefix))));
    assert!(delivered.is_superset(&acknowledged["epochs"]), "of the epochs");
    assert_eq!(once(numbers_in(&dir.join("kept"))), delivered, "of the backup");
    let stored = once(endpoint.stored().iter().flat_map(|record| numbers(record)));
    assert!(stored.is_superset(&acknowledged["endpoint"]), "of the endpoint");
    endpoint.assert_one_body_per_id();
    let mut objects = Vec::new();
    collect(&out.join("columns"), &mut objects);
    let rows = |bytes: Vec<u8>| {
        SerializedFileReader::new(bytes::Bytes::from(bytes)).expect("Parquet").metadata().file_metadata().num_rows()
    };
    let rows: i64 = objects.into_iter().map(|(_, bytes)| rows(bytes)).sum();
    assert!(accepted > acknowledged["columns"].len() as u64, "of the columns");
    assert_eq!(rows as u64, accepted - 1, "one record is no JSON");
    assert_audit(&service);
}

#[test]
fn shards_and_leases_of_the_first_layout_are_read_on_with_each_record_once() {
    const RECORDS: u64 = 440;
    let mut service = Service::new();
    let dir = service.dir.path().to_owned();
    unpack("first-shards.tar.gz", &dir);
    let at = std::fs::read_to_string(dir.join("at")).expect("it was packed").parse().expect("a number");
    let (kinesis, dynamodb) = (Kinesalite::at(&dir.join("kinesis"), at), Dynalite::of(&dir.join("dynamodb")));
    let coordination = format!(
        ", coordination: {{ dynamodb: {{ table: leases, endpoint: \"{}\", failover: 2s }} }}",
        dynamodb.endpoint()
    );
    let stream = |name: &str, of: &str, more: &str| {
        format!(
            "  {name}: {{ source: {{ kinesis: {{ stream: {of}, start: trim_horizon, endpoint: \"{}\", access_key_id: a, \
             secret_access_key: b, poll_interval: 200ms, shards_interval: 500ms, timeout: 5s{more} }} }}, format: lines, \
             buffer: {{ interval: 300ms }}, destination: {{ local: {{ dir: {name} }} }} }}\n",
            kinesis.endpoint()
        )
    };
    service.configure("", &(stream("alone", "a", "") + &stream("shared", "b", &coordination)));
    run(&mut service);
    service.until("all is delivered", |s| {
        let statuses = s.statuses();
        let is_all = |stream| numbers_in(&dir.join(stream)).len() as u64 >= RECORDS;
        statuses.len() == 2 && statuses.iter().all(|s| is_all(&s.stream) && s.pending == 0)
    });
    for status in service.statuses() {
        assert_eq!((status.gap, status.lost, &status.alarms[..]), (0, 0, &[][..]), "{status:?}");
        let done = status.shards.values().filter(|shard| shard.state == "done").count();
        assert!(status.shards.len() >= 3 && done <= 1, "{status:?}");
    }
    assert_eq!(service.terminate(), Some(0));
    for stream in ["alone", "shared"] {
        assert!(once(numbers_in(&dir.join(stream))).into_iter().eq(0..RECORDS), "of `{stream}`");
    }
    assert_audit(&service);
}
