//! Which columns have had values, and which keys have named no column: whoever misspells one of the two sees it here.

use std::collections::BTreeSet;
use std::sync::Arc;

/// What rows have shown of a table's columns and of the records' keys.
#[derive(Clone, Debug, Default)]
pub struct ColumnCoverage {
    /// Paths of all columns, members of structs included, each behind the one it is in: `user`, `user.id`.
    columns: Arc<[String]>,
    filled: Vec<bool>,
    /// Paths of keys that name no column, some of them.
    unknown: BTreeSet<String>,
    rows: u64,
    /// Values of which digits were rounded away, because their columns have no room for them.
    pub rounded: u64,
}

/// Keys that are remembered; records whose keys are data have no end of them.
const UNKNOWN_MAX: usize = 16;
/// Rows in which a column that may be empty has a value, mostly.
const ROWS_MIN: u64 = 100;
/// Names in a sentence.
const SHOWN_MAX: usize = 8;

impl ColumnCoverage {
    /// Of rows in which these columns had values.
    pub(super) fn new(columns: Arc<[String]>, filled: Vec<bool>, rows: u64, rounded: u64) -> ColumnCoverage {
        ColumnCoverage { columns, filled, unknown: BTreeSet::new(), rows, rounded }
    }

    pub(super) fn add_unknown(&mut self, key: String) {
        if self.unknown.len() < UNKNOWN_MAX {
            self.unknown.insert(key);
        }
    }

    /// Adds what other rows have shown; those of another table begin anew.
    pub fn merge(&mut self, other: ColumnCoverage) {
        self.rounded += other.rounded;
        if self.columns != other.columns {
            *self = ColumnCoverage { rounded: self.rounded, ..other };
            return;
        }
        self.filled.iter_mut().zip(other.filled).for_each(|(filled, other)| *filled |= other);
        other.unknown.into_iter().for_each(|key| self.add_unknown(key));
        self.rows += other.rows;
    }

    /// What is to be said if columns are always empty while keys name none: in the first rows already if that is all of them.
    pub fn complaint(&self) -> Option<String> {
        let empty = self.columns.iter().zip(&self.filled).filter(|(_, filled)| !**filled).map(|(column, _)| column);
        let mut outermost: Vec<&str> = Vec::new();
        for column in empty {
            let is_inside = |outer: &&str| column.strip_prefix(*outer).is_some_and(|rest| rest.starts_with('.'));
            if !outermost.last().is_some_and(is_inside) {
                outermost.push(column);
            }
        }
        let all = self.filled.iter().all(|filled| !filled);
        if self.rows == 0 || outermost.is_empty() || self.unknown.is_empty() || !(all || self.rows >= ROWS_MIN) {
            return None;
        }
        let columns = some("column", &outermost);
        let keys = some("key", &self.unknown.iter().map(String::as_str).collect::<Vec<_>>());
        let plural = if self.rows == 1 { "" } else { "s" };
        Some(format!("{columns} had no value in {} row{plural}, while {keys} named no column", self.rows))
    }
}

/// `the keys a, b and 3 more`
fn some(what: &str, names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    let more = names.len() - shown.len();
    let (plural, more) =
        (if names.len() == 1 { "" } else { "s" }, if more == 0 { String::new() } else { format!(" and {more} more") });
    format!("the {what}{plural} {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage(columns: &Arc<[String]>, filled: [bool; 3], unknown: &[&str], rows: u64) -> ColumnCoverage {
        let mut coverage = ColumnCoverage::new(columns.clone(), filled.to_vec(), rows, 0);
        unknown.iter().for_each(|key| coverage.add_unknown((*key).to_owned()));
        coverage
    }

    #[test]
    fn a_column_that_is_always_empty_is_named_with_keys_that_name_none() {
        let columns: Arc<[String]> = ["id", "user", "user.name"].map(str::to_owned).into();
        assert_eq!(coverage(&columns, [true; 3], &["x"], 1000).complaint(), None);
        assert_eq!(coverage(&columns, [true, false, false], &[], 1000).complaint(), None);
        assert_eq!(coverage(&columns, [true, false, false], &["usr"], 99).complaint(), None);
        let expected = "the columns `id`, `user` had no value in 1 row, while the key `usr` named no column";
        assert_eq!(coverage(&columns, [false; 3], &["usr"], 1).complaint().as_deref(), Some(expected));
        let mut whole = coverage(&columns, [true, true, false], &["user.nm"], 99);
        whole.merge(coverage(&columns, [false, true, false], &["user.nam"], 1));
        let expected = "the column `user.name` had no value in 100 rows, while the keys `user.nam`, `user.nm` named no \
                        column";
        assert_eq!(whole.complaint().as_deref(), Some(expected));
        whole.merge(coverage(&columns, [false, false, true], &[], 1));
        assert_eq!(whole.complaint(), None);
        let other: Arc<[String]> = ["a", "b", "c"].map(str::to_owned).into();
        whole.merge(coverage(&other, [true; 3], &["x"], 1));
        assert_eq!(whole.rows, 1);
    }
}
