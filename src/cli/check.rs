//! `hydrant check`.

use super::{Outcome, load};
use crate::format::schema::data_type;
use crate::transform::wasm::Module;
use std::path::PathBuf;
use std::process::ExitCode;

/// Loads each file as `run` would, modules and schemas included, and prints what is wrong.
pub fn check(configs: &[PathBuf]) -> Outcome {
    let mut wrong = false;
    for path in configs {
        let problems = match load(path) {
            Err(problems) => problems.lines().map(str::to_owned).collect(),
            Ok(config) => deeper(path, &config),
        };
        if problems.is_empty() {
            println!("{}: ok", path.display());
        }
        wrong |= !problems.is_empty();
        problems.iter().for_each(|p| println!("{p}"));
    }
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What loading does not look into: modules are compiled, column types are read.
fn deeper(path: &std::path::Path, config: &crate::config::Config) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, stream) in &config.streams {
        for crate::config::Transform::Wasm(wasm) in &stream.transform {
            let loaded = std::fs::read(&wasm.module).map_err(|e| e.to_string());
            if let Err(e) = loaded.and_then(|bytes| Module::load(&bytes, None).map_err(|e| e.to_string())) {
                let module = wasm.module.display();
                problems.push(format!("{}: `streams.{name}.transform`: module `{module}`: {e}", path.display()));
            }
        }
        let crate::config::Format::Parquet(parquet) = &stream.format else { continue };
        match crate::config::load_columns(&parquet.schema) {
            Err(e) => problems.extend(e.to_string().lines().map(str::to_owned)),
            Ok(columns) => problems.extend(columns.iter().filter_map(|c| {
                let e = data_type(&c.type_text).err()?;
                Some(format!("{}:{}:{}: `{}`: {e}", parquet.schema.display(), c.line, c.column, c.name))
            })),
        }
    }
    problems
}
