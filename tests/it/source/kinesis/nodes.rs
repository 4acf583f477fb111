//! Several nodes that share the shards of a stream: leases in a DynamoDB table that move when a node dies or sleeps, and
//! each record in one object all the same.

use super::source::{KEYS, assert_once_and_in_order, number, numbered};
use crate::rig::kinesis::client::Kinesis;
use crate::rig::kinesis::proxy::{Call, Fault, Proxy};
use crate::rig::kinesis::servers::{Dynalite, KinesisLocal, Moto, Server};
use crate::rig::service::{PATIENCE, Service, collect, scale, variable};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub const FAILOVER: Duration = Duration::from_secs(2);

/// A stream `r` that reads `s`, shares its shards through the table `leases`, and delivers to `out`.
pub fn shares(kinesis: &str, dynamodb: &str, out: &Path, more: &str) -> String {
    format!(
        "  r:\n    source:\n      kinesis: {{ stream: s, start: trim_horizon, endpoint: \"{kinesis}\", access_key_id: a, \
         secret_access_key: b, poll_interval: 200ms, shards_interval: 500ms, timeout: 5s{more}, coordination: \
         {{ dynamodb: {{ table: leases, endpoint: \"{dynamodb}\", failover: 2s }} }} }}\n    format: lines\n    \
         buffer: {{ interval: 300ms }}\n    destination: {{ local: {{ dir: \"{}\" }} }}\n",
        out.display()
    )
}

/// Objects that hold records, with their names.
pub fn objects(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    collect(out, &mut found);
    found.retain(|(name, _)| !name.contains("/_hydrant/") && !name.contains("/_ledger/"));
    found
}

pub fn delivered(out: &Path) -> usize {
    let lines = |bytes: &[u8]| bytes.iter().filter(|b| **b == b'\n').count();
    objects(out).iter().map(|(_, bytes)| lines(bytes)).sum()
}

pub struct World {
    pub kinesis: Server,
    pub dynamodb: Server,
    pub out: tempfile::TempDir,
}

impl World {
    pub fn new(shards: i32) -> World {
        World::with(shards, Dynalite::start())
    }

    pub fn with(shards: i32, dynamodb: Server) -> World {
        let world = World { kinesis: KinesisLocal::start(), dynamodb, out: tempfile::tempdir().unwrap() };
        world.client().create("s", shards);
        world
    }

    pub fn client(&self) -> Kinesis {
        Kinesis::at(&self.kinesis.endpoint())
    }

    pub fn node(&self) -> Service {
        Service::start(&shares(&self.kinesis.endpoint(), &self.dynamodb.endpoint(), self.out.path(), ""))
    }

