//! Why a record has no row: code and message as Firehose has them (docs/firehose.md: "Codes of failures"), then the column,
//! what was found and what was expected.

use super::super::NotConverted;
use std::fmt::Write;

/// What reads returns; a refusal is rare, and kept out of the way.
pub(super) type Reading<T> = Result<T, Box<Refusal>>;

/// Characters of a value that are shown.
const SHOWN_CHARS_MAX: usize = 60;

/// Why a record is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    cause: RefusalCause,
    /// Where in the row, innermost first.
    path: Vec<Step>,
}

#[derive(Debug)]
enum RefusalCause {
    /// The record is not JSON from this byte on.
    Syntax { at: usize, what: String },
    /// A value does not fit its column. `detail` is what Firehose says of it, if that is known.
    Value { detail: String, found: String, expected: String },
    /// A key of a map does not fit.
    MapKey { found: String, expected: String },
    /// The record is refused as a whole, in these words.
    Whole(String),
}

#[derive(Debug)]
enum Step {
    Field(String),
    Element(usize),
}

impl Refusal {
    fn new(cause: RefusalCause) -> Box<Refusal> {
        Box::new(Refusal { cause, path: Vec::new() })
    }

    #[cold]
    pub(super) fn syntax(at: usize, what: &str) -> Box<Refusal> {
        Refusal::new(RefusalCause::Syntax { at, what: what.to_owned() })
    }

    #[cold]
    pub(super) fn value(detail: String, found: &str, expected: String) -> Box<Refusal> {
        Refusal::new(RefusalCause::Value { detail, found: shown(found), expected })
    }

    #[cold]
    pub(super) fn map_key(found: &str, expected: String) -> Box<Refusal> {
        Refusal::new(RefusalCause::MapKey { found: shown(found), expected })
    }

    #[cold]
    pub(super) fn whole(message: &str) -> Box<Refusal> {
        Refusal::new(RefusalCause::Whole(message.to_owned()))
    }

    /// Adds the field around the place.
    #[cold]
    pub(super) fn in_field(mut self: Box<Self>, name: &str) -> Box<Refusal> {
        self.path.push(Step::Field(name.to_owned()));
        self
    }

    /// Adds the element of an array around the place.
    #[cold]
    pub(super) fn in_element(mut self: Box<Self>, number: usize) -> Box<Refusal> {
        self.path.push(Step::Element(number));
        self
    }

    /// What the error record says.
    pub(super) fn told(self) -> NotConverted {
        const MALFORMED: &str = "DataFormatConversion.MalformedData";
        let path = self.path();
        let of = |found: &str, expected: &str| format!("Column `{path}`: found {found}, expected {expected}.");
        let (code, message) = match &self.cause {
            RefusalCause::Syntax { at, what } => {
                ("DataFormatConversion.ParseError", format!("Encountered malformed JSON. At byte {at}: {what}."))
            }
            RefusalCause::Value { detail, found, expected } => {
                let detail = if detail.is_empty() { String::new() } else { format!("{detail}. ") };
                (MALFORMED, format!("Data does not match the schema. {detail}{}", of(found, expected)))
            }
            RefusalCause::MapKey { found, expected } => ("DataFormatConversion.InvalidRecord", of(found, expected)),
            RefusalCause::Whole(message) => (MALFORMED, message.clone()),
        };
        NotConverted { code, message }
    }

    /// `a.b[2]`
    fn path(&self) -> String {
        let mut path = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => write!(path, ".{name}").expect("a text takes everything"),
                Step::Element(number) => write!(path, "[{number}]").expect("a text takes everything"),
            }
        }
        path
    }
}

/// The beginning of a value, in backticks.
fn shown(found: &str) -> String {
    let beginning: String = found.chars().take(SHOWN_CHARS_MAX).collect();
    let rest = if beginning.len() < found.len() { "…" } else { "" };
    format!("`{beginning}{rest}`")
}
