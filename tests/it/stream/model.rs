//! The world around one stream, in memory: a disk that crashes, a bucket that answers late or not at all, a transform
//! that runs out of time, and an oracle that knows every record ever put.

use hydrant::alarm::AlarmKind;
use hydrant::clock::{Clock, Manual};
use hydrant::compress::Compression;
use hydrant::deliver::object::{Created, Failure, Looked, ObjectStore, Owner, attempt};
use hydrant::deliver::records::BodyRecords;
use hydrant::deliver::{Attempt, Rejection, Shipment, Sink, local::LocalSink};
use hydrant::destination::retry::{Patience, RetryPace};
use hydrant::destination::{Payload, StoreName};
use hydrant::error::{Error, Kind, Result};
use hydrant::format::{RecordFormat, lines::LinesFormat};
use hydrant::fs::fake::FakeFs;
use hydrant::fs::{Fs, read};
use hydrant::journal::{self, Budget, Journal, Put, Writer};
use hydrant::lane::Lane;
use hydrant::partition::prefix::{Prefix, PrefixKind};
use hydrant::record::{EntryPoint, Origin, Records};
use hydrant::sabotage;
use hydrant::stream::engine::home::{Bounds, Home};
use hydrant::stream::engine::memory::NodeMemory;
use hydrant::stream::engine::{Engine, EngineSettings, Progress};
use hydrant::stream::pipeline::live::{Live, PlanLimits};
use hydrant::stream::pipeline::load::Routes;
use hydrant::stream::pipeline::route::{BackupRoute, FailureRoute, Route};
use hydrant::stream::pipeline::workers::Workers;
use hydrant::stream::plan::Outlet;
use hydrant::stream::state_log::blobs::Blobs;
use hydrant::stream::state_log::ledger::stubs;
use hydrant::stream::state_log::plan_log::PlanLog;
use hydrant::transform::{RecordTransform, TransformFailure, TransformVerdict, Transformed};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A small generator, so that every run can be repeated from its seed.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

pub const DIR: &str = "/data/stream";
const LOCAL: &str = "file:///bucket";
const MODEL: &str = "s3://model";
/// A store that is not there before somebody makes it.
const MISTYPED: &str = "s3://modle";
const ENDPOINT: &str = "http-endpoint";
/// Outputs that the endpoint takes in one request.
const ENDPOINT_MAX: u64 = 3;

/// What a record of a type becomes under a configuration: keys of its outputs, none for dropped, or a failure.
/// A capital letter may run out of time whenever it is judged.
fn outputs(kind: u8, configuration: u8) -> Result<Vec<&'static str>, ()> {
    Ok(match (kind.to_ascii_lowercase(), configuration) {
        (b'p', _) | (b'c', 0) => vec!["a"],
        (b'q', _) | (b'c', _) | (b'n', 1) => vec!["b"],
        (b'm', _) | (b'n', _) | (b'w', 0) => vec!["a", "b"],
        (b'w', _) => vec!["b", "a"],
        (b's', _) => vec!["a", "a"],
        (b'd', _) => vec![],
        _ => return Err(()),
    })
}

pub const KINDS: &[u8] = b"ppqmsdxcnwPMNS";

struct Scripted {
    configuration: u8,
    rng: Arc<Mutex<Rng>>,
}

impl RecordTransform for Scripted {
    fn batch_limits(&self) -> (usize, usize) {
        (7, 1 << 20)
    }

    fn apply(&self, records: &Records, _arrivals: &[u64], _origins: &[Origin]) -> Result<Transformed> {
        let mut done = Transformed::default();
        for record in records.iter() {
            let kind = record[record.len() - 1];
            if kind.is_ascii_uppercase() && self.rng.lock().unwrap().chance(30) {
                let failed = TransformFailure {
                    code: "Transform.Timeout",
                    message: "slow".into(),
                    attempts: 2,
                    may_differ: true,
                };
                done.verdicts.push(TransformVerdict::Failed(failed));
                continue;
            }
            done.verdicts.push(match outputs(kind, self.configuration) {
                Err(()) => TransformVerdict::Failed(TransformFailure {
                    code: "Transform.ProcessingFailed",
                    message: "asked to".into(),
                    attempts: 1,
                    may_differ: false,
                }),
                Ok(keys) if keys.is_empty() => TransformVerdict::Dropped,
                Ok(keys) => {
                    let first = done.outputs.len() as u32;
                    for (i, key) in keys.iter().enumerate() {
                        let text = String::from_utf8_lossy(record);
                        done.outputs.push(format!("{text}#{i}/{}@{}", keys.len(), self.configuration).as_bytes());
                        done.partition_keys.push(vec![("k".into(), key.to_string())]);
                    }
                    TransformVerdict::Kept { first, count: keys.len() as u32 }
                }
            });
        }
        Ok(done)
    }
}

/// Definitions are `LOCAL 0`, `MODEL 1` and so on: destination and configuration; the backup goes to the other store, and
/// what an endpoint does not take to the first.
struct Loader(Arc<Mutex<Rng>>);

