//! Kinesis and DynamoDB: servers that we did not write, a client that fills them, and a proxy between.

pub mod client;
pub mod frames;
pub mod kpl;
pub mod proxy;
mod proxy_tests;
pub mod servers;
mod smoke;
