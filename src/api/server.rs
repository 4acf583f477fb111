//! Connections: accepted within bounds, read within time and budget, answered, and closed in order at the end.
//!
//! Bounds: connections; bytes of requests in flight, waited for briefly and then refused with 503 (see [`room`]); a TLS
//! handshake, a header, a body and idleness each within its time.
//!
//! Without TLS the protocol is HTTP/1.1, with TLS whichever of HTTP/2 and HTTP/1.1 the handshake settled on.

use super::error::ApiError;
use super::health;
use super::operations::FirehoseApi;
use super::pace::{ConnectionPace, Expired, Paced};
use super::room::{self, Held, IntakeRoom, RoomShare};
use super::wire::BODY_BYTES_MAX;
use crate::error::{Error, Kind, Result};
use crate::sabotage;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use uuid::Uuid;

/// Bytes of a body that are taken before there is room for the rest, so that nothing is held for one that does not come.
const FIRST_BYTES: usize = 8 << 10;
/// Bytes of a refused body that are read for the client to see the answer.
const DISCARDED_BYTES_MAX: usize = 32 << 20;
/// Bytes of a large body for which there has to be room before there is for all of it.
const BEGINNING_BYTES: usize = 64 << 10;
/// How often it is looked whether a body comes fast enough.
const RATE_LOOK: Duration = Duration::from_millis(100);
/// Bytes hyper may hold per connection before we ask for them.
const CONNECTION_BYTES_MAX: usize = 64 << 10;
/// The same for HTTP/2, where a client may send this much before we read: a batch in a few round trips.
const WINDOW_BYTES: u32 = 256 << 10;
/// Requests at once on one HTTP/2 connection.
const REQUESTS_MAX: u32 = 64;
/// Bytes of an HTTP/2 request's headers.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// Pause after an accept that failed: usually too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long running requests are waited for at the end.
const FINISH_WAIT: Duration = Duration::from_secs(10);
const JSON: &str = "application/x-amz-json-1.1";

/// A bound API listener.
pub struct Server {
    api: Arc<FirehoseApi>,
    /// Until it is served.
    listener: Mutex<Option<TcpListener>>,
    address: SocketAddr,
    room: IntakeRoom,
    stopping: AtomicBool,
}

