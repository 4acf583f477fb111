//! The commands. Each file is one; all of them print what they did to standard output, what went wrong to standard
//! error, and end with 0, 1 (it did not work) or 2 (it was called wrongly).

mod audit;
mod check;
mod check_online;
pub mod client;
mod convert;
mod demo;
mod lines;
mod out;
mod pinned;
mod put;
mod redrive;
mod repair;
pub mod run;
mod schema;
mod status;
mod transform;

use crate::config::{self, Config};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Hydrant: the Firehose you own.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service.
    Run { config: PathBuf },
    /// Try it: no file, no server, no account. Puts real records into itself and shows what was delivered.
    Demo(demo::DemoOptions),
    /// Check configuration files; prints file:line:column of every problem.
    Check(check::CheckOptions),
    /// Put the lines of a file, or of standard input, as records.
    Put(put::PutOptions),
    /// Convert the records of a file as a stream would, without a service: what failed is written beside.
    Convert(convert::ConvertOptions),
    /// Work on schemas of columns.
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
    /// Show how the streams of a running service stand.
    Status(status::StatusOptions),
    /// Put failed records in again where they failed, each once.
    Redrive(redrive::RedriveOptions),
    /// Keep a stream from delivering; it takes records all the same.
    Pause(redrive::StreamOptions),
    /// Let a paused stream go on.
    Resume(redrive::StreamOptions),
    /// Give up on what the destination of a stream has not taken so far, whatever holds it: it goes where failures go.
    Abandon(redrive::StreamOptions),
    /// Take note of what the medium has lost of a stream: the alarm ends, the counts stay.
    Acknowledge(redrive::StreamOptions),
    /// Prove from the files that every accepted record is accounted for.
    Audit(audit::AuditOptions),
    /// Mend streams that are held because files of theirs are damaged: says what it would do, and does it with --apply.
    Repair(repair::RepairOptions),
    /// Work on transforms.
    #[command(subcommand)]
    Transform(transform::TransformCommand),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run { config } => run::run(&config),
        Command::Demo(options) => demo::demo(&options),
        Command::Check(options) => check::check(&options),
        Command::Put(options) => put::put(&options),
        Command::Convert(options) => convert::convert(&options),
        Command::Schema(command) => schema::schema(&command),
        Command::Status(options) => status::status(&options),
        Command::Redrive(options) => redrive::redrive(&options),
        Command::Pause(stream) => redrive::verb(&stream, "pause"),
        Command::Resume(stream) => redrive::verb(&stream, "resume"),
        Command::Abandon(stream) => redrive::verb(&stream, "abandon"),
        Command::Acknowledge(stream) => redrive::verb(&stream, "acknowledge"),
        Command::Audit(options) => audit::audit(&options),
        Command::Repair(options) => repair::repair(&options),
        Command::Transform(command) => transform::transform(&command),
    };
    let code = outcome.unwrap_or_else(|message| {
        out::complain(format_args!("{message}"));
        ExitCode::FAILURE
    });
    crate::telemetry::flush_logs();
    code
}

/// What a command ends with: a code, or a message for standard error.
pub type Outcome = Result<ExitCode, String>;

/// Loads a configuration with the process's environment; the error is a line per problem.
fn load(path: &Path) -> Result<Config, String> {
    config::load(path, &|name| std::env::var(name).ok()).map_err(|e| e.to_string())
}

/// A runtime for a command that only talks to a service.
pub fn small_runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| format!("start a runtime: {e}"))
}
