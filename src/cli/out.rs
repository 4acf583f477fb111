//! Standard output of the commands. A reader that has gone (`hydrant status | head -1`) is nobody's error: what is
//! written from then on is dropped, and the command goes on to its end and its exit code.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// Writes a line, like `println!`, which panics when nobody reads any more.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::out::line(format_args!($($text)*)) };
}
pub(super) use say;

/// Prints a line to standard output, which may have been closed. Any other error ends the process: its output is not what it
/// should be.
pub(super) fn line(text: Arguments) {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            complain(format_args!("standard output: {e}"));
            std::process::exit(1);
        }
        _ => {}
    }
}

/// Writes a line to standard error. If that is not possible, there is nobody left to tell.
pub(super) fn complain(text: Arguments) {
    crate::telemetry::write_line(format!("{text}\n").as_bytes());
}
