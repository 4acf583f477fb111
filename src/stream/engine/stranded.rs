//! Plans whose store does not exist and never did, as where a bucket's name was mistyped: when the configuration names another
//! one, they go there.
//!
//! Nothing can come of what was sent before: a store that is not there keeps nothing. That it is not there was its answer to
//! the last attempt, and no attempt is under way.

use super::Engine;
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
            outlet => Some(route.store(outlet)).filter(|store| is_of_objects(store)),
        };
        let mut entries = Vec::new();
        for number in stranded {
            let plan = &self.state().plans[&number];
            let (from, to) = (plan.place().0.to_owned(), goes_to(plan.ends_in()).map(str::to_owned));
            if let Some(to) = to.filter(|to| *to != from && is_of_objects(&from)) {
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

/// Whether a store is a bucket or a directory: what goes to an endpoint or into a table is no object.
fn is_of_objects(store: &str) -> bool {
    ["s3://", "file://"].iter().any(|kind| store.starts_with(kind))
}
