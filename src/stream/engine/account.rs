//! Where the records are, each kind counted on its own: never one by subtracting the others.

use super::Engine;
use crate::lane::Read;
use crate::stream::plan::list::ListItem;
use crate::stream::plan::{Outlet, Track};
use std::collections::BTreeSet;

impl Engine {
    /// Records accepted and not settled, counted from what is held, never by subtraction: unread, in buffers, in open
    /// plans.
    pub fn pending(&self, track: Track) -> u64 {
        let cursor = self.readers[track].offset();
        let listed = self.readers[track].listed_unread();
        let unread = self.lane.records_from(cursor).saturating_sub(listed);
        let mut buffered = BTreeSet::new();
        if track == Track::Main {
            buffered.extend(self.state().incomplete());
        }
        let mut whole = 0;
        let lists = self.buffers.of_track(track).map(|b| b.list.clone().finish());
        let open = self.state().open_plans().filter(|p| p.outlet.track() == track).map(|p| p.list.clone());
        for list in lists.chain(open) {
            for item in list.items() {
                match item {
                    ListItem::Whole { count, .. } => whole += count,
                    ListItem::Part { offset, .. } => drop(buffered.insert(offset)),
                }
            }
        }
        unread + whole + buffered.len() as u64
    }

    /// `accepted - settled - pending` of the main track: 0, or records went missing or were counted twice.
    pub fn gap(&self) -> i64 {
        let settled: u64 = Outlet::ALL
            .iter()
            .filter(|o| o.track() == Track::Main)
            .map(|&o| self.state().totals[o as usize].records)
            .sum();
        self.lane.accepted() as i64 - settled as i64 - self.pending(Track::Main) as i64
    }

    /// Records that the medium lost, ever.
    pub fn lost(&self) -> u64 {
        self.state().totals[Outlet::Lost as usize].records
    }

    /// Records that the medium lost before they were backed up, ever.
    pub fn lost_of_backup(&self) -> u64 {
        self.state().loss.records(Track::Backup)
    }

    /// Records ever accepted.
    pub fn accepted(&self) -> u64 {
        self.lane.accepted()
    }

    /// Bytes of the journal on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.lane.disk_bytes()
    }

    /// Arrival of a track's oldest record that is not settled.
    pub fn oldest_pending_ms(&self, track: Track) -> Option<u64> {
        let buffered = self.buffers.of_track(track).map(|b| b.oldest_arrival_ms);
        let planned = self.state().open_plans().filter(|p| p.outlet.track() == track).map(|p| p.oldest_arrival_ms);
        let unread = match self.lane.read(&mut self.readers[track].cursor()) {
            Ok(Read::Frame(frame)) => Some(frame.arrival_ms),
            _ => None,
        };
        buffered.chain(planned).chain(unread).filter(|ms| *ms > 0).min()
    }
}
