//! What is true of each kind of destination, and the names that plans and the ledger have for places: decisions follow from
//! these, never from comparing strings.

pub mod retry;

use crate::error::{Error, Kind};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A kind of destination. Its name is its key in YAML, in epochs' definitions and, for tables, in names of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationKind {
    S3,
    Local,
    Http,
    Redshift,
    Postgres,
}

/// What a destination is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Encoded objects.
    Objects,
    /// Encoded objects of which each record becomes rows of a table, or is refused for itself.
    Rows,
    /// Records one by one, many in a request.
    Records,
}

/// The metrics of Firehose that a destination has, beside those of the objects that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricFamily {
    /// `DeliveryToS3` alone.
    S3,
    /// `DeliveryToHttpEndpoint`.
    HttpEndpoint,
    /// `DeliveryToRedshift`.
    Redshift,
}

/// What a kind of store is reached by. The settings of one serve every store of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The destination's bucket, where warehouses stage, too.
    Bucket,
    BackupBucket,
    /// A destination that is no bucket.
    Own(DestinationKind),
}

/// What a kind of destination is.
#[derive(Debug)]
pub struct DestinationSpec {
    /// The key in YAML and in definitions.
    pub key: &'static str,
    pub payload: Payload,
    pub metrics: MetricFamily,
    /// The error type of records that it did not take, below the error prefix (`!{firehose:error-output-type}`).
    pub undelivered: &'static str,
    /// What its settings lead to.
    pub ways: &'static [Way],
    /// What plans and the ledger call it, if it is no bucket, directory or table.
    pub store: Option<&'static str>,
    /// What it takes at once, if it has limits of its own.
    pub request_max: Option<RequestMax>,
    /// `buffer.interval` where the file says nothing, if that is not what others have.
    pub buffer_interval: Option<Duration>,
}

/// The most of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestMax {
    pub records: u64,
    /// Of records before they are encoded.
    pub bytes: u64,
}

impl DestinationKind {
    /// Every kind.
    pub const ALL: [DestinationKind; 5] = [
        DestinationKind::S3,
        DestinationKind::Local,
        DestinationKind::Http,
        DestinationKind::Redshift,
        DestinationKind::Postgres,
    ];

    /// What it is.
    pub fn spec(self) -> &'static DestinationSpec {
        match self {
            DestinationKind::S3 => &S3,
            DestinationKind::Local => &LOCAL,
            DestinationKind::Http => &HTTP,
            DestinationKind::Redshift => &REDSHIFT,
            DestinationKind::Postgres => &POSTGRES,
        }
    }

    /// The kind of a key.
    pub fn of_key(key: &str) -> Option<DestinationKind> {
        DestinationKind::ALL.into_iter().find(|kind| kind.spec().key == key)
    }
}

static S3: DestinationSpec = DestinationSpec {
    key: "s3",
    payload: Payload::Objects,
    metrics: MetricFamily::S3,
    undelivered: "delivery-failed",
    ways: &[Way::Bucket],
    store: None,
    request_max: None,
    buffer_interval: None,
};

static LOCAL: DestinationSpec = DestinationSpec { key: "local", ways: &[], ..S3 };

static HTTP: DestinationSpec = DestinationSpec {
    key: "http",
    payload: Payload::Records,
    metrics: MetricFamily::HttpEndpoint,
    undelivered: "http-endpoint-failed",
    ways: &[Way::Own(DestinationKind::Http)],
    store: Some("http-endpoint"),
    // Firehose's limits of a request.
    request_max: Some(RequestMax { records: 10_000, bytes: 64 << 20 }),
    // Firehose's hint for an endpoint, where S3 has 300 seconds (developer guide, "create-configure-backup").
    buffer_interval: Some(Duration::from_secs(60)),
};

static REDSHIFT: DestinationSpec = DestinationSpec {
    key: "redshift",
    payload: Payload::Rows,
    metrics: MetricFamily::Redshift,
    undelivered: "redshift-failed",
    ways: &[Way::Bucket, Way::Own(DestinationKind::Redshift)],
    ..S3
};

static POSTGRES: DestinationSpec = DestinationSpec {
    key: "postgres",
    undelivered: "postgres-failed",
    ways: &[Way::Bucket, Way::Own(DestinationKind::Postgres)],
    ..REDSHIFT
};

/// A place as plans and the ledger name it, through every change of endpoint and credentials.
///
/// ```
/// use hydrant::destination::{DestinationKind, StoreName};
///
/// let table = StoreName::of(DestinationKind::Redshift, "staging");
/// assert_eq!(table.to_string(), "redshift+s3://staging");
/// assert_eq!("redshift+s3://staging".parse::<StoreName>().ok(), Some(table));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreName {
    /// Objects in a bucket: `s3://BUCKET`.
    Bucket(String),
    /// Objects in a directory: `file://DIRECTORY`.
    Directory(PathBuf),
    /// A destination that is given records, by the name of its kind: `http-endpoint`. Which endpoint that is, is a live
    /// setting.
    Receiver(DestinationKind),
    /// Rows of a table: `KIND+STORE`, where objects are staged.
    Table(DestinationKind, Box<StoreName>),
}

