//! Sources of records other than puts: whoever calls the API pushes, a source is read from.

pub mod kinesis;
pub mod room;
