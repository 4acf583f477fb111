//! When a stream was made and when it was last changed, as its directory shows.
//!
//! Approximate, for people who look at a stream: nothing is decided by it. The directory is made once and `META` is written
//! into it at once, so that the older of the two is when the stream was made: a copy of the directory is younger than its
//! `META`, a `META` that was written anew younger than the directory. What an epoch needs is written when it begins; an
//! epoch that brings back what an older one had writes nothing.

use super::supervise::Stream;
use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

impl Stream {
    /// When the stream was made, in milliseconds; `None` if the file system does not say.
    pub fn created_ms(&self) -> Option<u64> {
        let made = |path: &Path, when: fn(&Metadata) -> io::Result<SystemTime>| {
            std::fs::metadata(path).and_then(|metadata| when(&metadata)).ok()
        };
        let directory = made(self.dir(), Metadata::created);
        let meta = made(&self.dir().join("META"), Metadata::modified);
        directory.into_iter().chain(meta).min().and_then(millis)
    }

    /// When its configuration was last changed; `None` if it never was.
    pub fn updated_ms(&self) -> Option<u64> {
        if self.epoch() <= 1 {
            return None;
        }
        let kept = std::fs::read_dir(self.dir().join("epochs")).ok()?.flatten();
        kept.filter_map(|file| file.metadata().and_then(|metadata| metadata.modified()).ok()).max().and_then(millis)
    }
}

fn millis(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_millis() as u64)
}
