//! The verdict: what stands in the bucket, against what the clients know.

use super::record::{Fate, Id, Kind};
use crate::rig::bucket::{Bucket, Object};
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use flate2::read::GzDecoder;
use hydrant::stream::supervise::Status;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;

/// One place where a record was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Under the first or second configuration's prefix, with a key for stream `a`.
    Output {
        second: bool,
        key: Option<char>,
    },
    Failure {
        code: String,
    },
    Backup,
}

/// What an object's name says.
struct Name {
    stream: usize,
    place: Place,
    epoch: u64,
}

/// Everything found so far. Objects never change, so that each is read once.
#[derive(Default)]
pub struct Judge {
    objects: HashMap<String, String>,
    /// Objects of somebody else, that have to stay as they are.
    pub foreign: HashMap<String, String>,
    plans: HashMap<String, String>,
    /// Which configuration an epoch's objects were made under.
    epochs: HashMap<(usize, u64), bool>,
    found: HashMap<Id, Vec<Place>>,
    problems: Vec<String>,
    pub sums: Sums,
}

/// The last verdict, in numbers.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    pub acked: u64,
    pub in_doubt: u64,
    pub refused: u64,
    pub accepted: u64,
    pub delivered: u64,
    pub dropped: u64,
    pub failed: u64,
    /// Failed records by code.
    pub codes: BTreeMap<String, u64>,
    pub objects: u64,
}

impl Judge {
    /// Reads what is new in the bucket, and sees that nothing old has changed.
    pub fn look(&mut self, bucket: &Bucket) -> Result<(), String> {
        let listed: HashMap<String, String> = bucket.list()?.into_iter().collect();
        for (name, tag) in self.objects.iter().chain(&self.foreign) {
            match listed.get(name) {
                Some(now) if now == tag => {}
                now => self.problems.push(format!("object `{name}` has changed: tag {tag}, now {now:?}")),
            }
        }
        // The service's own notes to itself hold no record.
        let records = listed.keys().filter(|name| !name.starts_with("_hydrant/") && !name.starts_with("_ledger/"));
        let is_new = |name: &&String| !self.objects.contains_key(*name) && !self.foreign.contains_key(*name);
        let new: Vec<String> = records.filter(is_new).cloned().collect();
        let read = bucket.read(new, |object| {
            let plan = object.metadata.get("hydrant-plan").cloned().unwrap_or_default();
            let parsed = parse(&object);
            (object.name, plan, parsed)
        })?;
        for (name, plan, parsed) in read {
            self.objects.insert(name.clone(), listed[&name].clone());
            if let Some(other) = self.plans.insert(plan, name.clone()) {
                self.problems.push(format!("`{name}` and `{other}` are of one plan"));
            }
            match parsed {
                Err(e) => self.problems.push(format!("object `{name}`: {e}")),
                Ok((is, ids)) => self.note(&name, is, ids),
            }
        }
        Ok(())
    }

    fn note(&mut self, name: &str, is: Name, ids: Vec<(Id, Place)>) {
        if let Place::Output { second, .. } = is.place
            && *self.epochs.entry((is.stream, is.epoch)).or_insert(second) != second
        {
            self.problems.push(format!("`{name}`: epoch {} has objects of both configurations", is.epoch));
        }
        for (id, place) in ids {
            if id.stream() != is.stream {
                self.problems.push(format!("`{name}` holds record {} of the other stream", id.0));
            }
            self.found.entry(id).or_default().push(place);
        }
    }

