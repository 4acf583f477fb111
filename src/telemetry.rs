//! Logs and metrics. Log lines are JSON or for people; values are escaped by the formatter and record contents are never
//! logged. Metrics carry Firehose's names with `_` for `.`, behind `hydrant_`, and `DeliveryStreamName` as the label.

use crate::config::{Log, LogFormat, LogLevel};
use crate::stream::plan::Outlet;
use crate::stream::supervise::Status;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::fmt::Write;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error. A second call changes nothing.
pub fn init_logs(log: &Log) {
    let filter = EnvFilter::try_from_env("HYDRANT_LOG").unwrap_or_else(|_| EnvFilter::new(directives(log.level)));
    // Escapes are for people's eyes: in a file they hide what is searched for.
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    let _ = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Human => builder.try_init(),
    };
}

/// `log.level` is about what we say; of what we are built from, only warnings are of use to whoever runs us.
fn directives(level: LogLevel) -> String {
    let others = if level == LogLevel::Error { LogLevel::Error } else { LogLevel::Warn };
    format!("{},hydrant={}", others.name(), level.name())
}

/// Installs the recorder of counters and histograms.
pub fn init_metrics() -> Option<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().ok()
}

/// What is known of the streams at this moment, in Prometheus' text format.
pub fn render(statuses: &[Status]) -> String {
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Status) -> Option<f64>| {
        let _ = writeln!(out, "# HELP hydrant_{name} {help}\n# TYPE hydrant_{name} {kind}");
        for status in statuses {
            if let Some(value) = value(status) {
                let _ = writeln!(out, "hydrant_{name}{{DeliveryStreamName=\"{}\"}} {value}", status.stream);
            }
        }
    };
    let settled = |o: Outlet| move |s: &Status| s.outlets.get(o.name()).cloned().unwrap_or_default();
    for (prefix, outlet) in [("DeliveryToS3", Outlet::Destination), ("BackupToS3", Outlet::Backup)] {
        let of = settled(outlet);
        family(&format!("{prefix}_Records"), "counter", "Records delivered.", &|s| Some(of(s).records as f64));
        family(&format!("{prefix}_Bytes"), "counter", "Bytes delivered, before compression.", &|s| {
            Some(of(s).bytes as f64)
        });
        family(&format!("{prefix}_ObjectCount"), "counter", "Objects delivered.", &|s| Some(of(s).objects as f64));
        let success = |s: &Status| Some(if s.alarm.is_none() { 1.0 } else { 0.0 });
        family(&format!("{prefix}_Success"), "gauge", "1 unless the stream does not get on.", &success);
    }
    let freshness = |s: &Status| Some(s.freshness_s as f64);
    family(
        "DeliveryToS3_DataFreshness",
        "gauge",
        "Seconds since the oldest record read and not settled arrived.",
        &freshness,
    );
    let (dropped, failed) = (settled(Outlet::Dropped), settled(Outlet::ProcessingFailed));
    let conversion = settled(Outlet::ConversionFailed);
    family("DroppedRecords", "counter", "Records dropped by the transform.", &|s| Some(dropped(s).records as f64));
    family("FailedProcessing_Records", "counter", "Records in processing-failed.", &|s| Some(failed(s).records as f64));
    family("FailedConversion_Records", "counter", "Records in format-conversion-failed.", &|s| {
        Some(conversion(s).records as f64)
    });
    family("accepted_records", "counter", "Records accepted.", &|s| Some(s.accepted as f64));
    family("pending_records", "gauge", "Records accepted and not settled, counted.", &|s| Some(s.pending as f64));
    family("conservation_gap", "gauge", "Accepted less settled less pending: 0.", &|s| Some(s.gap as f64));
    family("lost_records", "counter", "Acknowledged records that the medium lost.", &|s| Some(s.lost as f64));
    family("disk_bytes", "gauge", "Bytes of the journal on disk.", &|s| Some(s.disk_bytes as f64));
    family("open_plans", "gauge", "Objects decided and not yet known to be delivered.", &|s| Some(s.open_plans as f64));
    out
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
