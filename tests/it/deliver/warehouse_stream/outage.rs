//! A database that is down holds up nobody else, and costs little memory.

use super::{Place, Put, put, put_rows, row};
use crate::deliver::warehouse::BOTH;
use crate::rig::eye::Eye;
use crate::rig::pace::Pace;
use crate::rig::postgres::{Database, Postgres};
use crate::rig::redshift_front::Front;
use crate::rig::service::Service;

/// Memory that the service may take more of.
const GROWTH_KIB_MAX: u64 = 64 << 10;
/// What is put into each stream while its database is up, and while it is down: together more than that memory.
const LARGE_REQUESTS: usize = 40;
const LARGE_RECORD_BYTES: usize = 900_000;
/// At once.
const LOADS: usize = 4;
/// Of one request to the stream that goes to a directory.
const ROWS: u64 = 20;

/// Puts large rows into streams: the most memory that the service takes meanwhile, in KiB.
fn put_large(service: &mut Service, names: &[String]) -> u64 {
    // Packed it is half as large.
    let digits = |_| char::from_digit(rand::random_range(0..16), 16).expect("a hex digit");
    let text: String = (0..LARGE_RECORD_BYTES).map(digits).collect();
    let record = format!("{{\"n\":1,\"s\":\"{text}\"}}").into_bytes();
    let mut most = service.resident_kib();
    for _ in 0..LARGE_REQUESTS {
        for name in names {
            assert_eq!(put(service.client(), name, std::slice::from_ref(&record)), Put::Taken);
            most = most.max(service.resident_kib());
        }
    }
    most
}

/// A service with a stream into each dialect of a server of its own, and one into a directory.
struct World<'p> {
    service: Service,
    server: &'p Postgres,
    /// Of the streams into tables.
    names: Vec<String>,
    _fronts: Vec<Option<Front>>,
    _databases: Vec<Database<'p>>,
}

/// Of a stream, done and open.
fn plans(service: &Service, name: &str) -> u64 {
    let status = service.status(name);
    status.open_plans + status.outlets.get("destination").map_or(0, |o| o.objects)
}

impl World<'_> {
    fn start(server: &Postgres) -> World<'_> {
        let eye = Eye::new();
        let mut streams =
            "  other:\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: DIR/other } }\n"
                .to_owned();
        let (mut names, mut fronts, mut databases) = (Vec::new(), Vec::new(), Vec::new());
        for dialect in BOTH {
            let database = server.database();
            let (front, address) = dialect.front(&database);
            let name = format!("rows_{dialect:?}").to_lowercase();
            database.run(&format!("CREATE TABLE {name} (n bigint, s text)"));
            let place = Place { dialect, address, database: &database, bucket: &eye.bucket };
            streams += &place.stream(&name, &[("concurrency", &LOADS.to_string())]);
            names.push(name);
            fronts.push(front);
            databases.push(database);
        }
        World { service: Service::start(&streams), server, names, _fronts: fronts, _databases: databases }
    }

    /// The database goes down, and as many loads as may be under way at once are tried in vain.
    fn go_down(&mut self) {
        self.server.kill();
        self.put_plans();
        for name in &self.names {
            self.service.until("as many are tried", |s| s.status(name).open_plans >= LOADS as u64);
            self.service.until("an alarm", |s| s.status(name).alarm.is_some());
        }
    }

    fn put_plans(&mut self) {
        for name in &self.names {
            for _ in 0..LOADS {
                let before = plans(&self.service, name);
                put_rows(&self.service, name, 0..ROWS);
                self.service.until("a plan is made", |s| plans(s, name) > before);
            }
        }
    }

    fn come_back(&mut self) {
        self.server.restart();
        self.settle();
    }

    fn settle(&mut self) {
        self.service.until("everything is settled", |s| s.statuses().iter().all(|s| s.pending == 0));
    }
}

#[test]
fn a_database_that_is_down_holds_up_nobody_else() {
    let servers = [Postgres::start(), Postgres::start()];
    let [mut calm, mut troubled] = servers.each_ref().map(|server| World::start(server));
    let rows: Vec<Vec<u8>> = (0..ROWS).map(row).collect();
    let mut pace = Pace::default();
    for _ in 0..2 {
        calm.put_plans();
        calm.settle();
        troubled.go_down();
        pace.half(&calm.service, &troubled.service, "other", &rows);
        troubled.service.until("others are served", |s| s.status("other").pending == 0);
        assert!(troubled.names.iter().all(|name| troubled.service.status(name).alarm.is_some()), "still down");
        troubled.come_back();
        std::mem::swap(&mut calm, &mut troubled);
    }
    pace.assert_same();
}

#[test]
fn a_database_that_is_down_costs_little_memory() {
    let server = Postgres::start();
    let mut world = World::start(&server);
    // What the rows themselves take is taken also where they can be loaded.
    let up = put_large(&mut world.service, &world.names);
    world.settle();
    server.kill();
    let down = put_large(&mut world.service, &world.names);
    for name in &world.names {
        world.service.until("an alarm", |s| s.status(name).alarm.is_some());
    }
    let down = down.max(world.service.resident_kib());
    println!("at most {up} KiB while the databases are up, {down} KiB while they are down");
    assert!(down < up + GROWTH_KIB_MAX, "{down} KiB while the databases are down, {up} KiB before");
    for name in &world.names {
        let status = world.service.status(name);
        assert_eq!((status.pending, status.gap), (LARGE_REQUESTS as u64, 0), "{status:?}");
    }
}
