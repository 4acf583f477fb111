//! Kinesis Data Streams: what a stream's records hold, what a shard is to us, and how it is read.

pub mod aggregate;
pub mod balance;
pub mod check;
pub mod client;
mod end;
mod fan_out;
pub mod lease;
mod lease_row;
pub mod lease_state;
mod lease_table;
pub mod leases;
mod poll;
pub mod reader;
pub mod shard;
mod whole;
