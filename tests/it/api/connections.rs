//! Connections: over TLS and without, in both versions of HTTP, how long they may take, and how much room each.

use crate::rig::service::{PATIENCE, Service};
use bytes::Bytes;
use http_body_util::Full;
use hydrant::api::sigv4::{SigningKeys, sign};
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http2;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
const STREAM: &str =
    "  s:\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: DIR/bucket } }\n";
const BODY: &str = r#"{"DeliveryStreamName":"s","Record":{"Data":"eA=="}}"#;
const TARGET: &str = "Firehose_20150804.PutRecord";

/// A service with TLS if `tls`, and `rest` in its `api`.
fn start(tls: bool, rest: &str) -> Service {
    let tls = if tls { format!("tls: {{ cert: {DATA}/server.pem, key: {DATA}/server.key }},") } else { String::new() };
    Service::start_with(&format!("api: {{ listen: \"API_ADDRESS\", {tls} {rest} }}"), STREAM)
}

fn client(protocols: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(format!("{DATA}/server.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn plain(service: &Service) -> TcpStream {
    let stream = TcpStream::connect(service.api).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A connection after its handshake.
fn tls(service: &Service, protocols: &[&str]) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::from(service.api.ip());
    let mut stream = StreamOwned::new(ClientConnection::new(client(protocols), name).unwrap(), plain(service));
    stream.conn.complete_io(&mut stream.sock).expect("a handshake");
    stream
}

/// Headers of a signed `PutRecord` of [`BODY`], the host left out.
fn signed(service: &Service) -> [(&'static str, String); 3] {
    let date = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let host = service.api.to_string();
    let headers = [("host", host.as_str()), ("x-amz-date", &date), ("x-amz-target", TARGET)];
    let authorization =
        sign(&SigningKeys::default(), ("KEY", "secret"), ("us-east-1", &date), &headers, BODY.as_bytes());
    [("authorization", authorization), ("x-amz-date", date), ("x-amz-target", TARGET.to_owned())]
}

/// Puts over HTTP/1.1 and leaves the connection open.
fn put(service: &Service, stream: &mut (impl Read + Write)) -> u16 {
    let headers: String = signed(service).iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let (host, length) = (service.api, BODY.len());
    let request = format!("POST / HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {length}\r\n\r\n{BODY}");
    stream.write_all(request.as_bytes()).expect("an open connection");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).expect("a length");
    stream.read_exact(&mut vec![0; length.parse().unwrap()]).expect("a body");
    head[9..12].parse().unwrap()
}

/// Waits until the service closes the connection, in order or not.
fn closed(what: &str, mut stream: impl Read) {
    match stream.read_to_end(&mut Vec::new()) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("{what}: still open after {PATIENCE:?}")
        }
        _ => {}
    }
}

