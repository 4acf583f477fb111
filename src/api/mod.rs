//! The Firehose API: `POST /`, JSON 1.1, SigV4. An edge: it turns requests into puts and errors into answers, and
//! decides nothing about records.

pub mod admin;
mod connections;
mod describe;
pub mod error;
pub mod health;
mod json;
mod model;
mod operations;
mod pace;
mod reload;
mod room;
pub mod server;
pub mod sigv4;
mod tally;
pub mod tls;
mod verbs;
pub mod wire;

pub use operations::{Admitted, FirehoseApi};
