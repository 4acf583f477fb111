//! The client: requests whose bodies are made before the clock starts, each signed when it is sent, over kept-alive
//! connections that always have one request under way. It is one thread of its own, and shares the CPUs.

use super::machine::thread_cpu_s;
use crate::cli::client::{Client, Credentials};
use bytes::Bytes;
use hyper::StatusCode;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Barrier;

pub const KEY: &str = "bench";
pub const SECRET: &str = "a secret that only the benchmark uses";
pub const REGION: &str = "us-east-1";
/// Pause of a connection that was told to slow down.
const SLOW_DOWN: Duration = Duration::from_millis(5);
/// How often a request is sent again before the run is given up: a minute of refusals.
const TRIES: usize = 12_000;

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
}

/// What came of it.
pub struct Done {
    /// When all connections were open and the first request left.
    pub began: Instant,
    /// From then to the last answer.
    pub seconds: f64,
    pub cpu_s: f64,
    /// Of each acknowledged request: signing, sending, the answer.
    pub latencies_s: Vec<f64>,
    /// Answers that said to come back later.
    pub refused: usize,
}

/// One connection's part.
#[derive(Default)]
struct Part {
    latencies_s: Vec<f64>,
    refused: usize,
}

impl Load {
    /// Sends it all and waits for the answers. Any answer but success or "slow down" is an error.
    pub fn run(self) -> Result<Done, String> {
        let thread = std::thread::Builder::new().name("bench client".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|e| format!("start a runtime: {e}"))?.block_on(self.send())
        });
        let thread = thread.map_err(|e| format!("start a thread: {e}"))?;
        thread.join().map_err(|_| "the client panicked".to_owned())?
    }

    async fn send(self) -> Result<Done, String> {
        let ready = Arc::new(Barrier::new(self.connections + 1));
        let next = Arc::new(AtomicUsize::new(0));
        let mut parts = tokio::task::JoinSet::new();
        for _ in 0..self.connections {
            let credentials = Credentials { access_key_id: KEY.into(), secret: SECRET.into() };
            let client = Client::connect(self.address, Some(credentials), REGION).await?;
            parts.spawn(self.clone().connection(client, ready.clone(), next.clone()));
        }
        ready.wait().await;
        let (began, cpu) = (Instant::now(), thread_cpu_s());
        let mut all = Part::default();
        while let Some(part) = parts.join_next().await {
            let part = part.map_err(|e| format!("a connection of the client: {e}"))??;
            all.latencies_s.extend(part.latencies_s);
            all.refused += part.refused;
        }
        let (seconds, cpu_s) = (began.elapsed().as_secs_f64(), thread_cpu_s() - cpu);
        Ok(Done { began, seconds, cpu_s, latencies_s: all.latencies_s, refused: all.refused })
    }

    async fn connection(self, mut client: Client, ready: Arc<Barrier>, next: Arc<AtomicUsize>) -> Result<Part, String> {
        let mut part = Part::default();
        ready.wait().await;
        let began = Instant::now();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let ended = match self.end {
                End::Requests(all) => i >= all,
                End::Time(time) => began.elapsed() >= time,
            };
            if ended {
                return Ok(part);
            }
            let sent = Instant::now();
            self.put(&mut client, &self.bodies[i % self.bodies.len()], &mut part.refused).await?;
            part.latencies_s.push(sent.elapsed().as_secs_f64());
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
    }

    async fn put(&self, client: &mut Client, body: &Bytes, refused: &mut usize) -> Result<(), String> {
        for _ in 0..TRIES {
            let (status, answer) = client.call(self.operation, body.clone()).await?;
            if status.is_success() {
                return Ok(());
            }
            if status != StatusCode::SERVICE_UNAVAILABLE {
                return Err(format!("{}: {status}: {}", self.operation, String::from_utf8_lossy(&answer)));
            }
            *refused += 1;
            tokio::time::sleep(SLOW_DOWN).await;
        }
        Err(format!("{}: told to slow down {TRIES} times", self.operation))
    }
}

/// The body of a `PutRecord`.
pub fn single_body(stream: &str, record: &[u8]) -> Bytes {
    let mut body = format!("{{\"DeliveryStreamName\":\"{stream}\",\"Record\":{{\"Data\":\"").into_bytes();
    base64_simd::STANDARD.encode_append(record, &mut body);
    body.extend_from_slice(b"\"}}");
    body.into()
}
