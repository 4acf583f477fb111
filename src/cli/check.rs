//! `hydrant check`.

use super::check_online::online;
use super::{Outcome, out::say};
use crate::api::{tls::acceptor, wire::BODY_BYTES_MAX};
use crate::config::{self, Config, Problem, REQUEST_BYTES_MAX, StreamConfig, Transform, WrittenConfig};
use crate::format::schema::ColumnType;
use crate::fs::fake::FakeFs;
use crate::stream::pipeline::load::Loader;
use crate::stream::pipeline::load::Routes;
use crate::stream::pipeline::settings::{definition, live_transform};
use crate::stream::state_log::blobs::Blobs;
use crate::transform::wasm::code;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

// `memory` is checked against the largest body that the API takes, which `config` must not import.
const _: () = assert!(REQUEST_BYTES_MAX.bytes() == BODY_BYTES_MAX as u64);

/// Options of the command.
#[derive(clap::Args)]
pub(super) struct CheckOptions {
    #[arg(required = true)]
    configs: Vec<PathBuf>,
    /// Also try what the streams need of others: buckets, endpoints, tables. An endpoint gets a request without records, a
    /// bucket the small object that `run` puts there too.
    #[arg(long)]
    online: bool,
}

/// Loads each file as `run` would, modules, schemas and certificates included, and prints what is wrong.
pub(super) fn check(options: &CheckOptions) -> Outcome {
    let mut wrong = false;
    for path in &options.configs {
        let problems = match config::load_written(path, &|name| std::env::var(name).ok()) {
            Err(errors) => errors.0,
            Ok((config, written)) => match deeper(&config, &written) {
                problems if problems.is_empty() && options.online => online(&config, &written)?,
                problems => problems,
            },
        };
        if problems.is_empty() {
            say!("{}: ok", path.display());
        }
        wrong |= !problems.is_empty();
        problems.iter().for_each(|p| say!("{p}"));
    }
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What reading a file does not look into, done by the code that `run` does it with.
fn deeper(config: &Config, written: &WrittenConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(Err(e)) = config.api.tls.as_ref().map(acceptor) {
        let message = e.to_string();
        let key = if message.starts_with("key ") { "key" } else { "cert" };
        problems.push(written.problem(&["api", "tls", key], message));
    }
    for (name, stream) in &config.streams {
        let columns = columns(stream);
        // Types that cannot be read would only be reported once more, without their place.
        match columns.is_empty() {
            true => problems.extend(route(name, stream, written)),
            false => problems.extend(columns),
        }
    }
    problems
}

/// What is wrong with a schema's types, at their places in its file.
fn columns(stream: &StreamConfig) -> Vec<Problem> {
    let Some(schema) = stream.format.schema() else { return Vec::new() };
    let columns = match config::load_columns(schema) {
        Ok(columns) => columns,
        Err(errors) => return errors.0,
    };
    let wrong = columns.iter().filter_map(|c| {
        let (file, path) = (schema.display().to_string(), format!("columns.{}", c.name));
        let message = ColumnType::parse(&c.type_text).err()?.to_string();
        Some(Problem { file, line: c.line, column: c.column, path, message })
    });
    wrong.collect()
}

/// Makes the stream's route as an epoch would, in a file system that is forgotten: the pin is compared, the module
/// compiled, its `init` called.
fn route(name: &str, stream: &StreamConfig, written: &WrittenConfig) -> Option<Problem> {
    let wasm = stream.transform.first().map(|Transform::Wasm(wasm)| wasm);
    let at = |key: &str, message: String| match wasm {
        Some(_) => written.problem(&["streams", name, "transform", "[0]", "wasm", key], message),
        None => written.problem(&["streams", name], message),
    };
    let made = Blobs::open(Arc::new(FakeFs::new()), PathBuf::from("epochs"), None);
    let made = made.and_then(|blobs| Ok((definition(stream, &blobs)?, blobs)));
    let (definition, blobs) = match made {
        Ok(made) => made,
        Err(e) if wasm.is_some_and(|w| w.sha256.is_some()) => return Some(at("sha256", e.to_string())),
        Err(e) => return Some(at("module", e.to_string())),
    };
    // Nothing is kept of what is compiled here: `check` writes nothing.
    let loader =
        Loader { stream: name.to_owned(), live: live_transform(Some(stream)), module_cache: None, routes: None };
    let error = loader.load(&definition, &blobs).err()?.to_string();
    let is_configured = wasm.is_some_and(|w| w.config.is_some());
    let key = if is_configured && error.contains(code::INIT_FAILED) { "config" } else { "module" };
    let module = wasm.map_or(Path::new(""), |w| &w.module).display();
    Some(at(key, if wasm.is_some() { format!("module `{module}`: {error}") } else { error }))
}