/// A connection of HTTP/2, and what ends with it.
async fn connect_by_http2<B>(service: &Service) -> (http2::SendRequest<B>, JoinHandle<hyper::Result<()>>)
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = tokio::net::TcpStream::connect(service.api).await.unwrap();
    let connector = TlsConnector::from(client(&["h2"]));
    let stream = connector.connect(ServerName::from(service.api.ip()), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

/// A put with the headers of [`signed`].
fn request<B>(service: &Service, body: B) -> Request<B> {
    let request = Request::post(format!("https://{}/", service.api));
    signed(service).into_iter().fold(request, |r, (name, value)| r.header(name, value)).body(body).unwrap()
}

/// Puts once over HTTP/2; the future ends with the connection.
async fn put_by_http2(service: &Service) -> (StatusCode, impl Future<Output = ()>) {
    let (mut sender, ended) = connect_by_http2(service).await;
    let answer = sender.send_request(request(service, Full::new(Bytes::from(BODY)))).await.unwrap();
    (answer.status(), async move {
        let _ = tokio::time::timeout(PATIENCE, ended).await.expect("the service ends the connection");
        drop(sender);
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn signed_requests_are_taken_over_tls_in_both_versions_of_http() {
    let service = start(true, "access_keys: { KEY: secret }");
    assert_eq!(put(&service, &mut tls(&service, &[])), 200, "no protocol asked for");
    assert_eq!(put(&service, &mut tls(&service, &["http/1.1"])), 200);
    assert_eq!(runtime().block_on(put_by_http2(&service)).0, 200, "HTTP/2");
}

/// A body of the largest size of which the first bytes come and no more.
struct Half(Option<Bytes>);

impl Body for Half {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(6 << 20)
    }
}

/// One that asks for more than its share, again and again, costs nobody else their room: not who puts, and not who sends a
/// body slowly: its room is wanted by nobody.
#[test]
fn many_requests_of_one_connection_leave_others_their_room() {
    let tls_files = format!("tls: {{ cert: {DATA}/server.pem, key: {DATA}/server.key }}");
    // Room for four requests of the largest size.
    let top = format!("api: {{ listen: \"API_ADDRESS\", {tls_files} }}\nmemory: {{ size: 192MiB, intake_share: 25% }}");
    let service = Service::start_with(&top, STREAM);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (sender, _ended) = runtime.block_on(connect_by_http2(&service));
    let (given_up, service) = (Arc::new(AtomicUsize::new(0)), Arc::new(service));
    for _ in 0..60 {
        let (mut sender, given_up, service) = (sender.clone(), given_up.clone(), service.clone());
        runtime.spawn(async move {
            loop {
                let half = Half(Some(Bytes::from(vec![b' '; 9 << 10])));
                // A request whose answer is not waited for any longer is reset.
                let sent = sender.send_request(request(&service, half));
                let _ = tokio::time::timeout(Duration::from_millis(450), sent).await;
                given_up.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let began = Instant::now();
    while given_up.load(Ordering::Relaxed) < 60 {
        assert!(began.elapsed() < PATIENCE, "no request ends");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut slow = tls(&service, &["http/1.1"]);
    // Spaces behind the value belong to the body.
    let spaces = 10 << 10;
    let length = BODY.len() + 20 * spaces;
    let headers: String = signed(&service).iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("POST / HTTP/1.1\r\nhost: {}\r\n{headers}content-length: {length}\r\n\r\n{BODY}", service.api);
    slow.write_all(head.as_bytes()).unwrap();
    // 100 kB/s: too slow for room that is waited for.
    for _ in 0..20 {
        slow.write_all(&vec![b' '; spaces]).unwrap();
        assert_eq!(put(&service, &mut tls(&service, &["http/1.1"])), 200);
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 200");
}

#[test]
fn a_renewed_certificate_is_shown_without_a_restart() {
    let mut service = Service::new();
    let dir = service.dir.path().to_owned();
    let place = |name: &str, from: &str| {
        // As tools that renew certificates do: at no time is there half a file.
        let [beside, to] = ["new", name].map(|name| dir.join(name));
        std::fs::copy(format!("{DATA}/{from}"), &beside).unwrap();
        std::fs::rename(beside, to).unwrap();
    };
    place("c.pem", "server.pem");
    place("c.key", "server.key");
    let top = "api: { listen: API_ADDRESS, tls: { cert: c.pem, key: c.key }, access_keys: { KEY: secret } }";
    service.configure(top, STREAM);
    std::fs::write(dir.join("lines"), "one\n").unwrap();
    service.restart();
    let mut before = tls(&service, &["http/1.1"]);
    assert_eq!(put(&service, &mut before), 200);
    place("c.pem", "cert.pem");
    service.until("a certificate without its key is refused", |s| s.log().contains("is not reloaded"));
    assert_eq!(put(&service, &mut tls(&service, &[])), 200, "the old one is shown still");
    place("c.key", "key.pem");
    let [config, lines] = ["hydrant.yaml", "lines"].map(|name| dir.join(name).display().to_string());
    // It takes no other certificate than that of the file.
    service.until("the new one is shown", |s| s.command_with(&["put", &config, "s", &lines]).0 == 0);
    assert_eq!(put(&service, &mut before), 200, "a connection outlives the certificate that it was made with");
}

#[test]
fn a_connection_that_sends_no_header_is_closed_and_an_idle_one_lives_on() {
    let times = "header_timeout: 2s, idle_timeout: 1h";
    let (open, secured) = (start(false, times), start(true, times));
    let mut idle = plain(&open);
    assert_eq!(put(&open, &mut idle), 200);
    let mut idle_secured = tls(&secured, &["http/1.1"]);
    assert_eq!(put(&secured, &mut idle_secured), 200);
    let mut slow_later = plain(&open);
    assert_eq!(put(&open, &mut slow_later), 200);
    slow_later.write_all(b"POST / HTTP/1.1\r\nho").unwrap();
    let begun = ["", "P", "POST / HTTP/1.1\r\nhost:", "PRI * HTTP/2.0\r\n\r\n"];
    let begun: Vec<_> = begun.map(|bytes| (bytes, plain(&open))).into();
    let secured_begun = [("", "h2"), ("", "http/1.1"), ("P", "h2"), ("P", "http/1.1")];
    let secured_begun: Vec<_> = secured_begun.map(|(bytes, p)| (bytes, p, tls(&secured, &[p]))).into();
    for (bytes, mut stream) in begun {
        stream.write_all(bytes.as_bytes()).unwrap();
        closed(&format!("`{bytes}` without TLS"), stream);
    }
    for (bytes, protocol, mut stream) in secured_begun {
        stream.write_all(bytes.as_bytes()).unwrap();
        closed(&format!("`{bytes}` over TLS, {protocol}"), stream);
    }
    closed("a slow header after an answer", slow_later);
    closed("no handshake", plain(&secured));
    assert_eq!((put(&open, &mut idle), put(&secured, &mut idle_secured)), (200, 200), "idle for longer than a header");
}

#[test]
fn an_idle_connection_is_closed_in_its_time() {
    let service = start(true, "header_timeout: 1h, idle_timeout: 1s");
    let mut idle = tls(&service, &["http/1.1"]);
    assert_eq!(put(&service, &mut idle), 200);
    closed("idle", idle);
    runtime().block_on(async {
        let (status, ended) = put_by_http2(&service).await;
        assert_eq!(status, 200);
        ended.await;
    });
}
