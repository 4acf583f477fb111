//! `hydrant put`.

use super::client::{Client, batch_body, credentials};
use super::{Outcome, load, small_runtime};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// A service that is busy is asked again this often before the command gives up.
const TRIES: u32 = 60;
const BATCH_BYTES: usize = 3 << 20;

/// Options of the command.
#[derive(clap::Args)]
pub struct Options {
    /// The configuration the service runs with: its address and an access key are taken from there.
    config: PathBuf,
    /// The stream.
    stream: String,
    /// A file of lines; `-` for standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Keep the newline at the end of each record.
    #[arg(long)]
    newline: bool,
}

/// Puts each line as a record, in order, and ends when all are acknowledged.
pub fn put(options: &Options) -> Outcome {
    let config = load(&options.config)?;
    let input: Box<dyn Read> = match options.file.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => {
            let file = std::fs::File::open(&options.file);
            Box::new(file.map_err(|e| format!("open `{}`: {e}", options.file.display()))?)
        }
    };
    let progress = ProgressBar::new_spinner();
    progress.set_style(
        ProgressStyle::with_template("{spinner} {pos} records acknowledged, {per_sec}").expect("a constant"),
    );
    let acknowledged = small_runtime()?.block_on(async {
        let mut client = Client::connect(config.api.listen, credentials(&config), &config.api.region).await?;
        let mut acknowledged = 0;
        let mut lines = BufReader::new(input);
        loop {
            let records = next_batch(&mut lines, options.newline)?;
            if records.is_empty() {
                return Ok::<u64, String>(acknowledged);
            }
            send(&mut client, &options.stream, &records).await?;
            acknowledged += records.len() as u64;
            progress.set_position(acknowledged);
        }
    })?;
    progress.finish_and_clear();
    println!("{acknowledged} records acknowledged");
    Ok(ExitCode::SUCCESS)
}

fn next_batch(lines: &mut impl BufRead, newline: bool) -> Result<Vec<Vec<u8>>, String> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    while records.len() < 500 && bytes < BATCH_BYTES {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line).map_err(|e| format!("read: {e}"))? == 0 {
            break;
        }
        if !newline && line.last() == Some(&b'\n') {
            line.pop();
        }
        bytes += line.len();
        records.push(line);
    }
    Ok(records)
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
