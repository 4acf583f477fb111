//! What is measured, as it is asked for.

use crate::corpus::Kind;
use crate::service::Shape;
use crate::table::Servers;
use std::path::PathBuf;

/// Measure this machine: ratios of the service to bare loops, end to end.
#[derive(clap::Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) alone: Option<Alone>,
    /// Which records.
    #[arg(long, value_enum, default_value = "weblog")]
    pub(crate) corpus: Kind,
    /// MiB of records in a round, and of a stream's buffer.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=128))]
    pub(crate) mib: u64,
    /// Rounds that count; one more warms up.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Only this part, and what it is compared with; may be given several times.
    #[arg(long, value_enum)]
    pub(crate) only: Vec<Part>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Where journals and objects are written, in a new directory that is removed at the end. Default: the system's
    /// temporary directory.
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// For `--only decode`: a Python that has `aws_kinesis_agg`.
    #[arg(long, default_value = "python3")]
    pub(crate) python: PathBuf,
    #[command(flatten)]
    pub(crate) servers: Servers,
    /// GiB of records for each measurement of memory.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) memory_gib: f64,
}

/// A part that can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// End to end, gzip.
    Gzip,
    /// End to end, uncompressed lines.
    Lines,
    /// End to end, Parquet.
    Parquet,
    /// JSON to Arrow and to Parquet, alone; only when it is named.
    Columns,
    /// End to end, requests to an endpoint; with the gzip part, which it is compared with.
    Http,
    /// Failed records that are taken again.
    Redrive,
    /// Single records: acknowledgements a second, and how soon.
    Puts,
    /// Resident memory.
    Memory,
    /// User records out of answers of Kinesis, over `aws_kinesis_agg`; only when it is named, with the Python that has it.
    Decode,
    /// Rows into a table of PostgreSQL, over `\copy`; only when it is named, with the servers that it needs.
    Postgres,
}

/// What this program is started as by itself.
#[derive(clap::Subcommand)]
pub(crate) enum Alone {
    /// The service alone, whose memory is measured.
    #[command(hide = true)]
    Run { config: PathBuf },
}

impl Options {
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    pub(crate) fn wants_shape(&self, shape: Shape) -> bool {
        self.wants(match shape {
            // What HTTP is compared with.
            Shape::Gzip if self.wants(Part::Http) => Part::Http,
            Shape::Gzip => Part::Gzip,
            Shape::Lines => Part::Lines,
            Shape::Parquet => Part::Parquet,
            // Only with a bucket to measure it in.
            Shape::S3 if self.servers.bucket.is_none() => return false,
            Shape::Http | Shape::S3 => Part::Http,
        })
    }

    /// Steps of the progress bar.
    pub(crate) fn steps(&self) -> u64 {
        let shapes = Shape::ALL.into_iter().filter(|s| self.wants_shape(*s)).count();
        let asked = [Part::Puts, Part::Redrive].iter().filter(|p| self.wants(**p)).count();
        let named = [Part::Postgres, Part::Decode, Part::Columns].iter().filter(|p| self.only.contains(p)).count();
        (3 + shapes + asked + named) as u64 * (self.rounds as u64 + 1) + if self.wants(Part::Memory) { 3 } else { 0 }
    }
}
