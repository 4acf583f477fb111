//! Kinesis Data Streams: what a stream's records hold.

pub mod aggregate;
