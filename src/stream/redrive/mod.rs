//! `redrive`: failed records are put in again where they failed, each once.
//!
//! Their objects stay as they are. What was taken of one is in the plan log, frame by frame (see `take`), until a mark
//! beside the failures, `_hydrant/redriven/STREAM/OBJECT/…`, says it for good; a second run reads both. Objects may be
//! ours or AWS's: every line says at which step its record failed. Manifests are loaded again under the plans they name.

pub mod backed_up;
mod backup;
mod errors;
mod manifests;
pub mod marks;

use self::backed_up::BACKUP;
use self::errors::{again, cannot_read, ends_run, refused};
use self::marks::Mark;
use crate::deliver::body::Scratch;
use crate::deliver::error_record::Failed;
use crate::deliver::warehouse::manifest;
use crate::deliver::{Attempt, Body, Shelf, Spool};
use crate::error::{Error, Kind, Result};
use crate::partition::key::is_object_of;
use crate::record::{Batch, Entry as Stage};
use crate::stream::pipeline::route::MANIFESTS;
use crate::stream::plan::list::{List, ListBuilder};
use crate::stream::plan::{Entry, Outlet};
use crate::stream::state_log::ledger::Line;
use crate::stream::supervise::Stream;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{BufRead, Read};
use std::ops::Range;
use std::sync::Arc;

/// One frame of records that are put in again.
const FRAME_RECORDS_MAX: u64 = 5000;
const FRAME_BYTES_MAX: usize = 2 << 20;
/// Of a line: the largest record, in base64, and what is said of it.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// Lines that are no error records at the beginning of an object, before it is taken for something else.
const UNREADABLE_MAX: usize = 1000;
/// Objects that are refused, by their store or by the destination, one after the other before the run ends: so many are not
/// refused for what is in them.
const REFUSED_MAX: u32 = 10;
/// Messages that are kept of a run.
const NOTES_MAX: usize = 200;

/// What is put in again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Firehose's error type, such as `http-endpoint-failed`, or `backup`; without it all failures.
    pub kind: Option<String>,
    /// Only records that failed with this code, such as `HttpEndpoint.RequestTimeout`.
    pub code: Option<String>,
    /// Only records that arrived in this time, in milliseconds since the Unix epoch.
    pub from_ms: Option<u64>,
    pub to_ms: Option<u64>,
    /// Objects whose names begin so, instead of those that the stream's error prefix leads to.
    pub prefix: Option<String>,
    /// Nothing is put in: what would be, is counted.
    pub dry_run: bool,
}

/// How a run stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// It went through everything selected; but for what is `left`, that is put in.
    pub ended: bool,
    pub running: bool,
    /// Why it ended before.
    pub error: Option<String>,
    pub objects: u64,
    pub objects_done: u64,
    /// Records put in by this run, or that would be, and at which step.
    pub records: u64,
    pub steps: BTreeMap<String, u64>,
    /// Put in by an earlier run.
    pub before: u64,
    /// Objects, or of a manifest those that it names, that cannot be put in as they are.
    #[serde(default)]
    pub left: u64,
    pub not_selected: u64,
    /// Lines that are no error records.
    pub unreadable: u64,
    /// Where outputs of this run's records ended, and how many of its records have not yet.
    pub became: BTreeMap<String, u64>,
    pub pending: u64,
    pub notes: Vec<String>,
}

/// What is known of an object before a run.
#[derive(Default)]
struct Before {
    /// Its lines that were put in.
    taken: HashSet<u64>,
    /// Those of which no mark says so.
    unmarked: Vec<(u64, u64)>,
    /// The plan log knows of some.
    is_in_log: bool,
}

/// What a run put in of an object: lines, and of a manifest how many records these are.
#[derive(Default)]
struct Put {
    lines: Vec<(u64, u64)>,
    records: Option<u64>,
    /// Why the run ends here.
    ends: Option<Error>,
    /// Other objects of which the plan log knows lines that this one's mark speaks of.
    in_log: Vec<String>,
}

struct Run<'s> {
    stream: &'s Stream,
    selection: Selection,
    shelf: Arc<dyn Shelf>,
    scratch: Arc<Scratch>,
    /// The store of the destination's plans.
    destination: String,
    /// Of an object's lines that are in the journal, not yet told to the plan log; and where the last frame ended.
    told: Option<Entry>,
    behind: u64,
    /// The ledger's of the backup, if that is put in again, by the names of objects.
    lines: BTreeMap<String, Line>,
    /// Objects that were refused since the last one that was not.
    refused: u32,
}

