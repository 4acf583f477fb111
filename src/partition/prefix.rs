//! Prefixes of object names: what Firehose calls `Prefix` and `ErrorOutputPrefix`, with their `!{namespace:value}`.
//!
//! A prefix is evaluated twice. When a record is buffered, [`Prefix::key`] fills in the partition values and the error
//! type: records with equal keys share objects. When an object is planned, `evaluate` fills in the time of its
//! oldest record and the random strings.
//!
//! Promises: a partition value changes only its own place in the name. It is percent-encoded but for
//! `[A-Za-z0-9!_.*'()=-]` and `/`; a value that makes an empty, `.` or `..` path segment is refused. The rest is the
//! operator's: a prefix that starts with `/` or holds `//` is allowed, as in S3, so whoever turns a prefix into a file
//! path has to drop empty segments; `.` and `..` segments are refused here.
//!
//! The text of a [`Key`] is persisted in plans. Layout: the prefix, in which `!` is written `!!` and the open
//! expressions stand as `!{timestamp:<pattern>}` and `!{firehose:random-string}`. A value cannot forge one, since its
//! `!` is doubled and its `{` is encoded.
//!
//! Sources: developer guide, "s3-prefixes" and "s3-object-name"; FLOCI-1857 for the time part that a prefix without
//! expressions gets (`yyyy/MM/dd/HH/`, glued on literally; any expression suppresses it).

mod error;

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

use super::key::{Key, RANDOM_STRING_CHARS};
use super::time_pattern::{PatternError, TimePattern};
use error::PrefixFault;
pub use error::{KeyError, PrefixError};

/// S3's limit for a whole object key.
pub const OBJECT_KEY_BYTES_MAX: usize = 1024;
/// Firehose's limit for a prefix as configured (API model).
const CONFIGURED_CHARS_MAX: usize = 1024;
/// Firehose's limit for a prefix after evaluation (developer guide, "s3-prefixes").
const EVALUATED_CHARS_MAX: usize = 512;
/// What `object_name` appends at most: stream name 64, version 20, time 19, UUID 36, hyphens 3, extension 128.
const NAME_BYTES_MAX: usize = 64 + 20 + 19 + 36 + 3 + 128;
const EVALUATED_BYTES_MAX: usize = OBJECT_KEY_BYTES_MAX - NAME_BYTES_MAX;
/// The longest error type: an error prefix is checked with it when it is parsed, so that no failure lacks a place.
const ERROR_TYPE_LONGEST: &str = "AmazonOpenSearchService-failed";
const TIME_PART: &str = "!{timestamp:yyyy/MM/dd/HH/}";
const ERROR_TYPE: &str = "error-output-type";

/// Which prefix of a destination: they allow different expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixKind {
    /// `Prefix`: for what is delivered, and for backups.
    Objects,
    /// `ErrorOutputPrefix`: for what failed.
    Errors,
}

/// Who makes the value of a partition key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// `partitionKeyFromLambda`: the transform.
    Lambda,
    /// `partitionKeyFromQuery`: the jq expression of the stream.
    Query,
}

