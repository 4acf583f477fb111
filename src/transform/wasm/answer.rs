//! What a guest handed back, checked and brought into the order of the records.

use super::bindings::OutputRecord;
use super::bindings::types::{Outcome, Transformed as Output};
use super::code;
use super::fault::one_line;
use crate::transform::{PartitionKeys, TransformFailure, TransformVerdict, Transformed};

/// A guest's sentence for an error record, and an id in a sentence of ours.
const SENTENCE_MAX: usize = 1024;
const ID_MAX: usize = 64;

/// All outputs of one chunk. A batch counts its bytes in 32 bits, and no chunk is a hundredth of this.
const OUTPUTS_MAX: usize = 1 << 30;

/// What came back for one record.
#[derive(Debug)]
pub(super) enum ModuleAnswer {
    Outcome(Outcome),
    /// Nothing; an id that no record has came back as well, perhaps in its stead.
    Missing {
        unknown: Option<String>,
    },
    Duplicate,
}

/// Gives every record its answer: each id once, in any order. Ids of no record are ignored.
pub(super) fn sort(answers: Vec<OutputRecord>, ids: &[String]) -> Vec<ModuleAnswer> {
    let mut unknown = None;
    let mut sorted: Vec<Option<ModuleAnswer>> = ids.iter().map(|_| None).collect();
    for (position, answer) in answers.into_iter().enumerate() {
        match place(&answer.record_id, position, ids) {
            Some(i) => {
                let first = sorted[i].is_none();
                sorted[i] = Some(if first { ModuleAnswer::Outcome(answer.outcome) } else { ModuleAnswer::Duplicate });
            }
            None => unknown = unknown.or(Some(answer.record_id)),
        }
    }
    sorted.into_iter().map(|a| a.unwrap_or_else(|| ModuleAnswer::Missing { unknown: unknown.clone() })).collect()
}

/// Ids are numbers from 0 up; an honest guest answers in order.
fn place(id: &str, position: usize, ids: &[String]) -> Option<usize> {
    if ids.get(position).is_some_and(|expected| expected == id) {
        return Some(position);
    }
    let i = id.parse::<usize>().ok()?;
    ids.get(i).filter(|expected| *expected == id).map(|_| i)
}

/// Appends one record's answer. `alone`: no other record was in the call.
pub(super) fn add(out: &mut Transformed, answer: ModuleAnswer, alone: bool, module: &str) {
    let verdict = match answer {
        ModuleAnswer::Outcome(Outcome::Ok(output)) => keep(out, vec![output], module),
        ModuleAnswer::Outcome(Outcome::Many(outputs)) => keep(out, outputs, module),
        ModuleAnswer::Outcome(Outcome::Dropped) => TransformVerdict::Dropped,
        ModuleAnswer::Outcome(Outcome::ProcessingFailed(text)) => {
            let text = if text.trim().is_empty() { "it gave no reason" } else { &text };
            fail(code::PROCESSING_FAILED, one_line(text, SENTENCE_MAX), false, module)
        }
        // Whether an id is missing may depend on the other records.
        ModuleAnswer::Missing { unknown: None } => {
            fail(code::MISSING_RECORD_ID, "no answer bears the record's id".to_owned(), !alone, module)
        }
        ModuleAnswer::Missing { unknown: Some(id) } => {
            let id = one_line(&id, ID_MAX);
            let what = format!("no answer bears the record's id, but one bears `{id}`, which is no record's");
            fail(code::UNKNOWN_RECORD_ID, what, !alone, module)
        }
        ModuleAnswer::Duplicate => {
            fail(code::DUPLICATE_RECORD_ID, "more than one answer bears the record's id".to_owned(), !alone, module)
        }
    };
    out.verdicts.push(verdict);
}

fn fail(code: &'static str, what: String, may_differ: bool, module: &str) -> TransformVerdict {
    TransformVerdict::Failed(TransformFailure {
        code,
        message: format!("{what} (module {module})"),
        attempts: 1,
        may_differ,
    })
}

