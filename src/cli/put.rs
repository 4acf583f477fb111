//! `hydrant put`.

use super::client::{Client, batch_body, credentials};
use super::lines::{InputLines, InputRecord, open};
use super::{Outcome, load, out::say, pinned, small_runtime};
use crate::api::wire::BATCH_RECORDS_MAX;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
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
    let lines = InputLines::new(BufReader::new(open(&options.file)?), options.newline);
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
    std::thread::spawn(move || read(lines, &records));
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

/// Until the input ends, a line is no record, or nobody wants more.
fn read(mut lines: InputLines<impl BufRead>, records: &Sender<InputRecord>) {
    while let Some(record) = lines.next() {
        let is_last = record.is_err();
        if records.blocking_send(record).is_err() || is_last {
            return;
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
    use crate::api::wire::RECORD_BYTES_MAX;

    #[tokio::test]
    async fn what_is_before_a_line_that_is_too_long_is_sent_and_the_line_is_named() {
        let text = [b"one\ntwo\n".to_vec(), vec![b'x'; RECORD_BYTES_MAX + 1]].concat();
        let (sender, mut queue) = channel(READ_AHEAD);
        let lines = InputLines::new(std::io::Cursor::new(text), false);
        // All of it is there before the first is taken, so that no pause cuts the batch.
        std::thread::spawn(move || read(lines, &sender)).join().unwrap();
        let (batch, wrong) = next_batch(&mut queue).await;
        assert_eq!(batch, [b"one", b"two"]);
        assert_eq!(wrong.unwrap(), "line 3: found more than 1024000 bytes, expected at most that");
    }
}
