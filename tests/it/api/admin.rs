//! The admin listener: whom it answers.

use crate::rig::service::{Service, exchange};

const STREAM: &str =
    "  s:\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: DIR/bucket } }\n";

/// What it answers to a request with these lines for `Host`.
fn ask(service: &Service, line: &str, hosts: &[&str]) -> (u16, String) {
    let hosts: String = hosts.iter().map(|host| format!("host: {host}\r\n")).collect();
    let request = format!(
        "{line} HTTP/1.1\r\n{hosts}content-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
    );
    let (status, body) = exchange(service.admin, request.as_bytes()).expect("an answer");
    (status, String::from_utf8(body).expect("text"))
}

#[test]
fn a_page_of_another_host_is_not_answered_so_that_no_name_can_be_bent_to_it() {
    let service = Service::start(STREAM);
    let port = service.admin.port();
    let (rebound, here) = (format!("evil.example:{port}"), service.admin.to_string());
    for hosts in [
        &[rebound.as_str()][..],
        &["evil.example"],
        &["localhost.evil.example"],
        &["127.0.0.1.evil.example"],
        &["evil.example:127.0.0.1"],
        &["192.0.2.1"],
        &["[2001:db8::1]"],
        &["0.0.0.0"],
        &["127.0.0.1@evil.example"],
        &[""],
        &[&here, "evil.example"],
    ] {
        for line in [
            "POST /v1/streams/s/pause",
            "POST /v1/streams/s/abandon",
            "GET /v1/streams",
            "GET /metrics",
            "GET /healthz",
        ] {
            let (status, text) = ask(&service, line, hosts);
            assert_eq!(status, 421, "{line} {hosts:?}: {text}");
            assert!(text.contains("expected `localhost` or a loopback address"), "{text}");
        }
    }
    let absolute = ask(&service, &format!("POST http://{rebound}/v1/streams/s/pause"), &[&here]);
    assert_eq!(absolute.0, 421, "{}", absolute.1);
    assert_eq!(service.status("s").state, "running");
    let named = format!("localhost:{port}");
    for hosts in [
        &[here.as_str()][..],
        &[&named],
        &["localhost"],
        &["LocalHost:8080"],
        &["127.0.0.1"],
        &["127.9.9.9:1"],
        &["[::1]"],
        &["[::1]:80"],
        // What is no browser may leave it out.
        &[],
    ] {
        assert_eq!(ask(&service, "GET /v1/streams", hosts).0, 200, "{hosts:?}");
    }
    assert_eq!(ask(&service, "POST /v1/streams/s/pause", &[&named]).0, 200);
    assert_eq!(service.status("s").state, "paused");
}
