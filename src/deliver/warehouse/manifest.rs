//! Manifests: lists of objects for COPY, as Redshift reads them and Firehose writes them.
//!
//! ```json
//! {"entries": [{"url": "s3://bucket/key", "mandatory": true, "meta": {"content_length": 123}}],
//!  "hydrant": {"version": 1,
//!              "plans": [{"id": "…", "object": "key", "outputs": 7, "digest": "…", "content_encoding": "gzip"}],
//!              "error": {"code": "Redshift.DataLoadFailed", "message": "…"}}}
//! ```
//!
//! The working manifest of a load has only `entries`. What is left where a load was given up on has `hydrant` too, which
//! Redshift does not look at: whoever loads it later claims the same plans, so that none is loaded twice.

use crate::deliver::{Body, Shipment};
use crate::json::JsonObject;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use uuid::Uuid;

/// Where working manifests stand in the bucket.
const WORKING_FOLDER: &str = "manifests/";
/// Changed when what is written can no longer be read by who reads this.
const VERSION: u32 = 1;

/// A list of objects to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub loads: Vec<Load>,
    /// Why they were given up on: code and message.
    pub error: Option<(String, String)>,
}

/// One object to load, and under which plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    pub bucket: String,
    /// The object's name in the bucket.
    pub object: String,
    pub bytes: Option<u64>,
    pub plan: Uuid,
    /// As of the plan; 0 if nobody knows.
    pub outputs: u64,
    pub digest: u128,
    pub content_encoding: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ManifestFile {
    entries: Vec<ManifestEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hydrant: Option<Ours>,
}

#[derive(Serialize, Deserialize)]
struct ManifestEntry {
    url: String,
    #[serde(default)]
    mandatory: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta: Option<ManifestMeta>,
}

