//! The endpoint does what it is told, seen by a client as small as can be.

use super::answer::HUGE_BYTES;
use super::*;
use std::io::{ErrorKind, Read, Write};

/// A request by Firehose's rules, with `more` in its head.
fn request(id: &str, records: &[&str], more: &str) -> Vec<u8> {
    let data: Vec<String> =
        records.iter().map(|r| format!("{{\"data\":\"{}\"}}", base64_simd::STANDARD.encode_to_string(r))).collect();
    let body = format!("{{\"requestId\":\"{id}\",\"timestamp\":1790000000000,\"records\":[{}]}}", data.join(","));
    with_body(id, body.as_bytes(), more)
}

fn with_body(id: &str, body: &[u8], more: &str) -> Vec<u8> {
    let mut request = format!(
        "POST /p?q=1 HTTP/1.1\r\nHost: x\r\nX-Amz-Firehose-Protocol-Version: 1.0\r\nX-Amz-Firehose-Request-Id: \
         {id}\r\nX-Amz-Firehose-Source-Arn: arn:aws:firehose:r:0:deliverystream/s\r\nContent-Type: \
         application/json\r\n{more}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

fn connect(endpoint: &Endpoint) -> TcpStream {
    let stream = TcpStream::connect(endpoint.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A request on a connection of its own, and what comes back: until the answer is whole or
/// the connection closed.
fn ask(endpoint: &Endpoint, request: &[u8]) -> io::Result<String> {
    let mut stream = connect(endpoint);
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let n = stream.read(&mut piece)?;
        answer.extend_from_slice(&piece[..n]);
        if n == 0 || is_whole(&answer) {
            return Ok(String::from_utf8_lossy(&answer).into_owned());
        }
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|l| l.strip_prefix("Content-Length: "));
    let length = length.map(|l| l.parse::<usize>().unwrap());
    length.is_some_and(|l| body.len() >= l) || head.contains(" 204 ") || text.ends_with("\r\n0\r\n\r\n")
}

fn text(records: Vec<Vec<u8>>) -> Vec<String> {
    records.into_iter().map(|r| String::from_utf8(r).unwrap()).collect()
}

#[test]
fn right_requests_are_taken_plain_and_compressed_and_over_tls() {
    let endpoint = Endpoint::start();
    let answer = ask(&endpoint, &request("a", &["one", "", "two"], "")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("{\"requestId\":\"a\",\"timestamp\":1"), "{answer}");
    let plain = request("b", &["three"], "");
    let at = memchr::memmem::find(&plain, b"\r\n\r\n").unwrap() + 4;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&plain[at..]).unwrap();
    let packed = with_body("b", &packer.finish().unwrap(), "Content-Encoding: gzip\r\n");
    assert!(ask(&endpoint, &packed).unwrap().starts_with("HTTP/1.1 200"));
    // The same request again is the same delivery.
    assert!(ask(&endpoint, &plain).unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(text(endpoint.accepted()), ["one", "", "two", "three"]);
    endpoint.assert_one_body_per_id();
    let seen = endpoint.requests();
    assert_eq!((seen.len(), seen[0].head.target.as_str(), seen[0].in_flight), (3, "/p?q=1", 1));
    let tls = Endpoint::start_tls();
    let mut roots = rustls::RootCertStore::empty();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
    roots.add(CertificateDer::from_pem_file(format!("{data}/server.pem")).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let config = Arc::new(config.with_no_client_auth());
    let client = rustls::ClientConnection::new(config, tls.address.ip().into()).unwrap();
    let mut stream = rustls::StreamOwned::new(client, connect(&tls));
    stream.write_all(&request("t", &["secret"], "")).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!((&status, text(tls.accepted())), (b"HTTP/1.1 200", vec!["secret".to_owned()]));
}

#[test]
fn requests_against_the_rules_are_refused_and_named() {
    let endpoint = Endpoint::start();
    let body = |id: &str, rest: &str| format!("{{\"requestId\":\"{id}\",{rest}}}");
    let rest = "\"timestamp\":1790000000000,\"records\":[{\"data\":\"eA==\"}]";
    let mut wrong = vec![
        ("id", with_body("a", body("b", rest).as_bytes(), "")),
        ("seconds", with_body("a", body("a", &rest.replace("1790000000000", "1790000000")).as_bytes(), "")),
        ("no records", with_body("a", body("a", "\"timestamp\":1790000000000,\"records\":[]").as_bytes(), "")),
        ("base64", with_body("a", body("a", &rest.replace("eA==", "e")).as_bytes(), "")),
        ("member", with_body("a", body("a", &format!("{rest},\"x\":1")).as_bytes(), "")),
        ("gzip", with_body("a", body("a", rest).as_bytes(), "Content-Encoding: gzip\r\n")),
        ("attributes", request("a", &["x"], "X-Amz-Firehose-Common-Attributes: {\"a\":1}\r\n")),
    ];
    let right = String::from_utf8(request("a", &["x"], "")).unwrap();
    wrong.push(("version", right.replace("Version: 1.0", "Version: 1").into_bytes()));
    wrong.push(("type", right.replace("application/json", "text/plain").into_bytes()));
    wrong.push(("source", right.replace("X-Amz-Firehose-Source-Arn: ", "X-Other: ").into_bytes()));
    for (what, request) in &wrong {
        let answer = ask(&endpoint, request).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{what}: {answer}");
    }
    assert!(endpoint.requests().iter().all(|r| !r.problems.is_empty()));
    assert!(endpoint.accepted().is_empty());
    // It sees that an id came with two bodies.
    let endpoint = Endpoint::start();
    ask(&endpoint, &request("a", &["x"], "")).unwrap();
    endpoint.assert_one_body_per_id();
    ask(&endpoint, &request("a", &["y"], "")).unwrap();
    let quiet = std::panic::AssertUnwindSafe(|| endpoint.assert_one_body_per_id());
    assert!(std::panic::catch_unwind(quiet).is_err(), "two bodies for one id");
}

#[test]
fn answers_are_as_told() {
    let endpoint = Endpoint::start();
    let cases = [
        (Answer::Ok, "200", "\"requestId\":\"id\""),
        (Answer::NullErrorMessage, "200", "\"errorMessage\":null"),
        (Answer::status(503), "503", "refused by the test"),
        (Answer::Redirect("http://elsewhere/".to_owned()), "307", "Location: http://elsewhere/\r\n"),
        (Answer::InvalidJson, "200", "\"requestId\":\"id\""),
        (Answer::WrongRequestId, "200", "\"requestId\":\"another\""),
        (Answer::NullRequestId, "200", "{\"requestId\":null}"),
        (Answer::MissingContentType, "200", "\"requestId\":\"id\""),
        (Answer::UnknownField, "200", "\"extra\":1"),
        (Answer::Status204, "204", ""),
        (Answer::NoContentLength, "200", "Transfer-Encoding: chunked"),
        (Answer::GzipBomb, "200", "Content-Encoding: gzip"),
        (Answer::TooLarge413 { bytes: 3, records: 9 }, "413", ""),
        (Answer::TooLarge413 { bytes: 9, records: 1 }, "413", ""),
        (Answer::TooLarge413 { bytes: 4, records: 2 }, "200", ""),
        (Answer::after(20, Answer::Ok), "200", ""),
        (Answer::SlowLoris(10_000), "200", "\"requestId\":\"id\""),
        (Answer::of(|r| Answer::status(400 + r.records.len() as u16)), "402", ""),
    ];
    for (i, (answer, status, holds)) in cases.into_iter().enumerate() {
        endpoint.next([answer]);
        let answer = ask(&endpoint, &request("id", &["ab", "cd"], "")).unwrap();
        assert!(answer[9..].starts_with(status) && answer.contains(holds), "case {i}: {answer:.300}");
        assert_eq!(answer.contains("Content-Type: application/json"), !["204"].contains(&status) && i != 7, "case {i}");
    }
    let accepted = || endpoint.seen().iter().filter(|(_, o)| *o == Outcome::Accepted).count();
    // `Ok`, `NullErrorMessage`, what is not too large, late and slow.
    wait("right answers count", || accepted() == 5);
}

#[test]
fn connections_break_as_told_and_stored_is_not_accepted() {
    let endpoint = Endpoint::start();
    let sent = request("id", &["x"], "");
    for answer in [Answer::ResetBefore, Answer::ResetAfter] {
        endpoint.next([answer]);
        let mut stream = connect(&endpoint);
        stream.write_all(&sent).unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    endpoint.next([Answer::CloseAfterStore]);
    assert_eq!(ask(&endpoint, &sent).unwrap(), "");
    assert_eq!((endpoint.accepted().len(), text(endpoint.stored())), (0, vec!["x".to_owned()]));
    endpoint.next([Answer::Huge]);
    let mut stream = connect(&endpoint);
    stream.write_all(&sent).unwrap();
    let mut some = vec![0; 1 << 20];
    stream.read_exact(&mut some).unwrap();
    drop(stream);
    wait("the client's going is seen", || !endpoint.huge_taken().is_empty());
    let taken = endpoint.huge_taken()[0];
    assert!((1 << 20..HUGE_BYTES / 16).contains(&taken), "{taken} bytes");
    endpoint.quiet();
    assert_eq!(endpoint.arrived(), 4);
}

#[test]
fn what_hangs_is_released_or_forgotten_and_concurrency_is_counted() {
    let endpoint = Endpoint::start();
    let sent = |id: &str| request(id, &["x"], "");
    endpoint.always(Answer::Hang);
    let mut gone = connect(&endpoint);
    gone.write_all(&sent("gone")).unwrap();
    wait("it came", || endpoint.requests().len() == 1);
    drop(gone);
    wait("it is forgotten", || endpoint.state.in_flight.load(Ordering::SeqCst) == 0);
    std::thread::scope(|scope| {
        let waiting = ["a", "b", "c"].map(|id| scope.spawn(|| ask(&endpoint, &sent(id)).unwrap()).thread().id());
        wait("all wait", || endpoint.state.in_flight.load(Ordering::SeqCst) == waiting.len());
        endpoint.always(Answer::busy(429, 3, Answer::Ok));
        assert!(ask(&endpoint, &sent("d")).unwrap().starts_with("HTTP/1.1 429"));
        endpoint.release();
    });
    assert!(ask(&endpoint, &sent("d")).unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!((endpoint.take_concurrency_max(), endpoint.take_concurrency_max()), (4, 0));
    assert_eq!(endpoint.accepted().len(), 4);
}

#[test]
fn it_stops_and_starts_again_at_the_same_address() {
    let mut endpoint = Endpoint::start();
    for id in ["a", "b", "c"] {
        let mut idle = connect(&endpoint);
        assert!(ask(&endpoint, &request(id, &[id], "")).unwrap().starts_with("HTTP/1.1 200"));
        endpoint.stop();
        assert_eq!(TcpStream::connect(endpoint.address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0, "what was open is closed");
        endpoint.restart();
    }
    assert_eq!(text(endpoint.accepted()), ["a", "b", "c"]);
}
