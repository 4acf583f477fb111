//! What a guest sees of the host: a log, counters, and memory up to a limit.
//!
//! All of it is bounded here, because the guest is not: the size and number of log lines, the names of counters, the
//! bytes of memory.

use super::bindings::{log, metrics, types};
use super::engine::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use super::fault::one_line;
use std::collections::BTreeMap;
use wasmtime::ResourceLimiter;

/// A log line longer than this is cut.
pub(super) const LOG_LINE_MAX: usize = 1024;

/// A counter with a longer name is refused.
const METRIC_NAME_MAX: usize = 128;

/// The host's side of one instance.
pub(super) struct HostState {
    pub memory: ModuleMemory,
    pub log: ModuleLog,
    pub counters: Counters,
}

/// Watches over the memory of an instance. It refuses quietly, so that a guest may cope, and remembers that it did, so
/// that the trap which follows if the guest cannot is told from any other.
#[derive(Default)]
pub(super) struct ModuleMemory {
    max: usize,
    now: usize,
    pub peak: usize,
    /// What the guest asked for in vain, all its memories together.
    pub refused: Option<usize>,
    /// The machine had no memory left: with the same limits, another run may end otherwise.
    pub host_refused: bool,
}

/// Writes a guest's log lines to ours.
pub(super) struct ModuleLog {
    /// The module's short hash.
    module: String,
    left: usize,
    unwritten: u64,
    /// The newest line, written or not: what a panic says is often the last thing said.
    pub last: Option<String>,
}

/// Sums by name.
#[derive(Default)]
pub(super) struct Counters {
    names_max: usize,
    pub sums: BTreeMap<String, u64>,
    /// Additions to names that are too many or too long.
    pub refused: u64,
}

impl HostState {
    pub(super) fn new(module: &str, memory_max: usize, log_lines: usize, metric_names: usize) -> HostState {
        HostState {
            memory: ModuleMemory { max: memory_max, ..ModuleMemory::default() },
            log: ModuleLog { module: module.to_owned(), left: log_lines, unwritten: 0, last: None },
            counters: Counters::new(metric_names),
        }
    }
}

impl ResourceLimiter for ModuleMemory {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.now.saturating_sub(current).saturating_add(desired);
        if wanted > self.max || maximum.is_some_and(|m| desired > m) {
            self.refused = Some(wanted);
            return Ok(false);
        }
        self.now = wanted;
        self.peak = self.peak.max(wanted);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!("a transform's memory did not grow: {error:#}");
        self.host_refused = true;
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

impl types::Host for HostState {}

impl log::Host for HostState {
    fn write(&mut self, level: log::Level, message: String) {
        self.log.write(level, &message);
    }
}

impl metrics::Host for HostState {
    fn add(&mut self, name: String, value: u64) {
        self.counters.add(&name, value);
    }
}

impl ModuleLog {
    fn write(&mut self, level: log::Level, message: &str) {
        let line = one_line(message, LOG_LINE_MAX);
        if self.left == 0 {
            self.unwritten += 1;
        } else {
            self.left -= 1;
            let module = self.module.as_str();
            match level {
                log::Level::Trace => tracing::trace!(target: "hydrant::transform", module, "{line}"),
                log::Level::Debug => tracing::debug!(target: "hydrant::transform", module, "{line}"),
                log::Level::Info => tracing::info!(target: "hydrant::transform", module, "{line}"),
                log::Level::Warn => tracing::warn!(target: "hydrant::transform", module, "{line}"),
                log::Level::Error => tracing::error!(target: "hydrant::transform", module, "{line}"),
            }
        }
        self.last = Some(line);
    }
}

/// The end of an instance is the end of its lines: only now it is known how many were left out.
impl Drop for ModuleLog {
    fn drop(&mut self) {
        if self.unwritten > 0 {
            let (module, unwritten) = (self.module.as_str(), self.unwritten);
            tracing::info!(target: "hydrant::transform", module, unwritten, "more log lines than `limits.log_lines`");
        }
    }
}

impl Counters {
    pub(super) fn new(names_max: usize) -> Counters {
        Counters { names_max, ..Counters::default() }
    }

    pub(super) fn add(&mut self, name: &str, value: u64) {
        if let Some(sum) = self.sums.get_mut(name) {
            *sum = sum.saturating_add(value);
        } else if self.sums.len() < self.names_max && name.len() <= METRIC_NAME_MAX {
            self.sums.insert(name.to_owned(), value);
        } else {
            self.refused = self.refused.saturating_add(1);
        }
    }

    /// Takes over what another has counted.
    pub(super) fn merge(&mut self, other: Counters) {
        self.refused = self.refused.saturating_add(other.refused);
        for (name, value) in other.sums {
            self.add(&name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_keep_their_first_names_and_count_the_refused() {
        let mut counters = Counters::new(2);
        for name in ["a", "b", "c", "a", "c"] {
            counters.add(name, 3);
        }
        counters.add(&"x".repeat(METRIC_NAME_MAX + 1), 1);
        assert_eq!(counters.sums, BTreeMap::from([("a".to_owned(), 6), ("b".to_owned(), 3)]));
        assert_eq!(counters.refused, 3);
    }

    #[test]
    fn memory_is_counted_over_all_memories() {
        let mut memory = ModuleMemory { max: 10 << 16, ..ModuleMemory::default() };
        assert!(memory.memory_growing(0, 6 << 16, None).unwrap());
        assert!(memory.memory_growing(0, 3 << 16, None).unwrap());
        assert!(!memory.memory_growing(3 << 16, 5 << 16, None).unwrap());
        assert_eq!((memory.refused, memory.peak), (Some(11 << 16), 9 << 16));
        assert!(!memory.memory_growing(3 << 16, 4 << 16, Some(3 << 16)).unwrap());
        assert!(memory.memory_growing(3 << 16, 4 << 16, None).unwrap());
        assert_eq!(memory.peak, 10 << 16);
    }
}
