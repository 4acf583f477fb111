//! Kinesis Data Streams: servers that speak its protocol and a client that fills them.

mod client;
mod kpl;
mod servers;
mod smoke;
