//! Streams with a warehouse as their destination: the built service, a real PostgreSQL, for Redshift the front before it,
//! a real S3 to stage in. What was acknowledged is in the table once or in a manifest, whatever goes wrong.

#[cfg(feature = "sabotage")]
mod kills;
mod outage;
mod redriven;
mod refused;
mod rejected;

use crate::deliver::warehouse::{BOTH, Dialect, ROLE};
use crate::rig::eye::Eye;
use crate::rig::postgres::{Database, PASSWORD, SHARED, USER};
use crate::rig::service::{Client, Service, variable};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

/// Records of one request: Firehose's most.
const BATCH: u64 = 500;

/// Where a stream's rows go.
pub struct Place<'p> {
    pub dialect: Dialect,
    pub address: SocketAddr,
    pub database: &'p Database<'p>,
    pub bucket: &'p str,
}

impl Place<'_> {
    /// A stream into the table of its name; `more` replaces and adds keys of the destination.
    pub fn stream(&self, name: &str, more: &[(&str, &str)]) -> String {
        let kind = format!("{:?}", self.dialect).to_lowercase();
        let s3 = format!(
            "{{ bucket: {}, prefix: \"staged/{name}/\", endpoint: \"{}\", access_key_id: {}, secret_access_key: {} }}",
            self.bucket,
            variable("HYDRANT_TEST_S3_ENDPOINT"),
            variable("HYDRANT_TEST_S3_ACCESS_KEY"),
            variable("HYDRANT_TEST_S3_SECRET_KEY"),
        );
        let (url, claims) = (format!("{kind}://{}/{}", self.address, self.database.name), format!("claims_{name}"));
        let url = url.replace("postgres:", "postgresql:");
        let password = format!("\"{PASSWORD}\"");
        let mut keys: BTreeMap<&str, &str> = [
            ("url", url.as_str()),
            ("table", name),
            ("username", USER),
            ("password", &password),
            ("tls", "{ mode: disable }"),
            ("s3", &s3),
            ("claims_table", &claims),
            ("retry_duration", "10m"),
            ("retry_every", "1s"),
        ]
        .into();
        if self.dialect == Dialect::Redshift {
            keys.extend([("copy_options", "json 'auto' gzip"), ("role_arn", ROLE)]);
        }
        keys.extend(more.iter().copied());
        let keys: String = keys.iter().map(|(key, value)| format!("        {key}: {value}\n")).collect();
        format!(
            "  {name}:\n    format: lines\n    compress: gzip\n    buffer: {{ size: 1MiB, interval: 100ms }}\n    \
             destination:\n      {kind}:\n{keys}"
        )
    }
}

fn row(n: u64) -> Vec<u8> {
    format!("{{\"n\":{n},\"s\":\"row {n} \\t\\\\ é\"}}").into_bytes()
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Taken,
    Refused,
    /// Nobody answered.
    InDoubt,
}

fn put(client: Client, stream: &str, records: &[Vec<u8>]) -> Put {
    let data = |r: &Vec<u8>| format!("{{\"Data\":\"{}\"}}", base64_simd::STANDARD.encode_to_string(r));
    let data: Vec<String> = records.iter().map(data).collect();
    let body = format!("{{\"DeliveryStreamName\":\"{stream}\",\"Records\":[{}]}}", data.join(","));
    match client.call("PutRecordBatch", body.as_bytes()) {
        None => Put::InDoubt,
        Some((200, answer)) => {
            let answer: serde_json::Value = serde_json::from_slice(&answer).expect("an answer is JSON");
            assert_eq!(answer["FailedPutCount"], 0, "a batch is taken whole: {answer}");
            Put::Taken
        }
        Some(_) => Put::Refused,
    }
}

fn put_rows(service: &Service, stream: &str, numbers: Range<u64>) {
    let rows: Vec<Vec<u8>> = numbers.map(row).collect();
    for batch in rows.chunks(BATCH as usize) {
        assert_eq!(put(service.client(), stream, batch), Put::Taken);
    }
}

fn outlet(service: &Service, stream: &str, outlet: &str) -> u64 {
    service.status(stream).outlets.get(outlet).map_or(0, |o| o.records)
}

fn assert_audit(service: &Service) {
    let (code, text) = service.command(&["audit", "--deep"]);
    assert!(code == 0 && text.contains("gap 0"), "{text}");
}

#[test]
fn rows_arrive_once_in_either_dialect() {
    let eye = Eye::new();
    let databases = BOTH.map(|dialect| (dialect, SHARED.database()));
    let places = databases.each_ref().map(|(dialect, database)| {
        let (front, address) = dialect.front(database);
        (front, Place { dialect: *dialect, address, database, bucket: &eye.bucket })
    });
    let name = |place: &Place| format!("rows_{:?}", place.dialect).to_lowercase();
    let mut streams = String::new();
    for (_, place) in &places {
        place.database.run(&format!("CREATE TABLE {} (n bigint, s text)", name(place)));
        streams += &place.stream(&name(place), &[]);
    }
    let mut service = Service::start(&streams);
    const ROWS: u64 = 2500;
    for (_, place) in &places {
        put_rows(&service, &name(place), 0..ROWS);
    }
    service.settled(2 * ROWS);
    for (_, place) in &places {
        let name = name(place);
        let found = place.database.rows(&format!("SELECT n, s FROM {name} ORDER BY n"));
        let expected = (0..ROWS).map(|n| vec![Some(n.to_string()), Some(format!("row {n} \t\\ é"))]);
        assert!(found.iter().cloned().eq(expected), "{name}: {} rows, or others than were put", found.len());
        let status = service.status(&name);
        assert_eq!((status.accepted, status.gap, status.alarm.as_deref()), (ROWS, 0, None), "{status:?}");
        assert_eq!(status.outlets["destination"].records, ROWS, "{status:?}");
        let claimed = place.database.value(&format!("SELECT sum(outputs) FROM claims_{name}"));
        assert_eq!(claimed, ROWS.to_string(), "{name}");
        let staged = eye.names().into_iter().filter(|n| n.starts_with(&format!("staged/{name}/")));
        assert_eq!(staged.count() as u64, status.outlets["destination"].objects, "{name}");
    }
    assert_audit(&service);
}
