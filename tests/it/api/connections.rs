//! Connections: over TLS and without, in both versions of HTTP, and how long they may take.

use crate::rig::service::{PATIENCE, Service};
use bytes::Bytes;
use http_body_util::Full;
use hydrant::api::sigv4::{SigningKeys, sign};
use hyper::client::conn::http2;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
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

/// Puts once over HTTP/2; the future ends with the connection.
async fn put_by_http2(service: &Service) -> (StatusCode, impl Future<Output = ()>) {
    let stream = tokio::net::TcpStream::connect(service.api).await.unwrap();
    let connector = TlsConnector::from(client(&["h2"]));
    let stream = connector.connect(ServerName::from(service.api.ip()), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let ended = tokio::spawn(connection);
    let mut request = Request::post(format!("https://{}/", service.api));
    for (name, value) in signed(service) {
        request = request.header(name, value);
    }
    let answer = sender.send_request(request.body(Full::new(Bytes::from(BODY))).unwrap()).await.unwrap();
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
