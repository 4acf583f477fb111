//! What the database said, by Firehose's codes and in words a user can act on.

use crate::config::{Dialect, Target};
use crate::error::bounded;
use std::error::Error as _;
use tokio_postgres::error::DbError;

/// A row may be shown in a message; a whole one may be large.
const MESSAGE_CHARS_MAX: usize = 2000;

/// Firehose's codes behind `Redshift.`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    AccessDenied,
    ArgumentNotSupported,
    AuthenticationFailed,
    ColumnMismatch,
    ColumnNotFound,
    ColumnNotNullWithoutDefault,
    ColumnSpecifiedMoreThanOnce,
    ConnectionFailed,
    DatabaseNotFound,
    DataLoadFailed,
    DiskFull,
    IncorrectCopyOptions,
    IncorrectJsonPathsFile,
    IncorrectOrMissingRegion,
    InsufficientPrivilege,
    MissingColumn,
    MissingS3File,
    ReadOnlyCluster,
    S3BucketAccessDenied,
    SchemaNotFound,
    SyntaxError,
    TableNotFound,
}

impl Code {
    /// The code under the name of who said so.
    pub(super) fn of(self, target: &Target) -> String {
        match target.dialect {
            Dialect::Redshift { .. } => format!("Redshift.{self:?}"),
            Dialect::Postgres { .. } => format!("Postgres.{self:?}"),
        }
    }
}

/// Why an attempt came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WarehouseRefusal {
    pub code: Code,
    pub message: String,
}

impl WarehouseRefusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> WarehouseRefusal {
        WarehouseRefusal { code, message: message.into() }
    }

    /// While connecting and logging in.
    pub(super) fn connecting(act: &str, e: &tokio_postgres::Error) -> WarehouseRefusal {
        let refusal = WarehouseRefusal::during(act, e);
        // The client's own complaints about credentials have no code: a method it does not know, no password given.
        let logging_in = ["authentication error", "invalid configuration"];
        match e.as_db_error() {
            None if logging_in.iter().any(|text| e.to_string().starts_with(text)) => {
                WarehouseRefusal { code: Code::AuthenticationFailed, ..refusal }
            }
            _ => refusal,
        }
    }

    /// While a statement was under way.
    pub(super) fn during(act: &str, e: &tokio_postgres::Error) -> WarehouseRefusal {
        let code = e.as_db_error().map_or(Code::ConnectionFailed, code);
        WarehouseRefusal { code, message: bounded(format!("{act}: {}", text(e)), MESSAGE_CHARS_MAX) }
    }
}

/// Everything that is known, on one line.
pub(super) fn text(e: &tokio_postgres::Error) -> String {
    let text = match e.as_db_error() {
        Some(e) => {
            let more = [("", e.detail()), ("", e.where_()), ("hint: ", e.hint())];
            let more = more.iter().filter_map(|(what, text)| text.map(|text| format!("; {what}{text}")));
            format!("{} (SQLSTATE {}){}", e.message(), e.code().code(), more.collect::<String>())
        }
        None => {
            let mut text = e.to_string();
            let mut source = e.source();
            while let Some(cause) = source {
                let cause_text = cause.to_string();
                if !text.contains(&cause_text) {
                    text = format!("{text}: {cause_text}");
                }
                source = cause.source();
            }
            text
        }
    };
    text.replace('\n', " ")
}

/// Whether a COPY may have failed by some of its rows: data that does not fit, a constraint, or what a trigger says.
pub(super) fn is_of_rows(e: &tokio_postgres::Error) -> bool {
    let state = e.code().map(|state| state.code()).unwrap_or_default();
    ["22", "23", "P0"].iter().any(|class| state.starts_with(class))
}

/// The line of a COPY into `table` that the database names, from 1. Its words are in the server's language: `COPY t, line 3,
/// column a` in English.
pub(super) fn line(e: &tokio_postgres::Error, table: &str) -> Option<u64> {
    let begins = format!("COPY {table}, ");
    let at = e.as_db_error()?.where_()?.lines().find_map(|line| line.strip_prefix(&begins))?;
    let digits = at.trim_start_matches(|c: char| !c.is_ascii_digit() && c != ',' && c != ':');
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn code(e: &DbError) -> Code {
    let by_state = by_state(e.code().code());
    // Redshift says most of what goes wrong in a COPY under a few states, and by its words.
    match by_state {
        Some(code) if !matches!(code, Code::DataLoadFailed | Code::SyntaxError) => code,
        _ => by_words(e).or(by_state).unwrap_or(Code::DataLoadFailed),
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn by_state(state: &str) -> Option<Code> {
    Some(match state {
        "28P01" | "28000" => Code::AuthenticationFailed,
        "3D000" => Code::DatabaseNotFound,
        "3F000" => Code::SchemaNotFound,
        "42P01" => Code::TableNotFound,
        "42703" => Code::ColumnNotFound,
        "42701" => Code::ColumnSpecifiedMoreThanOnce,
        "42501" => Code::InsufficientPrivilege,
        "42601" => Code::SyntaxError,
        "25006" => Code::ReadOnlyCluster,
        "53100" => Code::DiskFull,
        "23502" => Code::ColumnNotNullWithoutDefault,
        "53300" => Code::ConnectionFailed,
        _ if state.starts_with("08") || state.starts_with("57P") => Code::ConnectionFailed,
        _ if state.starts_with("0A") => Code::ArgumentNotSupported,
        _ if state.starts_with("22") || state.starts_with("23") => Code::DataLoadFailed,
        _ => return None,
    })
}

/// Parts of Redshift's messages, the more special first.
const WORDS: &[(&str, Code)] = &[
    ("status 301", Code::IncorrectOrMissingRegion),
    ("permanentredirect", Code::IncorrectOrMissingRegion),
    ("authorizationheadermalformed", Code::IncorrectOrMissingRegion),
    ("nosuchkey", Code::MissingS3File),
    ("specified key does not exist", Code::MissingS3File),
    ("mandatory url", Code::MissingS3File),
    ("prefix does not exist", Code::MissingS3File),
    ("s3serviceexception:access denied", Code::S3BucketAccessDenied),
    ("accessdenied", Code::S3BucketAccessDenied),
    ("not authorized to assume", Code::AccessDenied),
    ("not authorized to get credentials", Code::AccessDenied),
    ("jsonpath", Code::IncorrectJsonPathsFile),
    ("number of jsonpaths", Code::ColumnMismatch),
    ("copy options", Code::IncorrectCopyOptions),
    ("invalid option", Code::IncorrectCopyOptions),
    ("no default", Code::ColumnNotNullWithoutDefault),
    ("stl_load_errors", Code::DataLoadFailed),
];

fn by_words(e: &DbError) -> Option<Code> {
    let words = format!("{} {}", e.message(), e.detail().unwrap_or_default()).to_lowercase();
    WORDS.iter().find(|(part, _)| words.contains(part)).map(|(_, code)| *code)
}
