//! A track of a shard that does not get on: the other one goes on without it, and what it has missed is read again.

use super::client::Kinesis;
use super::servers::KinesisLocal;
use super::source::{assert_each_once_and_in_order, number, numbered, reads};
use crate::bucket::Bucket;
use crate::clients;
use crate::lives::proxy::Proxy;
use crate::outage::Store;
use crate::service::{Service, variable};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Open plans of a track at which it reads nothing more.
const OPEN_PLANS_MAX: u64 = 256;

#[test]
pub fn a_backup_that_does_not_get_on_stops_no_shard_and_misses_nothing() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    let bucket = Bucket::new();
    let minio = variable("HYDRANT_TEST_S3_ENDPOINT");
    let proxy = Proxy::hanging(minio.trim_start_matches("http://").parse().unwrap());
    let backup = clients::s3(&bucket.name, "timeout: 1s").replace(&minio, &format!("http://{}", proxy.address));
    let streams = reads(&server.endpoint(), "")
        + &format!("    backup: {{ buffer: {{ interval: 1ms }}, compress: gzip, {backup} }}\n");
    // Room for a quarter of a megabyte of a shard.
    let mut service = Service::start_with("memory: { size: 16MiB, intake_share: 75% }\n", &streams);
    let (mut put, began) = (0, Instant::now());
    while service.status("r").open_plans < OPEN_PLANS_MAX {
        kinesis.put("s", &numbered(put..put + 10));
        put += 10;
        assert!(began.elapsed() < Duration::from_secs(200), "{:?}", service.status("r"));
    }
    // More than there is room for, several times.
    for _ in 0..5 {
        let large = numbered(put..put + 10).into_iter().map(|(key, data)| {
            let text =
                String::from_utf8(data).unwrap().replace('}', &format!(",\"filler\":\"{}\"}}", "x".repeat(60_000)));
            (key, text.into_bytes())
        });
        kinesis.put("s", &large.collect::<Vec<_>>());
        put += 10;
    }
    service.until("the destination has everything", |s| s.status("r").outlets["destination"].records == put as u64);
    assert_eq!(service.status("r").outlets["backup"].records, 0);
    assert!(service.status("r").alarm.is_some_and(|alarm| alarm.contains("is not delivered")));
    proxy.forward();
    service.until("the backup has everything", |s| {
        let status = s.status("r");
        status.outlets["backup"].records == put as u64 && status.open_plans == 0
    });
    let status = service.status("r");
    assert_eq!((status.pending, status.backup_pending, status.gap, status.lost), (0, 0, 0, 0), "{status:?}");
    service.until("no alarm is left", |s| s.status("r").alarm.is_none());
    assert_each_once_and_in_order(&service, put);
    let mut found: BTreeMap<usize, usize> = BTreeMap::new();
    for (_, bytes) in bucket.objects() {
        let mut text = Vec::new();
        std::io::copy(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut text).expect("gzip");
        let records = serde_json::Deserializer::from_slice(&text).into_iter::<serde_json::Value>();
        records.for_each(|record| *found.entry(number(record.unwrap().to_string().as_bytes())).or_default() += 1);
    }
    assert_eq!((found.len(), found.values().sum::<usize>()), (put, put), "each once in the backup");
    let (code, text) = service.command(&["audit"]);
    assert_eq!(code, 0, "{text}");
}

/// What is on its way to a store goes to no other one, also where the file is changed while the process is not there.
#[test]
fn a_shard_sends_nothing_to_another_store_while_objects_are_on_their_way_to_the_first() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    let (mut first, second) = (Store::start(), Store::start());
    [&first, &second].iter().for_each(|store| store.make_bucket("lake"));
    let reads_to = |store: &Store| {
        let to_store = format!(
            "s3: {{ bucket: lake, endpoint: \"http://{}\", access_key_id: tests, secret_access_key: tests-secret, timeout: \
             5s }}",
            store.address
        );
        reads(&server.endpoint(), "").replace("local: { dir: DIR/out }", &to_store)
    };
    let mut service = Service::start(&reads_to(&first));
    kinesis.put("s", &numbered(0..10));
    service.until("the first has some", |s| s.status("r").outlets.get("destination").is_some_and(|o| o.records == 10));
    first.stop();
    kinesis.put("s", &numbered(10..20));
    service
        .until("more is on its way", |s| s.status("r").alarm.is_some_and(|alarm| alarm.contains("is not delivered")));
    for _ in 0..2 {
        service.kill();
        service.configure("", &reads_to(&second));
        service.restart_until("/healthz");
        service.until("the alarm says so", |s| {
            s.status("r").alarm.is_some_and(|alarm| alarm.contains("leads to another store than before"))
        });
    }
    assert_eq!(second.objects("lake"), [""; 0], "nothing is sent");
    service.kill();
    first.run();
    service.configure("", &reads_to(&first));
    service.restart();
    service.until("everything is there", |s| s.status("r").outlets.get("destination").is_some_and(|o| o.records == 20));
}
