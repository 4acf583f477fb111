//! `hydrant audit`.

use super::{Outcome, load, out::say};
use crate::config::{Config, Destination, S3, Store, StreamConfig};
use crate::deliver::object::{Failure, Looked, ObjectStore};
use crate::deliver::{Body, Shelf, local::LocalSink, local::file_tag, s3};
use crate::destination::StoreName;
use crate::fs::{Fs, real::RealFs};
use crate::stream::audit::{self as account, Audit, FoundObject, Stores, leases};
use crate::stream::lane::meta::Meta;
use crate::stream::lane::meta::identity;
use crate::stream::redrive::marks::{RedriveMark, RedriveMarks, lines_of};
use crate::stream::shards::directories::{ShardDir, shards};
use crate::stream::state_log::ledger::names::{ObjectNames, names};
use crate::stream::state_log::ledger::{Line, Stub};
use crate::stream::state_log::objects;
use crate::stream::streams_dir::ASIDE;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// While the service runs, files are read at slightly different moments: an audit that does not add up is repeated.
const TRIES: u32 = 20;

/// Options of the command.
#[derive(clap::Args)]
pub(super) struct AuditOptions {
    /// The configuration: its data directory is audited, and where nodes share shards their lease table, the service may run
    /// or not.
    config: PathBuf,
    /// Also look at every object that the ledger names: whether it is there, ours, and unchanged. Objects in a directory
    /// are read again, of objects in a bucket the tag and the plan's digest are compared. And at the marks of `redrive`:
    /// each failed record is in its failure object or was redriven, none twice.
    #[arg(long)]
    deep: bool,
    /// One JSON object a stream.
    #[arg(long)]
    json: bool,
}

