//! Log lines on their way to standard error. Whoever logs never waits for whoever reads: lines wait in a queue for a thread that
//! writes them, and what does not fit there, or cannot be written, is counted.

use crate::config::{Log, LogFormat, LogLevel};
use crate::threads;
use rustix::stdio::stderr;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;

/// Lines that wait to be written: some seconds of a busy log.
const LINES_WAITING_MAX: usize = 4096;
/// How long the end of the process waits for a reader of its last lines.
const FLUSH_MAX: Duration = Duration::from_secs(1);
const FLUSH_POLL: Duration = Duration::from_millis(1);

/// Log lines that could not be written: a full disk, a reader that has gone or that does not read.
static LINES_LOST: AtomicU64 = AtomicU64::new(0);
/// Lines in the queue, or being written.
static LINES_WAITING: AtomicUsize = AtomicUsize::new(0);
/// The way to the thread that writes; `None`: there is none, and lines are written by whoever logs.
static QUEUE: OnceLock<Option<SyncSender<Vec<u8>>>> = OnceLock::new();

/// Starts logging to standard error. A second call changes nothing.
pub fn init_logs(log: &Log) {
    QUEUE.get_or_init(start);
    let filter = EnvFilter::try_from_env("HYDRANT_LOG").unwrap_or_else(|_| EnvFilter::new(directives(log.level)));
    // Escapes are for people's eyes: in a file they hide what is searched for.
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours);
    // The default says on standard error that it could not write there, and panics.
    let builder = builder.log_internal_errors(false).with_writer(|| LogLines);
    let _ = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Human => builder.try_init(),
    };
}

fn start() -> Option<SyncSender<Vec<u8>>> {
    let (lines, waiting) = sync_channel(LINES_WAITING_MAX);
    let thread = std::thread::Builder::new().name("log".into()).spawn(move || write_lines(&waiting));
    // A panic tells of itself like everything else: standard error may have no reader.
    threads::tell_of_panics(|info| tracing::error!("{info}"));
    thread.is_ok().then_some(lines)
}

fn write_lines(waiting: &Receiver<Vec<u8>>) {
    for line in waiting {
        write_now(&line);
        LINES_WAITING.fetch_sub(1, Ordering::Release);
    }
}

/// Writes a line without the lock of the standard library: others are not to wait for it.
fn write_now(mut line: &[u8]) {
    while !line.is_empty() {
        match rustix::io::write(stderr(), line) {
            Ok(0) => break,
            Ok(n) => line = &line[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
    if !line.is_empty() {
        LINES_LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until what was logged is written, or until nobody seems to read it: for the end of the process.
pub fn flush_logs() {
    let deadline = Instant::now() + FLUSH_MAX;
    while LINES_WAITING.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
        std::thread::sleep(FLUSH_POLL);
    }
}

/// How many log lines could not be written.
pub(super) fn lines_lost() -> u64 {
    LINES_LOST.load(Ordering::Relaxed)
}

/// Takes a line for standard error, and never waits for who reads that.
pub fn write_line(line: &[u8]) {
    let Some(Some(queue)) = QUEUE.get() else { return write_now(line) };
    LINES_WAITING.fetch_add(1, Ordering::Acquire);
    if queue.try_send(line.to_vec()).is_err() {
        LINES_WAITING.fetch_sub(1, Ordering::Release);
        LINES_LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// Where the formatter writes: it hands over one line at a time.
struct LogLines;

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        write_line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `log.level` is about what we say; of what we are built from, only warnings are of use to whoever runs us.
fn directives(level: LogLevel) -> String {
    let others = if level == LogLevel::Error { LogLevel::Error } else { LogLevel::Warn };
    format!("{},hydrant={}", others.name(), level.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_ours_and_what_we_are_built_from_only_warns() {
        assert_eq!(directives(LogLevel::Debug), "warn,hydrant=debug");
        assert_eq!(directives(LogLevel::Error), "error,hydrant=error");
        assert!(EnvFilter::builder().parse(directives(LogLevel::Trace)).is_ok());
    }
}
