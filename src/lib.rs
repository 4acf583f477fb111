//! Hydrant, the Firehose you own. Modules stand in the order a record travels; steps never import each other, only `stream`
//! joins them. `ARCHITECTURE.md` has the map: the floors, the way of a put, the words, and where is what.

#![warn(unreachable_pub)]

pub mod alarm;
pub mod allocator;
pub mod aws;
pub mod clock;
pub mod destination;
pub mod error;
pub mod fs;
pub mod json;
pub mod lane;
pub mod priority;
pub mod record;
pub mod sabotage;
pub mod threads;
pub mod units;

pub mod config;

pub mod journal;

pub mod transform;

pub mod partition;

pub mod format;

pub mod compress;

pub mod deliver;

pub mod source;

pub mod stream;

pub mod telemetry;

pub mod api;

pub mod cli;
