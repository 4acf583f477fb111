//! What can be wrong with a prefix, and with the values for one.

use std::fmt;

use super::{CONFIGURED_CHARS_MAX, EVALUATED_BYTES_MAX, EVALUATED_CHARS_MAX, PatternError, PrefixKind};

/// A prefix that breaks a rule of Firehose's (developer guide, "s3-prefixes"): a mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixError {
    pub(super) kind: PrefixKind,
    pub(super) column: Option<usize>,
    pub(super) fault: PrefixFault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PrefixFault {
    TooLong {
        chars: usize,
    },
    EvaluatesTooLong {
        chars: usize,
        bytes: usize,
    },
    Empty,
    Control,
    Dots(&'static str),
    NoEnd,
    NoColon(String),
    NoValue(String),
    UnknownNamespace(String),
    UnknownValue(String),
    NotAllowed(String),
    Time(PatternError),
    /// There is no error prefix, though the objects' prefix has expressions, perhaps a partition key.
    Missing {
        key: Option<String>,
    },
    NoErrorType,
}

impl PrefixFault {
    /// How far into the expression the fault is.
    pub(super) fn columns_after_start(&self) -> usize {
        match self {
            PrefixFault::Time(error) => "!{timestamp:".len() + error.column() - 1,
            _ => 0,
        }
    }
}

impl PrefixError {
    /// Where in the prefix, in characters from 1; none if it concerns the whole.
    pub fn column(&self) -> Option<usize> {
        self.column
    }

    /// Which of a destination's prefixes has to be changed.
    pub fn kind(&self) -> PrefixKind {
        self.kind
    }
}

impl fmt::Display for PrefixKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PrefixKind::Objects => "prefix",
            PrefixKind::Errors => "error prefix",
        })
    }
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // AWS's text, with AWS's misspelling: clients match on it (terraform-provider-aws PR 13416).
        if let PrefixFault::Missing { key } = &self.fault {
            f.write_str(
                "Ths supplied prefix(es) do not satisfy the following constraint: \
                 ErrorOutputPrefix cannot be null or empty when Prefix contains expressions",
            )?;
            return match key {
                Some(key) => write!(f, " (partition key `{key}`: records without it need a place)"),
                None => Ok(()),
            };
        }
        write!(f, "{}", self.kind)?;
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        f.write_str(": ")?;
        match &self.fault {
            PrefixFault::TooLong { chars } => write!(f, "{chars} characters, expected at most {CONFIGURED_CHARS_MAX}"),
            PrefixFault::EvaluatesTooLong { chars, bytes } => write!(
                f,
                "evaluates to as many as {chars} characters ({bytes} bytes), \
                 expected at most {EVALUATED_CHARS_MAX} ({EVALUATED_BYTES_MAX} bytes)"
            ),
            PrefixFault::Empty => f.write_str("is empty, expected some text or no error prefix at all"),
            PrefixFault::Control => f.write_str("control character, expected printable text"),
            PrefixFault::Dots(segment) => write!(f, "path segment `{segment}`, expected a name"),
            PrefixFault::NoEnd => f.write_str("`!{` without `}`, expected an expression `!{namespace:value}`"),
            PrefixFault::NoColon(body) => write!(f, "`!{{{body}}}`, expected an expression `!{{namespace:value}}`"),
            PrefixFault::NoValue(body) => write!(f, "`!{{{body}}}` has no value, expected `!{{namespace:value}}`"),
            PrefixFault::UnknownNamespace(found) => write!(
                f,
                "unknown namespace `{found}`, expected one of {}",
                match self.kind {
                    PrefixKind::Objects => "`timestamp`, `firehose`, `partitionKeyFromLambda`, `partitionKeyFromQuery`",
                    PrefixKind::Errors => "`timestamp`, `firehose`",
                }
            ),
            PrefixFault::UnknownValue(body) => write!(
                f,
                "unknown value `!{{{body}}}`, expected `!{{firehose:random-string}}`{}",
                match self.kind {
                    PrefixKind::Objects => "",
                    PrefixKind::Errors => " or `!{firehose:error-output-type}`",
                }
            ),
            PrefixFault::NotAllowed(body) => write!(
                f,
                "`!{{{body}}}` is not allowed, expected it only in the {}",
                match self.kind {
                    PrefixKind::Objects => PrefixKind::Errors,
                    PrefixKind::Errors => PrefixKind::Objects,
                }
            ),
            PrefixFault::Time(error) => write!(f, "{error}"),
            PrefixFault::NoErrorType => {
                f.write_str("has expressions, but not `!{firehose:error-output-type}`, expected it at least once")
            }
            PrefixFault::Missing { .. } => Ok(()),
        }
    }
}

impl std::error::Error for PrefixError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            PrefixFault::Time(error) => Some(error),
            _ => None,
        }
    }
}

/// A record whose values make no key: it belongs into the failure outlet. Values are data, so no text shows one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// The record lacks a partition key (or, for `error-output-type`, the caller gave none: a bug).
    Missing { key: String },
    /// The value is the empty text.
    Empty { key: String },
    /// The value makes a path segment that is empty, `.` or `..`.
    Segment { key: String, segment: &'static str },
    /// The prefix would be longer than Firehose allows, or too long for the whole name to fit into S3's limit.
    TooLong { chars: usize, bytes: usize },
    /// Persisted text that no key has: corrupt, not the record's fault.
    Unreadable { text: String },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Missing { key } => write!(f, "partition key `{key}` is missing"),
            KeyError::Empty { key } => write!(f, "partition key `{key}` is empty"),
            KeyError::Segment { key, segment } => {
                write!(f, "partition key `{key}` makes a path segment `{segment}`, expected a name")
            }
            KeyError::TooLong { chars, bytes } => write!(
                f,
                "prefix evaluates to {chars} characters ({bytes} bytes) or more, \
                 expected at most {EVALUATED_CHARS_MAX} ({EVALUATED_BYTES_MAX} bytes)"
            ),
            KeyError::Unreadable { text } => write!(f, "persisted key `{}` cannot be read", text.escape_debug()),
        }
    }
}

impl std::error::Error for KeyError {}
