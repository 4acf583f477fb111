//! One error type for everything that is not a client's request: a kind that says what the caller has to do, and a
//! sentence that names the thing, what was found and what was expected.

use std::fmt;

/// What the caller does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The same call may succeed later: wait, then repeat it.
    Retry,
    /// A person has to mend something (credentials, a bucket, a path): keep the data, alarm, try again slowly.
    Misconfigured,
    /// The medium has no room: refuse new work, go on with what is held.
    NoSpace,
    /// Bytes on disk are not what was written: quarantine, count, alarm.
    Corrupt,
    /// A write or sync failed half-way: what is on disk is unknown until the next start. Accept nothing more.
    Poisoned,
    /// What is written to has another owner by now: end, and touch nothing.
    Fenced,
    /// It has to be opened again to go on as somebody asked; nothing is wrong.
    Reopen,
    /// The service is shutting down.
    Stopping,
    /// Input that will never be accepted.
    Invalid,
    /// A rule of our own does not hold.
    Bug,
}

/// An error with its kind and its story, outermost act first.
#[derive(Clone, Debug)]
pub struct Error {
    pub kind: Kind,
    message: String,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A message of at most so many characters; one that is cut ends with `…`.
pub fn bounded(mut message: String, chars_max: usize) -> String {
    if message.chars().count() > chars_max {
        let end = message.char_indices().nth(chars_max.saturating_sub(1)).map_or(0, |(at, _)| at);
        message.truncate(end);
        message.push('…');
    }
    message
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into() }
    }

    /// Puts the act that was under way in front: `read plan log: …`.
    pub fn during(mut self, act: impl fmt::Display) -> Self {
        self.message = format!("{act}: {}", self.message);
        self
    }

    /// An I/O error of the disk. A full disk, a missing permission and too many open files have reactions of their own.
    pub fn io(act: impl fmt::Display, e: std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        let kind = match e.kind() {
            E::StorageFull | E::QuotaExceeded | E::FileTooLarge => Kind::NoSpace,
            E::PermissionDenied | E::NotFound | E::AlreadyExists | E::InvalidFilename => Kind::Misconfigured,
            _ if too_many_files(&e) => Kind::Retry,
            _ => Kind::Poisoned,
        };
        Error::new(kind, format!("{act}: {e}"))
    }
}

fn too_many_files(e: &std::io::Error) -> bool {
    let errno = e.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(errno, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