    /// Holds what was found against what the clients know and what the service counts; at rest only.
    pub fn verdict(&mut self, known: &BTreeMap<Id, Fate>, statuses: &BTreeMap<String, Status>) -> Result<(), String> {
        let mut wrong = self.problems.clone();
        let mut sums = [Sums::default(), Sums::default()];
        for (&id, &fate) in known {
            let places = self.found.get(&id).map_or(&[][..], Vec::as_slice);
            let sum = &mut sums[id.stream()];
            wrong.extend(
                judge(id, fate, places, sum).err().map(|why| format!("record {id:?}, {fate:?}: {why}: {places:?}")),
            );
        }
        let phantoms = self.found.keys().filter(|id| !known.contains_key(id));
        wrong.extend(phantoms.map(|id| format!("record {id:?} was never sent")));
        for (sum, name) in sums.iter().zip(super::load::STREAMS) {
            let status = &statuses[name];
            let records = |outlet: &str| status.outlets.get(outlet).map_or(0, |o| o.records);
            let failed = records("processing-failed") + records("format-conversion-failed");
            let counted = [status.accepted, records("destination"), records("dropped"), failed, records("backup")];
            let found = [sum.accepted, sum.delivered, sum.dropped, sum.failed, sum.accepted];
            if counted != found || status.gap != 0 {
                wrong.push(format!(
                    "{name} counts [accepted, delivered, dropped, failed, backup] {counted:?}, found {found:?}: {status:?}"
                ));
            }
        }
        let [mut all, b] = sums;
        all.add(b);
        all.objects = self.objects.len() as u64;
        self.sums = all;
        match wrong.len() {
            0 => Ok(()),
            n => Err(format!("{n} problems:\n  {}", wrong[..n.min(8)].join("\n  "))),
        }
    }
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.acked += other.acked;
        self.in_doubt += other.in_doubt;
        self.refused += other.refused;
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.failed += other.failed;
        other.codes.into_iter().for_each(|(code, n)| *self.codes.entry(code).or_default() += n);
    }
}

/// Judges one record by all the places where it was found.
fn judge(id: Id, fate: Fate, places: &[Place], sum: &mut Sums) -> Result<(), &'static str> {
    let backups = places.iter().filter(|p| **p == Place::Backup).count();
    let main: Vec<&Place> = places.iter().filter(|p| **p != Place::Backup).collect();
    match fate {
        Fate::Acked => sum.acked += 1,
        Fate::InDoubt => sum.in_doubt += 1,
        Fate::Refused => sum.refused += 1,
    }
    match (fate, backups) {
        (Fate::Acked, 0) => return Err("LOST from the backup"),
        (Fate::Refused, 1..) => return Err("refused and taken"),
        (_, 2..) => return Err("TWICE in the backup"),
        (_, 0) if main.is_empty() => return Ok(()),
        (_, 0) => return Err("delivered and not in the backup"),
        _ => sum.accepted += 1,
    }
    let kind = id.kind().ok_or("no such kind")?;
    if main.is_empty() && kind != Kind::Dropped {
        return Err("LOST from the main track");
    }
    if let [Place::Failure { code }] = main.as_slice() {
        sum.failed += 1;
        *sum.codes.entry(code.clone()).or_default() += 1;
        // With a transform that runs out of time, any record may be among those that were not told apart.
        let unlucky = id.stream() == 0 && ["Transform.Timeout", "Transform.IsolationBudget"].contains(&&**code);
        let expected = match kind {
            Kind::Failed => code == "Transform.ProcessingFailed",
            Kind::Trap => code == "Transform.Trap",
            Kind::Keyless => code == "Transform.InvalidPartitionKey",
            Kind::NoRow => !code.starts_with("Transform."),
            _ => false,
        };
        return if unlucky || expected { Ok(()) } else { Err("failed for a wrong reason") };
    }
    let output = |second, key| Place::Output { second, key };
    let is = |expected: &[Place]| main.len() == expected.len() && expected.iter().all(|e| main.contains(&e));
    let right = match kind {
        Kind::Keyed | Kind::Slow => [false, true].into_iter().any(|second| is(&[output(second, Some(id.key()))])),
        Kind::Twice => is(&[output(false, Some('a')), output(false, Some('b'))]) || is(&[output(true, Some('a'))]),
        Kind::Row => is(&[output(false, None)]) || is(&[output(true, None)]),
        Kind::NoRow => is(&[output(false, None)]),
        Kind::Dropped => main.is_empty(),
        Kind::Failed | Kind::Trap | Kind::Keyless => false,
    };
    match kind {
        _ if !right => return Err("not in exactly the places where it belongs (TWICE, or in part)"),
        Kind::Dropped => sum.dropped += 1,
        _ => sum.delivered += 1,
    }
    Ok(())
}

