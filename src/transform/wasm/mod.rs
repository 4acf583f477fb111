//! Transforms as WebAssembly components of the contract in `transforms/transform.wit`.
//!
//! Promises: a guest has nothing but the records and its configuration; it cannot use more memory, time, stack or
//! output than it is given; nothing it does fails a record that it does not fail when alone, as far as the calls of
//! [`Settings::isolate_max_calls`] reach; and each batch meets a fresh instance, so that nothing is remembered.
//!
//! Does not promise: that a record comes out the same among other records. That is the guest's affair. And a time-out
//! depends on the machine, which is why [`super::TransformFailure::may_differ`] exists.
//!
//! In the order a module travels: `module` loads and refuses, `cache` keeps compiled code, `engine` is what runs it,
//! `host` is what a guest sees of us, `instance` is one guest alive, `isolate` finds the guilty, `answer` checks what
//! came back, `runner` joins them into a [`super::RecordTransform`].

mod answer;
mod bindings;
mod cache;
mod engine;
mod fault;
mod host;
mod inspect;
mod instance;
mod isolate;
mod module;
mod runner;
mod settings;
mod store;

pub use inspect::{Inspection, inspect};
pub use module::Module;
pub use runner::WasmTransform;
pub use settings::Settings;

/// The codes of failed records. They stand in error records: never reuse one.
pub mod code {
    pub const TRAP: &str = "Transform.Trap";
    pub const TIMEOUT: &str = "Transform.Timeout";
    pub const OUT_OF_MEMORY: &str = "Transform.OutOfMemory";
    pub const STACK_OVERFLOW: &str = "Transform.StackOverflow";
    pub const OUTPUT_TOO_LARGE: &str = "Transform.OutputTooLarge";
    /// No answer bears the record's id.
    pub const MISSING_RECORD_ID: &str = "Transform.MissingRecordId";
    /// More than one answer bears the record's id.
    pub const DUPLICATE_RECORD_ID: &str = "Transform.DuplicateRecordId";
    /// No answer bears the record's id, but one bears an id that no record has.
    pub const UNKNOWN_RECORD_ID: &str = "Transform.UnknownRecordId";
    /// The guest said so.
    pub const PROCESSING_FAILED: &str = "Transform.ProcessingFailed";
    /// Its batch fails, and the calls for finding out which record is guilty are used up.
    pub const ISOLATION_BUDGET: &str = "Transform.IsolationBudget";
    /// Never a record's: it opens the error that stops the transform.
    pub const INIT_FAILED: &str = "Transform.InitFailed";
}