impl Routes for Loader {
    fn load(&self, definition: &[u8], _blobs: &Blobs) -> Result<Arc<Route>> {
        let text = String::from_utf8_lossy(definition).into_owned();
        let (store, configuration) = text.split_once(' ').ok_or_else(|| Error::new(Kind::Invalid, text.clone()))?;
        let prefix = |text: &str, kind| Prefix::parse(text, kind).unwrap();
        Ok(Arc::new(Route {
            transform: Some(Box::new(Scripted {
                configuration: configuration.as_bytes()[0] - b'0',
                rng: self.0.clone(),
            })),
            prefix: prefix("main/!{partitionKeyFromLambda:k}/", PrefixKind::Objects),
            error_prefix: prefix("errors/!{firehose:error-output-type}/", PrefixKind::Errors),
            format: RecordFormat::Lines(LinesFormat { newline: true }),
            compress: Compression::None,
            extension: None,
            time_zone: jiff::tz::TimeZone::UTC,
            store: place(store),
            takes: if store == ENDPOINT { Payload::Records } else { Payload::Objects },
            failures: FailureRoute {
                store: place(if store == ENDPOINT { LOCAL } else { store }),
                compress: Compression::None,
                undelivered: "http-endpoint-failed",
                manifests: None,
            },
            backup: Some(BackupRoute {
                store: place(if store == LOCAL { MODEL } else { LOCAL }),
                prefix: prefix("raw/", PrefixKind::Objects),
                compress: Compression::None,
            }),
        }))
    }
}

fn place(name: &str) -> StoreName {
    name.parse().expect("one of the names above")
}

/// An object in the model bucket.
#[derive(Clone)]
pub struct Object {
    pub owner: Option<Owner>,
    pub bytes: Vec<u8>,
}

/// The model bucket and the wire before it.
#[derive(Default)]
pub struct Bucket {
    pub objects: BTreeMap<String, Object>,
    /// Requests that may still take effect.
    late: Vec<(String, Object)>,
    /// Percentages of each fault; all zero at rest.
    pub faults: u64,
    /// There is no such bucket.
    pub is_missing: bool,
}

struct ModelStore {
    bucket: Arc<Mutex<Bucket>>,
    rng: Arc<Mutex<Rng>>,
}

fn failed() -> Failure {
    Failure { misconfigured: false, nowhere: false, gone: false, reason: "the model bucket did not answer".into() }
}

fn nowhere() -> Failure {
    Failure { misconfigured: true, nowhere: true, gone: false, reason: "there is no such bucket".into() }
}

impl ObjectStore for ModelStore {
    fn create(&self, shipment: &Shipment) -> Created {
        let mut bucket = self.bucket.lock().unwrap();
        let mut rng = self.rng.lock().unwrap();
        let owner = Owner { id: shipment.id, outputs: shipment.outputs, digest: shipment.digest };
        let Ok(bytes) = shipment.body.read(0, shipment.body.len() as usize) else {
            return Created::Failed(failed());
        };
        let object = Object { owner: Some(owner), bytes };
        let name = shipment.name.clone();
        let faults = bucket.faults;
        // A request that is carried out long after, when the bucket was made meanwhile, is left out.
        if bucket.is_missing {
            return Created::Failed(if rng.chance(faults) { failed() } else { nowhere() });
        }
        if rng.chance(faults / 4) && !bucket.objects.contains_key(&name) {
            bucket.objects.insert(name.clone(), Object { owner: None, bytes: b"foreign\n".to_vec() });
        }
        if rng.chance(faults) {
            return Created::Failed(failed());
        }
        if rng.chance(faults) {
            bucket.late.push((name, object));
            return Created::Failed(failed());
        }
        if bucket.objects.contains_key(&name) {
            return Created::Taken;
        }
        bucket.objects.insert(name, object);
        if rng.chance(faults) { Created::Failed(failed()) } else { Created::Stored { tag: "t".into() } }
    }

    fn look(&self, name: &str) -> Looked {
        let bucket = self.bucket.lock().unwrap();
        if self.rng.lock().unwrap().chance(bucket.faults) {
            return Looked::Failed(failed());
        }
        match bucket.objects.get(name) {
            None if bucket.is_missing => Looked::Failed(nowhere()),
            None => Looked::Absent,
            Some(object) => Looked::Present { owner: object.owner.clone(), tag: "t".into() },
        }
    }

    fn has_conditions(&self) -> bool {
        true
    }
}

impl Sink for ModelStore {
    fn attempt(&self, shipment: &Shipment) -> Attempt {
        attempt(self, shipment)
    }
}

/// An endpoint that takes records, and may take them and not say so.
#[derive(Default)]
pub struct Endpoint {
    /// By the request's id: the records, and whether it was ever answered that they were taken.
    requests: BTreeMap<uuid::Uuid, (Vec<Vec<u8>>, bool)>,
    /// A request came again with another body.
    changed: Option<uuid::Uuid>,
}

struct ModelEndpoint {
    bucket: Arc<Mutex<Bucket>>,
    endpoint: Arc<Mutex<Endpoint>>,
    rng: Arc<Mutex<Rng>>,
}

