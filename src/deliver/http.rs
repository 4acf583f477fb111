//! An endpoint that takes records as Firehose sends them (docs/firehose.md: "HTTP endpoints"; developer guide, "httpdeliveryrequestresponse").
//!
//! One plan is one request. Its id is the request's id and its body is the same in every attempt, through restarts too,
//! so that a receiver can drop what it has already. What is no success by the letter of the protocol is a refusal; 413
//! asks for smaller requests. Redirects are not followed, and of an answer at most 1 MiB is read.
//!
//! The way: `request` (records to a body) -> the client, over `egress` (which addresses may be called) -> `answer`.

mod answer;
mod egress;
mod request;
pub mod settings;

use super::{Attempt, Shipment, Sink, feed, trust};
use crate::config::{self, ContentEncoding};
use crate::error::{Error, Kind, Result};
use crate::sabotage;
use answer::{CONNECTION_FAILED, CONNECTION_RESET, REQUEST_TIMEOUT, SSL_HANDSHAKE_FAILURE};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Response, redirect};
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::runtime::Handle;

/// Of an answer's body.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// An endpoint that is there answers the handshake sooner.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// Connections that receivers commonly close by themselves are not kept until then.
const IDLE: Duration = Duration::from_secs(20);
const USER_AGENT: &str = "Amazon Kinesis Data Firehose Agent/1.0";

/// An endpoint that takes requests of records. Attempts block and belong on threads that may.
pub struct HttpSink {
    runtime: Handle,
    client: Client,
    url: String,
    headers: HeaderMap,
    gzip: bool,
    timeout: Duration,
}

impl HttpSink {
    /// Makes the client; nothing is sent yet. `arn` is the stream's.
    pub fn connect(settings: &config::Http, arn: &str, runtime: Handle) -> Result<HttpSink> {
        let wrong = |what: &str, e: String| Error::new(Kind::Misconfigured, format!("`{what}` of the endpoint: {e}"));
        let mut client = ClientBuilder::new()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .http1_only()
            .connect_timeout(settings.timeout.min(CONNECT_TIMEOUT_MAX))
            .pool_idle_timeout(IDLE)
            .dns_resolver(egress::Resolver { allow_private: settings.allow_private });
        if let Some(path) = &settings.ca {
            let mut tls = trust::client(Some(path), true).map_err(|e| wrong("ca", e.to_string()))?;
            // As the client asks for by itself where it makes these settings.
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
            client = client.tls_backend_preconfigured(tls);
        }
        // Building a client with the system's certificates looks for a runtime.
        let _entered = runtime.enter();
        let client = client.build().map_err(|e| wrong("url", told(&e)))?;
        let headers = headers(settings, arn).map_err(|(key, e)| wrong(key, e))?;
        let gzip = settings.content_encoding == ContentEncoding::Gzip;
        let (url, timeout) = (settings.url.clone(), settings.timeout);
        Ok(HttpSink { runtime: runtime.clone(), client, url, headers, gzip, timeout })
    }

    async fn send(&self, shipment: &Shipment, request: &request::Request) -> Attempt {
        let id = shipment.id.to_string();
        let mut headers = self.headers.clone();
        let header = HeaderValue::from_str(&id).expect("a UUID is a header's value");
        headers.insert(HeaderName::from_static("x-amz-firehose-request-id"), header);
        let parts = request.parts();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(feed::len(&parts)));
        let post = self.client.post(&self.url).headers(headers);
        let answered = feed::send(&parts, async |feed| {
            let response = post.body(reqwest::Body::wrap(feed)).send().await?;
            read(response).await
        });
        match tokio::time::timeout(self.timeout, answered).await {
            Err(_) => {
                let message = format!("found no answer within {:?}, expected one", self.timeout);
                answer::refused(REQUEST_TIMEOUT, message, true)
            }
            Ok(Err(e)) => unanswered(&e),
            Ok(Ok(answer)) => answer.judge(&id),
        }
    }
}

