//! The room of a plan log's files: blocks that are written before they are needed, so that a commit needs no room on a full
//! disk.

use super::frame::{FIRST_FRAME, encode_frame};
use super::{FILE_BYTES_GROWN, FILES, FileSlot, PlanLog, names};
use crate::error::{Error, Kind, Result};
use crate::fs::{Fs, open_or_create};
use crate::journal::segment::fill;
use crate::stream::plan::state::State;
use std::io;
use std::path::Path;

impl PlanLog {
    /// Grows the reserve to twice what the snapshot needs: in the file it goes to, if it is to be written now, and, once
    /// anything is committed, in the others, which are next. If that cannot be had but the snapshot fits, the log goes on,
    /// starved. The file it goes to grows further if it is small for what is committed, and copies grow with their files:
    /// if that cannot be had, it is done without.
    pub(super) fn make_room(&mut self, target: Option<usize>, needed: u64) -> Result<()> {
        let mut starved = false;
        // Nothing is planned yet: an idle stream costs one file.
        let is_new = target.is_some() && self.state == State::default();
        let first = target.unwrap_or(self.current);
        let mut is_made = !self.are_named;
        for i in (0..if is_new { 1 } else { FILES }).map(|i| (first + i) % FILES) {
            let [file, copy] = names(i).map(|name| self.dir.join(name));
            let least = (2 * needed).max(self.reserve);
            let FileSlot { written, .. } = self.slots[i];
            if written < least {
                is_made |= written == 0;
                let wanted = if least > self.reserve { least.next_multiple_of(64 * 1024) } else { least };
                match reserve_file(&*self.fs, &file, written, wanted) {
                    Ok(written) => self.slots[i].written = written,
                    Err(e) if e.kind != Kind::NoSpace || Some(i) == target && written < needed => return Err(e),
                    Err(_) => starved = true,
                }
            }
            let is_filled = Some(i) == target && self.at > 0 && self.at >= self.slots[self.current].written / 2;
            let grown = 2 * self.slots[i].written;
            if is_filled && grown <= FILE_BYTES_GROWN {
                let grown = reserve_file(&*self.fs, &file, self.slots[i].written, grown);
                self.slots[i].written = grown.unwrap_or(self.slots[i].written);
            }
            let FileSlot { written, copied, .. } = self.slots[i];
            if copied < written {
                self.slots[i].copied = reserve_copy(&*self.fs, &copy, copied, written).unwrap_or(copied);
            }
        }
        if is_made {
            self.fs.sync_dir(&self.dir).map_err(|e| Error::io("make a file of the plan log", e))?;
            self.are_named = true;
        }
        self.is_reserved |= target.is_none();
        self.starved = starved;
        Ok(())
    }

    /// Asks again for the room that could not be had.
    pub fn retry_room(&mut self) -> Result<()> {
        let needed = FIRST_FRAME + encode_frame(&self.state.snapshot(), 0).len() as u64;
        if self.starved { self.make_room(None, needed) } else { Ok(()) }
    }
}

/// The same for a copy, which is not synced, as it never is.
fn reserve_copy(fs: &dyn Fs, path: &Path, copied: u64, wanted: u64) -> io::Result<u64> {
    fill(&*open_or_create(fs, path)?, copied, wanted).map(|()| wanted)
}

/// Makes a file of `written` bytes at least `wanted` bytes long, durably; the length it then has.
pub(super) fn reserve_file(fs: &dyn Fs, path: &Path, written: u64, wanted: u64) -> Result<u64> {
    let io = |e| Error::io(format!("reserve {wanted} bytes for `{}`", path.display()), e);
    let file = open_or_create(fs, path).map_err(io)?;
    if written < wanted {
        fill(&*file, written, wanted).and_then(|()| file.sync()).map_err(io)?;
    }
    Ok(written.max(wanted))
}
