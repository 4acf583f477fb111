//! What an epoch does to records: transform, then partition, then format, joined. The only place where these steps
//! meet; no plans, no I/O.

use crate::compress::Compression;
use crate::deliver::error_record::ErrorRecord;
use crate::destination::{Payload, StoreName};
use crate::error::{Error, Kind, Result};
use crate::format::coverage::ColumnCoverage;
use crate::format::metadata::RecordFacts;
use crate::format::{Converted, NotConverted, RecordFormat, Rows};
use crate::partition::key::Key;
use crate::partition::prefix::Prefix;
use crate::record::{EntryPoint, Origin, Records, keyed};
use crate::stream::plan::{Outlet, Reason};
use crate::transform::{PartitionKeys, RecordTransform, TransformFailure, TransformVerdict as FromTransform};
use std::collections::HashMap;
use std::sync::Arc;

/// A stream's configuration in force, as far as an epoch fixes it.
pub struct Route {
    pub transform: Option<Box<dyn RecordTransform>>,
    pub prefix: Prefix,
    pub error_prefix: Prefix,
    pub format: RecordFormat,
    pub compress: Compression,
    /// Replaces the format's extension (`FileExtension`).
    pub extension: Option<String>,
    pub time_zone: jiff::tz::TimeZone,
    /// Where the destination is.
    pub store: StoreName,
    pub takes: Payload,
    pub failures: FailureRoute,
    pub backup: Option<BackupRoute>,
}

/// Where failures go.
pub struct FailureRoute {
    pub store: StoreName,
    pub compress: Compression,
    /// Of records that the destination did not take: their Firehose error type, below the error prefix.
    pub undelivered: &'static str,
    /// Where manifests go of objects that were given up on whole, if the destination has such.
    pub manifests: Option<Prefix>,
}

/// What is shown as the error type of manifests.
pub const MANIFESTS: &str = "manifests";

/// The error type of backup objects that their store did not take. They are never put in again: what they hold went its way.
const BACKUP_FAILED: &str = "backup-failed";

/// Where source records are copied to.
pub struct BackupRoute {
    pub store: StoreName,
    pub prefix: Prefix,
    pub compress: Compression,
}

/// Records of a lane on their way, with what the journal knows of each.
#[derive(Default)]
pub struct Chunk {
    pub records: Arc<Records>,
    pub offsets: Vec<u64>,
    pub arrivals: Vec<u64>,
    /// Where each stands in a log that is somebody else's; else empty.
    pub origins: Vec<Origin>,
    pub entry: EntryPoint,
}

impl Chunk {
    /// Adds a record, without its origin.
    pub fn push(&mut self, record: &[u8], offset: u64, arrival_ms: u64) {
        // Nobody shares a chunk's records while it is being filled, so nothing is copied.
        Arc::make_mut(&mut self.records).push(record);
        self.offsets.push(offset);
        self.arrivals.push(arrival_ms);
    }

    /// Adds record `i` of another chunk.
    pub fn push_of(&mut self, other: &Chunk, i: usize) {
        self.push(other.records.get(i), other.offsets[i], other.arrivals[i]);
        self.origins.extend(other.origins.get(i).cloned());
    }
}

/// A chunk, judged.
pub struct Judged {
    /// The chunk's own records where there is no transform.
    pub outputs: Arc<Records>,
    pub rows: Rows,
    /// Distinct keys, and of each output the index of its key.
    pub keys: Vec<Key>,
    pub key_of: Vec<u32>,
    /// Of each output, as far as a transform gave any.
    pub partition_keys: Vec<PartitionKeys>,
    /// One per record.
    pub verdicts: Vec<RecordVerdict>,
    /// What the rows show of the columns, if there are any.
    pub coverage: Option<ColumnCoverage>,
}

/// How a record ends.
pub enum RecordVerdict {
    /// Outputs `first .. first + count`.
    Kept {
        first: u32,
        count: u32,
    },
    Dropped,
    Failed {
        outlet: Outlet,
        reason: Reason,
        raw: Raw,
        may_differ: bool,
    },
}

/// The bytes an error record holds: what the failing step was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raw {
    Source,
    Output(u32),
}

impl Route {
    /// Records and bytes to judge at once.
    pub fn chunk_limits(&self) -> (usize, usize) {
        self.transform.as_ref().map_or((4096, 1 << 20), |t| t.batch_limits())
    }

