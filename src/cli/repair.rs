//! `hydrant repair`.

use super::{Outcome, load, out::say};
use crate::config::Config;
use crate::fs::{Fs, real::RealFs};
use crate::stream::lane::meta::identity;
use crate::stream::node::lock;
use crate::stream::repair::{Nameless, look, nameless};
use crate::stream::shards::directories::shards;
use crate::stream::streams_dir::ASIDE;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Options of the command.
#[derive(clap::Args)]
pub(super) struct RepairOptions {
    /// The configuration: its data directory is looked at. The service must not run.
    config: PathBuf,
    /// Do it. Without this, nothing is changed.
    #[arg(long)]
    apply: bool,
    /// A directory below `streams/` that does not say whose it is, to be given back to --name.
    #[arg(long, requires = "name")]
    dir: Option<String>,
    /// The stream that --dir is of.
    #[arg(long, requires = "dir")]
    name: Option<String>,
}

/// Ends with 1 if anything is damaged and was not mended.
pub(super) fn repair(options: &RepairOptions) -> Outcome {
    let config = load(&options.config)?;
    let _lock = lock(&config.data_dir).map_err(|e| format!("`{}`: {e}", config.data_dir.display()))?;
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let streams = config.data_dir.join("streams");
    let (mut left, mut named, mut unnamed) = (0, BTreeSet::new(), Vec::new());
    let entries = fs.list(&streams).map_err(|e| format!("`{}`: {e}", streams.display()))?;
    for entry in entries.into_iter().filter(|entry| !entry.starts_with(ASIDE)) {
        let dir = streams.join(&entry);
        match nameless(&*fs, &dir) {
            Ok(None) => {}
            Ok(Some(found)) => {
                unnamed.push(found);
                continue;
            }
            Err(e) => {
                say!("{}: {e}", dir.display());
                left += 1;
                continue;
            }
        }
        match of_lane(&fs, &dir, None, options.apply) {
            Ok(None) => {}
            Ok(Some((name, is_left))) => {
                left += is_left as u32 + of_shards(&fs, &dir, &name, options.apply)?;
                named.insert(name);
            }
            Err(e) => {
                say!("{}: {e}", dir.display());
                left += 1;
            }
        }
    }
    for found in unnamed {
        left += !of_nameless(&*fs, &config, &named, found, options)? as u32;
    }
    match (left, options.apply) {
        (0, _) => say!("nothing is left to be repaired"),
        (_, true) => say!("{left} left: see above"),
        (_, false) => say!("nothing was changed; `--apply` does it"),
    }
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A stream, or a shard of the stream in `of_stream`: its stream's name, and whether something is left to be done.
fn of_lane(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    of_stream: Option<&Path>,
    apply: bool,
) -> Result<Option<(String, bool)>, String> {
    let Some(meta) = identity(&**fs, dir).map_err(|e| e.to_string())? else { return Ok(None) };
    let repair = look(fs, dir, &meta, of_stream).map_err(|e| format!("stream `{}`: {e}", meta.name))?;
    let is_whole = repair.found.is_empty();
    if !is_whole {
        say!("{}: in `{}`", meta.name, dir.display());
        repair.found.iter().for_each(|found| say!("  found: {found}"));
        let does = if apply { "done" } else { "would be done" };
        repair.actions.iter().for_each(|action| say!("  {does}: {action}"));
    }
    if apply {
        repair.apply(fs, dir, &meta).map_err(|e| format!("stream `{}`: {e}", meta.name))?;
    }
    Ok(Some((meta.name, !is_whole && !apply)))
}

/// How many shards of a stream something is left to be done of. What nodes share is known to their lease table.
fn of_shards(fs: &Arc<dyn Fs>, dir: &Path, stream: &str, apply: bool) -> Result<u32, String> {
    let mut left = 0;
    for shard in shards(&**fs, dir, stream).map_err(|e| e.to_string())?.into_iter().filter(|shard| !shard.is_shared) {
        match of_lane(fs, &shard.dir, Some(dir), apply) {
            Ok(found) => left += found.is_some_and(|(_, is_left)| is_left) as u32,
            Err(e) => {
                say!("{}: {e}", shard.dir.display());
                left += 1;
            }
        }
    }
    Ok(left)
}

/// Whether the directory has its name again.
fn of_nameless(
    fs: &dyn Fs,
    config: &Config,
    named: &BTreeSet<String>,
    found: Nameless,
    options: &RepairOptions,
) -> Result<bool, String> {
    let entry = found.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let without: Vec<&str> = config.streams.keys().filter(|name| !named.contains(*name)).map(String::as_str).collect();
    if let (Some(dir), Some(name), true) = (&options.dir, &options.name, options.apply)
        && *dir == entry
    {
        if named.contains(name) {
            return Err(format!("stream `{name}` has a directory, found by its `META`"));
        }
        found.name(fs, name).map_err(|e| e.to_string())?;
        say!("`{entry}`: it is that of stream `{name}` again");
        return Ok(true);
    }
    say!(
        "`{entry}`: it holds the files of a stream (incarnation {}) and no `META` that says of which",
        found.incarnation
    );
    say!("  streams of the configuration without a directory: {}", without.join(", "));
    say!("  to be done: `--apply --dir {entry} --name STREAM`");
    Ok(false)
}
