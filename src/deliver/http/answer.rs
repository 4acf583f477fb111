//! What an endpoint's answer means, by the letter of the protocol.

use crate::deliver::Attempt;
use crate::json::JsonObject;
use serde::Deserialize;
use serde::de::IgnoredAny;

// Firehose's codes (docs/firehose.md: "HTTP endpoints").
pub(super) const REQUEST_TIMEOUT: &str = "HttpEndpoint.RequestTimeout";
pub(super) const RESPONSE_TOO_LARGE: &str = "HttpEndpoint.ResponseTooLarge";
pub(super) const INVALID_RESPONSE: &str = "HttpEndpoint.InvalidResponseFromDestination";
pub(super) const DESTINATION_EXCEPTION: &str = "HttpEndpoint.DestinationException";
pub(super) const CONNECTION_FAILED: &str = "HttpEndpoint.ConnectionFailed";
pub(super) const CONNECTION_RESET: &str = "HttpEndpoint.ConnectionReset";
pub(super) const SSL_HANDSHAKE_FAILURE: &str = "HttpEndpoint.SSLHandshakeFailure";

/// Of an answer that is shown in alarms and error records.
const SHOWN_BYTES_MAX: usize = 4096;
const ERROR_MESSAGE_CHARS_MAX: usize = 8192;

/// An answer, read.
pub(super) struct EndpointAnswer {
    pub status: u16,
    pub is_json: bool,
    pub is_encoded: bool,
    pub has_length: bool,
    pub too_large: bool,
    /// As far as it was read.
    pub body: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Success<'a> {
    #[serde(borrow)]
    request_id: std::borrow::Cow<'a, str>,
    timestamp: serde_json::Number,
    /// Receivers are known to send `null` here.
    #[serde(default)]
    error_message: Option<String>,
}

pub(super) fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

pub(super) fn refused(code: &str, message: String, busy: bool) -> Attempt {
    Attempt::Refused { code: code.to_owned(), message, busy, instead: None }
}

impl EndpointAnswer {
    /// What became of the request `id`.
    pub(super) fn judge(&self, id: &str) -> Attempt {
        let shown = || self.shown();
        if self.too_large && self.status != 413 {
            return refused(
                RESPONSE_TOO_LARGE,
                "found an answer of more than 1 MiB, expected at most that".into(),
                false,
            );
        }
        if self.status != 200 {
            let message = format!(
                "The following response was received from the endpoint destination. {}: {}",
                self.status,
                shown()
            );
            return match self.status {
                413 => Attempt::TooLarge { code: DESTINATION_EXCEPTION.to_owned(), message },
                status => refused(DESTINATION_EXCEPTION, message, matches!(status, 429 | 503)),
            };
        }
        let why = match self.fault(id) {
            None => return Attempt::Stored { tag: String::new() },
            Some(why) => why,
        };
        let message = format!(
            "Response for request {id} is not recognized as valid JSON or has unexpected fields. Raw response received: \
             200 {} ({why})",
            shown()
        );
        refused(INVALID_RESPONSE, message, false)
    }

    /// Why a 200 is no success.
    fn fault(&self, id: &str) -> Option<String> {
        if self.is_encoded {
            return Some("found a Content-Encoding, expected none".into());
        }
        if !self.is_json {
            return Some("expected the Content-Type application/json".into());
        }
        if !self.has_length {
            return Some("found no Content-Length".into());
        }
        let JsonObject::<Success>(success) = match serde_json::from_slice(&self.body) {
            Ok(success) => success,
            Err(e) => {
                // What is no JSON at all is another matter than JSON of another shape.
                let is_json = serde_json::from_slice::<IgnoredAny>(&self.body).is_ok();
                return Some(if is_json { e.to_string() } else { format!("no JSON: {e}") });
            }
        };
        let _ = success.timestamp;
        if success.request_id != id {
            return Some("expected the requestId of the request".into());
        }
        let chars = success.error_message.map_or(0, |m| m.chars().count());
        (chars > ERROR_MESSAGE_CHARS_MAX).then(|| format!("found an errorMessage of {chars} characters"))
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(SHOWN_BYTES_MAX)]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "ed4acda5-034f-9f42-bba1-f29aea6d7d8f";

    fn ok(body: &str) -> EndpointAnswer {
        let body = body.replace("ID", ID).into_bytes();
        EndpointAnswer { status: 200, is_json: true, is_encoded: false, has_length: true, too_large: false, body }
    }

    fn code(answer: &EndpointAnswer) -> String {
        match answer.judge(ID) {
            Attempt::Stored { .. } => "stored".into(),
            Attempt::Refused { code, busy, .. } => format!("{code}{}", if busy { " busy" } else { "" }),
            Attempt::TooLarge { .. } => "too large".into(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn only_what_the_protocol_calls_success_is_one() {
        let good = r#"{"requestId":"ID","timestamp":1578090903599}"#;
        for body in [
            good,
            r#" {"timestamp": 1795194288, "requestId": "ID", "errorMessage": null} "#,
            r#"{"requestId":"ID","timestamp":1578090903599.5,"errorMessage":"all well"}"#,
        ] {
            assert_eq!(code(&ok(body)), "stored", "{body}");
        }
        for body in [
            "",
            "null",
            "<html>",
            r#"{"requestId":null,"timestamp":1}"#,
            r#"{"requestId":"other","timestamp":1}"#,
            r#"{"requestId":"ID"}"#,
            r#"{"requestId":"ID","timestamp":"1"}"#,
            r#"{"requestId":"ID","timestamp":1,"more":1}"#,
            r#"{"requestId":"ID","timestamp":1}{}"#,
            r#"["ID",1578090903599,null]"#,
        ] {
            assert_eq!(code(&ok(body)), INVALID_RESPONSE, "{body}");
        }
        let long = format!(r#"{{"requestId":"ID","timestamp":1,"errorMessage":"{}"}}"#, "x".repeat(8193));
        assert_eq!(code(&ok(&long)), INVALID_RESPONSE);
        let wrong: [fn(&mut EndpointAnswer); 3] =
            [|a| a.is_json = false, |a| a.is_encoded = true, |a| a.has_length = false];
        for wrong in wrong {
            let mut answer = ok(good);
            wrong(&mut answer);
            assert_eq!(code(&answer), INVALID_RESPONSE);
        }
        assert_eq!(code(&EndpointAnswer { too_large: true, ..ok(good) }), RESPONSE_TOO_LARGE);
        assert!(is_json("Application/JSON; charset=utf-8") && !is_json("text/html") && !is_json("application/jsonl"));
    }

    #[test]
    fn everything_else_is_refused_and_413_asks_for_less() {
        for (status, expected) in [
            (201, DESTINATION_EXCEPTION.to_owned()),
            (204, DESTINATION_EXCEPTION.to_owned()),
            (302, DESTINATION_EXCEPTION.to_owned()),
            (400, DESTINATION_EXCEPTION.to_owned()),
            (500, DESTINATION_EXCEPTION.to_owned()),
            (429, format!("{DESTINATION_EXCEPTION} busy")),
            (503, format!("{DESTINATION_EXCEPTION} busy")),
            (413, "too large".to_owned()),
        ] {
            assert_eq!(code(&EndpointAnswer { status, ..ok("{}") }), expected, "{status}");
        }
        let Attempt::TooLarge { message, .. } = (EndpointAnswer { status: 413, ..ok("too much") }).judge(ID) else {
            panic!()
        };
        assert_eq!(message, "The following response was received from the endpoint destination. 413: too much");
    }
}
