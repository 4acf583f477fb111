//! The one YAML file: from text to `Config`, or every problem with its file, line and column.
//!
//! Promises: nothing is guessed. An unknown key, a key that stands twice, a value of the wrong kind or outside its
//! range, a file that is not there, an environment variable that is not set: each is a `Problem` that says where it
//! stands, what was found and what was expected, and all of them are reported at once (a YAML syntax error hides what
//! follows it). A secret is never shown, and a value is shown as written, with its `${…}`; only what is wrong with a
//! prefix names parts of the text that was put in.
//!
//! The way: `tree` (YAML to nodes with positions) -> `replace` (`${…}` in scalar values) -> `read`, over `de` (nodes to
//! settings types, errors with a `place`) -> `check` and `check_stream` (what holds between values; files).
//!
//! Files that are read (modules, schemas, certificates, `${file:…}`) are relative to the configuration file; folders
//! that are written (`data_dir`, a `local` destination) are relative to the working directory.

mod api;
mod by_name;
mod check;
mod check_kinesis;
mod check_stream;
mod checker;
mod de;
pub mod definition;
mod destination;
pub(crate) mod destination_settings;
pub(crate) mod format;
mod json_schema;
mod json_serde;
mod kinesis;
mod memory;
mod metadata_columns;
mod orc;
mod parquet;
mod place;
mod places;
mod problem;
pub(crate) mod read;
mod replace;
pub(crate) mod rules;
mod schema;
pub(crate) mod store;
mod stream;
#[cfg(test)]
mod tests;
mod transform;
mod tree;

pub use api::{AccessKey, Admin, Api, Log, LogFormat, LogLevel, Tls};
pub use checker::REQUEST_BYTES_MAX;
pub use destination::Destination;
pub use destination_settings::{DeliverySettings, DestinationSettings};
pub use format::{Compress, Format, Gzip, Lines};
pub use json_schema::json_schema;
pub use json_serde::{HiveSerde, JsonSerde, OpenxSerde, StrictSerde};
pub use kinesis::{Coordination, Kinesis, LeaseTable, StartingPosition};
pub use memory::Memory;
pub use metadata_columns::MetadataColumnNames;
pub use orc::{Orc, OrcCompression, OrcWriter};
pub use parquet::{Parquet, ParquetCompression, ParquetDictionary, ParquetVersion, ParquetWriter, SortingColumn};
pub use places::{LoadedPlaces, Places};
pub use problem::{Errors, Problem};
pub use schema::{SchemaColumn, load_columns, parse_columns};
pub use store::{DIRECTORY_SHIPMENTS_MAX, Store};
pub use stream::{Backup, BackupMode, Buffer, Partition, Source, StreamConfig};
pub use transform::{Batch, Isolate, Limits, Transform, Wasi, Wasm};

pub use crate::deliver::http::settings::{ContentEncoding, Http};
pub use crate::deliver::local::settings::Local;
pub use crate::deliver::s3::settings::{Checksum, Conditional, ObjectEncoding, S3, Sse};
pub use crate::deliver::warehouse::settings::{
    Address, Dialect, Postgres, Redshift, TableName, Target, WarehouseInput, WarehouseSettings, WarehouseTls,
    WarehouseTlsMode, quoted_name,
};
use crate::units::{self, ByteSize};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Hydrant's configuration file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where journals, plans and ledgers live. Relative to the working directory.
    pub data_dir: PathBuf,
    /// The most that all journals and plan logs together may take, at least 2MiB for each stream. Without it: until the
    /// disk is full.
    pub disk_budget: Option<ByteSize>,
    pub memory: Memory,
    pub api: Api,
    pub admin: Admin,
    pub log: Log,
    /// How long a stop waits for buffers to be planned and uploads to end.
    #[serde(with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub drain_timeout: Duration,
    /// Whether a reload may take away every access key, or more than half of the streams. Without it such a file is taken
    /// for one that is just being written, and refused.
    pub allow_removals: bool,
    /// Delivery streams by name: 1 to 64 of the characters a-z A-Z 0-9 _ . - but not `.` or `..`
    pub streams: BTreeMap<String, StreamConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data_dir: PathBuf::from("./hydrant-data"),
            disk_budget: None,
            memory: Memory::default(),
            api: Api::default(),
            admin: Admin::default(),
            log: Log::default(),
            drain_timeout: Duration::from_secs(25),
            allow_removals: false,
            streams: BTreeMap::new(),
        }
    }
}

/// Reads a configuration file. `env` answers for environment variables.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Errors> {
    load_written(path, env).map(|(config, _)| config)
}

/// Where the values of a file stand, for whoever finds out later that one is wrong: a module that does not run, say.
pub struct WrittenConfig {
    root: tree::TreeNode,
    file: String,
}

impl WrittenConfig {
    /// Something that is wrong with the value that `keys` lead to, or that is missing there.
    pub fn problem(&self, keys: &[&str], message: impl Into<String>) -> Problem {
        self.root.problem(&self.file, keys, message)
    }
}

/// The same as `load`, and where everything stands.
pub fn load_written(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<(Config, WrittenConfig), Errors> {
    let text = problem::read_text(path)?;
    let base_dir = path.parent().unwrap_or(Path::new(""));
    parse_written(&text, &path.display().to_string(), base_dir, env)
}

/// Reads configuration text; `file_name` is for messages, `base_dir` is what relative files are relative to. Errors: every
/// problem, each with its line and column.
///
/// ```
/// use hydrant::config::parse;
///
/// let text = "streams: { clicks: { destination: { local: { dir: out } } } }";
/// let config = parse(text, "hydrant.yaml", "".as_ref(), &|_| None).expect("it is valid");
/// assert!(config.streams.contains_key("clicks"));
///
/// let text = "streams: { clicks: { destination: { local: { folder: out } } } }";
/// let problems = parse(text, "hydrant.yaml", "".as_ref(), &|_| None).expect_err("it has no such key");
/// assert!(problems.to_string().starts_with("hydrant.yaml:1:"), "{problems}");
/// ```
pub fn parse(
    text: &str,
    file_name: &str,
    base_dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Errors> {
    parse_written(text, file_name, base_dir, env).map(|(config, _)| config)
}

fn parse_written(
    text: &str,
    file_name: &str,
    base_dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<(Config, WrittenConfig), Errors> {
    let mut problems = Vec::new();
    let mut root = tree::parse(text, file_name, &mut problems)?;
    let places = |stream: &tree::TreeEntry| (stream.key.clone(), Places::of(&stream.value, base_dir));
    let mut places: BTreeMap<String, Places> =
        root.get("streams").map(|streams| streams.value.entries().iter().map(places).collect()).unwrap_or_default();
    replace::replace(&mut root, &replace::Sources { file_name, base_dir, env }, &mut problems);
    let config = read::read(&mut root, file_name, &mut problems);
    let mut config = config.map(|config: Config| check::check(config, &root, file_name, base_dir, &mut problems));
    for (name, stream) in config.iter_mut().flat_map(|config| &mut config.streams) {
        stream.places = places.remove(name).unwrap_or_default();
    }
    match config {
        Some(config) if problems.is_empty() => Ok((config, WrittenConfig { root, file: file_name.to_string() })),
        _ => Err(Errors::new(problems)),
    }
}