#[derive(Serialize, Deserialize)]
struct ManifestMeta {
    #[serde(default)]
    content_length: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Ours {
    version: u32,
    plans: Vec<ManifestPlan>,
    #[serde(default)]
    error: Option<Cause>,
}

#[derive(Serialize, Deserialize)]
struct ManifestPlan {
    id: Uuid,
    object: String,
    outputs: u64,
    digest: String,
    content_encoding: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Cause {
    code: String,
    message: String,
}

/// The manifest of objects that were given up on.
pub fn given_up(bucket: &str, shipments: &[&Shipment], code: &str, message: &str) -> Vec<u8> {
    let plan = |shipment: &&Shipment| ManifestPlan {
        id: shipment.id,
        object: shipment.name.clone(),
        outputs: shipment.outputs,
        digest: format!("{:032x}", shipment.digest),
        content_encoding: shipment.content_encoding.map(str::to_owned),
    };
    let error = Some(Cause { code: code.to_owned(), message: message.to_owned() });
    let ours = Ours { version: VERSION, plans: shipments.iter().map(plan).collect(), error };
    let entries = shipments.iter().map(|shipment| entry(bucket, shipment)).collect();
    bytes(&ManifestFile { entries, hydrant: Some(ours) })
}

/// The name of the manifest from which an object is loaded.
pub(super) fn working_name(object: &str) -> String {
    format!("{WORKING_FOLDER}{object}")
}

/// The manifest from which one object is loaded, as a shipment of its own that can be repeated like any other.
pub(super) fn working(bucket: &str, shipment: &Shipment) -> Shipment {
    Shipment {
        id: derived("working manifest", shipment.id.as_bytes()),
        name: working_name(&shipment.name),
        content_encoding: None,
        body: Arc::new(Body::of(bytes(&ManifestFile { entries: vec![entry(bucket, shipment)], hydrant: None }))),
        ..shipment.clone()
    }
}

fn entry(bucket: &str, shipment: &Shipment) -> ManifestEntry {
    let meta = Some(ManifestMeta { content_length: Some(shipment.body.len()) });
    ManifestEntry { url: format!("s3://{bucket}/{}", shipment.name), mandatory: true, meta }
}

fn bytes(file: &ManifestFile) -> Vec<u8> {
    serde_json::to_vec(file).expect("texts and numbers can always be written as JSON")
}

/// Whether what begins so is a manifest.
pub fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(b"{\"entries\"")
}

/// Reads a manifest, Firehose's as well: its objects get plans that follow from their addresses.
pub fn read(bytes: &[u8]) -> Result<Manifest, String> {
    let JsonObject::<ManifestFile>(file) =
        serde_json::from_slice(bytes).map_err(|e| format!("found no manifest: {e}"))?;
    let (plans, error) = match file.hydrant {
        None => (Vec::new(), None),
        Some(ours) if ours.version == VERSION => (ours.plans, ours.error),
        Some(ours) => return Err(format!("found version {}, expected {VERSION}", ours.version)),
    };
    let loads = file.entries.into_iter().map(|entry| load(entry, &plans)).collect::<Result<_, _>>()?;
    Ok(Manifest { loads, error: error.map(|cause| (cause.code, cause.message)) })
}

fn load(entry: ManifestEntry, plans: &[ManifestPlan]) -> Result<Load, String> {
    let place = entry.url.strip_prefix("s3://").and_then(|place| place.split_once('/'));
    let (bucket, object) = place
        .filter(|(bucket, object)| !bucket.is_empty() && !object.is_empty())
        .ok_or_else(|| format!("found `{}`, expected `s3://BUCKET/OBJECT`", entry.url))?;
    let (bucket, object) = (bucket.to_owned(), object.to_owned());
    let bytes = entry.meta.and_then(|meta| meta.content_length);
    if let Some(plan) = plans.iter().find(|plan| plan.object == object) {
        let digest = u128::from_str_radix(&plan.digest, 16).ok().filter(|_| plan.digest.len() == 32);
        let digest = digest.ok_or_else(|| format!("found the digest `{}`, expected 32 hex digits", plan.digest))?;
        let (outputs, content_encoding) = (plan.outputs, plan.content_encoding.clone());
        return Ok(Load { bucket, object, bytes, plan: plan.id, outputs, digest, content_encoding });
    }
    if !plans.is_empty() {
        return Err(format!("found no plan of `{object}`"));
    }
    let plan = derived("foreign manifest", entry.url.as_bytes());
    let digest = u128::from_be_bytes(hash("foreign digest", entry.url.as_bytes()));
    let content_encoding = object.ends_with(".gz").then(|| "gzip".to_owned());
    Ok(Load { bucket, object, bytes, plan, outputs: 0, digest, content_encoding })
}

/// An id that follows from what it is for, in UUID's version for that.
fn derived(purpose: &str, from: &[u8]) -> Uuid {
    uuid::Builder::from_custom_bytes(hash(purpose, from)).into_uuid()
}

fn hash(purpose: &str, from: &[u8]) -> [u8; 16] {
    let hash = Sha256::new().chain_update("hydrant ").chain_update(purpose).chain_update([0]).chain_update(from);
    let mut first = [0; 16];
    first.copy_from_slice(&hash.finalize()[..16]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipment(name: &str) -> Shipment {
        Shipment {
            plan: 3,
            id: Uuid::from_u128(name.len() as u128),
            outputs: 7,
            digest: 0xab,
            name: name.to_owned(),
            planned_ms: 0,
            content_encoding: Some("gzip"),
            body: Arc::new(Body::of(b"12345".to_vec())),
            only_look: false,
        }
    }

    #[test]
    fn what_was_given_up_on_can_be_read_again() {
        let (a, b) = (shipment("p/a.gz"), shipment("p/bb \"x\".gz"));
        let bytes = given_up("bucket", &[&a, &b], "Redshift.DataLoadFailed", "line 1\nline 2");
        let manifest = read(&bytes).expect("it is a manifest");
        let load = |s: &Shipment| Load {
            bucket: "bucket".into(),
            object: s.name.clone(),
            bytes: Some(5),
            plan: s.id,
            outputs: 7,
            digest: 0xab,
            content_encoding: Some("gzip".into()),
        };
        assert_eq!(manifest.loads, [load(&a), load(&b)]);
        assert_eq!(manifest.error, Some(("Redshift.DataLoadFailed".into(), "line 1\nline 2".into())));
        let text = String::from_utf8(bytes).expect("JSON is text");
        let entry = r#"{"entries":[{"url":"s3://bucket/p/a.gz","mandatory":true,"meta":{"content_length":5}},"#;
        assert!(text.starts_with(entry), "{text}");
        assert!(text.contains(r#""digest":"000000000000000000000000000000ab""#), "{text}");
    }

    #[test]
    fn a_manifest_of_firehose_has_plans_that_follow_from_its_addresses() {
        let bytes = br#"{"entries":[{"url":"s3://b/2026/x.gz","mandatory":true},{"url":"s3://b/y","mandatory":true}]}"#;
        let manifest = read(bytes).expect("it is a manifest");
        assert_eq!(manifest, read(bytes).expect("it is a manifest"));
        let [x, y] = &manifest.loads[..] else { panic!("{manifest:?}") };
        assert_eq!((x.bucket.as_str(), x.object.as_str(), x.bytes), ("b", "2026/x.gz", None));
        assert_eq!((x.content_encoding.as_deref(), y.content_encoding.as_deref()), (Some("gzip"), None));
        assert_ne!(x.plan, y.plan);
        assert_eq!((x.plan.get_version_num(), manifest.error), (8, None));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for bytes in [
            &b""[..],
            b"{}",
            br#"{"entries":[{"url":"http://b/y"}]}"#,
            br#"{"entries":[{"url":"s3://b/"}]}"#,
            br#"{"entries":[],"hydrant":{"version":2,"plans":[]}}"#,
        ] {
            assert!(read(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_working_manifest_is_the_same_at_every_attempt_and_nobody_elses() {
        let object = shipment("p/a.gz");
        let (one, two) = (working("bucket", &object), working("bucket", &object));
        assert_eq!((one.id, &one.name, one.content_encoding), (two.id, &"manifests/p/a.gz".to_owned(), None));
        assert_ne!(one.id, object.id);
        let bytes = one.body.read(0, one.body.len() as usize).expect("it is in memory");
        let expected = r#"{"entries":[{"url":"s3://bucket/p/a.gz","mandatory":true,"meta":{"content_length":5}}]}"#;
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }
}
