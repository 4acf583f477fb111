//! The admin listener: health, metrics, how each stream stands, and what a person asks of one.
//!
//! It asks for no key, and listens on loopback only. A page that a browser shows gets there all the same by a name that its
//! owner lets lead to 127.0.0.1 (rebinding), but then says that name: what is not asked of a loopback address, or of
//! `localhost`, is not answered.

use super::health;
use super::operations::FirehoseApi;
use super::verbs;
use crate::error::{Error, Kind, Result};
use crate::stream::supervise::Status;
use crate::telemetry;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// At once: few, and an eighth of the descriptors at most.
const CONNECTIONS_MAX: u64 = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const TEXT: &str = "text/plain; charset=utf-8";

/// How often histograms are folded: between two times they keep every sample.
const UPKEEP: Duration = Duration::from_secs(2);

/// A bound admin listener.
pub struct AdminServer {
    api: Arc<FirehoseApi>,
    metrics: Option<PrometheusHandle>,
    listener: TcpListener,
}

impl AdminServer {
    pub async fn bind(
        api: Arc<FirehoseApi>,
        metrics: Option<PrometheusHandle>,
        listen: SocketAddr,
    ) -> Result<Arc<AdminServer>> {
        let listener = TcpListener::bind(listen).await;
        let listener = listener.map_err(|e| Error::new(Kind::Misconfigured, format!("listen on `{listen}`: {e}")))?;
        Ok(Arc::new(AdminServer { api, metrics, listener }))
    }

    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|e| Error::new(Kind::Misconfigured, e.to_string()))
    }

    /// Answers until `stop` changes.
    pub async fn serve(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let connections = Arc::new(Semaphore::new((descriptors / 8).clamp(1, CONNECTIONS_MAX) as usize));
        let mut upkeep = tokio::time::interval(UPKEEP);
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.changed() => return,
                _ = upkeep.tick() => {
                    self.metrics.iter().for_each(PrometheusHandle::run_upkeep);
                    continue;
                }
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(permit) = connections.clone().try_acquire_owned() else { continue };
            let admin = self.clone();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request| {
                    let admin = admin.clone();
                    async move { Ok::<_, Infallible>(admin.respond(request).await) }
                });
                let mut builder = hyper::server::conn::http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                drop(permit);
            });
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if let Some(found) = other_host(&request) {
            let text = format!("found the host `{found}`, expected `localhost` or a loopback address\n");
            return response(421, TEXT, text);
        }
        if let Some((name, verb)) = verbs::parse(request.uri().path()) {
            let (name, verb) = (name.to_owned(), verb.to_owned());
            let (status, value) = self.verb(request, name, verb).await;
            return response(status, "application/json", value.to_string());
        }
        let text = TEXT;
        let (status, kind, body) = match (request.method(), request.uri().path()) {
            (&Method::GET, "/healthz") => (200, text, "ok\n".to_owned()),
            (&Method::GET, "/readyz") => {
                let lines: String = health::not_ready(&self.api).await.into_iter().map(|line| line + "\n").collect();
                match lines.is_empty() {
                    true => (200, text, "ready\n".to_owned()),
                    false => (503, text, lines),
                }
            }
            (&Method::GET, "/metrics") => {
                // First, since streams hand over what their transforms have counted when they are asked.
                let statuses = self.statuses().await;
                let counters = self.metrics.as_ref().map(PrometheusHandle::render).unwrap_or_default();
                (200, "text/plain; version=0.0.4", counters + &telemetry::render(&statuses, &self.api.config()))
            }
            (&Method::GET, "/v1/streams") => {
                let body = serde_json::to_string(&self.statuses().await).expect("plain values always serialise");
                (200, "application/json", body)
            }
            (&Method::GET, _) => (404, text, "expected /healthz, /readyz, /metrics or /v1/streams\n".to_owned()),
            _ => (405, text, "expected GET\n".to_owned()),
        };
        response(status, kind, body)
    }

    async fn verb(&self, request: Request<Incoming>, name: String, verb: String) -> (u16, Value) {
        let wrong = |status, error: &str| (status, json!({ "error": error }));
        let body = match *request.method() {
            Method::GET => None,
            Method::POST => {
                let content_type = request.headers().get("content-type").and_then(|t| t.to_str().ok());
                if content_type != Some(verbs::CONTENT_TYPE) {
                    return wrong(415, "expected the Content-Type application/json");
                }
                let body = Limited::new(request.into_body(), verbs::BODY_BYTES_MAX).collect();
                match tokio::time::timeout(HEADER_TIMEOUT, body).await {
                    Ok(Ok(body)) => Some(body.to_bytes()),
                    _ => return wrong(400, "the body did not come, or is too large"),
                }
            }
            _ => return wrong(405, "expected GET or POST"),
        };
        let api = self.api.clone();
        let done = tokio::task::spawn_blocking(move || verbs::answer(&api, &name, &verb, body.as_deref()));
        done.await.unwrap_or_else(|_| wrong(500, "it panicked; the log says where"))
    }

    async fn statuses(&self) -> Vec<Status> {
        let node = self.api.node().clone();
        tokio::task::spawn_blocking(move || node.statuses()).await.unwrap_or_default()
    }
}

/// A host that the request names and that is not this machine's own. What is no browser may name none.
fn other_host<T>(request: &Request<T>) -> Option<String> {
    let named =
        request.headers().get_all(HOST).iter().map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    let target = request.uri().authority().map(ToString::to_string);
    named.chain(target).find(|host| !is_own(host))
}

fn is_own(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    // What stands before an `@` is a user's name, which nobody has here.
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    !host.contains('@') && (is_loopback || name.eq_ignore_ascii_case("localhost"))
}

fn response(status: u16, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let response = Response::builder().status(StatusCode::from_u16(status).expect("a constant"));
    let response = response.header("content-type", kind);
    response.body(Full::new(Bytes::from(body))).expect("these headers are valid")
}
