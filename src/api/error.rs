//! Errors as Firehose answers them: a code, a message, a status, in the JSON 1.1 envelope (docs/firehose.md: "Errors").

use crate::error::{Error, Kind};

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

impl ApiError {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        ApiError { status, code, message: message.into() }
    }

    /// Not JSON, or a member of another type (400).
    pub fn serialization(message: impl Into<String>) -> Self {
        ApiError::new(400, "SerializationException", message)
    }

    pub fn invalid_argument(message: impl Into<String>) -> Self {
        ApiError::new(400, "InvalidArgumentException", message)
    }

    pub fn not_found(stream: &str, account: &str) -> Self {
        let message = format!("Firehose {stream} under account {account} not found.");
        ApiError::new(400, "ResourceNotFoundException", message)
    }

    /// Overloaded, full or stopping: every client tries again. 503 rather than the model's 500, as seen on the wire.
    pub fn unavailable(message: impl Into<String>) -> Self {
        ApiError::new(503, "ServiceUnavailableException", message)
    }

    /// Why a stream does not take a batch, without what the error tells of this machine: that is for the log.
    pub fn refused(stream: &str, e: &Error) -> Self {
        match e.kind {
            Kind::Retry | Kind::NoSpace | Kind::Reopen | Kind::Stopping | Kind::Misconfigured => {
                ApiError::closed(stream)
            }
            Kind::Invalid => ApiError::invalid_argument(format!("Firehose {stream} does not take these records.")),
            // The stream has stopped, but the records may be accepted after a restart: clients try 500 again.
            Kind::Corrupt | Kind::Poisoned | Kind::Fenced | Kind::Bug => {
                let message =
                    format!("Firehose {stream} has stopped after an internal failure. Please try again later.");
                ApiError::new(500, "InternalFailure", message)
            }
        }
    }

    /// A stream that takes nothing for now.
    pub fn closed(stream: &str) -> Self {
        ApiError::unavailable(format!("Slow down. Firehose {stream} is unavailable. Please try again."))
    }

    /// The body of the answer.
    pub fn body(&self) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({ "__type": self.code, "message": self.message }))
            .expect("two strings always serialise into memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_not_told_where_our_files_are() {
        use Kind::*;
        for kind in [Retry, Misconfigured, NoSpace, Corrupt, Poisoned, Stopping, Invalid, Bug] {
            let found = ApiError::refused("s", &Error::new(kind, "open `/var/lib/hydrant/streams/1/journal`: denied"));
            assert!(!found.message.contains('/') && found.message.contains("Firehose s "), "{found:?}");
        }
    }
}
