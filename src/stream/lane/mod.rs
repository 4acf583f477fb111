//! The actor around an engine: its thread, its mailbox, and the stores that it sends to.

mod bucket;
mod directory;
pub mod gates;
pub mod handle;
mod mailbox;
pub mod meta;
pub mod open;
pub mod places;
pub mod pool;
pub mod reached;
pub mod resources;
pub mod runner;
pub mod shared;
pub mod sink_settings;
pub mod sinks;
pub mod status;
