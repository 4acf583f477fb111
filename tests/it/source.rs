//! What streams read from.

pub mod kinesis;
