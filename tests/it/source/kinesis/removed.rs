//! Streams that the file does not name any more, or does not have read from Kinesis any more: what their shards hold is
//! delivered or shown. And a shard that has lost its plan log.

use super::nodes::{World, shares, wait_until};
use super::source::{assert_each_once_and_in_order, number, numbered, reads, settled};
use crate::rig::kinesis::client::Kinesis;
use crate::rig::kinesis::proxy::{Fault, Proxy};
use crate::rig::kinesis::servers::{KinesisLocal, Server};
use crate::rig::service::Service;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const OTHER: &str =
    "  other:\n    format: lines\n    buffer: { interval: 1s }\n    destination: { local: { dir: DIR/other } }\n";
const RECORDS: usize = 60;

/// Two shards with records that a stream `r` has read and that are in its buffers for as long as it is not told otherwise.
struct Held {
    server: Server,
    kinesis: Kinesis,
    service: Service,
}

impl Held {
    fn start() -> Held {
        let server = KinesisLocal::start();
        let kinesis = Kinesis::at(&server.endpoint());
        kinesis.create("s", 2);
        kinesis.put("s", &numbered(0..RECORDS));
        let mut held = Held { server, kinesis, service: Service::new() };
        held.configure(Some("900s"));
        held.service.restart();
        held.service.until("all are read", |s| s.status("r").pending == RECORDS as u64);
        held
    }

    /// The same with a plan for each shard, which its destination does not take, and killed.
    fn planned() -> Held {
        let mut held = Held::start();
        std::fs::write(held.out(), "no directory").unwrap();
        held.configure(Some("300ms"));
        held.service.signal(Signal::HUP);
        held.service.until("they are planned", |s| s.status("r").open_plans == 2);
        held.service.kill();
        held
    }

    /// `interval`: after which `r` delivers what it has read, if the file names it.
    fn configure(&self, interval: Option<&str>) {
        let reads = |interval: &str| {
            reads(&self.server.endpoint(), "").replace("300ms }\n    dest", &format!("{interval} }}\n    dest"))
        };
        self.service.configure("", &(interval.map(reads).unwrap_or_default() + OTHER));
    }

    fn is_retired(&mut self) {
        self.configure(None);
        self.service.signal(Signal::HUP);
        self.service.until("it is retired", |s| s.status("r").state == "retired");
    }

    /// What is read from now on is delivered, and what was read before stands there once.
    fn goes_on(&mut self) {
        self.kinesis.put("s", &numbered(RECORDS..RECORDS + 20));
        self.configure(Some("300ms"));
        self.service.signal(Signal::HUP);
        settled(&mut self.service, RECORDS as u64 + 20);
        assert_each_once_and_in_order(&self.service, RECORDS + 20);
        assert_eq!(self.service.status("r").alarm, None);
        let (code, text) = self.service.command(&["audit", "--deep"]);
        assert_eq!(code, 0, "{text}");
    }

    fn out(&self) -> PathBuf {
        self.service.dir.path().join("out")
    }
}

#[test]
fn a_stream_that_is_removed_delivers_what_its_shards_have_read_and_reads_on_when_it_is_back() {
    let mut held = Held::start();
    held.is_retired();
    held.service.until("its shards are ended", |s| s.status("r").shards.is_empty());
    assert_eq!(held.service.status("r").alarm, None);
    assert_each_once_and_in_order(&held.service, RECORDS);
    held.goes_on();
}

