//! `hydrant put`.

use super::client::{Client, batch_body, credentials};
use super::{Outcome, load, out::say, pinned, small_runtime};
use crate::api::wire::{BATCH_RECORDS_MAX, RECORD_BYTES_MAX};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout_at};

/// A service that is busy is asked again this often before the command gives up.
const TRIES: u32 = 60;
/// With one more record still below what a batch may have.
const BATCH_BYTES: usize = 3 << 20;
/// How long the first record of a batch waits for more: a pipe may pause for hours.
const LINGER: Duration = Duration::from_millis(100);
/// Of CRLF.
const LINE_END_BYTES_MAX: u64 = 2;
/// Records that are read ahead; each may be 1 MB.
const READ_AHEAD: usize = 64;

/// Options of the command.
#[derive(clap::Args)]
pub(super) struct PutOptions {
    /// The configuration the service runs with: its address, its certificate and an access key are taken from there.
    config: PathBuf,
    /// The stream.
    stream: String,
    /// A file of lines; `-` for standard input. A line ends with LF or CRLF, which are no part of its record. Empty lines are
    /// no records.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Keep the end of each line, LF or CRLF, in its record.
    #[arg(long)]
    newline: bool,
}

/// Puts each line as a record, in order, and ends when all are acknowledged.
pub(super) fn put(options: &PutOptions) -> Outcome {
    let config = load(&options.config)?;
    let key = credentials(&config, "PutRecordBatch", &options.stream)?;
    let tls = config.api.tls.as_ref().map(pinned::connector).transpose()?;
    let lines = InputLines { input: BufReader::new(open(&options.file)?), newline: options.newline, number: 0 };
    // Shown on a terminal only; that is indicatif's default.
    let progress = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {pos} records acknowledged, {per_sec}");
    progress.set_style(style.expect("a constant"));
    let done = small_runtime()?.block_on(async {
        let mut client = Client::connect_with(config.api.listen, tls, key, &config.api.region).await?;
        send_all(&mut client, &options.stream, lines, &progress).await
    });
    let acknowledged = progress.position();
    progress.finish_and_clear();
    done.map_err(|e| format!("{e} ({acknowledged} records were acknowledged before)"))?;
    say!("{acknowledged} records acknowledged");
    Ok(ExitCode::SUCCESS)
}

fn open(file: &Path) -> Result<Box<dyn Read + Send>, String> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened = std::fs::File::open(file).map_err(|e| format!("open `{}`: {e}", file.display()))?;
    Ok(Box::new(opened))
}

/// A record, or why the next line is none.
type InputRecord = Result<Vec<u8>, String>;

/// Lines are read in a thread of their own, so that the connection is looked after while the input pauses.
async fn send_all<R>(
    client: &mut Client,
    stream: &str,
    lines: InputLines<R>,
    progress: &ProgressBar,
) -> Result<(), String>
where
    R: BufRead + Send + 'static,
{
    let (records, mut queue) = channel(READ_AHEAD);
    std::thread::spawn(move || lines.read(&records));
    loop {
        let (batch, wrong) = next_batch(&mut queue).await;
        if !batch.is_empty() {
            send(client, stream, &batch).await?;
            progress.inc(batch.len() as u64);
        }
        match wrong {
            Some(wrong) => return Err(wrong),
            None if batch.is_empty() => return Ok(()),
            None => {}
        }
    }
}

/// What there is to send, at once or within `LINGER`; nothing at the end of the input. What is wrong with a line comes
/// with the records before it.
async fn next_batch(queue: &mut Receiver<InputRecord>) -> (Vec<Vec<u8>>, Option<String>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut next = queue.recv().await;
    let deadline = Instant::now() + LINGER;
    loop {
        match next {
            Some(Ok(record)) => {
                bytes += record.len();
                batch.push(record);
            }
            Some(Err(wrong)) => return (batch, Some(wrong)),
            None => return (batch, None),
        }
        if batch.len() == BATCH_RECORDS_MAX || bytes >= BATCH_BYTES {
            return (batch, None);
        }
        match timeout_at(deadline, queue.recv()).await {
            Ok(more) => next = more,
            Err(_) => return (batch, None),
        }
    }
}

