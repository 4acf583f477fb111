//! Telegraf, a receiver of Firehose's HTTP requests that we did not write: what it takes, a real endpoint takes.

use crate::rig::service::{PATIENCE, exchange, variable};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running Telegraf, ended with the test.
pub struct Telegraf {
    dir: tempfile::TempDir,
    pub address: SocketAddr,
    child: Child,
}

/// A record as Telegraf wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Written {
    /// White space around it is gone, and so is an empty record: Telegraf's parser takes both away.
    pub value: String,
    /// The path it came by and the common attributes that were asked for.
    pub tags: BTreeMap<String, String>,
}

impl Telegraf {
    /// Starts one that answers at `paths`, wants `access_key` unless it is empty, and makes tags of these common
    /// attributes. Waits until it listens.
    pub fn start(access_key: &str, paths: &[&str], attributes: &[&str]) -> Telegraf {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a loopback port");
        let (config, written) = (dir.path().join("telegraf.conf"), dir.path().join("out.json"));
        // A list of plain strings is written in TOML as it is in Rust.
        let text = format!(
            "[agent]\ninterval = \"1s\"\nflush_interval = \"100ms\"\nflush_jitter = \"0s\"\nomit_hostname = true\n\
             metric_buffer_limit = 1000000\n\
             [[inputs.firehose]]\nservice_address = \"{address}\"\npaths = {paths:?}\naccess_key = {access_key:?}\n\
             parameter_tags = {attributes:?}\ndata_format = \"value\"\ndata_type = \"string\"\n\
             [[outputs.file]]\nfiles = [{written:?}]\ndata_format = \"json\"\n"
        );
        std::fs::write(&config, text).expect("write the configuration");
        let log = std::fs::File::create(dir.path().join("log")).expect("create the log");
        let child = Command::new(variable("HYDRANT_TEST_TELEGRAF"))
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be cloned"))
            .stderr(log)
            .spawn()
            .expect("start Telegraf");
        let mut telegraf = Telegraf { dir, address, child };
        let began = Instant::now();
        // A path that it does not know: 404 says that it listens.
        while exchange(address, b"GET /? HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").is_none() {
            let ended = telegraf.child.try_wait().expect("ask for Telegraf");
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "Telegraf is not ready: {}", telegraf.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        telegraf
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("out.json")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// What it has written until now, sorted.
    pub fn written(&self) -> Vec<Written> {
        let text = std::fs::read_to_string(self.file()).unwrap_or_default();
        // The last line may be half written.
        let lines = text.split_inclusive('\n').filter(|l| l.ends_with('\n'));
        let mut found: Vec<Written> = lines
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).expect("Telegraf writes JSON");
                let value = line["fields"]["value"].as_str().expect("a string, as configured").to_owned();
                Written { value, tags: serde_json::from_value(line["tags"].clone()).expect("tags are strings") }
            })
            .collect();
        found.sort();
        found
    }

    /// Waits until it has written `records`.
    pub fn until_written(&self, records: usize) -> Vec<Written> {
        let lines = || memchr::memchr_iter(b'\n', &std::fs::read(self.file()).unwrap_or_default()).count();
        let began = Instant::now();
        while lines() < records {
            assert!(began.elapsed() < PATIENCE, "{} of {records} records: {}", lines(), self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.written()
    }
}

impl Drop for Telegraf {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request as Firehose makes it, by hand: its status and body.
fn send(telegraf: &Telegraf, path: &str, key: Option<&str>, gzip: bool, ids: (&str, &str)) -> (u16, String) {
    let data = ["first", "second"].map(|r| base64_simd::STANDARD.encode_to_string(r));
    let (header_id, body_id) = ids;
    let body = format!(
        "{{\"requestId\":\"{body_id}\",\"timestamp\":1578090901599,\"records\":[{{\"data\":\"{}\"}},{{\"data\":\"{}\"}}]}}",
        data[0], data[1]
    );
    let mut body = body.into_bytes();
    if gzip {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&body).unwrap();
        body = encoder.finish().unwrap();
    }
    let key = key.map_or(String::new(), |k| format!("X-Amz-Firehose-Access-Key: {k}\r\n"));
    let encoding = if gzip { "Content-Encoding: gzip\r\n" } else { "" };
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nX-Amz-Firehose-Protocol-Version: 1.0\r\nX-Amz-Firehose-Request-Id: \
         {header_id}\r\nX-Amz-Firehose-Source-Arn: \
         arn:aws:firehose:us-east-1:000000000000:deliverystream/s\r\nX-Amz-Firehose-Common-Attributes: \
         {{\"commonAttributes\":{{\"env\":\"test\",\"other\":\"x\"}}}}\r\n{key}Content-Type: \
         application/json\r\n{encoding}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    let (status, body) = exchange(telegraf.address, &request).expect("an answer");
    (status, String::from_utf8(body).unwrap())
}

#[test]
fn telegraf_takes_requests_as_firehose_makes_them_and_refuses_others() {
    let telegraf = Telegraf::start("k1", &["/telegraf", "/second"], &["env"]);
    const ID: &str = "ed4acda5-034f-9f42-bba1-f29aea6d7d8f";
    let mut answers = Vec::new();
    let mut ask = |path: &str, key: Option<&str>, gzip: bool, ids: (&str, &str)| {
        let (status, body) = send(&telegraf, path, key, gzip, ids);
        answers.push(format!("{path} {key:?} gzip {gzip}: {status} {body}"));
        (status, serde_json::from_str::<serde_json::Value>(&body).unwrap_or_default())
    };
    for (path, gzip) in [("/telegraf", false), ("/second", true)] {
        let (status, body) = ask(path, Some("k1"), gzip, (ID, ID));
        assert_eq!((status, &body["requestId"]), (200, &ID.into()), "{path}");
        assert!(body["timestamp"].is_number(), "{body}");
    }
    assert_eq!(ask("/telegraf", Some("k2"), false, (ID, ID)).0, 401, "another key");
    assert_eq!(ask("/telegraf", None, true, (ID, ID)).0, 401, "no key");
    assert_eq!(ask("/telegraf", Some("k1"), false, (ID, "another")).0, 400, "another id in the body");
    assert_eq!(ask("/elsewhere", Some("k1"), false, (ID, ID)).0, 404, "another path");
    println!("{}", answers.join("\n"));
    let written = telegraf.until_written(4);
    let one = |value: &str, path: &str| Written {
        value: value.to_owned(),
        tags: [("env", "test"), ("path", path)].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
    };
    let mut expected = ["/telegraf", "/second"].map(|p| ["first", "second"].map(|v| one(v, p))).concat();
    expected.sort();
    assert_eq!(written, expected);
}
