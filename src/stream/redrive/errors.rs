//! What goes wrong while records are put in again: what is asked once more, what is an object's fault, and what ends the run.

use crate::deliver::object::Failure;
use crate::destination::retry;
use crate::error::{Error, Kind, Result};

/// A store, or a full queue, is asked again so often before the run ends; another run goes on where it ended.
const TRIES: u32 = 30;

/// Asks until there is an answer, within reason.
pub(super) fn again<T>(ask: impl Fn() -> Result<T>) -> Result<T> {
    for attempt in 1.. {
        match ask() {
            Err(e) if matches!(e.kind, Kind::Retry | Kind::NoSpace) && attempt < TRIES => {
                std::thread::sleep(retry::pause(attempt, false, 0.5));
            }
            done => return done,
        }
    }
    unreachable!("the last attempt returns")
}

pub(super) fn refused(what: &str, name: &str, failure: Failure) -> Error {
    let kind = match failure {
        Failure { gone: true, .. } => Kind::Corrupt,
        Failure { misconfigured: true, .. } => Kind::Misconfigured,
        _ => Kind::Retry,
    };
    Error::new(kind, format!("{what} `{name}`: {}", failure.reason))
}

/// An error of ours, of the journal or the plan log. Nothing else is begun behind it: only one frame may be in the journal
/// without the plan log knowing, and the next start finds out by its place.
pub(super) fn ends_run(e: Error) -> Error {
    Error::new(Kind::Poisoned, e.to_string())
}

/// What a store gave, or scratch did. Bytes that are not what was compressed are the object's fault.
pub(super) fn cannot_read(name: &str, e: std::io::Error) -> Error {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match e.kind() {
        InvalidData | InvalidInput | UnexpectedEof => Error::new(Kind::Corrupt, format!("read `{name}`: {e}")),
        _ => Error::io(format!("read `{name}`"), e),
    }
}
