//! Clients that put records and never try again.

use crate::rig::service::Client;
use crate::stream::kill::record::{Fate, Id, Kind, Known, Rng};
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

pub const STREAM: &str = "s";

/// What is put in one life.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub clients: usize,
    /// Requests of each client.
    pub puts: u64,
    /// Records of a request at most.
    pub records: u64,
    /// Milliseconds between two requests of a client at most.
    pub pause: u64,
}

impl Load {
    pub const MIXED: Load = Load { clients: 4, puts: 12, records: 25, pause: 50 };
    pub const ONE: Load = Load { clients: 1, puts: 1, records: 1, pause: 0 };
}

/// Running clients of one life.
pub struct Clients(Vec<JoinHandle<Result<(), String>>>);

pub fn start(load: Load, api: SocketAddr, known: &Known, rng: &mut Rng) -> Clients {
    let clients = (0..load.clients).map(|_| {
        let (known, mut rng) = (known.clone(), rng.fork());
        std::thread::spawn(move || {
            for _ in 0..load.puts {
                let ids: Vec<Id> =
                    (0..1 + rng.below(load.records)).map(|_| known.issue(Kind::Row, rng.chance(5))).collect();
                if put(api, &ids, &known)? == Fate::InDoubt {
                    return Ok(());
                }
                // A client's own pace.
                std::thread::sleep(Duration::from_millis(rng.below(load.pause + 1)));
            }
            Ok(())
        })
    });
    Clients(clients.collect())
}

impl Clients {
    /// Waits until every client has ended, which it does when it is done or its process is dead.
    pub fn join(self) -> Result<(), String> {
        self.0.into_iter().try_for_each(|c| c.join().map_err(|_| "a client panicked".to_owned())?)
    }
}

/// Puts records in one request and notes what came of it. An error is an answer that nobody may give.
fn put(api: SocketAddr, ids: &[Id], known: &Known) -> Result<Fate, String> {
    let data: Vec<String> = ids
        .iter()
        .map(|id| format!("{{\"Data\":\"{}\"}}", base64_simd::STANDARD.encode_to_string(id.bytes())))
        .collect();
    let body = format!("{{\"DeliveryStreamName\":\"{STREAM}\",\"Records\":[{}]}}", data.join(","));
    let Some((status, body)) = Client::at(api).call("PutRecordBatch", body.as_bytes()) else {
        return Ok(Fate::InDoubt);
    };
    // An answer that was cut off is no JSON, and no answer.
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(&body) else { return Ok(Fate::InDoubt) };
    let fate = match status {
        200 if answer["FailedPutCount"] == 0 => Fate::Acked,
        503 => Fate::Refused,
        _ => return Err(format!("a put was answered with {status}: {answer}")),
    };
    known.answered(ids, fate);
    Ok(fate)
}
