//! Conservation, proved from the files alone: the journal says how many records were accepted, the plan log how many
//! were settled and which are not, the ledger which object each plan became. Nothing is changed; the service may run.

pub mod leases;

use crate::error::{Error, Result};
use crate::fs::Fs;
use crate::journal::{Survey, missing_note, survey};
use crate::stream::lane::meta::{Meta, is_used};
use crate::stream::lane::{places, reached};
use crate::stream::plan::list::{ListItem, position_hash};
use crate::stream::plan::loss::Loss;
use crate::stream::plan::state::State;
use crate::stream::plan::{Outlet, Track};
use crate::stream::redrive::marks::RedriveMarks;
use crate::stream::state_log::ledger::names::{ObjectNames, read_ledger};
use crate::stream::state_log::ledger::{LedgerSums, Line};
use crate::stream::state_log::plan_log::recover;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// A stream's account.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    pub stream: String,
    pub accepted: u64,
    pub delivered: u64,
    pub dropped: u64,
    pub failed: u64,
    pub lost: u64,
    /// Records that no settled plan lists whole, counted from the lists.
    pub pending: u64,
    /// `accepted - delivered - dropped - failed - lost - pending`.
    pub gap: i64,
    pub backed_up: u64,
    /// Records that the medium lost before they were backed up.
    pub lost_of_backup: u64,
    pub objects: u64,
    pub objects_checked: u64,
    /// What stands in failure objects, and how much of it marks say was put in again.
    pub failed_in_objects: u64,
    pub redriven: u64,
    /// What does not agree; empty if all is well.
    pub problems: Vec<String>,
}

impl Audit {
    /// The account of a stream that cannot be audited, which is the problem.
    pub fn impossible(stream: String, why: String) -> Audit {
        Audit { stream, problems: vec![why], ..Audit::default() }
    }

    pub fn is_clean(&self) -> bool {
        self.gap == 0 && self.problems.is_empty()
    }

    /// Looks at every object that the lines name, and takes out of `marks` those that are of them.
    pub fn look(&mut self, lines: &[Line], marks: &mut RedriveMarks, stores: &dyn Stores) {
        for line in lines {
            self.objects_checked += 1;
            let mut problems = Vec::new();
            let is_failure = line.is_of_failures();
            let of_marks = marks.take(line);
            problems.extend(of_marks.problems(line.outputs));
            let redriven = of_marks.records();
            if redriven > line.outputs && problems.is_empty() {
                problems.push(format!("{redriven} records of it were redriven, and it holds {}", line.outputs));
            }
            if is_failure {
                self.failed_in_objects += line.outputs;
                self.redriven += redriven.min(line.outputs);
            }
            match stores.check(line) {
                Ok(FoundObject::AsItWas) => {}
                // It has done all it was there for.
                Ok(FoundObject::Absent) if is_failure && redriven == line.outputs => {}
                Ok(FoundObject::Absent) if is_failure => problems.push(format!(
                    "it is not there any more, and {redriven} of its {} records were redriven",
                    line.outputs
                )),
                Ok(FoundObject::Absent) => problems.push("it is not there any more".into()),
                Err(why) => problems.push(why),
            }
            let problems = problems.into_iter();
            let named = |why| format!("object `{}/{}` of plan {}: {why}", line.store, line.name, line.plan);
            self.problems.extend(problems.map(named));
        }
    }

    /// Looks at what marks name and no ledger does: failures of somewhere else, AWS's for instance, may have been put in again
    /// too. `is_shared`: other nodes have ledgers of their own.
    pub fn look_at_rest(&mut self, marks: RedriveMarks, stores: &dyn Stores, is_shared: bool) {
        for (store, name, redriven) in marks.rest() {
            let problems = match stores.lines_of(&store, &name) {
                Ok(Some(lines)) => redriven.problems(lines),
                Ok(None) if is_shared => Vec::new(),
                Ok(None) => vec!["marks say it was redriven, and it is neither there nor in the ledger".into()],
                Err(why) => vec![why],
            };
            self.problems.extend(problems.into_iter().map(|why| format!("object `{store}/{name}`: {why}")));
        }
    }
}

/// Where an audit looks at objects. Errors say what is wrong with them.
pub trait Stores {
    /// Looks at the object of a line.
    fn check(&self, line: &Line) -> std::result::Result<FoundObject, String>;
    /// How many lines a failure object holds that the ledger does not name; `None`: it is not there.
    fn lines_of(&self, store: &str, name: &str) -> std::result::Result<Option<u64>, String>;
}

/// How an object was found.
pub enum FoundObject {
    AsItWas,
    Absent,
}

