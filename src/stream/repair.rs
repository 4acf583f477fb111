//! A stream that is held because its own files cannot prove what was delivered, mended as far as they can: the commits
//! around those that are gone, and the ledger's lines. Nothing is changed until [`Repair::apply`].

use super::engine::home::Bounds;
use super::plan::state::State;
use super::plan::{Entry, Mark, Outlet, Plan, Track};
use crate::error::{Error, Kind, Result};
use crate::fs::{Fs, read};
use crate::journal::{segment, survey};
use crate::stream::lane::meta::{META, Meta, is_used, read_or_make_meta};
use crate::stream::plan::list::{ListBuilder, OffsetList};
use crate::stream::state_log::ledger::{Contents, LedgerSums, Line, files};
use crate::stream::state_log::plan_log::{ASIDE, MAGIC, PlanLog, recover};
use crate::stream::state_log::sealed;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// In the directory of a stream: what there was of shards that begin anew.
const REPAIRED: &str = "before-repair";

/// What a repair would do, or why it is not needed.
pub struct Repair {
    /// What is wrong; empty if nothing is.
    pub found: Vec<String>,
    /// What becomes of it.
    pub actions: Vec<String>,
    means: Means,
}

enum Means {
    None,
    /// A plan log with this state.
    PlanLog(Box<recover::FoundLog>),
    /// The directory begins anew; what there was is kept here.
    Anew(PathBuf),
}

/// Looks at the stream in `dir`. Errors: what no repair of ours can mend.
///
/// `of_stream`: if it is a shard's directory, that of its stream.
pub fn look(fs: &Arc<dyn Fs>, dir: &Path, meta: &Meta, of_stream: Option<&Path>) -> Result<Repair> {
    let incarnation = meta.incarnation.as_bytes();
    let (sums, lines) = read_ledger(&**fs, &dir.join("ledger"))?;
    let why = match recover::find(&**fs, dir, incarnation) {
        Err(e) if e.kind == Kind::Corrupt => e.to_string(),
        Err(e) => return Err(e),
        Ok(found) if found.state.marks < sums.mark => {
            format!("the plan log is at mark {}, the ledger at {}: it is older", found.state.marks, sums.mark)
        }
        Ok(found) if !found.exists && is_used(&**fs, dir)? => "there is no plan log".to_owned(),
        Ok(_) => return Ok(Repair { found: Vec::new(), actions: Vec::new(), means: Means::None }),
    };
    let (mut salvaged, mut gone) = recover::salvage(&**fs, dir, incarnation)?;
    gone.retain(|gone| !why.contains(gone));
    if let Some(of_stream) = of_stream.filter(|_| salvaged.state.start.is_none()) {
        return Ok(anew(of_stream, dir, std::iter::once(why).chain(gone).collect()));
    }
    let (mut state, mut actions) = (salvaged.state.clone(), Vec::new());
    if let Some(first) = lines.first().map(|line| line.mark).filter(|mark| *mark > state.marks + 1) {
        let message = format!(
            "marks {} to {} are known to archived files of the ledger only, and what they settled is not known here: put \
             `plans.*` of `{}` back",
            state.marks + 1,
            first - 1,
            dir.display()
        );
        return Err(Error::new(Kind::Corrupt, message));
    }
    let before = (state.marks, state.open_plans().count());
    for line in &lines {
        settle(&mut state, line, &mut actions);
    }
    if sums.mark >= state.marks {
        state.marks = sums.mark;
        for outlet in Outlet::ALL {
            let (totals, sums) = (&mut state.totals[outlet as usize], sums.outlet(outlet));
            (totals.objects, totals.outputs, totals.records) = (sums.objects, sums.outputs, sums.records);
            totals.bytes = sums.bytes;
        }
    }
    actions.push(format!(
        "the plan log begins anew: marks {} to {}, {} open plans (of {}), records below {} are settled; what there was is \
         kept as `plans.*{ASIDE}*`",
        before.0,
        state.marks,
        state.open_plans().count(),
        before.1,
        state.low[Track::Main as usize]
    ));
    // What stands in the journal behind the last plan that is known may have been in one that is gone.
    let low = state.low_of(Track::Main);
    let journal = survey(fs.clone(), &dir.join("journal"), incarnation, low, state.floor());
    let end = journal.map_or(state.floor(), |journal| journal.end);
    let unlisted = unlisted(&state, low, end);
    actions.extend(unlisted.iter().map(|(from, to)| {
        format!(
            "records {from} to {} are in no plan that is known: they are delivered, for a second time if a plan that is \
             gone had them",
            to - 1
        )
    }));
    let found = std::iter::once(why).chain(gone).collect();
    salvaged.state = state;
    Ok(Repair { found, actions, means: Means::PlanLog(Box::new(salvaged)) })
}

