//! Each sink with somebody who sees what it did.

use super::{Nature, Network, Once, Place};
use crate::deliver::s3;
use crate::deliver::warehouse::{self, Dialect};
use crate::rig::endpoint::{Answer, Endpoint, Outcome};
use crate::rig::eye::{self, Eye};
use crate::rig::postgres::{Database, PASSWORD, RUNTIME, SHARED};
use crate::rig::redshift_front::Front;
use crate::rig::service::variable;
use hydrant::config;
use hydrant::deliver::http::HttpSink;
use hydrant::deliver::local::LocalSink;
use hydrant::deliver::records::Building;
use hydrant::deliver::{Attempt, Body, Shipment, Sink};
use hydrant::fs::fake::FakeFs;
use hydrant::fs::real::RealFs;
use hydrant::fs::{self, Fs};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
const ACCESS_KEY: &str = "a key to nothing";

/// Records as the lines of an object.
fn lines(records: &[Vec<u8>]) -> Vec<u8> {
    records.iter().flat_map(|record| [record.as_slice(), b"\n"].concat()).collect()
}

fn records(lines: &[u8]) -> Vec<Vec<u8>> {
    lines.split_inclusive(|b| *b == b'\n').map(|line| line[..line.len() - 1].to_vec()).collect()
}

/// A directory, or one on a disk in memory that stops when it is told to.
pub struct Directory {
    root: PathBuf,
    fake: Option<Mutex<FakeFs>>,
    _dir: tempfile::TempDir,
}

impl Directory {
    pub fn real() -> Directory {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Directory { root: dir.path().join("bucket"), fake: None, _dir: dir }
    }

    pub fn fake() -> Directory {
        Directory { fake: Some(Mutex::default()), ..Directory::real() }
    }

    fn disk(&self) -> Arc<dyn Fs> {
        match &self.fake {
            None => Arc::new(RealFs),
            Some(fake) => Arc::new(fake.lock().expect("nobody panics").clone()),
        }
    }

    fn file(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(&*self.disk(), &self.root.join(name)).ok()
    }
}

impl Place for Directory {
    fn nature(&self) -> Nature {
        Nature { once: Once::Name, looks: true, compares: false, empty: true, shared: false }
    }

    fn shipment(&self, name: &str, records: &[Vec<u8>]) -> Shipment {
        match &self.fake {
            None => s3::shipment(name, &lines(records)),
            // Scratch lies on a disk that does not stop.
            Some(_) => Shipment { body: Arc::new(Body::of(lines(records))), ..s3::shipment(name, b"") },
        }
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(LocalSink::new(self.disk(), self.root.clone()))
    }

    fn refusing(&self, shipment: &Shipment) -> (Box<dyn Sink>, String, String) {
        // Below a file, which only a real disk minds.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let at = format!("`{}`", root.join(&shipment.name).display());
        (Box::new(LocalSink::new(Arc::new(RealFs), root)), "write ".to_owned(), at)
    }

    fn found(&self, shipment: &Shipment) -> Vec<Vec<u8>> {
        records(&self.file(&shipment.name).unwrap_or_default())
    }

    fn things(&self) -> usize {
        self.disk().list(&self.root.join("p")).expect("it lists").len()
    }

    fn put_foreign(&self, name: &str, bytes: &[u8]) {
        let file = self.disk().create_new(&self.root.join(name)).expect("a file is made");
        file.write_all_at(bytes, 0).expect("a file is written");
    }

    fn bytes_at(&self, name: &str) -> Vec<u8> {
        self.file(name).expect("it is there")
    }

    fn network(&self) -> Option<&dyn Network> {
        None
    }

    fn attempt_until(&self, shipment: &Shipment, operation: u64, power: bool) -> Option<(Attempt, bool)> {
        let mut fake = self.fake.as_ref()?.lock().expect("nobody panics");
        fake.crash_at(fake.operations() + operation);
        let attempt = LocalSink::new(Arc::new(fake.clone()), self.root.clone()).attempt(shipment);
        let was_cut = fake.crashed();
        // At the latest now.
        *fake = if power { fake.after_power_cut(&mut rand::random) } else { fake.after_kill() };
        Some((attempt, was_cut))
    }
}

/// A bucket of the tests' MinIO.
pub struct Bucket(Eye);

impl Bucket {
    pub fn new() -> Bucket {
        Bucket(Eye::new())
    }
}