/// Several outputs in a record's place, or none: then it is dropped.
fn keep(out: &mut Transformed, outputs: Vec<Output>, module: &str) -> TransformVerdict {
    let bytes: usize = outputs.iter().map(|o| o.data.len()).sum();
    if out.outputs.bytes().len() + bytes > OUTPUTS_MAX {
        let what = format!("the outputs of its chunk have more than {OUTPUTS_MAX} bytes");
        return fail(code::OUTPUT_TOO_LARGE, what, true, module);
    }
    let (first, count) = (number(out.outputs.len()), number(outputs.len()));
    for output in outputs {
        out.outputs.push(&output.data);
        let keys: PartitionKeys = output.partition_keys;
        if !keys.is_empty() || !out.partition_keys.is_empty() {
            out.partition_keys.resize(out.outputs.len() - 1, Vec::new());
            out.partition_keys.push(keys);
        }
    }
    if count == 0 { TransformVerdict::Dropped } else { TransformVerdict::Kept { first, count } }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).expect("a guest pays at least 16 bytes of its output for each")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(n: usize) -> Vec<String> {
        (0..n).map(|i| i.to_string()).collect()
    }

    fn answers(given: &[&str]) -> Vec<OutputRecord> {
        let output = |id: &str| Output { data: id.as_bytes().to_vec(), partition_keys: Vec::new() };
        given.iter().map(|id| OutputRecord { record_id: (*id).to_owned(), outcome: Outcome::Ok(output(id)) }).collect()
    }

    fn judge(given: &[&str], n: usize) -> Transformed {
        let mut out = Transformed::default();
        for answer in sort(answers(given), &ids(n)) {
            add(&mut out, answer, n == 1, "abc");
        }
        out
    }

    fn codes(out: &Transformed) -> Vec<&'static str> {
        let code = |v: &TransformVerdict| match v {
            TransformVerdict::Kept { .. } => "kept",
            TransformVerdict::Dropped => "dropped",
            TransformVerdict::Failed(f) => f.code,
        };
        out.verdicts.iter().map(code).collect()
    }

    #[test]
    fn answers_in_any_order_end_in_the_order_of_the_records() {
        let out = judge(&["2", "0", "1"], 3);
        assert_eq!(out.outputs.iter().collect::<Vec<_>>(), [b"0", b"1", b"2"]);
        assert_eq!(codes(&out), ["kept"; 3]);
        assert!(out.partition_keys.is_empty());
    }

    #[test]
    fn a_wrong_id_costs_only_the_record_it_wrongs() {
        assert_eq!(codes(&judge(&["0", "2"], 3)), ["kept", code::MISSING_RECORD_ID, "kept"]);
        assert_eq!(codes(&judge(&["0", "1", "2", "1"], 3)), ["kept", code::DUPLICATE_RECORD_ID, "kept"]);
        assert_eq!(codes(&judge(&["0", "0", "0"], 2)), [code::DUPLICATE_RECORD_ID, code::MISSING_RECORD_ID]);
        assert_eq!(codes(&judge(&["0", "nope", "2"], 3)), ["kept", code::UNKNOWN_RECORD_ID, "kept"]);
        assert_eq!(codes(&judge(&["0", "1", "nope"], 2)), ["kept", "kept"]);
        for not_quite in ["01", "+1", " 1", "1 ", "", "18446744073709551616", "2"] {
            assert_eq!(codes(&judge(&["0", not_quite], 2)), ["kept", code::UNKNOWN_RECORD_ID], "{not_quite:?}");
        }
    }

    #[test]
    fn an_id_that_is_missing_among_others_may_be_there_alone() {
        let may_differ = |out: &Transformed| matches!(&out.verdicts[0], TransformVerdict::Failed(f) if f.may_differ);
        assert!(may_differ(&judge(&["1"], 2)));
        assert!(!may_differ(&judge(&[], 1)));
    }

    #[test]
    fn keys_stand_beside_their_outputs_and_not_at_all_if_there_are_none() {
        let key = |v: &str| vec![("k".to_owned(), v.to_owned())];
        let output = |keys: &PartitionKeys| Output { data: b"x".to_vec(), partition_keys: keys.clone() };
        let mut out = Transformed::default();
        add(&mut out, ModuleAnswer::Outcome(Outcome::Ok(output(&vec![]))), false, "abc");
        assert!(out.partition_keys.is_empty());
        add(&mut out, ModuleAnswer::Outcome(Outcome::Many(vec![output(&key("a")), output(&vec![])])), false, "abc");
        add(&mut out, ModuleAnswer::Outcome(Outcome::Many(vec![])), false, "abc");
        add(&mut out, ModuleAnswer::Outcome(Outcome::Ok(output(&vec![]))), false, "abc");
        assert_eq!(out.partition_keys, [vec![], key("a"), vec![], vec![]]);
        assert_eq!(
            out.verdicts,
            [
                TransformVerdict::Kept { first: 0, count: 1 },
                TransformVerdict::Kept { first: 1, count: 2 },
                TransformVerdict::Dropped,
                TransformVerdict::Kept { first: 3, count: 1 }
            ]
        );
    }

    #[test]
    fn a_reason_is_one_line_and_never_empty() {
        let mut out = Transformed::default();
        add(&mut out, ModuleAnswer::Outcome(Outcome::ProcessingFailed("a\nb".to_owned())), true, "abc");
        add(&mut out, ModuleAnswer::Outcome(Outcome::ProcessingFailed(" ".to_owned())), true, "abc");
        let messages: Vec<_> = out
            .verdicts
            .iter()
            .map(|v| match v {
                TransformVerdict::Failed(f) => f.message.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(messages, ["a\\nb (module abc)", "it gave no reason (module abc)"]);
    }
}
