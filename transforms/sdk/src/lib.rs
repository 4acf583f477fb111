//! A Hydrant transform is one function from a record to an outcome:
//!
//! ```
//! use hydrant_transform::{Outcome, Record, Result};
//!
//! hydrant_transform::export!(handle);
//!
//! fn handle(record: &Record) -> Result {
//!     let mut event = record.json()?;
//!     if event["level"] == "debug" {
//!         return Ok(Outcome::Dropped);
//!     }
//!     event["service"] = event["service"].as_str().unwrap_or_default().to_uppercase().into();
//!     let customer = event["customer_id"].as_str().unwrap_or("unknown");
//!     Ok(Outcome::json_line(&event).key("customer", customer))
//! }
//! # fn main() {}
//! ```
//!
//! An error makes that one record `processing-failed` with the error's text, and its original bytes go to the stream's
//! error output. A panic is logged and ends the batch; the host then narrows the batch down to the records at fault.
//! Nothing here can read a clock, a file or the network: the same records give the same outcomes, always.

use std::borrow::Cow;
use std::sync::Once;

#[cfg(feature = "json")]
pub use serde_json;

pub use bindings::hydrant::transform::log::Level;
pub use bindings::hydrant::transform::types::Transformed;

use bindings::hydrant::transform::{log as host_log, metrics as host_metrics, types};

/// Any error: `?` turns each kind into this, and so do `"text".into()` and `format!(…).into()`.
pub type Error = Box<dyn std::error::Error>;

pub type Result<T = Outcome, E = Error> = std::result::Result<T, E>;

/// One record as the producer sent it.
pub struct Record<'a>(Cow<'a, types::InputRecord>);

impl Record<'static> {
    /// A record for unit tests, which run natively with plain `cargo test`.
    pub fn test(data: impl Into<Vec<u8>>) -> Self {
        Record(Cow::Owned(types::InputRecord {
            record_id: "test".into(),
            data: data.into(),
            approximate_arrival_timestamp: 0,
            kinesis: None,
        }))
    }
}

impl Record<'_> {
    /// Names the record within its batch and means nothing beyond it.
    pub fn id(&self) -> &str {
        &self.0.record_id
    }

    pub fn data(&self) -> &[u8] {
        &self.0.data
    }

    /// Milliseconds since the Unix epoch: the only time a transform can know.
    pub fn arrival_ms(&self) -> u64 {
        self.0.approximate_arrival_timestamp
    }

    /// The partition key in the Kinesis stream the record came from, if it came from one and the stream's settings
    /// ask for such details.
    pub fn kinesis_partition_key(&self) -> Option<&str> {
        self.0.kinesis.as_ref().map(|kinesis| kinesis.partition_key.as_str())
    }

    #[cfg(feature = "json")]
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(self.data()).map_err(|error| format!("not JSON: {error}").into())
    }
}

/// What becomes of a record. The fourth possibility, `processing-failed`, is the `Err` of [`Result`].
#[derive(Debug, Clone)]
pub enum Outcome {
    Ok(Transformed),
    /// One record becomes several, in this order.
    Many(Vec<Transformed>),
    Dropped,
}

impl Outcome {
    pub fn bytes(data: impl Into<Vec<u8>>) -> Self {
        Outcome::Ok(Transformed::bytes(data))
    }

    /// The value on a line of its own.
    #[cfg(feature = "json")]
    pub fn json_line(value: &serde_json::Value) -> Self {
        Outcome::Ok(Transformed::json_line(value))
    }

    /// Adds a partition key to every record that comes out. The prefix reads it as `!{partitionKeyFromLambda:name}`.
    pub fn key(self, name: &str, value: impl Into<String>) -> Self {
        match self {
            Outcome::Ok(one) => Outcome::Ok(one.key(name, value)),
            Outcome::Many(all) => {
                let value = value.into();
                Outcome::Many(all.into_iter().map(|one| one.key(name, value.clone())).collect())
            }
            Outcome::Dropped => Outcome::Dropped,
        }
    }
}

impl Transformed {
    pub fn bytes(data: impl Into<Vec<u8>>) -> Self {
        Transformed { data: data.into(), partition_keys: Vec::new() }
    }

    /// The value on a line of its own.
    #[cfg(feature = "json")]
    pub fn json_line(value: &serde_json::Value) -> Self {
        let mut line = value.to_string();
        line.push('\n');
        Transformed::bytes(line)
    }

    pub fn key(mut self, name: &str, value: impl Into<String>) -> Self {
        self.partition_keys.push((name.into(), value.into()));
        self
    }
}

/// Writes a line to the server's log, or to stderr in unit tests. The host limits lines per batch.
pub fn log(level: Level, message: &str) {
    if cfg!(target_arch = "wasm32") {
        host_log::write(level, message);
    } else {
        eprintln!("{level:?}: {message}");
    }
}

