//! `hydrant convert`: what a stream makes of records, without a service.

use super::lines::{InputLines, open_unpacked};
use super::{Outcome, load, out::complain, out::say};
use crate::clock::wall_ms;
use crate::config::{JsonSerde, StreamConfig};
use crate::format::column_file::{ColumnEncoder, EncodedBytes};
use crate::format::coverage::ColumnCoverage;
use crate::format::lines::LinesEncoder;
use crate::format::{RecordFormat, Rows};
use crate::fs::fake::FakeFs;
use crate::stream::pipeline::load::{LiveTransform, Loader, Routes};
use crate::stream::pipeline::route::{Chunk, Judged, RecordVerdict, Route, Told, error_line};
use crate::stream::pipeline::settings::{definition, live_transform};
use crate::stream::state_log::blobs::Blobs;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Of a line: a file may have longer ones than a put takes. What has no end is not read to it.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Options of the command.
#[derive(clap::Args)]
pub(super) struct ConvertOptions {
    /// A file of lines of up to 64 MiB, each a record, or `-` for standard input; gzip is unpacked.
    file: PathBuf,
    /// A configuration, of which `--stream` says what becomes of the records: transform and format. Partitions and compression of
    /// whole objects are left out.
    #[arg(long, requires = "stream")]
    config: Option<PathBuf>,
    /// A stream of it.
    #[arg(long, requires = "config")]
    stream: Option<String>,
    /// Without a configuration: a schema, in any form that `format.parquet.schema` may have. Parquet is written.
    #[arg(long, conflicts_with = "config", required_unless_present = "config")]
    schema: Option<PathBuf>,
    /// With `--schema`: what JSON values may be.
    #[arg(long, default_value = "openx", value_parser = ["openx", "hive", "strict"])]
    serde: String,
    /// Where to. By default the input's name with the format's extension, in the working directory. What failed is written beside it,
    /// as `.failed.jsonl`.
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
}

/// Reads the records, and writes one object of what becomes of them. Ends with 1 if some failed.
pub(super) fn convert(options: &ConvertOptions) -> Outcome {
    let stream = stream(options)?;
    let route = route(options.stream.as_deref().unwrap_or_default(), &stream)?;
    let extension = route.format.extension().unwrap_or(".out");
    let output = options.output.clone().unwrap_or_else(|| default_output(&options.file, extension));
    let failures_path = PathBuf::from(format!("{}.failed.jsonl", output.display()));
    let same = |a: &Path, b: &Path| a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b));
    if same(&options.file, &output) || same(&options.file, &failures_path) {
        return Err(format!("`{}` is what is read, and cannot be written", options.file.display()));
    }
    if let Some(path) = [&output, &failures_path].into_iter().find(|path| path.exists() && !options.force) {
        return Err(format!("`{}` is there already; `--force` replaces it", path.display()));
    }
    let mut conversion = Conversion {
        encoder: ObjectEncoder::new(&route.format),
        route,
        object: OutputFile::new(&output)?,
        failures: None,
        failures_path,
        counts: Counts::default(),
        coverage: ColumnCoverage::default(),
        first_failure: None,
    };
    let mut lines = InputLines::new(open_unpacked(&options.file)?, false).of_at_most(LINE_BYTES_MAX);
    let (records_max, bytes_max) = conversion.route.chunk_limits();
    let mut chunk = Chunk::default();
    while let Some(record) = lines.next() {
        let record = record?;
        if chunk.records.len() == records_max || chunk.records.bytes().len() + record.len() > bytes_max {
            conversion.chunk(&std::mem::take(&mut chunk))?;
        }
        let number = conversion.counts.records + chunk.records.len() as u64;
        chunk.push(&record, number, wall_ms());
    }
    conversion.chunk(&chunk)?;
    conversion.end(&output)
}