    /// Waits until so many records are in objects; more are a fault.
    pub fn until_delivered(&self, records: usize, nodes: &[Service]) {
        let (began, mut last) = (Instant::now(), (Instant::now(), 0));
        loop {
            let found = delivered(self.out.path());
            assert!(found <= records, "{found} records are in objects, {records} were put");
            if found == records {
                return;
            }
            if found > last.1 {
                last = (Instant::now(), found);
            }
            if last.0.elapsed() > PATIENCE {
                let statuses: Vec<_> = nodes.iter().map(Service::statuses).collect();
                panic!("{found} of {records} records after {:?}: {statuses:#?}", began.elapsed());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What an independent reader of the library's tables says of ours: a line for each lease, `shard owner checkpoint`.
    pub fn leases(&self) -> Vec<(String, String, String)> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/kcl_leases.py");
        let output = std::process::Command::new(variable("HYDRANT_TEST_PYTHON"))
            .args([script, "read", &self.dynamodb.endpoint(), "leases"])
            .output()
            .expect("run the reader");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let part = |line: &str, i: usize| line.split(' ').nth(i).unwrap_or_default().to_owned();
        text.lines().map(|line| (part(line, 0), part(line, 1), part(line, 2))).collect()
    }

    /// Writes rows as the library does, each `shard=checkpoint`.
    pub fn write_leases(&self, rows: &[String]) {
        self.table("write", rows);
    }

    /// Moves the rows of another table to where they are expected.
    fn move_back(&self, from: &str) {
        self.on_table(from, "move", &["leases".to_owned()]);
    }

    /// Has the script do something to the table, without Hydrant.
    pub fn table(&self, act: &str, rows: &[String]) {
        self.on_table("leases", act, rows);
    }

    fn on_table(&self, table: &str, act: &str, rows: &[String]) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/kcl_leases.py");
        let mut python = std::process::Command::new(variable("HYDRANT_TEST_PYTHON"));
        let done = python.args([script, act, &self.dynamodb.endpoint(), table]).args(rows).status();
        assert!(done.expect("run the script").success());
    }

    /// How many shards each owner has that were not read to their ends.
    fn shares(&self) -> Vec<usize> {
        let open: Vec<String> = self.leases().into_iter().filter(|l| l.2 != "SHARD_END").map(|l| l.1).collect();
        let owners: BTreeSet<&String> = open.iter().collect();
        owners.into_iter().map(|owner| open.iter().filter(|o| *o == owner).count()).collect()
    }
}

pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The lanes that a node runs are accounted for. An object is there before its plan is settled, so that this is waited for.
pub fn assert_no_gap(nodes: &[Service]) {
    wait_until("nothing is pending", || nodes.iter().all(|s| s.statuses().iter().all(|s| s.pending == 0)));
    for status in nodes.iter().flat_map(Service::statuses) {
        assert_eq!((status.gap, status.lost, status.pending), (0, 0, 0), "{status:?}");
    }
}

#[test]
fn shards_are_shared_handed_over_and_taken_from_the_dead() {
    let world = World::new(4);
    let kinesis = world.client();
    let mut nodes = vec![world.node()];
    kinesis.put("s", &numbered(0..400));
    world.until_delivered(400, &nodes);
    assert_eq!(world.shares(), [4]);
    // A second one takes its share, one at a time.
    nodes.push(world.node());
    wait_until("each has two", || world.shares() == [2, 2]);
    kinesis.put("s", &numbered(400..800));
    world.until_delivered(800, &nodes);
    let elsewhere = |s: &Service| s.status("r").shards.values().filter(|s| s.state == "elsewhere").count();
    wait_until("each says what the other has", || nodes.iter().all(|s| elsewhere(s) == 2));
    // Whoever ends gives up what it has: nobody has to wait.
    assert_eq!(nodes[0].terminate(), Some(0));
    let free = world.leases().iter().filter(|l| l.1 == "-").count();
    assert!(free > 0 || world.shares() == [4], "{:?}", world.leases());
    wait_until("the other has them all", || world.shares() == [4]);
    kinesis.put("s", &numbered(800..1200));
    world.until_delivered(1200, &nodes[1..]);
    // Who dies says nothing: after the failover time the others take it.
    nodes[0].restart();
    wait_until("each has two again", || world.shares() == [2, 2]);
    nodes[1].kill();
    kinesis.put("s", &numbered(1200..1600));
    world.until_delivered(1600, &nodes[..1]);
    assert_no_gap(&nodes[..1]);
    assert_once_and_in_order(&objects(world.out.path()), 1600);
    an_audit_finds_what_is_missing(world, &nodes[0]);
}

/// All nodes' records are accounted for, and what is missing of what this one delivered is named.
fn an_audit_finds_what_is_missing(world: World, node: &Service) {
    let audits = || {
        let (code, text) = node.command(&["audit", "--deep", "--json"]);
        let audits = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an audit"));
        (code, audits.collect::<Vec<_>>())
    };
    let sum = |audits: &[serde_json::Value], name: &str| -> u64 {
        audits.iter().map(|audit| audit[name].as_u64().expect("a count")).sum()
    };
    let (code, all_well) = audits();
    assert_eq!(code, 0, "{all_well:?}");
    let sums = ["accepted", "delivered", "pending", "failed"].map(|name| sum(&all_well, name));
    assert_eq!((all_well.len(), sums), (5, [1600, 1600, 0, 0]), "the stream and four leases: {all_well:?}");
    let looked_at = sum(&all_well, "objects_checked");
    assert!(looked_at > 0 && looked_at < objects(world.out.path()).len() as u64, "{looked_at} are this node's");
    // Only what holds records: archived files of the ledger are there too.
    let entries =
        std::fs::read_dir(world.out.path()).expect("it can be listed").map(|entry| entry.expect("an entry").path());
    let years = entries.filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'2'));
    let hidden: Vec<_> = years.map(|year| (year.with_extension("hidden"), year)).collect();
    hidden.iter().for_each(|(hidden, year)| std::fs::rename(year, hidden).expect("it is moved"));
    let (code, missing) = audits();
    hidden.iter().for_each(|(hidden, year)| std::fs::rename(hidden, year).expect("it is moved back"));
    assert_eq!((code, sum(&missing, "delivered")), (1, 1600), "{missing:?}");
    let problems = missing.iter().flat_map(|audit| audit["problems"].as_array().expect("a list"));
    let absent = problems.filter(|problem| problem.as_str().is_some_and(|p| p.ends_with("it is not there any more")));
    assert_eq!(absent.count() as u64, looked_at, "{missing:?}");
    // What this node delivered stays known when the leases of shards that are gone are removed.
    world.table("forget", &world.leases().into_iter().map(|lease| lease.0).collect::<Vec<_>>());
    let (code, of_ledgers) = audits();
    assert_eq!((code, sum(&of_ledgers, "objects_checked")), (0, looked_at), "{of_ledgers:?}");
    // Where the account is cannot be asked: that is no account without a gap.
    drop(world.dynamodb);
    let (code, unknown) = audits();
    let of_table = unknown.iter().find(|audit| audit["stream"] == "r (lease table)").expect("it is named");
    assert!(code == 1 && of_table["problems"][0].as_str().is_some_and(|p| p.contains("table `leases`")), "{unknown:?}");
}

