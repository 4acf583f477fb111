//! A track of a shard that is stalled: the other one goes on without it, and what it has missed is read again.

use super::source::{assert_once_and_in_order, number, numbered, reads};
use crate::api::clients;
use crate::rig::bucket::Bucket;
use crate::rig::kinesis::client::Kinesis;
use crate::rig::kinesis::servers::{KinesisLocal, Server};
use crate::rig::proxy::{Hanging, Proxy};
use crate::rig::service::{Service, variable};
use crate::rig::store::Store;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Open plans of a track at which it reads nothing more.
const OPEN_PLANS_MAX: u64 = 256;
const TRACKS: [&str; 2] = ["destination", "backup"];

/// A shard that goes to a bucket and is backed up in another one, each behind a proxy, with room for a quarter of a megabyte.
struct Two {
    server: Server,
    kinesis: Kinesis,
    buckets: [Bucket; 2],
    proxies: [Proxy<Hanging>; 2],
    service: Service,
    /// Records so far.
    put: usize,
}

impl Two {
    fn start() -> Two {
        let server = KinesisLocal::start();
        let kinesis = Kinesis::at(&server.endpoint());
        kinesis.create("s", 1);
        let buckets = [Bucket::new(), Bucket::new()];
        let minio = variable("HYDRANT_TEST_S3_ENDPOINT");
        let address = minio.trim_start_matches("http://").parse().unwrap();
        let proxies = [Proxy::hanging(address), Proxy::hanging(address)];
        let mut two = Two { server, kinesis, buckets, proxies, service: Service::new(), put: 0 };
        two.configure(true);
        two.service.restart();
        two
    }

    fn configure(&self, has_backup: bool) {
        let minio = variable("HYDRANT_TEST_S3_ENDPOINT");
        let [destination, backup] = [0, 1].map(|i: usize| {
            let store = clients::s3(&self.buckets[i].name, "timeout: 1s");
            store.replace(&minio, &format!("http://{}", self.proxies[i].address))
        });
        let streams = reads(&self.server.endpoint(), "")
            .replace("local: { dir: DIR/out }", &destination)
            .replace("buffer: { interval: 300ms }", "buffer: { interval: 1ms }");
        let backup = format!("    backup: {{ buffer: {{ interval: 1ms }}, compress: gzip, {backup} }}\n");
        let streams = streams + if has_backup { &backup } else { "" };
        self.service.configure("memory: { size: 16MiB, intake_share: 75% }\n", &streams);
    }

    /// Puts records of which each has so many bytes more.
    fn put(&mut self, records: usize, filler: usize) {
        let filler = "x".repeat(filler);
        let larger = numbered(self.put..self.put + records).into_iter().map(|(key, data)| {
            let text = String::from_utf8(data).unwrap().replace('}', &format!(",\"filler\":\"{filler}\"}}"));
            (key, text.into_bytes())
        });
        self.kinesis.put("s", &larger.collect::<Vec<_>>());
        self.put += records;
    }

    /// Puts until the track whose store hangs is left and the other one has everything.
    fn leave(&mut self, track: usize) {
        let began = Instant::now();
        while self.service.status("r").open_plans < OPEN_PLANS_MAX {
            self.put(10, 0);
            assert!(began.elapsed() < Duration::from_secs(200), "{:?}", self.service.status("r"));
        }
        // More than there is room for, several times.
        (0..5).for_each(|_| self.put(10, 60_000));
        let (put, other) = (self.put as u64, TRACKS[1 - track]);
        self.service.until("the other track has everything", |s| s.status("r").outlets[other].records == put);
        let says = format!("; the {} is left behind", TRACKS[track]);
        self.service.until("an alarm says why, and that it is left", |s| {
            s.status("r").alarm.is_some_and(|alarm| alarm.contains("is not delivered") && alarm.contains(&says))
        });
        assert!(self.service.status("r").outlets[TRACKS[track]].records < put);
    }