    /// Judges a chunk. `now_ms` is stamped on failures.
    pub fn judge(&self, chunk: &Chunk, now_ms: u64) -> Result<Judged> {
        let (outputs, partition_keys, mut verdicts) = match &self.transform {
            Some(transform) if chunk.entry.is_before_transform() => {
                let done = transform.apply(&chunk.records, &chunk.arrivals, &chunk.origins)?;
                let verdicts = done.verdicts.into_iter().map(|v| RecordVerdict::from_transform(v, now_ms)).collect();
                (Arc::new(done.outputs), done.partition_keys, verdicts)
            }
            _ if chunk.entry == EntryPoint::Keyed => {
                let unpacked = keyed::unpack(&chunk.records);
                let (outputs, keys) =
                    unpacked.ok_or_else(|| Error::new(Kind::Bug, "a record with keys was not packed so"))?;
                (Arc::new(outputs), keys, RecordVerdict::all_kept(chunk.records.len()))
            }
            _ => (chunk.records.clone(), Vec::new(), RecordVerdict::all_kept(chunk.records.len())),
        };
        let is_source = chunk.entry.is_before_transform();
        let (keys, key_of, bad_keys) = self.partition(&partition_keys, outputs.len());
        let is_transformed = is_source && self.transform.is_some();
        let made_of = (is_transformed && self.format.has_metadata()).then(|| records_of_outputs(&verdicts));
        let facts = RecordFacts { made_of, arrivals: &chunk.arrivals, origins: &chunk.origins };
        let mut converted = self.format.convert(&outputs, &facts);
        if self.takes == Payload::Rows {
            converted.failed.extend(without_row(&outputs));
        }
        fail_outputs(
            &mut verdicts,
            is_source,
            bad_keys.into_iter().map(|(i, message)| {
                let code = "Transform.InvalidPartitionKey".to_owned();
                (i, Outlet::ProcessingFailed, Reason { code, message, attempts: 1, ended_ms: now_ms })
            }),
        );
        fail_outputs(
            &mut verdicts,
            is_source,
            std::mem::take(&mut converted.failed).into_iter().map(|(i, why)| {
                let reason = Reason { code: why.code.into(), message: why.message, attempts: 1, ended_ms: now_ms };
                (i, Outlet::ConversionFailed, reason)
            }),
        );
        let Converted { rows, coverage, .. } = converted;
        Ok(Judged { outputs, rows, keys, key_of, partition_keys, verdicts, coverage })
    }

    /// The key of each output, and the outputs whose partition keys cannot be used.
    fn partition(&self, given: &[PartitionKeys], outputs: usize) -> (Vec<Key>, Vec<u32>, Vec<(usize, String)>) {
        let (mut keys, mut known, mut bad) = (Vec::new(), HashMap::new(), Vec::new());
        let mut key_of = Vec::with_capacity(outputs);
        if given.is_empty() || self.prefix.partition_keys_used().is_empty() {
            match self.prefix.key(None, &[]) {
                Ok(key) => keys.push(key),
                Err(e) => bad.extend((0..outputs).map(|i| (i, e.to_string()))),
            }
            return (keys, vec![0; outputs], bad);
        }
        for (i, values) in given.iter().enumerate() {
            let key = known.entry(values.as_slice()).or_insert_with(|| {
                let key = self.prefix.key(None, values).map_err(|e| e.to_string())?;
                let index = keys.iter().position(|k| *k == key).unwrap_or_else(|| {
                    keys.push(key);
                    keys.len() - 1
                });
                Ok(index as u32)
            });
            match key {
                Ok(index) => key_of.push(*index),
                Err(message) => {
                    let message: &String = message;
                    bad.push((i, message.clone()));
                    key_of.push(u32::MAX);
                }
            }
        }
        (keys, key_of, bad)
    }

    /// The key of an outlet's error records.
    pub fn failure_key(&self, outlet: Outlet) -> Key {
        let error_type = if outlet == Outlet::DeliveryFailed { self.failures.undelivered } else { outlet.name() };
        self.error_prefix.key(Some(error_type), &[]).expect("an error prefix is checked with the longest error type")
    }

    /// Where each kind of failure stands: its error type, and what the names of its objects begin with.
    pub fn failure_places(&self) -> Vec<(&'static str, String)> {
        let kinds = [Outlet::ProcessingFailed.name(), Outlet::ConversionFailed.name()];
        let mut places: Vec<_> = kinds.into_iter().map(|kind| (kind, self.error_prefix.beginning(kind))).collect();
        let undelivered = self.failures.undelivered;
        places.push((undelivered, self.error_prefix.beginning(undelivered)));
        places.extend(self.failures.manifests.as_ref().map(|place| (MANIFESTS, place.beginning(""))));
        places
    }

    /// The key of what was meant for a backup that was given up on.
    pub fn failed_backup_key(&self) -> Key {
        self.error_prefix.key(Some(BACKUP_FAILED), &[]).expect("an error prefix is checked with the longest error type")
    }

    /// The key of manifests, if the destination has such.
    pub fn manifest_key(&self) -> Option<Key> {
        let place = self.failures.manifests.as_ref()?;
        Some(place.key(None, &[]).expect("a prefix without partition keys"))
    }

    pub fn content_encoding(&self, outlet: Outlet) -> Option<&'static str> {
        match outlet {
            Outlet::Destination => self.format.content_encoding().or(self.compress.content_encoding()),
            Outlet::Backup => self.backup.as_ref().and_then(|b| b.compress.content_encoding()),
            _ => self.failures.compress.content_encoding(),
        }
    }

    /// The extension of an outlet's objects; error objects have none of their own (docs/firehose.md: "Extensions").
    pub fn extension(&self, outlet: Outlet) -> &str {
        match outlet {
            Outlet::Destination => match &self.extension {
                Some(given) => given,
                None => self.format.extension().unwrap_or(self.compress.extension()),
            },
            Outlet::Backup => self.backup.as_ref().map_or("", |b| b.compress.extension()),
            _ => self.failures.compress.extension(),
        }
    }

    pub fn store(&self, outlet: Outlet) -> &StoreName {
        match (&self.backup, outlet) {
            (Some(backup), Outlet::Backup) => &backup.store,
            (_, outlet) if outlet.is_failure() => &self.failures.store,
            _ => &self.store,
        }
    }
}