/// Ends with 1 if anything does not add up.
pub(super) fn audit(options: &AuditOptions) -> Outcome {
    let config = load(&options.config)?;
    let streams = streams_dir(&config.data_dir)?;
    let objects = AuditObjects::new(&config, options.deep)?;
    let mut clean = true;
    let entries = RealFs.list(&streams).map_err(|e| format!("`{}`: {e}", streams.display()))?;
    for entry in entries.into_iter().filter(|entry| !entry.starts_with(ASIDE)) {
        let dir = streams.join(entry);
        for found in of_stream(&dir, &objects) {
            clean &= found.is_clean();
            match options.json {
                true => say!("{}", serde_json::to_string(&found).map_err(|e| e.to_string())?),
                false => print(&found),
            }
        }
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// An account, and what names the objects that it is of.
struct Account {
    audit: Audit,
    names: ObjectNames,
}

impl Account {
    fn impossible(name: String, e: impl ToString) -> Account {
        Account::of(Audit::impossible(name, e.to_string()))
    }

    /// Of which no ledger is here.
    fn of(audit: Audit) -> Account {
        Account { audit, names: ObjectNames::default() }
    }
}

/// Audits the stream in a directory, and the shards that it reads.
fn of_stream(dir: &Path, objects: &AuditObjects) -> Vec<Audit> {
    let meta = match identity(&RealFs, dir) {
        Ok(None) => return Vec::new(),
        Ok(Some(meta)) => meta,
        Err(e) => return vec![Audit::impossible(dir.display().to_string(), e.to_string())],
    };
    let mut found = vec![one(dir, &meta)];
    let table = objects.config.streams.get(&meta.name).and_then(leases::of_table);
    let is_shared = table.is_some();
    let of_table = table.map(|table| of_table(&meta.name, table, objects));
    found.extend(of_table.into_iter().flatten().map(Account::of));
    match shards(&RealFs, dir, &meta.name) {
        Err(e) => found.push(Account::impossible(dir.display().to_string(), e)),
        Ok(shards) => shards.into_iter().for_each(|shard| add_shard(&mut found, shard)),
    }
    if objects.deep {
        look(&meta.name, &mut found, objects, is_shared);
    }
    found.into_iter().map(|account| account.audit).collect()
}

/// Audits the shard in a directory. If nodes share it, its account is in its lease, and in its directory the ledger of what this
/// node has delivered of it; that stays when the lease goes.
fn add_shard(found: &mut Vec<Account>, ShardDir { name, dir, is_shared }: ShardDir) {
    let account = if is_shared {
        match names(&RealFs, &dir) {
            Ok((names, problems)) => Account { audit: Audit { stream: name, problems, ..Audit::default() }, names },
            Err(e) => Account::impossible(name, e),
        }
    } else {
        match identity(&RealFs, &dir) {
            Ok(None) => return,
            Ok(Some(meta)) => {
                let Account { audit, names } = one(&dir, &meta);
                Account { audit: Audit { stream: name, ..audit }, names }
            }
            Err(e) => Account::impossible(name, e),
        }
    };
    match found.iter_mut().find(|of_lease| is_shared && of_lease.audit.stream == account.audit.stream) {
        Some(of_lease) => {
            of_lease.names = account.names;
            of_lease.audit.problems.extend(account.audit.problems);
        }
        None => found.push(account),
    }
}

/// Audits what nodes share, from the table.
fn of_table(stream: &str, table: leases::Table, objects: &AuditObjects) -> Vec<Audit> {
    let is_backup = objects.fails_into_backup(stream);
    let fetch = |store: &str, name: &str| {
        objects.with_shelf(stream, is_backup, store, |shelf| Ok(objects::read(shelf, name)))?.map_err(|e| e.to_string())
    };
    leases::audit(objects.runtime.handle(), table, stream, &fetch)
        .unwrap_or_else(|e| vec![Audit::impossible(format!("{stream} (lease table)"), e.to_string())])
}

/// Where the streams are. Nothing there is not the same as nothing missing: `run` makes it before it takes a record.
fn streams_dir(data_dir: &Path) -> Result<PathBuf, String> {
    let dir = data_dir.join("streams");
    let wrong = |found: &str| {
        let full = std::path::absolute(&dir).unwrap_or_else(|_| dir.clone());
        format!(
            "data directory `{}`: found {found} at `{}`, expected the streams of a service that ran (a relative \
             `data_dir` is relative to the working directory)",
            data_dir.display(),
            full.display()
        )
    };
    match std::fs::metadata(&dir) {
        Ok(found) if found.is_dir() => Ok(dir),
        Ok(_) => Err(wrong("a file")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(wrong("nothing")),
        Err(e) => Err(format!("data directory `{}`: {e}", data_dir.display())),
    }
}

/// Audits a stream. What keeps it from being audited is its problem; the others are audited all the same.
fn one(dir: &Path, meta: &Meta) -> Account {
    let (mut tries, fs): (_, Arc<dyn Fs>) = (0, Arc::new(RealFs));
    loop {
        tries += 1;
        match account::audit(&fs, dir, meta) {
            Ok((audit, names)) if audit.is_clean() || tries == TRIES => return Account { audit, names },
            Err(e) if tries == TRIES => return Account::impossible(meta.name.clone(), e),
            _ => std::thread::sleep(std::time::Duration::from_millis(100)),
        }
    }
}

/// Looks at the objects of a stream, and of the shards that it reads. Marks of what was put in again are the stream's: one may be
/// of any of the ledgers, or of none.
fn look(stream: &str, accounts: &mut [Account], objects: &AuditObjects, is_shared: bool) {
    for Account { audit, names } in &mut *accounts {
        for stub in std::mem::take(&mut names.archived) {
            let read = objects.archived(stream, &stub).and_then(|bytes| names.add(&bytes).map_err(|e| e.to_string()));
            if let Err(why) = read {
                audit.problems.push(format!("ledger file `{}/{}`: {why}", stub.store, stub.name));
            }
        }
        // Where nodes share a lane, other lines are in their ledgers.
        if !is_shared {
            let missing = names.missing().into_iter();
            let missing = missing.map(|(from, to)| format!("no ledger file has the lines of marks {from} to {to}"));
            audit.problems.extend(missing);
        }
    }
    let redrivable = accounts.iter().flat_map(|account| account.names.redrivable()).collect();
    let mut marks = match objects.marks(stream, redrivable) {
        Ok(marks) => marks,
        Err(why) => return accounts[0].audit.problems.push(why),
    };
    let lines: usize = accounts.iter().map(|account| account.names.lines.len()).sum();
    // Shown on a terminal only; that is indicatif's default.
    let progress = ProgressBar::new(lines as u64).with_message(stream.to_owned());
    let style = ProgressStyle::with_template("{msg}: {wide_bar} {pos} of {len} objects looked at");
    progress.set_style(style.expect("a constant"));
    let stores = Of { objects, stream, progress: &progress };
    for Account { audit, names } in &mut *accounts {
        audit.look(&names.lines, &mut marks, &stores);
    }
    accounts[0].audit.look_at_rest(marks, &stores, is_shared);
    progress.finish_and_clear();
}

fn print(a: &Audit) {
    say!(
        "{}: accepted {} = delivered {} + dropped {} + failed {} + pending {} (+ lost {}), gap {}",
        a.stream,
        a.accepted,
        a.delivered,
        a.dropped,
        a.failed,
        a.pending,
        a.lost,
        a.gap
    );
    let lost = if a.lost_of_backup > 0 { format!(" (+ lost {})", a.lost_of_backup) } else { String::new() };
    say!("  backed up {}{lost}, objects {}, looked at {}", a.backed_up, a.objects, a.objects_checked);
    if a.failed_in_objects > 0 {
        say!("  in failure objects {}, of these redriven {}", a.failed_in_objects, a.redriven);
    }
    a.problems.iter().for_each(|p| say!("  PROBLEM: {p}"));
}

/// The objects of a stream.
struct Of<'o> {
    objects: &'o AuditObjects<'o>,
    stream: &'o str,
    progress: &'o ProgressBar,
}

impl Stores for Of<'_> {
    fn check(&self, line: &Line) -> Result<FoundObject, String> {
        self.progress.inc(1);
        self.objects.check(self.stream, line)
    }

    fn lines_of(&self, store: &str, name: &str) -> Result<Option<u64>, String> {
        let is_backup = self.objects.fails_into_backup(self.stream);
        let body = self.objects.with_shelf(self.stream, is_backup, store, |shelf| {
            let is_there = shelf.list(name)?.iter().any(|found| found == name);
            is_there.then(|| fetch(shelf, name)).transpose()
        })?;
        body.map(|body| lines_of(&body).map_err(|e| e.to_string())).transpose()
    }
}

/// Looks at objects where they were delivered.
struct AuditObjects<'c> {
    runtime: tokio::runtime::Runtime,
    config: &'c Config,
    /// Whether the objects are to be looked at.
    deep: bool,
    /// By stream, whether it is the backup, and bucket: the same bucket name may stand for different stores.
    buckets: RefCell<BTreeMap<(String, bool, String), s3::S3Sink>>,
}

