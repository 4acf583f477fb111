//! The state of a lane as the entries that rebuild it, which a new file of the plan log begins with.

use super::state::{Partial, State, parts};
use super::{Entry, Outlet, Track};
use std::collections::BTreeMap;

impl State {
    /// Everything as entries that rebuild it.
    pub fn snapshot(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::BackupFrom(self.backup_from)];
        for track in [Track::Main, Track::Backup] {
            entries.push(Entry::Low { track, low: self.low[track as usize] });
        }
        entries.extend(self.epochs.iter().copied().map(Entry::Epoch));
        entries.extend(self.plans.values().cloned().map(Entry::Plan));
        entries.extend(self.start.clone().map(Entry::Start));
        entries.extend(self.spans.iter().map(|(plan, span)| Entry::Span { plan: *plan, span: span.clone() }));
        entries.extend(self.refused.iter().map(|(plan, refused)| Entry::Refused { plan: *plan, refused: *refused }));
        entries.push(Entry::Totals { marks: self.marks, next_plan: self.next_plan, totals: self.totals });
        entries.push(Entry::Pause(self.paused));
        entries.extend(self.loss.snapshot());
        for (object, takes) in &self.takes {
            for lines in &takes.taken {
                entries.push(Entry::Take { object: object.clone(), lines: lines.clone(), from: 0 });
                entries.push(Entry::Taken { object: object.clone(), taken: true });
            }
            let under_way = takes.under_way.clone();
            entries.extend(under_way.map(|(lines, from)| Entry::Take { object: object.clone(), lines, from }));
        }
        entries
    }

    /// Rebuilds the state from a snapshot's entries. Settled plans carry their mark, so only the counts of records
    /// with several outputs have to be found again.
    pub fn from_snapshot(entries: Vec<Entry>) -> State {
        let mut state = State::default();
        for entry in entries {
            state.apply(entry);
        }
        let low = state.low[Track::Main as usize];
        let settled = state.plans.values().filter(|p| !p.is_open() && p.outlet != Outlet::Backup);
        let mut of_record: BTreeMap<u64, (Partial, u32)> = BTreeMap::new();
        for plan in settled {
            for (offset, of) in parts(&plan.list).filter(|(offset, _)| *offset >= low) {
                let (record, _) = of_record.entry(offset).or_insert((Partial::default(), of));
                record.settled += 1;
                record.failed |= plan.abandoned.is_some();
            }
        }
        let open = of_record.into_iter().filter(|(_, (record, of))| record.settled < *of);
        state.partial = open.map(|(offset, (record, _))| (offset, record)).collect();
        state
    }
}