impl Sink for ModelEndpoint {
    fn attempt(&self, shipment: &Shipment) -> Attempt {
        if shipment.only_look {
            return Attempt::Absent;
        }
        let refused = || Attempt::Refused {
            code: "HttpEndpoint.DestinationException".into(),
            message: "the model endpoint".into(),
            busy: false,
            instead: None,
        };
        let faults = 2 * self.bucket.lock().unwrap().faults;
        let mut rng = self.rng.lock().unwrap();
        if rng.chance(faults) {
            return refused();
        }
        let mut taken = Vec::new();
        let mut records = match BodyRecords::new(&shipment.body) {
            Ok(records) => records,
            Err(e) => return Attempt::Retry { reason: e.to_string() },
        };
        loop {
            match records.read() {
                Ok(Some((_, record))) => taken.push(record.to_vec()),
                Ok(None) => break,
                Err(e) => return Attempt::Retry { reason: e.to_string() },
            }
        }
        if taken.len() as u64 > ENDPOINT_MAX {
            return Attempt::TooLarge { code: "HttpEndpoint.DestinationException".into(), message: "413".into() };
        }
        let mut endpoint = self.endpoint.lock().unwrap();
        if !endpoint.requests.contains_key(&shipment.id) {
            let rejection =
                |record| Rejection { record, code: "Postgres.DataLoadFailed".into(), message: "model".into() };
            let rejected = (0..).zip(&taken).filter(|(_, text)| is_rejected(text)).map(|(i, _)| rejection(i));
            let records: Vec<Rejection> = rejected.collect();
            if !records.is_empty() {
                return Attempt::Rejected { records };
            }
        }
        let request = endpoint.requests.entry(shipment.id).or_insert_with(|| (taken.clone(), false));
        if request.0 != taken {
            endpoint.changed = Some(shipment.id);
            return refused();
        }
        if rng.chance(faults) {
            return refused();
        }
        request.1 = true;
        Attempt::Stored { tag: String::new() }
    }
}

/// Whether the endpoint does not take a record, whatever comes with it.
fn is_rejected(text: &[u8]) -> bool {
    text.get(..5).and_then(|number| std::str::from_utf8(number).ok()?.parse::<u64>().ok()).is_some_and(|n| n % 11 == 7)
}

/// What survives every crash, and what the oracle knows.
pub struct World {
    pub fs: FakeFs,
    pub bucket: Arc<Mutex<Bucket>>,
    /// What a mistyped name leads to.
    mistyped: Arc<Mutex<Bucket>>,
    pub endpoint: Arc<Mutex<Endpoint>>,
    pub rng: Arc<Mutex<Rng>>,
    pub clock: Arc<Manual>,
    pub incarnation: [u8; 16],
    pub definition: String,
    /// The destination is given one plan after the other.
    pub ordered: bool,
    /// The size of objects that is asked for.
    pub object_bytes: Option<u64>,
    /// Records put, by number: kind, and whether the put was acknowledged.
    pub records: BTreeMap<u64, (u8, bool)>,
    pub crashes: u64,
}

