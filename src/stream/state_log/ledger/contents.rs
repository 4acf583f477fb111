//! The lines of a ledger file, each with a checksum, read from the file and from its copy. Marks follow each other, so that
//! a line which cannot be read in either is missed, and the lines behind it are read all the same.

use super::{Footer, LedgerHeader, LedgerSums, Line, file_name, sums_before};
use crate::error::{Error, Kind, Result};
use crate::fs::{FileLook, Fs, copy_of, look};
use crate::stream::state_log::sealed::{self, parse};
use std::collections::BTreeMap;
use std::path::Path;

pub(super) const FORMAT: u32 = 1;

/// A ledger file's contents.
pub struct Contents {
    pub header: LedgerHeader,
    pub lines: Vec<Line>,
    /// What is damaged: a sentence each.
    pub damage: Vec<String>,
    text: Vec<u8>,
    /// Whether file and copy begin with just this text.
    pub(super) stands_in_file: bool,
    pub(super) stands_in_copy: bool,
}

/// What one file holds that is true.
#[derive(Default)]
struct FoundLines<'b> {
    header: Option<(LedgerHeader, &'b [u8])>,
    lines: BTreeMap<u64, (Line, &'b [u8])>,
    footer: Option<Footer>,
    /// Numbers, from 1, of lines that cannot be read and have others behind them that can.
    unreadable: Vec<usize>,
}

impl<'b> FoundLines<'b> {
    fn of(bytes: &'b [u8]) -> FoundLines<'b> {
        let mut found = FoundLines::default();
        let mut unreadable = Vec::new();
        for (i, text) in bytes.split_inclusive(|&b| b == b'\n').enumerate().filter(|(_, t)| *t != b"\n") {
            if !text.ends_with(b"\n") {
                break;
            }
            let last = found.lines.last_key_value().map_or(0, |(mark, _)| *mark);
            if i == 0
                && let Ok(header) = parse::<LedgerHeader>(text)
            {
                found.header = Some((header, text));
            } else if let Some(line) = parse::<Line>(text).ok().filter(|line| line.mark > last) {
                found.lines.insert(line.mark, (line, text));
                found.unreadable.append(&mut unreadable);
            } else if let Ok(footer) = parse::<Footer>(text) {
                found.footer = Some(footer);
            } else {
                unreadable.push(i + 1);
            }
        }
        // Behind what was torn stand newlines, never other lines.
        found
    }
}

impl Contents {
    /// Reads what stands in one file alone, as in an archived one.
    pub fn parse(bytes: &[u8]) -> Result<Contents> {
        Contents::of("it", Some(bytes), None, || Ok(None))
    }

    /// Reads file `number` of the ledger in `dir` and its copy. `None`: there is neither.
    pub fn read(fs: &dyn Fs, dir: &Path, number: u64) -> Result<Option<Contents>> {
        let path = &dir.join(file_name(number));
        let look = |path: &Path| match look(fs, path) {
            Ok(FileLook::Bytes(bytes)) => Ok(Some(bytes)),
            // As one in which no line can be read.
            Ok(FileLook::Unreadable(_)) => Ok(Some(Vec::new())),
            Ok(FileLook::Absent) => Ok(None),
            Err(e) => Err(Error::io(format!("read `{}`", path.display()), e)),
        };
        // The copy first: while the service runs, the file is never behind it.
        let copy = look(&copy_of(path))?;
        let file = look(path)?;
        if file.is_none() && copy.is_none() {
            return Ok(None);
        }
        let name = format!("`{}`", path.display());
        let before = || sums_before(fs, dir, number);
        Contents::of(&name, file.as_deref(), copy.as_deref(), before).map(Some)
    }

    /// `before`: what a header that can be read nowhere has said.
    fn of(
        name: &str,
        file: Option<&[u8]>,
        copy: Option<&[u8]>,
        before: impl FnOnce() -> Result<Option<LedgerSums>>,
    ) -> Result<Contents> {
        let [of_file, of_copy] = [file, copy].map(|bytes| FoundLines::of(bytes.unwrap_or_default()));
        let mut damage = Vec::new();
        let (header, mut text) = match (&of_file.header, &of_copy.header) {
            (Some((header, head)), _) => (header.clone(), head.to_vec()),
            (None, Some((header, head))) => {
                damage.push(format!("{name} is damaged, and was read from its copy: its header cannot be read"));
                (header.clone(), head.to_vec())
            }
            (None, None) => {
                let unknown = || Error::new(Kind::Corrupt, format!("{name}: the ledger file's header cannot be read"));
                let mut before = before()?.ok_or_else(unknown)?;
                // A file may begin behind marks whose lines are elsewhere: what is missing between files is missed by itself.
                let first = [&of_file, &of_copy].iter().filter_map(|found| found.lines.keys().next()).min().copied();
                before.mark = first.map_or(before.mark, |first| before.mark.max(first - 1));
                let header = LedgerHeader { format: FORMAT, before };
                damage.push(format!(
                    "{name} is damaged: its header cannot be read, and what is kept of earlier files tells it"
                ));
                let mut text = Vec::new();
                sealed::push(&mut text, &header);
                (header, text)
            }
        };
        if header.format != FORMAT {
            let message = format!("{name}: a ledger file has format {}, expected {FORMAT}", header.format);
            return Err(Error::new(Kind::Invalid, message));
        }
        let mut lines = of_copy.lines;
        let only_copied = lines.keys().find(|mark| !of_file.lines.contains_key(mark));
        damage.extend(only_copied.map(|mark| {
            format!("{name} is damaged, and was read from its copy: the line of mark {mark} cannot be read")
        }));
        lines.extend(of_file.lines);
        let mut before = header.before.mark;
        for (mark, (_, raw)) in &lines {
            if *mark > before + 1 {
                damage.push(format!(
                    "{name} is damaged: the lines of marks {} to {} cannot be read",
                    before + 1,
                    mark - 1
                ));
            }
            text.extend_from_slice(raw);
            before = *mark;
        }
        if copy.is_none() && damage.is_empty() && !of_file.unreadable.is_empty() {
            damage.push(format!("{name} is damaged: line {} cannot be read", of_file.unreadable[0]));
        }
        if let Some(footer) = of_file.footer.filter(|footer| footer.totals.mark != before) {
            let totals = footer.totals.mark;
            damage
                .push(format!("{name} is damaged: its last line is that of mark {before}, its totals are of {totals}"));
        }
        let stands = |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| bytes.starts_with(&text));
        let (stands_in_file, stands_in_copy) =
            (stands(file), stands(copy) && copy.map(<[u8]>::len) == file.map(<[u8]>::len));
        let lines = lines.into_values().map(|(line, _)| line).collect();
        Ok(Contents { header, lines, damage, stands_in_file, stands_in_copy, text })
    }

    /// Leaves out what stands behind lines that were never written whole: those of marks from `kept` on, whose lines can all be
    /// written again. Of lines that are appended together a power cut may leave the last ones without the first.
    pub(super) fn leave_out_torn(&mut self, kept: u64) {
        let mut expected = self.header.before.mark + 1;
        let whole = self.lines.iter().take_while(|line| {
            let follows = line.mark == expected;
            expected += 1;
            follows
        });
        let whole = whole.count();
        let first_missing = self.header.before.mark + 1 + whole as u64;
        if whole == self.lines.len() || first_missing < kept {
            return;
        }
        self.lines.truncate(whole);
        let bytes = self.text.split_inclusive(|&b| b == b'\n').take(1 + whole).map(<[u8]>::len).sum();
        self.text.truncate(bytes);
        // What was said of the file is said of these lines.
        self.damage.clear();
    }

    /// The header and the lines as they stand there.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The running sums behind the last line.
    pub fn totals(&self) -> LedgerSums {
        let mut totals = self.header.before.clone();
        self.lines.iter().for_each(|line| totals.add(line));
        totals
    }
}
