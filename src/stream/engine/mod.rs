//! One stream's lane, as a machine that is stepped: read, judge, buffer, plan, ship, mark, trim. It owns the plan log,
//! the ledger and the buffers, blocks on the disk and on nothing else, and never waits: what has to wait (an upload, a
//! timer) is handed out and comes back as a reply or at the next step.
//!
//! The order that makes it safe is in three places: a plan is durable before its shipment is handed out
//! ([`Engine::cut`]), a mark is durable before `low` counts it ([`Engine::settle`]), and `low` is durable before the
//! journal is trimmed (the same).

mod account;
mod adopt;
mod again;
mod ahead;
mod archive;
mod archiving;
mod books;
mod buffer;
mod buffers;
mod cut;
mod damage;
mod disk_full;
mod fill;
mod filling;
mod filling_columns;
mod give_up;
pub mod home;
mod leave;
mod left;
pub mod memory;
mod next;
mod object_size;
pub mod outbox;
mod reader;
mod rebuild;
mod redriven;
mod reread;
mod routes;
mod settle;
mod ship;
mod split;
mod stranded;
mod wrong;

use self::books::Books;
use self::buffers::Buffers;
use self::home::Home;
use self::left::LeftTrack;
use self::object_size::EncodedSizes;
use self::outbox::Outbox;
use self::reader::TrackReaders;
use self::redriven::RedrivenRecords;
use self::routes::EpochRoutes;
use crate::alarm::{Alarm, AlarmKind};
use crate::deliver::body::Scratch;
use crate::error::{Kind, Result};
use crate::format::coverage::ColumnCoverage;
use crate::lane::Lane;
use crate::stream::pipeline::live::Live;
use crate::stream::pipeline::load::Routes;
use crate::stream::plan::loss::AcknowledgedLoss;
use crate::stream::plan::state::State;
use crate::stream::plan::{Entry, Track};
use crate::stream::state_log::blobs::Blobs;
use crate::stream::state_log::ledger::Ledger;
use crate::stream::state_log::log::StateLog;
use crate::stream::state_log::objects::StateObjects;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More can be done at once.
    Busy,
    /// Nothing to do before this steady time, a reply, or a new record.
    Idle { until: Option<Duration> },
}

/// How long records that cannot be placed are left before they are tried again.
const WAITING: Duration = Duration::from_secs(1);

/// A stream's lane as a machine that is stepped.
pub struct Engine {
    home: Home,
    live: Live,
    books: Books,
    lane: Arc<dyn Lane>,
    scratch: Arc<Scratch>,
    routes: EpochRoutes,
    readers: TrackReaders,
    left: LeftTrack,
    buffers: Buffers,
    outbox: Outbox,
    redriven: RedrivenRecords,
    alarm: Option<Alarm>,
    /// Of the lane's newest records, in memory.
    tail_bytes: usize,
    /// When room was last asked for that there was not.
    asked_for_room: Duration,
    /// It has to be opened again: see [`Engine::give_up`].
    reopens: bool,
    /// The configuration that comes into force when there is room to keep it.
    unadopted: Option<Vec<u8>>,
    damage: Vec<String>,
    /// What rows have shown of the columns.
    coverage: ColumnCoverage,
    sizes: EncodedSizes,
    cut_early: u64,
}

/// What an engine does to records.
pub struct EngineSettings {
    pub live: Live,
    /// What makes routes of definitions.
    pub loader: Box<dyn Routes>,
    /// The definition that is to be in force.
    pub definition: Vec<u8>,
}

