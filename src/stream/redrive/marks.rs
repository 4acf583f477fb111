//! Marks of what was put in again: objects beside the failures, `_hydrant/redriven/STREAM/OBJECT/<id>.json`. Each says
//! which lines of a failure object were, for good; no line is in two of them.

use crate::deliver::warehouse::manifest;
use crate::deliver::{Body, Shipment};
use crate::error::{Error, Kind, Result};
use crate::stream::state_log::ledger::Line;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

const FOLDER: &str = "_hydrant/redriven";

/// A mark: which lines of a failure object were put in again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RedriveMark {
    pub object: String,
    /// First line, from 0, and how many. A manifest has loads instead.
    pub lines: Vec<(u64, u64)>,
    /// Of a manifest: records in these loads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    pub redriven_ms: u64,
}

impl RedriveMark {
    /// Where the marks of a stream are, in the store that its failures are in.
    pub fn of_stream(stream: &str) -> String {
        format!("{FOLDER}/{stream}/")
    }

    /// Where those of one object are.
    pub fn of_object(stream: &str, object: &str) -> String {
        format!("{FOLDER}/{stream}/{object}/")
    }

    pub fn read(name: &str, bytes: &[u8]) -> Result<RedriveMark> {
        serde_json::from_slice(bytes)
            .map_err(|e| Error::new(Kind::Corrupt, format!("the mark `{name}` cannot be read: {e}")))
    }

    fn count(&self) -> u64 {
        self.lines.iter().map(|(_, n)| n).sum()
    }

    /// The mark as an object, whose name follows from what it says.
    pub fn shipment(&self, stream: &str) -> Shipment {
        let hash = Sha256::new_with_prefix(&self.object).chain_update(format!("{:?}", self.lines)).finalize();
        let id: [u8; 16] = hash[..16].try_into().expect("sixteen bytes");
        let id = uuid::Builder::from_custom_bytes(id).into_uuid();
        let bytes = serde_json::to_vec(self).expect("plain values always serialise into memory");
        Shipment {
            plan: 0,
            id,
            outputs: self.count(),
            digest: u128::from_le_bytes(hash[16..].try_into().expect("sixteen bytes")),
            name: format!("{}{id}.json", RedriveMark::of_object(stream, &self.object)),
            planned_ms: 0,
            content_encoding: None,
            body: Arc::new(Body::of(bytes)),
            only_look: false,
        }
    }
}

/// How many lines an object holds, a manifest how many loads: what marks count.
pub fn lines_of(body: &Body) -> io::Result<u64> {
    let mut plain = body.plain()?;
    if manifest::begins(plain.fill_buf()?) {
        let mut text = Vec::new();
        plain.read_to_end(&mut text)?;
        return manifest::read(&text).map(|manifest| manifest.loads.len() as u64).map_err(io::Error::other);
    }
    let (mut lines, mut is_within) = (0, false);
    loop {
        let piece = plain.fill_buf()?;
        let Some(last) = piece.last() else { return Ok(lines + is_within as u64) };
        is_within = *last != b'\n';
        lines += piece.iter().filter(|&&b| b == b'\n').count() as u64;
        let read = piece.len();
        plain.consume(read);
    }
}

/// The marks of a stream, by store and object.
#[derive(Default)]
pub struct RedriveMarks(BTreeMap<(String, String), RedrivenObject>);

/// What the marks of an object say together.
#[derive(Default)]
pub struct RedrivenObject(Vec<RedriveMark>);

impl RedriveMarks {
    /// Adds a mark that is in `store`.
    pub fn add(&mut self, store: &str, mark: RedriveMark) {
        self.0.entry((store.to_owned(), mark.object.clone())).or_default().0.push(mark);
    }

    /// Takes out what was put in again of a line's object.
    pub fn take(&mut self, line: &Line) -> RedrivenObject {
        self.0.remove(&(line.store.clone(), line.name.clone())).unwrap_or_default()
    }

    /// Store, name and what was put in again of each object that was not taken out.
    pub fn rest(self) -> impl Iterator<Item = (String, String, RedrivenObject)> {
        self.0.into_iter().map(|((store, name), redriven)| (store, name, redriven))
    }
}

impl RedrivenObject {
    pub fn records(&self) -> u64 {
        self.0.iter().map(|mark| mark.records.unwrap_or(mark.count())).sum()
    }

    /// What cannot be, of an object that holds so many lines.
    pub fn problems(&self, lines: u64) -> Vec<String> {
        let mut runs: Vec<(u64, u64)> = self.0.iter().flat_map(|mark| mark.lines.iter().copied()).collect();
        runs.sort_unstable();
        let (mut problems, mut behind) = (Vec::new(), 0);
        for (first, count) in runs {
            if first < behind {
                problems.push(format!("two marks say of line {} that it was redriven: it was, twice", first + 1));
            }
            behind = behind.max(first.saturating_add(count));
        }
        if behind > lines {
            problems.push(format!("a mark says of line {behind} that it was redriven, and it holds {lines}"));
        }
        problems
    }
}
