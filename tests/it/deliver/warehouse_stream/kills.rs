//! `kill -9` of the service and of the database while rows are put: in the end each row that was acknowledged is in the
//! table once.

use super::{Place, Put, assert_audit, outlet, put, row};
use crate::deliver::warehouse::Dialect;
use crate::rig::eye::Eye;
use crate::rig::postgres::Postgres;
use crate::rig::service::{Client, Service, scale};
use crate::stream::kill::record::Rng;
use crate::stream::kill::tally::{Tally, last_step};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Steps to be killed at, and how often they are reached before, at most.
const STEPS: [(&str, u64); 8] = [
    ("plan.persisted", 4),
    ("upload.stored", 4),
    ("load.claimed", 4),
    ("load.copied", 4),
    ("load.committed", 4),
    ("upload.answered", 4),
    ("mark.persisted", 4),
    ("lane.read", 4),
];
/// How long a life goes on in which what was aimed at does not come about.
const REACHED_WITHIN: Duration = Duration::from_secs(4);
/// Rows put at once while there are some to put.
const BATCH: u64 = 100;

/// Rows that are put all the time, by a thread that outlives the service.
struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<Outcome>,
}

#[derive(Default)]
struct Shared {
    /// As many may be put as fast as it goes; then one at a time.
    allowed: AtomicU64,
    over: AtomicBool,
}

#[derive(Default)]
struct Outcome {
    taken: Vec<Range<u64>>,
    in_doubt: Vec<Range<u64>>,
    refused: u64,
}

impl Load {
    fn start(client: Client, stream: &'static str) -> Load {
        let shared = Arc::<Shared>::default();
        let theirs = shared.clone();
        Load { shared, thread: std::thread::spawn(move || run(client, stream, &theirs)) }
    }

    fn end(self) -> Outcome {
        self.shared.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load does not panic")
    }
}

fn run(client: Client, stream: &str, shared: &Shared) -> Outcome {
    let (mut outcome, mut next) = (Outcome::default(), 0);
    loop {
        let allowed = shared.allowed.load(Ordering::Relaxed);
        if next >= allowed && shared.over.load(Ordering::Relaxed) {
            return outcome;
        }
        let numbers = next..if next < allowed { next + BATCH } else { next + 1 };
        next = numbers.end;
        let rows: Vec<Vec<u8>> = numbers.clone().map(row).collect();
        match put(client, stream, &rows) {
            Put::Taken => outcome.taken.push(numbers),
            // As while the stream is being opened: they come again.
            Put::Refused => {
                outcome.refused += numbers.end - numbers.start;
                next = numbers.start;
                std::thread::sleep(Duration::from_millis(2));
            }
            Put::InDoubt => {
                outcome.in_doubt.push(numbers);
                // Until the next life, which answers this in some way.
                while client.call("ListDeliveryStreams", b"{}").is_none() && !shared.over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        }
    }
}

fn sum(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|r| r.end - r.start).sum()
}

