//! One stream's lane, as a machine that is stepped: read, judge, buffer, plan, ship, mark, trim. It owns the plan log,
//! the ledger and the buffers, blocks on the disk and on nothing else, and never waits: what has to wait (an upload, a
//! timer) is handed out and comes back as a reply or at the next step.
//!
//! The order that makes it safe is in three places: a plan is durable before its shipment is handed out
//! ([`Engine::cut`]), a mark is durable before `low` counts it ([`Engine::settle`]), and `low` is durable before the
//! journal is trimmed (the same).

pub mod abandon;
pub mod account;
pub mod again;
pub mod ahead;
pub mod archive;
pub mod buffer;
pub mod cut;
pub mod damage;
pub mod fill;
pub mod give_up;
pub mod home;
pub mod left;
pub mod memory;
pub mod refusals;
pub mod room;
pub mod settle;
pub mod ship;
pub mod stranded;
pub mod take;
pub mod window;

use self::again::Again;
use self::ahead::Ahead;
use self::archive::Archive;
use self::buffer::{Buffer, Slot};
use self::home::Home;
use self::left::Left;
use self::settle::refuse_older_state;
use self::ship::Shipping;
use self::take::Redriven;
use self::window::Window;
use crate::deliver::body::Scratch;
use crate::error::{Error, Kind, Result};
use crate::lane::{Cursor, Lane};
use crate::sabotage;
use crate::stream::pipeline::live::Live;
use crate::stream::pipeline::load::Routes;
use crate::stream::pipeline::route::Route;
use crate::stream::plan::replay::Replay;
use crate::stream::plan::state::State;
use crate::stream::plan::{Entry, Epoch, Outlet, Track};
use crate::stream::state_log::blobs::{Blobs, hex};
use crate::stream::state_log::ledger::Ledger;
use crate::stream::state_log::log::Log;
use crate::stream::state_log::objects::Objects;
use std::collections::BTreeMap;
use std::ops::Range;
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

/// See the module.
pub struct Engine {
    home: Home,
    live: Live,
    log: Log,
    ledger: Ledger,
    archive: Archive,
    lane: Arc<dyn Lane>,
    scratch: Arc<Scratch>,
    blobs: Blobs,
    loader: Box<dyn Routes>,
    routes: BTreeMap<u32, Arc<Route>>,
    /// Next record of each track, and what plans of an earlier life say of the records ahead.
    pub(in crate::stream) cursors: [Cursor; 2],
    replays: [Replay; 2],
    ahead: Ahead,
    left: Left,
    buffers: BTreeMap<Slot, Buffer>,
    /// The epoch of what is in the buffers of the main track, and of the backup.
    buffer_epochs: [u32; 2],
    shipping: BTreeMap<u64, Shipping>,
    window: Window,
    redriven: Redriven,
    alarm: Option<String>,
    /// Offsets that could not be read in this life, of each track, in order.
    lost: [Vec<Range<u64>>; 2],
    /// What the medium lost in this life: nothing that goes well later makes it undone.
    loss: Option<String>,
    /// Records read again that cannot be placed yet.
    waiting: Option<Again>,
    /// Of the lane's newest records, in memory.
    tail_bytes: usize,
    /// When room was last asked for that there was not.
    asked_for_room: Duration,
    /// It has to be opened again: see [`Engine::give_up`].
    reopens: bool,
    /// The configuration that comes into force when there is room to keep it.
    unadopted: Option<Vec<u8>>,
    damage: Vec<String>,
}