impl AuditObjects<'_> {
    fn new(config: &Config, deep: bool) -> Result<AuditObjects<'_>, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|e| format!("start a runtime: {e}"))?;
        Ok(AuditObjects { runtime, config, deep, buckets: RefCell::default() })
    }

    /// The bytes of an archived file of the ledger.
    fn archived(&self, stream: &str, stub: &Stub) -> Result<Vec<u8>, String> {
        let body = self.with_shelf(stream, self.fails_into_backup(stream), &stub.store, |s| fetch(s, &stub.name))?;
        body.read(0, body.len() as usize).map_err(|e| e.to_string())
    }

    /// The marks of a stream, in the stores its failures and backups are in and in the one failures go to today.
    fn marks(&self, stream: &str, stores: BTreeSet<(bool, String)>) -> Result<RedriveMarks, String> {
        let today =
            self.config.streams.get(stream).and_then(StreamConfig::failures).map(|store| store.name().to_string());
        let today = today.map(|store| (false, store));
        // One store may be both.
        let stores: BTreeMap<String, bool> = stores.into_iter().chain(today).map(|(of, store)| (store, of)).collect();
        let mut marks = RedriveMarks::default();
        for (store, is_backup) in stores {
            let is_backup = is_backup || self.fails_into_backup(stream);
            let read = self.with_shelf(stream, is_backup, &store, |shelf| {
                let names = shelf.list(&RedriveMark::of_stream(stream))?.into_iter();
                names.map(|name| Ok((fetch(shelf, &name)?, name))).collect::<Result<Vec<_>, _>>()
            });
            for (body, name) in read.map_err(|why| format!("the marks of redrives in `{store}`: {why}"))? {
                let bytes = body.read(0, body.len() as usize).map_err(|e| e.to_string())?;
                marks.add(&store, RedriveMark::read(&name, &bytes).map_err(|e| e.to_string())?);
            }
        }
        Ok(marks)
    }

    fn fails_into_backup(&self, stream: &str) -> bool {
        self.config.streams.get(stream).is_some_and(StreamConfig::fails_into_backup)
    }

    fn check(&self, stream: &str, line: &Line) -> Result<FoundObject, String> {
        // What a warehouse has loaded stays where it was staged.
        let store = line.store.split_once('+').map_or(line.store.as_str(), |(_, staged)| staged);
        if let Some(path) = local_path(store, &line.name) {
            let file = match RealFs.open(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(FoundObject::Absent),
                file => file.map_err(|e| e.to_string())?,
            };
            let found = file_tag(&*file).map_err(|e| e.to_string())?;
            return match found == line.tag {
                true => Ok(FoundObject::AsItWas),
                false => Err(format!("its contents are {found}, expected {}", line.tag)),
            };
        }
        let is_backup = line.is_of_backup() || line.is_of_failures() && self.fails_into_backup(stream);
        match self.with_bucket(stream, is_backup, store, |bucket| bucket.look(&line.name))? {
            Looked::Absent => Ok(FoundObject::Absent),
            Looked::Failed(failure) => Err(failure.reason),
            Looked::Present { owner: None, .. } => Err("it is not ours".into()),
            Looked::Present { owner: Some(owner), tag } => {
                let ours = owner.id == line.plan && owner.outputs == line.outputs && owner.digest == line.digest.0;
                match (ours, tag == line.tag) {
                    (false, _) => Err(format!("it belongs to plan {}", owner.id)),
                    (true, false) => Err(format!("its tag is {tag}, expected {}", line.tag)),
                    (true, true) => Ok(FoundObject::AsItWas),
                }
            }
        }
    }

    fn with_shelf<T>(
        &self,
        stream: &str,
        is_backup: bool,
        store: &str,
        work: impl FnOnce(&dyn Shelf) -> Result<T, Failure>,
    ) -> Result<T, String> {
        let done = match StoreName::of_objects(store).map_err(|e| e.to_string())? {
            StoreName::Directory(dir) => work(&LocalSink::new(Arc::new(RealFs), dir)),
            _ => self.with_bucket(stream, is_backup, store, |bucket| work(bucket))?,
        };
        done.map_err(|failure| failure.reason)
    }

    fn with_bucket<T>(
        &self,
        stream: &str,
        is_backup: bool,
        store: &str,
        work: impl FnOnce(&s3::S3Sink) -> T,
    ) -> Result<T, String> {
        let name = StoreName::of_objects(store).map_err(|e| e.to_string())?;
        let StoreName::Bucket(bucket) = name else { return Err(format!("`{store}` is no bucket")) };
        let place = (stream.to_owned(), is_backup, bucket.clone());
        let mut buckets = self.buckets.borrow_mut();
        if !buckets.contains_key(&place) {
            let settings = settings(self.config, stream, is_backup, &bucket);
            let settings = settings.ok_or("the configuration has no S3 settings any more")?;
            let store = s3::S3Sink::connect(&settings, self.runtime.handle().clone()).map_err(|e| e.to_string())?;
            buckets.insert(place.clone(), store);
        }
        Ok(work(&buckets[&place]))
    }
}

