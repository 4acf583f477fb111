//! `hydrant schema`.

use super::lines::open_unpacked;
use super::{Outcome, out::complain, out::say};
use crate::config;
use crate::deliver::error_record::FailedRecord;
use crate::format::schema::diff::diff;
use crate::format::schema::infer::SchemaInference;
use crate::format::schema::{ColumnType, NamedType, TableSchema};
use crate::record::{EntryPoint, keyed};
use serde_json::value::RawValue;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Commands on schemas.
#[derive(clap::Subcommand)]
pub(super) enum SchemaCommand {
    /// Print a schema that samples suggest: types, how often a column has a value, and which two records disagree.
    Infer {
        /// Files of JSON, one object after the other or in an array; gzip is unpacked, and of failure objects the records are taken.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print a schema of any form as YAML.
    Show { file: PathBuf },
    /// Print what differs between two schemas: `+` added, `-` removed, `!` changed. Ends with 1 if something does.
    Diff { before: PathBuf, after: PathBuf },
}

pub(super) fn schema(command: &SchemaCommand) -> Outcome {
    match command {
        SchemaCommand::Infer { files } => infer(files),
        SchemaCommand::Show { file } => {
            say!("{}", load(file)?.to_yaml().trim_end());
            Ok(ExitCode::SUCCESS)
        }
        SchemaCommand::Diff { before, after } => {
            let changes = diff(&load(before)?, &load(after)?);
            changes.iter().for_each(|change| say!("{change}"));
            Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// A file's columns; the error is a line per problem.
fn load(path: &Path) -> Result<TableSchema, String> {
    let columns = config::load_columns(path).map_err(|e| e.to_string())?;
    let mut found = Vec::new();
    for column in columns {
        let of = ColumnType::parse(&column.type_text)
            .map_err(|e| format!("{}:{}:{}: {e}", path.display(), column.line, column.column))?;
        found.push(NamedType { name: column.name, of, key: column.key });
    }
    Ok(TableSchema { columns: found })
}

fn infer(files: &[PathBuf]) -> Outcome {
    let (mut inference, mut unread) = (SchemaInference::default(), 0u64);
    for file in files {
        let mut bytes = Vec::new();
        let read = open_unpacked(file)?.read_to_end(&mut bytes);
        read.map_err(|e| format!("read `{}`: {e}", file.display()))?;
        let mut wrong = |message: String| {
            unread += 1;
            if unread <= WRONG_SHOWN_MAX {
                complain(format_args!("{message}"));
            }
        };
        sample(&file.display().to_string(), &bytes, &mut inference, &mut wrong);
    }
    if unread > WRONG_SHOWN_MAX {
        complain(format_args!("{} more could not be read", unread - WRONG_SHOWN_MAX));
    }
    let inferred = inference.finish().map_err(|e| e.to_string())?;
    say!("{}", inferred.to_yaml().trim_end());
    Ok(if unread == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Of what is no JSON.
const WRONG_SHOWN_MAX: u64 = 10;

/// Each may be found only at the end of the file.
const ERRORS_MAX: usize = 100;

/// Takes note of every object in a file. After what is no JSON it goes on with the next line.
fn sample(file: &str, bytes: &[u8], inference: &mut SchemaInference, wrong: &mut impl FnMut(String)) {
    let (mut rest, mut line, mut errors) = (bytes, 1, 0);
    let lines = |bytes: &[u8]| memchr::memchr_iter(b'\n', bytes).count();
    while !rest.trim_ascii().is_empty() {
        let mut documents = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
        let mut end = 0;
        let error = loop {
            let Some(document) = documents.next() else { return };
            let begin = end + rest[end..].len() - rest[end..].trim_ascii_start().len();
            line += lines(&rest[end..begin]);
            match document {
                Ok(document) => one(&format!("{file}:{line}"), document.get(), inference, wrong),
                Err(e) => break e,
            }
            line += lines(&rest[begin..documents.byte_offset()]);
            end = documents.byte_offset();
        };
        // Its own place is counted from where reading began again.
        let error = error.to_string();
        wrong(format!("{file}:{line}: {}", error.split(" at line ").next().unwrap_or_default()));
        errors += 1;
        if errors == ERRORS_MAX {
            return wrong(format!("{file}:{line}: the rest is not read: {ERRORS_MAX} places before are no JSON"));
        }
        let next = memchr::memchr(b'\n', rest[end..].trim_ascii_start());
        let skipped = rest[end..].len() - rest[end..].trim_ascii_start().len();
        let Some(next) = next else { return };
        line += 1;
        rest = &rest[end + skipped + next + 1..];
    }
}

/// Takes note of an object, of those in an array, or of the record in a failure record.
fn one(place: &str, document: &str, inference: &mut SchemaInference, wrong: &mut impl FnMut(String)) {
    if document.starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(document).unwrap_or_default();
        return elements.iter().for_each(|element| match element.get().starts_with('[') {
            true => wrong(format!("{place}: found an array in an array, expected objects")),
            false => one(place, element.get(), inference, wrong),
        });
    }
    if let Ok(FailedRecord { code, entry, record, .. }) = FailedRecord::read(document.as_bytes())
        && !code.is_empty()
    {
        let record = match entry {
            EntryPoint::Keyed => keyed::unpack_one(&record).map_or(&*record, |(_, record)| record),
            _ => &record,
        };
        return sample(place, record, inference, wrong);
    }
    inference.add(place, document).unwrap_or_else(wrong);
}