/// Adds to a counter of the server's metrics; in unit tests it does nothing. The host limits the number of names.
pub fn count(name: &str, value: u64) {
    if cfg!(target_arch = "wasm32") {
        host_metrics::add(name, value);
    }
}

/// Makes a function the transform of this crate, which must be a `cdylib`.
///
/// `export!(handle)` takes a `fn(&Record) -> Result` and refuses configuration. `export!(handle, init = setup)` also
/// takes a `fn(&str) -> Result<()>` that is given the stream's `config` as JSON once per instance, before any record.
#[macro_export]
macro_rules! export {
    ($handle:path) => {
        $crate::export!($handle, init = $crate::__no_config);
    };
    ($handle:path, init = $init:path) => {
        struct HydrantTransform;

        impl $crate::bindings::Guest for HydrantTransform {
            fn init(config: ::std::string::String) -> ::std::result::Result<(), ::std::string::String> {
                $crate::__log_panics();
                $init(&config).map_err(|error: $crate::Error| error.to_string())
            }

            fn transform(
                records: ::std::vec::Vec<$crate::bindings::InputRecord>,
            ) -> ::std::vec::Vec<$crate::bindings::OutputRecord> {
                $crate::__transform(records, $handle)
            }
        }

        $crate::bindings::export!(HydrantTransform with_types_in $crate::bindings);
    };
}

/// Made from `transform.wit`, and public only because [`export!`] needs it where it is used.
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../transform.wit",
        world: "configured-transform",
        pub_export_macro: true,
        default_bindings_module: "hydrant_transform::bindings",
    });
}

#[doc(hidden)]
pub fn __transform(records: Vec<types::InputRecord>, handle: impl Fn(&Record) -> Result) -> Vec<types::OutputRecord> {
    __log_panics();
    let answer = |record: types::InputRecord| {
        let outcome = match handle(&Record(Cow::Borrowed(&record))) {
            Ok(Outcome::Ok(one)) => types::Outcome::Ok(one),
            Ok(Outcome::Many(all)) => types::Outcome::Many(all),
            Ok(Outcome::Dropped) => types::Outcome::Dropped,
            Err(error) => types::Outcome::ProcessingFailed(error.to_string()),
        };
        types::OutputRecord { record_id: record.record_id, outcome }
    };
    records.into_iter().map(answer).collect()
}

/// Configuration that nobody reads is a mistake in the stream's settings, not something to overlook.
#[doc(hidden)]
pub fn __no_config(config: &str) -> Result<()> {
    match config.trim() {
        "" | "null" | "{}" => Ok(()),
        _ => Err("this transform takes no configuration".into()),
    }
}

/// The host sees of a panic only that the module trapped; this gives it the reason, on one line.
#[doc(hidden)]
pub fn __log_panics() {
    static HOOK: Once = Once::new();
    if cfg!(target_arch = "wasm32") {
        HOOK.call_once(|| {
            std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string().replace('\n', " "))));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(datas: &[&str]) -> Vec<types::InputRecord> {
        let mut records = Vec::new();
        for (at, data) in datas.iter().enumerate() {
            let mut record = Record::test(*data).0.into_owned();
            record.record_id = format!("id-{at}");
            records.push(record);
        }
        records
    }

    #[test]
    fn each_record_is_answered_under_its_own_id() {
        let answers = __transform(batch(&["keep", "double", "drop", "fail"]), |record| match record.data() {
            b"double" => Ok(Outcome::Many(vec![Transformed::bytes("1"), Transformed::bytes("2")]).key("k", "v")),
            b"drop" => Ok(Outcome::Dropped),
            b"fail" => Err("no such thing".into()),
            data => Ok(Outcome::bytes(data)),
        });
        let ids: Vec<_> = answers.iter().map(|answer| answer.record_id.as_str()).collect();
        assert_eq!(ids, ["id-0", "id-1", "id-2", "id-3"]);
        assert!(matches!(&answers[0].outcome, types::Outcome::Ok(one) if one.data == b"keep"));
        let types::Outcome::Many(all) = &answers[1].outcome else { panic!("{:?}", answers[1]) };
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|one| one.partition_keys == [("k".into(), "v".into())]));
        assert!(matches!(answers[2].outcome, types::Outcome::Dropped));
        assert!(matches!(&answers[3].outcome, types::Outcome::ProcessingFailed(why) if why == "no such thing"));
    }

    #[test]
    fn a_transform_without_init_refuses_configuration() {
        for nothing in ["", "null", "{}"] {
            assert!(__no_config(nothing).is_ok());
        }
        assert_eq!(__no_config(r#"{"a":1}"#).unwrap_err().to_string(), "this transform takes no configuration");
    }

    #[cfg(feature = "json")]
    #[test]
    fn a_record_that_is_not_json_says_so() {
        let error = Record::test("{").json().unwrap_err().to_string();
        assert!(error.starts_with("not JSON: "), "{error}");
    }
}
