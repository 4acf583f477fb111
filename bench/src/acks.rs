//! Durable acknowledgements of single records: how many a second, and how soon.

use super::corpus::Corpus;
use super::load::{Done, End, Load, single_body};
use super::service::{CONNECTIONS, Live, STREAM};
use bytes::Bytes;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Different records that are put, over and over.
const RECORDS: usize = 1000;
/// Between an answer and the next put, where the load is light.
const PAUSE: Duration = Duration::from_millis(1);
const PUTS: usize = 400;

/// One run.
pub struct Acks {
    /// Of 16 connections, acknowledgements a second.
    pub per_second: f64,
    /// Their seconds, from sending to the answer.
    pub crowd_s: Vec<f64>,
    /// Of one connection that pauses.
    pub alone_s: Vec<f64>,
    /// The same while two threads keep both cores busy, of a client that goes ahead of them: as one on another machine it does
    /// not wait for them itself.
    pub busy_s: Vec<f64>,
    /// The same of a client that does.
    pub busy_client_s: Vec<f64>,
}

impl Acks {
    /// Seconds of each load, with its name.
    pub fn loads(&self) -> [(&'static str, &[f64]); 4] {
        [
            ("16 connections", &self.crowd_s),
            ("1, light load", &self.alone_s),
            ("1, CPUs busy", &self.busy_s),
            ("1, CPUs busy, client too", &self.busy_client_s),
        ]
    }
}

/// The bodies to put.
pub fn bodies(corpus: &Corpus) -> Arc<[Bytes]> {
    corpus.records().take(RECORDS).map(|r| single_body(STREAM, r)).collect()
}

/// Puts single records for `time` from all connections, then a few from one.
pub fn run(live: &Live, bodies: &Arc<[Bytes]>, time: Duration) -> Result<Acks, String> {
    let crowd = live.load("PutRecord", bodies, CONNECTIONS, End::Time(time)).run()?;
    let put = |goes_ahead| -> Result<Done, String> {
        Load { pause: PAUSE, goes_ahead, ..live.load("PutRecord", bodies, 1, End::Requests(PUTS)) }.run()
    };
    let alone = put(false)?;
    let [busy, busy_client] = [true, false].map(|goes_ahead| while_busy(|| put(goes_ahead)));
    let (busy_s, busy_client_s) = (busy?.latencies_s, busy_client?.latencies_s);
    let per_second = crowd.latencies_s.len() as f64 / crowd.seconds;
    Ok(Acks { per_second, crowd_s: crowd.latencies_s, alone_s: alone.latencies_s, busy_s, busy_client_s })
}

/// Runs `work` while two threads do nothing but compute.
fn while_busy<T>(work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut x = 1u64;
                while !stop.load(Ordering::Relaxed) {
                    x = (0..10_000).fold(x, |x, _| x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                }
                black_box(x)
            });
        }
        let done = work();
        stop.store(true, Ordering::Relaxed);
        done
    })
}
