//! Where the shipments of a stream wait until there are not too many under way, whichever of its lanes they are of. Gates outlive
//! configurations: what was sent under the one before counts as well.

use crate::config::StreamConfig;
use crate::stream::pipeline::live::Gate;
use crate::stream::pipeline::settings::{default_live, live};
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// The gates of a stream.
pub struct StreamGates {
    gates: [Arc<Semaphore>; Gate::ALL.len()],
    /// Shipments at once, as last configured.
    sizes: Mutex<[usize; Gate::ALL.len()]>,
}

fn sizes(config: Option<&StreamConfig>) -> [usize; Gate::ALL.len()] {
    config.map_or_else(default_live, live).shipments_of_lanes_max
}

impl StreamGates {
    pub fn new(config: Option<&StreamConfig>) -> Arc<StreamGates> {
        let sizes = sizes(config);
        Arc::new(StreamGates { gates: sizes.map(|n| Arc::new(Semaphore::new(n))), sizes: Mutex::new(sizes) })
    }

    /// Lets as many through as a configuration says: more at once; fewer when as many of those under way have ended.
    pub fn follow(&self, config: &StreamConfig, runtime: &Handle) {
        let mut before = self.sizes.lock().expect("nobody panics holding it");
        let now = sizes(Some(config));
        for ((gate, before), now) in self.gates.iter().zip(std::mem::replace(&mut *before, now)).zip(now) {
            gate.add_permits(now.saturating_sub(before));
            let (gate, fewer) = (gate.clone(), before.saturating_sub(now) as u32);
            runtime.spawn(async move {
                if let Ok(permits) = gate.acquire_many(fewer).await {
                    permits.forget();
                }
            });
        }
    }

    pub(super) fn gate(&self, gate: Gate) -> Arc<Semaphore> {
        self.gates[gate as usize].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(concurrency: u32) -> StreamConfig {
        let text = format!(
            "streams: {{ s: {{ destination: {{ http: {{ url: \"http://h/\", concurrency: {concurrency} }} }}, backup: {{ mode: \
             failed, local: {{ dir: d }} }} }} }}"
        );
        let config = crate::config::parse(&text, "test.yaml", "".as_ref(), &|_| None);
        config.expect("it is valid").streams.remove("s").expect("it is there")
    }

    #[test]
    fn what_is_under_way_counts_under_the_next_configuration_too() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let gates = StreamGates::new(Some(&config(3)));
        let gate = gates.gate(Gate::Destination);
        let under_way = gate.clone().try_acquire_many_owned(2).expect("two of three");
        gates.follow(&config(1), runtime.handle());
        runtime.block_on(tokio::task::yield_now());
        assert!(gate.try_acquire().is_err(), "two are under way, one may be");
        drop(under_way);
        runtime.block_on(tokio::task::yield_now());
        assert_eq!(gate.available_permits(), 1);
        gates.follow(&config(4), runtime.handle());
        assert_eq!(gate.available_permits(), 4);
    }
}
