//! The commands besides `run`: what they refuse, what they print, and how they reach a service.

mod everywhere;

use crate::rig::service::{PATIENCE, Service, exchange, variable};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const STREAM: &str =
    "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: DIR/b } }\n";

/// A command that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hydrant(arguments: &[&str], dir: &Path) -> (i32, String) {
    let output = Command::new(variable("HYDRANT_TEST_BIN")).args(arguments).current_dir(dir).output();
    let output = output.expect("run hydrant");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn an_audit_where_no_service_ran_is_an_error_that_names_the_place() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("c.yaml"), "data_dir: ./nowhere\n").unwrap();
    let (code, text) = hydrant(&["audit", "c.yaml"], dir.path());
    assert_eq!(code, 1, "{text}");
    assert!(text.starts_with("data directory `./nowhere`: found nothing at `"), "{text}");
    assert!(!dir.path().join("nowhere").exists());
}

#[test]
fn an_audit_goes_on_past_directories_that_are_no_stream_or_cannot_be_read() {
    let mut service = Service::start(STREAM);
    assert_eq!(service.put("s", &[b"one".as_slice()]), 200);
    service.settled(1);
    assert_eq!(service.terminate(), Some(0));
    let streams = service.dir.path().join("data/streams");
    // A process that died while it made a stream leaves this behind.
    std::fs::create_dir(streams.join("00-empty")).unwrap();
    let (code, text) = service.command(&["audit"]);
    assert!(code == 0 && text.lines().count() == 2, "{text}");
    std::fs::create_dir(streams.join("01-torn")).unwrap();
    std::fs::write(streams.join("01-torn/META"), "{\"format\":1,").unwrap();
    std::fs::create_dir_all(streams.join("02-nameless/journal")).unwrap();
    let (code, text) = service.command(&["audit"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("s: accepted 1 = delivered 1"), "{text}");
    assert!(text.contains("/01-torn/META`: EOF while parsing"), "{text}");
    assert!(text.contains("02-nameless` holds a stream's files and no `META` that says whose"), "{text}");
    assert_eq!(text.matches("PROBLEM").count(), 2, "{text}");
}

#[test]
fn check_refuses_what_run_would_refuse_and_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let pem = "not PEM";
    std::fs::write(dir.path().join("empty.pem"), pem).unwrap();
    std::fs::write(dir.path().join("types.yaml"), "columns:\n  id: bigint\n  deep: array<strin>\n").unwrap();
    let (mask, tls) = (format!("{ROOT}/transforms/blueprints/mask.wasm"), format!("{ROOT}/tests/data/tls"));
    let sum = "0".repeat(64);
    let stream = |step: &str| {
        format!("streams:\n  s:\n    destination: {{ local: {{ dir: out }} }}\n    transform:\n      - wasm:\n{step}")
    };
    let cases = [
        (
            stream(&format!("          module: {mask}\n          sha256: \"{sum}\"\n")),
            "c.yaml:7:19: `streams.s.transform[0].wasm.sha256`: module `",
            "SHA-256 is",
        ),
        (
            stream(&format!("          module: {mask}\n          config: {{ mask_field: [email] }}\n")),
            "c.yaml:7:19: `streams.s.transform[0].wasm.config`: module `",
            "unknown field `mask_field`",
        ),
        (
            stream(&format!("          module: {ROOT}/Cargo.toml\n")),
            "c.yaml:6:19: `streams.s.transform[0].wasm.module`: module `",
            "is not WebAssembly",
        ),
        (
            format!("api: {{ tls: {{ cert: empty.pem, key: {tls}/key.pem }} }}\n"),
            "c.yaml:1:21: `api.tls.cert`: certificate `",
            "empty.pem",
        ),
        (
            format!("api:\n  tls:\n    cert: {tls}/cert.pem\n    key: empty.pem\n"),
            "c.yaml:4:10: `api.tls.key`: key `",
            "empty.pem",
        ),
        (
            "streams:\n  s: { destination: { local: { dir: out } }, format: { parquet: { schema: types.yaml } } }\n"
                .into(),
            "types.yaml:3:9: `columns.deep`: found `strin>`, expected tinyint",
            "",
        ),
    ];
    for (text, place, why) in cases {
        std::fs::write(dir.path().join("c.yaml"), &text).unwrap();
        let (code, printed) = hydrant(&["check", "c.yaml"], dir.path());
        assert_eq!((code, printed.lines().count()), (1, 1), "{text}{printed}");
        assert!(printed.starts_with(place) && printed.contains(why), "found\n{printed}expected\n{place}… {why}");
    }
    let good = format!("api: {{ tls: {{ cert: {tls}/cert.pem, key: {tls}/key.pem }} }}\n");
    let step = format!("          module: {mask}\n          config: {{ mask_fields: [email] }}\n");
    std::fs::write(dir.path().join("c.yaml"), good + &stream(&step)).unwrap();
    assert_eq!(hydrant(&["check", "c.yaml"], dir.path()), (0, "c.yaml: ok\n".to_owned()));
    assert!(!dir.path().join("hydrant-data").exists(), "check writes nothing");
}