impl Engine {
    /// Opens a stream's state. The caller opens the lane with `floor` of the log before.
    pub fn open(home: Home, settings: EngineSettings, log: impl Into<StateLog>, lane: Arc<dyn Lane>) -> Result<Engine> {
        let EngineSettings { live, loader, definition } = settings;
        let (fs, log) = (home.fs.clone(), log.into());
        let books = Books::open(&home, log)?;
        let scratch = Scratch::open(fs.clone(), home.dir.join("scratch"), home.bounds.spool_bytes_max)?;
        let blobs = Blobs::open(fs, home.dir.join("epochs"), home.objects.clone())?;
        let readers = TrackReaders::new(books.state());
        let mut engine = Engine {
            home,
            live,
            books,
            lane,
            scratch,
            routes: EpochRoutes::new(blobs, loader),
            readers,
            left: LeftTrack::default(),
            buffers: Buffers::default(),
            outbox: Outbox::default(),
            redriven: RedrivenRecords::default(),
            alarm: None,
            tail_bytes: 0,
            asked_for_room: Duration::ZERO,
            reopens: false,
            unadopted: None,
            damage: Vec::new(),
            coverage: ColumnCoverage::default(),
            sizes: EncodedSizes::default(),
            cut_early: 0,
        };
        engine.note_damage(engine.books.damage());
        engine.write_ledger_lines()?;
        engine.ship_given_up()?;
        engine.settle_takes()?;
        match engine.adopt(&definition) {
            // What is held is delivered as it was to be, which makes room.
            Err(e) if e.kind == Kind::NoSpace && engine.epoch() > 0 => engine.unadopted = Some(definition),
            done => done?,
        }
        engine.routes.tidy(engine.books.state())?;
        Ok(engine)
    }

    /// Takes note of what was found damaged.
    pub fn note_damage(&mut self, damage: Vec<String>) {
        for damage in &damage {
            tracing::error!(stream = self.home.stream, damage, "the medium did not keep what was written");
        }
        self.damage.extend(damage);
    }

    /// What was found damaged when the stream was opened: read from copies, or lost and accounted for. A sentence each.
    pub fn damage(&self) -> &[String] {
        &self.damage
    }

    /// The stream's name.
    pub(in crate::stream) fn stream(&self) -> &str {
        &self.home.stream
    }

    pub fn state(&self) -> &State {
        self.books.state()
    }

    /// Where other nodes find what they need of the lane.
    pub(in crate::stream) fn objects(&self) -> Option<Arc<StateObjects>> {
        self.home.objects.clone()
    }

    pub fn ledger(&self) -> &Ledger {
        self.books.ledger()
    }

    /// Why the stream is stalled, if it is, and what it has lost and nobody has taken note of: what needs a person most comes
    /// first.
    pub fn alarms(&self) -> Vec<Alarm> {
        let mut alarms = self.outbox.held();
        alarms.extend(self.state().loss.alarm().map(|loss| Alarm::new(AlarmKind::RecordsLost, loss)));
        alarms.extend(self.alarm.clone());
        alarms.extend(self.outbox.undelivered());
        alarms.extend(self.left_behind());
        alarms.extend(self.coverage.complaint().map(|what| Alarm::new(AlarmKind::ColumnsEmpty, what)));
        alarms
    }

    /// Values of which digits were rounded away since the stream was opened, because their columns have no room for them.
    pub(in crate::stream) fn rounded(&self) -> u64 {
        self.coverage.rounded
    }

    /// Objects that ended before their size and their interval since the stream was opened, because memory was scarce or too many
    /// were open.
    pub(in crate::stream) fn cut_early(&self) -> u64 {
        self.cut_early
    }

    /// Takes note, for somebody, of what the medium has lost so far: its alarm ends, the counts stay. Durable when it returns
    /// how many records those are, for the destination and for the backup.
    pub fn acknowledge_loss(&mut self) -> Result<AcknowledgedLoss> {
        let loss = &self.state().loss;
        let (records, acknowledged, is_news) = (loss.total(), loss.acknowledged_by_now(), loss.alarm().is_some());
        if is_news {
            self.books.commit(vec![Entry::LossAcknowledged { records }])?;
        }
        Ok(acknowledged)
    }

