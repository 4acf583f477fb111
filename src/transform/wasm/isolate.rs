//! The search for the records that make a batch fail.
//!
//! A batch that fails is halved, the halves are called with, and so on until a record stands alone. The largest part is
//! always next, so that when the calls run out only small parts are left and few innocent records are in them. The
//! number of calls is limited and not their time: what becomes of a record must not depend on the machine's load.

use super::code;
use super::fault::ModuleFault;
use crate::error::Result;
use crate::transform::TransformFailure;
use std::collections::VecDeque;
use std::ops::Range;

#[derive(Clone, Copy, Debug)]
pub(super) struct CallLimits {
    pub max_calls: u32,
    /// More tries after a time-out, of the whole batch and of a record alone. A half is a new try of its batch anyway.
    pub retries: u32,
}

/// Records that were judged in one call, or that fail together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BatchPart<A> {
    pub range: Range<usize>,
    pub outcome: Result<A, TransformFailure>,
}

/// Calls with `batch` and then with parts of it, until each record is in one part. The parts come in order. `module` is
/// for messages. An error of `call` ends the search.
pub(super) fn isolate<A>(
    batch: Range<usize>,
    limits: CallLimits,
    module: &str,
    mut call: impl FnMut(Range<usize>) -> Result<Result<A, ModuleFault>>,
) -> Result<Vec<BatchPart<A>>> {
    let mut calls = 0;
    let mut parts = Vec::new();
    let mut pending = VecDeque::from([(batch, None)]);
    while let Some((range, parent)) = pending.pop_front() {
        if let Some(fault) = parent.as_ref().filter(|_| calls >= limits.max_calls) {
            parts.push(BatchPart { range, outcome: Err(left_over(fault, limits.max_calls, module)) });
            continue;
        }
        let retries = if parent.is_none() || range.len() == 1 { limits.retries } else { 0 };
        let mut tries = 0;
        let outcome = loop {
            calls += 1;
            tries += 1;
            match call(range.clone())? {
                Err(fault) if fault.is_timeout() && tries <= retries && calls < limits.max_calls => {}
                done => break done,
            }
        };
        match outcome {
            Ok(answers) => parts.push(BatchPart { range, outcome: Ok(answers) }),
            Err(fault) if range.len() == 1 => {
                // A guest is deterministic: only of time-outs does it matter how often they were tried.
                let attempts = if fault.is_timeout() { tries } else { 1 };
                parts.push(BatchPart { range, outcome: Err(fault.failed(attempts, module)) });
            }
            Err(fault) => {
                let middle = range.start + range.len() / 2;
                pending.push_back((range.start..middle, Some(fault.clone())));
                pending.push_back((middle..range.end, Some(fault)));
            }
        }
    }
    parts.sort_by_key(|part| part.range.start);
    Ok(parts)
}

/// Among other records, or with the calls that time-outs used up, these may be judged after all: it may differ.
fn left_over(fault: &ModuleFault, max_calls: u32, module: &str) -> TransformFailure {
    let message = format!(
        "its batch failed and the record at fault was not found within {max_calls} calls; the last was `{}`: {}",
        fault.code,
        fault.failed(1, module).message
    );
    TransformFailure { code: code::ISOLATION_BUDGET, message, attempts: 1, may_differ: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(code: &'static str) -> ModuleFault {
        ModuleFault { code, what: "it fell".to_owned(), last_log: None, may_differ: code == code::TIMEOUT }
    }

    /// Calls that fail whenever one of `guilty` is among the records. Gives the parts, and the sizes called with.
    fn search(
        n: usize,
        guilty: &[usize],
        code: &'static str,
        max_calls: u32,
        retries: u32,
    ) -> (Vec<BatchPart<usize>>, Vec<usize>) {
        let mut sizes = Vec::new();
        let parts = isolate(0..n, CallLimits { max_calls, retries }, "abc", |range| {
            sizes.push(range.len());
            let bad = guilty.iter().any(|g| range.contains(g));
            Ok(if bad { Err(fault(code)) } else { Ok(range.len()) })
        });
        let parts = parts.unwrap();
        let mut next = 0;
        for part in &parts {
            assert_eq!(part.range.start, next, "parts follow each other");
            next = part.range.end;
        }
        assert_eq!(next, n, "every record is in one part");
        (parts, sizes)
    }

    fn failed(parts: &[BatchPart<usize>]) -> Vec<(usize, &'static str)> {
        parts
            .iter()
            .filter_map(|p| p.outcome.as_ref().err().map(|f| (p.range.clone(), f.code)))
            .flat_map(|(range, code)| range.map(move |i| (i, code)))
            .collect()
    }

    #[test]
    fn innocent_records_take_one_call() {
        let (parts, sizes) = search(500, &[], code::TRAP, 64, 1);
        assert_eq!(parts, [BatchPart { range: 0..500, outcome: Ok(500) }]);
        assert_eq!(sizes, [500]);
    }

    #[test]
    fn every_single_guilty_record_is_found_in_at_most_19_calls() {
        for guilty in 0..500 {
            let (parts, sizes) = search(500, &[guilty], code::TRAP, 64, 1);
            assert_eq!(failed(&parts), [(guilty, code::TRAP)]);
            assert!(sizes.len() <= 19, "{guilty}: {} calls", sizes.len());
        }
    }

    #[test]
    fn only_the_whole_batch_and_the_record_alone_are_tried_again_after_a_time_out() {
        let (parts, sizes) = search(8, &[5], code::TIMEOUT, 64, 2);
        assert_eq!(sizes, [8, 8, 8, 4, 4, 2, 2, 1, 1, 1, 1]);
        let alone = parts.iter().find(|p| p.range == (5..6)).unwrap().outcome.as_ref().unwrap_err();
        assert_eq!((alone.code, alone.attempts, alone.may_differ), (code::TIMEOUT, 3, true));
        assert_eq!(alone.message, "it fell (module abc)");
    }

    #[test]
    fn when_the_calls_run_out_only_small_parts_are_left() {
        let guilty: Vec<usize> = (0..500).step_by(50).collect();
        let (parts, sizes) = search(500, &guilty, code::TRAP, 64, 1);
        assert_eq!(sizes.len(), 64);
        let failed = failed(&parts);
        assert!(failed.iter().all(|(_, code)| *code == code::ISOLATION_BUDGET || *code == code::TRAP));
        assert!(guilty.iter().all(|g| failed.iter().any(|(i, _)| i == g)));
        let largest = parts.iter().filter(|p| p.outcome.is_err()).map(|p| p.range.len()).max();
        assert!(largest <= Some(16), "{largest:?}");
    }

    #[test]
    fn all_guilty_all_fail_within_the_calls_and_one_call_is_always_made() {
        let everyone: Vec<usize> = (0..500).collect();
        for (max_calls, made) in [(64, 64), (2, 2), (1, 1), (0, 1)] {
            let (parts, sizes) = search(500, &everyone, code::TIMEOUT, max_calls, 0);
            assert_eq!((failed(&parts).len(), sizes.len()), (500, made));
            let first = parts[0].outcome.as_ref().unwrap_err();
            assert!(first.may_differ && first.code == code::ISOLATION_BUDGET, "{first:?}");
        }
    }

    #[test]
    fn an_error_of_the_call_is_the_end() {
        let stop = || crate::error::Error::new(crate::error::Kind::Misconfigured, "no");
        let limits = CallLimits { max_calls: 9, retries: 0 };
        assert!(isolate::<()>(0..4, limits, "abc", |_| Err(stop())).is_err());
    }
}
