//! How fast the service is, as ratios to loops that do the same work with nothing around it, all of them
//! measured in one run, in turn, on the same records. A time alone says as much about the machine and its neighbours as
//! about the program, so none is a headline.

#![expect(clippy::disallowed_methods, reason = "tests and measurements play with files of their own")]

mod acks;
mod columns;
mod corpus;
mod decode;
mod endpoint;
mod load;
mod machine;
mod memory;
mod options;
mod ratios;
mod redrive;
mod reference;
mod report;
mod scratch;
mod service;
mod stats;
mod table;

use arrow_schema::SchemaRef;
use bytes::Bytes;
use clap::Parser;
use columns::Columns;
use corpus::Corpus;
use decode::Decode;
use endpoint::Endpoint;
use hydrant::config::{Log, LogFormat, LogLevel};
use indicatif::{ProgressBar, ProgressStyle};
use options::{Alone, Options, Part};
use ratios::*;
use reference::{Loop, Own};
use report::{Heading, Report};
use scratch::{Removed, remove_when_interrupted};
use service::{Live, Pass, Setup, Shape};
use stats::quantile;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use table::Tables;

/// Of 16 connections that put single records, and half of it of the loop they are compared with.
const PUTS_TIME: Duration = Duration::from_secs(1);
/// Longer than a buffer takes to fill: buffers are cut by size.
const INTERVAL: &str = "10s";
/// Buffers on their way to an endpoint: 10,000 records come first; what is left behind a pass waits no longer than it must.
const HTTP_BUFFER_MIB: u64 = 16;
const HTTP_INTERVAL: &str = "1s";

#[global_allocator]
static ALLOCATOR: hydrant::allocator::Allocator = hydrant::allocator::Allocator;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.alone {
        Some(Alone::Run { config }) => hydrant::cli::run::run(config),
        None => bench(&options).map(|()| ExitCode::SUCCESS),
    };
    let code = done.unwrap_or_else(|message| {
        hydrant::telemetry::write_line(format!("{message}\n").as_bytes());
        ExitCode::FAILURE
    });
    hydrant::telemetry::flush_logs();
    code
}

/// Measures and prints.
fn bench(options: &Options) -> Result<(), String> {
    let base = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let base = base.canonicalize().map_err(|e| format!("`{}`: {e}", base.display()))?;
    let dir = Removed(base.join(format!("hydrant-bench-{}", uuid::Uuid::new_v4().simple())));
    std::fs::create_dir(&dir.0).map_err(|e| format!("make `{}`: {e}", dir.0.display()))?;
    remove_when_interrupted(dir.0.clone());
    // Every refusal that `redrive` is measured with is a warning.
    let level = if options.wants(Part::Redrive) { LogLevel::Error } else { LogLevel::Warn };
    hydrant::telemetry::init_logs(&Log { format: LogFormat::Human, level });
    let mut bench = Bench::new(options, &dir.0)?;
    let mut report = Report::default();
    for round in 0..=options.rounds {
        // The first round warms up.
        let mut warm_up = Report::default();
        bench.round(if round == 0 { &mut warm_up } else { &mut report }, round)?;
    }
    bench.end()?;
    if options.wants(Part::Memory) {
        for (i, shape) in Shape::OBJECTS.into_iter().enumerate() {
            bench.memory(&mut report, i, shape)?;
        }
    }
    bench.progress.finish_and_clear();
    let heading = bench.heading(&base);
    match options.json {
        true => println!("{:#}", report.json(&heading)),
        false => println!("{}\n{NOTES}", report.text(&heading).trim_end()),
    }
    Ok(())
}

fn step(progress: &ProgressBar, message: String) {
    progress.set_message(message);
    progress.inc(1);
}

/// What every round needs, made before the first.
struct Bench<'a> {
    options: &'a Options,
    dir: &'a Path,
    corpus: Corpus,
    schema: SchemaRef,
    own: [Option<Own>; 2],
    bodies: Arc<[Bytes]>,
    /// Those of them that go to an endpoint, and their records.
    requests: (Arc<[Bytes]>, usize),
    single_bodies: Arc<[Bytes]>,
    /// One service for each shape, and one for single records.
    lives: Vec<(Shape, Live)>,
    puts: Option<Live>,
    redrive: Option<Live>,
    tables: Option<Tables>,
    decode: Option<Decode>,
    columns: Option<Columns>,
    progress: ProgressBar,
}