#[test]
fn a_stream_that_takes_puts_instead_delivers_what_its_shards_have_read() {
    let mut held = Held::start();
    let puts = "  r:\n    format: lines\n    buffer: { interval: 1s }\n    destination: { local: { dir: DIR/out } }\n";
    held.service.configure("", &(puts.to_owned() + OTHER));
    held.service.signal(Signal::HUP);
    held.service.until("its shards are ended", |s| s.status("r").shards.is_empty());
    assert_eq!(held.service.put("r", &[format!("{{\"n\":{RECORDS}}}").as_bytes()]), 200);
    held.service.until("it is delivered, too", |s| s.objects("out").len() == 3 && s.status("r").pending == 0);
    assert_eq!(held.service.status("r").alarm, None);
    assert_each_once_and_in_order(&held.service, RECORDS + 1);
    // Lanes that hold nothing end at any moment of the change.
    for _ in 0..5 {
        held.configure(Some("300ms"));
        held.service.signal(Signal::HUP);
        let open = |s: &Service| s.status("r").shards.values().filter(|shard| shard.state == "running").count();
        held.service.until("its shards are read again", |s| open(s) == 2);
        held.service.configure("", &(puts.to_owned() + OTHER));
        held.service.signal(Signal::HUP);
        held.service.until("it takes puts", |s| s.put("r", &[b"{\"n\":0}".as_slice()]) == 200);
    }
}

#[test]
fn what_shards_of_a_removed_stream_hold_is_alarmed_until_it_is_back() {
    let mut held = Held::start();
    std::fs::write(held.out(), "no directory").unwrap();
    held.is_retired();
    let shows = |service: &mut Service, state: &str, why: &str| {
        service.until(&format!("it shows {why}"), |s| {
            let status = s.status("r");
            let is_said = status.alarm.as_ref().is_some_and(|alarm| alarm.contains(why));
            let shards = status.shards.values().filter(|shard| shard.state == state);
            let pending: u64 = shards.map(|shard| shard.pending).sum();
            is_said && status.open_plans == 2 && (status.pending, pending) == (RECORDS as u64, RECORDS as u64)
        });
    };
    shows(&mut held.service, "retired", "is still being delivered, and nothing more is read");
    held.service.kill();
    held.service.restart();
    shows(&mut held.service, "unread", "since their stream is not read");
    let (code, text) = held.service.command(&["status"]);
    assert!(code == 1 && text.contains(": unread") && text.contains("ALARM"), "{text}");
    std::fs::remove_file(held.out()).unwrap();
    held.goes_on();
}

#[test]
fn what_shards_hold_is_alarmed_where_their_stream_was_made_anew_while_nobody_looked() {
    let mut held = Held::planned();
    held.kinesis.delete("s");
    held.kinesis.create("s", 1);
    held.service.restart();
    held.service.until("it is alarmed", |s| {
        let status = s.status("r");
        let unread: u64 = status.shards.values().filter(|s| s.state == "unread").map(|s| s.pending).sum();
        unread == RECORDS as u64 && status.alarm.is_some_and(|alarm| alarm.contains("since their stream is not read"))
    });
}

/// Removes what `is_of_these` says of the path of every file and directory of the data.
fn remove(service: &Service, is_of_these: impl Fn(&Path) -> bool) {
    let mut removed = 0;
    walk(service, |path| {
        let is_one = is_of_these(path);
        match is_one && path.is_dir() {
            true => std::fs::remove_dir_all(path).unwrap(),
            false if is_one => std::fs::remove_file(path).unwrap(),
            false => {}
        }
        removed += is_one as u32;
    });
    assert!(removed >= 2, "{removed} removed");
}

