//! Shards whose records go to what is no bucket: all lanes of a stream spare one receiver together.

use super::source::{KEYS, number, numbered};
use crate::api::clients;
use crate::rig::bucket::Bucket;
use crate::rig::endpoint::{Answer, Endpoint};
use crate::rig::kinesis::client::Kinesis;
use crate::rig::kinesis::servers::KinesisLocal;
use crate::rig::postgres::{PASSWORD, SHARED, USER};
use crate::rig::service::Service;

const SHARDS: i32 = 4;
/// Requests under way at once.
const CONCURRENCY: usize = 2;

/// Kills while records are on their way.
const KILLS: usize = 5;
const RECORDS: usize = 200 * KEYS;

/// A stream that reads `s`.
fn reads(name: &str, kinesis: &str, rest: &str) -> String {
    format!(
        "  {name}:\n    source:\n      kinesis: {{ stream: s, start: trim_horizon, endpoint: \"{kinesis}\", access_key_id: a, \
         secret_access_key: b, poll_interval: 500ms }}\n    buffer: {{ size: 1MiB, interval: 300ms }}\n\
         {rest}"
    )
}

#[test]
fn records_of_shards_are_once_in_a_table_and_under_one_id_each_at_an_endpoint() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", SHARDS);
    let (endpoint, bucket, database) = (Endpoint::start(), Bucket::new(), SHARED.database());
    // Long enough for lanes to meet at it.
    endpoint.always(Answer::after(100, Answer::Ok));
    database.run("CREATE TABLE rows (n bigint)");
    let to_endpoint = format!(
        "    destination:\n      http: {{ url: \"{}\", concurrency: {CONCURRENCY}, retry_duration: 10m, retry_first: 50ms }}\n    \
         backup: {{ mode: failed, local: {{ dir: DIR/failed }} }}\n",
        endpoint.url("/")
    );
    let into_table = format!(
        "    format: lines\n    destination:\n      postgres:\n        url: \"postgresql://127.0.0.1:{}/{}\"\n        table: rows\n        \
         username: {USER}\n        password: \"{PASSWORD}\"\n        tls: {{ mode: disable }}\n        {}\n        \
         retry_duration: 10m\n",
        SHARED.port,
        database.name,
        clients::s3(&bucket.name, "prefix: staged/")
    );
    let streams = reads("h", &server.endpoint(), &to_endpoint) + &reads("t", &server.endpoint(), &into_table);
    let mut service = Service::start(&streams);
    let (with_kills, calm) = (numbered(0..RECORDS), numbered(RECORDS..RECORDS + RECORDS / KILLS));
    for (i, some) in with_kills.chunks(RECORDS / KILLS).enumerate() {
        kinesis.put("s", some);
        let before = (i * RECORDS / KILLS) as u64;
        service.until("some of them arrive", |s| {
            ["h", "t"].iter().all(|name| s.status(name).outlets.get("destination").is_some_and(|o| o.records > before))
        });
        service.kill();
        service.restart();
    }
    service.settled(2 * RECORDS as u64);
    // Requests of a life that was killed are not those of the next.
    endpoint.take_concurrency_max();
    kinesis.put("s", &calm);
    let records = RECORDS + calm.len();
    service.settled(2 * records as u64);
    let at_once = endpoint.take_concurrency_max();
    assert!((1..=CONCURRENCY).contains(&at_once), "{at_once} requests at once of all lanes together");
    endpoint.assert_one_body_per_id();
    let in_order = |mut numbers: Vec<usize>| {
        numbers.sort_unstable();
        numbers
    };
    let all: Vec<usize> = (0..records).collect();
    assert!(in_order(endpoint.stored().iter().map(|record| number(record)).collect()) == all, "each under one id");
    let rows = database.rows("SELECT n FROM rows");
    let numbers = rows.iter().map(|row| row[0].as_ref().and_then(|n| n.parse().ok()).expect("a number"));
    assert!(in_order(numbers.collect()) == all, "each once in the table");
    for name in ["h", "t"] {
        let status = service.status(name);
        assert_eq!((status.accepted, status.gap, status.lost, status.alarm), (records as u64, 0, 0, None));
    }
    let (code, text) = service.command(&["audit", "--deep"]);
    assert_eq!(code, 0, "{text}");
}

/// Records that are redriven come through the stream's own lane, and the receiver is spared by that and the shards together.
#[test]
fn redriven_records_and_shards_share_the_requests_at_once() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    let endpoint = Endpoint::start();
    endpoint.always(Answer::Status(400, "no".to_owned()));
    let to_endpoint = format!(
        "    destination: {{ http: {{ url: \"{}\", concurrency: 1, retry_duration: 0s }} }}\n    \
         backup: {{ mode: failed, local: {{ dir: DIR/failed }}, buffer: {{ interval: 1s }} }}\n",
        endpoint.url("/")
    );
    let mut service = Service::start(&reads("h", &server.endpoint(), &to_endpoint));
    kinesis.put("s", &numbered(0..KEYS));
    service.until("they are given up on", |s| {
        s.status("h").outlets.get("delivery-failed").is_some_and(|o| o.records == KEYS as u64)
    });
    service.settled(KEYS as u64);
    endpoint.always(Answer::Hang);
    endpoint.take_concurrency_max();
    let before = endpoint.arrived();
    kinesis.put("s", &numbered(KEYS..2 * KEYS));
    service.until("a request of the shard is under way", |_| endpoint.arrived() > before);
    let config = service.config().display().to_string();
    let (code, text) = service.command_with(&["redrive", &config, "h", "--no-wait"]);
    assert!(code == 0 && text.contains(&format!("{KEYS} records put in")), "{text}");
    service.until("the redriven ones are planned, too", |s| s.status("h").open_plans >= 2);
    endpoint.always(Answer::Ok);
    endpoint.release();
    service.settled(3 * KEYS as u64);
    assert_eq!(endpoint.take_concurrency_max(), 1, "requests at once of all lanes together");
    let mut stored: Vec<usize> = endpoint.stored().iter().map(|record| number(record)).collect();
    stored.sort_unstable();
    assert!(stored == (0..2 * KEYS).collect::<Vec<_>>(), "each under one id: {stored:?}");
}