impl Place for Bucket {
    fn nature(&self) -> Nature {
        Nature { once: Once::Name, looks: true, compares: true, empty: true, shared: true }
    }

    fn shipment(&self, name: &str, records: &[Vec<u8>]) -> Shipment {
        s3::shipment(name, &lines(records))
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.0.sink())
    }

    fn refusing(&self, shipment: &Shipment) -> (Box<dyn Sink>, String, String) {
        let sink = eye::connect(&eye::settings("no-such-bucket"));
        (Box::new(sink), "S3.NoSuchBucket: ".to_owned(), format!("`s3://no-such-bucket/{}`", shipment.name))
    }

    fn found(&self, shipment: &Shipment) -> Vec<Vec<u8>> {
        match self.0.names().contains(&shipment.name) {
            true => records(&self.0.bytes(&shipment.name)),
            false => Vec::new(),
        }
    }

    fn things(&self) -> usize {
        self.0.names().len()
    }

    fn put_foreign(&self, name: &str, bytes: &[u8]) {
        self.0.put(name, bytes);
    }

    fn bytes_at(&self, name: &str) -> Vec<u8> {
        self.0.bytes(name)
    }

    fn network(&self) -> Option<&dyn Network> {
        Some(self)
    }
}

impl Bucket {
    fn put(&self, shipment: &Shipment) -> String {
        format!("put `s3://{}/{}`: ", self.0.bucket, shipment.name)
    }
}

impl Network for Bucket {
    fn server(&self) -> SocketAddr {
        let endpoint = variable("HYDRANT_TEST_S3_ENDPOINT");
        endpoint.trim_start_matches("http://").parse().expect("an address")
    }

    fn sink_at(&self, address: SocketAddr, timeout: Duration) -> Box<dyn Sink> {
        let settings = eye::settings(&self.0.bucket);
        Box::new(eye::connect(&config::S3 { endpoint: Some(format!("http://{address}")), timeout, ..settings }))
    }

    fn nobody(&self, _: SocketAddr, shipment: &Shipment) -> (String, String) {
        ("S3.ConnectionFailed: ".to_owned(), self.put(shipment))
    }

    fn silent(&self, _: SocketAddr, shipment: &Shipment) -> (String, String) {
        ("S3.Timeout: ".to_owned(), self.put(shipment))
    }

    fn secret(&self) -> String {
        variable("HYDRANT_TEST_S3_SECRET_KEY")
    }
}

/// An endpoint that looks at the ids of requests.
pub struct Receiver(Endpoint);

impl Receiver {
    pub fn new() -> Receiver {
        Receiver(Endpoint::start())
    }

    /// The requests it took, whether or not it said so: of each id the first.
    fn taken(&self) -> Vec<(String, Vec<Vec<u8>>)> {
        self.0.assert_one_body_per_id();
        let mut ids = BTreeSet::new();
        let seen =
            self.0.seen().into_iter().filter(|(r, outcome)| *outcome != Outcome::Refused && ids.insert(r.id.clone()));
        seen.map(|(r, _)| (r.id.clone(), r.records.clone())).collect()
    }
}

impl Place for Receiver {
    fn nature(&self) -> Nature {
        Nature { once: Once::RequestId, looks: false, compares: false, empty: false, shared: true }
    }

    fn shipment(&self, name: &str, records: &[Vec<u8>]) -> Shipment {
        let mut building = Building::new(Body::of(Vec::new()).spool(), false);
        records.iter().for_each(|record| building.push(1, record));
        let body = Arc::new(building.finish(false));
        Shipment { planned_ms: 1_700_000_000_000, body, ..s3::shipment(name, &[]) }
    }

    fn sink(&self) -> Box<dyn Sink> {
        self.sink_at(self.server(), LONG)
    }

    fn refusing(&self, _: &Shipment) -> (Box<dyn Sink>, String, String) {
        self.0.next([Answer::status(400)]);
        (self.sink(), "HttpEndpoint.DestinationException: ".to_owned(), "400: {\"message\":\"refused by".to_owned())
    }

    fn found(&self, shipment: &Shipment) -> Vec<Vec<u8>> {
        let id = shipment.id.to_string();
        self.taken().into_iter().find(|taken| taken.0 == id).map(|taken| taken.1).unwrap_or_default()
    }

    fn things(&self) -> usize {
        self.taken().len()
    }

    fn put_foreign(&self, _: &str, _: &[u8]) {
        unreachable!("there are no names");
    }

    fn bytes_at(&self, _: &str) -> Vec<u8> {
        unreachable!("there are no names");
    }

