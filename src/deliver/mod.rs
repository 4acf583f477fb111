//! Where objects go. One file a sink, each behind [`Sink`]; what they share (names, conditions, error records) beside.
//!
//! A sink is blocking and stateless between attempts: it is handed a whole object and says what became of it. When to
//! try again, and what to remember, is the stream's matter.

pub mod body;
pub mod error_record;
mod feed;
pub mod http;
pub mod local;
pub mod object;
pub mod records;
pub mod s3;
mod trust;
pub mod warehouse;

pub use body::{Body, Spool};

use crate::config::Destination;
use crate::error::{Error, Kind, Result};
use std::sync::Arc;
use tokio::runtime::Handle;
use uuid::Uuid;

/// One object under one plan, ready to be sent.
#[derive(Clone)]
pub struct Shipment {
    /// The plan's number in its stream.
    pub plan: u64,
    /// Written into the object's metadata: whoever finds the object knows whose it is.
    pub id: Uuid,
    /// Number and digest of the listed outputs, also in the metadata. Never of encoded bytes: a rebuilt object may be
    /// encoded differently.
    pub outputs: u64,
    pub digest: u128,
    /// Name in the store.
    pub name: String,
    /// Milliseconds since the Unix epoch at which the plan was made: the same in every attempt.
    pub planned_ms: u64,
    pub content_encoding: Option<&'static str>,
    pub body: Arc<Body>,
    /// Nothing is sent: only whether the object is there is asked. For plans whose bytes cannot be made again.
    pub only_look: bool,
}

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The object is there, durable as far as the store promises, and it is this plan's.
    Stored { tag: String },
    /// It was only looked for, and is not there.
    Absent,
    /// Nothing is known to be wrong with the object: the same attempt again, later.
    Retry { reason: String },
    /// A person has to mend something first (credentials, bucket, permissions): keep it, alarm, again slowly.
    Misconfigured { reason: String },
    /// The same, and there is no such store, a bucket or a directory that cannot be: whatever was sent there came to nothing.
    Nowhere { reason: String },
    /// The destination was asked and did not take it. Again at the destination's own pace, and when that has gone on for
    /// its `retry_duration`, given up on.
    Refused {
        /// Firehose's, such as `HttpEndpoint.DestinationException`.
        code: String,
        message: String,
        /// It is not able to take so much at this moment: fewer at once.
        busy: bool,
        /// What is left where failures go when it is given up on; `None`: an error record for each record.
        instead: Option<Vec<u8>>,
    },
    /// The destination takes only smaller ones: cut in two, and given up on where one record is too large.
    TooLarge { code: String, message: String },
    /// The destination takes all but these of the shipment's records, and has taken nothing of it yet. They are given up on,
    /// and the others are sent as another object.
    Rejected { records: Vec<Rejection> },
    /// Somebody else's object stands at this name. It stays; the plan needs another name.
    Foreign,
    /// An object with this plan's id but other contents stands there: never touched, held for a person.
    Differs { found: String },
}

/// A record that its destination does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Which of the shipment's records it is, from 0.
    pub record: u64,
    /// As of [`Attempt::Refused`].
    pub code: String,
    pub message: String,
}

/// A place that takes objects.
pub trait Sink: Send + Sync {
    /// Tries once to put the object where it belongs, at most once in effect: an attempt that is repeated after an
    /// unknown outcome finds what the earlier one left. Blocks for as long as one request may take.
    fn attempt(&self, shipment: &Shipment) -> Attempt;

    /// What keeps attempts from working, each in a sentence, as far as that can be tried out without leaving anything.
    fn check(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The sink of a destination that is more than a store of objects. `arn` is the stream's, `stage` where the objects of a
/// warehouse are staged. Nothing is sent yet. Errors: `Misconfigured`, with the setting that is wrong.
pub fn connect(
    destination: &Destination,
    arn: &str,
    stage: Option<Arc<dyn Sink>>,
    runtime: Handle,
) -> Result<Arc<dyn Sink>> {
    match (destination, destination.warehouse(), stage) {
        (Destination::Http(http), ..) => Ok(Arc::new(http::HttpSink::connect(http, arn, runtime)?)),
        (_, Some(warehouse), Some(stage)) => {
            Ok(Arc::new(warehouse::Warehouse::connect(warehouse.target, stage, runtime)?))
        }
        _ => Err(Error::new(Kind::Invalid, format!("`{}` has no sink of its own", destination.kind().spec().key))),
    }
}

/// A place whose objects can be found and read again.
pub trait Shelf: Sink {
    /// The names that begin with `prefix`, in order.
    fn list(&self, prefix: &str) -> std::result::Result<Vec<String>, object::Failure>;
    /// Appends an object's bytes.
    fn fetch(&self, name: &str, to: &mut Spool) -> std::result::Result<(), object::Failure>;
    /// Removes an object, which may not be there.
    fn remove(&self, name: &str) -> std::result::Result<(), object::Failure>;
}

/// Bytes a sink may hold at once per shipment when it streams a body.
pub const PIECE_BYTES: usize = 16 << 20;
/// Above this an object is sent in parts.
pub const SINGLE_PUT_BYTES_MAX: u64 = 64 << 20;
