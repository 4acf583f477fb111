//! Plans whose store does not exist and never did, as where a bucket's name was mistyped: when the configuration names another
//! one, they go there.
//!
//! Nothing can come of what was sent before: a store that is not there keeps nothing. That it is not there was its answer to
//! the last attempt, and no attempt is under way.

use super::Engine;
use crate::destination::StoreName;
use crate::error::Result;
use crate::stream::plan::{Entry, Outlet};

impl Engine {
    /// Sends stranded plans to where their outlet goes today: persisted before anything is sent there.
    pub(super) fn move_stranded(&mut self) -> Result<bool> {
        let stranded = self.outbox.stranded();
        if stranded.is_empty() {
            return Ok(false);
        }
        let epoch = self.epoch();
        let route = self.route(epoch)?;
        let goes_to = |outlet: Outlet| match outlet {
            Outlet::Backup if route.backup.is_none() => None,
            outlet => Some(route.store(outlet)).filter(|store| store.is_of_objects()),
        };
        let mut entries = Vec::new();
        for number in stranded {
            let plan = &self.state().plans[&number];
            let from = plan.place().0;
            let is_of_objects = from.parse().is_ok_and(|store: StoreName| store.is_of_objects());
            let to = goes_to(plan.ends_in()).filter(|_| is_of_objects).map(StoreName::to_string);
            if let Some(to) = to.filter(|to| to != from) {
                tracing::warn!(
                    stream = self.home.stream,
                    plan = plan.id.to_string(),
                    from,
                    to,
                    "there is no such store, and the configuration names another: the object goes there"
                );
                entries.push(Entry::Move { plan: number, store: to });
            }
        }
        let moved: Vec<u64> =
            entries.iter().filter_map(|e| if let Entry::Move { plan, .. } = e { Some(*plan) } else { None }).collect();
        if moved.is_empty() {
            return Ok(false);
        }
        self.books.commit(entries)?;
        moved.into_iter().for_each(|number| self.outbox.redirected(number));
        Ok(true)
    }
}
