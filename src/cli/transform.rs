//! `hydrant transform`.

use super::{Outcome, out::complain, out::say};
use crate::record::Records;
use crate::transform::wasm::{Module, Settings, WasmTransform, inspect};
use crate::transform::{RecordTransform, TransformVerdict};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Commands on transforms.
#[derive(clap::Subcommand)]
pub(super) enum TransformCommand {
    /// Show what a component imports and exports.
    Inspect { module: PathBuf },
    /// Run a component over the lines of a file and print one outcome a line, as Lambda would shape it.
    Test {
        #[arg(long)]
        module: PathBuf,
        /// JSON lines, each a record.
        #[arg(long)]
        input: PathBuf,
        /// What the output has to be, line by line; ends with 1 if it is not.
        #[arg(long)]
        expect: Option<PathBuf>,
        /// JSON for the component's `init`.
        #[arg(long)]
        config: Option<String>,
    },
}

pub(super) fn transform(command: &TransformCommand) -> Outcome {
    match command {
        TransformCommand::Inspect { module } => {
            let found = inspect(&read(module)?).map_err(|e| format!("`{}`: {e}", module.display()))?;
            say!("{found:#?}");
            Ok(ExitCode::SUCCESS)
        }
        TransformCommand::Test { module, input, expect, config } => {
            test(module, input, expect.as_ref(), config.as_deref())
        }
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("read `{}`: {e}", path.display()))
}

fn test(module: &PathBuf, input: &PathBuf, expect: Option<&PathBuf>, config: Option<&str>) -> Outcome {
    let config = config.map(serde_json::from_str).transpose().map_err(|e| format!("`--config` is not JSON: {e}"))?;
    let loaded = Module::load(&read(module)?, None).map_err(|e| format!("`{}`: {e}", module.display()))?;
    let settings = Settings { config, ..Settings::default() };
    let transform = WasmTransform::new(loaded, settings).map_err(|e| e.to_string())?;
    let mut records = Records::default();
    let text = read(input)?;
    text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).for_each(|line| records.push(line));
    let done = transform.apply(&records, &vec![0; records.len()], &[]).map_err(|e| e.to_string())?;
    let mut lines = Vec::new();
    let mut counts = [0u64; 3];
    for (i, verdict) in done.verdicts.iter().enumerate() {
        let outcome = match verdict {
            TransformVerdict::Dropped => {
                counts[1] += 1;
                json!({ "recordId": i.to_string(), "result": "Dropped" })
            }
            TransformVerdict::Failed(f) => {
                counts[2] += 1;
                json!({ "recordId": i.to_string(), "result": "ProcessingFailed", "errorCode": f.code, "errorMessage": f.message })
            }
            TransformVerdict::Kept { first, count } => {
                counts[0] += 1;
                let outputs: Vec<Value> = (*first..first + count)
                    .map(|o| {
                        let keys = done.partition_keys.get(o as usize).cloned().unwrap_or_default();
                        let keys: serde_json::Map<String, Value> =
                            keys.into_iter().map(|(k, v)| (k, v.into())).collect();
                        let data = String::from_utf8_lossy(done.outputs.get(o as usize)).into_owned();
                        json!({ "data": data, "metadata": { "partitionKeys": keys } })
                    })
                    .collect();
                json!({ "recordId": i.to_string(), "result": "Ok", "outputs": outputs })
            }
        };
        lines.push(outcome.to_string());
    }
    lines.iter().for_each(|l| say!("{l}"));
    complain(format_args!("{} kept, {} dropped, {} failed", counts[0], counts[1], counts[2]));
    let Some(expect) = expect else { return Ok(ExitCode::SUCCESS) };
    let wanted = String::from_utf8_lossy(&read(expect)?).into_owned();
    match wanted.lines().zip(&lines).position(|(w, l)| w != l) {
        None if wanted.lines().count() == lines.len() => Ok(ExitCode::SUCCESS),
        None => Err(format!("found {} lines, expected {}", lines.len(), wanted.lines().count())),
        Some(i) => Err(format!("line {}: found {}, expected {}", i + 1, lines[i], wanted.lines().nth(i).unwrap_or(""))),
    }
}
