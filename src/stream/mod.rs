//! Where the steps meet: a stream reads its lane, decides what becomes of each record, persists the decision, sends the
//! object, and accounts for it.

mod ask;
pub mod audit;
mod dates;
pub mod engine;
pub mod lane;
pub mod node;
pub mod pipeline;
pub mod plan;
pub mod redrive;
pub mod repair;
pub mod roster;
pub mod shards;
pub mod state_log;
pub mod streams_dir;
pub mod supervise;
mod unread;
