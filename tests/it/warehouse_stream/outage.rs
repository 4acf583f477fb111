//! A database that is down holds up nobody else, and costs little memory.

use super::{Place, Put, put, row};
use crate::postgres::Postgres;
use crate::s3::Eye;
use crate::service::Service;
use crate::warehouse::BOTH;
use std::time::Instant;

/// Memory that the service may take more of.
const GROWTH_KIB_MAX: u64 = 64 << 10;
/// What is put into each stream while its database is up, and while it is down: together more than that memory.
const LARGE_REQUESTS: usize = 40;
const LARGE_RECORD_BYTES: usize = 900_000;
const ROUNDS: usize = 5;
const PUTS: u64 = 300;
/// Of one request.
const ROWS: u64 = 20;

/// Memory of the service, in KiB.
fn resident_kib(service: &Service) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).expect("it runs");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("it says what it takes");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Requests in a second to the stream that goes to a directory.
fn puts_a_second(service: &Service) -> f64 {
    let rows: Vec<Vec<u8>> = (0..ROWS).map(row).collect();
    let began = Instant::now();
    for _ in 0..PUTS {
        assert_eq!(put(service.client(), "other", &rows), Put::Taken);
    }
    PUTS as f64 / began.elapsed().as_secs_f64()
}

/// Puts large rows into streams: the most memory that the service takes meanwhile, in KiB.
fn put_large(service: &mut Service, names: &[String]) -> u64 {
    // Packed it is half as large.
    let digits = |_| char::from_digit(rand::random_range(0..16), 16).expect("a hex digit");
    let text: String = (0..LARGE_RECORD_BYTES).map(digits).collect();
    let record = format!("{{\"n\":1,\"s\":\"{text}\"}}").into_bytes();
    let mut most = resident_kib(service);
    for _ in 0..LARGE_REQUESTS {
        for name in names {
            assert_eq!(put(service.client(), name, std::slice::from_ref(&record)), Put::Taken);
            most = most.max(resident_kib(service));
        }
    }
    most
}

/// Whatever else the machine is at only makes it slower.
fn best(rates: [f64; ROUNDS]) -> f64 {
    rates.into_iter().fold(0.0, f64::max)
}

#[test]
fn a_database_that_is_down_holds_up_nobody_else_and_costs_little_memory() {
    let (eye, server) = (Eye::new(), Postgres::start());
    let databases = BOTH.map(|dialect| (dialect, server.database()));
    let mut streams =
        "  other:\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: DIR/other } }\n"
            .to_owned();
    let mut names = Vec::new();
    let mut fronts = Vec::new();
    for (dialect, database) in &databases {
        let (front, address) = dialect.front(database);
        fronts.push(front);
        let name = format!("rows_{dialect:?}").to_lowercase();
        database.run(&format!("CREATE TABLE {name} (n bigint, s text)"));
        streams +=
            &Place { dialect: *dialect, address, database, bucket: &eye.bucket }.stream(&name, &[("concurrency", "4")]);
        names.push(name);
    }
    let mut service = Service::start(&streams);
    let (mut rates, mut accepted) = ([[0.0; ROUNDS]; 2], 0);
    let [before, during] = &mut rates;
    for (before, during) in before.iter_mut().zip(during) {
        *before = puts_a_second(&service);
        server.kill();
        for name in &names {
            assert_eq!(put(service.client(), name, &[row(1)]), Put::Taken);
            service.until("an alarm", |s| s.status(name).alarm.is_some());
        }
        *during = puts_a_second(&service);
        server.restart();
        accepted += 2 * PUTS * ROWS + names.len() as u64;
        service.settled(accepted);
    }
    let [before, during] = rates.map(best);
    println!("puts/s {rates:.0?}, at best {before:.0} before and {during:.0} during, ratio {:.2}", during / before);
    assert!(during > 0.8 * before, "{during:.0} puts/s while the databases are down, {before:.0} before: {rates:?}");

    // What the rows themselves take is taken also where they can be loaded.
    let up = put_large(&mut service, &names);
    accepted += (names.len() * LARGE_REQUESTS) as u64;
    service.settled(accepted);
    server.kill();
    let down = put_large(&mut service, &names);
    for name in &names {
        service.until("an alarm", |s| s.status(name).alarm.is_some());
    }
    let down = down.max(resident_kib(&service));
    println!("at most {up} KiB while the databases are up, {down} KiB while they are down");
    assert!(down < up + GROWTH_KIB_MAX, "{down} KiB while the databases are down, {up} KiB before");
    for name in &names {
        let status = service.status(name);
        assert_eq!((status.pending, status.gap), (LARGE_REQUESTS as u64, 0), "{status:?}");
    }
}
