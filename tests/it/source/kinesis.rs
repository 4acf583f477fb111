//! Kinesis Data Streams: servers that speak its protocol and a client that fills them.

pub mod answers;
mod crowd;
mod damaged;
mod fan_out;
mod handover;
mod left;
pub mod library;
mod nodes;
mod receivers;
mod removed;
pub mod source;
mod steps;
