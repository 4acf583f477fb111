//! The client: requests that are made and signed before the clock starts, over kept-alive connections that always have
//! one request under way, a thread each. It does no more than a client has to, for it shares the CPUs.

use super::machine::thread_cpu_s;
use bytes::Bytes;
use hydrant::api::sigv4::{SigningKeys, sign};
use hydrant::priority;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

pub const KEY: &str = "bench";
pub const SECRET: &str = "a secret that only the benchmark uses";
pub const REGION: &str = "us-east-1";
/// Pause of a connection that was told to slow down.
const SLOW_DOWN: Duration = Duration::from_millis(5);
/// How often a request is sent again before the run is given up: a minute of refusals.
const TRIES: usize = 12_000;
/// Of an answer, at a time.
const READ_BYTES: usize = 64 << 10;

/// When the client stops.
#[derive(Clone, Copy)]
pub enum End {
    /// After so many requests in all.
    Requests(usize),
    /// After this time.
    Time(Duration),
}

/// What is sent. Bodies are taken in turn, over and over.
#[derive(Clone)]
pub struct Load {
    pub address: SocketAddr,
    pub operation: &'static str,
    pub bodies: Arc<[Bytes]>,
    pub connections: usize,
    pub end: End,
    /// Of each connection, between an answer and the next request.
    pub pause: Duration,
    /// Where the system permits it, the client goes ahead of threads that compute: see [`priority`].
    pub goes_ahead: bool,
}

/// What came of it.
pub struct Done {
    /// When all connections were open and the first request left.
    pub began: Instant,
    /// From then to the last answer.
    pub seconds: f64,
    /// Of the client, with what it did before the clock started.
    pub cpu_s: f64,
    /// Of each acknowledged request, from sending it to its answer.
    pub latencies_s: Vec<f64>,
    /// Answers that said to come back later.
    pub refused: usize,
}

/// One connection's part.
#[derive(Default)]
struct Part {
    latencies_s: Vec<f64>,
    refused: usize,
    cpu_s: f64,
}

impl Load {
    /// Sends it all and waits for the answers. Any answer but success or "slow down" is an error.
    pub fn run(self) -> Result<Done, String> {
        let cpu = thread_cpu_s();
        let (requests, next) = (self.requests(), AtomicUsize::new(0));
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            connections.push(Connection::open(self.address)?);
        }
        let ready = Barrier::new(self.connections + 1);
        let cpu_before = thread_cpu_s() - cpu;
        std::thread::scope(|scope| {
            let part = |connection| {
                let (load, requests, ready, next) = (&self, &requests, &ready, &next);
                scope.spawn(move || {
                    if load.goes_ahead {
                        priority::enter();
                    }
                    let part = load.part(connection, requests, ready, next);
                    priority::leave();
                    part
                })
            };
            let parts: Vec<_> = connections.into_iter().map(part).collect();
            ready.wait();
            let began = Instant::now();
            let mut all = Part { cpu_s: cpu_before, ..Part::default() };
            for part in parts {
                let part = part.join().map_err(|_| "a connection of the client panicked".to_owned())??;
                all.latencies_s.extend(part.latencies_s);
                all.refused += part.refused;
                all.cpu_s += part.cpu_s;
            }
            let seconds = began.elapsed().as_secs_f64();
            Ok(Done { began, seconds, cpu_s: all.cpu_s, latencies_s: all.latencies_s, refused: all.refused })
        })
    }

    /// Whole requests, signed now; a signature holds for fifteen minutes.
    fn requests(&self) -> Vec<Vec<u8>> {
        let keys = SigningKeys::default();
        let date = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let (host, target) = (self.address.to_string(), format!("Firehose_20150804.{}", self.operation));
        let signed = [("host", host.as_str()), ("x-amz-date", &date), ("x-amz-target", &target)];
        let request = |body: &Bytes| {
            let authorization = sign(&keys, (KEY, SECRET), (REGION, &date), &signed, body);
            let mut request = format!(
                "POST / HTTP/1.1\r\nhost: {host}\r\nx-amz-date: {date}\r\nx-amz-target: {target}\r\nauthorization: \
                 {authorization}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            request.extend_from_slice(body);
            request
        };
        self.bodies.iter().map(request).collect()
    }

    fn part(
        &self,
        mut connection: Connection,
        requests: &[Vec<u8>],
        ready: &Barrier,
        next: &AtomicUsize,
    ) -> Result<Part, String> {
        let mut part = Part::default();
        ready.wait();
        let (began, cpu) = (Instant::now(), thread_cpu_s());
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let ended = match self.end {
                End::Requests(all) => i >= all,
                End::Time(time) => began.elapsed() >= time,
            };
            if ended {
                part.cpu_s = thread_cpu_s() - cpu;
                return Ok(part);
            }
            let sent = Instant::now();
            self.put(&mut connection, &requests[i % requests.len()], &mut part.refused)?;
            part.latencies_s.push(sent.elapsed().as_secs_f64());
            if !self.pause.is_zero() {
                std::thread::sleep(self.pause);
            }
        }
    }

    fn put(&self, connection: &mut Connection, request: &[u8], refused: &mut usize) -> Result<(), String> {
        for _ in 0..TRIES {
            let lost = |e| format!("`{}` did not answer: {e}", self.address);
            let (status, answer) = connection.call(request).map_err(lost)?;
            match status {
                200 => return Ok(()),
                503 => {
                    *refused += 1;
                    std::thread::sleep(SLOW_DOWN);
                }
                _ => return Err(format!("{}: {status}: {}", self.operation, String::from_utf8_lossy(answer))),
            }
        }
        Err(format!("{}: told to slow down {TRIES} times", self.operation))
    }
}

/// One kept-alive connection.
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Connection, String> {
        let stream = TcpStream::connect(address).map_err(|e| format!("connect to `{address}`: {e}"))?;
        let _ = stream.set_nodelay(true);
        Ok(Connection { stream, read: vec![0; READ_BYTES] })
    }

    /// Sends a request and reads its answer: status and body.
    fn call(&mut self, request: &[u8]) -> std::io::Result<(u16, &[u8])> {
        self.stream.write_all(request)?;
        let mut n = 0;
        let (status, body, end) = loop {
            n += self.read_more(n)?;
            if let Some(body) = memchr::memmem::find(&self.read[..n], b"\r\n\r\n").map(|at| at + 4) {
                let (status, length) = head(&self.read[..body])?;
                break (status, body, body + length);
            }
        };
        while n < end {
            n += self.read_more(n)?;
        }
        Ok((status, &self.read[body..end]))
    }

    fn read_more(&mut self, n: usize) -> std::io::Result<usize> {
        if n == self.read.len() {
            self.read.resize(2 * n, 0);
        }
        match self.stream.read(&mut self.read[n..])? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            more => Ok(more),
        }
    }
}

/// Status and length of the body, from an answer's head.
fn head(bytes: &[u8]) -> std::io::Result<(u16, usize)> {
    let text = String::from_utf8_lossy(bytes);
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok());
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    status.zip(length).ok_or_else(|| std::io::Error::other(format!("an answer that is none: `{text}`")))
}

/// The body of a `PutRecord`.
pub fn single_body(stream: &str, record: &[u8]) -> Bytes {
    let mut body = format!("{{\"DeliveryStreamName\":\"{stream}\",\"Record\":{{\"Data\":\"").into_bytes();
    base64_simd::STANDARD.encode_append(record, &mut body);
    body.extend_from_slice(b"\"}}");
    body.into()
}