/// A prefix, parsed and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    kind: PrefixKind,
    parts: Vec<PrefixPart>,
    has_expressions: bool,
    /// The key of every record, if no value is to be filled in.
    only_key: Option<Key>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PrefixPart {
    Text(String),
    /// An expression that a key leaves open, and the longest text it can become.
    Open {
        expression: String,
        widest: String,
    },
    Value(ValueSource),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ValueSource {
    ErrorType,
    PartitionKey(Namespace, String),
}

impl Prefix {
    /// Reads a prefix. An empty `Objects` prefix gets the default time part; an empty `Errors` prefix is an error:
    /// it means the same as none, for which there is [`errors_default`](Self::errors_default).
    pub fn parse(text: &str, kind: PrefixKind) -> Result<Prefix, PrefixError> {
        let whole = |fault| Err(PrefixError { kind, column: None, fault });
        let chars = text.chars().count();
        if chars > CONFIGURED_CHARS_MAX {
            return whole(PrefixFault::TooLong { chars });
        }
        if text.is_empty() && kind == PrefixKind::Errors {
            return whole(PrefixFault::Empty);
        }
        if let Some(at) = text.chars().position(char::is_control) {
            return Err(PrefixError { kind, column: Some(at + 1), fault: PrefixFault::Control });
        }
        let mut parts = split(text, kind)?;
        let has_expressions = parts.iter().any(|part| !matches!(part, PrefixPart::Text(_)));
        if !has_expressions {
            parts.extend(split(TIME_PART, kind)?);
        }
        let mut prefix = Prefix { kind, parts, has_expressions, only_key: None };
        let sample = prefix.fill(|source| match source {
            ValueSource::ErrorType => Cow::Borrowed(ERROR_TYPE_LONGEST),
            ValueSource::PartitionKey(..) => Cow::Borrowed("0"),
        });
        if let Err((chars, bytes)) = sample.check_length() {
            return whole(PrefixFault::EvaluatesTooLong { chars, bytes });
        }
        if let Some(segment) = sample.shape.split('/').find_map(dots) {
            return whole(PrefixFault::Dots(segment));
        }
        if sample.values.is_empty() {
            prefix.only_key = Some(Key::new(sample.key.into()));
        }
        Ok(prefix)
    }

    /// The error prefix of a destination that has none: `<prefix><error-output-type>/yyyy/MM/dd/HH/`
    /// (developer guide, "s3-prefixes"; there must be no expression in the objects' prefix).
    pub fn errors_default(objects_prefix: &str) -> Result<Prefix, PrefixError> {
        if objects_prefix.contains("!{") {
            return Err(PrefixError {
                kind: PrefixKind::Errors,
                column: None,
                fault: PrefixFault::Missing { key: None },
            });
        }
        Prefix::parse(&format!("{objects_prefix}!{{firehose:{ERROR_TYPE}}}/{TIME_PART}"), PrefixKind::Errors)
    }

    /// What every evaluated prefix of an error type begins with.
    pub fn beginning(&self, error_type: &str) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                PrefixPart::Text(fixed) => text.push_str(fixed),
                PrefixPart::Value(ValueSource::ErrorType) => text.push_str(error_type),
                PrefixPart::Open { .. } | PrefixPart::Value(ValueSource::PartitionKey(..)) => break,
            }
        }
        text
    }

    /// Whether the prefix was configured with any expression (the default time part does not count).
    pub fn has_expressions(&self) -> bool {
        self.has_expressions
    }

    /// The partition keys in the prefix, each once, in the order of their first use.
    pub fn partition_keys_used(&self) -> Vec<(Namespace, String)> {
        let mut used = Vec::new();
        for part in &self.parts {
            if let PrefixPart::Value(ValueSource::PartitionKey(namespace, name)) = part
                && !used.iter().any(|(n, k)| n == namespace && k == name)
            {
                used.push((*namespace, name.clone()));
            }
        }
        used
    }

    /// The key of a record. `partition_keys` are the record's, of both namespaces; those that are not used are ignored.
    pub fn key(&self, error_output_type: Option<&str>, partition_keys: &[(String, String)]) -> Result<Key, KeyError> {
        if let Some(key) = &self.only_key {
            return Ok(key.clone());
        }
        let find = |source: &ValueSource| match source {
            ValueSource::ErrorType => error_output_type,
            ValueSource::PartitionKey(_, name) => {
                partition_keys.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
            }
        };
        for part in &self.parts {
            if let PrefixPart::Value(source) = part {
                match find(source) {
                    None => return Err(KeyError::Missing { key: source.name().to_owned() }),
                    Some("") => return Err(KeyError::Empty { key: source.name().to_owned() }),
                    Some(value) if value.len() > EVALUATED_BYTES_MAX => {
                        return Err(KeyError::TooLong { chars: value.chars().count(), bytes: value.len() });
                    }
                    Some(_) => {}
                }
            }
        }
        let filled = self.fill(|source| encode(find(source).unwrap_or_default()));
        filled.check_length().map_err(|(chars, bytes)| KeyError::TooLong { chars, bytes })?;
        filled.check_segments()?;
        Ok(Key::new(filled.key.into()))
    }

    fn fill<'a>(&'a self, value: impl Fn(&'a ValueSource) -> Cow<'a, str>) -> Filled<'a> {
        let mut filled = Filled { key: String::new(), shape: String::new(), values: Vec::new() };
        for part in &self.parts {
            match part {
                PrefixPart::Text(text) => filled.push(text),
                PrefixPart::Open { expression, widest } => {
                    filled.key.push_str(expression);
                    filled.shape.push_str(widest);
                }
                PrefixPart::Value(source) => {
                    let start = filled.shape.len();
                    filled.push(&value(source));
                    filled.values.push((start..filled.shape.len(), source.name()));
                }
            }
        }
        filled
    }
}

impl ValueSource {
    fn name(&self) -> &str {
        match self {
            ValueSource::ErrorType => ERROR_TYPE,
            ValueSource::PartitionKey(_, name) => name,
        }
    }
}

/// A prefix with its values.
struct Filled<'a> {
    key: String,
    /// As long as the evaluated prefix can be, with zeros where the key is open.
    shape: String,
    /// Where in the shape the values are, and what they are called.
    values: Vec<(Range<usize>, &'a str)>,
}