/// Whether a directory is that of a shard, whose log is Kinesis: its state says where it begins there. One of which nothing is
/// known has no journal.
fn is_shard(fs: &dyn Fs, dir: &Path, state: &State) -> Result<bool> {
    let entries = fs.list(dir).map_err(|e| Error::io(format!("list `{}`", dir.display()), e))?;
    Ok(state.start.is_some() || state.epochs.is_empty() && !entries.iter().any(|e| e == "journal"))
}

/// Audits the stream in `dir`. What names its objects comes with it.
pub fn audit(fs: &Arc<dyn Fs>, dir: &Path, meta: &Meta) -> Result<(Audit, ObjectNames)> {
    let incarnation = meta.incarnation.as_bytes();
    // The order matters while the service runs: what is settled was accepted before.
    let (sums, names, mut damage) = read_ledger(&**fs, &dir.join("ledger"))?;
    let found = recover::find(&**fs, dir, incarnation)?;
    if !found.exists && is_used(&**fs, dir)? {
        damage.push("there is no plan log: what was delivered is not known".to_owned());
    }
    let is_shard = is_shard(&**fs, dir, &found.state)?;
    let (state, is_noted) = (found.state, found.is_noted);
    let journal = match is_shard {
        // What the backup has not read is still needed.
        false => {
            let low =
                state.backup_from.map_or(u64::MAX, |_| state.low_of(Track::Backup)).min(state.low_of(Track::Main));
            survey(fs.clone(), &dir.join("journal"), incarnation, low, state.floor())?
        }
        true => survey_of_shard(&state),
    };
    damage.extend(journal.note_damage.iter().cloned());
    damage.extend(reached::damage(&**fs, dir, is_noted && !is_shard && state.open_plans().next().is_some()));
    damage.extend((is_noted && !journal.is_noted && !is_shard).then(|| missing_note(&dir.join("journal"))));
    let (sums, names) = with_kept_lines(sums, names, &state);
    let mut audit = account(meta.name.clone(), &state, &journal);
    audit.objects = sums.outlets.values().map(|o| o.objects).sum();
    damage.extend(meta.damage.clone().into_iter().chain(found.damage).chain(places::damage(&**fs, dir)?));
    audit.problems.append(&mut damage);
    let loss = missing_records(&state, &journal);
    audit.lost_of_backup = loss.records(Track::Backup);
    audit.problems.extend(loss.alarm());
    if without_line(&state, &sums).is_some() {
        // What was settled after the ledger was read has its line now.
        let (sums, ..) = read_ledger(&**fs, &dir.join("ledger"))?;
        let missing = without_line(&state, &sums);
        audit
            .problems
            .extend(missing.map(|(from, to)| format!("the ledger has lost the lines of marks {from} to {to}")));
    }
    compare_ledger(&state, &sums, &mut audit);
    compare_digest(&state, &journal, &sums, &mut audit);
    Ok((audit, names))
}

/// The ledger with the lines of marks that have none there, as far as the state can make them: the next start writes them.
fn with_kept_lines(mut sums: LedgerSums, mut names: ObjectNames, state: &State) -> (LedgerSums, ObjectNames) {
    let mut kept: Vec<Line> = state.plans.values().filter_map(Line::of).filter(|line| line.mark > sums.mark).collect();
    kept.sort_unstable_by_key(|line| line.mark);
    for line in kept {
        if line.mark == sums.mark + 1 {
            sums.add(&line);
        }
        names.lines.extend(Some(line).filter(Line::is_of_object));
    }
    (sums, names)
}

/// Marks that stand neither in the ledger nor, for a line to be made of them, in the plan log.
fn without_line(state: &State, sums: &LedgerSums) -> Option<(u64, u64)> {
    let kept: BTreeSet<u64> = state.plans.values().filter_map(|p| Some(p.mark.as_ref()?.mark)).collect();
    let mut missing = (sums.mark + 1..=state.marks).filter(|mark| !kept.contains(mark));
    let first = missing.next()?;
    Some((first, missing.next_back().unwrap_or(first)))
}

/// What is lost: as the state knows, and what the journal lacks that no plan accounts for yet.
fn missing_records(state: &State, journal: &Survey) -> Loss {
    let mut loss = state.loss.clone();
    for track in [Track::Main, Track::Backup] {
        if track == Track::Backup && state.backup_from.is_none() {
            continue;
        }
        let low = state.low_of(track);
        let settled: BTreeSet<u64> = settled_above(state, track, low).into_iter().collect();
        let lost = journal.lost.iter().flat_map(|(from, to)| (*from).max(low)..*to);
        lost.filter(|offset| !settled.contains(offset)).for_each(|offset| loss.add(track, offset..offset + 1));
    }
    loss
}

