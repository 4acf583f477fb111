//! Where the objects of a stream are named: in the lines of its ledger, here or in files that are archived.

use super::contents::Contents;
use super::{LedgerSums, Line, Stub, files, stubs};
use crate::error::{Error, Kind, Result};
use crate::fs::Fs;
use std::collections::BTreeSet;
use std::path::Path;

/// Where the objects of a stream are named.
#[derive(Default)]
pub struct ObjectNames {
    /// Lines of the ledger that name objects, for `Audit::look`.
    pub lines: Vec<Line>,
    /// Files of the ledger that hold the earlier ones.
    pub archived: Vec<Stub>,
    /// Of each file of the ledger: the mark before its first line, and that of its last.
    marks: Vec<(u64, u64)>,
}

impl ObjectNames {
    /// Adds the lines of an archived file.
    pub fn add(&mut self, file: &[u8]) -> Result<()> {
        let contents = Contents::parse(file)?;
        self.marks.push((contents.header.before.mark, contents.totals().mark));
        self.lines.extend(contents.lines.into_iter().filter(Line::is_of_object));
        match contents.damage.is_empty() {
            true => Ok(()),
            false => Err(Error::new(Kind::Corrupt, contents.damage.join("; "))),
        }
    }

    /// Marks whose lines stand in no file, once all that are archived have been added.
    pub fn missing(&self) -> Vec<(u64, u64)> {
        let (mut marks, mut behind, mut missing) = (self.marks.clone(), 0, Vec::new());
        marks.sort_unstable();
        for (before, last) in marks {
            missing.extend((before > behind).then_some((behind + 1, before)));
            behind = behind.max(last);
        }
        missing
    }

    /// The stores whose objects can be put in again, and whether they hold backups.
    pub fn redrivable(&self) -> BTreeSet<(bool, String)> {
        let lines = self.lines.iter().filter(|line| line.is_of_failures() || line.is_of_backup());
        lines.map(|line| (line.is_of_backup(), line.store.clone())).collect()
    }
}

/// What names the objects of the stream in `dir`, while the service runs; and what is damaged there.
pub fn names(fs: &dyn Fs, dir: &Path) -> Result<(ObjectNames, Vec<String>)> {
    let (_, names, damage) = read_ledger(fs, &dir.join("ledger"))?;
    Ok((names, damage))
}

/// The ledger's running sums, what names objects, and what is damaged.
pub fn read_ledger(fs: &dyn Fs, dir: &Path) -> Result<(LedgerSums, ObjectNames, Vec<String>)> {
    let (archived, mut damage) = stubs(fs, dir)?;
    let (mut sums, mut names) = (LedgerSums::default(), ObjectNames { archived, ..ObjectNames::default() });
    for number in files(fs, dir)? {
        // One that was archived just now is gone.
        let Some(contents) = Contents::read(fs, dir, number)? else { continue };
        sums = contents.totals();
        names.marks.push((contents.header.before.mark, sums.mark));
        damage.extend(contents.damage);
        names.lines.extend(contents.lines.into_iter().filter(Line::is_of_object));
    }
    Ok((sums, names, damage))
}
