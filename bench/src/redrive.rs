//! `redrive`: how many failed records the service takes again for each second of CPU that it has. All of its threads count;
//! delivery is paused meanwhile, for what comes after taking is what every record goes through.

use super::load::End;
use super::machine::process_cpu_s;
use super::service::{CONNECTIONS, Live, remove_delivered};
use bytes::Bytes;
use hydrant::stream::redrive::progress::Selection;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks at a run.
const POLL: Duration = Duration::from_millis(5);

/// One run.
pub struct Redriven {
    pub records: u64,
    pub seconds: f64,
    pub cpu_s: f64,
}

/// Has the endpoint refuse all of `bodies`, `records` records, and takes them again. They are delivered afterwards.
pub fn run(live: &Live, bodies: &Arc<[Bytes]>, records: usize) -> Result<Redriven, String> {
    let endpoint = live.endpoint()?;
    endpoint.fail(true);
    let filled = live.load("PutRecordBatch", bodies, CONNECTIONS, End::Requests(bodies.len())).run();
    let settled = filled.and_then(|_| live.settle(0));
    endpoint.fail(false);
    settled?;
    let stream = live.stream()?;
    let told = |e: hydrant::error::Error| format!("redrive: {e}");
    stream.pause(true).map_err(told)?;
    let (began, cpu) = (Instant::now(), process_cpu_s());
    stream.redrive(Selection::default()).map_err(told)?;
    let progress = loop {
        std::thread::sleep(POLL);
        let progress = stream.redrive_progress().map_err(told)?;
        if !progress.running {
            break progress;
        }
    };
    let (seconds, cpu_s) = (began.elapsed().as_secs_f64(), process_cpu_s() - cpu);
    stream.pause(false).map_err(told)?;
    if let Some(why) = progress.error {
        return Err(format!("redrive: {why}"));
    }
    let status = live.settle(0)?;
    let found = (progress.records, progress.before, progress.unreadable, status.gap);
    if found != (records as u64, 0, 0, 0) {
        let (again, before, unreadable, gap) = found;
        return Err(format!(
            "redrive: {records} records failed, {again} were taken again, {before} before, {unreadable} lines unreadable, \
             gap {gap}"
        ));
    }
    remove_delivered(&live.objects());
    Ok(Redriven { records: progress.records, seconds, cpu_s })
}
