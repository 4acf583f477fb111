//! A lane at work: it owns the engine, does what is asked of it between two steps, and starts uploads, which run on the
//! runtime's blocking threads. Lanes share a few threads.

use super::mailbox::{LaneCommand, Mailbox, Reload};
use super::pool::Threads;
use super::shared::NodeShared;
use super::sinks::Sinks;
use super::status::{Settled, Status};
use crate::alarm::{self, Alarm, AlarmBoard, AlarmChanges, AlarmKind};
use crate::deliver::{Attempt, Shipment, Sink};
use crate::destination::{MetricFamily, StoreName};
use crate::error::{Error, Kind, Result};
use crate::stream::engine::{Engine, Progress};
use crate::stream::plan::Track;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Pause before work that failed for want of room, or because a person has to act, is tried again.
const RETRY_STEP: Duration = Duration::from_millis(250);

/// Records that come within this time of an idle stream's first are read together with it: waking the stream for each
/// would cost those that are being put more than it gains those that are in the journal.
const GATHER: Duration = Duration::from_millis(5);

/// A lane that has had nothing to do for this long lets go of its files.
const REST_AFTER: Duration = Duration::from_secs(1);

/// A lane lets others that wait have its thread after this time, however much it has to do. To change threads costs
/// milliseconds where all CPUs are busy, so that it goes on where nobody waits.
const SLICE: Duration = Duration::from_millis(20);

/// The lane itself.
pub(super) struct Runner {
    pub(super) engine: Engine,
    pub(super) commands: Receiver<LaneCommand>,
    /// What ended the last wait, to be obeyed first.
    pub(super) woken_by: Option<LaneCommand>,
    pub(super) own: Mailbox,
    /// A `Records` is under way: nobody sends another.
    pub(super) told: Arc<AtomicBool>,
    pub(super) sinks: Sinks,
    pub(super) shared: NodeShared,
    pub(super) name: String,
    pub(super) retired: Arc<AtomicBool>,
    /// An error has ended it: it does nothing any more, but answers.
    pub(super) ended: bool,
    /// The same, or somebody has ended it; for others to see.
    pub(super) stopped: Arc<AtomicBool>,
    /// Why the engine cannot step.
    pub(super) alarm: Option<Alarm>,
    /// The alarms that were logged, of the engine too.
    pub(super) board: AlarmBoard,
    pub(super) draining: bool,
    pub(super) turns_busy: u64,
    pub(super) epoch: Arc<AtomicU32>,
}

/// What ended a turn of the loop.
enum LaneTurn {
    Again,
    Wait(Option<Duration>),
    End,
}

/// What a lane does when it has given up its thread.
enum Rest {
    /// Waits, for a command or until then, by the steady clock.
    Until(Option<Duration>),
    /// There is more to do: others have had to wait for long enough.
    Again,
    End,
}

