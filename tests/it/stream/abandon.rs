//! `hydrant abandon`: whatever holds a plan, it is given up on, what it holds is told of where failures go, and can be put
//! in again from there.

use crate::rig::service::Service;
use crate::rig::store::Store;
use crate::stream::model::{Life, World};
use hydrant::deliver::{Attempt, Shipment};
use hydrant::error::Kind;
use hydrant::stream::plan::Outlet;

/// Runs a verb for stream `s`.
fn verb(service: &Service, verb: &str) -> (i32, String) {
    let config = service.config().display().to_string();
    service.command_with(&[verb, &config, "s"])
}

fn outlet(service: &Service, outlet: &str) -> u64 {
    service.status("s").outlets.get(outlet).map_or(0, |o| o.records)
}

fn alarmed(service: &Service) -> bool {
    service.status("s").alarm.is_some()
}

/// Columns, a transform and partition keys: what was given up on comes back as it was, where it belonged.
#[test]
fn what_a_bucket_does_not_take_goes_where_failures_go_and_comes_back() {
    let mut store = Store::start();
    store.make_bucket("lake");
    let root = env!("CARGO_MANIFEST_DIR");
    let streams = format!(
        "  s:\n    transform: [{{ wasm: {{ module: {root}/transforms/blueprints/mask.wasm, config: {{ mask_fields: [email], \
         partition_keys: {{ country: country }} }} }} }}]\n    format: {{ parquet: {{ schema: DIR/schema.yaml }} }}\n    \
         buffer: {{ size: 1MiB, interval: 100ms }}\n    destination:\n      s3: {{ bucket: lake, prefix: \
         \"in/!{{partitionKeyFromLambda:country}}/\", endpoint: \"http://{}\", access_key_id: tests, secret_access_key: \
         tests-secret }}\n    backup: {{ mode: failed, local: {{ dir: DIR/failed, prefix: \"raw/\", error_prefix: \
         \"errors/!{{firehose:error-output-type}}/\" }}, buffer: {{ size: 1MiB, interval: 100ms }} }}\n",
        store.address
    );
    let mut service = Service::new();
    std::fs::write(service.dir.path().join("schema.yaml"), "columns: { email: string, n: int }\n").unwrap();
    service.configure("", &streams);
    service.restart();
    store.stop();
    let record = |n: u64| format!("{{\"email\":\"a@b.c\",\"n\":{n},\"country\":\"{}\"}}", ["NO", "DE"][n as usize % 2]);
    let records: Vec<String> = (0..6).map(record).collect();
    let records: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
    assert_eq!(service.put("s", &records), 200);
    service.until("an alarm", alarmed);
    let (code, text) = verb(&service, "abandon");
    assert!(code == 0 && text.contains("2 plans are given up on"), "{text}");
    service.until("they are told of", |s| outlet(s, "delivery-failed") == 6);
    service.settled(6);
    let failed = service.objects("failed");
    assert!(failed.iter().all(|(name, _)| name.contains("/failed/errors/delivery-failed/")), "{failed:?}");
    let lines: Vec<String> = failed
        .iter()
        .flat_map(|(_, bytes)| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(lines.len() == 6 && lines.iter().all(|line| line.contains("given up on by `abandon`")), "{lines:?}");
    assert_eq!(service.status("s").gap, 0);

    store.run();
    let (code, text) = verb(&service, "redrive");
    assert!(code == 0 && text.contains("6 records put in"), "{text}");
    service.until("they are delivered", |s| outlet(s, "destination") == 6);
    let objects = store.objects("lake");
    for country in ["NO", "DE"] {
        assert_eq!(objects.iter().filter(|name| name.contains(&format!("in/{country}/"))).count(), 1, "{objects:?}");
    }
    let (code, text) = service.command(&["audit", "--deep"]);
    assert!(code == 0 && text.contains("gap 0"), "{text}");
    service.terminate();
    service.restart();
    let counts = ["destination", "delivery-failed"].map(|o| outlet(&service, o));
    assert_eq!((counts, service.status("s").gap), ([6, 6], 0));
}

/// The copy of what came goes beside the failures as it is; what it copies went its way.
#[test]
fn a_backup_that_is_not_taken_is_kept_with_the_failures() {
    let mut store = Store::start();
    store.make_bucket("raw");
    let streams = format!(
        "  s:\n    buffer: {{ size: 1MiB, interval: 100ms }}\n    destination: {{ local: {{ dir: DIR/out, error_prefix: \
         \"errors/!{{firehose:error-output-type}}/\" }} }}\n    backup: {{ mode: all, s3: {{ bucket: raw, prefix: \"raw/\", \
         endpoint: \"http://{}\", access_key_id: tests, secret_access_key: tests-secret }}, buffer: {{ size: 1MiB, \
         interval: 100ms }} }}\n",
        store.address
    );
    store.stop();
    let mut service = Service::start(&streams);
    assert_eq!(service.put("s", &[b"one", b"two"]), 200);
    service.until("the backup waits", |s| alarmed(s) && outlet(s, "destination") == 2);
    let (code, text) = verb(&service, "abandon");
    assert!(code == 0 && text.contains("1 plans are given up on"), "{text}");
    service.until("nothing waits", |s| s.status("s").backup_pending + s.status("s").pending == 0);
    let objects = service.objects("out");
    let found = objects.iter().find(|(name, _)| name.contains("/out/errors/backup-failed/"));
    assert_eq!(found.map(|(_, bytes)| bytes.as_slice()), Some(&b"onetwo"[..]), "{objects:?}");
    let status = service.status("s");
    assert_eq!((status.gap, outlet(&service, "destination"), outlet(&service, "backup")), (0, 2, 2), "{status:?}");
    let (code, text) = verb(&service, "redrive");
    assert!(code == 0 && text.contains("0 records put in"), "{text}");
}

/// What failed has no other place than that of failures.
#[test]
fn what_tells_of_failures_is_left_and_said() {
    let mut service = Service::new();
    service.configure(
        "",
        "  s:\n    buffer: { size: 1MiB, interval: 100ms }\n    format: { parquet: { schema: DIR/schema.yaml } }\n    destination: { \
         local: { dir: DIR/out/file } }\n",
    );
    std::fs::write(service.dir.path().join("schema.yaml"), "columns: { n: int }\n").unwrap();
    std::fs::create_dir(service.dir.path().join("out")).unwrap();
    service.restart();
    let _ = std::fs::remove_dir_all(service.dir.path().join("out"));
    std::fs::write(service.dir.path().join("out"), "no directory").unwrap();
    assert_eq!(service.put("s", &[b"no json"]), 200);
    service.until("an alarm", alarmed);
    let (code, text) = verb(&service, "abandon");
    assert!(code == 0 && text.contains("0 plans are given up on"), "{text}");
    assert!(text.contains("1 more tell of failures and wait for the place where these go"), "{text}");
    std::fs::remove_file(service.dir.path().join("out")).unwrap();
    std::fs::create_dir(service.dir.path().join("out")).unwrap();
    service.settled(1);
    assert_eq!(outlet(&service, "format-conversion-failed"), 1);
}

/// Held since something else stands at its name under its id, or being sent at that moment: given up on all the same, and
/// each record is told of once.
#[test]
fn what_is_held_or_being_sent_is_given_up_on() {
    for (seed, is_held) in (0..40).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut world = World::of_objects(seed);
        world.bucket.lock().unwrap().faults = 0;
        let mut life = world.start().unwrap();
        for number in 0..12 {
            world.put_plain(&mut life, number).unwrap();
        }
        let mut reopened = 0;
        for _ in 0..200 {
            for (outlet, store, shipment) in life.engine.shipments() {
                let attempt = match (outlet, shipment.only_look) {
                    (Outlet::Destination, true) => Attempt::Absent,
                    (Outlet::Destination, false) if is_held => Attempt::Differs { found: "another".into() },
                    (Outlet::Destination, false) => {
                        // It is under way.
                        assert_eq!(life.engine.abandon().left, 0);
                        Attempt::Retry { reason: "nobody answers".into() }
                    }
                    _ => world.send(&life, &store, &shipment),
                };
                life.engine.reply(shipment.plan, attempt);
            }
            if is_held {
                life.engine.abandon();
            }
            match life.engine.step() {
                Err(e) if e.kind == Kind::Reopen => {
                    reopened += 1;
                    life = world.start().unwrap();
                }
                done => drop(done.unwrap()),
            }
            world.clock.advance(std::time::Duration::from_secs(5));
        }
        assert!(reopened > 0, "seed {seed}");
        drop(life);
        let life = world.drain().unwrap();
        assert_eq!((world.delivered(), life.engine.gap()), (Vec::new(), 0), "seed {seed}, held {is_held}");
        let mut told = world.undelivered();
        told.sort();
        assert_eq!(told, (0..12).collect::<Vec<u64>>(), "seed {seed}, held {is_held}");
        assert_eq!(life.engine.state().totals[Outlet::DeliveryFailed as usize].records, 12);
    }
}

