//! One integration binary: each folder a room, each module a theme. Tests that need a server or another program get it from
//! `tests/run`.

#![expect(clippy::disallowed_methods, reason = "tests and measurements play with files of their own")]

mod api;
mod cli;
mod deliver;
mod format;
mod journal;
mod rig;
mod source;
mod stream;
