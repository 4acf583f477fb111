//! What stands in the files of a ledger, a JSON object a line.

use crate::destination::StoreName;
use crate::error::Result;
use crate::stream::plan::{Outlet, Plan};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A file's first line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerHeader {
    pub format: u32,
    /// Marks and sums of all earlier files.
    pub before: LedgerSums,
}

/// The last line of an archived file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footer {
    pub totals: LedgerSums,
}

/// Where an archived file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stub {
    pub store: String,
    pub name: String,
    pub tag: String,
    /// The file's totals, with which the next file begins. Earlier versions did not keep them here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<LedgerSums>,
}

/// Running sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerSums {
    /// The last mark counted.
    pub mark: u64,
    pub outlets: BTreeMap<String, OutletSums>,
}

/// Sums of one outlet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutletSums {
    pub objects: u64,
    pub outputs: u64,
    pub records: u64,
    pub bytes: u64,
    /// Sum of the lists' digests, hexadecimal (see `list::position_hash`).
    pub digest: Digest,
}

/// A 128-bit sum as hexadecimal text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u128);

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&format!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        u128::from_str_radix(&text, 16).map(Digest).map_err(serde::de::Error::custom)
    }
}

/// One settled plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub mark: u64,
    pub plan: uuid::Uuid,
    pub outlet: String,
    pub epoch: u32,
    /// Records of which this mark settled the last output.
    pub records: u64,
    /// Further ones that count in `delivery-failed`, since another output of theirs was given up on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u64,
    pub outputs: u64,
    /// The listed offsets lie in `first..end`.
    pub first: u64,
    pub end: u64,
    pub digest: Digest,
    /// Of a backup (see `backed_up`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<Digest>,
    /// Bytes as buffered, and as stored.
    pub bytes: u64,
    pub object_bytes: u64,
    /// Where the object is; empty for outlets without a sink.
    pub store: String,
    pub name: String,
    pub tag: String,
    /// Milliseconds since the Unix epoch.
    pub settled_ms: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Line {
    /// Whether it names an object: not what was dropped, nor a request.
    pub fn is_of_object(&self) -> bool {
        self.store.parse().is_ok_and(|store: StoreName| store.objects().is_some())
    }

    /// Whether what it names holds failures.
    pub fn is_of_failures(&self) -> bool {
        self.is_of_object() && Outlet::ALL.iter().any(|o| o.is_failure() && o.name() == self.outlet)
    }

    pub fn is_of_backup(&self) -> bool {
        self.outlet == Outlet::Backup.name()
    }

    /// The line of a settled plan.
    pub fn of(plan: &Plan) -> Option<Line> {
        let mark = plan.mark.as_ref()?;
        let (store, name) = if plan.outlet.has_sink() { plan.place() } else { Default::default() };
        Some(Line {
            mark: mark.mark,
            plan: plan.id,
            outlet: plan.counts_in().name().to_owned(),
            epoch: plan.epoch,
            records: mark.completed,
            failed: mark.failed,
            outputs: plan.list.outputs(),
            first: plan.list.first(),
            end: plan.list.end(),
            digest: Digest(plan.list.digest()),
            lengths: plan.lengths.map(Digest),
            bytes: plan.bytes,
            object_bytes: mark.object_bytes,
            store: store.to_owned(),
            name: name.to_owned(),
            tag: mark.tag.clone(),
            settled_ms: mark.at_ms,
        })
    }
}

impl LedgerSums {
    pub fn add(&mut self, line: &Line) {
        self.mark = line.mark;
        let sums = self.outlets.entry(line.outlet.clone()).or_default();
        sums.objects += !line.name.is_empty() as u64;
        sums.outputs += line.outputs;
        sums.records += line.records;
        sums.bytes += line.bytes;
        sums.digest.0 = sums.digest.0.wrapping_add(line.digest.0);
        if line.failed > 0 {
            self.outlets.entry(Outlet::DeliveryFailed.name().to_owned()).or_default().records += line.failed;
        }
    }

    pub fn outlet(&self, outlet: Outlet) -> OutletSums {
        self.outlets.get(outlet.name()).cloned().unwrap_or_default()
    }
}
