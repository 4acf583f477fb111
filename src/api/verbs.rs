//! What the admin listener does to a stream: `POST /v1/streams/NAME/VERB`, and how a redrive stands with `GET`.
//!
//! A page that a browser shows may send requests to loopback, but not with this content type unless it is asked first.

use super::FirehoseApi;
use crate::error::Kind;
use crate::json::JsonObject;
use crate::stream::redrive::progress::Selection;
use serde_json::{Value, json};

pub(super) const CONTENT_TYPE: &str = "application/json";
/// Of a request's body.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;

/// Stream and verb of a path.
pub(super) fn parse(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("/v1/streams/")?.split_once('/').filter(|(name, verb)| !name.is_empty() && !verb.contains('/'))
}

/// Does it: status and JSON. Blocks. `body` is none where it was only asked.
pub(super) fn answer(api: &FirehoseApi, name: &str, verb: &str, body: Option<&[u8]>) -> (u16, Value) {
    let stream = match api.node().lookup(name) {
        Some(Ok(stream)) => stream,
        Some(Err(why)) => return failed(503, format!("stream `{name}` is not open: {}", why.why())),
        None => return failed(404, format!("there is no stream `{name}`")),
    };
    let done = match (verb, body) {
        ("redrive", None) => {
            let progress = stream.redrive_progress();
            progress.map(|p| serde_json::to_value(p).expect("plain values always serialise"))
        }
        ("redrive", Some(body)) => match serde_json::from_slice(body) {
            Ok(JsonObject::<Selection>(selection)) => stream.redrive(selection).map(|()| json!({ "running": true })),
            Err(e) => return failed(400, format!("the selection: {e}")),
        },
        ("pause", Some(_)) => stream.pause(true).map(|()| json!({ "paused": true })),
        ("resume", Some(_)) => stream.pause(false).map(|()| json!({ "paused": false })),
        ("abandon", Some(_)) => {
            let done = stream.abandon();
            done.map(|done| {
                json!({
                    "abandoned_plans": done.given_up,
                    "plans_being_sent": done.being_sent,
                    "plans_being_rebuilt": done.rebuilding,
                    "plans_left": done.left,
                })
            })
        }
        ("acknowledge", Some(_)) => {
            let lost = stream.acknowledge_loss();
            lost.map(|lost| json!({ "lost_records": lost.records, "lost_of_backup": lost.of_backup }))
        }
        (_, None) => return failed(404, "expected GET of `redrive`".to_owned()),
        _ => {
            return failed(
                404,
                format!("found `{verb}`, expected one of redrive, pause, resume, abandon, acknowledge"),
            );
        }
    };
    match done {
        Ok(value) => (200, value),
        Err(e) if e.kind == Kind::Invalid => failed(409, e.to_string()),
        Err(e) => failed(503, e.to_string()),
    }
}

fn failed(status: u16, error: String) -> (u16, Value) {
    (status, json!({ "error": error }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_stream_and_a_verb() {
        assert_eq!(parse("/v1/streams/a.b/redrive"), Some(("a.b", "redrive")));
        for path in ["/v1/streams", "/v1/streams/", "/v1/streams/a", "/v1/streams//pause", "/v1/streams/a/b/c", "/"] {
            assert_eq!(parse(path), None, "{path}");
        }
    }
}
