//! One integration binary: each module a theme. Tests that need a server or another program get it from `tests/run`.

#![expect(clippy::disallowed_methods, reason = "tests and measurements play with files of their own")]

mod abandon;
mod admin;
mod bucket;
mod clients;
mod commands;
mod connections;
#[cfg(feature = "sabotage")]
mod crash_states;
#[cfg(feature = "sabotage")]
mod damage;
mod disk;
mod earlier;
mod endpoint;
#[cfg(feature = "sabotage")]
mod flips;
mod http_endpoint;
#[cfg(feature = "sabotage")]
mod http_kill;
mod journal;
#[cfg(feature = "sabotage")]
mod kill;
mod kinesis;
mod limits;
mod lives;
mod lost;
mod many;
#[cfg(feature = "sabotage")]
mod model;
mod outage;
mod pace;
mod postgres;
#[cfg(feature = "sabotage")]
mod redrive;
mod redshift_front;
mod repair;
mod s3;
mod service;
mod sinks;
mod streams;
mod telegraf;
mod transform;
mod warehouse;
mod warehouse_stream;
mod wire;
#[cfg(feature = "sabotage")]
mod wrong;