impl<'a> Bench<'a> {
    fn new(options: &'a Options, dir: &'a Path) -> Result<Bench<'a>, String> {
        let progress = ProgressBar::new(options.steps());
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {elapsed} {msg}");
        progress.set_style(style.map_err(|e| e.to_string())?);
        progress.set_message("making records");
        progress.tick();
        let corpus = Corpus::generate(options.corpus, (options.mib << 20) as usize);
        let schema = options.corpus.schema()?;
        let own_parquet = (options.wants(Part::Parquet) || options.wants(Part::Columns))
            .then(|| Own::parquet(&corpus))
            .transpose()?;
        let own_gzip = options.wants(Part::Gzip).then(|| Own::gzip(&corpus));
        let (bodies, single_bodies) = (service::bodies(corpus.records()), acks::bodies(&corpus));
        let some = service::full_requests(bodies.len());
        let requests = (bodies[..some].into(), corpus.len().min(some * service::RECORDS_PER_REQUEST));
        let start = |shape| {
            let (dir, kind, buffer_mib) = (service::next_dir(dir), options.corpus, options.mib);
            let setup = Setup {
                dir,
                kind,
                shape,
                buffer_mib,
                interval: INTERVAL,
                ports: [0, 0],
                endpoint: None,
                destination: None,
            };
            Live::start(match shape {
                Shape::S3 => Setup { destination: Some(options.servers.s3_yaml()?), ..setup },
                Shape::Http => {
                    let endpoint = Some(Arc::new(Endpoint::start()?));
                    Setup { buffer_mib: HTTP_BUFFER_MIB, interval: HTTP_INTERVAL, endpoint, ..setup }
                }
                _ => setup,
            })
        };
        let shapes = Shape::ALL.into_iter().filter(|s| options.wants_shape(*s));
        let lives = shapes.map(|s| Ok((s, start(s)?))).collect::<Result<_, String>>()?;
        let puts = if options.wants(Part::Puts) { Some(start(Shape::Lines)?) } else { None };
        let redrive = if options.wants(Part::Redrive) { Some(start(Shape::Http)?) } else { None };
        let tables = options.only.contains(&Part::Postgres);
        let tables = tables.then(|| Tables::start(&options.servers, dir, &corpus)).transpose()?;
        let decode = options.only.contains(&Part::Decode);
        let decode = decode.then(|| Decode::start(&options.python, &corpus, dir)).transpose()?;
        let columns = options.only.contains(&Part::Columns).then(|| Columns::new(&corpus)).transpose()?;
        let own = [own_gzip, own_parquet];
        Ok(Bench {
            options,
            dir,
            corpus,
            schema,
            own,
            bodies,
            requests,
            single_bodies,
            lives,
            puts,
            redrive,
            tables,
            decode,
            columns,
            progress,
        })
    }

    /// Ends the services; what they left on disk must agree.
    fn end(&mut self) -> Result<(), String> {
        for (shape, live) in self.lives.drain(..) {
            live.end(true).map_err(|e| format!("{}, from disk: {e}", shape.name()))?;
        }
        self.puts.take().into_iter().chain(self.redrive.take()).try_for_each(|live| live.end(false))?;
        self.tables.take().map_or(Ok(()), Tables::end)
    }

    fn heading(&self, base: &Path) -> Heading {
        Heading {
            corpus: self.corpus.kind.name(),
            mib: self.corpus.bytes().len() as f64 / (1u64 << 20) as f64,
            records: self.corpus.len(),
            record_bytes: self.corpus.bytes().len() / self.corpus.len(),
            rounds: self.options.rounds as usize,
            cpus: std::thread::available_parallelism().map_or(1, |n| n.get()),
            dir: base.display().to_string(),
            dir_in_memory: machine::is_in_memory(base),
        }
    }

    fn step(&self, message: String) {
        step(&self.progress, message);
    }

    /// Everything once.
    fn round(&mut self, report: &mut Report, round: u32) -> Result<(), String> {
        let name = if round == 0 { "warm-up".to_owned() } else { format!("round {round}") };
        self.step(format!("{name}: two threads over one"));
        report.two_over_one.push(machine::two_over_one());
        self.step(format!("{name}: references"));
        let before = reference::parquet(&self.corpus, &self.schema)?;
        let gzip = reference::gzip(&self.corpus)?;
        let owns = [self.own[0].as_ref(), self.own[1].as_ref()].map(|own| own.map(Own::run));
        let mut passes = Vec::new();
        for (shape, live) in &mut self.lives {
            step(&self.progress, format!("{name}: {}, end to end", shape.describe()));
            passes.push(match shape {
                Shape::Http => (*shape, live.pass_in_requests(&self.requests.0, self.requests.1)?),
                _ => (*shape, live.pass(&self.bodies, self.corpus.len())?),
            });
        }
        self.step(format!("{name}: reference"));
        let after = reference::parquet(&self.corpus, &self.schema)?;
        let reference = Loop {
            seconds: (before.seconds + after.seconds) / 2.0,
            cpu_s: (before.cpu_s + after.cpu_s) / 2.0,
            out_bytes: after.out_bytes,
        };
        let [own_gzip, own_parquet] = owns.map(Option::transpose);
        self.loops(report, &reference, &gzip, own_gzip?, own_parquet?);
        for (shape, pass) in &passes {
            self.end_to_end(report, *shape, pass, &reference, &gzip);
        }
        let pass_of = |shape| passes.iter().find(|(of, _)| *of == shape).map(|(_, pass)| pass);
        for (shape, ratio) in [(Shape::Gzip, &HTTP), (Shape::S3, &HTTP_S3)] {
            if let Some((other, http)) = pass_of(shape).zip(pass_of(Shape::Http)) {
                report.ratio(ratio, http.records as f64 / http.seconds / (other.records as f64 / other.seconds));
            }
        }
        if let Some(live) = &self.redrive {
            self.step(format!("{name}: redrive"));
            self.redrive(report, live)?;
        }
        if let (Some(columns), Some(own)) = (&self.columns, &self.own[1]) {
            self.step(format!("{name}: columns"));
            columns.round(report, own, &reference)?;
        }
        if let Some(decode) = &self.decode {
            self.step(format!("{name}: decode"));
            decode.round(report)?;
        }
        if let Some(tables) = &self.tables {
            self.step(format!("{name}: postgres"));
            tables.round(report)?;
        }
        if let Some(live) = &self.puts {
            self.step(format!("{name}: single puts"));
            self.puts(report, live)?;
        }
        Ok(())
    }

    fn mb_per_second(&self, seconds: f64) -> f64 {
        self.corpus.bytes().len() as f64 / 1e6 / seconds
    }

    fn loops(&self, report: &mut Report, parquet: &Loop, gzip: &Loop, own_gzip: Option<Loop>, own: Option<Loop>) {
        report.detail("REF", "MB/s", self.mb_per_second(parquet.seconds));
        report.detail("REFGZ", "MB/s", self.mb_per_second(gzip.seconds));
        if let Some(own) = own {
            report.ratio(&OWN_PARQUET, parquet.seconds / own.seconds);
            report.detail("own parquet", "MB/s", self.mb_per_second(own.seconds));
        }
        if let Some(own) = own_gzip {
            report.ratio(&OWN_GZIP, gzip.seconds / own.seconds);
            report.detail("own gzip", "MB/s", self.mb_per_second(own.seconds));
        }
    }

    fn end_to_end(&self, report: &mut Report, shape: Shape, pass: &Pass, parquet: &Loop, gzip: &Loop) {
        let (name, bytes) = (shape.name(), pass.object_bytes as f64);
        match shape {
            Shape::Gzip => {
                report.ratio(&GZIP, parquet.seconds / pass.seconds);
                report.ratio(&GZIP_SIX, gzip.seconds / pass.seconds);
                report.ratio(&GZIP_CPU, pass.service_cpu_s / gzip.cpu_s);
                report.ratio(&GZIP_SIZE, bytes / gzip.out_bytes as f64);
            }
            Shape::Lines => report.ratio(&LINES, parquet.seconds / pass.seconds),
            Shape::Parquet => {
                report.ratio(&PARQUET, parquet.seconds / pass.seconds);
                report.ratio(&PARQUET_CPU, pass.service_cpu_s / parquet.cpu_s);
                report.ratio(&PARQUET_SIZE, bytes / parquet.out_bytes as f64);
            }
            Shape::Http => return self.requests(report, pass),
            Shape::S3 => {}
        }
        let corpus_bytes = self.corpus.bytes().len() as f64;
        report.detail(format!("{name}: end to end"), "MB/s", self.mb_per_second(pass.seconds));
        report.detail(format!("{name}: acknowledged"), "MB/s", self.mb_per_second(pass.acks_s));
        report.detail(format!("{name}: CPU of the service"), "ns/B", pass.service_cpu_s * 1e9 / corpus_bytes);
        for (thread, cpu_s) in [("the stream's thread", pass.stream_cpu_s), ("the committer", pass.committer_cpu_s)] {
            // However many CPUs there are, there is one of it.
            report.detail(format!("{name}: CPU of {thread}"), "ns/B", cpu_s * 1e9 / corpus_bytes);
            report.detail(format!("{name}: {thread} allows"), "MB/s", corpus_bytes / 1e6 / cpu_s);
        }
        report.detail(format!("{name}: objects"), "", pass.objects as f64);
        report.detail(format!("{name}: object bytes / JSON bytes"), "", bytes / corpus_bytes);
        if pass.refused > 0 {
            report.detail(format!("{name}: told to slow down"), "times", pass.refused as f64);
        }
    }

    fn requests(&self, report: &mut Report, pass: &Pass) {
        let share = |records| records as f64 / self.corpus.len() as f64;
        let put_bytes = share(self.requests.1) * self.corpus.bytes().len() as f64;
        let delivered_mb = share(pass.records) * self.corpus.bytes().len() as f64 / 1e6;
        report.detail("http: end to end", "MB/s", delivered_mb / pass.seconds);
        report.detail("http: acknowledged", "MB/s", put_bytes / 1e6 / pass.acks_s);
        report.detail("http: CPU of the service", "ns/B", pass.service_cpu_s * 1e9 / put_bytes);
        report.detail("http: requests", "", pass.objects as f64);
        report.detail("http: request bytes / JSON bytes", "", pass.request_bytes as f64 / put_bytes);
        if pass.refused > 0 {
            report.detail("http: told to slow down", "times", pass.refused as f64);
        }
    }

    fn redrive(&self, report: &mut Report, live: &Live) -> Result<(), String> {
        let done = redrive::run(live, &self.bodies, self.corpus.len())?;
        report.detail("redrive: per second of CPU", "records", done.records as f64 / done.cpu_s);
        report.detail("redrive", "records/s", done.records as f64 / done.seconds);
        report.detail("redrive: CPUs in use", "", done.cpu_s / done.seconds);
        Ok(())
    }

    fn puts(&self, report: &mut Report, live: &Live) -> Result<(), String> {
        let disk = |e: std::io::Error| format!("write in `{}`: {e}", self.dir.display());
        let appends = machine::synced_appends_per_second(self.dir, PUTS_TIME / 2).map_err(disk)?;
        let commit = quantile(&machine::commits_s(self.dir).map_err(disk)?, 0.5);
        let acks = acks::run(live, &self.single_bodies, PUTS_TIME)?;
        report.ratio(&ACKS, acks.per_second / appends);
        report.ratio(&ACK, quantile(&acks.alone_s, 0.5) / commit);
        report.ratio(&ACK_BUSY, quantile(&acks.busy_s, 0.99) / commit);
        report.detail("single puts, 16 connections", "acks/s", acks.per_second);
        report.detail("write+fdatasync per record", "records/s", appends);
        report.detail("bare 4 KiB write+fdatasync: p50", "ms", commit * 1e3);
        for (name, seconds) in acks.loads() {
            report.detail(format!("ack, {name}: p50"), "ms", quantile(seconds, 0.5) * 1e3);
            report.detail(format!("ack, {name}: p99"), "ms", quantile(seconds, 0.99) * 1e3);
        }
        Ok(())
    }

    fn memory(&self, report: &mut Report, i: usize, shape: Shape) -> Result<(), String> {
        self.step(format!("memory: {}, {} GiB", shape.describe(), self.options.memory_gib));
        let dir = service::next_dir(self.dir);
        let kind = self.corpus.kind;
        let found = memory::run(dir, kind, shape, &self.corpus, &self.bodies, self.options.memory_gib)?;
        let mib = |bytes: f64| bytes / (1u64 << 20) as f64;
        report.ratio(&PEAKS[i], mib(found.peak as f64) / memory::BUFFER_MIB as f64);
        if found.samples > 0 {
            report.ratio(&GROWTHS[i], found.growth());
        }
        let name = format!("memory {}", shape.name());
        report.detail(format!("{name}: idle"), "MiB", mib(found.idle as f64));
        report.detail(format!("{name}: first third"), "MiB", mib(found.first_third));
        report.detail(format!("{name}: last third"), "MiB", mib(found.last_third));
        report.detail(format!("{name}: peak"), "MiB", mib(found.peak as f64));
        report.detail(format!("{name}: records put"), "MiB", mib(found.data_bytes as f64));
        report.detail(format!("{name}: objects"), "", found.objects as f64);
        Ok(())
    }
}
