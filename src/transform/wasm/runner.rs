//! A module and its settings as a [`RecordTransform`].

use super::answer::{self, ModuleAnswer};
use super::bindings::InputRecord;
use super::bindings::types::KinesisMetadata;
use super::fault::ModuleFault;
use super::host::Counters;
use super::instance::Instance;
use super::isolate::{CallLimits, isolate};
use super::module::Module;
use super::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::record::{Origin, Records};
use crate::transform::{RecordTransform, TransformVerdict, Transformed};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

/// Runs one stream's records through a module.
pub struct WasmTransform {
    module: Module,
    settings: Settings,
    /// `settings.config` as the guest gets it.
    config: String,
    seen: Mutex<SeenCalls>,
}

/// What calls have shown so far.
struct SeenCalls {
    counters: Counters,
    peak: usize,
    calls: u64,
}

/// One chunk on its way through the module. What it saw is taken over at the end: after an error the caller comes again
/// with the same records.
struct Pass<'a> {
    transform: &'a WasmTransform,
    records: &'a Records,
    arrivals: &'a [u64],
    /// Where each stood in a shard, if it did.
    origins: &'a [Origin],
    /// Of the records of a batch by position; grows to the largest batch.
    ids: Vec<String>,
    seen: SeenCalls,
}

impl SeenCalls {
    fn new(settings: &Settings) -> SeenCalls {
        SeenCalls { counters: Counters::new(settings.metric_names), peak: 0, calls: 0 }
    }
}

impl WasmTransform {
    /// Makes an instance to see that it can be made and that `init` accepts the configuration.
    pub fn new(module: Module, settings: Settings) -> Result<WasmTransform> {
        if settings.config.is_some() && !module.has_init() {
            let what = format!("there is a `config`, but the module {} does not export `init`", module.short());
            return Err(Error::new(Kind::Misconfigured, what));
        }
        let config = settings.config.as_ref().unwrap_or(&serde_json::Value::Null).to_string();
        Instance::start(&module, &settings, &config).map_err(|e| e.into_error(false))?;
        let seen = Mutex::new(SeenCalls::new(&settings));
        Ok(WasmTransform { module, settings, config, seen })
    }

    pub fn module(&self) -> &Module {
        &self.module
    }

    fn seen(&self) -> MutexGuard<'_, SeenCalls> {
        self.seen.lock().expect("nobody panics holding it")
    }

    /// Additions to metrics beyond [`Settings::metric_names`], since the last time.
    pub fn take_refused_metrics(&self) -> u64 {
        std::mem::take(&mut self.seen().counters.refused)
    }

    /// The most memory that an instance has had, in bytes.
    pub fn peak_memory(&self) -> usize {
        self.seen().peak
    }

    /// Calls made so far; more than batches given if some failed.
    pub fn calls(&self) -> u64 {
        self.seen().calls
    }
}

impl Pass<'_> {
    /// Calls with one batch on a fresh instance.
    fn call(&mut self, range: Range<usize>) -> Result<Result<Vec<ModuleAnswer>, ModuleFault>> {
        let WasmTransform { module, settings, config, .. } = self.transform;
        let deadline = settings.deadline(range.len());
        let mut instance = Instance::start(module, settings, config).map_err(|e| e.into_error(true))?;
        self.seen.calls += 1;
        let ids = &self.ids[..range.len()];
        let inputs: Vec<InputRecord<'_>> = range
            .zip(ids)
            .map(|(i, id)| InputRecord {
                record_id: id,
                data: self.records.get(i),
                approximate_arrival_timestamp: self.arrivals[i],
                kinesis: self.origins.get(i).map(|origin| KinesisMetadata {
                    shard_id: &origin.shard,
                    partition_key: &origin.partition_key,
                    sequence_number: &origin.position.sequence,
                    subsequence_number: origin.position.sub_sequence,
                    approximate_arrival_timestamp: self.arrivals[i],
                }),
            })
            .collect();
        let answered = instance.transform(&inputs, settings, deadline);
        let state = instance.into_state();
        self.seen.peak = self.seen.peak.max(state.memory.peak);
        Ok(answered.map(|answers| {
            self.seen.counters.merge(state.counters);
            answer::sort(answers, ids)
        }))
    }

    /// Gives one batch's records their verdicts.
    fn batch(&mut self, range: Range<usize>, out: &mut Transformed) -> Result<()> {
        for i in self.ids.len()..range.len() {
            self.ids.push(i.to_string());
        }
        let WasmTransform { module, settings, .. } = self.transform;
        let limits = CallLimits { max_calls: settings.isolate_max_calls, retries: settings.retries };
        for part in isolate(range, limits, module.short(), |part| self.call(part))? {
            let alone = part.range.len() == 1;
            match part.outcome {
                Ok(answers) => answers.into_iter().for_each(|a| answer::add(out, a, alone, module.short())),
                Err(failed) => out.verdicts.extend(part.range.map(|_| TransformVerdict::Failed(failed.clone()))),
            }
        }
        Ok(())
    }
}

impl RecordTransform for WasmTransform {
    fn batch_limits(&self) -> (usize, usize) {
        (self.settings.max_records, self.settings.max_bytes)
    }

    fn apply(&self, records: &Records, arrivals: &[u64], origins: &[Origin]) -> Result<Transformed> {
        if arrivals.len() != records.len() {
            let what = format!("{} records were given {} arrivals", records.len(), arrivals.len());
            return Err(Error::new(Kind::Bug, what));
        }
        let mut out = Transformed {
            outputs: Records::with_capacity(records.len(), records.bytes().len()),
            partition_keys: Vec::new(),
            verdicts: Vec::with_capacity(records.len()),
        };
        let seen = SeenCalls::new(&self.settings);
        let mut pass = Pass { transform: self, records, arrivals, origins, ids: Vec::new(), seen };
        let mut from = 0;
        while from < records.len() {
            let to = batch_end(records, from, self.batch_limits());
            pass.batch(from..to, &mut out)?;
            from = to;
        }
        let mut seen = self.seen();
        seen.counters.merge(pass.seen.counters);
        seen.peak = seen.peak.max(pass.seen.peak);
        seen.calls += pass.seen.calls;
        Ok(out)
    }

    /// Calls without an answer are left out, and nothing is counted twice because a batch was halved.
    fn take_metrics(&self) -> Vec<(String, u64)> {
        let mut seen = self.seen();
        let sums = seen.counters.sums.iter_mut().filter(|(_, sum)| **sum > 0);
        sums.map(|(name, sum)| (name.clone(), std::mem::take(sum))).collect()
    }
}

/// As many records as the limits allow, and one at least.
fn batch_end(records: &Records, from: usize, (max_records, max_bytes): (usize, usize)) -> usize {
    let mut to = from + 1;
    while to < records.len() && to - from < max_records && records.bytes_of(from, to + 1).len() <= max_bytes {
        to += 1;
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_both_limits_and_a_large_record_goes_alone() {
        let mut records = Records::default();
        for size in [1, 1, 1, 9, 1, 0, 0, 5] {
            records.push(&vec![0; size]);
        }
        let split = |limits| {
            let mut ends = vec![0];
            while ends[ends.len() - 1] < records.len() {
                ends.push(batch_end(&records, ends[ends.len() - 1], limits));
            }
            ends
        };
        assert_eq!(split((500, 1 << 20)), [0, 8]);
        assert_eq!(split((2, 1 << 20)), [0, 2, 4, 6, 8]);
        assert_eq!(split((500, 3)), [0, 3, 4, 7, 8]);
        assert_eq!(split((0, 0)), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