/// The stream's settings, or those of one that has just that schema.
fn stream(options: &ConvertOptions) -> Result<StreamConfig, String> {
    if let (Some(path), Some(name)) = (&options.config, &options.stream) {
        let mut config = load(path)?;
        return config.streams.remove(name).ok_or_else(|| format!("`{}` has no stream `{name}`", path.display()));
    }
    let schema = options.schema.as_ref().ok_or("`--config` or `--schema` is missing")?;
    let serde: JsonSerde = serde_json::from_value(json!({ &options.serde: {} })).map_err(|e| e.to_string())?;
    let format = json!({ "parquet": { "schema": schema, "serde": serde } });
    let stream = json!({ "format": format, "destination": { "local": { "dir": "." } } });
    serde_json::from_value(stream).map_err(|e| e.to_string())
}

fn route(name: &str, stream: &StreamConfig) -> Result<Arc<Route>, String> {
    let told = |e: crate::error::Error| e.to_string();
    // Nothing is kept of what is compiled here.
    let blobs = Blobs::open(Arc::new(FakeFs::new()), PathBuf::from("epochs"), None).map_err(told)?;
    let live = if stream.transform.is_empty() { LiveTransform::default() } else { live_transform(Some(stream)) };
    let loader = Loader { stream: name.to_owned(), live, module_cache: None, routes: None };
    loader.load(&definition(stream, &blobs).map_err(told)?, &blobs).map_err(told)
}

/// `clicks.json.gz` becomes `clicks.parquet`.
fn default_output(input: &Path, extension: &str) -> PathBuf {
    let name = input.file_name().map_or_else(|| "stdin".into(), |name| name.to_string_lossy());
    let name = if name == "-" { "stdin".into() } else { name };
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    PathBuf::from(format!("{stem}{extension}"))
}

/// What failed in an earlier run, which is replaced by nothing.
#[expect(clippy::disallowed_methods, reason = "a file that somebody asked for, and no state")]
fn remove_old(path: &Path) -> Result<(), String> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("remove `{}`: {e}", path.display())),
        _ => Ok(()),
    }
}

/// A file that is being written; it has its name when it is whole.
struct OutputFile {
    file: BufWriter<File>,
    partial: PathBuf,
    bytes: u64,
}

impl OutputFile {
    #[expect(clippy::disallowed_methods, reason = "a file that somebody asked for, and no state")]
    fn new(path: &Path) -> Result<OutputFile, String> {
        let partial = PathBuf::from(format!("{}.partial", path.display()));
        let file = File::create(&partial).map_err(|e| format!("create `{}`: {e}", partial.display()))?;
        Ok(OutputFile { file: BufWriter::new(file), partial, bytes: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|e| format!("write `{}`: {e}", self.partial.display()))
    }

    #[expect(clippy::disallowed_methods, reason = "a file that somebody asked for, and no state")]
    fn end(mut self, path: &Path) -> Result<u64, String> {
        let done = self.file.flush().and_then(|()| std::fs::rename(&self.partial, path));
        done.map_err(|e| format!("write `{}`: {e}", path.display()))?;
        Ok(self.bytes)
    }
}

impl Drop for OutputFile {
    #[expect(clippy::disallowed_methods, reason = "a file that somebody asked for, and no state")]
    fn drop(&mut self) {
        // Gone if it has its name.
        let _ = std::fs::remove_file(&self.partial);
    }
}

#[derive(Default)]
struct Counts {
    records: u64,
    kept: u64,
    dropped: u64,
    failed: u64,
}

/// The object that is being made.
enum ObjectEncoder {
    Lines(LinesEncoder),
    Columns(ColumnEncoder, EncodedBytes),
}

impl ObjectEncoder {
    fn new(format: &RecordFormat) -> ObjectEncoder {
        match format {
            RecordFormat::Lines(lines) => ObjectEncoder::Lines(lines.encoder()),
            RecordFormat::Columns(columns) => {
                let bytes = EncodedBytes::default();
                ObjectEncoder::Columns(columns.encoder(Box::new(bytes.clone())), bytes)
            }
        }
    }