/// Whether the service dies at its step.
fn dies(service: &mut Service) -> bool {
    let began = Instant::now();
    while !service.has_ended() {
        if began.elapsed() > REACHED_WITHIN {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

fn pause(least: u64, more: u64, rng: &mut Rng) {
    std::thread::sleep(Duration::from_millis(least + rng.below(more)));
}

/// A life that ends at a step, or at any time; with `down`, the database is killed in it as well.
fn live(service: &mut Service, at: Option<(&str, u64)>, down: Option<&Postgres>, rng: &mut Rng, tally: &mut Tally) {
    service.restart_to_die(at);
    if let Some(server) = down {
        pause(0, 300, rng);
        server.kill();
        pause(0, 200, rng);
        server.restart();
    }
    let died = at.is_some() && dies(service);
    if at.is_none() {
        pause(20, 580, rng);
    }
    if !died {
        service.kill();
    }
    match at {
        // Another thread may have come to another step while this one was being killed.
        Some((step, _)) if died => tally.named(step, true),
        Some(_) => tally.named(&last_step(&service.step_file()), false),
        None => tally.random(&last_step(&service.step_file())),
    }
}

fn every_row_is_there_once(dialect: Dialect) {
    let (eye, server) = (Eye::new(), Postgres::start());
    let mut database = server.database();
    let (_front, address) = dialect.front(&database);
    database.run("CREATE TABLE s (n bigint, s text)");
    let kills = (200.0 * scale()).ceil() as u64;
    let downs = (20.0 * scale()).ceil() as u64;
    let rows = (100_000.0 * scale()) as u64;
    let seed = rand::random();
    println!("seed {seed}");
    let (mut rng, mut tally) = (Rng(seed), Tally::default());

    let mut service = Service::new();
    service.configure("", &Place { dialect, address, database: &database, bucket: &eye.bucket }.stream("s", &[]));
    let load = Load::start(service.client(), "s");
    let began = Instant::now();
    for i in 0..kills {
        load.shared.allowed.store(rows * (i + 1) / kills, Ordering::Relaxed);
        let at = (i % 2 == 1).then(|| {
            let (step, most) = tally.next(&STEPS);
            (step, tally.nth(most, &mut rng))
        });
        let down = (i * downs / kills != (i + 1) * downs / kills).then_some(&server);
        live(&mut service, at, down, &mut rng, &mut tally);
    }
    for (step, _) in STEPS {
        for _ in 0..5 {
            if tally.at(step)[1] == 0 {
                live(&mut service, Some((step, 1)), None, &mut rng, &mut tally);
            }
        }
    }
    service.restart();
    let outcome = load.end();
    service.until("everything is settled", |s| s.statuses().iter().all(|s| s.pending == 0 && s.open_plans == 0));

    let status = service.status("s");
    let (taken, in_doubt) = (sum(&outcome.taken), sum(&outcome.in_doubt));
    database.reconnect();
    let found = database.rows("SELECT n, s FROM s ORDER BY n");
    let mut times = vec![0_u64; (taken + in_doubt) as usize];
    for found in &found {
        let n: u64 = found[0].as_deref().and_then(|n| n.parse().ok()).expect("a number");
        assert_eq!(found[1], Some(format!("row {n} \t\\ é")));
        times[n as usize] += 1;
    }
    let lost: Vec<u64> = outcome.taken.iter().cloned().flatten().filter(|n| times[*n as usize] == 0).collect();
    let twice: Vec<usize> = (0..times.len()).filter(|n| times[*n] > 1).collect();
    let of_doubt = outcome.in_doubt.iter().cloned().flatten().filter(|n| times[*n as usize] > 0).count() as u64;
    let [random, named] = tally.sum();
    let failed = outlet(&service, "s", "delivery-failed");
    tally.print(&[]);
    println!(
        "{dialect:?}: {} kills of the service, {downs} of the database, in {:.0} s\nacknowledged {taken}, in doubt {in_doubt} \
         of which taken {of_doubt}, refused {}\nin the table {} by {} loads, failed {failed}, duplicates {}, lost {}, gap {}",
        random + named,
        began.elapsed().as_secs_f64(),
        outcome.refused,
        found.len(),
        database.value("SELECT count(*) FROM claims_s"),
        twice.len(),
        lost.len(),
        status.gap,
    );
    assert!(lost.is_empty(), "{} rows are lost, the first {}", lost.len(), lost[0]);
    assert!(twice.is_empty(), "{} rows are there twice, the first {}", twice.len(), twice[0]);
    assert!(taken >= rows - in_doubt, "fewer rows were put than should be");
    assert_eq!(found.len() as u64, taken + of_doubt, "what was refused is not there");
    assert_eq!((status.accepted, status.gap, status.lost), (taken + of_doubt, 0, 0), "{status:?}");
    assert_eq!((outlet(&service, "s", "destination"), failed), (status.accepted, 0));
    assert_audit(&service);
    for (step, _) in STEPS {
        assert!(tally.at(step)[1] > 0, "no kill that was aimed at `{step}` hit it");
    }
    assert!(random * 2 >= kills, "{random} of {kills} kills were at random");
}

#[test]
fn kills_lose_no_row_of_postgres_and_load_none_twice() {
    every_row_is_there_once(Dialect::Postgres);
}

#[test]
fn kills_lose_no_row_of_redshift_and_load_none_twice() {
    every_row_is_there_once(Dialect::Redshift);
}