impl Stream {
    /// Begins to put failed records in again. One run at a time.
    pub fn redrive(self: &Arc<Self>, selection: Selection) -> Result<()> {
        let mut progress = self.progress();
        if progress.running {
            return Err(Error::new(Kind::Invalid, format!("a redrive of stream `{}` is under way", self.name)));
        }
        *progress = Progress { running: true, ..Progress::default() };
        drop(progress);
        let stream = self.clone();
        let thread = std::thread::Builder::new().name(format!("redrive {}", self.name));
        let thread = thread.spawn(move || {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&stream, selection)));
            let done = done.unwrap_or_else(|_| Err(Error::new(Kind::Bug, "the redrive panicked (see the log)")));
            let mut progress = stream.progress();
            (progress.running, progress.ended) = (false, done.is_ok());
            progress.error = done.err().map(|e| e.to_string());
        });
        thread.map(drop).map_err(|e| Error::io("start a thread", e))
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.redrive.lock().expect("nobody panics holding it")
    }

    /// How the last run stands. Blocks.
    pub fn redrive_progress(&self) -> Result<Progress> {
        let (became, pending) = self.ask(|engine, _| engine.redriven())?;
        Ok(Progress { became, pending, ..self.progress().clone() })
    }
}

fn run(stream: &Stream, selection: Selection) -> Result<()> {
    if stream.is_broken() {
        // A frame that could not be written may be found in the journal when it is opened again.
        let message = format!("stream `{}` is to be opened again: repeat this when it is", stream.name);
        return Err(Error::new(Kind::Stopping, message));
    }
    let begun = stream.ask(|engine, _| {
        engine.begin_redrive()?;
        let (route, scratch) = engine.places()?;
        Ok::<_, Error>((route, scratch, engine.journal_end()))
    })?;
    let (route, scratch, behind) = begun?;
    let (places, of_backup) = (route.failure_places(), route.backup.as_ref().map(|b| b.prefix.beginning("")));
    let known: Vec<&str> = places.iter().map(|(kind, _)| *kind).chain(of_backup.is_some().then_some(BACKUP)).collect();
    if let Some(kind) = selection.kind.as_deref().filter(|kind| !known.contains(kind)) {
        let message = format!("found the kind `{kind}`, expected one of {}", known.join(", "));
        return Err(Error::new(Kind::Invalid, message));
    }
    let wants_backup = selection.kind.as_deref() == Some(BACKUP);
    let is_of_records = selection.code.is_some() || selection.from_ms.is_some() || selection.to_ms.is_some();
    let refused = match () {
        () if wants_backup && is_of_records => Some("a backup tells of its records neither code nor arrival"),
        () if !wants_backup && selection.prefix.is_some() && selection.prefix == of_backup => {
            Some("this is the backup: its objects are put in again with the kind `backup`")
        }
        () => None,
    };
    if let Some(message) = refused {
        return Err(Error::new(Kind::Invalid, message));
    }
    let outlet = if wants_backup { Outlet::Backup } else { Outlet::ProcessingFailed };
    let (store, destination) = (route.store(outlet).to_owned(), route.store.clone());
    let of = store.clone();
    let shelf = stream.ask(move |_, sinks| sinks.shelf(outlet, &of))??;
    let lines = BTreeMap::new();
    let mut run = Run { stream, selection, shelf, scratch, destination, lines, refused: 0, told: None, behind };
    let mut names = BTreeSet::new();
    let chosen = |kind: &str| run.selection.kind.as_deref().is_none_or(|wanted| wanted == kind);
    match &run.selection.prefix {
        prefix if wants_backup => {
            let found = run.list(prefix.as_deref().or(of_backup.as_deref()).unwrap_or_default())?;
            run.lines = run.lines_of_backup(&store)?;
            names.extend(found.into_iter().filter(|name| run.lines.contains_key(name)));
        }
        Some(prefix) => names.extend(run.list(prefix)?),
        None => {
            for (kind, begins) in places.iter().filter(|(kind, _)| chosen(kind)) {
                let found = run.list(begins)?;
                // Streams may share a place for their failures.
                names.extend(found.into_iter().filter(|name| is_object_of(name, &stream.name, *kind != MANIFESTS)));
            }
        }
    }
    names.retain(|name| !name.starts_with("_hydrant/") && !name.starts_with("_ledger/"));
    stream.progress().objects = names.len() as u64;
    for name in names {
        match run.object(&name) {
            // It cannot be read. What was put in of its records is in the plan log.
            Err(e) if matches!(e.kind, Kind::Corrupt | Kind::Misconfigured) => run.leave(&name, e)?,
            done => done?,
        }
        stream.progress().objects_done += 1;
    }
    Ok(())
}