/// Where a shard was read to is known to its plan log only, and so is which records its offsets mean.
fn anew(of_stream: &Path, dir: &Path, found: Vec<String>) -> Repair {
    let part = |dir: Option<&Path>| dir.and_then(Path::file_name).unwrap_or_default().display().to_string();
    let name = format!("{}-{}-{}", part(dir.parent()), part(Some(dir)), Uuid::new_v4());
    let aside = of_stream.join(REPAIRED).join(name);
    let action = format!(
        "the shard is read again from where reading its stream began, and what was delivered of it is delivered a second \
         time; what there was is kept as `{}`",
        aside.display()
    );
    Repair { found, actions: vec![action], means: Means::Anew(aside) }
}

impl Repair {
    /// Does it. The service must not run.
    pub fn apply(self, fs: &Arc<dyn Fs>, dir: &Path, meta: &Meta) -> Result<()> {
        match self.means {
            Means::None => Ok(()),
            Means::PlanLog(salvaged) => {
                let reserve = Bounds::default().reserve_bytes;
                PlanLog::replace(fs.clone(), dir, *meta.incarnation.as_bytes(), reserve, *salvaged).map(drop)
            }
            Means::Anew(aside) => {
                let during = |e| Error::io(format!("keep `{}` as `{}`", dir.display(), aside.display()), e);
                let [kept_in, was_in] =
                    [&*aside, dir].map(|path| path.parent().expect("it is below the stream's directory"));
                fs.create_dir_all(kept_in).map_err(during)?;
                kept_in.parent().map_or(Ok(()), |of_stream| fs.sync_dir(of_stream)).map_err(during)?;
                fs.rename(dir, &aside).map_err(during)?;
                [kept_in, was_in].into_iter().try_for_each(|dir| fs.sync_dir(dir)).map_err(during)
            }
        }
    }
}

/// Settles what a line of the ledger proves that the state does not know.
fn settle(state: &mut State, line: &Line, actions: &mut Vec<String>) {
    let known = state.plans.values().find(|p| p.id == line.plan).map(|p| (p.number, p.is_open()));
    let mark = |plan| Mark {
        plan,
        mark: line.mark,
        at_ms: line.settled_ms,
        completed: line.records,
        failed: line.failed,
        object_bytes: line.object_bytes,
        tag: line.tag.clone(),
    };
    match known {
        Some((_, false)) => {}
        Some((number, true)) => {
            state.apply(Entry::Mark(mark(number)));
            actions.push(format!("plan {} is settled: the ledger has its mark {}", line.plan, line.mark));
        }
        None => {
            let Some(outlet) = Outlet::ALL.into_iter().find(|o| o.name() == line.outlet) else { return };
            if line.end <= state.low[outlet.track() as usize] {
                return;
            }
            let (what, id) = (format!("records {} to {}", line.first, line.end.saturating_sub(1)), line.plan);
            match run(line) {
                Some(list) => {
                    let number = state.next_plan;
                    state.apply(Entry::Plan(plan(number, outlet, line, list)));
                    state.apply(Entry::Mark(mark(number)));
                    actions.push(format!("{what} are settled: the ledger has plan {id}, and its digest is of just these"));
                }
                None => actions.push(format!(
                    "of {what}, {} outputs are in `{}` of plan {id}: which ones cannot be told, and those are delivered again",
                    line.outputs, line.name
                )),
            }
        }
    }
}

