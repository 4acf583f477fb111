//! Hydrant, the Firehose you own. The map, in the order a record travels; steps never import each other, only `stream`
//! joins them.

pub mod clock;
pub mod error;
pub mod fs;
pub mod record;
pub mod sabotage;
pub mod units;

pub mod config;

pub mod journal;

pub mod transform;

pub mod partition;

pub mod format;

pub mod compress;

pub mod deliver;

pub mod stream;
