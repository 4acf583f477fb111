//! What waits for room on a full disk: the plan log's reserve, the ledger's lines, and a configuration that is to be kept. It
//! is asked for again and again, and said; meanwhile what is held is delivered, which makes room.

use super::{Engine, WAITING};
use crate::alarm::{Alarm, AlarmKind};
use crate::error::{Kind, Result};

impl Engine {
    /// A plan log without its reserve keeps the stream from reading: it asks again, and says so.
    pub(super) fn ask_for_room(&mut self) -> Result<()> {
        let now = self.home.clock.steady();
        if !self.waits_for_room() || now < self.asked_for_room + WAITING {
            return Ok(());
        }
        self.asked_for_room = now;
        // What the journal holds for later is worth less than what is delivered now.
        self.lane.give_back()?;
        if self.books.is_starved() {
            self.books.retry_room()?;
            let starved = || Alarm::new(AlarmKind::NoRoom, "the plan log's reserve cannot grow: the disk is full");
            self.alarm = self.books.is_starved().then(starved);
        }
        if self.books.lacks_lines() {
            self.alarm = None;
            self.write_ledger_lines()?;
        }
        if let Some(definition) = self.unadopted.take() {
            match self.adopt(&definition) {
                Err(e) if e.kind == Kind::NoSpace => {
                    let detail = format!("the changed configuration is not in force yet: {e}");
                    self.alarm = Some(Alarm::new(AlarmKind::NoRoom, detail));
                    self.unadopted = Some(definition);
                }
                done => {
                    done?;
                    self.alarm = None;
                }
            }
        }
        Ok(())
    }

    pub(super) fn waits_for_room(&self) -> bool {
        self.books.is_starved() || self.unadopted.is_some() || self.books.lacks_lines()
    }
}