    /// Does what can be done now. Errors of kind `NoSpace` leave everything as it was; any other error ends the
    /// stream until it is opened again.
    pub fn step(&mut self) -> Result<Progress> {
        self.ask_for_room()?;
        let mut busy = self.rename_taken()?;
        busy |= self.move_stranded()?;
        busy |= self.cut_down()?;
        busy |= self.settle()?;
        busy |= self.settle_archive()?;
        busy |= self.end_refused()?;
        self.buffers.go_on();
        busy |= self.cut_due()?;
        busy |= self.read_main()?;
        busy |= self.read_backup()?;
        self.trim_tail();
        if busy {
            return Ok(Progress::Busy);
        }
        let zero = |live: &Live, outlet| live.interval_of(outlet).is_zero();
        let live = self.live.clone();
        if self.cut_where(|slot| zero(&live, slot.outlet))? {
            return Ok(Progress::Busy);
        }
        Ok(Progress::Idle { until: self.next_deadline() })
    }

    /// Lets go of what a stream that has nothing to do does not need.
    pub fn rest(&mut self) {
        self.books.rest();
        self.lane.rest();
    }

    /// Keeps of the lane's newest records in memory what a track has not read, as far as memory allows.
    fn trim_tail(&mut self) {
        self.leave_behind();
        let reads = self.tracks().filter(|&track| !self.is_left(track));
        let read_by_all = reads.map(|t| self.readers[t].offset()).min().unwrap_or(0);
        let allowed = self.home.memory.allowed(self.home.bounds.tail_bytes_max);
        self.tail_bytes = self.lane.trim_tail(read_by_all, allowed);
        self.note_memory();
    }

    fn note_memory(&mut self) {
        self.home.memory.note(self.buffers.memory_bytes() + self.outbox.memory_bytes() + self.tail_bytes);
    }

    /// Cuts every buffer: the stream is to end.
    pub fn flush(&mut self) -> Result<bool> {
        self.cut_where(|_| true)
    }

    /// Whether every durable record is settled.
    pub fn is_drained(&self) -> bool {
        let end = self.lane.durable();
        let low = self.state().low;
        low[0] >= end && (self.state().backup_from.is_none() || low[1] >= end)
    }

    /// Where the lane stands, in one line, for logs and messages.
    pub fn describe(&self) -> String {
        let state = self.state();
        let open: Vec<_> =
            state.open_plans().map(|p| (p.number, p.outlet.name(), p.list.first(), p.list.end())).collect();
        format!(
            "durable {}, low {:?}, read to {:?}, {} buffers, open plans {open:?}, {} settled plans, waiting {}",
            self.lane.durable(),
            state.low,
            [Track::Main, Track::Backup].map(|track| self.readers[track].offset()),
            self.buffers.len(),
            state.plans.len() - open.len(),
            self.readers[Track::Main].waiting.is_some(),
        )
    }

    fn next_deadline(&self) -> Option<Duration> {
        let waits = self.readers[Track::Main].waiting.is_some() || self.waits_for_room();
        let waiting = waits.then(|| self.home.clock.steady() + WAITING);
        let due = self.buffers.next_due(&self.live);
        due.into_iter()
            .chain(self.outbox.next_retry(self.books.state(), &self.live))
            .chain(self.next_archive())
            .chain(waiting)
            .chain(self.next_left())
            .min()
    }

    fn random_uuid(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes((self.home.random)().to_le_bytes()).into_uuid()
    }

    /// Whether a track has nothing to read, or may not read it before `low` moves or the lane is opened again.
    fn is_at_rest(&self, track: Track) -> bool {
        let offset = self.readers[track].offset();
        self.is_left(track)
            || offset >= self.lane.durable()
            || self.read_limit(track).is_some_and(|limit| offset >= limit)
    }

    fn tracks(&self) -> impl Iterator<Item = Track> + use<> {
        let backup = self.state().backup_from.map(|_| Track::Backup);
        std::iter::once(Track::Main).chain(backup)
    }

    /// What the user's code has counted since the last time, by name.
    pub fn take_metrics(&self) -> Vec<(String, u64)> {
        self.routes.take_metrics()
    }

    /// The offset of the record that a track reads next.
    pub fn next_offset(&self, track: Track) -> u64 {
        self.readers[track].offset()
    }

    /// Writes a spare segment ahead of need.
    pub fn prepare_spare(&self) -> Result<()> {
        self.lane.prepare_spare()
    }
}