/// Does the same with every file and directory of the data; not with what stands in one that is gone then.
fn walk(service: &Service, mut work: impl FnMut(&Path)) {
    let mut dirs = vec![service.dir.path().join("data/streams")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            work(&path);
            dirs.extend(path.is_dir().then_some(path));
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Records that were delivered, by a service that is dead.
fn delivered() -> Held {
    let mut held = Held::start();
    held.configure(Some("300ms"));
    held.service.signal(Signal::HUP);
    settled(&mut held.service, RECORDS as u64);
    held.service.kill();
    held
}

#[test]
fn a_shard_that_has_lost_its_plan_log_is_held() {
    let mut held = delivered();
    // Without the ledger nothing else tells that something was delivered.
    remove(&held.service, |path| {
        let is_of_shard = path.parent().is_some_and(|dir| name(dir).starts_with("shardId"));
        is_of_shard && (name(path).starts_with("plans.") || name(path) == "ledger")
    });
    held.service.restart();
    held.service.until("it is held", |s| {
        let alarm = s.status("r").alarm.unwrap_or_default();
        alarm.contains("epochs and no plan log") && alarm.contains("hydrant repair")
    });
    assert_each_once_and_in_order(&held.service, RECORDS);
    let (code, text) = held.service.command(&["audit"]);
    assert!(code == 1 && text.contains("there is no plan log"), "{text}");
    held.service.kill();
    let (code, text) = held.service.command(&["repair"]);
    assert!(code == 1 && text.contains("read again from where"), "{text}");
}

/// With the ledger, which tells how many records were delivered, and without: none that came since is taken for one of them.
#[test]
fn a_shard_that_is_repaired_without_a_plan_log_misses_nothing() {
    for has_ledger in [true, false] {
        let mut held = delivered();
        remove(&held.service, |path| {
            let is_of_shard = path.parent().is_some_and(|dir| name(dir).starts_with("shardId"));
            is_of_shard && (name(path).starts_with("plans.") || !has_ledger && name(path) == "ledger")
        });
        let config = held.service.config().display().to_string();
        let (code, text) = held.service.command_with(&["repair", "--apply", &config]);
        assert!(code == 0 && text.contains("delivered a second time"), "{text}");
        // As if the records of then had expired: the stream begins behind them.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
        walk(&held.service, |path| {
            if name(path).starts_with("BEGIN") {
                let begin: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
                let later = serde_json::json!({ "arn": begin["arn"], "timestamp_ms": now });
                std::fs::write(path, later.to_string()).unwrap();
            }
        });
        held.kinesis.put("s", &numbered(RECORDS..RECORDS + 80));
        held.service.restart();
        held.service.until("what came since is delivered", |s| {
            let status = s.status("r");
            status.accepted >= 80 && status.pending == 0 && status.alarm.is_none()
        });
        let found: BTreeSet<usize> = held
            .service
            .objects("out")
            .iter()
            .flat_map(|(_, bytes)| {
                bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(number).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(found.len(), RECORDS + 80, "with the ledger: {has_ledger}");
        assert_eq!(held.service.status("r").gap, 0);
    }
}

/// A stream that reads Kinesis has nothing in its own journal, which a copy that skips empty directories leaves out.
#[test]
fn a_stream_that_is_repaired_without_a_journal_stays_where_it_is() {
    let mut held = delivered();
    let is_of_stream = |path: &Path| {
        !path.iter().any(|part| part == "shards") && path.parent().is_some_and(|p| p.join("shards").is_dir())
    };
    remove(&held.service, |path| is_of_stream(path) && (name(path) == "journal" || name(path).starts_with("plans.")));
    let config = held.service.config().display().to_string();
    let (code, text) = held.service.command_with(&["repair", "--apply", &config]);
    assert!(code == 0 && !text.contains("/before-repair/"), "{text}");
    held.kinesis.put("s", &numbered(RECORDS..RECORDS + 20));
    held.service.restart();
    settled(&mut held.service, RECORDS as u64 + 20);
    assert_each_once_and_in_order(&held.service, RECORDS + 20);
}

/// Opening a lane takes some milliseconds, and there are others behind it.
#[test]
fn a_stream_that_is_removed_while_its_shards_are_opened_is_not_read_any_more() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 16);
    let mut service = Service::start(OTHER);
    for round in 1..5 {
        service.configure("", &(reads(&server.endpoint(), "") + OTHER));
        service.signal(Signal::HUP);
        service.until("some are open", |s| {
            let status = s.status("r");
            status.state != "retired" && status.shards.len() > round
        });
        service.configure("", OTHER);
        service.signal(Signal::HUP);
        service.until("it is retired", |s| s.status("r").state == "retired");
        service.until("no shard is open", |s| s.status("r").shards.is_empty());
    }
}

/// The same where nodes share them: all leases are given up.
#[test]
fn a_stream_that_is_removed_while_its_shards_are_opened_keeps_no_lease() {
    let world = World::new(16);
    let reads = shares(&world.kinesis.endpoint(), &world.dynamodb.endpoint(), world.out.path(), "");
    let mut service = Service::start(OTHER);
    for round in 1..4 {
        service.configure("", &(reads.clone() + OTHER));
        service.signal(Signal::HUP);
        service.until("some are open", |s| {
            let shards = s.status("r").shards;
            s.status("r").state != "retired" && shards.values().filter(|s| s.state == "running").count() > round
        });
        service.configure("", OTHER);
        service.signal(Signal::HUP);
        service.until("it is retired", |s| s.status("r").state == "retired");
        wait_until("nobody has a lease", || {
            world.leases().iter().all(|(_, owner, _)| ["-", "None", ""].contains(&&**owner))
        });
    }
}

/// The process ends, while a plan is open whose records Kinesis would have to be asked for again.
#[test]
fn a_process_that_ends_does_not_wait_for_records_that_the_next_one_reads_again() {
    let mut held = Held::planned();
    let proxy = Proxy::start(held.server.address);
    let endpoint = |text: String| text.replace(&held.server.endpoint(), &proxy.endpoint());
    held.service.configure("", &(endpoint(reads(&held.server.endpoint(), "")) + OTHER));
    proxy.next(100_000, "GetRecords", None, Fault::Error("ProvisionedThroughputExceededException"));
    held.service.restart_until("/healthz");
    held.service
        .until("its shards are open", |s| s.status("r").shards.values().filter(|s| s.state == "running").count() == 2);
    let began = Instant::now();
    held.service.terminate();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}, of 25 s that it has to drain", began.elapsed());
}

/// A plan is open whose records have to be read again, and only some were.
#[test]
fn a_stream_that_is_removed_while_it_reads_again_delivers_what_its_plans_list() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    let filler = "x".repeat(250_000);
    for n in 0..32 {
        kinesis.put("s", &[("k".to_owned(), format!("{{\"n\":{n},\"filler\":\"{filler}\"}}").into_bytes())]);
    }
    let mut service = Service::new();
    let large = |text: String| text.replace("buffer: { interval: 300ms }", "buffer: { size: 64MiB, interval: 20s }");
    service.configure("", &(large(reads(&server.endpoint(), "")) + OTHER));
    let out = service.dir.path().join("out");
    std::fs::write(&out, "no directory").unwrap();
    service.restart();
    service.until("one plan has all", |s| s.status("r").open_plans == 1 && s.status("r").pending == 32);
    service.kill();
    std::fs::remove_file(&out).unwrap();
    service.restart();
    service.until("its shard is open", |s| s.status("r").shards.values().any(|shard| shard.state == "running"));
    service.configure("", OTHER);
    service.signal(Signal::HUP);
    service.until("its shard is ended", |s| s.status("r").state == "retired" && s.status("r").shards.is_empty());
    assert_eq!(service.status("r").alarm, None);
    let records: usize =
        service.objects("out").iter().map(|(_, bytes)| memchr::memchr_iter(b'\n', bytes).count()).sum();
    assert_eq!(records, 32);
}

