//! `hydrant check --online`: whether the places that a configuration names take what they are to take.

#![expect(clippy::disallowed_methods, reason = "a file tells whether a directory can be written to")]

use crate::config::{Config, Problem, Store, StreamConfig, WrittenConfig};
use crate::deliver::{Sink, connect, s3::S3Sink};
use crate::destination::Payload;
use crate::error::Result as Done;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::{Handle, Runtime};

/// What does not work, each at the keys that lead there. Blocks.
pub(super) fn online(config: &Config, written: &WrittenConfig) -> Result<Vec<Problem>, String> {
    let runtime = Runtime::new().map_err(|e| format!("start a runtime: {e}"))?;
    let mut problems = Vec::new();
    for (name, stream) in &config.streams {
        for (keys, message) in of_stream(config, name, stream, runtime.handle()) {
            let keys: Vec<&str> = [&["streams", name.as_str()], keys.as_slice()].concat();
            problems.push(written.problem(&keys, message));
        }
    }
    Ok(problems)
}

type FoundProblems = Vec<(Vec<&'static str>, String)>;

fn of_stream(config: &Config, name: &str, stream: &StreamConfig, runtime: &Handle) -> FoundProblems {
    let mut found = FoundProblems::new();
    if let Some(kinesis) = stream.kinesis() {
        let wrong = runtime.block_on(crate::source::kinesis::check::check(kinesis));
        let below = |(keys, message)| ([&["source", "kinesis"], Vec::as_slice(&keys)].concat(), message);
        found.extend(wrong.into_iter().map(below));
    }
    let destination = stream.destination.store();
    for (keys, store) in [
        (stream.destination.store_keys(), destination),
        (vec!["backup"], stream.backup.as_ref().and_then(|b| b.destination.store())),
    ] {
        let Some(store) = store else { continue };
        let keys = if keys == ["backup"] { vec!["backup", store.kind().spec().key] } else { keys };
        found.extend(try_store(name, store, runtime).err().map(|message| (keys, message)));
    }
    // A bucket that does not work would only be reported once more.
    if found.iter().any(|(keys, _)| keys[0] != "source") {
        return found;
    }
    let at = vec!["destination", stream.destination.kind().spec().key];
    let messages = match try_own(config, name, stream, runtime) {
        Ok(messages) => messages,
        Err(e) => vec![e.to_string()],
    };
    found.extend(messages.into_iter().map(|message| (at.clone(), message)));
    found
}

/// What does not work of a destination that is more than a store of objects.
fn try_own(config: &Config, name: &str, stream: &StreamConfig, runtime: &Handle) -> Done<Vec<String>> {
    let stage = match (stream.destination.kind().spec().payload, stream.destination.store()) {
        (Payload::Objects, _) => return Ok(Vec::new()),
        (_, Some(Store::S3(s3))) => Some(Arc::new(S3Sink::connect(s3, runtime.clone())?) as Arc<dyn Sink>),
        _ => None,
    };
    let sink = connect(&stream.destination, &config.api.stream_arn(name), stage, runtime.clone())?;
    Ok(sink.check())
}

fn try_store(stream: &str, store: Store, runtime: &Handle) -> Result<(), String> {
    match store {
        Store::S3(s3) => {
            let bucket = S3Sink::connect(s3, runtime.clone()).map_err(|e| e.to_string())?;
            bucket.probe(&format!("_hydrant/probe-{stream}")).map(drop).map_err(|failure| failure.reason)
        }
        Store::Local(local) => try_folder(&local.dir),
    }
}

/// Whether objects can be made there; the folder itself is made by `run`.
fn try_folder(dir: &Path) -> Result<(), String> {
    let there = dir.ancestors().find(|d| d.exists()).unwrap_or(Path::new("."));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let file = there.join(format!(".hydrant-check-{}", uuid::Uuid::new_v4()));
    let tried = std::fs::File::create_new(&file).and_then(|_| std::fs::remove_file(&file));
    tried.map_err(|e| format!("no file can be made in `{}`: {e}", there.display()))
}
