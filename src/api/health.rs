//! `GET /ping` at the API's own address, for load balancers, which do not sign and are not on loopback: whether puts should
//! come here, and nothing else.
//!
//! Anybody may ask, as often as they like: the streams are looked at once in a while, and whoever asks meanwhile gets the same
//! answer, or waits for it.

use super::FirehoseApi;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

const PATH: &str = "/ping";
/// Between two looks at the streams: load balancers ask every few seconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the last look found, and when.
#[derive(Default)]
pub struct Health(Mutex<Option<(Instant, bool)>>);

impl Health {
    async fn is_ready(&self, api: &FirehoseApi) -> bool {
        let mut last = self.0.lock().await;
        let known = last.filter(|(looked, _)| looked.elapsed() < LOOK_EVERY);
        if let Some((_, ready)) = known {
            return ready;
        }
        // Counted as a look already: who asks may hang up before it has ended, and the next one would begin another.
        *last = Some((Instant::now(), last.is_some_and(|(_, ready)| ready)));
        let ready = not_ready(api).await.is_empty();
        *last = Some((Instant::now(), ready));
        ready
    }
}

/// The streams that take no puts, and why; and why nobody can connect.
pub async fn not_ready(api: &FirehoseApi) -> Vec<String> {
    let node = api.node().clone();
    let statuses = tokio::task::spawn_blocking(move || node.statuses()).await.unwrap_or_default();
    let not_ready =
        statuses.into_iter().filter(|s| matches!(s.state.as_str(), "stopped" | "opening") || s.refuses_puts);
    let not_ready = not_ready.map(|s| format!("{}: {}", s.stream, s.alarm.unwrap_or(s.state)));
    not_ready.chain(api.turned_away()).collect()
}

pub fn is_asked<T>(request: &Request<T>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && request.uri().path() == PATH
}

/// `stopping`: what comes now would be refused.
pub async fn answer(api: &FirehoseApi, stopping: bool) -> Response<Full<Bytes>> {
    let (status, text) = match !stopping && api.health().is_ready(api).await {
        true => (StatusCode::OK, "healthy\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy\n"),
    };
    let response = Response::builder().status(status).header("content-type", "text/plain; charset=utf-8");
    response.body(Full::new(Bytes::from_static(text.as_bytes()))).expect("these headers are valid")
}