/// An object's bytes, in memory.
fn fetch(shelf: &dyn Shelf, name: &str) -> Result<Body, Failure> {
    let mut spool = Body::of(Vec::new()).spool();
    shelf.fetch(name, &mut spool).map(|()| spool.finish(false))
}

/// Where an object of a directory is; `None` if its store is none.
fn local_path(store: &str, name: &str) -> Option<PathBuf> {
    let relative: PathBuf = name.split('/').filter(|s| !s.is_empty()).collect();
    match StoreName::of_objects(store).ok()? {
        StoreName::Directory(dir) => Some(dir.join(relative)),
        _ => None,
    }
}

/// How to reach a bucket that an outlet of a stream delivered to. Buckets change with epochs, and streams go from the
/// configuration: then whatever names this bucket, and last what the outlet, or anything, is reached with today.
fn settings(config: &Config, stream: &str, is_backup: bool, bucket: &str) -> Option<S3> {
    let s3 = |place: &Destination| match place.store() {
        Some(Store::S3(s3)) => Some(s3.clone()),
        _ => None,
    };
    let places = |c: &StreamConfig| {
        let (destination, backup) = (s3(&c.destination), c.backup.as_ref().and_then(|b| s3(&b.destination)));
        if is_backup { [backup, destination] } else { [destination, backup] }
    };
    let own = config.streams.get(stream).map(places).into_iter().flatten();
    let others = config.streams.iter().filter(|(name, _)| *name != stream).flat_map(|(_, c)| places(c));
    let known: Vec<S3> = own.chain(others).flatten().collect();
    let found = known.iter().find(|s| s.bucket == bucket).or(known.first())?;
    Some(S3 { bucket: bucket.to_owned(), ..found.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_reached_as_its_outlet_says_and_else_as_whoever_names_it() {
        let place = |bucket: &str, port: u16| format!("s3: {{ bucket: {bucket}, endpoint: 'http://h:{port}' }}");
        let text = format!(
            "streams:\n  a: {{ destination: {{ {} }}, backup: {{ {} }} }}\n  b: {{ destination: {{ {} }} }}\n",
            place("lake", 1),
            place("lake", 2),
            place("old", 3)
        );
        let config = crate::config::parse(&text, "t", Path::new(""), &|_| None).unwrap();
        let endpoint = |stream: &str, is_backup: bool, bucket: &str| {
            let found = settings(&config, stream, is_backup, bucket).unwrap();
            assert_eq!(found.bucket, bucket);
            found.endpoint.unwrap()
        };
        assert_eq!(endpoint("a", false, "lake"), "http://h:1");
        assert_eq!(endpoint("a", true, "lake"), "http://h:2");
        assert_eq!(endpoint("a", true, "old"), "http://h:3", "another stream still names the bucket of an older epoch");
        assert_eq!(endpoint("a", true, "nobody's"), "http://h:2");
        assert_eq!(endpoint("gone", false, "old"), "http://h:3");
        let none = crate::config::parse("", "t", Path::new(""), &|_| None).unwrap();
        assert!(settings(&none, "a", false, "lake").is_none());
    }
}
