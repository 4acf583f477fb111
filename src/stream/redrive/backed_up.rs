//! Where the records in a backup object end: it holds their bytes and nothing between them, as Firehose's do. A plan of the
//! backup keeps a digest of its records' lengths, and its ledger line too; records may be guessed from the bytes by what
//! sources usually send, and only a guess with that very digest is certain.

use crate::stream::plan::lengths::Lengths;
use crate::stream::state_log::ledger::Line;
use serde::de::IgnoredAny;

/// What is shown as the kind of backup objects.
pub const BACKUP: &str = "backup";

/// Where each record of a backup object ends; the error says why nobody knows.
pub fn ends(bytes: &[u8], line: &Line) -> Result<Vec<usize>, String> {
    let Some(expected) = line.lengths else {
        return Err("the ledger has no digest of its records' lengths: where one ends is not certain".into());
    };
    let is_certain = |ends: &Vec<usize>| {
        let mut lengths = Lengths::default();
        ends.iter().fold(0, |start, end| {
            lengths.push(end - start);
            *end
        });
        ends.last() == Some(&bytes.len()) && lengths.digest() == expected.0
    };
    [lines, values].into_iter().map(|guess| guess(bytes)).find(is_certain).ok_or_else(|| {
        format!(
            "its {} records are not one to a line nor one JSON value each: where one ends is not certain",
            line.outputs
        )
    })
}

fn lines(bytes: &[u8]) -> Vec<usize> {
    let ends = bytes.split_inclusive(|&b| b == b'\n').scan(0, |end, line| {
        *end += line.len();
        Some(*end)
    });
    ends.collect()
}

/// JSON values, each with the white space behind it.
fn values(bytes: &[u8]) -> Vec<usize> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    let mut ends = Vec::new();
    while let Some(Ok(_)) = values.next() {
        let end = values.byte_offset();
        ends.push(end + bytes[end..].iter().take_while(|b| b.is_ascii_whitespace()).count());
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::state_log::ledger;

    fn line(records: &[&str]) -> Line {
        let mut lengths = Lengths::default();
        records.iter().for_each(|record| lengths.push(record.len()));
        let outputs = records.len() as u64;
        Line { outputs, lengths: Some(ledger::Digest(lengths.digest())), ..Line::default() }
    }

    #[test]
    fn only_ends_with_the_digest_of_the_ledger_are_certain() {
        for records in [
            &["a\n", "b\n", "\n"][..],
            &["{\"a\":1}", "{\"b\":2}"],
            &["{\"a\":1}\n", "{\"b\":\n2}\r\n", "[3] "],
            &["one\n", "the last has none"],
        ] {
            let bytes = records.concat();
            let ends = ends(bytes.as_bytes(), &line(records)).unwrap();
            let starts = std::iter::once(&0).chain(&ends);
            let found: Vec<&str> = starts.zip(&ends).map(|(start, end)| &bytes[*start..*end]).collect();
            assert_eq!(found, records);
        }
        // Two records, and two values or lines, and yet not the same.
        for records in [&["{\"a\":", "1}{\"b\":2}"][..], &["a", "\nb\n"], &["ab", "cd"], &["", "x"]] {
            let why = ends(records.concat().as_bytes(), &line(records)).unwrap_err();
            assert!(why.starts_with("its 2 records are not"), "{why}");
        }
        let older = Line { lengths: None, ..line(&["a\n"]) };
        assert!(ends(b"a\n", &older).unwrap_err().contains("no digest"));
    }
}
