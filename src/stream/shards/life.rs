//! A stream that was deleted and made again between two looks: what was read of the new one by who still meant the old one
//! is delivered by that lane, and passed over by the one that follows.
//!
//! The file `READ` in the directory of a shard says which records those are. It is written once they are delivered, before
//! the shard is read, and never changed: what is passed over once is passed over by every life.

use super::ShardSet;
use super::directories::OF_LIFE;
use super::lanes::ShardLane;
use super::passed::{READ, ReadRange};
use crate::error::{Error, Kind, Result};
use crate::stream::state_log::sealed;
use std::collections::BTreeMap;
use std::path::Path;

impl ShardSet {
    /// How many answers each lane has taken since the stream was last looked at.
    pub(super) fn answers(&self) -> BTreeMap<String, usize> {
        let lanes = self.lanes();
        let open = lanes.iter().filter_map(|(id, lane)| match lane {
            ShardLane::Open(lane) => Some((id.clone(), lane.shard.answers())),
            ShardLane::Done(_) => None,
        });
        open.collect()
    }

    /// These answers came before the stream was found to be the one that is meant.
    pub(super) fn are_seen(&self, answers: BTreeMap<String, usize>) {
        let lanes = self.lanes();
        for (id, answers) in answers {
            if let Some(ShardLane::Open(lane)) = lanes.get(&id) {
                lane.shard.are_seen(answers);
            }
        }
    }

    /// Takes note, in a shard's directory, of what was read of it in place of another stream's shard of that name. `Retry`:
    /// not all of that is delivered yet, and would be lost if this life ended here.
    pub(super) fn note_what_was_read(&self, dir: &Path, shard: &str, created_ms: u64) -> Result<()> {
        let of_others = format!("{shard}{OF_LIFE}");
        let read = {
            let lanes = self.lanes();
            let others = lanes.iter().filter(|(id, _)| id.starts_with(&of_others));
            let mut open = others.filter_map(|(_, lane)| match lane {
                ShardLane::Open(lane) if !lane.running.has_ended() => Some(lane),
                _ => None,
            });
            let Some((lane, read)) = open.find_map(|lane| Some((lane, lane.shard.read_of(created_ms)?))) else {
                return Ok(());
            };
            lane.running.ask(|engine, _| engine.flush())??;
            if lane.running.status().pending > 0 {
                let message = "records of the stream that was made anew were read before that was noticed, and are not \
                               delivered yet: then it is read on";
                return Err(Error::new(Kind::Retry, message));
            }
            read
        };
        let fs = &*self.shared.fs;
        // What was noted by an earlier life is what lists of records count on.
        if sealed::read::<ReadRange>(fs, &dir.join(READ))?.is_some() || crate::fs::read(fs, &dir.join("META")).is_ok() {
            return Ok(());
        }
        let (from, to) = (read.0.sequence.to_string(), read.1.sequence.to_string());
        tracing::warn!(
            stream = self.name,
            shard,
            from,
            to,
            "records of the stream that was made anew were read before that was noticed: they are delivered once"
        );
        fs.create_dir_all(dir).map_err(|e| Error::io(format!("`{}`", dir.display()), e))?;
        sealed::write(fs, &dir.join(READ), &ReadRange { from, to })
    }
}