impl Engine {
    /// Opens a stream's state. The caller opens the lane with [`floor`] of the log before.
    pub fn open(
        home: Home,
        live: Live,
        log: impl Into<Log>,
        lane: Arc<dyn Lane>,
        loader: Box<dyn Routes>,
        definition: &[u8],
    ) -> Result<Engine> {
        let (fs, log) = (home.fs.clone(), log.into());
        let mut ledger =
            Ledger::open(fs.clone(), home.dir.join("ledger"), home.bounds.ledger_file_bytes, log.state().kept_marks())?;
        refuse_older_state(&log, &ledger, &home.dir)?;
        if let Some(mark) = log.ledger_from() {
            ledger.pass_to(mark)?;
        }
        let scratch = Scratch::open(fs.clone(), home.dir.join("scratch"), home.bounds.spool_bytes_max)?;
        let blobs = Blobs::open(fs, home.dir.join("epochs"), home.objects.clone())?;
        let low = log.state().low;
        let replays = [Track::Main, Track::Backup].map(|t| Replay::new(log.state(), t, low[t as usize]));
        let mut engine = Engine {
            cursors: low.map(Cursor::at),
            home,
            live,
            log,
            ledger,
            archive: Archive::default(),
            lane,
            scratch,
            blobs,
            loader,
            routes: BTreeMap::new(),
            replays,
            ahead: Ahead::default(),
            left: Left::default(),
            buffers: BTreeMap::new(),
            buffer_epochs: [0; 2],
            shipping: BTreeMap::new(),
            window: Window::default(),
            redriven: Redriven::default(),
            alarm: None,
            lost: Default::default(),
            loss: None,
            waiting: None,
            tail_bytes: 0,
            asked_for_room: Duration::ZERO,
            reopens: false,
            unadopted: None,
            damage: Vec::new(),
        };
        engine.note_damage(engine.ledger.damage().to_vec());
        engine.log.ledger_is_durable_to(engine.ledger.mark());
        engine.note_lost_lines();
        engine.write_ledger_lines()?;
        engine.ship_given_up()?;
        engine.settle_takes()?;
        match engine.adopt(definition) {
            // What is held is delivered as it was to be, which makes room.
            Err(e) if e.kind == Kind::NoSpace && engine.epoch() > 0 => engine.unadopted = Some(definition.to_vec()),
            done => done?,
        }
        engine.tidy_epochs()?;
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

    /// The route of the last epoch, and where bytes that are not kept may be.
    pub fn places(&mut self) -> Result<(Arc<Route>, Arc<Scratch>)> {
        let last = self.epoch();
        Ok((self.route(last)?, self.scratch.clone()))
    }

    /// The stream's name.
    pub(in crate::stream) fn stream(&self) -> &str {
        &self.home.stream
    }

    pub fn state(&self) -> &State {
        self.log.state()
    }

    /// Where other nodes find what they need of the lane.
    pub(in crate::stream) fn objects(&self) -> Option<Arc<Objects>> {
        self.home.objects.clone()
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Why the stream does not get on, if it does not.
    pub fn alarm(&self) -> Option<&str> {
        let alarm = self.held().or(self.loss.as_deref()).or(self.alarm.as_deref());
        alarm.or_else(|| self.undelivered())
    }

    pub fn set_live(&mut self, live: Live) {
        // Plans of a destination that could be given up on still can when another one takes its place, which never refuses.
        let patience = live.patience.clone().or_else(|| self.live.patience.take());
        self.live = Live { patience, ..live };
        self.retry_now();
    }

    /// Brings the configuration `definition` into force from the next unread, unplanned record on, as a new epoch if it
    /// differs from the last one. Durable when this returns.
    pub fn adopt(&mut self, definition: &[u8]) -> Result<()> {
        let route = self.loader.load(definition, &self.blobs)?;
        // What was judged ahead was judged by the route of before.
        self.ahead.forget();
        let hash = self.blobs.put(definition)?;
        let last = self.state().epochs.last().copied();
        if last.is_some_and(|e| e.hash == hash) {
            self.routes.insert(last.expect("just seen").number, route);
            return Ok(());
        }
        // An epoch begins where the main track stands; the backup may have read on. What it holds is planned under the
        // old epoch, which the plan then keeps on disk.
        self.cut_where(|slot, _| slot.outlet == Outlet::Backup)?;
        let state = self.state();
        let from = match last {
            Some(_) if sabotage::on("epoch_from_reader") => self.cursors[0].offset.max(state.low[0]),
            Some(_) => self.cursors[0].offset.max(state.frontier(Track::Main)),
            None => state.low[0],
        };
        let number = last.map_or(1, |e| e.number + 1);
        let mut entries = vec![Entry::Epoch(Epoch { number, from, hash })];
        if route.backup.is_some() && state.backup_from.is_none() {
            entries.push(Entry::BackupFrom(Some(from)));
            self.cursors[Track::Backup as usize] = Cursor::at(from);
        }
        self.blobs.settle()?;
        match last.filter(|_| sabotage::on("epoch_not_persisted")) {
            // The wrong build keeps the change in memory and reads old records under the new configuration.
            Some(last) => {
                self.routes.insert(last.number, route);
                return Ok(());
            }
            None => self.log.commit(entries)?,
        }
        sabotage::point("epoch.persisted");
        self.routes.insert(number, route);
        Ok(())
    }

    /// Removes the files of epochs that nothing needs: definitions by their hash, and what they name.
    fn tidy_epochs(&self) -> Result<()> {
        let epochs = &self.state().epochs;
        let definitions = epochs.iter().map(|e| self.blobs.get(&e.hash)).collect::<Result<Vec<_>>>()?;
        let named = |name: &str| definitions.iter().any(|d| memchr::memmem::find(d, name.as_bytes()).is_some());
        self.blobs.keep_only(&|name| epochs.iter().any(|e| hex(&e.hash) == name) || named(name))
    }

    /// The route of an epoch, loaded from disk if it is an old one.
    fn route(&mut self, epoch: u32) -> Result<Arc<Route>> {
        if !self.routes.contains_key(&epoch) {
            let known = self.state().epochs.iter().find(|e| e.number == epoch).copied();
            let known = known.ok_or_else(|| Error::new(Kind::Bug, format!("epoch {epoch} is not in the plan log")))?;
            let definition = self.blobs.get(&known.hash)?;
            let route = self.loader.load(&definition, &self.blobs);
            let route = route.map_err(|e| e.during(format!("load epoch {epoch} ({})", hex(&known.hash[..4]))))?;
            self.routes.insert(epoch, route);
        }
        Ok(self.routes[&epoch].clone())
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
        busy |= self.cut_due()?;
        busy |= self.read_main()?;
        busy |= self.read_backup()?;
        self.trim_tail();
        if busy {
            return Ok(Progress::Busy);
        }
        let zero = |live: &Live, outlet| live.interval_of(outlet).is_zero();
        let live = self.live.clone();
        if self.cut_where(|slot, _| zero(&live, slot.outlet))? {
            return Ok(Progress::Busy);
        }
        Ok(Progress::Idle { until: self.next_deadline() })
    }

    /// Lets go of what a stream that has nothing to do does not need.
    pub fn rest(&mut self) {
        self.log.rest();
        self.ledger.rest();
    }

    /// Keeps of the lane's newest records in memory what a track has not read, as far as memory allows.
    fn trim_tail(&mut self) {
        self.leave_behind();
        let reads = self.tracks().filter(|&track| !self.is_left(track));
        let read_by_all = reads.map(|t| self.cursors[t as usize].offset).min().unwrap_or(0);
        let allowed = self.home.memory.allowed(self.home.bounds.tail_bytes_max);
        self.tail_bytes = self.lane.trim_tail(read_by_all, allowed);
        self.note_memory();
    }

    fn note_memory(&mut self) {
        self.home.memory.note(self.buffer_bytes() + self.held_bytes() + self.tail_bytes);
    }

    /// Cuts every buffer: the stream is to end.
    pub fn flush(&mut self) -> Result<bool> {
        self.cut_where(|_, _| true)
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
            self.cursors.map(|c| c.offset),
            self.buffers.len(),
            state.plans.len() - open.len(),
            self.waiting.is_some(),
        )
    }

    fn next_deadline(&self) -> Option<Duration> {
        let due = |(slot, buffer): (&Slot, &Buffer)| buffer.opened + self.live.interval_of(slot.outlet);
        let waits = self.waiting.is_some() || self.waits_for_room();
        let waiting = waits.then(|| self.home.clock.steady() + WAITING);
        self.buffers
            .iter()
            .map(due)
            .chain(self.next_retry())
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
        let offset = self.cursors[track as usize].offset;
        self.is_left(track)
            || offset >= self.lane.durable()
            || self.read_limit(track).is_some_and(|limit| offset >= limit)
    }

    fn tracks(&self) -> impl Iterator<Item = Track> + use<> {
        let backup = self.state().backup_from.map(|_| Track::Backup);
        std::iter::once(Track::Main).chain(backup)
    }

    /// Drops the routes of epochs that are not needed any more. Their files stay until the next start.
    fn forget_epochs(&mut self) {
        let epochs = &self.log.state().epochs;
        self.routes.retain(|number, _| epochs.iter().any(|e| e.number == *number));
    }

    /// What the user's code has counted since the last time, by name.
    pub fn take_metrics(&self) -> Vec<(String, u64)> {
        self.routes.values().flat_map(|r| r.transform.iter()).flat_map(|t| t.take_metrics()).collect()
    }

    /// The number of the last epoch.
    pub fn epoch(&self) -> u32 {
        self.state().epochs.last().map_or(0, |e| e.number)
    }

    /// Writes a spare segment ahead of need.
    pub fn prepare_spare(&self) -> Result<()> {
        self.lane.prepare_spare()
    }

    /// [`Engine::adopt`] with another loader. If the definition cannot be loaded, everything stays as it was.
    pub fn reload(&mut self, definition: &[u8], loader: Box<dyn Routes>) -> Result<()> {
        let old = std::mem::replace(&mut self.loader, loader);
        let done = self.adopt(definition);
        match done.is_ok() {
            // Routes of older epochs take the new live settings when they are next needed.
            true => {
                let last = self.epoch();
                self.routes.retain(|epoch, _| *epoch == last);
            }
            false => self.loader = old,
        }
        done
    }
}
