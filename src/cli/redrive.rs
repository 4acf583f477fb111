//! `hydrant redrive`, and the other verbs: `pause`, `resume`, `abandon`, `acknowledge`.

use super::client::Client;
use super::{Outcome, load, out::say, small_runtime};
use crate::stream::redrive::progress::{RedriveProgress, Selection};
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(100);

/// A stream of a running service.
#[derive(clap::Args)]
pub(super) struct StreamOptions {
    /// The configuration the service runs with: its admin address is taken from there.
    config: PathBuf,
    /// The stream.
    stream: String,
}

/// Options of `redrive`.
#[derive(clap::Args)]
pub(super) struct RedriveOptions {
    #[command(flatten)]
    of: StreamOptions,
    /// Only failures of this kind: processing-failed, format-conversion-failed, http-endpoint-failed, manifests. Or
    /// `backup`: what was backed up, from its source on, where the ledger makes certain where each record ends.
    #[arg(long)]
    kind: Option<String>,
    /// Only what failed with this code, such as HttpEndpoint.RequestTimeout.
    #[arg(long)]
    code: Option<String>,
    /// Only records that arrived at this time or later, such as 2026-11-24T10:00:00Z.
    #[arg(long)]
    from: Option<jiff::Timestamp>,
    /// Only records that arrived before this time.
    #[arg(long)]
    to: Option<jiff::Timestamp>,
    /// Objects whose names begin so, in the place that failures of the stream go to, instead of the stream's own: what
    /// AWS's Firehose wrote, say.
    #[arg(long)]
    prefix: Option<String>,
    /// Only say what would be put in where.
    #[arg(long)]
    dry_run: bool,
    /// Do not wait until what was put in has ended somewhere.
    #[arg(long)]
    no_wait: bool,
    /// The last answer of the service.
    #[arg(long)]
    json: bool,
}

/// Ends with 1 if a record of it failed again, or the run ended before all was put in: then another one goes on.
pub(super) fn redrive(options: &RedriveOptions) -> Outcome {
    let config = load(&options.of.config)?;
    let millis = |time: Option<jiff::Timestamp>| time.map(|t| t.as_millisecond().max(0) as u64);
    let selection = Selection {
        kind: options.kind.clone(),
        code: options.code.clone(),
        from_ms: millis(options.from),
        to_ms: millis(options.to),
        prefix: options.prefix.clone(),
        dry_run: options.dry_run,
    };
    let body = serde_json::to_vec(&selection).map_err(|e| e.to_string())?;
    let admin = AdminClient { listen: config.admin.listen, path: format!("/v1/streams/{}/redrive", options.of.stream) };
    let progress = small_runtime()?.block_on(async {
        let _: serde_json::Value = admin.ask(Some(body)).await?;
        follow(&admin, options).await
    })?;
    match options.json {
        true => say!("{}", serde_json::to_string(&progress).map_err(|e| e.to_string())?),
        false => print(&progress, options.dry_run),
    }
    if let Some(error) = &progress.error {
        return Err(format!("{error} (what was put in before is put in; the same command goes on from there)"));
    }
    if progress.left > 0 {
        let what = "cannot be put in as they are (see above); the same command tries them again";
        return Err(format!("{} objects {what}", progress.left));
    }
    let failed = progress.became.iter().any(|(outlet, n)| outlet.ends_with("-failed") && *n > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Shows how it goes until it has ended.
async fn follow(admin: &AdminClient, options: &RedriveOptions) -> Result<RedriveProgress, String> {
    // Shown on a terminal only; that is indicatif's default.
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {msg}");
    bar.set_style(style.expect("a constant"));
    loop {
        let progress: RedriveProgress = admin.ask(None).await?;
        bar.set_message(format!(
            "{} of {} objects, {} records put in, {} on their way",
            progress.objects_done, progress.objects, progress.records, progress.pending
        ));
        let waits = progress.running || progress.ended && progress.pending > 0 && !options.no_wait;
        if !waits {
            bar.finish_and_clear();
            return Ok(progress);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn print(p: &RedriveProgress, dry_run: bool) {
    p.notes.iter().for_each(|note| say!("{note}"));
    let put = if dry_run { "would be put in" } else { "put in" };
    let steps: Vec<String> = p.steps.iter().map(|(step, n)| format!("{n} at `{step}`")).collect();
    let steps = if steps.is_empty() { String::new() } else { format!(" ({})", steps.join(", ")) };
    say!(
        "{} objects: {} records {put}{steps}, {} were before, {} not selected, {} lines unreadable",
        p.objects,
        p.records,
        p.before,
        p.not_selected,
        p.unreadable
    );
    if !dry_run {
        let became: Vec<String> = p.became.iter().map(|(outlet, n)| format!("{outlet} {n}")).collect();
        let became = if became.is_empty() { "nothing yet".to_owned() } else { became.join(", ") };
        say!("became: {became}; on their way {}", p.pending);
    }
}

/// Does one of the other verbs.
pub(super) fn verb(stream: &StreamOptions, verb: &str) -> Outcome {
    let config = load(&stream.config)?;
    let admin = AdminClient { listen: config.admin.listen, path: format!("/v1/streams/{}/{verb}", stream.stream) };
    let answer: serde_json::Value = small_runtime()?.block_on(admin.ask(Some(b"{}".to_vec())))?;
    if let Some(records) = answer["lost_records"].as_u64() {
        let of_backup = match answer["lost_of_backup"].as_u64() {
            None | Some(0) => String::new(),
            Some(records) => format!(" and {records} that were lost before they were backed up"),
        };
        say!("{}: {records} lost records{of_backup} are acknowledged; they stay counted", stream.stream);
        return Ok(ExitCode::SUCCESS);
    }
    match answer["abandoned_plans"].as_u64() {
        Some(plans) => {
            say!("{}: {plans} plans are given up on; their records go where failures go", stream.stream);
            let tell = |count: &str, what: &str| {
                let count = answer[count].as_u64().filter(|count| *count > 0);
                count.into_iter().for_each(|count| say!("{}: {count} {what}", stream.stream));
            };
            tell(
                "plans_being_sent",
                "of them are being sent; each is given up on when its attempt fails, and a restart before that forgets it",
            );
            tell(
                "plans_being_rebuilt",
                "more are being made again after a restart: repeat the command to give up on them",
            );
            tell("plans_left", "more tell of failures and wait for the place where these go: mend that");
        }
        None => say!("{}: {verb}d", stream.stream),
    }
    Ok(ExitCode::SUCCESS)
}

/// A page of the admin listener.
struct AdminClient {
    listen: SocketAddr,
    path: String,
}

impl AdminClient {
    /// Posts a body, or gets.
    async fn ask<T: DeserializeOwned>(&self, body: Option<Vec<u8>>) -> Result<T, String> {
        let mut client = Client::connect(self.listen, None, "").await?;
        let (status, answer) = match body {
            Some(body) => client.post(&self.path, body.into()).await?,
            None => client.get(&self.path).await?,
        };
        if !status.is_success() {
            let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
            return Err(answer["error"].as_str().map_or(format!("it answers {status}"), str::to_owned));
        }
        serde_json::from_slice(&answer).map_err(|e| format!("the service's answer: {e}"))
    }
}
