//! The reader against a second reading ([`super::oracle`]) of random records, alone and beside others, and its short ways
//! against its long one. What disagrees is shown with the seed that repeats it, which HYDRANT_TEST_SEED takes.

mod cells;
mod compare;
pub(in crate::format::json) mod corpus;
mod mutations;
mod odd;
mod records;
mod rng;
mod tables;
mod values;

use super::{hive, openx};
use crate::format::json::{HiveRules, HiveTimestampFormat, JsonTable, SerdeRules};
use crate::format::schema::TableSchema;
use compare::{ComparedTable, Comparison};
use records::{RecordStyle, RecordWriter};
use rng::SplitMix;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Records that are compared at scale 1.
const RECORDS: f64 = 10_000_000.0;
/// Records that are read into one table.
const RECORDS_OF_TABLE: u64 = 400;
/// Threads that compare.
const THREADS: usize = 2;
/// Disagreements after which no further ones are looked for.
const SHOWN_MAX: usize = 20;

/// As the integration tests have it.
fn scale() -> f64 {
    std::env::var("HYDRANT_TEST_SCALE").map_or(0.1, |scale| scale.parse().expect("HYDRANT_TEST_SCALE is a number"))
}

/// Makes comparisons of all numbers, until there are too many disagreements.
fn compare_all(numbers: u64, compare: impl Fn(u64) -> Comparison + Sync) -> Comparison {
    let (next, all) = (AtomicU64::new(0), Mutex::new(Comparison::default()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= numbers || all.lock().expect("no panic").disagreements.len() >= SHOWN_MAX {
                return;
            }
            let comparison = compare(number);
            all.lock().expect("no panic").add(comparison);
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    let all = all.into_inner().expect("no panic");
    println!("{} records, {} of them refused", all.read, all.refused);
    let found = &all.disagreements;
    assert!(found.is_empty(), "{} disagreements\n{}", found.len(), found.join("\n"));
    all
}

/// Random records for a table.
fn records(rng: &mut SplitMix, schema: &TableSchema, rules: &SerdeRules, count: u64) -> Vec<Vec<u8>> {
    let style = RecordStyle::random(rng);
    let record = |_| {
        let mut style = style.clone();
        if rng.permille(200) {
            style = RecordStyle::random(rng);
        }
        // A record with one value that does not fit says nothing of its other ones.
        style.odd = [0, 0, 0, 0, 0, 50, 300][rng.below(7)];
        let mut writer = RecordWriter { rng: &mut *rng, rules, style, out: String::new() };
        writer.record(&schema.columns);
        let mut record = writer.out.into_bytes();
        if rng.permille(150) {
            mutations::mutate(rng, &mut record);
        }
        record
    };
    (0..count).map(record).collect()
}

#[test]
fn random_records_are_read_as_the_rules_say() {
    let tables = (RECORDS * scale()) as u64 / RECORDS_OF_TABLE;
    let first: u64 = std::env::var("HYDRANT_TEST_SEED").map_or(0, |seed| seed.parse().expect("a number"));
    let all = compare_all(tables, |number| {
        let seed = first + number;
        let rng = &mut SplitMix(seed);
        let (schema, rules) = tables::random_table(rng);
        // A stream refuses such a table.
        let is_refused = |e: String| e.contains("with the same key");
        if JsonTable::new(schema.clone(), rules.clone()).check_keys().is_err_and(is_refused) {
            return Comparison::default();
        }
        let records = records(rng, &schema, &rules, RECORDS_OF_TABLE);
        ComparedTable::new(schema, rules).compare(&format!("seed {seed}"), rng, &records)
    });
    // Neither do all of them fit, nor does none.
    assert!(tables < 100 || (all.read / 5..all.read / 2).contains(&all.refused), "{} are refused", all.refused);
}

/// All SerDes with their defaults, and Hive's `millis`.
fn all_rules() -> Vec<SerdeRules> {
    let millis = HiveRules { timestamp_formats: vec![HiveTimestampFormat::Millis] };
    vec![openx(), hive(), SerdeRules::Hive(millis), SerdeRules::Strict]
}

#[test]
fn values_at_all_edges_are_read_as_the_rules_say_for_all_types() {
    let quoted = |moment: &&str| format!("\"{moment}\"");
    let values: Vec<String> =
        odd::ODD.iter().map(|value| (*value).to_owned()).chain(odd::ODD_TIMES.iter().map(quoted)).collect();
    let cases: Vec<(SerdeRules, &str)> =
        all_rules().into_iter().flat_map(|rules| tables::LEAVES.map(|leaf| (rules.clone(), leaf))).collect();
    compare_all(cases.len() as u64, |case| {
        let (rules, leaf) = &cases[case as usize];
        let mut all = Comparison::default();
        // As a value, in an array, as a key and as a value of a map.
        for (of, shape) in [
            (leaf.to_string(), "{\"v\":VALUE}"),
            (format!("array<{leaf}>"), "{\"v\":[VALUE]}"),
            (format!("map<{leaf},int>"), "{\"v\":{VALUE:1}}"),
            (format!("map<string,{leaf}>"), "{\"v\":{\"k\":VALUE}}"),
        ] {
            let is_key = shape.contains("VALUE:");
            let values = values.iter().filter(|value| !is_key || value.starts_with('"') || !value.contains('"'));
            let spelled = values.map(|value| {
                let quoted = is_key && !value.starts_with('"');
                shape.replace("VALUE", &if quoted { format!("\"{value}\"") } else { value.clone() }).into_bytes()
            });
            let schema = TableSchema::parse([("v", of.as_str())]).expect("a type");
            let records: Vec<Vec<u8>> = spelled.collect();
            all.add(ComparedTable::new(schema, rules.clone()).compare(&of, &mut SplitMix(0), &records));
        }
        all
    });
}

#[test]
fn every_byte_may_be_every_other_one() {
    let text = concat!(
        r#"{"id":-12.5e+3 ,"s":"a\u00e9\n😀/ß","l":[true,null],"m":{"k":"x"},"d":"2026-01-05","#,
        r#""f":0.5, "x" :{"y":[1,{},"\ud83d\ude00"]}}  {"s":""}"#
    );
    let types = [("id", "bigint"), ("s", "string"), ("l", "array<boolean>"), ("m", "map<string,string>")];
    let types = [&types[..], &[("d", "date"), ("f", "double")]].concat();
    let schema = TableSchema::parse(types.iter().copied()).expect("types");
    let all = compare_all(text.len() as u64, |at| {
        let changed = |byte: u8| {
            let mut record = text.as_bytes().to_vec();
            record[at as usize] = byte;
            record
        };
        let cut = [text.as_bytes()[..at as usize].to_vec(), text.as_bytes()[at as usize..].to_vec()];
        let records: Vec<Vec<u8>> = (0..=255).map(changed).chain(cut).collect();
        let mut all = Comparison::default();
        for rules in all_rules() {
            let label = format!("byte {at}");
            all.add(ComparedTable::new(schema.clone(), rules).compare(&label, &mut SplitMix(at), &records));
        }
        all
    });
    // Much may stand in a text, and little elsewhere.
    assert!((all.read / 2..all.read * 19 / 20).contains(&all.refused), "{} are refused", all.refused);
}
