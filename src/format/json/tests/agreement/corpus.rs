//! Records that fuzzing has found worth keeping (`fuzz/json.rs`), and how an input of it is to be understood.

use super::all_rules;
use super::compare::ComparedTable;
use super::rng::SplitMix;
use crate::format::json::JsonTable;
use crate::format::schema::{ColumnType, TableSchema};
use base64_simd::STANDARD;

/// Stands between records: it is in no JSON.
const SEPARATOR: u8 = 0x1e;
/// Longer ones find nothing that shorter ones do not.
const INPUT_BYTES_MAX: usize = 4096;

/// Compares all readings of an input: the number of a SerDe, a table as `struct<...>`, records.
///
/// # Panics
/// They do not agree.
pub(in crate::format::json) fn compare(input: &[u8]) {
    let mut parts = input.split(|byte| *byte == SEPARATOR);
    let (table, records) = (parts.next().unwrap_or_default(), parts.map(<[u8]>::to_vec).collect::<Vec<_>>());
    let Some((rules, table)) = table.split_first() else { return };
    let Ok(Ok(ColumnType::Struct(columns))) = str::from_utf8(table).map(ColumnType::parse) else { return };
    if input.len() > INPUT_BYTES_MAX {
        return;
    }
    let (schema, all_rules) = (TableSchema { columns }, all_rules());
    let rules = all_rules[usize::from(*rules) % all_rules.len()].clone();
    if JsonTable::new(schema.clone(), rules.clone()).check_keys().is_err() {
        return;
    }
    let compared = ComparedTable::new(schema, rules).compare("fuzzing", &mut SplitMix(0), &records);
    assert!(compared.disagreements.is_empty(), "{}", compared.disagreements.join("\n"));
}

#[test]
fn what_fuzzing_has_found_is_read_as_the_rules_say() {
    let inputs = include_str!("../../../../../tests/data/fuzz/json.base64").lines();
    let compared = inputs.map(|line| compare(&STANDARD.decode_to_vec(line).expect("base64"))).count();
    assert!(compared > 1000, "{compared}");
}