impl Server {
    /// Binds. An error names the address.
    pub async fn bind(api: Arc<FirehoseApi>) -> Result<Arc<Server>> {
        let config = api.config();
        let listen = config.api.listen;
        let listener = TcpListener::bind(listen).await;
        let listener = listener.map_err(|e| Error::new(Kind::Misconfigured, format!("listen on `{listen}`: {e}")))?;
        let wrong = |e: std::io::Error| Error::new(Kind::Misconfigured, e.to_string());
        let address = listener.local_addr().map_err(wrong)?;
        let room = IntakeRoom::new(config.memory.intake().bytes() as usize);
        Ok(Arc::new(Server {
            api,
            listener: Mutex::new(Some(listener)),
            address,
            room,
            stopping: AtomicBool::new(false),
        }))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until `stop` changes, then lets running requests finish.
    pub async fn serve(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let Some(listener) = self.listener.lock().expect("nobody panics holding it").take() else { return };
        let connections = self.api.connections().clone();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.changed() => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // Who finds no place is closed at once: that client tries again, and nothing is held for it.
            let pace = self.pace();
            let Some(place) = connections.take(&pace).await else { continue };
            let (server, stop) = (self.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    _ = server.connection(stream, pace.clone(), stop) => {}
                    _ = pace.evicted() => {}
                }
                drop(place);
            });
        }
        // Who comes now is refused at once, and not left to wait for those that are being answered.
        drop(listener);
        self.stopping.store(true, Ordering::Relaxed);
        let patience = FINISH_WAIT.min(self.api.config().drain_timeout);
        let _ = tokio::time::timeout(patience, connections.ended()).await;
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, pace: Arc<ConnectionPace>, stop: watch::Receiver<bool>) {
        let _ = stream.set_nodelay(true);
        let Some(tls) = self.api.acceptor() else { return self.http1(stream, pace, stop).await };
        let handshake = tls.accept(stream);
        let Ok(Ok(stream)) = tokio::time::timeout(self.api.config().api.header_timeout, handshake).await else {
            return;
        };
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => self.http2(stream, pace, stop).await,
            _ => self.http1(stream, pace, stop).await,
        }
    }

    async fn http1<S>(self: Arc<Self>, stream: S, pace: Arc<ConnectionPace>, stop: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.header_read_timeout(None).max_buf_size(CONNECTION_BYTES_MAX);
        let stream = TokioIo::new(Paced::new(stream, pace.clone()));
        let share = self.room.connection();
        let service = service_fn(|request| self.clone().paced(pace.clone(), share.clone(), request));
        let connection = builder.serve_connection(stream, service);
        drive(connection, &pace, stop, http1::Connection::graceful_shutdown).await;
    }

    async fn http2<S>(self: Arc<Self>, stream: S, pace: Arc<ConnectionPace>, stop: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(self.api.config().api.idle_timeout)
            .max_concurrent_streams(REQUESTS_MAX)
            .initial_connection_window_size(WINDOW_BYTES)
            .initial_stream_window_size(WINDOW_BYTES)
            .max_header_list_size(HEADERS_BYTES_MAX);
        let share = self.room.connection();
        let service = service_fn(|request| self.clone().paced(pace.clone(), share.clone(), request));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        drive(connection, &pace, stop, http2::Connection::graceful_shutdown).await;
    }

    fn pace(&self) -> Arc<ConnectionPace> {
        let config = self.api.config();
        ConnectionPace::new(config.api.header_timeout, config.api.idle_timeout)
    }

    async fn paced(
        self: Arc<Self>,
        pace: Arc<ConnectionPace>,
        share: Arc<RoomShare>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let _running = pace.request();
        Ok(self.respond(&share, request).await)
    }

    async fn respond(&self, share: &Arc<RoomShare>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if health::is_asked(&request) {
            return health::answer(&self.api, self.stopping.load(Ordering::Relaxed)).await;
        }
        let answer = self.request(share, request).await;
        let (status, body) = match answer {
            Ok(body) => (StatusCode::OK, body),
            Err(e) => {
                metrics::counter!("hydrant_api_errors", "code" => e.code).increment(1);
                (StatusCode::from_u16(e.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), e.body())
            }
        };
        let response = Response::builder()
            .status(status)
            .header("content-type", JSON)
            .header("x-amzn-requestid", request_id().to_string());
        response.body(Full::new(Bytes::from(body))).expect("these headers are valid")
    }

    async fn request(&self, share: &Arc<RoomShare>, request: Request<Incoming>) -> Result<Vec<u8>, ApiError> {
        if request.method() != Method::POST || request.uri().path() != "/" || request.uri().query().is_some() {
            let found = format!("{} {}", request.method(), request.uri());
            return Err(ApiError::new(400, "UnknownOperationException", format!("found `{found}`, expected `POST /`")));
        }
        let (mut head, mut body) = request.into_parts();
        name_host(&mut head);
        let timeout = self.api.config().api.body_timeout;
        let taken = match tokio::time::timeout(timeout, self.take(share, &head, &mut body)).await {
            Ok(taken) => taken,
            Err(_) => return Err(room::too_slow()),
        };
        match taken {
            Ok((bytes, held)) => {
                let answer = self.api.answer(&head.headers, &bytes).await;
                drop(held);
                answer
            }
            Err(refused) => {
                // The body is read and thrown away, so that the client sees the answer and not a reset.
                let _ = tokio::time::timeout(timeout, discard(&mut body)).await;
                Err(refused)
            }
        }
    }

    /// Takes a request's body, and the room for it. Its headers come first, and what they cannot have is refused before
    /// anything is held for it; then its first bytes.
    async fn take(
        &self,
        share: &Arc<RoomShare>,
        head: &Parts,
        body: &mut Incoming,
    ) -> Result<(Vec<u8>, Held), ApiError> {
        let claimed = body.size_hint().upper();
        let key = self.api.claimed_key(&head.headers)?;
        if claimed.is_some_and(|n| n > BODY_BYTES_MAX as u64) {
            return Err(too_large());
        }
        if self.stopping.load(Ordering::Relaxed) {
            return Err(ApiError::unavailable("The service is stopping."));
        }
        let (mut bytes, mut has_ended) = (Vec::new(), body.is_end_stream());
        while bytes.len() < FIRST_BYTES && !has_ended && !sabotage::on("body_reserved_first") {
            has_ended = !append(body, &mut bytes).await? || body.is_end_stream();
        }
        let expected = if has_ended { bytes.len() } else { claimed.map_or(BODY_BYTES_MAX, |n| n as usize) };
        let is_whole = has_ended || expected <= 2 * BEGINNING_BYTES || sabotage::on("body_reserved_first");
        let beginning = if is_whole { expected } else { BEGINNING_BYTES };
        let held = self.hold(share, key.as_deref(), beginning).await?;
        bytes.reserve_exact(beginning.saturating_sub(bytes.len()));
        if self.read(body, &mut bytes, beginning, &held).await? == BodyRead::Ended || is_whole {
            return Ok((bytes, held));
        }
        // Who waits for more room holds none: those who do could otherwise keep it from each other.
        drop(held);
        let held = self.hold(share, key.as_deref(), expected).await?;
        bytes.reserve_exact(expected.saturating_sub(bytes.len()));
        self.read(body, &mut bytes, usize::MAX, &held).await?;
        Ok((bytes, held))
    }

    /// Takes room for a body of so many bytes. Refused with 503 where there is none in time.
    async fn hold(&self, share: &Arc<RoomShare>, key: Option<&str>, bytes: usize) -> Result<Held, ApiError> {
        self.room.take(share, key, bytes).await.ok_or_else(|| {
            // The stream's name is in the body that was not kept, so that no stream can be charged with it.
            metrics::counter!("hydrant_budget_refused_requests").increment(1);
            ApiError::unavailable("Slow down: too many bytes are in flight.")
        })
    }

    /// Reads a body until there are so many bytes of it. Refused where they come too slowly for the room that is held.
    async fn read(
        &self,
        body: &mut Incoming,
        bytes: &mut Vec<u8>,
        until: usize,
        held: &Held,
    ) -> Result<BodyRead, ApiError> {
        let before = bytes.len();
        while !body.is_end_stream() {
            if bytes.len() >= until {
                return Ok(BodyRead::Begun);
            }
            match tokio::time::timeout(RATE_LOOK, append(body, bytes)).await {
                Ok(Ok(true)) | Err(_) => {}
                Ok(Ok(false)) => break,
                Ok(Err(e)) => return Err(e),
            }
            if let Some(refused) = held.too_slow(bytes.len() - before) {
                metrics::counter!("hydrant_slow_requests").increment(1);
                return Err(refused);
            }
        }
        Ok(BodyRead::Ended)
    }
}

