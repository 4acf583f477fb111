//! Configurations that come into force: a changed route is an epoch, the rest applies at once.

use super::{Engine, wrong};
use crate::deliver::body::Scratch;
use crate::error::Result;
use crate::lane::Cursor;
use crate::sabotage;
use crate::stream::pipeline::live::Live;
use crate::stream::pipeline::load::Routes;
use crate::stream::pipeline::route::Route;
use crate::stream::plan::{Entry, Epoch, Outlet, Track};
use std::sync::Arc;

impl Engine {
    /// Brings the configuration `definition` into force from the next unread, unplanned record on, as a new epoch if it
    /// differs from the last one. Durable when this returns.
    pub fn adopt(&mut self, definition: &[u8]) -> Result<()> {
        let route = self.routes.load(definition)?;
        // What was judged ahead was judged by the route of before.
        self.ahead().forget();
        let hash = self.routes.put(definition)?;
        let last = self.state().epochs.last().copied();
        if last.is_some_and(|e| e.hash == hash) {
            self.routes.insert(last.expect("just seen").number, route);
            return Ok(());
        }
        // An epoch begins where the main track stands; the backup may have read on. What it holds is planned under the
        // old epoch, which the plan then keeps on disk.
        self.cut_where(|slot| slot.outlet == Outlet::Backup)?;
        let state = self.state();
        let from = match last {
            Some(_) if sabotage::on("epoch_from_reader") => self.readers[Track::Main].offset().max(state.low[0]),
            Some(_) => self.readers[Track::Main].offset().max(state.frontier(Track::Main)),
            None => state.low[0],
        };
        let number = last.map_or(1, |e| e.number + 1);
        let mut entries = vec![Entry::Epoch(Epoch { number, from, hash })];
        if route.backup.is_some() && state.backup_from.is_none() {
            entries.push(Entry::BackupFrom(Some(from)));
            self.readers[Track::Backup].move_to(Cursor::at(from));
        }
        self.routes.settle()?;
        let number =
            if sabotage::on("epoch_not_persisted") { wrong::without_epoch(last, &mut entries) } else { number };
        self.books.commit(entries)?;
        sabotage::point("epoch.persisted");
        self.routes.insert(number, route);
        Ok(())
    }

    /// [`Engine::adopt`] with another loader. If the definition cannot be loaded, everything stays as it was.
    pub fn reload(&mut self, definition: &[u8], loader: Box<dyn Routes>) -> Result<()> {
        let old = self.routes.load_by(loader);
        let done = self.adopt(definition);
        match done.is_ok() {
            // Routes of older epochs take the new live settings when they are next needed.
            true => {
                let last = self.epoch();
                self.routes.keep_only(last);
            }
            false => drop(self.routes.load_by(old)),
        }
        done
    }

    pub fn set_live(&mut self, live: Live) {
        // Plans of a destination that could be given up on still can when another one takes its place, which never refuses.
        let patience = live.patience.clone().or_else(|| self.live.patience.take());
        self.live = Live { patience, ..live };
        self.retry_now();
    }

    /// The route of an epoch, loaded from disk if it is an old one.
    pub(super) fn route(&mut self, epoch: u32) -> Result<Arc<Route>> {
        self.routes.get(epoch, self.books.state())
    }

    /// The route of the last epoch, and where bytes that are not kept may be.
    pub fn places(&mut self) -> Result<(Arc<Route>, Arc<Scratch>)> {
        let last = self.epoch();
        Ok((self.route(last)?, self.scratch.clone()))
    }

    /// The number of the last epoch.
    pub fn epoch(&self) -> u32 {
        self.state().epochs.last().map_or(0, |e| e.number)
    }
}
