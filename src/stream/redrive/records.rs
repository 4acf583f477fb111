//! Failure objects, ours or AWS's, line by line.

use super::errors::cannot_read;
use super::frames::FrameFilling;
use super::run::{PutLines, RedriveRun};
use crate::deliver::error_record::FailedRecord;
use crate::error::Result;
use std::collections::HashSet;
use std::io::{BufRead, Read};

/// Of a line: the largest record, in base64, and what is said of it.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// Lines that are no error records at the beginning of an object, before it is taken for something else.
const UNREADABLE_MAX: usize = 1000;
/// What some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl RedriveRun<'_> {
    pub(super) fn is_selected(&self, failed: &FailedRecord) -> bool {
        let s = &self.selection;
        s.code.as_ref().is_none_or(|code| *code == failed.code)
            && s.from_ms.is_none_or(|from| failed.arrival_ms >= from)
            && s.to_ms.is_none_or(|to| failed.arrival_ms < to)
    }

    /// Puts in what is selected of an object's lines; which they are.
    pub(super) fn records(&mut self, name: &str, mut lines: impl BufRead, taken: &HashSet<u64>) -> Result<PutLines> {
        let mut filling = FrameFilling::default();
        let mut line = Vec::new();
        let (mut any, mut unreadable) = (false, Vec::new());
        for number in 0.. {
            line.clear();
            let read = (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if read.map_err(|e| cannot_read(name, e))? == 0 {
                break;
            }
            if taken.contains(&number) {
                any = true;
                self.stream.progress().before += 1;
                continue;
            }
            let text = line.strip_prefix(if number == 0 { BYTE_ORDER_MARK } else { b"" }).unwrap_or(&line).trim_ascii();
            if text.is_empty() {
                continue;
            }
            let failed = match FailedRecord::read(text) {
                Ok(failed) => failed,
                // It may be no failure object at all.
                Err(why) if !any && unreadable.len() < UNREADABLE_MAX => {
                    unreadable.push((number, why));
                    continue;
                }
                Err(_) if !any => break,
                Err(why) => {
                    self.unreadable(name, number, &why);
                    continue;
                }
            };
            any = true;
            unreadable.drain(..).for_each(|(number, why)| self.unreadable(name, number, &why));
            if !self.is_selected(&failed) {
                self.stream.progress().not_selected += 1;
                continue;
            }
            self.add(name, &mut filling, (number, failed.entry, &failed.record))?;
        }
        if let Some((_, why)) = unreadable.first() {
            self.stream.progress().unreadable += 1;
            self.note(format!("`{name}` is left: {why}"));
        }
        self.finish(name, filling)
    }

    pub(super) fn unreadable(&self, name: &str, line: u64, why: &str) {
        self.stream.progress().unreadable += 1;
        self.note(format!("`{name}`, line {}: {why}", line + 1));
    }
}