impl RecordVerdict {
    /// Every record is its own output.
    fn all_kept(records: usize) -> Vec<RecordVerdict> {
        (0..records as u32).map(|first| RecordVerdict::Kept { first, count: 1 }).collect()
    }

    fn from_transform(verdict: FromTransform, now_ms: u64) -> RecordVerdict {
        match verdict {
            FromTransform::Kept { first, count } => RecordVerdict::Kept { first, count },
            FromTransform::Dropped => RecordVerdict::Dropped,
            FromTransform::Failed(TransformFailure { code, message, attempts, may_differ }) => RecordVerdict::Failed {
                outlet: Outlet::ProcessingFailed,
                reason: Reason { code: code.to_owned(), message, attempts, ended_ms: now_ms },
                raw: Raw::Source,
                may_differ,
            },
        }
    }
}

impl Judged {
    /// What an error record of a chunk's record `i` holds, and the partition keys of that; `None`: it is the record as its
    /// source gave it.
    pub fn given<'a>(&'a self, chunk: &'a Chunk, i: usize, raw: Raw) -> (&'a [u8], Option<&'a PartitionKeys>) {
        const NONE: &PartitionKeys = &Vec::new();
        match raw {
            Raw::Source => (chunk.records.get(i), None),
            Raw::Output(output) => {
                let output = output as usize;
                (self.outputs.get(output), Some(self.partition_keys.get(output).unwrap_or(NONE)))
            }
        }
    }
}

/// Of each output, the record that it was made of.
fn records_of_outputs(verdicts: &[RecordVerdict]) -> Vec<u32> {
    let of_record = |(i, verdict): (u32, &RecordVerdict)| match verdict {
        RecordVerdict::Kept { count, .. } => std::iter::repeat_n(i, *count as usize),
        _ => std::iter::repeat_n(i, 0),
    };
    (0..).zip(verdicts).flat_map(of_record).collect()
}

/// Turns records with a failed output into failed records, whole: none of their other outputs is kept. Failures come in
/// order of outputs; the first one of a record counts. `is_source`: the records are as their source gave them.
fn fail_outputs(
    verdicts: &mut [RecordVerdict],
    is_source: bool,
    failures: impl Iterator<Item = (usize, Outlet, Reason)>,
) {
    let mut failures = failures.peekable();
    for verdict in verdicts {
        if failures.peek().is_none() {
            return;
        }
        let RecordVerdict::Kept { first, count } = *verdict else { continue };
        let range = first as usize..(first + count) as usize;
        while let Some((i, outlet, reason)) = failures.next_if(|(i, ..)| *i < range.end) {
            if range.contains(&i) && matches!(verdict, RecordVerdict::Kept { .. }) {
                // Alone, an output can be tried again from where it failed; one of several only from the source.
                let from_source = is_source && (count > 1 || outlet == Outlet::ProcessingFailed);
                let raw = if from_source { Raw::Source } else { Raw::Output(i as u32) };
                *verdict = RecordVerdict::Failed { outlet, reason, raw, may_differ: false };
            }
        }
    }
}

/// Outputs that would become no row of a table: nobody would miss them there. Code and message are Firehose's
/// (docs/firehose.md: "Codes of failures").
fn without_row(outputs: &Records) -> impl Iterator<Item = (usize, NotConverted)> {
    let blank = outputs.iter().enumerate().filter(|(_, output)| output.trim_ascii().is_empty());
    blank.map(|(i, _)| {
        let message = "The record was empty or contained only whitespace.".to_owned();
        (i, NotConverted { code: "DataFormatConversion.MalformedData", message })
    })
}

/// A failed record, or one output of it, as its error record tells of it.
pub struct Told<'a> {
    pub reason: &'a Reason,
    pub offset: u64,
    pub output: u32,
    pub arrival_ms: u64,
    pub raw: &'a [u8],
    /// What the transform gave with `raw`; `None`: that is the record as its source gave it.
    pub keys: Option<&'a PartitionKeys>,
}

/// Appends the error record of a failed record.
pub fn error_line(outlet: Outlet, told: &Told, out: &mut Vec<u8>) {
    let record = ErrorRecord {
        raw_data: base64_simd::STANDARD.encode_to_string(told.raw),
        error_code: &told.reason.code,
        error_message: &told.reason.message,
        attempts_made: told.reason.attempts,
        arrival_timestamp: told.arrival_ms,
        attempt_ending_timestamp: told.reason.ended_ms,
    };
    match outlet {
        Outlet::ConversionFailed => record.conversion_line(told.offset, told.keys, out),
        Outlet::DeliveryFailed => record.delivery_line((told.offset, told.output), told.keys, out),
        _ => record.line(out),
    }
}
