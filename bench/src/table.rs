//! `postgres`: how fast rows get into a table through the sink, over `psql`'s own `\copy` of the same rows. Both begin with
//! rows that lie ready (records in the stream's plans, a CSV file) and end when the table has them all.

use super::corpus::Corpus;
use super::load::End;
use super::report::{Ratio, Report};
use super::service::{CONNECTIONS, Live, STREAM, Setup, Shape, bodies, next_dir};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use url::Url;

const TABLE: &str = "hydrant_bench";

static RATIOS: [Ratio; 2] = [
    Ratio::more("postgres csv", "the sink, from staging on, over psql's \\copy of the same rows").on_two_threads(),
    Ratio::more("postgres json", "the same from lines of JSON").on_two_threads(),
];

/// Servers to measure with. What they hold under the bench's names is removed.
#[derive(Clone, Debug, clap::Args)]
pub struct Servers {
    /// For `--only postgres`: a database, `postgresql://USER:PASSWORD@HOST:PORT/NAME`.
    #[arg(long)]
    postgres: Option<Url>,
    /// For `--only postgres`, to stage in, and for `--only http`, to compare with: a bucket, `http://KEY:SECRET@HOST:PORT/BUCKET`.
    #[arg(long)]
    pub bucket: Option<Url>,
    /// The `psql` to compare with.
    #[arg(long, default_value = "psql")]
    psql: PathBuf,
}

/// What a table is loaded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Csv,
    Json,
}

impl Input {
    pub const ALL: [Input; 2] = [Input::Csv, Input::Json];

    pub fn name(self) -> &'static str {
        match self {
            Input::Csv => "csv",
            Input::Json => "json",
        }
    }
}

/// Several loads of a round.
const BUFFER_MIB: u64 = 16;

/// Tables, and a service for each way of loading one.
pub struct Tables {
    table: Table,
    lives: Vec<(Live, Arc<[Bytes]>)>,
}

/// Rows of a corpus, and where they go.
struct Table {
    servers: Servers,
    url: Url,
    /// A column's name and its type in PostgreSQL.
    columns: Vec<(String, &'static str)>,
    csv: PathBuf,
    /// The rows as lines of CSV, for puts.
    lines: Vec<Vec<u8>>,
}

impl Servers {
    /// The bucket's settings in YAML, for objects below `prefix`.
    fn bucket_yaml(&self, prefix: &str) -> Result<String, String> {
        let bucket = self.bucket.as_ref().ok_or("`--bucket URL` is missing")?;
        let part = |text: Option<&str>, what: &str| text.map(str::to_owned).ok_or_else(|| format!("{what} is missing"));
        let (key, secret) = (bucket.username(), part(bucket.password(), "the secret in `--bucket`")?);
        let host = part(bucket.host_str(), "the host in `--bucket`")?;
        let port = bucket.port_or_known_default().unwrap_or(80);
        Ok(format!(
            "{{ bucket: \"{}\", prefix: \"{prefix}/\", endpoint: \"{}://{host}:{port}\", region: us-east-1, \
             access_key_id: \"{key}\", secret_access_key: \"{secret}\" }}",
            bucket.path().trim_start_matches('/'),
            bucket.scheme(),
        ))
    }

    /// A stream's destination, in YAML.
    pub fn s3_yaml(&self) -> Result<String, String> {
        // Nothing of another run stands there.
        let prefix = format!("{STREAM}-{}", uuid::Uuid::new_v4());
        Ok(format!("    destination: {{ s3: {} }}", self.bucket_yaml(&prefix)?))
    }

