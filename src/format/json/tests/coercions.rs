//! What becomes of values, beside what the SerDes that Firehose's are built on make of them: docs/coercions.md is made by this, and
//! every difference has its reason.
//!
//! `tests/data/serde/answers.tsv` has their answers, as they were asked for in UTC: `io.starburst.openx.data:json-serde`
//! 1.3.9-e.12 on Hive 3.1.3 (the original's jar is in no repository any more), and `org.apache.hive.hcatalog.data.JsonSerDe` of
//! Hive 3.1.3. `tests/clients/serde-java` asks them, and `tests/it/format/serdes.rs` holds the file against what they answer.

use super::*;
use std::collections::BTreeMap;
use std::fmt::Write;

const ANSWERS: &str = include_str!("../../../../tests/data/serde/answers.tsv");
const PAGE: &str = "docs/coercions.md";
/// Examples of a difference that are shown.
const EXAMPLES: usize = 3;

/// Values that are shown for every type.
const SHOWN: [&str; 17] = [
    "12",
    "1.0",
    "1.5",
    "1e3",
    "-0",
    "300",
    "9223372036854775808",
    "1E400",
    "true",
    "\"12\"",
    "\"1.5\"",
    "\"true\"",
    "\"oops\"",
    "\"\"",
    "{\"a\":1}",
    "[1]",
    "null",
];
const TYPES: [&str; 14] = [
    "tinyint",
    "int",
    "bigint",
    "float",
    "double",
    "decimal(10,2)",
    "boolean",
    "string",
    "char(3)",
    "binary",
    "date",
    "timestamp",
    "array<int>",
    "struct<a:int>",
];
const TIMES: [&str; 16] = [
    "1493668022",
    "1493668022112",
    "1493668022.112",
    "\"1493668022\"",
    "\"2018-01-05\"",
    "\"2018-1-5 3:04:05\"",
    "\"2018-01-05 03:04:05.123456789\"",
    "\"2018-01-05T03:04:05\"",
    "\"2018-01-05T03:04:05Z\"",
    "\"2018-01-05T03:04:05+02:00\"",
    "\"2018-02-30 00:00:00\"",
    "\"2018-01-05 24:00:00\"",
    "\"2018-01-05 23:59:60\"",
    "999999999999",
    "253402300800",
    "\"9999-12-31 23:59:59\"",
];

/// What a value becomes in a column of that type, as JSON; `None`: it is refused.
fn ours(of: &str, rules: &SerdeRules, json: &str) -> Result<String, &'static str> {
    let line =
        read(&table(&[("v", of)], rules.clone()), format!("{{\"v\":{json}}}").as_bytes()).map_err(|why| why.code)?;
    Ok(line.strip_prefix("{\"v\":").and_then(|line| line.strip_suffix('}')).expect("a row of one column").to_owned())
}

/// Whether two answers are the same value, however they are printed.
fn is_same(of: &str, ours: &str, theirs: &str) -> bool {
    if ours == theirs {
        return true;
    }
    let number = |text: &str| text.parse::<f64>().ok();
    match of {
        "float" => ours.parse::<f32>().ok().zip(theirs.parse::<f32>().ok()).is_some_and(|(a, b)| a == b),
        "double" => number(ours).zip(number(theirs)).is_some_and(|(a, b)| a == b),
        _ if of.starts_with("decimal") => {
            let plain = |text: &str| match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text.to_owned(),
            };
            plain(ours) == plain(theirs)
        }
        "date" => ours.trim_matches('"') == theirs,
        "timestamp" => {
            let plain = ours.trim_matches('"').replace('T', " ").replace('Z', "");
            plain.split_once('.').map_or(plain.clone(), |(a, b)| format!("{a}.{}", b.trim_end_matches('0'))) == theirs
        }
        "binary" => theirs.strip_prefix("0x").is_some_and(|hex| hex == ours.trim_matches('"')),
        _ => {
            let text = |json: &str| serde_json::from_str::<String>(json).ok();
            text(ours).is_some_and(|a| text(theirs).is_some_and(|b| a == b))
        }
    }
}

