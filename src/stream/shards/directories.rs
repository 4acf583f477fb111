//! The directories of a stream's shards, and the files in them that say how they are read: `shards/LIFE/SHARD`, where a life is
//! the time at which the stream of Kinesis was made.

use crate::error::{Error, Result};
use crate::fs::{COPY, Fs};
use crate::stream::lane::meta::EPOCHS;
use crate::stream::state_log::plan_log;
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::path::{Path, PathBuf};

/// In the directory of a shard that this node read alone: it was read to its end, and everything is settled. Its status.
pub const DONE: &str = "DONE";

/// The directory that holds those of shards, in that of a stream.
pub const SHARDS: &str = "shards";

/// In the directory of a life of the stream of Kinesis: it is read alone.
pub const BEGIN: &str = "BEGIN";

/// In the directory of a life of the stream of Kinesis: nodes share it, by the table that this file names.
pub const SHARED: &str = "SHARED";

/// Between a shard's id and when its stream was made: what a lane is called whose stream is not the one that is read now.
pub const OF_LIFE: &str = " of ";

/// What a lane is called whose stream is not the one that is read now.
pub fn of_life(shard: &str, created_ms: u64) -> String {
    format!("{shard}{OF_LIFE}{created_ms}")
}

/// A shard's directory.
pub struct ShardDir {
    /// The stream's name, when the stream of Kinesis was made, the shard's id.
    pub name: String,
    pub dir: PathBuf,
    /// Its state is in a lease table.
    pub is_shared: bool,
}

/// Of what stands beside the directories of shards.
fn is_file(name: &str) -> bool {
    [BEGIN, SHARED].contains(&name.strip_suffix(COPY).unwrap_or(name))
}

fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<String>> {
    match fs.list(dir) {
        Ok(mut names) => {
            names.sort();
            Ok(names)
        }
        // Something else may stand beside the directories.
        Err(e) if matches!(e.kind(), NotFound | NotADirectory) => Ok(Vec::new()),
        Err(e) => Err(Error::io(format!("list `{}`", dir.display()), e)),
    }
}

/// The directories of a stream's shards.
pub fn shards(fs: &dyn Fs, dir: &Path, stream: &str) -> Result<Vec<ShardDir>> {
    let mut found = Vec::new();
    for life in lives(fs, dir)? {
        found.extend(shards_of(fs, dir, stream, &life)?);
    }
    Ok(found)
}

/// When the streams of Kinesis were made whose shards have directories in that of a stream.
pub fn lives(fs: &dyn Fs, dir: &Path) -> Result<Vec<String>> {
    list(fs, &dir.join(SHARDS))
}

/// The directories of the shards of one of those.
pub fn shards_of(fs: &dyn Fs, dir: &Path, stream: &str, life: &str) -> Result<Vec<ShardDir>> {
    let (dir, mut found) = (dir.join(SHARDS).join(life), Vec::new());
    let names = list(fs, &dir)?;
    let is_shared = names.iter().any(|name| name == SHARED);
    for shard in names.into_iter().filter(|name| !is_file(name)) {
        let of_shard = dir.join(&shard);
        let names = list(fs, &of_shard)?;
        // What is kept here of a shard that others read too is the ledger.
        let is_of_alone = |name: &String| !is_shared && (plan_log::is_file(name) || name == EPOCHS);
        if names.iter().any(|name| name == "ledger" || is_of_alone(name)) {
            found.push(ShardDir { name: format!("{stream}/{life}/{shard}"), dir: of_shard, is_shared });
        }
    }
    Ok(found)
}
