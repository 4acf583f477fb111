//! What tests stand on: the service as a process, servers that we did not write, doubles for bad days, and what stands between.

pub mod bucket;
pub mod double;
pub mod endpoint;
pub mod eye;
pub mod kinesis;
pub mod pace;
pub mod postgres;
pub mod proxy;
pub mod redshift_front;
pub mod service;
pub mod store;
pub mod telegraf;