/// How far a body was read.
#[derive(PartialEq, Eq)]
enum BodyRead {
    Begun,
    Ended,
}

/// Runs a connection until it ends, takes too long, or `stop` changes; `goodbye` asks it to end in order.
async fn drive<C: Future>(
    connection: C,
    pace: &ConnectionPace,
    mut stop: watch::Receiver<bool>,
    goodbye: fn(Pin<&mut C>),
) {
    let mut connection = pin!(connection);
    // The connection first: polling it changes what is expected of it.
    let expired = tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        expired = pace.expired() => Some(expired),
        _ = stop.changed() => None,
    };
    goodbye(connection.as_mut());
    match expired {
        Some(Expired::Header) => {}
        // What came while we said goodbye is still answered.
        Some(Expired::Idle) => drop(tokio::time::timeout(FINISH_WAIT, connection).await),
        None => tokio::select! {
            biased;
            _ = connection => {}
            _ = pace.expired() => {}
        },
    }
}

/// HTTP/2 names the host in the request's URI, where signatures do not look.
fn name_host(head: &mut Parts) {
    let authority = head.uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
    if let (false, Some(host)) = (head.headers.contains_key(HOST), authority) {
        head.headers.insert(HOST, host);
    }
}

/// What a batch of too many bytes is answered with, whichever limit it exceeds first.
fn too_large() -> ApiError {
    let found = format!("a body of more than {BODY_BYTES_MAX} bytes");
    ApiError::invalid_argument(format!("Records size exceeds 4 MB limit: found {found}, which holds no batch of 4 MB"))
}

/// Appends the body's next bytes. `false`: it has ended.
async fn append(body: &mut Incoming, bytes: &mut Vec<u8>) -> Result<bool, ApiError> {
    let Some(frame) = body.frame().await else { return Ok(false) };
    let frame = frame.map_err(|e| ApiError::serialization(format!("The body ended early: {e}")))?;
    if let Some(data) = frame.data_ref() {
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(data);
    }
    Ok(true)
}

async fn discard(body: &mut Incoming) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > DISCARDED_BYTES_MAX {
            return;
        }
    }
}

/// From the thread's own generator: `Uuid::new_v4` asks the kernel each time.
#[expect(clippy::disallowed_methods, reason = "the id of a request")]
fn request_id() -> Uuid {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid()
}
