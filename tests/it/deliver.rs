//! Sinks, alone and at the end of a stream.

pub mod http_endpoint;
pub mod s3;
pub mod sinks;
pub mod warehouse;
pub mod warehouse_stream;
