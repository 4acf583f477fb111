//! What an answer that is no success asks of us, in one table, and how it is told to people.

use super::{S3Sink, region};
use crate::deliver::feed::UnreadableBody;
use crate::deliver::object::Failure;
use crate::error::bounded;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use hyper::StatusCode;
use std::error::Error;

/// A store's own words in a reason, at most.
const MESSAGE_CHARS_MAX: usize = 400;
const CONNECTION_FAILED: &str = "ConnectionFailed";

/// The reaction to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3Answer {
    /// The name is taken, or another writer is at it: look.
    Taken,
    /// The store lacks something that was asked for; with a condition in the request, most likely that.
    NotImplemented,
    /// Misconfigured, and reading the credentials anew may mend it.
    Credentials,
    /// A person has to mend something.
    Misconfigured,
    /// The same again, later.
    Retry,
}

/// Reads an answer by its HTTP status and the store's error code. Answers to `HEAD` have no code. What is not known
/// is tried again: a retry is never wrong, only quiet.
pub fn classify(status: u16, code: Option<&str>) -> S3Answer {
    match (status, code.unwrap_or_default()) {
        // Throttling comes with every status, and with KMS's name in front.
        (429, _) => S3Answer::Retry,
        (_, code) if code.contains("Throttl") || code.contains("RequestLimit") => S3Answer::Retry,
        (_, "SlowDown" | "SlowDownWrite" | "SlowDownRead" | "RequestTimeout" | "TooManyRequests") => S3Answer::Retry,

        (412, _) | (_, "PreconditionFailed" | "ConditionalRequestConflict") => S3Answer::Taken,
        (409, "OperationAborted" | "") => S3Answer::Taken,

        (501, _) | (_, "NotImplemented") => S3Answer::NotImplemented,

        (_, "ExpiredToken" | "ExpiredTokenException" | "InvalidToken" | "TokenRefreshRequired") => {
            S3Answer::Credentials
        }
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidClientTokenId") => S3Answer::Credentials,
        // `HEAD` with an expired token or an unknown key.
        (400 | 401 | 403, "") => S3Answer::Credentials,

        (500.., _) => S3Answer::Retry,
        (_, "NoSuchBucket" | "InvalidBucketName" | "InvalidBucketState") => S3Answer::Misconfigured,
        (_, "PermanentRedirect" | "TemporaryRedirect" | "Redirect") => S3Answer::Misconfigured,
        (_, "IllegalLocationConstraintException" | "IllegalLocationConstraint") => S3Answer::Misconfigured,
        (_, "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError") => S3Answer::Misconfigured,
        (_, "InvalidStorageClass" | "InvalidEncryptionAlgorithmError") => S3Answer::Misconfigured,
        (_, "AccountProblem" | "InvalidPayer" | "NotSignedUp" | "SubscriptionRequired") => S3Answer::Misconfigured,
        (_, "KeyTooLongError" | "MetadataTooLarge" | "EntityTooLarge" | "MethodNotAllowed") => S3Answer::Misconfigured,
        (_, code) if code.starts_with("KMS.") => S3Answer::Misconfigured,
        // Whatever else is forbidden, or answers that no store gives: the endpoint is somebody else.
        (401 | 402 | 403 | 405, _) | (301 | 302 | 307 | 308 | 404, "") => S3Answer::Misconfigured,
        _ => S3Answer::Retry,
    }
}

/// A request that did not work out: what it asks of us, and one line for people.
#[derive(Debug)]
pub(super) struct S3Refusal {
    pub answer: S3Answer,
    pub reason: String,
    /// It may have been carried out, and a look now would probably tell; after a time-out it would be too early.
    pub outcome_unknown: bool,
    /// The store's, or ours where it gave none.
    code: String,
}

impl From<S3Refusal> for Failure {
    fn from(refusal: S3Refusal) -> Failure {
        // An answer that means nothing for the request it came to is tried again.
        let misconfigured = !matches!(refusal.answer, S3Answer::Retry | S3Answer::Taken);
        let gone = ["NoSuchKey", "InvalidObjectState"].contains(&&*refusal.code);
        Failure { misconfigured, nowhere: refusal.code == "NoSuchBucket", gone, reason: refusal.reason }
    }
}

