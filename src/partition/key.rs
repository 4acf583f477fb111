//! Keys of objects: a prefix with the values of a record filled in.

use super::prefix::KeyError;
use super::time_pattern::TimePattern;
use jiff::Zoned;
use std::sync::Arc;

/// Length of the text that `random` gives [`evaluate`]: characters of `[0-9a-zA-Z]` (developer guide, "s3-prefixes").
pub const RANDOM_STRING_CHARS: usize = 11;

/// What splits an outlet's records into objects: the prefix with values filled in, times and random strings open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// A key of this text, in which `!` is doubled and open expressions stand.
    pub(super) fn new(text: Arc<str>) -> Key {
        Key(text)
    }

    /// The text to persist.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads what [`as_str`](Self::as_str) gave.
    pub fn from_persisted(text: &str) -> Result<Key, KeyError> {
        match pieces(text) {
            Some(_) => Ok(Key(text.into())),
            None => Err(KeyError::Unreadable { text: text.to_owned() }),
        }
    }
}

enum KeyPiece<'a> {
    Text(&'a str),
    Time(TimePattern),
    Random,
}

/// Takes a key's text apart; none if it is not one.
fn pieces(key: &str) -> Option<Vec<KeyPiece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = key;
    while let Some((text, after)) = rest.split_once('!') {
        pieces.push(KeyPiece::Text(text));
        rest = if let Some(rest) = after.strip_prefix('!') {
            pieces.push(KeyPiece::Text("!"));
            rest
        } else {
            let (body, rest) = after.strip_prefix('{')?.split_once('}')?;
            pieces.push(match body.split_once(':')? {
                ("timestamp", pattern) => KeyPiece::Time(TimePattern::parse(pattern).ok()?),
                ("firehose", "random-string") => KeyPiece::Random,
                _ => return None,
            });
            rest
        };
    }
    pieces.push(KeyPiece::Text(rest));
    Some(pieces)
}

/// The prefix of an object: the key with the time of the object's oldest record, in the stream's time zone, and random
/// strings of [`RANDOM_STRING_CHARS`], asked for once per occurrence, from left to right.
pub fn evaluate(key: &Key, oldest_arrival: &Zoned, random: &mut dyn FnMut() -> String) -> String {
    let mut out = String::with_capacity(key.0.len());
    for piece in pieces(&key.0).expect("a key is checked when it is made") {
        match piece {
            KeyPiece::Text(text) => out.push_str(text),
            KeyPiece::Time(pattern) => out.push_str(&pattern.format(oldest_arrival)),
            KeyPiece::Random => out.push_str(&random()),
        }
    }
    out
}