/// The lines of the input as records.
struct InputLines<R> {
    input: R,
    newline: bool,
    /// Of the line read last, from 1.
    number: u64,
}

impl<R: BufRead> InputLines<R> {
    /// Until the input ends, a line is no record, or nobody wants more.
    fn read(mut self, records: &Sender<InputRecord>) {
        while let Some(record) = self.next() {
            let is_last = record.is_err();
            if records.blocking_send(record).is_err() || is_last {
                return;
            }
        }
    }

    /// The next line that is not empty.
    fn next(&mut self) -> Option<InputRecord> {
        loop {
            self.number += 1;
            let number = self.number;
            let mut line = Vec::new();
            // A line that is too long is not read to its end, which may be that of a disk.
            let mut bounded = (&mut self.input).take(RECORD_BYTES_MAX as u64 + LINE_END_BYTES_MAX);
            match bounded.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(e) => return Some(Err(format!("read line {number}: {e}"))),
            }
            let text = without_end(&line).len();
            if text == 0 {
                continue;
            }
            if !self.newline {
                line.truncate(text);
            }
            return Some(match line.len() <= RECORD_BYTES_MAX {
                true => Ok(line),
                false => Err(format!("line {number}: found more than {RECORD_BYTES_MAX} bytes, expected at most that")),
            });
        }
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let Some(line) = line.strip_suffix(b"\n") else { return line };
    line.strip_suffix(b"\r").unwrap_or(line)
}

async fn send(client: &mut Client, stream: &str, records: &[Vec<u8>]) -> Result<(), String> {
    let body = batch_body(stream, records.iter().map(Vec::as_slice));
    for _ in 0..TRIES {
        let (status, answer) = client.call("PutRecordBatch", body.clone()).await?;
        match status.as_u16() {
            200 => return Ok(()),
            500 | 503 => tokio::time::sleep(Duration::from_secs(1)).await,
            _ => return Err(String::from_utf8_lossy(&answer).into_owned()),
        }
    }
    Err(format!("stream `{stream}` did not take a batch within {TRIES} tries"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &[u8], newline: bool) -> Vec<InputRecord> {
        let mut lines = InputLines { input: text, newline, number: 0 };
        std::iter::from_fn(|| lines.next()).collect()
    }

    #[test]
    fn lines_are_records_with_or_without_their_ends() {
        assert_eq!(records(b"a\n\nb", false), [Ok(b"a".to_vec()), Ok(b"b".to_vec())]);
        assert_eq!(records(b"a\r\n\r\nb\r", false), [Ok(b"a".to_vec()), Ok(b"b\r".to_vec())]);
        assert_eq!(records(b"a\n\nb\r\n", true), [Ok(b"a\n".to_vec()), Ok(b"b\r\n".to_vec())]);
        for end in [&b"\n"[..], b"\r\n"] {
            let largest = [&vec![b'x'; RECORD_BYTES_MAX], end, b"y\n"].concat();
            let found = records(&largest, false);
            assert_eq!(found[0].as_ref().map(Vec::len), Ok(RECORD_BYTES_MAX));
            assert_eq!(found[1..], [Ok(b"y".to_vec())]);
            assert!(records(&largest, true)[0].is_err(), "with its end it is too long");
            let longer = [&vec![b'x'; RECORD_BYTES_MAX + 1], end].concat();
            assert!(records(&longer, false)[0].is_err(), "it is a byte too long");
        }
    }

    #[tokio::test]
    async fn what_is_before_a_line_that_is_too_long_is_sent_and_the_line_is_named() {
        let text = [b"one\ntwo\n".to_vec(), vec![b'x'; RECORD_BYTES_MAX + 1]].concat();
        let (sender, mut queue) = channel(READ_AHEAD);
        let lines = InputLines { input: std::io::Cursor::new(text), newline: false, number: 0 };
        // All of it is there before the first is taken, so that no pause cuts the batch.
        std::thread::spawn(move || lines.read(&sender)).join().unwrap();
        let (batch, wrong) = next_batch(&mut queue).await;
        assert_eq!(batch, [b"one", b"two"]);
        assert_eq!(wrong.unwrap(), "line 3: found more than 1024000 bytes, expected at most that");
    }
}
