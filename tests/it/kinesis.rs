//! Kinesis Data Streams: servers that speak its protocol and a client that fills them.

pub mod answers;
mod client;
mod crowd;
mod damaged;
mod fan_out;
mod frames;
mod handover;
mod kpl;
mod left;
pub mod library;
mod nodes;
mod proxy;
mod proxy_tests;
mod receivers;
mod removed;
mod servers;
mod smoke;
mod source;
mod steps;
