//! What the plans of an earlier life say of the records that are read again.
//!
//! A lane is read in order, so the plans' lists are merged in order: at each offset, every listed output with its plan.
//! Above the highest listed offset there is nothing to ask.

use super::Track;
use super::list::{ListItem, OffsetList};
use super::state::State;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// One output of a record, as a plan lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOutput {
    pub plan: u64,
    pub output: u32,
    pub of: u32,
}

/// A place in one plan's list.
struct ReplayPlace {
    list: OffsetList,
    position: (usize, u64),
    item: ListItem,
}

/// What plans of earlier lives say of the records that are read again.
#[derive(Default)]
pub struct Replay {
    places: BTreeMap<u64, ReplayPlace>,
    /// The next offset each plan lists.
    next: BinaryHeap<Reverse<(u64, u64)>>,
    /// Records listed by some plan that have not been read again.
    unread: u64,
    /// Of several outputs of one record in different plans, only the first is a record of its own.
    end: u64,
}

impl Replay {
    /// Everything that plans of `track` list at or above `from`.
    pub fn new(state: &State, track: Track, from: u64) -> Replay {
        let mut replay = Replay::default();
        let mut parts = std::collections::BTreeSet::new();
        for plan in state.plans.values().filter(|p| p.outlet.track() == track && p.list.end() > from) {
            for item in plan.list.items() {
                match item {
                    ListItem::Whole { first, count } => {
                        replay.unread += (first + count).saturating_sub(first.max(from))
                    }
                    ListItem::Part { offset, .. } if offset >= from => drop(parts.insert(offset)),
                    ListItem::Part { .. } => {}
                }
            }
            replay.end = replay.end.max(plan.list.end());
            replay.enter(plan.number, plan.list.clone(), (0, 0), from);
        }
        replay.unread += parts.len() as u64;
        replay
    }

    /// One above the highest listed offset.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Listed records not read again so far.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// Moves a plan's place to its first item that reaches `from`.
    fn enter(&mut self, plan: u64, list: OffsetList, position: (usize, u64), from: u64) {
        let mut items = list.items_from(position);
        let Some(item) = items.by_ref().find(|i| i.end() > from) else { return };
        let position = items.position(&list);
        self.next.push(Reverse((item.offset().max(from), plan)));
        self.places.insert(plan, ReplayPlace { list, position, item });
    }

