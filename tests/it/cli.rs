//! The commands besides `run`.

pub mod commands;
