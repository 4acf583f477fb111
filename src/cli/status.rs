//! `hydrant status`.

use super::client::Client;
use super::{Outcome, load, out::say, small_runtime};
use crate::alarm::Alarm;
use crate::clock::wall_ms;
use crate::stream::supervise::Status;
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of the command.
#[derive(clap::Args)]
pub(super) struct StatusOptions {
    /// The configuration the service runs with: its admin address is taken from there.
    config: PathBuf,
    /// The answer as the service gave it.
    #[arg(long)]
    json: bool,
}

/// Asks the running service; ends with 1 if a stream has an alarm.
pub(super) fn status(options: &StatusOptions) -> Outcome {
    let config = load(&options.config)?;
    let (status, body) = small_runtime()?
        .block_on(async { Client::connect(config.admin.listen, None, "").await?.get("/v1/streams").await })?;
    let text = String::from_utf8_lossy(&body).into_owned();
    if !status.is_success() {
        return Err(text);
    }
    if options.json {
        say!("{text}");
    }
    let streams: Vec<Status> = serde_json::from_str(&text).map_err(|e| format!("the service's answer: {e}"))?;
    if !options.json {
        streams.iter().for_each(print);
    }
    let alarmed = streams.iter().any(|s| s.alarm.is_some());
    Ok(if alarmed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(s: &Status) {
    let count = |outlet: &str| s.outlets.get(outlet).map_or(0, |o| o.records);
    let failed: u64 = s.outlets.iter().filter(|(name, _)| name.ends_with("-failed")).map(|(_, o)| o.records).sum();
    say!(
        "{}: {}, epoch {}: accepted {} = delivered {} + dropped {} + failed {failed} + pending {} (+ lost {}), gap {}",
        s.stream,
        s.state,
        s.epoch,
        s.accepted,
        count("destination"),
        count("dropped"),
        s.pending,
        s.lost,
        s.gap
    );
    let lost = if s.lost_of_backup > 0 { format!(" (+ lost {})", s.lost_of_backup) } else { String::new() };
    say!("  backed up {}{lost}, waiting for backup {}; {}", count("backup"), s.backup_pending, s.lane);
    for (id, shard) in &s.shards {
        let owner = shard.owner.as_ref().map_or(String::new(), |owner| format!(" by {owner}"));
        let nowhere = match shard.state.as_str() {
            "done" => "its end",
            "unread" => "a place that is not known here",
            _ => "its beginning",
        };
        let position = shard.position.as_deref().unwrap_or(nowhere);
        // Of what this node does not read it is not known.
        let is_read = !["done", "elsewhere", "unread"].contains(&shard.state.as_str());
        let behind = if is_read { format!(", {} ms behind", shard.behind_ms) } else { String::new() };
        say!(
            "  {id}: {}{owner}, at {position}{behind}; accepted {}, pending {}, gap {}",
            shard.state,
            shard.accepted,
            shard.pending,
            shard.gap
        );
        if let Some(alarm) = &shard.alarm {
            say!("    ALARM: {alarm}");
        }
    }
    s.damage.iter().for_each(|damage| say!("  DAMAGED: {damage}"));
    for Alarm { kind, since_ms, detail, .. } in &s.alarms {
        // Of a stream that is not open it is not known since when.
        let since = match since_ms {
            0 => String::new(),
            since_ms => format!(" for {} s", wall_ms().saturating_sub(*since_ms) / 1000),
        };
        say!("  ALARM: {detail} ({}{since})", kind.name());
    }
}