#[test]
fn put_speaks_tls_and_signs_with_a_key_that_may_put() {
    let tls = format!("{ROOT}/tests/data/tls");
    let top = |cert: &str| {
        format!(
            "api:\n  listen: API_ADDRESS\n  tls: {{ cert: {tls}/{cert}.pem, key: {tls}/key.pem }}\n  access_keys:\n    \
             A: {{ secret: a, actions: [ListDeliveryStreams] }}\n    B: {{ secret: b, streams: [other] }}\n    \
             C: {{ secret: c, streams: [\"s*\"] }}\n"
        )
    };
    let mut service = Service::start_with(&top("cert"), STREAM);
    let file = service.dir.path().join("lines");
    std::fs::write(&file, "one\ntwo\n").unwrap();
    let put = |service: &Service, stream: &str| {
        let (config, file) = (service.config(), file.display().to_string());
        hydrant(&["put", &config.display().to_string(), stream, &file], service.dir.path())
    };
    assert_eq!(put(&service, "s"), (0, "2 records acknowledged\n".to_owned()));
    service.settled(2);
    let (code, text) = put(&service, "t");
    assert!(code == 1 && text.contains("expected one that allows `PutRecordBatch` on the stream `t`"), "{text}");
    // Whoever listens there with another certificate gets no records.
    service.configure(&top("another"), STREAM);
    let (code, text) = put(&service, "s");
    assert!(code == 1 && text.contains("found another certificate, expected that of `"), "{text}");
}

#[test]
fn put_takes_lines_as_either_kind_of_system_ends_them_and_no_empty_ones() {
    let mut service = Service::start(&STREAM.replace("format: lines", "format: raw"));
    let file = service.dir.path().join("lines").display().to_string();
    let mut put = |bytes: &[u8], more: &[&str]| {
        std::fs::write(&file, bytes).unwrap();
        let config = service.config().display().to_string();
        let answer = hydrant(&[&["put", &config, "s", &file], more].concat(), service.dir.path());
        service.settled(1);
        answer
    };
    assert_eq!(put(b"a\r\n\r\n\nb\rc\n\r\r\nd\r", &[]), (0, "4 records acknowledged\n".to_owned()));
    assert_eq!(put(b"e\r\n\r\n\nf\ng", &["--newline"]), (0, "3 records acknowledged\n".to_owned()));
    service.settled(7);
    let objects: Vec<u8> = service.objects("b").into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(String::from_utf8_lossy(&objects), "ab\rc\rd\re\r\nf\ng");
}

/// Connections to or from a port, as the kernel lists them.
fn established(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{port:04X}");
    let rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|r| r.len() > 3 && r[3] == "01" && (r[1].ends_with(&port) || r[2].ends_with(&port))).count()
}

#[test]
fn a_put_whose_input_pauses_sends_what_it_has_and_connects_again() {
    let top = "api: { listen: API_ADDRESS, header_timeout: 1s, idle_timeout: 1s }";
    let mut service = Service::start_with(top, STREAM);
    let put = Command::new(variable("HYDRANT_TEST_BIN"))
        .arg("put")
        .arg(service.config())
        .arg("s")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start hydrant put");
    let mut put = Running(put);
    let mut input = put.0.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    service.until("the first line is there while the input is open", |s| s.status("s").accepted == 1);
    let port = service.api.port();
    until("the service closes the idle connection", || established(port) == 0);
    input.write_all(b"two\n").unwrap();
    drop(input);
    let mut text = String::new();
    let mut output = BufReader::new(put.0.stdout.take().unwrap());
    output.read_line(&mut text).unwrap();
    assert!(put.0.wait().unwrap().success());
    assert_eq!(text, "2 records acknowledged\n");
    service.settled(2);
}

#[test]
fn the_record_that_the_demo_suggests_is_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let demo = Command::new(variable("HYDRANT_TEST_BIN"))
        .args(["demo", "--keep", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start hydrant demo");
    let mut demo = Running(demo);
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(|l| l.expect("a line"));
    let text: Vec<String> = lines.by_ref().take_while(|l| !l.contains("until it is interrupted")).collect();
    let text = text.join("\n");
    let between = |before: &str, after: &str| {
        let rest = text.split_once(before).unwrap_or_else(|| panic!("no `{before}` in\n{text}")).1;
        rest.split(after).next().unwrap().to_owned()
    };
    let (address, stream) = (between("--endpoint-url http://", " "), between("--delivery-stream-name ", " "));
    let body = format!("{{\"DeliveryStreamName\":\"{stream}\",\"Record\":{}}}", between("--record '", "'"));
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/x-amz-json-1.1\r\nx-amz-target: \
         Firehose_20150804.PutRecord\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let (status, answer) = exchange(address.parse().unwrap(), request.as_bytes()).unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    let place = dir.path().join("bucket").join(between("below ", ".\n"));
    until("the record is delivered where the demo says", || place.is_dir());
    let pid = rustix::process::Pid::from_child(&demo.0);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(demo.0.wait().unwrap().success());
}

#[test]
fn logs_for_people_have_no_escapes_in_a_file_and_nothing_idle_of_others() {
    let mut service = Service::start_with("log: { format: human, level: trace }", STREAM);
    assert_eq!(service.put("s", &[b"one".as_slice()]), 200);
    service.settled(1);
    assert_eq!(service.terminate(), Some(0));
    let log = service.log();
    assert!(log.contains(" INFO hydrant::cli::run: hydrant runs"), "{log}");
    assert!(!log.contains('\x1b'), "{log}");
    let chatter = [" INFO ", "DEBUG ", "TRACE "];
    let others = log.lines().filter(|l| chatter.iter().any(|level| l.contains(level)) && !l.contains(" hydrant"));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new());
}
