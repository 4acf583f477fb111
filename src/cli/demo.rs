//! `hydrant demo`: the main job on embedded defaults. A directory is the bucket; the records are real ones that every
//! copy of the program carries: the packages it was built from.

#![expect(clippy::disallowed_methods, reason = "the demo writes its own example files")]

use super::client::{Client, batch_body};
use super::run::Service;
use super::{Outcome, out::say};
use crate::config;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const LOCK_FILE: &str = include_str!("../../Cargo.lock");
const MASK: &[u8] = include_bytes!("../../transforms/blueprints/mask.wasm");
const PATIENCE: Duration = Duration::from_secs(60);

/// Options of the command.
#[derive(clap::Args)]
pub(super) struct DemoOptions {
    /// Where to deliver; a new temporary directory if absent.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Keep running after the objects are shown.
    #[arg(long)]
    keep: bool,
}

/// Runs the service, puts records through its API, shows the delivered objects and the account, and ends.
pub(super) fn demo(options: &DemoOptions) -> Outcome {
    let dir = options
        .dir
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("hydrant-demo-{}", uuid::Uuid::new_v4().simple())));
    let made = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(dir.join("mask.wasm"), MASK));
    made.and_then(|()| std::fs::write(dir.join("packages.yaml"), SCHEMA))
        .map_err(|e| format!("`{}`: {e}", dir.display()))?;
    let text = configuration(&dir);
    let config = config::parse(&text, "demo", &dir, &|_| None).map_err(|e| e.to_string())?;
    let streams: Vec<String> = config.streams.keys().cloned().collect();
    crate::telemetry::init_logs(&config.log);
    let service = Service::start(config)?;
    say!("Hydrant listens on {}; the bucket is {}", service.api_address, dir.join("bucket").display());
    let records = packages();
    for stream in &streams {
        put(&service, stream, &records)?;
        say!("{} records put into `{stream}` and acknowledged: they are on disk", records.len());
    }
    let statuses = wait(&service)?;
    say!("\nDelivered objects:");
    show_objects(&dir.join("bucket"), &dir.join("bucket"))?;
    say!("");
    let mut gap = 0;
    for s in &statuses {
        let count = |o: &str| s.outlets.get(o).map_or(0, |o| o.records);
        say!(
            "{}: accepted {} = delivered {} + dropped {} + failed {} + pending {}, gap {}",
            s.stream,
            s.accepted,
            count("destination"),
            count("dropped"),
            count("processing-failed") + count("format-conversion-failed"),
            s.pending,
            s.gap
        );
        gap += s.gap.abs();
    }
    if options.keep {
        say!(
            "\nPut one yourself while this runs, here through the AWS CLI 2:\n  {}",
            put_yourself(&service, &streams[0])
        );
        say!("It is delivered a second later, below packages/source=me/.");
        say!("\nRunning until it is interrupted.");
        let _ = service.runtime.block_on(tokio::signal::ctrl_c());
    }
    if !options.keep {
        say!("\n`hydrant demo --keep` goes on running then and prints the command that puts a record of your own.");
    }
    service.finish();
    Ok(if gap == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A record that the stream's transform takes: it wants an `origin` to partition by.
const OWN_RECORD: &str = r#"{"name":"me","origin":"me"}"#;

/// The command line that puts it.
fn put_yourself(service: &Service, stream: &str) -> String {
    let data = base64_simd::STANDARD.encode_to_string(OWN_RECORD);
    format!(
        "AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any aws firehose put-record --region us-east-1 \\\n    \
         --endpoint-url http://{} --delivery-stream-name {stream} --record '{{\"Data\":\"{data}\"}}'",
        service.api_address
    )
}

const SCHEMA: &str = "columns: { name: string, version: string, source: string, dependencies: array<string> }\n";

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"data_dir: "{dir}/data"
api: {{ listen: 127.0.0.1:0 }}
admin: {{ listen: 127.0.0.1:0 }}
log: {{ format: human, level: warn }}
streams:
  packages-lines:
    source: direct_put
    transform:
      - wasm:
          module: mask.wasm
          config: {{ mask_fields: [checksum], partition_keys: {{ source: origin }} }}
    compress: gzip
    buffer: {{ size: 1MiB, interval: 1s }}
    destination:
      local:
        dir: "{dir}/bucket"
        prefix: "packages/source=!{{partitionKeyFromLambda:source}}/!{{timestamp:yyyy/MM/dd}}/"
        error_prefix: "errors/!{{firehose:error-output-type}}/"
    backup:
      mode: all
      buffer: {{ size: 1MiB, interval: 1s }}
      local: {{ dir: "{dir}/bucket", prefix: "raw/" }}
  packages-parquet:
    source: direct_put
    format: {{ parquet: {{ schema: packages.yaml }} }}
    buffer: {{ size: 1MiB, interval: 1s }}
    destination:
      local: {{ dir: "{dir}/bucket", prefix: "parquet/" }}
"#
    )
}

/// The lock file's packages as JSON.
fn packages() -> Vec<Vec<u8>> {
    let packages = LOCK_FILE.split("[[package]]").skip(1);
    packages
        .map(|text| {
            let value = |key: &str| {
                let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(" = \""))?;
                Some(line.trim_end_matches('"').to_owned())
            };
            let dependencies =
                text.split_once("dependencies = [").map_or("", |(_, rest)| rest.split(']').next().unwrap_or(""));
            let dependencies: Vec<&str> = dependencies.split('"').skip(1).step_by(2).collect();
            let source = value("source");
            let record = serde_json::json!({
                "name": value("name"),
                "version": value("version"),
                "source": source,
                "origin": if source.is_some() { "registry" } else { "here" },
                "checksum": value("checksum"),
                "dependencies": dependencies,
            });
            record.to_string().into_bytes()
        })
        .collect()
}

fn put(service: &Service, stream: &str, records: &[Vec<u8>]) -> Result<(), String> {
    service.runtime.block_on(async {
        let mut client = Client::connect(service.api_address, None, "us-east-1").await?;
        for batch in records.chunks(500) {
            let body = batch_body(stream, batch.iter().map(Vec::as_slice));
            let (status, answer) = client.call("PutRecordBatch", body).await?;
            if !status.is_success() {
                return Err(String::from_utf8_lossy(&answer).into_owned());
            }
        }
        Ok(())
    })
}

/// Waits until everything is settled.
fn wait(service: &Service) -> Result<Vec<crate::stream::supervise::Status>, String> {
    let began = Instant::now();
    loop {
        let statuses = service.node.statuses();
        if statuses.iter().all(|s| s.pending == 0 && s.backup_pending == 0 && s.accepted > 0) {
            return Ok(statuses);
        }
        if began.elapsed() > PATIENCE {
            let alarms: Vec<String> = statuses.into_iter().map(|s| s.alarm.unwrap_or(s.lane)).collect();
            return Err(format!("not delivered after {} s: {}", PATIENCE.as_secs(), alarms.join("; ")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn show_objects(root: &Path, dir: &Path) -> Result<(), String> {
    let io = |e: std::io::Error| format!("`{}`: {e}", dir.display());
    let mut entries: Vec<_> = std::fs::read_dir(dir).map_err(io)?.collect::<Result<_, _>>().map_err(io)?;
    entries.sort_by_key(|e| e.file_name());
    for entry in entries {
        let path = entry.path();
        match path.is_dir() {
            true => show_objects(root, &path)?,
            false => {
                let bytes = entry.metadata().map_err(io)?.len();
                say!("  {bytes:>8} B  {}", path.strip_prefix(root).unwrap_or(&path).display());
            }
        }
    }
    Ok(())
}