    /// The next bytes of the object, with the picked outputs in it.
    fn push(&mut self, judged: &Judged, picked: &[u32], arrivals: &[u64]) -> Vec<u8> {
        match (self, &judged.rows) {
            (ObjectEncoder::Columns(encoder, bytes), Rows::Columns(rows)) => {
                encoder.push(rows, Some(picked));
                bytes.take()
            }
            (ObjectEncoder::Lines(encoder), _) => {
                let mut out = Vec::new();
                encoder.push(&judged.outputs, picked, arrivals, &mut out);
                out
            }
            (ObjectEncoder::Columns(..), Rows::Bytes) => unreachable!("rows and object are of the same format"),
        }
    }

    /// The end of the object.
    fn finish(self) -> Vec<u8> {
        match self {
            ObjectEncoder::Lines(_) => Vec::new(),
            ObjectEncoder::Columns(encoder, bytes) => {
                encoder.finish();
                bytes.take()
            }
        }
    }
}

/// A conversion under way.
struct Conversion {
    route: Arc<Route>,
    encoder: ObjectEncoder,
    object: OutputFile,
    failures: Option<OutputFile>,
    failures_path: PathBuf,
    counts: Counts,
    coverage: ColumnCoverage,
    first_failure: Option<String>,
}

impl Conversion {
    fn chunk(&mut self, chunk: &Chunk) -> Result<(), String> {
        let judged = self.route.judge(chunk, wall_ms()).map_err(|e| e.to_string())?;
        let (mut picked, mut arrivals, mut lines) = (Vec::new(), Vec::new(), Vec::new());
        for (i, verdict) in judged.verdicts.iter().enumerate() {
            match verdict {
                RecordVerdict::Kept { first, count } => {
                    picked.extend(*first..first + count);
                    arrivals.extend(std::iter::repeat_n(chunk.arrivals[i], *count as usize));
                    self.counts.kept += 1;
                }
                RecordVerdict::Dropped => self.counts.dropped += 1,
                RecordVerdict::Failed { outlet, reason, raw, .. } => {
                    let (raw, keys) = judged.given(chunk, i, *raw);
                    let (offset, arrival_ms) = (chunk.offsets[i], chunk.arrivals[i]);
                    error_line(*outlet, &Told { reason, offset, output: 0, arrival_ms, raw, keys }, &mut lines);
                    let first = || format!("record {}: {}: {}", offset + 1, reason.code, reason.message);
                    self.first_failure.get_or_insert_with(first);
                    self.counts.failed += 1;
                }
            }
        }
        self.counts.records += chunk.records.len() as u64;
        if !lines.is_empty() {
            if self.failures.is_none() {
                self.failures = Some(OutputFile::new(&self.failures_path)?);
            }
            self.failures.iter_mut().try_for_each(|failures| failures.write(&lines))?;
        }
        self.object.write(&self.encoder.push(&judged, &picked, &arrivals))?;
        judged.coverage.into_iter().for_each(|coverage| self.coverage.merge(coverage));
        Ok(())
    }

    fn end(mut self, output: &Path) -> Outcome {
        self.object.write(&self.encoder.finish())?;
        let bytes = self.object.end(output)?;
        let Counts { records, kept, dropped, failed } = self.counts;
        let rounded = self.coverage.rounded;
        say!("{kept} of {records} records in `{}`, {bytes} bytes", output.display());
        if dropped > 0 {
            say!("{dropped} dropped by the transform");
        }
        if rounded > 0 {
            say!("{rounded} values were rounded: their columns have no room for all digits");
        }
        if let Some(complaint) = self.coverage.complaint() {
            complain(format_args!("{complaint}"));
        }
        let Some(failures) = self.failures else {
            remove_old(&self.failures_path)?;
            return Ok(ExitCode::SUCCESS);
        };
        failures.end(&self.failures_path)?;
        say!(
            "{failed} failed, in `{}`; the first: {}",
            self.failures_path.display(),
            self.first_failure.unwrap_or_default()
        );
        if failed == records {
            complain(format_args!(
                "each line is a record: a document of several lines, or an array, has to be taken apart first"
            ));
        }
        Ok(ExitCode::FAILURE)
    }
}