    fn network(&self) -> Option<&dyn Network> {
        Some(self)
    }
}

impl Network for Receiver {
    fn server(&self) -> SocketAddr {
        self.0.url("").trim_start_matches("http://").parse().expect("an address")
    }

    fn sink_at(&self, address: SocketAddr, timeout: Duration) -> Box<dyn Sink> {
        let settings = serde_json::json!({
            "url": format!("http://{address}/"),
            "access_key": ACCESS_KEY,
            "timeout": format!("{}s", timeout.as_secs()),
        });
        let settings: config::Http = serde_json::from_value(settings).expect("settings");
        let arn = "arn:aws:firehose:us-east-1:000000000000:deliverystream/s";
        Box::new(HttpSink::connect(&settings, arn, RUNTIME.handle().clone()).expect("settings are complete"))
    }

    // A URL may hold secrets, and is not told.
    fn nobody(&self, _: SocketAddr, _: &Shipment) -> (String, String) {
        ("HttpEndpoint.ConnectionFailed: ".to_owned(), "onnection refused".to_owned())
    }

    fn silent(&self, _: SocketAddr, _: &Shipment) -> (String, String) {
        ("HttpEndpoint.RequestTimeout: ".to_owned(), "no answer within 1s".to_owned())
    }

    fn secret(&self) -> String {
        ACCESS_KEY.to_owned()
    }
}

/// A table, with a bucket to stage in.
pub struct Table {
    dialect: Dialect,
    eye: Eye,
    database: Database<'static>,
    _front: Option<Front>,
    address: SocketAddr,
}

impl Table {
    pub fn new(dialect: Dialect) -> Table {
        let database = SHARED.database();
        database.run("CREATE TABLE t (p text, n bigint, s text)");
        let (front, address) = dialect.front(&database);
        Table { dialect, eye: Eye::new(), database, _front: front, address }
    }
}

impl Place for Table {
    fn nature(&self) -> Nature {
        Nature { once: Once::Claim, looks: true, compares: true, empty: true, shared: true }
    }

    fn shipment(&self, name: &str, records: &[Vec<u8>]) -> Shipment {
        s3::shipment(name, &lines(records))
    }

    fn sink(&self) -> Box<dyn Sink> {
        self.sink_at(self.address, LONG)
    }

    fn refusing(&self, _: &Shipment) -> (Box<dyn Sink>, String, String) {
        let sink = self.dialect.sink_of("nothing", &self.database, &self.eye, self.address, LONG);
        (Box::new(sink), self.dialect.code("TableNotFound"), "\"nothing\"".to_owned())
    }

    fn found(&self, shipment: &Shipment) -> Vec<Vec<u8>> {
        let id = shipment.id;
        let rows = self.database.rows(&format!("SELECT n, s FROM t WHERE p = '{id}' ORDER BY n"));
        let record = |row: Vec<Option<String>>| match &row[..] {
            [Some(n), Some(s)] => format!("{{\"p\":\"{id}\",\"n\":{n},\"s\":\"{s}\"}}").into_bytes(),
            other => panic!("{other:?} was not sent"),
        };
        rows.into_iter().map(record).collect()
    }

    fn things(&self) -> usize {
        if self.database.value("SELECT to_regclass('hydrant_loads') IS NULL") == "t" {
            return 0;
        }
        self.database.value("SELECT count(*) FROM hydrant_loads").parse().expect("a number")
    }

    fn put_foreign(&self, name: &str, bytes: &[u8]) {
        self.eye.put(name, bytes);
    }

    fn bytes_at(&self, name: &str) -> Vec<u8> {
        self.eye.bytes(name)
    }

    fn network(&self) -> Option<&dyn Network> {
        Some(self)
    }
}

impl Network for Table {
    fn server(&self) -> SocketAddr {
        self.address
    }

    fn sink_at(&self, address: SocketAddr, timeout: Duration) -> Box<dyn Sink> {
        Box::new(self.dialect.sink_of(warehouse::TABLE, &self.database, &self.eye, address, timeout))
    }

    fn nobody(&self, address: SocketAddr, _: &Shipment) -> (String, String) {
        (self.dialect.code("ConnectionFailed: "), format!("connect to `{address}`: "))
    }

    fn silent(&self, address: SocketAddr, shipment: &Shipment) -> (String, String) {
        self.nobody(address, shipment)
    }

    fn secret(&self) -> String {
        PASSWORD.to_owned()
    }
}
