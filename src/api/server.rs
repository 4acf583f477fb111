//! Connections: accepted within bounds, read within time and budget, answered, and closed in order at the end.
//!
//! Bounds: connections; bytes of requests in flight (body and decoded records together), waited for briefly and then
//! refused with 503; a first byte, a header and a body each within its time (hyper's own header timer covers only what
//! comes after the first byte).

use super::error::ApiError;
use super::operations::Api;
use super::wire::BODY_BYTES_MAX;
use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use uuid::Uuid;

/// The budget of requests in flight is counted in these.
const BUDGET_UNIT: usize = 1024;
/// How long a request waits for its share before it is refused.
const BUDGET_WAIT: Duration = Duration::from_millis(500);
/// Bytes hyper may hold per connection before we ask for them.
const CONNECTION_BYTES_MAX: usize = 64 << 10;
/// Pause after an accept that failed: usually too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long running requests are waited for at the end.
const FINISH_WAIT: Duration = Duration::from_secs(10);
const JSON: &str = "application/x-amz-json-1.1";

/// A bound API listener.
pub struct Server {
    api: Arc<Api>,
    listener: TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
    budget: Arc<Semaphore>,
    stopping: AtomicBool,
}

impl Server {
    /// Binds. Errors name the address, or the certificate that cannot be used.
    pub async fn bind(api: Arc<Api>) -> Result<Arc<Server>> {
        let config = api.config();
        let listen = config.api.listen;
        let listener = TcpListener::bind(listen).await;
        let listener = listener.map_err(|e| Error::new(Kind::Misconfigured, format!("listen on `{listen}`: {e}")))?;
        let tls = match &config.api.tls {
            Some(tls) => Some(acceptor(tls)?),
            None => None,
        };
        let units = (config.memory.intake().bytes() as usize / BUDGET_UNIT).clamp(1, Semaphore::MAX_PERMITS);
        let budget = Arc::new(Semaphore::new(units));
        Ok(Arc::new(Server { api, listener, tls, budget, stopping: AtomicBool::new(false) }))
    }

    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|e| Error::new(Kind::Misconfigured, e.to_string()))
    }

    /// Accepts until `stop` changes, then lets running requests finish.
    pub async fn serve(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let connections = Arc::new(Semaphore::new(self.api.config().api.max_connections as usize));
        let all = self.api.config().api.max_connections;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.changed() => break,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // At the bound a connection is closed at once: its client tries again, and nothing is held for it.
            let Ok(permit) = connections.clone().try_acquire_owned() else { continue };
            let (server, stop) = (self.clone(), stop.clone());
            tokio::spawn(async move {
                server.connection(stream, stop).await;
                drop(permit);
            });
        }
        self.stopping.store(true, Ordering::Relaxed);
        let _ = tokio::time::timeout(FINISH_WAIT, connections.acquire_many(all)).await;
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, stop: watch::Receiver<bool>) {
        let first_byte = self.api.config().api.header_timeout;
        let mut byte = [0];
        match tokio::time::timeout(first_byte, stream.peek(&mut byte)).await {
            Ok(Ok(n)) if n > 0 => {}
            _ => return,
        }
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => self.clone().http(stream, stop).await,
            Some(tls) => {
                if let Ok(Ok(stream)) = tokio::time::timeout(first_byte, tls.accept(stream)).await {
                    self.clone().http(stream, stop).await;
                }
            }
        }
    }

    async fn http<S>(self: Arc<Self>, stream: S, mut stop: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let config = self.api.config();
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(config.api.header_timeout.max(config.api.idle_timeout))
            .max_buf_size(CONNECTION_BYTES_MAX)
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(64)
            .keep_alive_interval(config.api.idle_timeout)
            .max_header_list_size(16 << 10);
        let service = hyper::service::service_fn(move |request| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.respond(request).await) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => {}
            _ = stop.changed() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answer = self.request(request).await;
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
            .header("x-amzn-requestid", Uuid::new_v4().to_string());
        response.body(Full::new(Bytes::from(body))).expect("these headers are valid")
    }

    async fn request(&self, request: Request<Incoming>) -> Result<Vec<u8>, ApiError> {
        if request.method() != Method::POST || request.uri().path() != "/" || request.uri().query().is_some() {
            let found = format!("{} {}", request.method(), request.uri());
            return Err(ApiError::new(400, "UnknownOperationException", format!("found `{found}`, expected `POST /`")));
        }
        let (head, mut body) = request.into_parts();
        let claimed = body.size_hint().upper();
        if claimed.is_some_and(|n| n > BODY_BYTES_MAX as u64) {
            return Err(too_large(claimed));
        }
        let wanted = claimed.map_or(BODY_BYTES_MAX, |n| n as usize);
        let timeout = self.api.config().api.body_timeout;
        let share = match self.share(wanted).await {
            Some(share) => share,
            None => {
                // The body is read and thrown away, so that the client sees the answer and not a reset.
                let _ = tokio::time::timeout(timeout, discard(&mut body)).await;
                return Err(ApiError::unavailable("Slow down: too many bytes are in flight."));
            }
        };
        if self.stopping.load(Ordering::Relaxed) {
            return Err(ApiError::unavailable("The service is stopping."));
        }
        let read = tokio::time::timeout(timeout, collect(&mut body, wanted)).await;
        let bytes = read.map_err(|_| ApiError::new(408, "RequestTimeoutException", "The body came too slowly."))??;
        let answer = self.api.answer(&head.headers, &bytes).await;
        drop(share);
        answer
    }

    /// The request's share of the budget: its body, and its records once more.
    async fn share(&self, body_bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = (2 * body_bytes).div_ceil(BUDGET_UNIT) as u32;
        let share = self.budget.clone().acquire_many_owned(units);
        tokio::time::timeout(BUDGET_WAIT, share).await.ok()?.ok()
    }
}

fn too_large(found: Option<u64>) -> ApiError {
    let found = found.map_or_else(|| "more".to_owned(), |n| n.to_string());
    let message = format!("found a body of {found} bytes, expected at most {BODY_BYTES_MAX}");
    ApiError::new(413, "RequestEntityTooLargeException", message)
}

async fn collect(body: &mut Incoming, expected: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::with_capacity(expected);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| ApiError::serialization(format!("The body ended early: {e}")))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > BODY_BYTES_MAX {
                return Err(too_large(None));
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

async fn discard(body: &mut Incoming) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > BODY_BYTES_MAX {
            return;
        }
    }
}

/// TLS from the configured files, 1.2 and later.
pub fn acceptor(tls: &crate::config::Tls) -> Result<tokio_rustls::TlsAcceptor> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let wrong = |what: &str, path: &std::path::Path, e: String| {
        Error::new(Kind::Misconfigured, format!("{what} `{}`: {e}", path.display()))
    };
    let certificates: Vec<CertificateDer> = CertificateDer::pem_file_iter(&tls.cert)
        .and_then(Iterator::collect)
        .map_err(|e| wrong("certificate", &tls.cert, e.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|e| wrong("key", &tls.key, e.to_string()))?;
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::new(Kind::Bug, e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(certificates, key);
    let mut config = config.map_err(|e| wrong("certificate", &tls.cert, e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}