/// How the records that were accepted add up to those that were settled and those that are pending.
pub(in crate::stream) fn account(stream: String, state: &State, journal: &Survey) -> Audit {
    let total = |o: Outlet| state.totals[o as usize];
    let mut audit = Audit {
        stream,
        accepted: journal.accepted,
        delivered: total(Outlet::Destination).records,
        dropped: total(Outlet::Dropped).records,
        failed: Outlet::ALL.iter().filter(|o| o.is_failure()).map(|&o| total(o).records).sum(),
        lost: total(Outlet::Lost).records,
        pending: pending(state, journal),
        backed_up: total(Outlet::Backup).records,
        ..Audit::default()
    };
    let settled = audit.delivered + audit.dropped + audit.failed + audit.lost;
    audit.gap = audit.accepted as i64 - settled as i64 - audit.pending as i64;
    audit
}

/// What was read of a shard, whose records are in Kinesis: as far as plans list it.
pub(in crate::stream) fn survey_of_shard(state: &State) -> Survey {
    Survey { accepted: state.floor(), end: state.floor(), ..Survey::default() }
}

/// Offsets of a track at or above `low` whose outputs are all settled.
fn settled_above(state: &State, track: Track, low: u64) -> Vec<u64> {
    let mut offsets = Vec::new();
    let incomplete: BTreeSet<u64> = state.incomplete().collect();
    let settled = state.plans.values().filter(|p| !p.is_open() && p.outlet.track() == track);
    for item in settled.flat_map(|p| p.list.items()) {
        match item {
            ListItem::Whole { first, count } => offsets.extend((first..first + count).filter(|o| *o >= low)),
            ListItem::Part { offset, .. } if offset >= low && !incomplete.contains(&offset) => offsets.push(offset),
            ListItem::Part { .. } => {}
        }
    }
    offsets.sort_unstable();
    offsets.dedup();
    offsets
}

fn records_between(journal: &Survey, from: u64, to: u64) -> u64 {
    let overlap = |(a, b): &(u64, u64)| (*b).min(to).saturating_sub((*a).max(from));
    to.saturating_sub(from) - journal.skipped.iter().map(overlap).sum::<u64>()
}

fn pending(state: &State, journal: &Survey) -> u64 {
    let low = state.low[Track::Main as usize];
    records_between(journal, low, journal.end).saturating_sub(settled_above(state, Track::Main, low).len() as u64)
}

fn compare_ledger(state: &State, sums: &LedgerSums, audit: &mut Audit) {
    for outlet in Outlet::ALL {
        let (ours, theirs) = (state.totals[outlet as usize], sums.outlet(outlet));
        // A line follows its mark: at rest the ledger is at the last mark, at any time not ahead of it.
        if sums.mark == state.marks
            && (ours.objects, ours.records, ours.outputs) != (theirs.objects, theirs.records, theirs.outputs)
        {
            audit.problems.push(format!(
                "{}: the plan log counts {} objects and {} records, the ledger {} and {}",
                outlet.name(),
                ours.objects,
                ours.records,
                theirs.objects,
                theirs.records
            ));
        }
    }
    if sums.mark > state.marks {
        audit.problems.push(format!("the ledger is at mark {}, the plan log at {}", sums.mark, state.marks));
    }
}

/// The sum of all lists' digests must be that of the offsets settled: a record missing from one plan and doubled in
/// another would leave every count right. Where records have several outputs, counts are all there is.
fn compare_digest(state: &State, journal: &Survey, sums: &LedgerSums, audit: &mut Audit) {
    let main = || Outlet::ALL.into_iter().filter(|o| o.track() == Track::Main).map(|o| sums.outlet(o));
    if sums.mark != state.marks || main().any(|o| o.records != o.outputs) {
        return;
    }
    let low = state.low[Track::Main as usize];
    let first = journal.end.saturating_sub(journal.accepted + journal.skipped.iter().map(|(a, b)| b - a).sum::<u64>());
    let skipped = |o: &u64| journal.skipped.iter().any(|(a, b)| (a..b).contains(&o));
    let below = (first..low).filter(|o| !skipped(o));
    let expected =
        below.chain(settled_above(state, Track::Main, low)).fold(0u128, |d, o| d.wrapping_add(position_hash(o, 0)));
    let found = main().fold(0u128, |d, o| d.wrapping_add(o.digest.0));
    if expected != found && first == 0 {
        audit.problems.push(format!("the plans' lists add up to {found:032x}, the settled offsets to {expected:032x}"));
    }
}