impl Run<'_> {
    fn note(&self, note: String) {
        let notes = &mut self.stream.progress().notes;
        if notes.len() < NOTES_MAX {
            notes.push(note);
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        again(|| self.shelf.list(prefix).map_err(|failure| refused("list", prefix, failure)))
    }

    fn fetch(&self, shelf: &dyn Shelf, name: &str) -> Result<Body> {
        again(|| {
            let mut spool = Spool::new(&self.scratch);
            let fetched = shelf.fetch(name, &mut spool);
            fetched.map(|()| spool.finish(false)).map_err(|failure| refused("read", name, failure))
        })
    }

    /// The lines of an object that were put in before, as its marks and the plan log know them.
    fn before(&self, name: &str) -> Result<Before> {
        let object = name.to_owned();
        let takes = self.stream.ask(move |engine, _| engine.takes_of(&object))?;
        let mut before = Before { is_in_log: !takes.taken.is_empty(), ..Before::default() };
        for mark in self.list(&Mark::of_object(&self.stream.name, name))? {
            let body = self.fetch(&*self.shelf, &mark)?;
            let bytes = body.read(0, body.len() as usize).map_err(|e| Error::io("read scratch", e))?;
            let lines = Mark::read(&mark, &bytes)?.lines;
            before.taken.extend(lines.into_iter().flat_map(|(first, count)| first..first + count));
        }
        // A run may have died between a mark and the plan log's note of it: what stands in one is not put into another.
        for (first, count) in runs(&takes.taken) {
            if !before.taken.contains(&first) {
                before.unmarked.push((first, count));
            }
            before.taken.extend(first..first + count);
        }
        Ok(before)
    }

    /// Leaves an object that cannot be put in as it is to another run, and goes on with those behind it. The error: so many
    /// were refused one after the other for what may be nobody's fault but the store's or the destination's.
    fn leave(&mut self, name: &str, why: Error) -> Result<()> {
        if let Some(told) = self.told.take() {
            self.tell(vec![told], None)?;
        }
        self.stream.progress().left += 1;
        self.note(format!("`{name}` is left: {why}"));
        self.refused += matches!(why.kind, Kind::Retry | Kind::Misconfigured) as u32;
        match self.refused < REFUSED_MAX {
            true => Ok(()),
            false => {
                let message = format!("{REFUSED_MAX} objects were refused one after the other, the last: {why}");
                Err(Error::new(Kind::Retry, message))
            }
        }
    }

    fn object(&mut self, name: &str) -> Result<()> {
        let before = self.before(name)?;
        let body = self.fetch(&*self.shelf, name)?;
        let mut lines = body.plain().map_err(|e| cannot_read(name, e))?;
        let is_manifest = manifest::begins(lines.fill_buf().map_err(|e| cannot_read(name, e))?);
        let records_before = self.stream.progress().records;
        let mut put = match self.lines.get(name).cloned() {
            Some(line) => self.backed_up(name, lines, &line, &before.taken)?,
            None if is_manifest => self.manifest(name, lines, &before.taken)?,
            None => self.records(name, lines, &before.taken)?,
        };
        if !is_manifest {
            self.refused = 0;
        }
        let ends = put.ends.take();
        if !self.selection.dry_run {
            put.lines.extend(before.unmarked);
            self.mark(name, put, before.is_in_log)?;
        }
        let put = self.stream.progress().records - records_before;
        if put > 0 {
            let verb = if self.selection.dry_run { "would be put in" } else { "put in" };
            self.note(format!("`{name}`: {put} {verb}"));
        }
        ends.map_or(Ok(()), Err)
    }

    fn is_selected(&self, failed: &Failed) -> bool {
        let s = &self.selection;
        s.code.as_ref().is_none_or(|code| *code == failed.code)
            && s.from_ms.is_none_or(|from| failed.arrival_ms >= from)
            && s.to_ms.is_none_or(|to| failed.arrival_ms < to)
    }

    /// Puts in what is selected of an object's lines; which they are.
    fn records(&mut self, name: &str, mut lines: impl BufRead, taken: &HashSet<u64>) -> Result<Put> {
        let mut filling = Filling::default();
        let mut line = Vec::new();
        let (mut any, mut unreadable) = (false, Vec::new());
        for number in 0.. {
            line.clear();
            let read = (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if read.map_err(|e| cannot_read(name, e))? == 0 {
                break;
            }
            if taken.contains(&number) {
                any = true;
                self.stream.progress().before += 1;
                continue;
            }
            let failed = match Failed::read(&line) {
                Ok(failed) => failed,
                // It may be no failure object at all.
                Err(why) if !any && unreadable.len() < UNREADABLE_MAX => {
                    unreadable.push((number, why));
                    continue;
                }
                Err(_) if !any => break,
                Err(why) => {
                    self.unreadable(name, number, &why);
                    continue;
                }
            };
            any = true;
            unreadable.drain(..).for_each(|(number, why)| self.unreadable(name, number, &why));
            if !self.is_selected(&failed) {
                self.stream.progress().not_selected += 1;
                continue;
            }
            self.add(name, &mut filling, (number, failed.entry, &failed.record))?;
        }
        if let Some((_, why)) = unreadable.first() {
            self.stream.progress().unreadable += 1;
            self.note(format!("`{name}` is left: {why}"));
        }
        self.finish(name, filling)
    }

    fn unreadable(&self, name: &str, line: u64, why: &str) {
        self.stream.progress().unreadable += 1;
        self.note(format!("`{name}`, line {}: {why}", line + 1));
    }

    /// Adds a record: number of its line, where it enters, and its bytes.
    fn add(&mut self, name: &str, filling: &mut Filling, (number, entry, record): (u64, Stage, &[u8])) -> Result<()> {
        if filling.frame.as_ref().is_some_and(|f| f.is_full() || f.entry != entry) {
            filling.put.extend(self.put(name, filling.frame.take())?);
        }
        let frame = filling.frame.get_or_insert_with(|| Frame::new(entry));
        frame.lines.push(number, 0, 1);
        frame.batch.push(record);
        Ok(())
    }

    fn finish(&mut self, name: &str, mut filling: Filling) -> Result<Put> {
        filling.put.extend(self.put(name, filling.frame)?);
        if let Some(told) = self.told.take() {
            self.tell(vec![told], None)?;
        }
        Ok(Put { lines: runs(&filling.put).collect(), ..Put::default() })
    }

    /// Puts a frame in: announced in the plan log before, acknowledged there with what comes next.
    fn put(&mut self, name: &str, frame: Option<Frame>) -> Result<Option<List>> {
        let Some(Frame { entry, lines, batch }) = frame else { return Ok(None) };
        let (lines, count) = (lines.finish(), batch.len() as u64);
        if !self.selection.dry_run {
            let object = name.to_owned();
            let take = Entry::Take { object: object.clone(), lines: lines.clone(), from: self.behind };
            let entries = self.told.take().into_iter().chain([take]).collect();
            self.tell(entries, None)?;
            // Nothing of a frame that was refused is in the journal.
            let first = again(|| self.stream.put_again(batch.clone(), entry)).map_err(ends_run)?;
            self.behind = first + count;
            crate::sabotage::point("redrive.put");
            self.tell(Vec::new(), Some(first..first + count))?;
            self.told = Some(Entry::Taken { object, taken: true });
        }
        let mut progress = self.stream.progress();
        progress.records += count;
        let step = if entry == Stage::Again {
            "transform"
        } else if matches!(entry, Stage::Format | Stage::Keyed) {
            "format"
        } else {
            "deliver"
        };
        *progress.steps.entry(step.to_owned()).or_default() += count;
        Ok(Some(lines))
    }

    fn tell(&self, entries: Vec<Entry>, put: Option<Range<u64>>) -> Result<()> {
        self.stream.ask(move |engine, _| engine.note_take(entries, put)).and_then(|noted| noted).map_err(ends_run)
    }

    /// Leaves the mark of an object, and only then lets the plan log forget it.
    fn mark(&self, name: &str, put: Put, is_in_log: bool) -> Result<()> {
        let Put { mut lines, records, in_log, ends: _ } = put;
        lines.sort_unstable();
        if !lines.is_empty() {
            let redriven_ms = jiff::Timestamp::now().as_millisecond() as u64;
            let mark = Mark { object: name.to_owned(), lines, records, redriven_ms };
            let shipment = mark.shipment(&self.stream.name);
            again(|| match self.shelf.attempt(&shipment) {
                Attempt::Stored { .. } => Ok(()),
                other => {
                    let kind = if matches!(other, Attempt::Retry { .. }) { Kind::Retry } else { Kind::Invalid };
                    Err(Error::new(kind, format!("mark `{name}` as put in again: {other:?}")))
                }
            })?;
        }
        crate::sabotage::point("redrive.marked");
        let known = is_in_log.then(|| name.to_owned()).into_iter().chain(in_log);
        self.tell(known.map(|object| Entry::Redriven { object }).collect(), None)
    }
}

/// The lines that lists name.
fn runs(lists: &[List]) -> impl Iterator<Item = (u64, u64)> {
    let items = lists.iter().flat_map(List::items);
    items.map(|item| (item.offset(), item.end() - item.offset()))
}

/// What is put in of an object, frame by frame.
#[derive(Default)]
struct Filling {
    put: Vec<List>,
    frame: Option<Frame>,
}

/// Records of one step on their way into the journal.
struct Frame {
    entry: Stage,
    lines: ListBuilder,
    batch: Batch,
}

impl Frame {
    fn new(entry: Stage) -> Frame {
        Frame { entry, lines: ListBuilder::default(), batch: Batch::default() }
    }

    fn is_full(&self) -> bool {
        self.lines.outputs() >= FRAME_RECORDS_MAX || self.batch.bytes().len() >= FRAME_BYTES_MAX
    }
}
