//! The process's one wasmtime engine and the clock that ends what runs too long.
//!
//! Time limits are epochs: compiled code looks at a counter now and then, and a thread moves it on every [`TICK`].
//! They count wall time, so a busy machine makes a guest look slower than it is.

use crate::error::{Error, Kind, Result};
use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// The resolution of time-outs.
const TICK: Duration = Duration::from_millis(10);

/// Of the calling thread's stack; threads that call guests need about 1 MiB more than they need otherwise.
pub(super) const STACK_BYTES: usize = 512 << 10;

/// Per instance. Python needs a few dozen core instances, everything else at most four.
pub(super) const CORE_INSTANCES_MAX: usize = 64;
pub(super) const MEMORIES_MAX: usize = 4;
pub(super) const TABLES_MAX: usize = 32;
pub(super) const TABLE_ELEMENTS_MAX: usize = 65_536;

/// Instances alive at once, in the whole process; each reserves 4 GiB of addresses, but no memory. Twice the threads
/// that can run one, where that is more.
const INSTANCES_MIN: u32 = 64;

/// Memory that a slot keeps when its instance is gone, for the next one to find paged in.
const KEEP_RESIDENT_BYTES: usize = 4 << 20;

/// Addresses that a memory gets without the pool. When it outgrows them it is copied elsewhere.
const RESERVED_BYTES: u64 = 64 << 20;

/// Frames of a trap that are looked at. None is shown.
const BACKTRACE_FRAMES: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not 0");

static ENGINE: LazyLock<Result<Engine>> = LazyLock::new(|| {
    let engine = make()?;
    tick(&engine)?;
    Ok(engine)
});

/// The engine, made at the first call.
pub(super) fn engine() -> Result<&'static Engine> {
    ENGINE.as_ref().map_err(Clone::clone)
}

/// Ticks after which a deadline has passed for certain: one is under way already.
pub(super) fn ticks(deadline: Duration) -> u64 {
    let whole = deadline.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(whole).unwrap_or(u64::MAX / 2).min(u64::MAX / 2) + 1
}

/// With slots reserved ahead, which makes instances cheap; where that much address space is refused (strict overcommit,
/// `ulimit -v`), memories are made as they are needed, with explicit bounds checks, about a quarter slower.
fn make() -> Result<Engine> {
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    match Engine::new(&config) {
        Ok(engine) => Ok(engine),
        Err(refused) => {
            tracing::info!("transforms run without a pool of memories, and slower: {refused:#}");
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            config.memory_reservation(RESERVED_BYTES).memory_reservation_for_growth(RESERVED_BYTES);
            config.memory_guard_size(64 << 10);
            Engine::new(&config).map_err(|e| Error::new(Kind::Misconfigured, format!("start wasmtime: {e:#}")))
        }
    }
}

fn config() -> Config {
    let mut c = Config::new();
    c.epoch_interruption(true);
    c.max_wasm_stack(STACK_BYTES);
    c.wasm_memory64(false).wasm_multi_memory(false).shared_memory(false);
    c.concurrency_support(false);
    c.wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES));
    // A journal may be replayed on another processor: what a guest computes is the same there.
    c.cranelift_nan_canonicalization(true).relaxed_simd_deterministic(true);
    c
}

fn pool() -> PoolingAllocationConfig {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let instances = u32::try_from(threads * 2).unwrap_or(u32::MAX).clamp(INSTANCES_MIN, 16 * INSTANCES_MIN);
    let mut p = PoolingAllocationConfig::new();
    p.total_component_instances(instances)
        .total_core_instances(instances * 8)
        .total_memories(instances)
        .total_tables(instances * 8)
        .max_core_instances_per_component(CORE_INSTANCES_MAX as u32)
        .max_memories_per_component(MEMORIES_MAX as u32)
        .max_tables_per_component(TABLES_MAX as u32)
        .max_tables_per_module(TABLES_MAX as u32 / 2)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_unused_warm_slots(instances)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(64 << 10);
    p
}

/// Moves the epoch on for as long as the process lives.
fn tick(engine: &Engine) -> Result<()> {
    let engine = engine.clone();
    let run = move || loop {
        thread::sleep(TICK);
        engine.increment_epoch();
    };
    let spawned = thread::Builder::new().name("wasm-ticker".to_owned()).spawn(run);
    spawned.map(drop).map_err(|e| Error::new(Kind::Retry, format!("start the clock of transforms: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early() {
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(Duration::from_millis(1)), 2);
        assert_eq!(ticks(Duration::from_millis(10)), 2);
        assert_eq!(ticks(Duration::from_millis(1001)), 102);
        assert!(ticks(Duration::MAX) > u64::MAX / 4);
    }
}
