//! The reader against the other reading, record by record and many of them together.

use super::cells::cells;
use super::rng::SplitMix;
use crate::format::NotConverted;
use crate::format::json::tests::oracle::{self, OracleCell};
use crate::format::json::{JsonReader, JsonTable, SerdeRules};
use crate::format::schema::TableSchema;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Of so many records, one is read by a reader that has seen no other.
const ALONE: usize = 16;
/// Of so many records, one is the last of a batch.
const BATCH: usize = 100;

/// A record's rows, or code and message of its failure.
type ReadAlone = Result<Vec<Vec<OracleCell>>, NotConverted>;

/// A table that is read in all ways.
pub(super) struct ComparedTable {
    pub(super) schema: TableSchema,
    pub(super) rules: SerdeRules,
    table: JsonTable,
}

/// What was compared.
#[derive(Default)]
pub(super) struct Comparison {
    pub(super) read: usize,
    pub(super) refused: usize,
    /// Records that are not what they should be, and how.
    pub(super) disagreements: Vec<String>,
}

impl Comparison {
    pub(super) fn add(&mut self, other: Comparison) {
        self.read += other.read;
        self.refused += other.refused;
        self.disagreements.extend(other.disagreements);
    }
}

impl ComparedTable {
    pub(super) fn new(schema: TableSchema, rules: SerdeRules) -> ComparedTable {
        ComparedTable { table: JsonTable::new(schema.clone(), rules.clone()), schema, rules }
    }

    fn reader(&self, long_way_only: bool) -> JsonReader<'_> {
        let mut reader = self.table.reader();
        reader.long_way_only = long_way_only;
        reader
    }

    fn read_alone(&self, long_way_only: bool, record: &[u8]) -> ReadAlone {
        let mut reader = self.reader(long_way_only);
        reader.read(record)?;
        Ok(cells(&reader.flush()))
    }

    /// What is not the same when a record is read alone.
    fn disagreement(&self, record: &[u8]) -> Option<String> {
        let expected = oracle::rows(&self.schema, &self.rules, record);
        let read = || [false, true].map(|long_way_only| self.read_alone(long_way_only, record));
        let Ok([short, long]) = catch_unwind(AssertUnwindSafe(read)) else {
            return Some(format!("the reader panics, expected {expected:?}"));
        };
        if short != long {
            return Some(format!("the reader says {short:?}, and on its long way {long:?}, expected {expected:?}"));
        }
        let same = match (&short, &expected) {
            (Ok(rows), Ok(expected)) => rows == expected,
            (Err(why), Err(code)) => why.code == *code,
            _ => false,
        };
        (!same).then(|| format!("the reader says {short:?}, expected {expected:?}"))
    }

    /// Reads records where they stand side by side with one reader for all of them, flushed now and then, copied with another one
    /// that takes only the long way, and some of them alone. `label` says what they are.
    pub(super) fn compare(&self, label: &str, rng: &mut SplitMix, records: &[Vec<u8>]) -> Comparison {
        let mut comparison = Comparison { read: records.len(), ..Comparison::default() };
        let found = catch_unwind(AssertUnwindSafe(|| self.compare_all(rng, records, &mut comparison.refused)));
        let found = found.unwrap_or_else(|_| {
            let alone = records.iter().position(|record| self.disagreement(record).is_some());
            Err((alone.unwrap_or(0), "one of the records makes the reader panic".to_owned()))
        });
        let shown = found.err().map(|(record, what)| self.shown(label, &records[record], &what));
        comparison.disagreements.extend(shown);
        comparison
    }

    /// # Errors
    /// The first record that is not what it should be, and how.
    fn compare_all(&self, rng: &mut SplitMix, records: &[Vec<u8>], refused: &mut usize) -> Result<(), (usize, String)> {
        let (mut short, mut long) = (self.reader(false), self.reader(true));
        // Of rows that are not flushed yet, with their records.
        let mut expected: Vec<(usize, Vec<OracleCell>)> = Vec::new();
        let (all, mut behind) = (records.concat(), 0);
        for (i, record) in records.iter().enumerate() {
            let begin = behind;
            behind += record.len();
            let (by_short, by_long) = (short.read_among(&all, begin..behind), long.read(record));
            if by_short != by_long || short.rounded != long.rounded {
                return Err((i, format!("{by_short:?}, and on the long way {by_long:?}")));
            }
            match (by_short, oracle::rows(&self.schema, &self.rules, record)) {
                (Ok(read), Ok(rows)) if read == rows.len() => expected.extend(rows.into_iter().map(|row| (i, row))),
                (Err(why), Err(code)) if why.code == code => *refused += 1,
                (by_short, by_oracle) => return Err((i, format!("{by_short:?}, expected {by_oracle:?}"))),
            }
            if rng.below(ALONE) == 0
                && let Some(what) = self.disagreement(record)
            {
                return Err((i, what));
            }
            if i + 1 < records.len() && rng.below(BATCH) > 0 {
                continue;
            }
            let (batch, by_long) = (short.flush(), long.flush());
            let rows = cells(&batch);
            let differs = rows.iter().zip(&expected).find(|(row, (_, expected))| *row != expected);
            if let Some((row, (i, expected))) = differs {
                return Err((*i, format!("{row:?}, expected {expected:?}")));
            }
            if rows.len() != expected.len() || batch != by_long {
                return Err((i, "there are other rows in the batch, or other ones on the long way".to_owned()));
            }
            expected.clear();
        }
        Ok(())
    }

    /// A disagreement as a person wants to see it.
    fn shown(&self, label: &str, record: &[u8], what: &str) -> String {
        let whole = record.escape_ascii();
        let (small, small_record, what) = match self.disagreement(record) {
            Some(_) => self.shrunk(record),
            None => (Self::new(self.schema.clone(), self.rules.clone()), Vec::new(), format!("beside others: {what}")),
        };
        let key = |key: &Option<String>| key.as_ref().map_or(String::new(), |key| format!(" from {key:?}"));
        let columns = small.schema.columns.iter();
        let columns = columns.map(|column| format!("{:?}: {}{}", column.name, column.of, key(&column.key)));
        let (columns, rules) = (columns.collect::<Vec<_>>().join(", "), &self.rules);
        let small_record = small_record.escape_ascii();
        format!("{label}, {rules:?}\n  {columns}\n  {small_record}\n  {what}\n  shrunk from {whole}")
    }

    /// What is left of a table and a record when much is dropped that the disagreement does not need.
    fn shrunk(&self, record: &[u8]) -> (ComparedTable, Vec<u8>, String) {
        let mut small = ComparedTable::new(self.schema.clone(), self.rules.clone());
        for column in (0..self.schema.columns.len()).rev() {
            let mut schema = small.schema.clone();
            schema.columns.remove(column);
            let smaller = ComparedTable::new(schema, self.rules.clone());
            if smaller.disagreement(record).is_some() {
                small = smaller;
            }
        }
        let (mut record, mut size) = (record.to_vec(), record.len());
        while size > 0 {
            let mut at = 0;
            while at < record.len() {
                let mut smaller = record.clone();
                smaller.drain(at..(at + size).min(record.len()));
                match small.disagreement(&smaller) {
                    Some(_) => record = smaller,
                    None => at += 1.max(size / 16),
                }
            }
            size = if size > 16 { size / 2 } else { size - 1 };
        }
        let what = small.disagreement(&record).unwrap_or_default();
        (small, record, what)
    }
}