#[test]
fn what_shards_of_a_deleted_stream_hold_is_alarmed_until_it_is_given_up() {
    let mut held = Held::planned();
    held.kinesis.delete("s");
    held.service.restart_until("/healthz");
    held.service.until("it is shown", |s| {
        let status = s.status("r");
        let waits = |alarm: &String| alarm.contains("they are when its stream can be read");
        let waiting = status.shards.values().filter(|shard| shard.alarm.as_ref().is_some_and(waits)).count();
        (status.open_plans, status.pending, waiting) == (2, RECORDS as u64, 2) && status.alarm.is_some()
    });
    // As the alarm says.
    held.is_retired();
    remove(&held.service, |path| name(path).starts_with("shardId"));
    held.service.until("nothing is left", |s| s.status("r").shards.is_empty() && s.status("r").alarm.is_none());
}

#[test]
fn a_stream_that_has_lost_where_its_reading_began_is_held() {
    let mut held = delivered();
    remove(&held.service, |path| name(path).starts_with("BEGIN"));
    held.kinesis.put("s", &numbered(RECORDS..RECORDS + 20));
    held.service.restart();
    held.service.until("it is held", |s| s.status("r").alarm.is_some_and(|alarm| alarm.contains("no `BEGIN`")));
    assert_each_once_and_in_order(&held.service, RECORDS);
}