impl S3Refusal {
    /// When its request carries no condition: what the store does not have is something else.
    pub(super) fn without_condition(self) -> S3Refusal {
        let answer = if self.answer == S3Answer::NotImplemented { S3Answer::Misconfigured } else { self.answer };
        S3Refusal { answer, ..self }
    }

    /// When its upload was to be completed: one that nobody knows any more was completed, by a request whose answer
    /// was lost, or aborted; looking tells.
    pub(super) fn on_complete(self) -> S3Refusal {
        let answer = if self.code == "NoSuchUpload" { S3Answer::Taken } else { self.answer };
        S3Refusal { answer, ..self }
    }
}

impl S3Sink {
    /// Reads an SDK error. `act` is what was under way: `put`.
    pub(super) fn refusal<E>(&self, act: &str, name: &str, error: &SdkError<E, HttpResponse>) -> S3Refusal
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let (raw, code, message) = match error {
            SdkError::ServiceError(e) => (e.raw(), e.err().code(), e.err().message()),
            SdkError::ResponseError(e) => (e.raw(), None, Some("the answer cannot be read")),
            _ => {
                let (answer, code) = unanswered(error);
                let made = self.made(answer, code, (act, name), &told(error));
                return S3Refusal { outcome_unknown: code == CONNECTION_FAILED, ..made };
            }
        };
        let status = raw.status().as_u16();
        // `NotFound` is the SDK's own word for a 404 without a body.
        let code = code.filter(|c| !c.is_empty() && *c != "NotFound");
        // An error within a 200 is none of the table's statuses; its code decides.
        let answer = if status < 300 && code.is_none() { S3Answer::Retry } else { classify(status, code) };
        let shown = code.map_or_else(|| code_of(status), str::to_owned);
        let text = format!("HTTP {status}, {}", message.unwrap_or("no message"));
        let (answer, text) = self.or_elsewhere(answer, text, raw);
        let made = self.made(answer, &shown, (act, name), &text);
        S3Refusal { outcome_unknown: matches!(status, 200..=299 | 500 | 502 | 504), ..made }
    }

    /// Says where the bucket is if the settings have another region: other credentials do not help then.
    fn or_elsewhere(&self, answer: S3Answer, text: String, raw: &HttpResponse) -> (S3Answer, String) {
        let ours = self.settings.region.as_str();
        match (answer, region::named(raw)) {
            (S3Answer::Misconfigured | S3Answer::Credentials, Some(theirs)) if theirs != ours => {
                let text = format!("the bucket is in `{theirs}`, this stream says `{ours}`: {text}");
                (S3Answer::Misconfigured, text)
            }
            _ => (answer, text),
        }
    }

    pub(super) fn taken(&self, name: &str) -> S3Refusal {
        self.made(S3Answer::Taken, "PreconditionFailed", ("put", name), "something stands there")
    }

    pub(super) fn no_bucket(&self) -> S3Refusal {
        self.made(S3Answer::Misconfigured, "NoSuchBucket", ("look for", ""), "HTTP 404, there is no such bucket")
    }

    /// An answer that says success but cannot be one.
    pub(super) fn unusable(&self, act: &str, name: &str, found: &str) -> S3Refusal {
        self.made(S3Answer::Retry, "BadAnswer", (act, name), found)
    }

    fn made(&self, answer: S3Answer, code: &str, (act, name): (&str, &str), text: &str) -> S3Refusal {
        let bucket = &self.settings.bucket;
        let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = bounded(text, MESSAGE_CHARS_MAX);
        let reason = format!("S3.{code}: {act} `s3://{bucket}/{name}`: {text}");
        S3Refusal { answer, reason, outcome_unknown: false, code: code.to_owned() }
    }
}

