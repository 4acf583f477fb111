//! `kill -9` of the service and of the database while rows are put: in the end each row that was acknowledged is in the
//! table once.

use super::{Place, Put, assert_audit, outlet, put, row};
use crate::postgres::Postgres;
use crate::s3::Eye;
use crate::service::{Client, Service, scale};
use crate::warehouse::Dialect;
use rand::RngExt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where a life ends, over and over; none: at any time.
const ENDS: [Option<&str>; 4] = [None, Some("plan.persisted"), Some("upload.answered"), Some("mark.persisted")];
/// Rows put at once while there are some to put.
const BATCH: u64 = 100;
/// Something that must happen within this time, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

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
            Put::Refused => outcome.refused += numbers.end - numbers.start,
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

/// Waits until the service has been killed at its step.
fn until_dead(service: &mut Service, step: &str) {
    let began = Instant::now();
    while !service.has_ended() {
        assert!(began.elapsed() < PATIENCE, "`{step}` is not reached: {:?}", service.statuses());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn pause(milliseconds: Range<u64>) {
    std::thread::sleep(Duration::from_millis(rand::rng().random_range(milliseconds)));
}

fn every_row_is_there_once(dialect: Dialect) {
    let (eye, server) = (Eye::new(), Postgres::start());
    let mut database = server.database();
    let (_front, address) = dialect.front(&database);
    database.run("CREATE TABLE s (n bigint, s text)");
    let kills = (20.0 * scale()).ceil().max(4.0) as u64;
    let downs = (5.0 * scale()).ceil().max(1.0) as u64;
    let rows = (100_000.0 * scale()) as u64;

    let mut service = Service::new();
    service.configure("", &Place { dialect, address, database: &database, bucket: &eye.bucket }.stream("s", &[]));
    let load = Load::start(service.client(), "s");
    let began = Instant::now();
    for i in 0..kills {
        load.shared.allowed.store(rows * (i + 1) / kills, Ordering::Relaxed);
        let end = ENDS[i as usize % ENDS.len()];
        match end {
            Some(step) => service.restart_to_die(step, rand::rng().random_range(1..=4)),
            None => service.restart(),
        }
        if i * downs / kills != (i + 1) * downs / kills {
            pause(0..300);
            server.kill();
            pause(0..200);
            server.restart();
        }
        match end {
            Some(step) => until_dead(&mut service, step),
            None => {
                pause(20..600);
                service.kill();
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
    println!(
        "{dialect:?}: {kills} kills of the service, {downs} of the database, in {:.1} s: {taken} rows taken, {in_doubt} in \
         doubt, {} refused; {} in the table by {} loads",
        began.elapsed().as_secs_f64(),
        outcome.refused,
        found.len(),
        database.value("SELECT count(*) FROM claims_s"),
    );
    assert!(taken >= rows - in_doubt, "fewer rows were put than should be");
    let mut times = vec![0_u8; (taken + in_doubt + outcome.refused) as usize];
    for found in &found {
        let n: u64 = found[0].as_deref().and_then(|n| n.parse().ok()).expect("a number");
        assert_eq!(found[1], Some(format!("row {n} \t\\ é")));
        times[n as usize] += 1;
    }
    let once = |n: u64| times[n as usize] == 1;
    let lost: Vec<u64> = outcome.taken.iter().cloned().flatten().filter(|n| times[*n as usize] == 0).collect();
    assert!(lost.is_empty(), "{} rows are lost, the first {}", lost.len(), lost[0]);
    assert!(times.iter().all(|times| *times <= 1), "rows are there twice: {:?}", times.iter().position(|t| *t > 1));
    let of_doubt = outcome.in_doubt.iter().cloned().flatten().filter(|n| once(*n)).count() as u64;
    assert_eq!(found.len() as u64, taken + of_doubt, "what was refused is not there");
    assert_eq!((status.accepted, status.gap, status.lost), (taken + of_doubt, 0, 0), "{status:?}");
    assert_eq!(outlet(&service, "s", "destination"), status.accepted);
    assert_eq!(outlet(&service, "s", "delivery-failed"), 0);
    assert_audit(&service);
}

#[test]
fn kills_lose_no_row_of_postgres_and_load_none_twice() {
    every_row_is_there_once(Dialect::Postgres);
}

#[test]
fn kills_lose_no_row_of_redshift_and_load_none_twice() {
    every_row_is_there_once(Dialect::Redshift);
}