/// Reads `main-a/one/K/a-3-<time>-<uuid>.gz` and the like.
fn name(text: &str) -> Option<Name> {
    let parts: Vec<&str> = text.split('/').collect();
    let (track, stream) = parts.first()?.rsplit_once('-')?;
    let place = match track {
        "main" => {
            let key = if stream == "a" { Some(parts.get(2)?.chars().next()?) } else { None };
            Place::Output { second: *parts.get(1)? == "two", key }
        }
        "errors" => Place::Failure { code: String::new() },
        "raw" => Place::Backup,
        _ => return None,
    };
    let stream = super::load::STREAMS.iter().position(|s| *s == stream)?;
    Some(Name { stream, place, epoch: parts.last()?.split('-').nth(1)?.parse().ok()? })
}

fn parse(object: &Object) -> Result<(Name, Vec<(Id, Place)>), String> {
    let is = name(&object.name).ok_or("a name of nobody")?;
    let mut bytes = object.bytes.clone();
    if object.name.ends_with(".gz") {
        bytes.clear();
        GzDecoder::new(&*object.bytes).read_to_end(&mut bytes).map_err(|e| format!("not gzip: {e}"))?;
    }
    let ids: Vec<(Id, Place)> = match &is.place {
        Place::Failure { .. } => failures(&bytes)?,
        place if object.name.ends_with(".parquet") => rows(bytes)?.into_iter().map(|id| (id, place.clone())).collect(),
        place => {
            let newline = matches!(place, Place::Output { .. });
            records(&bytes, newline)?.into_iter().map(|id| (id, place.clone())).collect()
        }
    };
    let listed = object.metadata.get("hydrant-outputs").and_then(|n| n.parse().ok());
    match listed == Some(ids.len()) {
        true => Ok((is, ids)),
        false => Err(format!("it holds {} records, its metadata says {listed:?}", ids.len())),
    }
}

/// Records side by side, with or without a newline after each.
fn records(bytes: &[u8], newline: bool) -> Result<Vec<Id>, String> {
    let (mut at, mut ids) = (0, Vec::new());
    while at < bytes.len() {
        let Some((id, length)) = Id::at(&bytes[at..]) else {
            let shown = bytes[at..].escape_ascii().take(100);
            return Err(format!("no whole record at byte {at}: {}", shown.map(char::from).collect::<String>()));
        };
        ids.push(id);
        at += length;
        if newline && bytes.get(at) != Some(&b'\n') {
            return Err(format!("no newline at byte {at}"));
        }
        at += usize::from(newline);
    }
    Ok(ids)
}

fn failures(bytes: &[u8]) -> Result<Vec<(Id, Place)>, String> {
    let lines = bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    lines
        .map(|line| {
            let line: serde_json::Value = serde_json::from_slice(line).map_err(|e| e.to_string())?;
            let raw = base64_simd::STANDARD.decode_to_vec(line["rawData"].as_str().unwrap_or_default());
            let raw = raw.map_err(|e| e.to_string())?;
            let code = line["errorCode"].as_str().or(line["lastErrorCode"].as_str()).unwrap_or_default().to_owned();
            match records(&raw, false)?.as_slice() {
                [id] => Ok((*id, Place::Failure { code })),
                ids => Err(format!("{} records in one error record with the code `{code}`", ids.len())),
            }
        })
        .collect()
}

fn rows(bytes: Vec<u8>) -> Result<Vec<Id>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).and_then(|b| b.build());
    let batches: Result<Vec<RecordBatch>, _> = reader.map_err(|e| e.to_string())?.collect();
    let mut ids = Vec::new();
    for batch in batches.map_err(|e| e.to_string())? {
        let (id, pad) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
        for row in 0..batch.num_rows() {
            let id = Id(id.value(row) as u64);
            if id.kind() != Some(Kind::Row) || pad.value(row) != id.pad() {
                return Err(format!("row {row} is not what record {} was", id.0));
            }
            ids.push(id);
        }
    }
    Ok(ids)
}