/// Requests that got no answer.
fn unanswered<E>(error: &SdkError<E, HttpResponse>) -> (S3Answer, &'static str)
where
    E: Error + 'static,
{
    match cause(error) {
        Some(CredentialsError::ProviderTimedOut(_)) => return (S3Answer::Retry, "CredentialsTimeout"),
        Some(_) => return (S3Answer::Credentials, "CredentialsNotLoaded"),
        None => {}
    }
    if cause::<UnreadableBody>(error).is_some() {
        return (S3Answer::Retry, "ScratchUnreadable");
    }
    match error {
        SdkError::TimeoutError(_) => (S3Answer::Retry, "Timeout"),
        SdkError::DispatchFailure(e) if e.is_timeout() => (S3Answer::Retry, "Timeout"),
        // It never left: such as a region that is no name.
        SdkError::ConstructionFailure(_) => (S3Answer::Misconfigured, "InvalidRequest"),
        SdkError::DispatchFailure(e) if e.is_other() && cause::<hyper::Error>(error).is_none() => {
            (S3Answer::Misconfigured, "InvalidRequest")
        }
        _ => (S3Answer::Retry, CONNECTION_FAILED),
    }
}

/// An error and what caused it, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&e| e.source())
}

fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|e| e.downcast_ref())
}

/// The chain as one text: the SDK's errors do not name their causes.
fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for part in causes(error).map(ToString::to_string) {
        if !text.ends_with(&part) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&part);
        }
    }
    text
}

/// A code for an answer without one: Firehose's where it has one, else the status's name.
fn code_of(status: u16) -> String {
    match status {
        ..=299 => "BadAnswer".to_owned(),
        301 => "PermanentRedirect".to_owned(),
        403 => "AccessDenied".to_owned(),
        409 => "ConditionalRequestConflict".to_owned(),
        412 => "PreconditionFailed".to_owned(),
        500 => "InternalError".to_owned(),
        _ => {
            let name = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
            name.map_or_else(|| format!("Http{status}"), |n| n.replace(' ', ""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_reaction() {
        use S3Answer::*;
        let cases = [
            (412, "PreconditionFailed", Taken),
            (412, "", Taken),
            (409, "ConditionalRequestConflict", Taken),
            (409, "OperationAborted", Taken),
            (409, "", Taken),
            (501, "NotImplemented", NotImplemented),
            (501, "", NotImplemented),
            (400, "NotImplemented", NotImplemented),
            (403, "AccessDenied", Misconfigured),
            (403, "AllAccessDisabled", Misconfigured),
            (403, "AccountProblem", Misconfigured),
            (403, "RequestTimeTooSkewed", Misconfigured),
            (403, "InvalidAccessKeyId", Credentials),
            (403, "SignatureDoesNotMatch", Credentials),
            (403, "ExpiredToken", Credentials),
            (400, "ExpiredToken", Credentials),
            (400, "InvalidToken", Credentials),
            (403, "", Credentials),
            (400, "", Credentials),
            (404, "NoSuchBucket", Misconfigured),
            (404, "", Misconfigured),
            (404, "NoSuchUpload", Retry),
            (301, "PermanentRedirect", Misconfigured),
            (301, "", Misconfigured),
            (400, "IllegalLocationConstraintException", Misconfigured),
            (400, "AuthorizationHeaderMalformed", Misconfigured),
            (400, "InvalidStorageClass", Misconfigured),
            (400, "KMS.NotFoundException", Misconfigured),
            (400, "KMS.DisabledException", Misconfigured),
            (403, "KMS.KeyNotConfigured", Misconfigured),
            (405, "MethodNotAllowed", Misconfigured),
            (400, "KMS.RequestLimitExceeded", Retry),
            (400, "KMS.ThrottlingException", Retry),
            (503, "KMS.InternalException", Retry),
            (503, "SlowDown", Retry),
            (403, "SlowDown", Retry),
            (503, "", Retry),
            (500, "InternalError", Retry),
            (500, "", Retry),
            (200, "InternalError", Retry),
            (429, "", Retry),
            (400, "RequestTimeout", Retry),
            (400, "BadDigest", Retry),
            (400, "XAmzContentSHA256Mismatch", Retry),
            (507, "XMinioStorageFull", Retry),
        ];
        for (status, code, reaction) in cases {
            assert_eq!(classify(status, Some(code)), reaction, "{status} `{code}`");
        }
        assert_eq!(classify(503, None), Retry);
    }

    #[test]
    fn an_answer_without_a_code_gets_one() {
        for (status, code) in [(403, "AccessDenied"), (503, "ServiceUnavailable"), (499, "Http499"), (200, "BadAnswer")]
        {
            assert_eq!(code_of(status), code);
        }
    }
}
