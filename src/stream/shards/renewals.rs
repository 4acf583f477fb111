//! Leases are renewed whatever else the node is at.

use crate::source::kinesis::leases::Leases;
use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// As many as the library has threads for it.
const RENEWALS_AT_ONCE: usize = 20;
/// When each lease of ours was last known to be ours.
pub(super) type HeldLeases = Arc<Mutex<BTreeMap<String, Instant>>>;
/// Leases that were found not to be ours any more.
pub(super) type LostLeases = Arc<Mutex<Vec<String>>>;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics holding it")
}

/// Shows the others that we live, whatever else this node is at.
pub(super) async fn renew(leases: Leases, held: HeldLeases, lost: LostLeases, failover: Duration, wake: Sender<()>) {
    let mut ticks = tokio::time::interval(failover / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let shards: Vec<String> = lock(&held).keys().cloned().collect();
        for some in shards.chunks(RENEWALS_AT_ONCE) {
            let mut renewals = JoinSet::new();
            for shard in some.iter().cloned() {
                let leases = leases.clone();
                renewals.spawn(async move { (Instant::now(), leases.renew(&shard).await, shard) });
            }
            for (asked, renewed, shard) in renewals.join_all().await {
                let mut held = lock(&held);
                let Some(seen) = held.get_mut(&shard) else { continue };
                match renewed {
                    Ok(true) => {
                        *seen = asked;
                        continue;
                    }
                    Ok(false) => {}
                    // By now somebody else may take it to be free.
                    Err(e) if seen.elapsed() >= failover => {
                        tracing::warn!(shard, error = %e, "the lease has expired: it could not be renewed in time");
                    }
                    Err(e) => {
                        tracing::warn!(shard, error = %e, "the lease cannot be renewed");
                        continue;
                    }
                }
                held.remove(&shard);
                lock(&lost).push(shard);
                let _ = wake.send(());
            }
        }
    }
}