impl Filled<'_> {
    fn push(&mut self, text: &str) {
        self.key.push_str(&text.replace('!', "!!"));
        self.shape.push_str(text);
    }

    /// The error has the length found, in characters and in bytes.
    fn check_length(&self) -> Result<(), (usize, usize)> {
        let (chars, bytes) = (self.shape.chars().count(), self.shape.len());
        if chars > EVALUATED_CHARS_MAX || bytes > EVALUATED_BYTES_MAX { Err((chars, bytes)) } else { Ok(()) }
    }

    /// Looks at the path segments that hold a value, or a part of it. The last one goes on in the object's name.
    fn check_segments(&self) -> Result<(), KeyError> {
        let shape = format!("{}0", self.shape);
        for (range, name) in &self.values {
            let start = shape[..range.start].rfind('/').map_or(0, |slash| slash + 1);
            let end = shape[range.end..].find('/').map_or(shape.len(), |slash| range.end + slash);
            let bad = |segment: &str| if segment.is_empty() { Some("") } else { dots(segment) };
            if let Some(segment) = shape[start..end].split('/').find_map(bad) {
                return Err(KeyError::Segment { key: (*name).to_owned(), segment });
            }
        }
        Ok(())
    }
}

fn dots(segment: &str) -> Option<&'static str> {
    [".", ".."].into_iter().find(|dots| *dots == segment)
}

/// Percent-encodes what S3 calls unsafe in a key, and `%`; leaves `/`.
fn encode(value: &str) -> Cow<'_, str> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"!_.*'()=-/".contains(&byte);
    if value.bytes().all(safe) {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len() * 3);
    for byte in value.bytes() {
        match safe(byte) {
            true => out.push(char::from(byte)),
            false => write!(out, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
    Cow::Owned(out)
}

fn split(text: &str, kind: PrefixKind) -> Result<Vec<PrefixPart>, PrefixError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("!{") {
        if at > 0 {
            parts.push(PrefixPart::Text(rest[..at].to_owned()));
        }
        let column = text[..text.len() - rest.len() + at].chars().count() + 1;
        let error = |fault| PrefixError { kind, column: Some(column), fault };
        let (body, after) = rest[at + 2..].split_once('}').ok_or(error(PrefixFault::NoEnd))?;
        if body.contains("!{") {
            return Err(error(PrefixFault::NoEnd));
        }
        parts.push(
            expression(body, kind)
                .map_err(|fault| PrefixError { column: Some(column + fault.columns_after_start()), ..error(fault) })?,
        );
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(PrefixPart::Text(rest.to_owned()));
    }
    Ok(parts)
}

/// Reads what is between `!{` and `}`.
fn expression(body: &str, kind: PrefixKind) -> Result<PrefixPart, PrefixFault> {
    let named = || body.to_owned();
    let (namespace, value) = body.split_once(':').ok_or_else(|| PrefixFault::NoColon(named()))?;
    let partition_key = |namespace| match kind {
        PrefixKind::Errors => Err(PrefixFault::NotAllowed(named())),
        PrefixKind::Objects => Ok(PrefixPart::Value(ValueSource::PartitionKey(namespace, value.to_owned()))),
    };
    match (namespace, value) {
        ("timestamp" | "partitionKeyFromLambda" | "partitionKeyFromQuery", "") => Err(PrefixFault::NoValue(named())),
        ("timestamp", pattern) => {
            let widest = TimePattern::parse(pattern).map_err(PrefixFault::Time)?.widest();
            Ok(PrefixPart::Open { expression: format!("!{{{body}}}"), widest })
        }
        ("firehose", "random-string") => {
            Ok(PrefixPart::Open { expression: format!("!{{{body}}}"), widest: "0".repeat(RANDOM_STRING_CHARS) })
        }
        ("firehose", ERROR_TYPE) if kind == PrefixKind::Objects => Err(PrefixFault::NotAllowed(named())),
        ("firehose", ERROR_TYPE) => Ok(PrefixPart::Value(ValueSource::ErrorType)),
        ("firehose", _) => Err(PrefixFault::UnknownValue(named())),
        ("partitionKeyFromLambda", _) => partition_key(Namespace::Lambda),
        ("partitionKeyFromQuery", _) => partition_key(Namespace::Query),
        _ => Err(PrefixFault::UnknownNamespace(namespace.to_owned())),
    }
}

/// Checks the rules that concern both prefixes of a destination (developer guide, "s3-prefixes"): an error prefix must
/// be there if the objects' prefix has expressions or uses partition keys; if it has expressions itself, one must be
/// `!{firehose:error-output-type}`.
pub fn check_pair(objects: &Prefix, errors: Option<&Prefix>) -> Result<(), PrefixError> {
    let error = |fault| Err(PrefixError { kind: PrefixKind::Errors, column: None, fault });
    match errors {
        None if objects.has_expressions => {
            error(PrefixFault::Missing { key: objects.partition_keys_used().into_iter().next().map(|(_, name)| name) })
        }
        Some(errors)
            if errors.has_expressions && !errors.parts.contains(&PrefixPart::Value(ValueSource::ErrorType)) =>
        {
            error(PrefixFault::NoErrorType)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "prefix_tests.rs"]
mod tests;