    /// What is listed at `offset`. Offsets must rise from call to call; `found` is emptied first.
    pub fn at(&mut self, offset: u64, found: &mut Vec<ListedOutput>) {
        found.clear();
        let mut stepped_over = None;
        while let Some(&Reverse((next, plan))) = self.next.peek()
            && next <= offset
        {
            self.next.pop();
            let place = self.places.remove(&plan).expect("every plan in the heap has a place");
            match place.item {
                ListItem::Whole { first, count } if next == offset => {
                    found.push(ListedOutput { plan, output: 0, of: 1 });
                    if offset + 1 < first + count {
                        self.next.push(Reverse((offset + 1, plan)));
                        self.places.insert(plan, place);
                        continue;
                    }
                }
                // Offsets that are not read again (a gap, damage) are stepped over, the run goes on behind them.
                ListItem::Whole { first, count } if offset < first + count => {
                    self.unread -= offset - next;
                    self.next.push(Reverse((offset, plan)));
                    self.places.insert(plan, place);
                    continue;
                }
                ListItem::Whole { first, count } => self.unread -= first + count - next,
                ListItem::Part { output, of, .. } if next == offset => found.push(ListedOutput { plan, output, of }),
                ListItem::Part { .. } => {
                    self.unread -= (stepped_over != Some(next)) as u64;
                    stepped_over = Some(next);
                }
            }
            let after = match place.item {
                ListItem::Whole { first, count } => first + count,
                ListItem::Part { .. } => next,
            };
            self.enter(plan, place.list, place.position, after);
        }
        self.unread -= !found.is_empty() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::plan::list::ListBuilder;
    use crate::stream::plan::{Entry, Outlet, Plan};

    fn plan(number: u64, outputs: &[(u64, u32, u32)]) -> Entry {
        let mut list = ListBuilder::default();
        outputs.iter().for_each(|&(offset, output, of)| list.push(offset, output, of));
        Entry::Plan(Plan {
            number,
            id: uuid::Uuid::nil(),
            outlet: Outlet::Destination,
            epoch: 1,
            store: String::new(),
            name: String::new(),
            list: list.finish(),
            oldest_arrival_ms: 0,
            reasons: Vec::new(),
            bytes: 0,
            lengths: None,
            planned_ms: 0,
            abandoned: None,
            mark: None,
        })
    }

    #[test]
    fn every_listed_output_is_found_at_its_offset() {
        let mut state = State::default();
        state.apply(plan(0, &[(1, 0, 1), (2, 0, 1), (5, 1, 2), (8, 0, 1)]));
        state.apply(plan(1, &[(3, 0, 1), (5, 0, 2), (9, 0, 2), (9, 1, 2)]));
        let mut replay = Replay::new(&state, Track::Main, 2);
        assert_eq!((replay.unread(), replay.end()), (5, 10));
        let mut found = Vec::new();
        let mut seen = Vec::new();
        for offset in [2, 3, 4, 5, 6, 7, 8, 9, 10] {
            replay.at(offset, &mut found);
            seen.extend(found.iter().map(|l| (offset, l.plan, l.output)));
        }
        assert_eq!(seen, [(2, 0, 0), (3, 1, 0), (5, 0, 1), (5, 1, 0), (8, 0, 0), (9, 1, 0), (9, 1, 1)]);
        assert_eq!(replay.unread(), 0);
    }

    /// Every output that the plans of the next test list: plan, offset, output, of how many. Runs, records whose outputs
    /// are in one plan, and one whose outputs are in two.
    const LISTED: &[(u64, u64, u32, u32)] = &[
        (0, 1, 0, 1),
        (0, 2, 0, 1),
        (0, 3, 0, 1),
        (0, 4, 0, 1),
        (0, 5, 0, 2),
        (0, 5, 1, 2),
        (0, 9, 1, 2),
        (0, 10, 0, 1),
        (1, 6, 0, 1),
        (1, 7, 0, 1),
        (1, 9, 0, 2),
        (1, 11, 0, 1),
    ];

    #[test]
    fn offsets_that_are_not_read_again_hide_nothing_of_what_is_listed_behind_them() {
        let mut state = State::default();
        for number in 0..2 {
            let of_plan = LISTED.iter().filter(|l| l.0 == number);
            state
                .apply(plan(number, &of_plan.map(|&(_, offset, output, of)| (offset, output, of)).collect::<Vec<_>>()));
        }
        let listed_at = |at: u64| LISTED.iter().filter(move |l| l.1 == at);
        let listed_from = |from: u64| (from..13).filter(|&at| listed_at(at).next().is_some()).count() as u64;
        // Every way to read some of the offsets 0 to 12 and to skip the others.
        for (read, from) in (0u32..1 << 13).flat_map(|read| [(read, 0), (read, 3)]) {
            let mut replay = Replay::new(&state, Track::Main, from);
            let mut found = Vec::new();
            assert_eq!(replay.unread(), listed_from(from));
            for at in (from..13).filter(|at| read >> at & 1 == 1) {
                replay.at(at, &mut found);
                let expected: Vec<_> =
                    listed_at(at).map(|&(plan, _, output, of)| ListedOutput { plan, output, of }).collect();
                assert_eq!(found, expected, "at {at} of {read:b} from {from}");
                assert_eq!(replay.unread(), listed_from(at + 1), "behind {at} of {read:b} from {from}");
            }
            replay.at(100, &mut found);
            assert_eq!((found.len(), replay.unread()), (0, 0), "behind all of {read:b} from {from}");
        }
    }
}