/// The list of a line whose records follow each other, proved by its digest.
fn run(line: &Line) -> Option<OffsetList> {
    if line.end.checked_sub(line.first) != Some(line.outputs) {
        return None;
    }
    let mut list = ListBuilder::default();
    (line.first..line.end).for_each(|offset| list.push(offset, 0, 1));
    Some(list.finish()).filter(|list| list.digest() == line.digest.0)
}

fn plan(number: u64, outlet: Outlet, line: &Line, list: OffsetList) -> Plan {
    Plan {
        number,
        id: line.plan,
        outlet,
        epoch: line.epoch,
        store: line.store.clone(),
        name: line.name.clone(),
        list,
        oldest_arrival_ms: 0,
        reasons: Vec::new(),
        bytes: line.bytes,
        lengths: line.lengths.map(|digest| digest.0),
        planned_ms: line.settled_ms,
        abandoned: None,
        mark: None,
    }
}

/// Offsets between `low` and `end` that no plan of the main track lists.
fn unlisted(state: &State, low: u64, end: u64) -> Vec<(u64, u64)> {
    let plans = state.plans.values().filter(|p| p.outlet.track() == Track::Main);
    let mut listed: Vec<(u64, u64)> = plans.flat_map(|p| p.list.items()).map(|i| (i.offset(), i.end())).collect();
    listed.sort_unstable();
    let (mut behind, mut gaps) = (low, Vec::new());
    for (from, to) in listed.into_iter().chain([(end, end)]) {
        gaps.extend((from > behind).then_some((behind, from)));
        behind = behind.max(to);
    }
    gaps
}

fn read_ledger(fs: &dyn Fs, dir: &Path) -> Result<(LedgerSums, Vec<Line>)> {
    let (mut sums, mut lines) = (LedgerSums::default(), Vec::new());
    for number in files(fs, dir)? {
        let Some(contents) = Contents::read(fs, dir, number)? else { continue };
        sums = contents.totals();
        lines.extend(contents.lines);
    }
    Ok((sums, lines))
}

/// A directory that does not say whose it is, and the incarnation that its other files name.
pub struct Nameless {
    pub dir: PathBuf,
    pub incarnation: Uuid,
}

/// Whether a directory holds a stream's files and no `META` that can be read. Errors: its files name no incarnation.
pub fn nameless(fs: &dyn Fs, dir: &Path) -> Result<Option<Nameless>> {
    if read_or_make_meta(fs, dir, None).is_ok() || !is_used(fs, dir)? {
        return Ok(None);
    }
    let list = |dir: &Path| fs.list(dir).unwrap_or_default().into_iter().map(|name| dir.join(name)).collect::<Vec<_>>();
    let magics = [MAGIC, segment::MAGIC];
    let files = list(dir).into_iter().chain(list(&dir.join("journal")));
    let named = files.filter_map(|path| read(fs, &path).ok()).find_map(|bytes| {
        let header = bytes.get(..64).filter(|header| magics.iter().any(|magic| header.starts_with(magic)))?;
        // Both headers keep the incarnation behind a checksum of it and what follows.
        let crc = u32::from_le_bytes(header[12..16].try_into().expect("four bytes"));
        let is_true = [40, 64].iter().any(|end| crc32c::crc32c(&header[16..*end]) == crc);
        is_true.then(|| Uuid::from_bytes(header[16..32].try_into().expect("sixteen bytes")))
    });
    let unknown = || Error::new(Kind::Corrupt, format!("no file in `{}` says which journal it is of", dir.display()));
    Ok(Some(Nameless { dir: dir.to_path_buf(), incarnation: named.ok_or_else(unknown)? }))
}

impl Nameless {
    /// Gives the directory its `META` back.
    pub fn name(self, fs: &dyn Fs, name: &str) -> Result<()> {
        let meta = Meta { format: 1, name: name.to_owned(), incarnation: self.incarnation, damage: None };
        sealed::write(fs, &self.dir.join(META), &meta)
    }
}
