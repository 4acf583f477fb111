//! Clients that put records and never try again, so that a record that is found twice was written twice by Hydrant.

use super::record::{Fate, Id, Kind, Known, Rng};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts")
});

pub const STREAMS: [&str; 2] = ["a", "b"];
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What is put in one life.
#[derive(Clone, Debug)]
pub struct Load {
    /// Connections to each stream.
    pub clients: usize,
    /// Requests of each connection.
    pub puts: u64,
    /// Records of a request at most.
    pub records: u64,
    /// Kinds for stream `a`, with their weights.
    pub kinds: &'static [(Kind, u64)],
    /// Large records, in thousandths.
    pub big: u64,
    /// Milliseconds between two requests of a connection at most.
    pub pause: u64,
}

impl Load {
    /// Everything that the issue asks for, in one load.
    pub const MIXED: Load = Load {
        clients: 3,
        puts: 12,
        records: 30,
        kinds: &[
            (Kind::Keyed, 800),
            (Kind::Twice, 80),
            (Kind::Dropped, 70),
            (Kind::Failed, 30),
            (Kind::Keyless, 10),
            (Kind::Trap, 4),
            (Kind::Slow, 8),
        ],
        big: 30,
        pause: 60,
    };
    /// Stream `a` only, of one kind.
    pub const fn only(kinds: &'static [(Kind, u64)], clients: usize, puts: u64, records: u64) -> Load {
        Load { clients, puts, records, kinds, big: 0, pause: 5 }
    }

    fn kind(&self, rng: &mut Rng) -> Kind {
        let sum = self.kinds.iter().map(|k| k.1).sum();
        let mut at = rng.below(sum);
        let found = self.kinds.iter().find(|(_, weight)| {
            let here = at < *weight;
            at = at.wrapping_sub(*weight);
            here
        });
        found.expect("the weights were added up").0
    }

    fn batch(&self, stream: usize, known: &Known, rng: &mut Rng) -> Vec<Id> {
        let single = rng.chance(150);
        let n = if single { 1 } else { 1 + rng.below(self.records) };
        let kind = |rng: &mut Rng| match stream {
            0 => self.kind(rng),
            _ if rng.chance(50) => Kind::NoRow,
            _ => Kind::Row,
        };
        (0..n).map(|_| known.issue(kind(rng), rng.chance(self.big))).collect()
    }
}

/// Running clients of one life.
pub struct Clients(Vec<JoinHandle<Result<(), String>>>);

/// Starts the clients. Each acknowledgement is told to `acked`.
pub fn start(load: &Load, api: SocketAddr, known: &Known, rng: &mut Rng, acked: Option<Sender<()>>) -> Clients {
    let clients = STREAMS.iter().enumerate().flat_map(|(stream, _)| (0..load.clients).map(move |_| stream));
    let tasks = clients.map(|stream| {
        let (load, known, acked) = (load.clone(), known.clone(), acked.clone());
        let mut rng = rng.fork();
        RUNTIME.spawn(async move {
            let Ok(mut connection) = connect(api).await else { return Ok(()) };
            for _ in 0..load.puts {
                let ids = load.batch(stream, &known, &mut rng);
                match put(&mut connection, STREAMS[stream], &ids, &known).await {
                    Ok(Fate::Acked) => {
                        let _ = acked.as_ref().map(|a| a.send(()));
                    }
                    Ok(Fate::Refused) => {}
                    Ok(Fate::InDoubt) => return Ok(()),
                    Err(e) => return Err(e),
                }
                tokio::time::sleep(Duration::from_millis(rng.below(load.pause + 1))).await;
            }
            Ok(())
        })
    });
    Clients(tasks.collect())
}

impl Clients {
    /// Waits until every client has ended, which it does when it is done or its connection is lost.
    pub fn join(self) -> Result<(), String> {
        let ended = RUNTIME.block_on(async {
            let mut ended = Vec::new();
            for task in self.0 {
                ended.push(task.await.map_err(|e| format!("a client panicked: {e}"))?);
            }
            Ok::<_, String>(ended)
        });
        ended?.into_iter().collect()
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = tokio::net::TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    let (sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Puts records in one request and notes what came of it. An error is an answer that nobody may give.
async fn put(
    connection: &mut SendRequest<Full<Bytes>>,
    stream: &str,
    ids: &[Id],
    known: &Known,
) -> Result<Fate, String> {
    static SINGLES: AtomicU64 = AtomicU64::new(0);
    let data: Vec<String> = ids
        .iter()
        .map(|id| format!("{{\"Data\":\"{}\"}}", base64_simd::STANDARD.encode_to_string(id.bytes())))
        .collect();
    let single = ids.len() == 1 && SINGLES.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
    let (operation, records) = match single {
        true => ("PutRecord", format!("\"Record\":{}", data[0])),
        false => ("PutRecordBatch", format!("\"Records\":[{}]", data.join(","))),
    };
    let request = Request::post("/")
        .header("host", "hydrant")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("Firehose_20150804.{operation}"))
        .body(Full::from(format!("{{\"DeliveryStreamName\":\"{stream}\",{records}}}")))
        .expect("these headers are valid");
    let answer = async {
        let response = connection.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.into_body().collect().await.ok()?.to_bytes()))
    };
    let answer = tokio::time::timeout(ANSWER_WITHIN, answer).await;
    let Some((status, body)) = answer.map_err(|_| format!("a put got no answer within {ANSWER_WITHIN:?}"))? else {
        return Ok(Fate::InDoubt);
    };
    let text = String::from_utf8_lossy(&body);
    let fate = match status {
        200 if single || text.contains("\"FailedPutCount\":0") => Fate::Acked,
        503 => Fate::Refused,
        _ => return Err(format!("a put was answered with {status}: {text}")),
    };
    known.answered(ids, fate);
    Ok(fate)
}

/// Gets a page; `None` if nobody answers.
pub fn get(address: SocketAddr, path: &str) -> Option<(u16, Bytes)> {
    let request = Request::get(path).header("host", "localhost").body(Full::default()).expect("a valid path");
    RUNTIME.block_on(async {
        let answer = async {
            let response = connect(address).await.ok()?.send_request(request).await.ok()?;
            let status = response.status().as_u16();
            Some((status, response.into_body().collect().await.ok()?.to_bytes()))
        };
        tokio::time::timeout(ANSWER_WITHIN, answer).await.ok()?
    })
}
