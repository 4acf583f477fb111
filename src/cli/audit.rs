//! `hydrant audit`.

use super::{Outcome, load};
use crate::config::{Config, Destination, S3};
use crate::deliver::object::{Looked, ObjectStore};
use crate::deliver::{local::file_tag, s3};
use crate::fs::{Fs, real::RealFs};
use crate::stream::audit::{Audit, audit as audit_stream};
use crate::stream::ledger::Line;
use crate::stream::open::read_or_make_meta;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// While the service runs, files are read at slightly different moments: an audit that does not add up is repeated.
const TRIES: u32 = 20;

/// Options of the command.
#[derive(clap::Args)]
pub struct Options {
    /// The configuration: its data directory is audited, the service may run or not.
    config: PathBuf,
    /// Also look at every object that the ledger names: whether it is there, ours, and unchanged. Objects in a directory
    /// are read again, of objects in a bucket the tag and the plan's digest are compared.
    #[arg(long)]
    deep: bool,
    /// One JSON object a stream.
    #[arg(long)]
    json: bool,
}

/// Ends with 1 if anything does not add up.
pub fn audit(options: &Options) -> Outcome {
    let config = load(&options.config)?;
    let streams = config.data_dir.join("streams");
    let mut clean = true;
    for entry in RealFs.list(&streams).map_err(|e| format!("`{}`: {e}", streams.display()))? {
        let found = repeat(&config, &streams.join(entry), options.deep)?;
        clean &= found.is_clean();
        match options.json {
            true => println!("{}", serde_json::to_string(&found).map_err(|e| e.to_string())?),
            false => print(&found),
        }
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn repeat(config: &Config, dir: &Path, deep: bool) -> Result<Audit, String> {
    let meta = read_or_make_meta(&RealFs, dir, None).map_err(|e| e.to_string())?;
    let objects = Objects::new(config)?;
    let check = |line: &Line| objects.check(line);
    let mut tries = 0;
    loop {
        tries += 1;
        let found = audit_stream(&RealFs, dir, &meta, None);
        let steady = found.as_ref().is_ok_and(Audit::is_clean);
        if steady || tries == TRIES {
            return match deep {
                true => audit_stream(&RealFs, dir, &meta, Some(&check)).map_err(|e| e.to_string()),
                false => found.map_err(|e| e.to_string()),
            };
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

fn print(a: &Audit) {
    println!(
        "{}: accepted {} = delivered {} + dropped {} + failed {} + pending {} (+ lost {}), gap {}",
        a.stream, a.accepted, a.delivered, a.dropped, a.failed, a.pending, a.lost, a.gap
    );
    println!("  backed up {}, objects {}, looked at {}", a.backed_up, a.objects, a.objects_checked);
    a.problems.iter().for_each(|p| println!("  PROBLEM: {p}"));
}

/// Looks at objects where they were delivered.
struct Objects {
    runtime: tokio::runtime::Runtime,
    settings: Option<S3>,
    buckets: RefCell<BTreeMap<String, s3::S3>>,
}

impl Objects {
    fn new(config: &Config) -> Result<Objects, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let places = config
            .streams
            .values()
            .flat_map(|s| std::iter::once(&s.destination).chain(s.backup.as_ref().map(|b| &b.destination)));
        let settings = places.filter_map(|d| match d {
            Destination::S3(s3) => Some((**s3).clone()),
            Destination::Local(_) => None,
        });
        let settings = settings.take(1).next();
        let runtime = runtime.map_err(|e| format!("start a runtime: {e}"))?;
        Ok(Objects { runtime, settings, buckets: RefCell::default() })
    }

    fn check(&self, line: &Line) -> Result<(), String> {
        if let Some(dir) = line.store.strip_prefix("file://") {
            let relative: PathBuf = line.name.split('/').filter(|s| !s.is_empty()).collect();
            let file = RealFs.open(&Path::new(dir).join(relative)).map_err(|e| e.to_string())?;
            let found = file_tag(&*file).map_err(|e| e.to_string())?;
            return match found == line.tag {
                true => Ok(()),
                false => Err(format!("its contents are {found}, expected {}", line.tag)),
            };
        }
        let bucket = line.store.strip_prefix("s3://").ok_or("an unknown kind of store")?;
        let mut buckets = self.buckets.borrow_mut();
        if !buckets.contains_key(bucket) {
            let settings = self.settings.clone().ok_or("the configuration has no S3 settings any more")?;
            let settings = S3 { bucket: bucket.to_owned(), ..settings };
            let store = s3::S3::connect(&settings, self.runtime.handle().clone()).map_err(|e| e.to_string())?;
            buckets.insert(bucket.to_owned(), store);
        }
        match buckets[bucket].look(&line.name) {
            Looked::Absent => Err("it is not there any more".into()),
            Looked::Failed(failure) => Err(failure.reason),
            Looked::Present { owner: None, .. } => Err("it is not ours".into()),
            Looked::Present { owner: Some(owner), tag } => {
                let ours = owner.id == line.plan && owner.outputs == line.outputs && owner.digest == line.digest.0;
                match (ours, tag == line.tag) {
                    (false, _) => Err(format!("it belongs to plan {}", owner.id)),
                    (true, false) => Err(format!("its tag is {tag}, expected {}", line.tag)),
                    (true, true) => Ok(()),
                }
            }
        }
    }
}