const BUCKET: &str = "s3://";
const DIRECTORY: &str = "file://";

impl StoreName {
    /// The place of a destination of a kind that delivers to `place`, a bucket's name or a directory.
    pub fn of(kind: DestinationKind, place: &str) -> StoreName {
        let objects = |kind| match kind {
            DestinationKind::Local => StoreName::Directory(place.into()),
            _ => StoreName::Bucket(place.to_owned()),
        };
        match kind.spec().payload {
            Payload::Objects => objects(kind),
            Payload::Records => StoreName::Receiver(kind),
            // What is staged there is also loaded.
            Payload::Rows => StoreName::Table(kind, Box::new(objects(kind))),
        }
    }

    /// Where the objects of the place of this name are. Errors: it is unknown, or takes none.
    pub fn of_objects(name: &str) -> Result<StoreName, Error> {
        let store: StoreName = name.parse()?;
        let none = || Error::new(Kind::Misconfigured, format!("`{name}` takes no objects"));
        store.objects().cloned().ok_or_else(none)
    }

    /// Where its objects are: of a table, where they are staged. `None`: it takes none.
    pub fn objects(&self) -> Option<&StoreName> {
        match self {
            StoreName::Bucket(_) | StoreName::Directory(_) => Some(self),
            StoreName::Receiver(_) => None,
            StoreName::Table(_, staged) => staged.objects(),
        }
    }

    /// Whether it takes objects and does nothing more with them.
    pub fn is_of_objects(&self) -> bool {
        matches!(self, StoreName::Bucket(_) | StoreName::Directory(_))
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreName::Bucket(bucket) => write!(f, "{BUCKET}{bucket}"),
            StoreName::Directory(directory) => write!(f, "{DIRECTORY}{}", directory.display()),
            StoreName::Receiver(kind) => f.write_str(kind.spec().store.unwrap_or(kind.spec().key)),
            StoreName::Table(kind, staged) => write!(f, "{}+{staged}", kind.spec().key),
        }
    }
}

impl FromStr for StoreName {
    type Err = Error;

    /// Reads what `Display` printed. Errors: `Misconfigured`, with what was found and expected.
    fn from_str(text: &str) -> Result<StoreName, Error> {
        let unknown = || {
            let message = format!(
                "the place of an object: found `{text}`, expected `{BUCKET}…`, `{DIRECTORY}…` or `http-endpoint`"
            );
            Error::new(Kind::Misconfigured, message)
        };
        if let Some(bucket) = text.strip_prefix(BUCKET) {
            return Ok(StoreName::Bucket(bucket.to_owned()));
        }
        if let Some(directory) = text.strip_prefix(DIRECTORY) {
            return Ok(StoreName::Directory(directory.into()));
        }
        if let Some(kind) = DestinationKind::ALL.into_iter().find(|kind| kind.spec().store == Some(text)) {
            return Ok(StoreName::Receiver(kind));
        }
        let (kind, staged) = text.split_once('+').ok_or_else(unknown)?;
        let kind = DestinationKind::of_key(kind).filter(|kind| kind.spec().payload == Payload::Rows);
        Ok(StoreName::Table(kind.ok_or_else(unknown)?, Box::new(staged.parse()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_stores_are_read_as_they_are_printed() {
        for (name, store) in [
            ("s3://bucket", StoreName::of(DestinationKind::S3, "bucket")),
            ("file:///a/b+c", StoreName::of(DestinationKind::Local, "/a/b+c")),
            ("http-endpoint", StoreName::of(DestinationKind::Http, "")),
            ("redshift+s3://stage", StoreName::of(DestinationKind::Redshift, "stage")),
            ("postgres+s3://stage", StoreName::of(DestinationKind::Postgres, "stage")),
        ] {
            assert_eq!((store.to_string().as_str(), name.parse::<StoreName>().ok()), (name, Some(store)));
        }
        for name in ["", "bucket", "gs://b", "mysql+s3://b", "http+s3://b", "redshift+"] {
            let message = name.parse::<StoreName>().unwrap_err().to_string();
            assert!(message.contains("expected `s3://"), "{name}: {message}");
        }
    }

    #[test]
    fn kinds_are_found_by_their_keys() {
        for kind in DestinationKind::ALL {
            assert_eq!(DestinationKind::of_key(kind.spec().key), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.spec().key);
        }
    }
}
