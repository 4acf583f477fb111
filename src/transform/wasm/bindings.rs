//! The contract in Rust. Both worlds share their types; what goes into a guest is borrowed.

pub(super) mod plain {
    wasmtime::component::bindgen!({
        path: "transforms/transform.wit",
        world: "transform",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub(super) mod configured {
    wasmtime::component::bindgen!({
        path: "transforms/transform.wit",
        world: "configured-transform",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "hydrant:transform/types": super::plain::hydrant::transform::types,
            "hydrant:transform/log": super::plain::hydrant::transform::log,
            "hydrant:transform/metrics": super::plain::hydrant::transform::metrics,
        },
    });
}

pub(super) use configured::{ConfiguredTransform, ConfiguredTransformPre};
pub(super) use plain::hydrant::transform::{log, metrics, types};
pub(super) use plain::{InputRecord, OutputRecord, Transform, TransformPre};