/// Where reading began, and how a shard stood that was read to its end.
#[test]
fn what_is_damaged_beside_the_plan_log_of_a_shard_is_read_from_its_copy_and_shown() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    kinesis.put("s", &numbered(0..RECORDS));
    let mut service = Service::start(&reads(&server.endpoint(), ""));
    settled(&mut service, RECORDS as u64);
    let parent = kinesis.shards("s")[0].shard_id().to_owned();
    kinesis.split("s", &parent);
    service.until("the parent is done", |s| s.status("r").shards.get(&parent).is_some_and(|s| s.state == "done"));
    service.kill();
    let mut damaged = 0;
    walk(&service, |path| {
        if ["BEGIN", "DONE"].contains(&&*name(path)) {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[5] ^= 1;
            std::fs::write(path, bytes).unwrap();
            damaged += 1;
        }
    });
    assert_eq!(damaged, 2);
    service.restart();
    service.until("it is shown", |s| {
        let damage = s.status("r").damage;
        ["BEGIN", "DONE"].iter().all(|file| damage.iter().any(|damage| damage.contains(file)))
    });
    kinesis.put("s", &numbered(RECORDS..RECORDS + 20));
    settled(&mut service, RECORDS as u64 + 20);
    assert_each_once_and_in_order(&service, RECORDS + 20);
    // It was written again.
    service.kill();
    service.restart();
    settled(&mut service, RECORDS as u64 + 20);
    assert_eq!(service.status("r").damage, [""; 0]);
}

/// A pause is the stream's: shards that are opened behind it are paused, too, and those that nobody could ask go on with it.
#[test]
fn shards_that_are_opened_later_are_paused_as_their_stream_is() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    let mut service = Service::start(&(reads(&server.endpoint(), "") + OTHER));
    kinesis.put("s", &numbered(0..RECORDS));
    settled(&mut service, RECORDS as u64);
    let config = service.config().display().to_string();
    assert_eq!(service.command_with(&["pause", &config, "r"]).0, 0);
    let parent = kinesis.shards("s")[0].shard_id().to_owned();
    kinesis.split("s", &parent);
    kinesis.put("s", &numbered(RECORDS..RECORDS + 20));
    let is_paused = |s: &Service| {
        let status = s.status("r");
        let paused = status.shards.values().filter(|shard| shard.state == "paused").count();
        status.state == "paused" && paused == 2 && status.pending == 20 && status.open_plans > 0
    };
    service.until("the children are paused", is_paused);
    service.kill();
    service.restart();
    service.until("they still are", is_paused);
    service.configure("", OTHER);
    service.signal(Signal::HUP);
    service.until("nobody reads", |s| s.status("r").shards.values().all(|shard| shard.state == "unread"));
    assert_eq!(service.command_with(&["resume", &config, "r"]).0, 0);
    service.configure("", &(reads(&server.endpoint(), "") + OTHER));
    service.signal(Signal::HUP);
    settled(&mut service, RECORDS as u64 + 20);
    assert_each_once_and_in_order(&service, RECORDS + 20);
}