    /// The table for a corpus's records, whose CSV file is made in `dir`.
    fn table(&self, corpus: &Corpus, dir: &Path) -> Result<Table, String> {
        let url = self.postgres.clone().ok_or("`--only postgres` needs `--postgres URL`")?;
        let columns: Vec<(String, &'static str)> =
            corpus.kind.columns()?.into_iter().map(|(name, of)| (name, type_of(&of))).collect();
        let lines = corpus.records().map(|record| csv(record, &columns)).collect::<Result<Vec<_>, String>>()?;
        let path = dir.join("rows.csv");
        std::fs::write(&path, lines.concat()).map_err(|e| format!("write `{}`: {e}", path.display()))?;
        Ok(Table { servers: self.clone(), url, columns, csv: path, lines })
    }
}

fn type_of(hive: &str) -> &'static str {
    match hive {
        "tinyint" | "smallint" | "int" => "integer",
        "bigint" => "bigint",
        "float" | "double" => "double precision",
        "boolean" => "boolean",
        "timestamp" => "timestamptz",
        nested if nested.contains('<') => "jsonb",
        _ => "text",
    }
}

/// A record as a line of CSV: what is missing or null is empty and without quotes, all else stands in quotes.
fn csv(record: &[u8], columns: &[(String, &'static str)]) -> Result<Vec<u8>, String> {
    let object: Map<String, Value> = serde_json::from_slice(record).map_err(|e| e.to_string())?;
    let fields = columns.iter().map(|(name, _)| match object.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => format!("\"{}\"", text.replace('"', "\"\"")),
        Some(number @ (Value::Number(_) | Value::Bool(_))) => number.to_string(),
        Some(nested) => format!("\"{}\"", nested.to_string().replace('"', "\"\"")),
    });
    Ok((fields.collect::<Vec<_>>().join(",") + "\n").into_bytes())
}

impl Tables {
    pub fn start(servers: &Servers, dir: &Path, corpus: &Corpus) -> Result<Tables, String> {
        let table = servers.table(corpus, dir)?;
        table.make()?;
        let lives = Input::ALL.map(|input| {
            let setup = Setup {
                dir: next_dir(dir),
                kind: corpus.kind,
                shape: Shape::Lines,
                buffer_mib: BUFFER_MIB,
                interval: "1s",
                ports: [0, 0],
                endpoint: None,
                destination: Some(table.yaml(input)?),
            };
            let bodies = match input {
                Input::Csv => bodies(table.lines.iter().map(Vec::as_slice)),
                Input::Json => bodies(corpus.records()),
            };
            Ok::<_, String>((Live::start(setup)?, bodies))
        });
        let lives = lives.into_iter().collect::<Result<_, _>>()?;
        Ok(Tables { table, lives })
    }

    /// Loads everything each way once.
    pub fn round(&self, report: &mut Report) -> Result<(), String> {
        let copied = self.table.copy()?;
        report.detail("\\copy", "rows/s", copied);
        for (input, (live, bodies)) in Input::ALL.into_iter().zip(&self.lives) {
            let loaded = self.table.load(live, input, bodies)?;
            report.ratio(&RATIOS[input as usize], loaded / copied);
            report.detail(format!("postgres {}", input.name()), "rows/s", loaded);
        }
        Ok(())
    }

    /// Ends the services and removes the tables.
    pub fn end(self) -> Result<(), String> {
        self.lives.into_iter().try_for_each(|(live, _)| live.end(false))?;
        self.table.remove()
    }
}

impl Table {
    /// The stream's destination, in YAML.
    fn yaml(&self, input: Input) -> Result<String, String> {
        let part = |text: Option<&str>, what: &str| text.map(str::to_owned).ok_or_else(|| format!("{what} is missing"));
        let host = part(self.url.host_str(), "the host in `--postgres`")?;
        let (user, password) = (self.url.username(), part(self.url.password(), "the password in `--postgres`")?);
        let (database, port) = (self.url.path().trim_start_matches('/'), self.url.port().unwrap_or(5432));
        let bucket = self.servers.bucket_yaml(&format!("{STREAM}-{}", input.name()))?;
        Ok(format!(
            r#"    destination:
      postgres:
        url: "postgresql://{host}:{port}/{database}"
        table: {TABLE}_{input}
        claims_table: {TABLE}_loads
        input: {input}
        username: "{user}"
        password: "{password}"
        tls: {{ mode: disable }}
        retry_duration: 0s
        s3: {bucket}"#,
            input = input.name(),
        ))
    }

    fn psql(&self, statements: &str) -> Result<String, String> {
        let run = Command::new(&self.servers.psql)
            .args([
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "-v",
                "ON_ERROR_STOP=1",
                self.url.as_str(),
                "-c",
                statements,
            ])
            .output();
        let output = run.map_err(|e| format!("`{}`: {e}", self.servers.psql.display()))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(format!("psql: {}", String::from_utf8_lossy(&output.stderr).trim())),
        }
    }

    /// Makes the tables anew.
    fn make(&self) -> Result<(), String> {
        let columns: Vec<String> = self.columns.iter().map(|(name, of)| format!("\"{name}\" {of}")).collect();
        let columns = columns.join(", ");
        let make = |name: String| format!("DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({columns});");
        let of_inputs = Input::ALL.map(|input| make(format!("{TABLE}_{}", input.name()))).concat();
        self.psql(&format!("SET client_min_messages TO warning; {}{of_inputs}", make(TABLE.to_owned()))).map(drop)
    }

    fn empty(&self, name: &str, expected: usize) -> Result<(), String> {
        let found = self.psql(&format!("SELECT count(*) FROM {name}"))?;
        if found != expected.to_string() {
            return Err(format!("table {name}: found {found} rows, expected {expected}"));
        }
        self.psql(&format!("TRUNCATE {name}")).map(drop)?;
        self.psql("CHECKPOINT").map(drop)
    }

    fn copy(&self) -> Result<f64, String> {
        let began = Instant::now();
        self.psql(&format!("\\copy {TABLE} from '{}' with (format csv)", self.csv.display()))?;
        let seconds = began.elapsed().as_secs_f64();
        self.empty(TABLE, self.lines.len())?;
        Ok(self.lines.len() as f64 / seconds)
    }

    /// Rows a second from when the service may deliver until most are in the table: what is left waits for its buffer.
    fn load(&self, live: &Live, input: Input, bodies: &Arc<[Bytes]>) -> Result<f64, String> {
        let stream = live.stream()?;
        let told = |e: hydrant::error::Error| format!("postgres: {e}");
        stream.pause(true).map_err(told)?;
        live.load("PutRecordBatch", bodies, CONNECTIONS, End::Requests(bodies.len())).run()?;
        let began = Instant::now();
        stream.pause(false).map_err(told)?;
        let pending = live.settle(self.lines.len() as u64 / 5)?.pending;
        let per_second = (self.lines.len() as f64 - pending as f64) / began.elapsed().as_secs_f64();
        let status = live.settle(0)?;
        if let Some(alarm) = status.alarm {
            return Err(format!("postgres: {alarm}"));
        }
        self.empty(&format!("{TABLE}_{}", input.name()), self.lines.len())?;
        Ok(per_second)
    }

    /// Removes the tables.
    fn remove(&self) -> Result<(), String> {
        self.psql(&format!("DROP TABLE {TABLE}, {TABLE}_csv, {TABLE}_json, {TABLE}_loads")).map(drop)
    }
}