impl Drop for Runner {
    /// However it ends, also where a thread could not be had: others see that it has to be opened again.
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl Runner {
    /// Runs on whichever thread is free, while there is something to do. `here` goes when everything else is gone.
    pub(super) async fn run_on(mut self, threads: Threads, here: Sender<()>) {
        loop {
            let own = threads.clone();
            let worked = threads.work(move || {
                let rest = self.work(&own);
                (self, rest)
            });
            // The pool itself ends.
            let Some((runner, rest)) = worked.await else { break };
            self = runner;
            match rest {
                Rest::Until(until) => self.wait(self.pause(until)).await,
                Rest::Again => {}
                Rest::End => {
                    drop(self);
                    break;
                }
            }
        }
        drop(here);
    }

    fn pause(&self, until: Option<Duration>) -> Duration {
        until.map_or(Duration::from_secs(3600), |until| until.saturating_sub(self.shared.clock.steady()))
    }

    /// Does what there is to do; when its slice is over, only as long as no lane waits for a thread.
    fn work(&mut self, threads: &Threads) -> Rest {
        if self.ended {
            return self.obey_all().unwrap_or(Rest::Until(None));
        }
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| self.turns(threads)));
        let mut kind = Kind::Bug;
        match outcome {
            Ok(Ok(rest)) => {
                if matches!(rest, Rest::End) {
                    self.stopped.store(true, Ordering::Relaxed);
                }
                return rest;
            }
            Ok(Err(e)) => {
                kind = e.kind;
                self.alarm = Some(Alarm::new(AlarmKind::Stopped, e.to_string()));
            }
            Err(_) => {
                let detail = "a rule of our own was broken (see the log for the panic)";
                self.alarm = Some(Alarm::new(AlarmKind::Stopped, detail));
            }
        }
        let why = self.alarm.as_ref().map(|alarm| alarm.detail.as_str());
        self.ended = true;
        self.stopped.store(true, Ordering::Relaxed);
        match kind {
            Kind::Fenced => {
                tracing::warn!(stream = self.name, alarm = why, "the lane was fenced: another node has its lease")
            }
            Kind::Reopen => tracing::info!(stream = self.name, why, "the stream has to be opened again"),
            _ => tracing::error!(stream = self.name, alarm = why, "stream stopped"),
        }
        self.report();
        self.obey_all().unwrap_or(Rest::Until(None))
    }

    /// Does what was asked meanwhile. `Some`: to end.
    fn obey_all(&mut self) -> Option<Rest> {
        while let Some(command) = self.woken_by.take().or_else(|| self.commands.try_recv().ok()) {
            if self.obey(command) {
                return Some(Rest::End);
            }
        }
        None
    }

    /// Goes on until there is nothing to do, or it is somebody else's turn. After an error only a new start can help.
    fn turns(&mut self, threads: &Threads) -> Result<Rest> {
        let began = Instant::now();
        loop {
            if let Some(end) = self.obey_all() {
                return Ok(end);
            }
            match self.turn()? {
                LaneTurn::Again if threads.are_waited_for() && began.elapsed() >= SLICE => return Ok(Rest::Again),
                LaneTurn::Again => {}
                LaneTurn::End => return Ok(Rest::End),
                LaneTurn::Wait(until) => return Ok(Rest::Until(until)),
            }
        }
    }

    /// Waits for a command, and for [`GATHER`] more if it says that there are records. What is not needed meanwhile is let go
    /// of after a while.
    async fn wait(&mut self, pause: Duration) {
        let bell = self.own.bell.clone();
        let (began, mut rests) = (Instant::now(), false);
        let mut deadline = began + pause;
        loop {
            match self.commands.try_recv() {
                Ok(LaneCommand::Records) => deadline = deadline.min(Instant::now() + GATHER),
                Ok(other) => {
                    self.woken_by = Some(other);
                    break;
                }
                Err(_) => {
                    let next = if rests { deadline } else { deadline.min(began + REST_AFTER) };
                    let is_rung = tokio::time::timeout_at(next.into(), bell.notified()).await.is_ok();
                    if !is_rung && next == deadline {
                        break;
                    }
                    if !is_rung {
                        self.engine.rest();
                        rests = true;
                    }
                }
            }
        }
        // Whatever is durable by now is read next; who commits from here on tells again.
        self.told.store(false, Ordering::Release);
    }

    fn turn(&mut self) -> Result<LaneTurn> {
        let stepped = self.engine.step();
        self.ship();
        let turn = match stepped {
            Ok(Progress::Busy) => {
                self.alarm = None;
                self.turns_busy += 1;
                if self.turns_busy.is_multiple_of(64) {
                    let _ = self.engine.prepare_spare();
                }
                LaneTurn::Again
            }
            Ok(Progress::Idle { until }) => {
                self.alarm = None;
                // A spare segment is written while nothing else is to do; without room the commit path tries itself.
                let _ = self.engine.prepare_spare();
                match self.draining {
                    true if self.engine.is_drained() || self.engine.waits_to_be_read_again() => LaneTurn::End,
                    true if self.engine.flush()? => LaneTurn::Again,
                    // It would wait for somebody to let it go on.
                    true if self.engine.state().paused => LaneTurn::End,
                    _ => LaneTurn::Wait(until),
                }
            }
            Err(e) if matches!(e.kind, Kind::NoSpace | Kind::Misconfigured | Kind::Retry) => {
                self.alarm = Some(Alarm::of_error(&e));
                LaneTurn::Wait(Some(self.shared.clock.steady() + RETRY_STEP))
            }
            Err(e) => return Err(e),
        };
        self.report();
        Ok(turn)
    }

    /// Takes note of the lane's alarms, as they are now, and logs each when it begins and when it ends.
    fn report(&mut self) {
        let alarms = self.alarm.clone().into_iter().chain(self.engine.alarms()).collect();
        let AlarmChanges { begun, ended } = self.board.update(alarms, self.shared.clock.wall_ms());
        for Alarm { kind, subject, detail, .. } in begun {
            tracing::warn!(stream = self.name, kind = kind.name(), subject, alarm = detail, "alarm raised");
        }
        for Alarm { kind, subject, .. } in ended {
            tracing::info!(stream = self.name, kind = kind.name(), subject, "alarm cleared");
        }
    }

    fn ship(&mut self) {
        for (outlet, store, shipment) in self.engine.shipments() {
            let is_endpoint =
                |name| matches!(name, StoreName::Receiver(kind) if kind.spec().metrics == MetricFamily::HttpEndpoint);
            if store.parse().is_ok_and(is_endpoint) {
                // Firehose counts every attempt here.
                let labels = [("DeliveryStreamName", self.engine.stream().to_owned())];
                let processed = |what: &str| format!("hydrant_DeliveryToHttpEndpoint_Processed{what}");
                metrics::counter!(processed("Records"), &labels).increment(shipment.outputs);
                let bytes = self.engine.state().plans.get(&shipment.plan).map_or(0, |plan| plan.bytes);
                metrics::counter!(processed("Bytes"), &labels).increment(bytes);
            }
            match self.sinks.sink(outlet, &store) {
                Ok(sink) => self.upload(self.sinks.gate(outlet), sink, shipment),
                Err(e) => self.engine.reply(shipment.plan, Attempt::Misconfigured { reason: e.to_string() }),
            }
        }
    }

    /// Lanes of a stream wait for each other at its gates, and for no other stream.
    fn upload(&self, gate: Arc<Semaphore>, sink: Arc<dyn Sink>, shipment: Shipment) {
        let replies = self.own.clone();
        let runtime = self.shared.runtime.clone();
        let attempt = move || {
            let plan = shipment.plan;
            let attempt = std::panic::catch_unwind(AssertUnwindSafe(|| sink.attempt(&shipment)));
            let attempt = attempt.unwrap_or_else(|_| Attempt::Retry { reason: "the sink panicked".into() });
            crate::sabotage::point("upload.answered");
            let _ = replies.send(LaneCommand::Reply(plan, attempt));
        };
        self.shared.runtime.spawn(async move {
            let _passing = gate.acquire().await;
            let _ = runtime.spawn_blocking(attempt).await;
        });
    }

    /// What one that an error has ended still does: its status is answered, and shows why. Whether to end.
    fn obey_ended(&mut self, command: LaneCommand) -> bool {
        match command {
            LaneCommand::Status(answer) => drop(answer.send(self.status())),
            LaneCommand::Reload(reload) => {
                let message = format!("stream `{}` has stopped", self.name);
                drop(reload.answer.send(Err(Error::new(Kind::Stopping, message))));
            }
            LaneCommand::Drain | LaneCommand::Stop => return true,
            LaneCommand::Records | LaneCommand::Reply(..) | LaneCommand::Do(_) => {}
        }
        false
    }

    /// Whether to end at once.
    fn obey(&mut self, command: LaneCommand) -> bool {
        if self.ended {
            return self.obey_ended(command);
        }
        match command {
            LaneCommand::Records => self.told.store(false, Ordering::Release),
            LaneCommand::Reply(plan, attempt) => self.engine.reply(plan, attempt),
            LaneCommand::Status(answer) => {
                for (name, n) in self.engine.take_metrics() {
                    let labels = [("DeliveryStreamName", self.engine.stream().to_owned()), ("name", name)];
                    metrics::counter!("hydrant_transform_metrics", &labels).increment(n);
                }
                drop(answer.send(self.status()));
            }
            LaneCommand::Do(work) => work(&mut self.engine, &mut self.sinks),
            LaneCommand::Drain => self.draining = true,
            LaneCommand::Stop => return true,
            LaneCommand::Reload(reload) => {
                let Reload { definition, live, sinks, loader, answer } = *reload;
                let done = self.engine.reload(&definition, Box::new(loader));
                self.epoch.store(self.engine.epoch(), Ordering::Relaxed);
                if done.is_ok() {
                    let before = std::mem::replace(&mut self.sinks, sinks);
                    self.sinks.follow(before, &self.engine.open_stores());
                    self.engine.set_live(live);
                }
                let _ = answer.send(done);
            }
        }
        false
    }

    fn status(&mut self) -> Status {
        self.report();
        let engine = &self.engine;
        let age_s = |track| {
            let oldest = engine.oldest_pending_ms(track);
            oldest.map_or(0, |ms| self.shared.clock.wall_ms().saturating_sub(ms) / 1000)
        };
        let has_backup = engine.state().backup_from.is_some();
        Status {
            stream: self.name.clone(),
            state: match (self.ended, self.retired.load(Ordering::Relaxed)) {
                (true, _) => "stopped",
                (_, true) => "retired",
                _ if engine.state().paused => "paused",
                _ => "running",
            }
            .into(),
            alarm: alarm::headline(self.board.alarms()),
            alarms: self.board.alarms().to_vec(),
            damage: engine.damage().to_vec(),
            refuses_puts: false,
            accepted: engine.accepted(),
            pending: engine.pending(Track::Main),
            gap: engine.gap(),
            lost: engine.lost(),
            lost_of_backup: engine.lost_of_backup(),
            backup_pending: if has_backup { engine.pending(Track::Backup) } else { 0 },
            values_rounded: engine.rounded(),
            objects_cut_early: engine.cut_early(),
            outlets: Settled::of_all(engine.state()),
            open_plans: engine.state().open_plans().count() as u64,
            epoch: engine.epoch(),
            disk_bytes: engine.disk_bytes(),
            freshness_s: age_s(Track::Main),
            backup_freshness_s: if has_backup { age_s(Track::Backup) } else { 0 },
            lane: engine.describe(),
            shards: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Budget, Put, Writer};
    use crate::record::{EntryPoint, Records};
    use crate::stream::engine::memory::NodeMemory;
    use crate::stream::lane::handle::LaneHandle;
    use crate::stream::lane::meta::Meta;
    use crate::stream::lane::open::{LaneToOpen, Opened, open};
    use crate::stream::lane::places::Before;
    use crate::stream::lane::pool::Pool;
    use crate::stream::lane::resources::LaneResources;
    use crate::stream::pipeline::workers::Workers;
    use tokio::runtime::{Builder, Runtime};

    /// A runtime, and a pool that has one thread for all its lanes.
    fn one_thread() -> (Runtime, Arc<Pool>) {
        let runtime = Builder::new_multi_thread().worker_threads(1).max_blocking_threads(1).enable_time().build();
        (runtime.expect("threads"), Arc::new(Pool::start("lanes", 1).expect("threads")))
    }

    /// A lane that delivers to a directory, on a disk in memory, and who writes to its journal.
    fn lane((runtime, pool): &(Runtime, Arc<Pool>)) -> (LaneHandle, Writer) {
        let shared = NodeShared {
            fs: Arc::new(crate::fs::fake::FakeFs::new()),
            clock: Arc::new(crate::clock::System::default()),
            runtime: runtime.handle().clone(),
            workers: Workers::new(1),
            lanes: pool.clone(),
            memory: NodeMemory::new(64 << 20),
            budget: Budget::new("node", u64::MAX, None),
            module_cache: "modules".into(),
            arn_prefix: String::new(),
        };
        let text = "streams:\n  s:\n    format: lines\n    buffer: { size: 128MiB, interval: 900s }\n    destination:\n      \
                    local: { dir: /out }\n";
        let config = crate::config::parse(text, "test.yaml", "/".as_ref(), &|_| None).expect("it is valid");
        let config = &config.streams["s"];
        let common = LaneResources::new(&shared, Some(config), &Before::default());
        let meta = Meta { format: 1, name: "s".into(), incarnation: uuid::Uuid::new_v4(), damage: None };
        let lane = LaneToOpen { common: &common, dir: "/s".as_ref(), meta: &meta, config: Some(config) };
        let Opened { engine, writer, .. } = open(&lane).expect("a new stream");
        let sinks = Sinks::new(&common, "s");
        let running = LaneHandle::start(&shared, "s", (engine, sinks), &Arc::default(), pool.threads());
        (running, writer)
    }

    /// Of 5,000 records each: much for a slice, also on a machine that is busy with something else.
    const PUTS: u64 = 400;

    #[test]
    fn a_lane_with_much_to_do_lets_others_have_their_thread() {
        let threads = one_thread();
        let [(busy, mut writer), (other, _)] = [lane(&threads), lane(&threads)];
        let mut batch = Records::with_capacity(5000, 5000 * 40);
        (0..5000).for_each(|i| batch.push(format!("{{\"number\":{i},\"of\":\"a record\"}}").as_bytes()));
        for _ in 0..PUTS {
            let put = Put { arrival_ms: 1, entry: EntryPoint::Source, batch: batch.clone() };
            writer.commit(vec![put]).expect("the disk takes it");
        }
        let read = || busy.ask(|engine, _| engine.next_offset(Track::Main)).expect("it runs");
        busy.teller()();
        while read() == 0 {}
        assert_eq!(other.status().state, "running");
        assert!(read() < 5000 * PUTS, "the other has waited until all was done");
        [busy, other].into_iter().for_each(|lane| lane.stop());
    }

    #[test]
    fn a_lane_that_panics_is_stopped_and_says_so_and_no_other_is() {
        let threads = one_thread();
        let [(lane_of_fault, _), (other, _)] = [lane(&threads), lane(&threads)];
        // It is idle: nothing but the question wakes it.
        assert_eq!(lane_of_fault.status().state, "running");
        let asked = lane_of_fault.ask(|_, _| panic!("by intention"));
        assert_eq!(asked.map(|()| "done").unwrap_err().kind, Kind::Stopping);
        let status = lane_of_fault.status();
        assert_eq!(status.state, "stopped");
        assert!(status.alarm.is_some_and(|alarm| alarm.contains("a rule of our own was broken")));
        assert!(lane_of_fault.has_ended() && !other.has_ended());
        assert_eq!(other.status().state, "running");
        [lane_of_fault, other].into_iter().for_each(|lane| lane.stop());
    }
}
