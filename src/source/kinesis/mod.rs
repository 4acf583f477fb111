//! Kinesis Data Streams: what a stream's records hold, what a shard is to us, and how it is read.

pub mod aggregate;
pub mod client;
pub mod poll;
pub mod shard;
