//! What a load balancer asks the API's own address.

use super::{STREAM, code, stream_dir};
use crate::rig::service::{Service, exchange};

const KEYS: &str = "api:\n  listen: \"API_ADDRESS\"\n  access_keys: { KEY: secret }\n";

fn ask(service: &Service, line: &str) -> (u16, String) {
    let request = format!("{line} HTTP/1.1\r\nhost: lb.example\r\nconnection: close\r\n\r\n");
    let (status, body) = exchange(service.api, request.as_bytes()).expect("an answer");
    (status, String::from_utf8(body).expect("text"))
}

#[test]
fn a_load_balancer_is_told_without_a_key_whether_to_send_puts_here_and_nothing_else() {
    let mut service = Service::start_with(KEYS, STREAM);
    assert_eq!(ask(&service, "GET /ping"), (200, "healthy\n".to_owned()));
    assert_eq!(ask(&service, "GET /ping?x=1"), (200, "healthy\n".to_owned()));
    assert_eq!(ask(&service, "HEAD /ping"), (200, String::new()));
    // As HAProxy asks if nothing else is said.
    let brief = exchange(service.api, b"GET /ping HTTP/1.0\r\n\r\n");
    assert_eq!(brief, Some((200, b"healthy\n".to_vec())));
    let unknown = (400, "UnknownOperationException".to_owned());
    for line in ["POST /ping", "DELETE /ping", "GET /", "GET /ping/", "GET /readyz", "GET /v1/streams"] {
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        assert_eq!(code(exchange(service.api, request.as_bytes())), unknown, "{line}");
    }
    let journal = stream_dir(&service, "s").join("journal");
    assert_eq!(service.terminate(), Some(0));
    std::fs::rename(&journal, journal.with_extension("away")).unwrap();
    std::fs::write(&journal, "not a directory").unwrap();
    service.restart_until("/healthz");
    service.until("it is not ready", |s| s.get("/readyz").is_some_and(|(status, _)| status == 503));
    assert_eq!(ask(&service, "GET /ping"), (503, "unhealthy\n".to_owned()));
    let metrics = String::from_utf8(service.get("/metrics").unwrap().1).unwrap();
    assert!(!metrics.contains("code=\"unhealthy\""), "{metrics}");
    std::fs::remove_file(&journal).unwrap();
    std::fs::rename(journal.with_extension("away"), &journal).unwrap();
    service.until("it is ready again", |s| ask(s, "GET /ping").0 == 200);
}