/// Plans that were never tried are held up by a pause, or by the first one where the order of the records is kept.
#[test]
fn what_a_pause_or_the_first_of_an_order_holds_up_is_given_up_on() {
    for is_paused in [true, false] {
        let mut service = Service::new();
        // Nobody listens on port 1.
        let ordered = if is_paused { "" } else { ", ordered: true" };
        let streams = format!(
            "  s:\n    buffer: {{ size: 1MiB, interval: 100ms }}\n    destination: {{ http: {{ url: \"http://127.0.0.1:1/\", \
             retry_duration: 2h{ordered} }} }}\n    backup: {{ mode: failed, local: {{ dir: DIR/failed }} }}\n"
        );
        service.configure("", &streams);
        service.restart();
        if is_paused {
            assert_eq!(verb(&service, "pause").0, 0);
        }
        for record in [b"one".as_slice(), b"two", b"three"] {
            let plans = service.status("s").open_plans;
            assert_eq!(service.put("s", &[record]), 200);
            service.until("it is planned", |s| s.status("s").open_plans > plans);
        }
        if !is_paused {
            service.until("the first is refused", alarmed);
        }
        let (code, text) = verb(&service, "abandon");
        assert!(code == 0 && text.contains("3 plans are given up on"), "paused {is_paused}: {text}");
        if is_paused {
            assert_eq!(verb(&service, "resume").0, 0);
        }
        service.until("they are told of", |s| outlet(s, "delivery-failed") == 3);
        service.settled(3);
    }
}