/// Why an answer is not theirs.
fn reason(of: &str, ours: &Result<String, &str>, theirs: &str) -> Option<&'static str> {
    let is_integer = ["tinyint", "smallint", "int", "bigint"].contains(&of);
    let is_sized = of.starts_with("char") || of.starts_with("varchar");
    Some(match ours {
        Ok(_) if theirs == "error" => "refused by them; read here, since nothing is lost by it",
        Err("DataFormatConversion.ParseError") => "no JSON: their parser takes bare words, comments, other quotes",
        Err(_) if theirs == "null" => "null in silence; refused here",
        Err(_) if is_integer => "wraps, or its fraction is cut; refused here",
        Err(_) if of == "float" || of == "double" => "infinite, not a number, or a spelling of Java's; refused here",
        Err(_) if of.starts_with("decimal") => "a number with blanks, or of too many digits; refused here",
        Err(_) if of == "boolean" && theirs == "true" => "read from a text; refused here, as Firehose does",
        Err(_) if of == "boolean" => "false, because it is not `true`; refused here",
        Err(_) if is_sized => "cut; refused here",
        Err(_) if of == "string" => "half of a surrogate pair, or the first character of an object; refused here",
        Err(_) if of == "binary" => "bytes of what is no base64; refused here",
        Err(_) if of == "date" || of == "timestamp" => {
            "rolls over, is beyond the year 9999, or has blanks; refused here"
        }
        Ok(_) if of == "string" => "printed anew; the text stays as it was here",
        Ok(_) if is_sized => "padded, or printed anew; the text stays as it was here",
        Ok(_) if of == "timestamp" => "digits below a millisecond are cut, or a short number is taken for milliseconds",
        Ok(_) if of == "binary" => "the text's own bytes; base64 here",
        Ok(_) if is_integer => "read by way of a double; all digits are kept here",
        Ok(_) if of.starts_with("decimal") => "null in silence; the nearest one here, and counted",
        _ => return None,
    })
}

/// A table of what values become in columns, by each SerDe.
fn answers(page: &mut String, types: &[&str], values: &[&str]) {
    for of in types {
        writeln!(page, "\n### `{of}`\n\n| JSON | openx | hive | strict |\n|---|---|---|---|").unwrap();
        for value in values {
            let cells = [openx(), hive(), SerdeRules::Strict].map(|rules| match ours(of, &rules, value) {
                Ok(value) => format!("`{value}`"),
                Err(_) => "refused".to_owned(),
            });
            if cells.iter().any(|cell| cell != "refused") {
                writeln!(page, "| `{value}` | {} |", cells.join(" | ")).unwrap();
            }
        }
    }
}

fn page() -> String {
    let mut page = "# What values become\n\nMade by a test from the code. `docs/columns.md` has the rules. Values that all three refuse are left out.\n".to_owned();
    page += "\n## By type\n";
    answers(&mut page, &TYPES, &SHOWN);
    page += "\n## Times\n";
    answers(&mut page, &["date", "timestamp"], &TIMES);
    page += "\n## Beside the SerDes that Firehose's are built on\n\nOf ";
    let lines: Vec<Vec<&str>> = ANSWERS.lines().map(|line| line.split('\t').collect()).collect();
    writeln!(
        page,
        "{} values of one column each, asked of OpenX's (Starburst's fork 1.3.9-e.12) and of Hive's 3.1.3.",
        lines.len()
    )
    .unwrap();
    for (name, rules, column) in [("OpenX", openx(), 2), ("Hive", hive(), 3)] {
        let mut differences: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        let (mut same, mut unexplained) = (0, Vec::new());
        for line in &lines {
            let (of, json, theirs) = (line[0], line[1], line[column]);
            let found = ours(of, &rules, json);
            let is_same = found.as_ref().map_or(theirs == "error", |found| is_same(of, found, theirs));
            if is_same {
                same += 1;
                continue;
            }
            let Some(why) = reason(of, &found, theirs) else {
                unexplained.push(format!("{name}: {of} {json}: {found:?}, theirs {theirs}"));
                continue;
            };
            let found = found.unwrap_or_else(|_| "refused".into());
            differences.entry((of, why)).or_default().push(format!("`{json}`: {theirs}, here {found}"));
        }
        assert!(unexplained.is_empty(), "for what reason?\n{}", unexplained.join("\n"));
        let heading = "| type | differ | what theirs does | such as |\n|---|---|---|---|";
        writeln!(page, "\n### {name}: {same} of {} are the same\n\n{heading}", lines.len()).unwrap();
        for ((of, why), examples) in differences {
            let shown = examples.iter().filter(|e| e.len() < 90 && !e.contains('|')).take(EXAMPLES);
            let shown: Vec<&str> = shown.map(String::as_str).collect();
            writeln!(page, "| `{of}` | {} | {why} | {} |", examples.len(), shown.join("; ")).unwrap();
        }
    }
    page
}

#[test]
fn the_page_of_coercions_is_what_the_code_does_and_every_difference_has_its_reason() {
    let (page, path) = (page(), std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE));
    if std::env::var_os("HYDRANT_WRITE_DOCS").is_some() {
        #[expect(clippy::disallowed_methods, reason = "a file of the checkout")]
        std::fs::write(&path, &page).unwrap();
    }
    assert!(std::fs::read_to_string(path).unwrap() == page, "HYDRANT_WRITE_DOCS=1 with this test writes the new one");
}