/// The headers of every request, or the setting that makes none.
fn headers(settings: &config::Http, arn: &str) -> std::result::Result<HeaderMap, (&'static str, String)> {
    let mut headers = HeaderMap::new();
    let mut put = |key: &'static str, name: &'static str, value: &str| {
        let value =
            HeaderValue::from_str(value).map_err(|_| (key, "found characters that no header has".to_owned()))?;
        headers.insert(HeaderName::from_static(name), value);
        Ok(())
    };
    put("url", "x-amz-firehose-protocol-version", "1.0")?;
    put("url", "x-amz-firehose-source-arn", arn)?;
    if let Some(key) = &settings.access_key {
        put("access_key", "x-amz-firehose-access-key", key.expose_secret())?;
    }
    if !settings.common_attributes.is_empty() {
        let attributes = serde_json::json!({ "commonAttributes": settings.common_attributes });
        put("common_attributes", "x-amz-firehose-common-attributes", &ascii(&attributes.to_string()))?;
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if settings.content_encoding == ContentEncoding::Gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(headers)
}

/// JSON with only ASCII in it, as a header wants it.
fn ascii(json: &str) -> String {
    let mut out = String::new();
    for c in json.chars() {
        match c.is_ascii() {
            true => out.push(c),
            false => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out
}

/// Reads an answer as far as it may go.
async fn read(mut response: Response) -> reqwest::Result<answer::EndpointAnswer> {
    let mut body = Vec::new();
    let mut too_large = false;
    while let Some(piece) = response.chunk().await? {
        let room = ANSWER_BYTES_MAX - body.len();
        too_large = piece.len() > room;
        body.extend_from_slice(&piece[..piece.len().min(room)]);
        if too_large {
            break;
        }
    }
    let headers = response.headers();
    Ok(answer::EndpointAnswer {
        status: response.status().as_u16(),
        is_json: headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(answer::is_json),
        is_encoded: headers.contains_key(CONTENT_ENCODING),
        has_length: headers.contains_key(CONTENT_LENGTH),
        too_large,
        body,
    })
}

/// An error's causes, outermost first. The error itself would show the URL, and URLs are known to hold secrets.
fn told(e: &reqwest::Error) -> String {
    let mut cause = std::error::Error::source(e);
    let mut text = cause.map_or_else(|| "no answer".to_owned(), ToString::to_string);
    while let Some(e) = cause {
        let next = e.to_string();
        // Layers that only repeat what is below them say nothing.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = e.source();
    }
    text
}

fn unanswered(e: &reqwest::Error) -> Attempt {
    let text = told(e);
    let is_tls = ["certificate", "handshake", "tls", "ssl"].iter().any(|w| text.to_lowercase().contains(w));
    match () {
        () if e.is_timeout() && e.is_connect() => answer::refused(CONNECTION_FAILED, text, true),
        () if e.is_timeout() => answer::refused(REQUEST_TIMEOUT, text, true),
        () if e.is_connect() && is_tls => answer::refused(SSL_HANDSHAKE_FAILURE, text, false),
        () if e.is_connect() => answer::refused(CONNECTION_FAILED, text, false),
        () if text.contains("read scratch") => Attempt::Retry { reason: text },
        () => answer::refused(CONNECTION_RESET, text, false),
    }
}

impl Sink for HttpSink {
    fn attempt(&self, shipment: &Shipment) -> Attempt {
        if shipment.only_look {
            // Nobody can be asked what it got; the plan's id tells a receiver as far as it looks.
            return Attempt::Absent;
        }
        let request = match request::Request::new(shipment, self.gzip) {
            Ok(request) => request,
            Err(e) => return Attempt::Retry { reason: format!("make the request: {e}") },
        };
        let attempt = self.runtime.block_on(self.send(shipment, &request));
        if matches!(attempt, Attempt::Stored { .. }) {
            sabotage::point("request.taken");
        }
        attempt
    }

    /// Sends a request without a record.
    fn check(&self) -> Vec<String> {
        let id = uuid::Uuid::new_v4().to_string();
        let request = self.client.post(&self.url).headers(self.headers.clone()).timeout(self.timeout);
        let request = request.header("x-amz-firehose-request-id", &id).header(CONTENT_LENGTH, 0).body("");
        // Within the runtime: the timer of the request begins when it is made, not when it is first looked at.
        let status = match self.runtime.block_on(async { request.send().await }) {
            Ok(response) => response.status(),
            Err(e) => return vec![told(&e)],
        };
        match status.as_u16() {
            401 | 403 => vec![format!("it answers {status}: look at `access_key`")],
            404 | 405 => vec![format!("it answers {status}: look at the path of `url`")],
            300..=399 => vec![format!("it answers {status}, and redirects are not followed: give the last address")],
            // An empty request is no request to it: that it says so shows that it is there.
            _ => Vec::new(),
        }
    }
}