    /// All stores take what they are given: each has every record once.
    fn assert_complete(&mut self, has_backup: bool) {
        let (put, tracks) = (self.put as u64, &TRACKS[..1 + has_backup as usize]);
        self.service.until("every store has everything", |s| {
            let status = s.status("r");
            status.open_plans == 0 && tracks.iter().all(|track| status.outlets[*track].records == put)
        });
        let status = self.service.status("r");
        assert_eq!((status.pending, status.backup_pending, status.gap, status.lost), (0, 0, 0, 0), "{status:?}");
        self.service.until("no alarm is left", |s| s.status("r").alarm.is_none());
        assert_once_and_in_order(&self.buckets[0].objects(), self.put);
        let (code, text) = self.service.command(&["audit"]);
        assert_eq!(code, 0, "{text}");
    }

    /// Each record is in the backup, once.
    fn assert_backed_up(&self) {
        let mut found: BTreeMap<usize, usize> = BTreeMap::new();
        for (_, bytes) in self.buckets[1].objects() {
            let mut text = Vec::new();
            std::io::copy(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut text).expect("gzip");
            let records = serde_json::Deserializer::from_slice(&text).into_iter::<serde_json::Value>();
            records.for_each(|record| *found.entry(number(record.unwrap().to_string().as_bytes())).or_default() += 1);
        }
        assert_eq!((found.len(), found.values().sum::<usize>()), (self.put, self.put), "each once in the backup");
    }
}

/// The destination goes on without it. When the backup is no longer stalled, it is read for without waiting for the
/// destination, which has stopped since.
#[test]
fn a_stalled_backup_stops_no_shard_and_misses_nothing() {
    let mut two = Two::start();
    two.proxies[0].forward();
    two.leave(1);
    assert_eq!(two.service.status("r").outlets["backup"].records, 0);
    two.proxies[0].hang();
    let before = two.put as u64;
    (0..10).for_each(|_| two.put(10, 60_000));
    let destination = &two.proxies[0];
    two.service
        .until("the destination has stopped", |s| destination.hung() > 0 && s.status("r").open_plans > OPEN_PLANS_MAX);
    two.proxies[1].forward();
    two.service.until("the backup has all that was read before", |s| s.status("r").outlets["backup"].records >= before);
    assert!(two.service.status("r").outlets["destination"].records < two.put as u64);
    two.proxies[0].forward();
    two.assert_complete(true);
    two.assert_backed_up();
}

/// What a backup has missed that was left behind is shown when its stream leaves the file, after a restart, too.
#[test]
fn what_a_backup_has_missed_of_a_stream_that_is_removed_is_alarmed() {
    let mut two = Two::start();
    two.proxies[0].forward();
    two.leave(1);
    let other = "  other:\n    format: lines\n    destination: { local: { dir: DIR/other } }\n";
    two.service.configure("memory: { size: 16MiB, intake_share: 75% }\nallow_removals: true\n", other);
    two.service.signal(Signal::HUP);
    two.service.until("it is retired", |s| s.status("r").state == "retired");
    two.proxies[1].forward();
    let is_shown = |s: &Service| {
        let status = s.status("r");
        status.shards.values().all(|shard| shard.state == "unread")
            && status.backup_pending > 0
            && status.alarm.is_some_and(|alarm| alarm.contains("are not backed up, since their stream is not read"))
    };
    two.service.until("what is missing is shown", is_shown);
    two.service.kill();
    two.service.restart();
    two.service.until("it still is", is_shown);
}

/// A lane that is opened again while it runs knows where the configuration before the last reload sent what is on its way.
#[test]
fn a_lane_that_is_opened_again_delivers_to_the_backup_that_was_switched_off() {
    let mut two = Two::start();
    two.proxies[1].forward();
    two.leave(0);
    two.proxies[1].hang();
    // One alone: of more some may be read after the backup is switched off.
    two.put(1, 0);
    two.service.until("the backup has something on its way", |s| s.status("r").open_plans > OPEN_PLANS_MAX);
    two.configure(false);
    two.service.signal(Signal::HUP);
    two.service.until("the backup is switched off", |s| s.status("r").epoch == 2);
    two.proxies[0].forward();
    let put = two.put as u64;
    two.service.until("the destination has everything", |s| s.status("r").outlets["destination"].records == put);
    two.proxies[1].forward();
    two.assert_complete(false);
    two.assert_backed_up();
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
