//! The commands besides `run`.

pub mod commands;
pub mod convert;
