//! Keys of objects: a prefix with the values of a record filled in, and the name that follows from it when an object is planned.

use super::prefix::KeyError;
use super::time_pattern::TimePattern;
use jiff::Zoned;
use std::sync::Arc;
use uuid::Uuid;

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

/// What the name of an object says besides its prefix.
pub struct ObjectName<'a> {
    pub stream: &'a str,
    /// Of the stream; manifests have none.
    pub version: Option<u64>,
    /// The time of its oldest record, in the stream's time zone.
    pub oldest_arrival: &'a Zoned,
    pub id: &'a Uuid,
    pub extension: &'a str,
}

impl ObjectName<'_> {
    /// The key of the object in its bucket: `<prefix><stream>-<version>-<yyyy>-<MM>-<dd>-<HH>-<mm>-<ss>-<uuid><extension>`
    /// (developer guide, "s3-object-name"). At most `OBJECT_KEY_BYTES_MAX` for an evaluated prefix, a stream name of up
    /// to 64 characters and an extension of up to 128, which are Firehose's limits.
    pub fn below(&self, prefix: &str) -> String {
        let ObjectName { stream, version, oldest_arrival, id, extension } = self;
        let time = oldest_arrival.strftime("%Y-%m-%d-%H-%M-%S");
        let version = version.map_or(String::new(), |v| format!("-{v}"));
        format!("{prefix}{stream}{version}-{time}-{}{extension}", id.hyphenated())
    }
}

/// Whether a name is one that [`ObjectName`] gives a stream's objects, with a version or without.
pub fn is_object_of(name: &str, stream: &str, has_version: bool) -> bool {
    let file = name.rsplit('/').next().unwrap_or_default();
    let Some(rest) = file.strip_prefix(stream).and_then(|rest| rest.strip_prefix('-')) else { return false };
    let parts: Vec<&str> = rest.split('-').collect();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    // Six of the time, five of the UUID.
    let (version, time) = parts.split_at(has_version as usize);
    time.len() == 11
        && version.iter().all(|part| is_number(part))
        && time.iter().zip([4, 2, 2, 2, 2, 2]).all(|(part, digits)| part.len() == digits && is_number(part))
}