/// A running process.
pub struct Life {
    writer: Writer,
    journal: Arc<Journal>,
    pub engine: Engine,
    sinks: HashMap<&'static str, Box<dyn Sink>>,
    /// A wrong build acknowledges these only now.
    unsynced: Vec<u64>,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut rng = Rng(seed);
        let store = [LOCAL, MODEL, ENDPOINT][rng.below(3) as usize];
        World {
            fs: FakeFs::new(),
            bucket: Arc::new(Mutex::new(Bucket { faults: [0, 8, 20][rng.below(3) as usize], ..Bucket::default() })),
            mistyped: Arc::default(),
            endpoint: Arc::default(),
            incarnation: *b"incarnation-0001",
            definition: format!("{store} 0"),
            object_bytes: rng.chance(30).then_some(50),
            ordered: rng.chance(30),
            rng: Arc::new(Mutex::new(rng)),
            clock: Arc::new(Manual::at_ms(1_790_000_000_000)),
            records: BTreeMap::new(),
            crashes: 0,
        }
    }

    /// One whose destination takes objects.
    pub fn of_objects(seed: u64) -> World {
        let mut world = World::new(seed);
        world.definition = world.definition.replace(ENDPOINT, MODEL);
        world
    }

    /// One whose destination, and the place of its failures, is mistyped.
    pub fn mistyped(seed: u64) -> World {
        let mut world = World::new(seed);
        let faults = world.bucket.lock().unwrap().faults;
        *world.mistyped.lock().unwrap() = Bucket { faults, is_missing: true, ..Bucket::default() };
        world.definition = format!("{MISTYPED} 0");
        world
    }

    /// Somebody makes the bucket that is not there, or sees that another one is meant.
    fn mend(&mut self) {
        let is_missing = self.mistyped.lock().unwrap().is_missing;
        if is_missing && self.chance(50) {
            self.mistyped.lock().unwrap().is_missing = false;
        } else {
            self.definition = self.definition.replace(MISTYPED, MODEL);
        }
    }

    /// One whose destination takes records.
    pub fn of_records(seed: u64) -> World {
        World { definition: format!("{ENDPOINT} 0"), ..World::new(seed) }
    }

    pub fn chance(&self, percent: u64) -> bool {
        self.rng.lock().unwrap().chance(percent)
    }

    pub fn below(&self, n: u64) -> u64 {
        self.rng.lock().unwrap().below(n)
    }

    /// Starts a process on the disk as it is.
    pub fn start(&self) -> Result<Life> {
        let fs: Arc<dyn Fs> = Arc::new(self.fs.clone());
        let dir = PathBuf::from(DIR);
        let bounds = Bounds {
            memory_bytes_max: 1 << 20,
            tail_bytes_max: 256,
            open_plans_max: 3,
            plan_bytes_max: 2000,
            open_keys_max: 4,
            reserve_bytes: 2048,
            spool_bytes_max: 64,
            chunks_ahead_max: 3,
            ledger_file_bytes: 1500,
        };
        let log = PlanLog::open(fs.clone(), &dir, self.incarnation, bounds.reserve_bytes)?;
        let limits = journal::JournalLimits { segment_bytes_min: 16384, segment_bytes_max: 65536, tail_bytes_max: 256 };
        let floor = log.state().floor();
        let (journal, writer, _) =
            Journal::open(fs.clone(), &dir, self.incarnation, limits, Budget::unlimited(), floor)?;
        let first = Duration::from_secs(20);
        let live = Live {
            size_bytes: 40,
            object_bytes: self.object_bytes,
            interval: Duration::from_secs(60),
            backup_size_bytes: 60,
            backup_interval: Duration::from_secs(60),
            failures_with_backup: false,
            limits: match self.definition.starts_with(ENDPOINT) {
                true => PlanLimits { outputs_max: 5, bytes_max: 60 },
                false => PlanLimits::NONE,
            },
            shipments_max: [3; 3],
            shipments_of_lanes_max: [3; 3],
            adaptive: self.definition.starts_with(ENDPOINT),
            ordered: self.ordered,
            gzip_requests: self.ordered,
            patience: Some(Patience {
                duration: Duration::from_secs(80),
                pace: RetryPace::Doubling { first, max: 2 * first },
            }),
        };
        let rng = self.rng.clone();
        let random = move || {
            let mut rng = rng.lock().unwrap();
            (rng.next() as u128) << 64 | rng.next() as u128
        };
        let home = Home {
            fs: fs.clone(),
            dir,
            incarnation: self.incarnation,
            objects: None,
            stream: "s".into(),
            clock: self.clock.clone(),
            random: Box::new(random),
            workers: Workers::new(0),
            memory: NodeMemory::new(1 << 20).stream(),
            bounds,
        };
        let loader = Box::new(Loader(self.rng.clone()));
        let settings = EngineSettings { live, loader, definition: self.definition.as_bytes().to_vec() };
        let engine = Engine::open(home, settings, log, journal.clone())?;
        let mut sinks: HashMap<&'static str, Box<dyn Sink>> = HashMap::new();
        sinks.insert(LOCAL, Box::new(LocalSink::new(fs, PathBuf::from("/bucket"))));
        sinks.insert(MODEL, Box::new(ModelStore { bucket: self.bucket.clone(), rng: self.rng.clone() }));
        sinks.insert(MISTYPED, Box::new(ModelStore { bucket: self.mistyped.clone(), rng: self.rng.clone() }));
        let (bucket, endpoint, rng) = (self.bucket.clone(), self.endpoint.clone(), self.rng.clone());
        sinks.insert(ENDPOINT, Box::new(ModelEndpoint { bucket, endpoint, rng }));
        Ok(Life { writer, journal, engine, sinks, unsynced: Vec::new() })
    }

    /// The disk after this life ended: killed, or without power.
    pub fn crash(&mut self) {
        self.crashes += 1;
        let keep = [0, 30, 70, 100][self.below(4) as usize];
        self.fs = if self.chance(50) {
            self.fs.after_kill()
        } else {
            let rng = self.rng.clone();
            self.fs.after_power_cut(&mut || rng.lock().unwrap().chance(keep))
        };
    }

    /// The disk after a kill.
    pub fn crash_by_kill(&mut self) {
        self.crashes += 1;
        self.fs = self.fs.after_kill();
    }

    /// One random thing happens in this life.
    pub fn act(&mut self, life: &mut Life) -> Result<()> {
        if self.definition.starts_with(MISTYPED) && self.chance(5) {
            self.mend();
            life.engine.adopt(self.definition.as_bytes())?;
        }
        match self.below(20) {
            0..=3 => self.put(life)?,
            4 => {
                let number = (self.definition.as_bytes()[self.definition.len() - 1] - b'0') ^ 1;
                let store = self.definition.split(' ').next().unwrap_or_default().to_owned();
                self.definition = format!("{store} {number}");
                life.engine.adopt(self.definition.as_bytes())?;
            }
            5 => self.clock.advance(Duration::from_secs(25)),
            6 => self.late_request(),
            7 if self.chance(20) => self.abandon(life)?,
            7..=10 => self.ship(life),
            _ => {
                let done = life.engine.step();
                self.stepped(life, done)?;
            }
        }
        Ok(())
    }

    /// Somebody gives up on all that is held while nothing is under way: what arrives after that is in both places.
    fn abandon(&mut self, life: &mut Life) -> Result<()> {
        if self.is_request_late() {
            return Ok(());
        }
        let faults = std::mem::take(&mut self.bucket.lock().unwrap().faults);
        self.mistyped.lock().unwrap().faults = 0;
        life.engine.abandon();
        // Whether it is there after all is asked.
        self.ship(life);
        let done = if self.fs.crashed() { Ok(Progress::Busy) } else { life.engine.step() };
        self.bucket.lock().unwrap().faults = faults;
        self.mistyped.lock().unwrap().faults = faults;
        self.stepped(life, done)
    }

    /// After a step: what is to be opened again is.
    fn stepped(&self, life: &mut Life, done: Result<Progress>) -> Result<()> {
        match done {
            Err(e) if e.kind == Kind::Reopen => *life = self.start()?,
            Err(e) => return Err(e),
            Ok(_) => {}
        }
        Ok(())
    }

    fn put(&mut self, life: &mut Life) -> Result<()> {
        let mut puts = Vec::new();
        let mut numbers = Vec::new();
        for _ in 0..1 + self.below(2) {
            let mut batch = Records::default();
            for _ in 0..1 + self.below(4) {
                let number = self.records.len() as u64;
                let kind = KINDS[self.below(KINDS.len() as u64) as usize];
                self.records.insert(number, (kind, false));
                batch.push(format!("{number:05}{}", kind as char).as_bytes());
                numbers.push(number);
            }
            puts.push(Put { arrival_ms: self.clock.wall_ms(), entry: EntryPoint::Source, batch });
        }
        if sabotage::on("ack_before_sync") {
            numbers.iter().for_each(|n| self.records.get_mut(n).unwrap().1 = true);
        }
        match life.writer.commit(puts) {
            Ok(_) if sabotage::on("read_past_durable") => life.unsynced.extend(numbers),
            Ok(_) => numbers.iter().for_each(|n| self.records.get_mut(n).unwrap().1 = true),
            Err(e) if e.kind == Kind::NoSpace => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Puts one record with a given number that is delivered as it is.
    pub fn put_plain(&mut self, life: &mut Life, number: u64) -> Result<()> {
        let mut batch = Records::default();
        batch.push(format!("{number:05}p").as_bytes());
        self.records.insert(number, (b'p', true));
        let put = Put { arrival_ms: 1_790_000_000_000, entry: EntryPoint::Source, batch };
        life.writer.commit(vec![put]).map(drop)
    }

    /// The same where there may be no room: whether it was taken.
    pub fn try_put_plain(&mut self, life: &mut Life, number: u64) -> bool {
        match self.put_plain(life, number) {
            Ok(()) => true,
            Err(e) if e.kind == Kind::NoSpace => {
                self.records.remove(&number);
                false
            }
            Err(e) => panic!("{e}"),
        }
    }

    /// Puts a batch whose records are noted already.
    pub fn commit(&self, life: &mut Life, put: Put) {
        life.writer.commit(vec![put]).unwrap();
    }

    /// Sends a shipment: what is answered.
    pub fn send(&self, life: &Life, store: &str, shipment: &Shipment) -> Attempt {
        life.sinks[store].attempt(shipment)
    }

    /// Sends every shipment; nobody hears what came of it.
    pub fn send_and_forget(&mut self, life: &mut Life) {
        loop {
            let shipments = life.engine.shipments();
            if shipments.is_empty() {
                return;
            }
            for (_, store, shipment) in shipments {
                life.sinks[store.as_str()].attempt(&shipment);
            }
        }
    }

    /// Numbers of the records in objects of the destination.
    pub fn delivered(&self) -> Vec<u64> {
        let objects = self.objects();
        let main = objects.iter().filter(|(name, _)| name.starts_with("main/"));
        let lines =
            main.flat_map(|(_, bytes)| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>());
        lines.map(|line| line[..5].parse().unwrap()).collect()
    }

    /// Numbers of the records in error records of the destination's.
    pub fn undelivered(&self) -> Vec<u64> {
        let objects = self.objects().into_iter().filter(|(name, _)| name.starts_with("errors/http-endpoint-failed/"));
        let lines: Vec<u8> = objects.flat_map(|(_, bytes)| bytes).collect();
        let records = lines
            .split_inclusive(|&b| b == b'\n')
            .map(|line| hydrant::deliver::error_record::FailedRecord::read(line).unwrap())
            .map(|failed| match failed.entry {
                EntryPoint::Keyed => hydrant::record::keyed::unpack_one(&failed.record).unwrap().1.to_vec(),
                _ => failed.record,
            });
        records.map(|record| String::from_utf8_lossy(&record)[..5].parse().unwrap()).collect()
    }

    /// Lets every request that is under way arrive, or not.
    pub fn end_late_requests(&mut self) {
        while self.is_request_late() {
            self.late_request();
        }
    }

    fn late_request(&mut self) {
        // The one that is mistyped has none while it is not there.
        let has_late = |bucket: &&Arc<Mutex<Bucket>>| !bucket.lock().unwrap().late.is_empty();
        let Some(bucket) = [&self.bucket, &self.mistyped].into_iter().find(has_late) else { return };
        let mut bucket = bucket.lock().unwrap();
        let i = self.rng.lock().unwrap().below(bucket.late.len() as u64) as usize;
        let (name, object) = bucket.late.swap_remove(i);
        if self.rng.lock().unwrap().chance(70) {
            bucket.objects.entry(name).or_insert(object);
        }
    }

    fn is_request_late(&self) -> bool {
        [&self.bucket, &self.mistyped].iter().any(|bucket| !bucket.lock().unwrap().late.is_empty())
    }

    fn ship(&mut self, life: &mut Life) {
        for (_, store, shipment) in life.engine.shipments() {
            let attempt = life.sinks[store.as_str()].attempt(&shipment);
            if self.fs.crashed() {
                return;
            }
            life.engine.reply(shipment.plan, attempt);
        }
    }

    /// Lets everything come to rest, without faults. An error: it does not.
    pub fn drain(&mut self) -> std::result::Result<Life, String> {
        self.bucket.lock().unwrap().faults = 0;
        self.mistyped.lock().unwrap().faults = 0;
        while self.definition.starts_with(MISTYPED) && self.mistyped.lock().unwrap().is_missing {
            self.mend();
        }
        let life = self.start().map_err(|e| format!("cannot start: {e}"))?;
        self.come_to_rest(life)
    }

    /// The same with a life that has begun.
    pub fn come_to_rest(&mut self, mut life: Life) -> std::result::Result<Life, String> {
        for _ in 0..100_000 {
            self.ship(&mut life);
            match life.engine.step() {
                Err(e) if e.kind == Kind::Reopen => {
                    life = self.start().map_err(|e| format!("cannot start: {e}"))?;
                    continue;
                }
                Err(e) => return Err(format!("stopped: {e}")),
                Ok(Progress::Busy) => continue,
                Ok(Progress::Idle { .. }) => {}
            }
            if self.is_request_late() {
                self.late_request();
            } else if life.engine.is_drained()
                && life.engine.state().open_plans().next().is_none()
                && (life.engine.ledger().oldest_closed().is_none() || self.is_ledger_name_taken())
            {
                return Ok(life);
            }
            self.clock.advance(Duration::from_secs(61));
        }
        Err(format!("never comes to rest: {}, alarm {:?}", life.engine.describe(), life.engine.alarms()))
    }

    /// Whether somebody else's object stands where a file of the ledger would go: then that stays.
    fn is_ledger_name_taken(&self) -> bool {
        [&self.bucket, &self.mistyped].iter().any(|bucket| {
            let bucket = bucket.lock().unwrap();
            bucket.objects.iter().any(|(name, o)| name.starts_with("_ledger/") && o.owner.is_none())
        })
    }

    /// Every object that is ours, with its name.
    fn objects(&self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        for bucket in [&self.bucket, &self.mistyped] {
            let bucket = bucket.lock().unwrap();
            let ours = bucket.objects.iter().filter(|(n, o)| o.owner.is_some() && !n.starts_with("_ledger/"));
            all.extend(ours.map(|(n, o)| (n.clone(), o.bytes.clone())));
        }
        for dir in [
            "main/a",
            "main/b",
            "errors/processing-failed",
            "errors/http-endpoint-failed",
            "errors/backup-failed",
            "raw",
        ] {
            let dir = Path::new("/bucket").join(dir).to_path_buf();
            self.local_objects(&dir, &mut all);
        }
        all
    }

    fn local_objects(&self, dir: &Path, all: &mut Vec<(String, Vec<u8>)>) {
        // The time part of a prefix without expressions makes directories of its own.
        let mut dirs = vec![dir.to_path_buf()];
        if dir.ends_with("raw") {
            let at = jiff::Timestamp::from_millisecond(1_790_000_000_000).unwrap();
            let hours = (0..100).map(|h| at + jiff::SignedDuration::from_hours(h));
            dirs = hours.map(|t| dir.join(t.strftime("%Y/%m/%d/%H").to_string())).collect();
        }
        for dir in dirs {
            for name in self.fs.list(&dir).unwrap().iter().filter(|n| !n.starts_with('.')) {
                let path = dir.join(name);
                let bytes = read(&self.fs, &path).unwrap();
                all.push((path.strip_prefix("/bucket").unwrap().to_string_lossy().into_owned(), bytes));
            }
        }
    }

    /// The same world again, so that something else may become of it.
    pub fn again(&self) -> World {
        let copy = |bucket: &Mutex<Bucket>| {
            let Bucket { objects, late, faults, is_missing } = &*bucket.lock().unwrap();
            let (objects, late) = (objects.clone(), late.clone());
            Arc::new(Mutex::new(Bucket { objects, late, faults: *faults, is_missing: *is_missing }))
        };
        let endpoint = self.endpoint.lock().unwrap();
        let (requests, changed) = (endpoint.requests.clone(), endpoint.changed);
        World {
            fs: self.fs.after_kill(),
            bucket: copy(&self.bucket),
            mistyped: copy(&self.mistyped),
            endpoint: Arc::new(Mutex::new(Endpoint { requests, changed })),
            rng: Arc::new(Mutex::new(self.rng.lock().unwrap().clone())),
            clock: Arc::new(Manual::at_ms(self.clock.wall_ms())),
            incarnation: self.incarnation,
            definition: self.definition.clone(),
            object_bytes: self.object_bytes,
            ordered: self.ordered,
            records: self.records.clone(),
            crashes: self.crashes,
        }
    }

    /// The verdict at rest where the medium did not keep what was written: nothing twice, and what is missing is counted.
    /// Records that are lost.
    pub fn judge_damaged(&self, life: &Life) -> std::result::Result<u64, String> {
        let mut fates: BTreeMap<u64, Fate> = BTreeMap::new();
        for (name, bytes) in self.objects() {
            note_object(&name, &bytes, &mut fates)?;
        }
        self.note_requests(&mut fates)?;
        let (mut missing, mut not_backed_up) = (0, 0);
        for (number, (kind, acked)) in &self.records {
            let fate = fates.remove(number).unwrap_or_default();
            if fate.backups > 1 {
                return Err(format!("record {number} is in {} backup objects", fate.backups));
            }
            not_backed_up += (*acked && fate.backups == 0) as u64;
            match fate.main(*number, *kind) {
                Ok(Main::None) if *acked && !may_drop(*kind) => missing += 1,
                Ok(_) => {}
                // Of several outputs, some may be lost with their record.
                Err(why) if fate.is_twice() => return Err(why),
                Err(_) => missing += 1,
            }
        }
        if let Some(number) = fates.keys().next() {
            return Err(format!("phantom record {number}"));
        }
        let lost = life.engine.lost();
        if missing > lost {
            return Err(format!("{missing} acknowledged records have no end, {lost} are counted as lost"));
        }
        let of_backup = life.engine.lost_of_backup();
        if not_backed_up > of_backup {
            return Err(format!("{not_backed_up} records are in no backup, {of_backup} are counted as lost"));
        }
        if lost + of_backup > 0 && life.engine.state().loss.alarm().is_none() {
            return Err(format!("{lost} records and {of_backup} of the backup are lost without a word"));
        }
        if life.engine.gap() != 0 {
            return Err(format!("conservation gap {}", life.engine.gap()));
        }
        Ok(lost)
    }

    /// The verdict at rest: the first rule found broken.
    pub fn judge(&self, life: &Life) -> std::result::Result<(), String> {
        let mut fates: BTreeMap<u64, Fate> = BTreeMap::new();
        for (name, bytes) in self.objects() {
            note_object(&name, &bytes, &mut fates)?;
        }
        let undelivered = self.note_requests(&mut fates)?;
        let totals = life.engine.state().totals;
        let (mut dropped, mut accepted) = (0, 0);
        for (number, (kind, acked)) in &self.records {
            let fate = fates.remove(number).unwrap_or_default();
            let taken = fate.backups == 1;
            if fate.backups > 1 {
                return Err(format!("record {number} is in {} backup objects", fate.backups));
            }
            if *acked && !taken {
                return Err(format!("lost: acknowledged record {number} is in no backup object"));
            }
            accepted += taken as u64;
            match fate.main(*number, *kind)? {
                Main::None if taken && may_drop(*kind) => dropped += 1,
                Main::None if taken => return Err(format!("lost: record {number} ({}) has no end", *kind as char)),
                Main::Whole if !taken => return Err(format!("record {number} is delivered and not backed up")),
                _ => {}
            }
        }
        if let Some(number) = fates.keys().next() {
            return Err(format!("phantom record {number}"));
        }
        let counted = totals[Outlet::DeliveryFailed as usize].records;
        if counted != undelivered {
            return Err(format!("{counted} records counted as given up on, {undelivered} were"));
        }
        self.judge_counts(life, totals[Outlet::Dropped as usize].records, dropped, accepted)
    }

    /// Adds what the endpoint got. Records of which an output was given up on are counted: of those outputs it may have
    /// got some without saying so.
    fn note_requests(&self, fates: &mut BTreeMap<u64, Fate>) -> std::result::Result<u64, String> {
        let endpoint = self.endpoint.lock().unwrap();
        if let Some(id) = endpoint.changed {
            return Err(format!("request {id} came with two bodies"));
        }
        let mut told = BTreeMap::new();
        for (id, (records, answered)) in &endpoint.requests {
            for record in records {
                let text = String::from_utf8_lossy(record).into_owned();
                let earlier = told.insert(text.clone(), *answered);
                if earlier == Some(true) && *answered {
                    return Err(format!("`{text}` was taken twice, the second time in request {id}"));
                }
                if earlier == Some(true) {
                    told.insert(text, true);
                }
            }
        }
        let mut undelivered = 0;
        for fate in fates.values_mut() {
            undelivered += (!fate.undelivered.is_empty() || fate.as_source > 0) as u64;
            for text in std::mem::take(&mut fate.undelivered) {
                if self.crashes == 0 && told.get(&text) == Some(&true) {
                    return Err(format!("`{text}` was taken, and is in a failure object"));
                }
                told.remove(&text);
                fate.outputs.push(output(&text)?);
            }
        }
        if let Some(text) = told.keys().find(|text| is_rejected(text.as_bytes())) {
            return Err(format!("`{text}` was never taken and is with what was"));
        }
        for (text, _) in told.into_iter().filter(|(_, answered)| *answered) {
            let number = text[..5].parse::<u64>().map_err(|e| e.to_string())?;
            fates.entry(number).or_default().outputs.push(output(&text)?);
        }
        Ok(undelivered)
    }

    fn judge_counts(&self, life: &Life, counted: u64, dropped: u64, accepted: u64) -> std::result::Result<(), String> {
        let engine = &life.engine;
        if counted != dropped {
            return Err(format!("{counted} records counted as dropped, {dropped} were"));
        }
        if life.journal.accepted() != accepted {
            return Err(format!("{} records counted as accepted, {accepted} were", life.journal.accepted()));
        }
        if engine.alarms().iter().any(|alarm| alarm.kind == AlarmKind::RecordsLost) {
            return Err(format!("records are gone from the journal: {:?}", engine.alarms()));
        }
        if engine.gap() != 0 {
            return Err(format!("conservation gap {}", engine.gap()));
        }
        for outlet in Outlet::ALL {
            let (total, sums) = (engine.state().totals[outlet as usize], engine.ledger().sums().outlet(outlet));
            if (total.records, total.outputs, total.objects) != (sums.records, sums.outputs, sums.objects) {
                return Err(format!("{}: the ledger says {sums:?}, the plan log {total:?}", outlet.name()));
            }
        }
        for stub in stubs(&self.fs, &Path::new(DIR).join("ledger")).map_err(|e| e.to_string())?.0 {
            let stands = |bucket: &&Arc<Mutex<Bucket>>| bucket.lock().unwrap().objects.contains_key(&stub.name);
            let in_bucket = [&self.bucket, &self.mistyped].iter().any(stands);
            if !in_bucket && read(&self.fs, &Path::new("/bucket").join(&stub.name)).is_err() {
                return Err(format!("the ledger file `{}` is deleted here and not there", stub.name));
            }
        }
        // What goes to the endpoint is no object.
        let is_object = |o: &&Outlet| **o != Outlet::Destination || !self.definition.starts_with(ENDPOINT);
        let objects = Outlet::ALL.iter().filter(is_object);
        let sum: u64 = objects.map(|o| engine.state().totals[*o as usize].objects).sum();
        let there = self.objects().len() as u64;
        if sum != there {
            return Err(format!("{sum} objects in the ledger, {there} in the stores"));
        }
        Ok(())
    }
}

fn may_drop(kind: u8) -> bool {
    kind == b'd'
}

/// Where a record was found.
#[derive(Default)]
struct Fate {
    backups: u32,
    failures: u32,
    /// Outputs in `http-endpoint-failed`.
    undelivered: Vec<String>,
    /// It stands there itself, instead of outputs that it does not give any more.
    as_source: u32,
    /// Output number, of how many, configuration.
    outputs: Vec<(u32, u32, u8)>,
}

enum Main {
    None,
    Whole,
}

impl Fate {
    /// Whether an output of it, or the whole of it, ended more than once.
    fn is_twice(&self) -> bool {
        let numbers: std::collections::BTreeSet<u32> = self.outputs.iter().map(|o| o.0).collect();
        numbers.len() < self.outputs.len() || self.failures > 1 || self.failures > 0 && !self.outputs.is_empty()
    }

    fn main(&self, number: u64, kind: u8) -> std::result::Result<Main, String> {
        let mut outputs = self.outputs.clone();
        outputs.sort();
        match (self.failures, outputs.first()) {
            // Other outputs of it may have been delivered.
            _ if self.as_source > 0 && !self.is_twice() => Ok(Main::Whole),
            (0, None) => Ok(Main::None),
            (1, None) if kind == b'x' || kind.is_ascii_uppercase() => Ok(Main::Whole),
            (0, Some(&(_, of, configuration))) => {
                let whole: Vec<_> = (0..of).map(|i| (i, of, configuration)).collect();
                if outputs == whole {
                    Ok(Main::Whole)
                } else {
                    Err(format!("record {number} ({}): outputs {outputs:?}, expected {whole:?}", kind as char))
                }
            }
            (failures, _) => Err(format!("record {number} ({}): {failures} failures and {outputs:?}", kind as char)),
        }
    }
}

/// Number, of how many, and configuration of an output.
fn output(text: &str) -> std::result::Result<(u32, u32, u8), String> {
    let (_, output) = text.split_once('#').ok_or_else(|| format!("`{text}`"))?;
    let digits: Vec<u32> = output.split(['/', '@']).map(|n| n.trim_end().parse().unwrap_or(99)).collect();
    Ok((digits[0], digits[1], digits[2] as u8))
}

fn note_object(name: &str, bytes: &[u8], fates: &mut BTreeMap<u64, Fate>) -> std::result::Result<(), String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let number = |t: &str| t[..5].parse::<u64>().map_err(|e| format!("{name}: `{t}`: {e}"));
    if name.starts_with("raw/") || name.starts_with("errors/backup-failed/") {
        let mut rest = text.as_str();
        while rest.len() >= 6 {
            fates.entry(number(rest)?).or_default().backups += 1;
            rest = &rest[6..];
        }
    } else if name.starts_with("errors/") {
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).map_err(|e| format!("{name}: {e}: {line}"))?;
            let raw = base64_simd::STANDARD.decode_to_vec(value["rawData"].as_str().unwrap_or_default());
            let raw = String::from_utf8_lossy(&raw.unwrap_or_default()).into_owned();
            if name.starts_with("errors/http-endpoint-failed/") && value["entry"] == "source" {
                fates.entry(number(&raw)?).or_default().as_source += 1;
                continue;
            }
            if name.starts_with("errors/http-endpoint-failed/") {
                fates.entry(number(&raw)?).or_default().undelivered.push(raw);
                continue;
            }
            if raw.len() != 6 {
                return Err(format!("{name}: rawData is `{raw}`"));
            }
            fates.entry(number(&raw)?).or_default().failures += 1;
        }
    } else {
        let mut configurations = std::collections::BTreeSet::new();
        for line in text.lines() {
            let output = output(line).map_err(|e| format!("{name}: {e}"))?;
            configurations.insert(output.2);
            fates.entry(number(line)?).or_default().outputs.push(output);
        }
        if configurations.len() > 1 {
            return Err(format!("{name} mixes configurations {configurations:?}"));
        }
    }
    Ok(())
}