/// A life of a world whose destination takes records: with three plans for it, and those of them that are being sent. All
/// others are stored.
fn three_plans(world: &mut World) -> (Life, Vec<Shipment>) {
    world.bucket.lock().unwrap().faults = 0;
    let mut life = world.start().unwrap();
    for number in 0..15 {
        world.put_plain(&mut life, number).unwrap();
    }
    let mut sent = Vec::new();
    let of_destination =
        |life: &Life| life.engine.state().open_plans().filter(|p| p.outlet == Outlet::Destination).count();
    while of_destination(&life) < 3 || life.engine.state().open_plans().count() > 3 {
        for (outlet, store, shipment) in life.engine.shipments() {
            match outlet {
                Outlet::Destination => sent.push(shipment),
                _ => {
                    let attempt = world.send(&life, &store, &shipment);
                    life.engine.reply(shipment.plan, attempt);
                }
            }
        }
        life.engine.step().unwrap();
    }
    (life, sent)
}

/// Plans that wait for their turn at a destination that takes others are not held up.
#[test]
fn what_is_only_not_sent_yet_is_not_given_up_on() {
    let mut world = World::of_records(5);
    world.ordered = false;
    let (mut life, sent) = three_plans(&mut world);
    assert!(!sent.is_empty() && sent.len() < 3, "nothing waits for a free slot");
    let refused = Attempt::Refused { code: "c".into(), message: "m".into(), busy: false, instead: None };
    life.engine.reply(sent[0].plan, refused);
    let done = life.engine.abandon();
    assert_eq!((done.given_up, done.being_sent), (sent.len() as u64, sent.len() as u64 - 1));
}

/// What stands behind a request that nobody answers is given up on at once, and stays so after a kill.
#[test]
fn what_stands_behind_a_request_without_an_answer_is_given_up_on() {
    let mut world = World::of_records(6);
    world.ordered = true;
    let (mut life, sent) = three_plans(&mut world);
    let [first] = &sent[..] else { panic!("one at a time") };
    let first: Vec<u64> = (0..first.outputs).collect();
    let of_destination = |life: &Life| -> u64 {
        let plans = life.engine.state().open_plans().filter(|plan| plan.outlet == Outlet::Destination);
        plans.map(|plan| plan.list.outputs()).sum()
    };
    let behind = of_destination(&life) - first.len() as u64;
    assert_eq!(life.engine.abandon().given_up, 1, "it may be answered at any moment");
    world.clock.advance(std::time::Duration::from_secs(6));
    let done = life.engine.abandon();
    assert_eq!((done.given_up, done.being_sent, done.rebuilding), (2, 0, 0));
    while life.engine.state().open_plans().filter(|plan| plan.abandoned.is_some()).count() < 2 {
        match life.engine.step() {
            Err(e) if e.kind == Kind::Reopen => life = world.start().unwrap(),
            done => drop(done.unwrap()),
        }
    }
    drop(life);
    world.crash_by_kill();
    let mut life = world.start().unwrap();
    assert_eq!(life.engine.abandon().rebuilding, 1, "the first one is made again");
    drop(life);
    let life = world.drain().unwrap();
    let told = world.undelivered();
    assert!(told.len() as u64 == behind && first.iter().all(|number| !told.contains(number)), "{told:?}");
    assert_eq!(life.engine.gap(), 0);
}

/// What a destination has cost is known after a restart: its patience does not begin anew in every life.
#[test]
fn patience_goes_on_through_restarts() {
    let mut world = World::of_records(3);
    world.bucket.lock().unwrap().faults = 0;
    let mut life = world.start().unwrap();
    world.put_plain(&mut life, 1).unwrap();
    let refused = Attempt::Refused { code: "c".into(), message: "m".into(), busy: false, instead: None };
    for lives in 1..20 {
        // Two attempts, and the pause between them.
        let mut refusals = 0;
        for _ in 0..100 {
            for (outlet, store, shipment) in life.engine.shipments() {
                let attempt = match outlet {
                    Outlet::Destination => refused.clone(),
                    _ => world.send(&life, &store, &shipment),
                };
                refusals += (attempt == refused) as u32;
                life.engine.reply(shipment.plan, attempt);
            }
            life.engine.step().unwrap();
            if refusals == 2 {
                break;
            }
            world.clock.advance(std::time::Duration::from_secs(5));
        }
        if life.engine.state().totals[Outlet::DeliveryFailed as usize].records == 1
            || life.engine.state().open_plans().any(|plan| plan.abandoned.is_some())
        {
            // 80 seconds of pauses, each of about 20.
            assert!((3..=6).contains(&lives), "given up on in life {lives}");
            return;
        }
        drop(life);
        world.crash_by_kill();
        life = world.start().unwrap();
    }
    panic!("it was never given up on");
}