#[test]
fn two_nodes_that_are_killed_and_put_to_sleep_deliver_each_record_once_and_in_order() {
    let world = World::new(8);
    let kinesis = world.client();
    let mut nodes = [world.node(), world.node()];
    let (put, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = std::thread::spawn({
        let (put, stop, endpoint) = (put.clone(), stop.clone(), world.kinesis.endpoint());
        move || {
            let kinesis = Kinesis::at(&endpoint);
            while !stop.load(Ordering::Relaxed) {
                let first = put.load(Ordering::Relaxed);
                kinesis.put("s", &numbered(first..first + 5 * KEYS));
                put.store(first + 5 * KEYS, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(40));
            }
        }
    });
    let (kills, sleeps) = ((100.0 * scale()).ceil() as usize, (50.0 * scale()).ceil() as usize);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    // Two of three steps are kills; a split and a merge happen on the way.
    let steps = kills + sleeps;
    let mut slept = 0;
    for step in 0..steps {
        if step == steps / 3 {
            let first = kinesis.shards("s")[0].shard_id().to_owned();
            kinesis.split("s", &first);
        }
        if step == 2 * steps / 3 {
            let open: Vec<_> = kinesis.shards("s").into_iter().filter(is_open).collect();
            let (one, two) = neighbours(&open);
            kinesis.merge("s", &one, &two);
        }
        let node = &mut nodes[next(2) as usize];
        std::thread::sleep(Duration::from_millis(next(600)));
        if slept < sleeps && (step % 3 == 2 || steps - step <= sleeps - slept) {
            slept += 1;
            node.signal(Signal::STOP);
            std::thread::sleep(FAILOVER + Duration::from_millis(500 + next(1000)));
            node.signal(Signal::CONT);
        } else {
            node.kill();
            std::thread::sleep(Duration::from_millis(next(3000)));
            node.restart();
        }
    }
    // Who is killed soon after a sleep has not noticed what it lost, and who had just begun had nothing to lose.
    while at_renewal(&nodes) + at_commit(&nodes) < sleeps {
        let before = at_renewal(&nodes) + at_commit(&nodes);
        let is_run = |node: &Service, shard: &str| {
            node.status("r").shards.get(shard).is_some_and(|s| ["running", "done"].contains(&s.state.as_str()))
        };
        let runs = |node: &Service| {
            let shards = node.status("r").shards.into_iter();
            shards.filter(|(_, s)| s.state == "running").map(|(id, _)| id).collect::<Vec<_>>()
        };
        let [node, other] = &nodes;
        wait_until("it has leases", || !runs(node).is_empty());
        let shards = runs(node);
        slept += 1;
        node.signal(Signal::STOP);
        wait_until("the other has them all", || shards.iter().all(|shard| is_run(other, shard)));
        node.signal(Signal::CONT);
        wait_until("it notices", || at_renewal(&nodes) + at_commit(&nodes) > before);
        nodes.reverse();
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("everything is put");
    let records = put.load(Ordering::Relaxed);
    world.until_delivered(records, &nodes);
    assert_no_gap(&nodes);
    assert_once_and_in_order(&objects(world.out.path()), records);
    let (lost, fenced) = (at_renewal(&nodes), at_commit(&nodes));
    let leases = world.leases();
    let ended = leases.iter().filter(|l| l.2 == "SHARD_END").count();
    assert_eq!((leases.len(), ended), (11, 3), "8 shards, two made of one, one made of two: {leases:?}");
    println!(
        "{records} records, {kills} kills, {slept} times asleep, {lost} leases lost at a renewal, {fenced} at a commit: \
         each record in one object"
    );
}

/// Leases that were found to be another node's, or nobody's, when they were renewed.
fn at_renewal(nodes: &[Service]) -> usize {
    nodes.iter().map(|s| s.log().matches("the lease was lost").count()).sum()
}

/// The same when a plan was to be bound.
fn at_commit(nodes: &[Service]) -> usize {
    nodes.iter().map(|s| s.log().matches("another node has its lease").count()).sum()
}

fn is_open(shard: &aws_sdk_kinesis::types::Shard) -> bool {
    shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none())
}

/// Two open shards whose hash keys lie side by side.
fn neighbours(open: &[aws_sdk_kinesis::types::Shard]) -> (String, String) {
    let range = |s: &aws_sdk_kinesis::types::Shard| {
        let range = s.hash_key_range().expect("a range");
        let number = |text: &str| text.parse::<u128>().expect("a hash key");
        (number(range.starting_hash_key()), number(range.ending_hash_key()))
    };
    let mut pairs = open.iter().flat_map(|a| open.iter().map(move |b| (a, b)));
    let pair = pairs.find(|(a, b)| range(a).1.wrapping_add(1) == range(b).0);
    let (a, b) = pair.expect("two of them lie side by side");
    (a.shard_id().to_owned(), b.shard_id().to_owned())
}

/// Renewals and commits are both updates of a row: each fault meets some of either.
#[test]
fn what_the_table_refuses_or_does_not_say_costs_no_record() {
    let world = World::new(2);
    let proxy = Proxy::start(world.dynamodb.address);
    let throttled = Fault::Error("ProvisionedThroughputExceededException");
    // Also while leases are made and taken.
    let early =
        ["DescribeTable", "CreateTable", "PutItem"].map(|operation| proxy.next(1, operation, None, throttled.clone()));
    let nodes = [Service::start(&shares(&world.kinesis.endpoint(), &proxy.endpoint(), world.out.path(), ""))];
    let kinesis = world.client();
    kinesis.put("s", &numbered(0..100));
    world.until_delivered(100, &nodes);
    early.into_iter().for_each(|fault| assert_eq!(proxy.struck(fault), 1));
    let faults = [
        ("UpdateItem", throttled.clone()),
        ("UpdateItem", Fault::Error("InternalFailure")),
        ("UpdateItem", Fault::LoseAnswer),
        ("UpdateItem", Fault::Hold(Duration::from_millis(1500))),
        ("Scan", throttled),
        ("Scan", Fault::LoseAnswer),
    ];
    for (i, (operation, fault)) in (1..).zip(faults) {
        let struck = proxy.next(4, operation, None, fault);
        // Whoever is not told what became of a commit looks, and may not be told that either.
        proxy.next(1, "GetItem", None, Fault::Error("InternalFailure"));
        for part in 0..4 {
            let first = i * 100 + part * 25;
            kinesis.put("s", &numbered(first..first + 25));
            world.until_delivered(first + 25, &nodes);
        }
        wait_until("it was refused", || proxy.struck(struck) == 4);
    }
    wait_until("what is over is no alarm any more", || nodes[0].status("r").alarm.is_none());
    assert_no_gap(&nodes);
    assert_once_and_in_order(&objects(world.out.path()), 700);
}

/// Plans that cannot be delivered, with long names, are more than a row may hold.
#[test]
fn a_state_that_is_too_large_for_a_row_is_an_object_while_it_is() {
    const PLANS: usize = 250;
    let world = World::new(1);
    let proxy = Proxy::start(world.dynamodb.address);
    let (out, long) = (world.out.path().display().to_string(), "long".repeat(50));
    let streams = shares(&world.kinesis.endpoint(), &proxy.endpoint(), world.out.path(), "")
        .replace("    format: lines\n", &{
            let module = concat!(env!("CARGO_MANIFEST_DIR"), "/transforms/blueprints/mask.wasm");
            let keys = "{ mask_fields: [email], partition_keys: { key: key } }";
            format!("    transform: [{{ wasm: {{ module: {module}, config: {keys} }} }}]\n    format: lines\n")
        })
        .replace(&format!("dir: \"{out}\""), &{
            let prefix = format!("blocked/{long}/{long}/!{{partitionKeyFromLambda:key}}/");
            format!("dir: \"{out}\", prefix: \"{prefix}\", error_prefix: \"errors/!{{firehose:error-output-type}}/\"")
        });
    let blocked = world.out.path().join("blocked");
    std::fs::write(&blocked, "a file where a directory should be").unwrap();
    let states = || {
        let mut found = Vec::new();
        collect(world.out.path(), &mut found);
        found.retain(|(name, _)| name.contains("/_hydrant/shared/r/states/"));
        found
    };
    let mut nodes = vec![Service::start(&streams)];
    let record = |n: usize| (format!("key {n}"), format!("{{\"n\":{n},\"key\":\"key {n}\"}}").into_bytes());
    world.client().put("s", &(0..PLANS - 5).map(record).collect::<Vec<_>>());
    wait_until("they are planned", || nodes[0].status("r").open_plans == PLANS as u64 - 5);
    wait_until("the state is an object", || !states().is_empty());
    let of_table = |(name, _): &(String, Vec<u8>)| name.contains("/_hydrant/shared/r/states/leases/");
    assert!(states().iter().all(of_table), "a copy of the table has the same folders");
    // A commit that the table refuses leaves no object.
    let throttled = proxy.next(6, "UpdateItem", None, Fault::Error("ProvisionedThroughputExceededException"));
    world.client().put("s", &(PLANS - 5..PLANS).map(record).collect::<Vec<_>>());
    wait_until("the table has refused", || proxy.struck(throttled) == 6);
    wait_until("everything is planned", || nodes[0].status("r").open_plans == PLANS as u64);
    wait_until("what was refused is removed", || states().len() <= 2);
    nodes[0].kill();
    // As if it had been killed between another object and the row that would have named it.
    let (name, bytes) = states().remove(0);
    let left = Path::new(&name).with_file_name(format!("{}-{}", uuid::Uuid::new_v4(), "0".repeat(64)));
    std::fs::write(&left, bytes).unwrap();
    // Whoever comes next finds the state.
    nodes.push(Service::start(&streams));
    wait_until("the next node has the plans", || nodes[1].status("r").open_plans == PLANS as u64);
    wait_until("old ones are removed", || states().len() <= 2 + usize::from(left.exists()));
    std::fs::remove_file(&blocked).unwrap();
    world.until_delivered(PLANS, &nodes[1..]);
    wait_until("the state is in the row again, and no object is left", || states().is_empty());
    assert_no_gap(&nodes[1..]);
}

#[test]
fn a_table_of_another_layout_is_named_and_left_alone() {
    let world = World::new(1);
    world.table("other", &[]);
    let mut node = world.node();
    node.until("it says what it found", |s| {
        s.status("r").alarm.is_some_and(|alarm| {
            alarm.contains("no lease table")
                && alarm.contains("`id` (HASH, N)")
                && alarm.contains("`leaseKey` (HASH, S)")
        })
    });
}

/// A shard that cannot be opened is left to others after a few tries, for six times the failover time: that nobody reads it
/// is said all the while, and it is read when it can be.
#[test]
fn a_shard_that_nobody_can_open_is_spoken_of_all_the_while() {
    let world = World::new(1);
    let proxy = Proxy::start(world.dynamodb.address);
    let mut node = Service::start(&shares(&world.kinesis.endpoint(), &proxy.endpoint(), world.out.path(), ""));
    node.until("the shard is read", |s| s.status("r").shards.values().any(|shard| shard.state == "running"));
    node.kill();
    let shard = shard_dir(&node.dir.path().join("data/streams"));
    let aside = shard.with_extension("aside");
    std::fs::rename(&shard, &aside).unwrap();
    std::fs::write(&shard, b"no directory").unwrap();
    // The lease cannot be given up at once, and names a node that does not read the shard.
    let refused = proxy.next(
        1,
        "UpdateItem",
        Some("ADD leaseCounter :one REMOVE leaseOwner"),
        Fault::Error("AccessDeniedException"),
    );
    node.restart_until("/healthz");
    node.until("it cannot be opened", |s| says(s, "could not be opened 3 times and is read by nobody"));
    assert_eq!(proxy.struck(refused), 1);
    assert_eq!(node.command(&["status"]).0, 1);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(15) {
        let alarm = node.status("r").alarm;
        assert!(alarm.is_some(), "nothing is said after {:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::remove_file(&shard).unwrap();
    std::fs::rename(&aside, &shard).unwrap();
    node.until("it is read again", |s| s.status("r").alarm.is_none());
}

/// What may be over in a moment, as a shortage of descriptors, does not have a shard left alone for six failover times.
#[test]
fn a_shard_that_could_not_be_opened_for_a_while_is_read_soon_after() {
    let world = World::new(1);
    let proxy = Proxy::start(world.dynamodb.address);
    let refused = proxy.always("GetItem", None, Fault::Status(500));
    let mut node = Service::start(&shares(&world.kinesis.endpoint(), &proxy.endpoint(), world.out.path(), ""));
    node.until("it cannot be opened", |s| says(s, "and is read by nobody"));
    proxy.take_back(refused);
    let began = Instant::now();
    node.until("it is read", |s| s.status("r").shards.values().any(|shard| shard.state == "running"));
    assert!(began.elapsed() < Duration::from_secs(8), "it was left alone for {:?}", began.elapsed());
}

/// One that can open no shard does not take them, again and again, from one that reads them.
#[test]
fn a_node_that_opens_nothing_leaves_shards_to_who_reads_them() {
    let world = World::new(4);
    let proxy = Proxy::start(world.dynamodb.address);
    let out = world.out.path();
    let reads = Service::start(&shares(&world.kinesis.endpoint(), &world.dynamodb.endpoint(), out, ""));
    let running = |s: &Service| s.status("r").shards.values().filter(|shard| shard.state == "running").count();
    wait_until("all are read", || running(&reads) == 4);
    proxy.always("GetItem", None, Fault::Status(500));
    let _opens_nothing = Service::start(&shares(&world.kinesis.endpoint(), &proxy.endpoint(), out, ""));
    let takes = || {
        let calls = proxy.calls_of("UpdateItem");
        let expression = |call: &Call| call.request["UpdateExpression"].as_str().unwrap_or_default().to_owned();
        calls.iter().filter(|call| expression(call).starts_with("SET leaseOwner = :me")).count()
    };
    wait_until("it has tried", || takes() >= 2);
    wait_until("they are read where they were", || running(&reads) == 4);
    let (began, before) = (Instant::now(), takes());
    // Four failover times.
    while began.elapsed() < Duration::from_secs(8) {
        assert!(takes() <= before + 2, "{} leases taken, {before} before", takes());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Leases are kept under the credentials of the configuration that was loaded last.
#[test]
fn credentials_of_the_lease_table_are_renewed_by_a_reload() {
    let world = World::new(1);
    let proxy = Proxy::start(world.dynamodb.address);
    let streams = shares(&world.kinesis.endpoint(), &proxy.endpoint(), world.out.path(), "");
    let node = Service::start(&streams);
    let keeps = |key: &str| {
        let is_kept = |call: &Call| call.operation == "UpdateItem" && call.access_key.as_deref() == Some(key);
        proxy.until(&format!("the lease is kept under `{key}`"), |calls| calls.iter().any(is_kept));
    };
    keeps("a");
    node.configure("", &streams.replace("access_key_id: a,", "access_key_id: renewed,"));
    node.signal(rustix::process::Signal::HUP);
    keeps("renewed");
}

/// The directory of the only shard below a data directory.
fn shard_dir(streams: &Path) -> std::path::PathBuf {
    let dirs = |dir: &Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    };
    let lives = dirs(streams).into_iter().flat_map(|stream| dirs(&stream.join("shards")));
    lives.flat_map(|life| dirs(&life)).next().expect("a shard")
}

#[test]
fn check_online_says_what_cannot_be_read() {
    let world = World::new(1);
    let node = Service::new();
    let check = |streams: &str| {
        node.configure("", streams);
        node.command(&["check", "--online"])
    };
    let (kinesis, dynamodb) = (world.kinesis.endpoint(), world.dynamodb.endpoint());
    let streams = shares(&kinesis, &dynamodb, world.out.path(), ", consumer: c");
    let (code, text) = check(&streams);
    assert_eq!(code, 0, "{text}");
    assert!(world.client().shards("s").len() == 1 && world.client().consumers("s").is_empty(), "nothing is made");
    let (code, text) = check(&streams.replace("stream: s,", "stream: another,"));
    assert!(
        code == 1 && text.contains("ResourceNotFoundException") && text.contains("source.kinesis.stream"),
        "{text}"
    );
    world.table("other", &[]);
    let (code, text) = check(&streams);
    assert!(code == 1 && text.contains("`id` (HASH, N)") && text.contains("coordination.dynamodb.table"), "{text}");
}

#[test]
fn checkpoints_of_the_client_library_are_taken_over_where_they_stand() {
    for dynamodb in [Dynalite::start(), Moto::start()] {
        take_over(&World::with(3, dynamodb));
    }
}

fn take_over(world: &World) {
    let kinesis = world.client();
    let mut went = Vec::new();
    for n in 0..300 {
        let put = kinesis.put("s", &numbered(n..n + 1)).remove(0);
        went.push((n, put.shard, put.sequence_number));
    }
    // The library has read 40 records of the first shard, all of the second, and nothing of the third.
    let shards: Vec<String> = kinesis.shards("s").iter().map(|s| s.shard_id().to_owned()).collect();
    let of = |shard: &str| went.iter().filter(|(_, s, _)| s == shard).cloned().collect::<Vec<_>>();
    let (first, second, third) = (of(&shards[0]), of(&shards[1]), of(&shards[2]));
    assert!(first.len() > 41 && !second.is_empty() && !third.is_empty());
    world.write_leases(&[
        format!("{}={}", shards[0], first[39].2),
        format!("{}={}", shards[1], second.last().expect("it has records").2),
        format!("{}=TRIM_HORIZON", shards[2]),
    ]);
    let expected: BTreeSet<usize> = first[40..].iter().chain(&third).map(|(n, ..)| *n).collect();
    let nodes = [world.node()];
    world.until_delivered(expected.len(), &nodes);
    let found = objects(world.out.path());
    let lines = found.iter().flat_map(|(_, bytes)| bytes.split(|b| *b == b'\n')).filter(|line| !line.is_empty());
    assert_eq!(lines.map(number).collect::<BTreeSet<_>>(), expected);
    // And the library could go on behind what we have delivered.
    let last = |of: &[(usize, String, String)]| of.last().expect("it has records").2.clone();
    let expected: BTreeSet<(String, String)> =
        [(&shards[0], &first), (&shards[1], &second), (&shards[2], &third)].map(|(s, of)| (s.clone(), last(of))).into();
    wait_until("checkpoints follow", || {
        world.leases().into_iter().map(|l| (l.0, l.2)).collect::<BTreeSet<_>>() == expected
    });
    // The rows say by now which stream they are of.
    kinesis.delete("s");
    kinesis.create("s", 3);
    wait_until("another stream of the name is not taken for it", || says(&nodes[0], "of a stream that was made at"));
}

/// Whether a node says so of its stream.
pub fn says(node: &Service, what: &str) -> bool {
    node.statuses().into_iter().any(|status| status.alarm.is_some_and(|alarm| alarm.contains(what)))
}

#[test]
fn a_lease_that_was_made_anew_begins_another_account() {
    let world = World::new(1);
    let mut node = world.node();
    let put = world.client().put("s", &numbered(0..50));
    world.until_delivered(50, std::slice::from_ref(&node));
    assert_eq!(node.terminate(), Some(0));
    world.write_leases(&[format!("{}={}", put[19].shard, put[19].sequence_number)]);
    node.restart();
    let what = "` has the ledger of a state that is not in the lease table any more";
    wait_until("it says what is wrong", || says(&node, what));
    let alarm = node.status("r").alarm.expect("it was just there");
    let dir = alarm.split_once(what).expect("it was just there").0.rsplit('`').next().expect("a name");
    assert_eq!(node.terminate(), Some(0));
    std::fs::remove_dir_all(dir).expect("the directory that it names");
    node.restart();
    // Whoever wrote the checkpoint has asked for thirty of them again.
    world.until_delivered(80, std::slice::from_ref(&node));
    let (code, text) = node.command(&["audit", "--deep"]);
    assert_eq!(code, 0, "{text}");
}

/// What was read is known to the table and to nobody else: one that is gone is not made anew under a stream that goes on.
#[test]
fn a_table_that_is_deleted_is_spoken_of_and_used_again_when_it_is_back() {
    let world = World::new(2);
    let mut nodes = [world.node()];
    world.client().put("s", &numbered(0..50));
    world.until_delivered(50, &nodes);
    wait_until("nothing is pending", || nodes[0].statuses().iter().all(|s| s.pending == 0));
    world.table("move", &["saved".to_owned()]);
    world.client().put("s", &numbered(50..100));
    let what = "the lease table `leases`, which knows what was read of the shards, is not there any more: restore it";
    wait_until("it says what is wrong", || says(&nodes[0], what));
    // Nor is it made by who comes up.
    assert_eq!(nodes[0].terminate(), Some(0));
    nodes[0].restart();
    wait_until("it says so again", || says(&nodes[0], what));
    world.move_back("saved");
    world.until_delivered(100, &nodes);
    wait_until("what is over is no alarm any more", || nodes[0].status("r").alarm.is_none());
    assert_no_gap(&nodes);
    assert_once_and_in_order(&objects(world.out.path()), 100);
}

#[test]
fn an_audit_asks_a_busy_table_again() {
    let world = World::new(2);
    let proxy = Proxy::start(world.dynamodb.address);
    let nodes = [Service::start(&shares(&world.kinesis.endpoint(), &proxy.endpoint(), world.out.path(), ""))];
    world.client().put("s", &numbered(0..50));
    world.until_delivered(50, &nodes);
    wait_until("nothing is pending", || nodes[0].statuses().iter().all(|s| s.pending == 0));
    for (operation, fault) in [
        ("Scan", Fault::Error("ProvisionedThroughputExceededException")),
        ("Scan", Fault::Error("InternalFailure")),
        ("GetItem", Fault::Error("ThrottlingException")),
        ("GetItem", Fault::LoseAnswer),
    ] {
        // The node asks, too.
        let struck = proxy.next(3, operation, None, fault);
        let (code, text) = nodes[0].command(&["audit", "--deep"]);
        assert_eq!((code, proxy.struck(struck)), (0, 3), "{text}");
    }
}

/// What was read is known in one place: on the disk of the node that reads alone, or in the table.
#[test]
fn a_stream_that_was_shared_is_not_read_alone_and_the_other_way_round() {
    let in_table = |settings: &str, table: &str| settings.replace("table: leases", &format!("table: {table}"));
    let alone = |settings: &str| {
        let (head, rest) = settings.split_once(", coordination:").expect("nodes share it");
        format!("{head}{}", rest.split_once("2s } }").expect("its end").1)
    };
    for case in ["the lease table `leases`, which knows", "found the table `others`", "when it read them alone"] {
        let world = World::new(1);
        let shared = shares(&world.kinesis.endpoint(), &world.dynamodb.endpoint(), world.out.path(), "");
        let (own, other) = match case {
            "the lease table `leases`, which knows" => (shared.clone(), alone(&shared)),
            "found the table `others`" => (shared.clone(), in_table(&shared, "others")),
            _ => (alone(&shared), shared),
        };
        let nodes = [Service::start(&own)];
        world.client().put("s", &numbered(0..25));
        world.until_delivered(25, &nodes);
        let switch = |settings: &str| {
            nodes[0].configure("", settings);
            nodes[0].signal(rustix::process::Signal::HUP);
        };
        switch(&other);
        wait_until("it says what is wrong", || says(&nodes[0], case));
        world.client().put("s", &numbered(25..50));
        switch(&own);
        world.until_delivered(50, &nodes);
    }
}
