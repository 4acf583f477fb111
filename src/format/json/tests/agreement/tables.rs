//! Random tables.

use super::rng::SplitMix;
use crate::format::json::{HiveRules, HiveTimestampFormat, OpenXRules, SerdeRules};
use crate::format::schema::{ColumnType, NamedType, TableSchema, TimestampUnit};
use std::collections::HashSet;

/// Names of columns. Those that differ by their case or by dots alone are never in one object.
const NAMES: &[&str] = &[
    "a",
    "b",
    "c",
    "id",
    "ID",
    "ts",
    "Ts",
    "v",
    "value",
    "userName",
    "UserName",
    "user_name",
    "user.name",
    "a.b",
    "A.B",
    "x.y.z",
    "x_y_z",
    "größe",
    "GRÖSSE",
    "ÄÖ",
    "名前",
    "ключ",
    "КЛЮЧ",
    "😀",
    "",
    " ",
    "with space",
    "qu\"ote",
    "back\\slash",
    "sl/ash",
    "tab\t",
    "nul\u{0}",
    "fifteen_bytes__",
    "FIFTEEN_BYTES__",
    "sixteen__bytes__",
    "seventeen__bytes_",
    "seventeen__bytes.",
    "a_name_that_is_longer_than_one_block_of_a_reader_and_longer_than_two_of_them_as_well_as_sixty_four",
    "@timestamp",
    "straße",
    "İ",
    "i̇",
    "ΑΣ",
    "ας",
    "ﬀ",
    "K",
];

/// Types without members.
pub(super) const LEAVES: [&str; 24] = [
    "tinyint",
    "smallint",
    "int",
    "bigint",
    "float",
    "double",
    "boolean",
    "string",
    "char(3)",
    "varchar(10)",
    "varchar(300)",
    "binary",
    "date",
    "timestamp",
    "timestamp(3)",
    "timestamp(6)",
    "timestamp(9)",
    "decimal(10,2)",
    "decimal(38,0)",
    "decimal(38,38)",
    "decimal(38,10)",
    "decimal(18,9)",
    "decimal(5,5)",
    "decimal(1,0)",
];

/// The most types inside one another.
const DEPTH_MAX: usize = 4;

/// A table and the rules by which it is read.
pub(super) fn random_table(rng: &mut SplitMix) -> (TableSchema, SerdeRules) {
    let rules = rules(rng);
    let count = 1 + rng.below(8);
    let is_flat = rng.permille(300);
    let mut columns = members(rng, &rules, count, if is_flat { DEPTH_MAX } else { 0 });
    for column in &mut columns {
        if rng.permille(60) {
            column.key = Some(rng.pick(NAMES).to_owned());
        }
    }
    without_collisions(&mut columns, &rules);
    (TableSchema { columns }, rules)
}

fn rules(rng: &mut SplitMix) -> SerdeRules {
    match rng.below(20) {
        0..6 => SerdeRules::OpenX(OpenXRules::default()),
        6..11 => {
            let mut keys: Vec<(String, String)> = Vec::new();
            for _ in 0..rng.below(8) {
                keys.push((rng.pick(NAMES).to_owned(), rng.pick(NAMES).to_owned()));
            }
            let (case_insensitive, dots_to_underscores) = (rng.permille(500), rng.permille(500));
            SerdeRules::OpenX(OpenXRules { case_insensitive, dots_to_underscores, keys })
        }
        11..15 => SerdeRules::Hive(HiveRules::default()),
        15 => SerdeRules::Hive(HiveRules { timestamp_formats: vec![HiveTimestampFormat::Millis] }),
        _ => SerdeRules::Strict,
    }
}

fn members(rng: &mut SplitMix, rules: &SerdeRules, count: usize, depth: usize) -> Vec<NamedType> {
    let name = |rng: &mut SplitMix| rng.pick(NAMES).to_owned();
    let mut members: Vec<NamedType> =
        (0..count).map(|_| NamedType { name: name(rng), of: column_type(rng, rules, depth), key: None }).collect();
    without_collisions(&mut members, rules);
    members
}

/// Keeps the first of those members that one key could name.
fn without_collisions(members: &mut Vec<NamedType>, rules: &SerdeRules) {
    let folded = |text: &str| text.to_lowercase().replace('.', "_");
    let (mut names, mut keys) = (HashSet::new(), HashSet::new());
    members.retain(|member| names.insert(folded(&member.name)) && keys.insert(folded(key_of(member, rules))));
}

/// The key that a member is read from.
pub(super) fn key_of<'a>(member: &'a NamedType, rules: &'a SerdeRules) -> &'a str {
    let mapped = match rules {
        SerdeRules::OpenX(rules) => rules.keys.iter().find(|(name, _)| *name == member.name),
        _ => None,
    };
    member.key.as_deref().or(mapped.map(|(_, key)| key.as_str())).unwrap_or(&member.name)
}

/// A type without members.
pub(super) fn leaf(rng: &mut SplitMix) -> ColumnType {
    if rng.permille(150) {
        let precision = 1 + rng.below(38) as u8;
        return ColumnType::Decimal { precision, scale: rng.below(usize::from(precision) + 1) as u8 };
    }
    if rng.permille(30) {
        return ColumnType::Timestamp(Some(TimestampUnit::Nanos));
    }
    ColumnType::parse(rng.pick(&LEAVES)).expect("a type")
}

fn column_type(rng: &mut SplitMix, rules: &SerdeRules, depth: usize) -> ColumnType {
    if depth == DEPTH_MAX || rng.permille(650) {
        return leaf(rng);
    }
    match rng.below(3) {
        0 => ColumnType::Array(Box::new(column_type(rng, rules, depth + 1))),
        1 => {
            let key = if rng.permille(600) { ColumnType::String } else { leaf(rng) };
            ColumnType::Map(Box::new(key), Box::new(column_type(rng, rules, depth + 1)))
        }
        _ => {
            let count = 1 + rng.below(4);
            ColumnType::Struct(members(rng, rules, count, depth + 1))
        }
    }
}
