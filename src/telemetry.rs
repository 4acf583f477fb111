//! Logs and metrics. Log lines are JSON or for people; values are escaped by the formatter and record contents are never
//! logged. Metrics carry Firehose's names with `_` for `.`, behind `hydrant_`, and `DeliveryStreamName` as the label.

mod logs;

pub use self::logs::{flush_logs, init_logs, write_line};

use crate::alarm::AlarmKind;
use crate::config::Config;
use crate::destination::{DestinationKind, MetricFamily, Payload};
use crate::stream::plan::Outlet;
use crate::stream::supervise::{Settled, Status};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::fmt::Write as _;

/// Installs the recorder of counters and histograms.
pub fn init_metrics() -> Option<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().ok()
}

/// What is known of the streams at this moment, in Prometheus' text format. A family that belongs to a step is shown for
/// streams that have the step, and for those whose records went through it before.
pub fn render(statuses: &[Status], config: &Config) -> String {
    let mut page = Page { statuses, text: String::new() };
    let lost = logs::lines_lost();
    let help = "Log lines that could not be written.";
    let _ = writeln!(
        page.text,
        "# HELP hydrant_log_lines_lost {help}\n# TYPE hydrant_log_lines_lost counter\nhydrant_log_lines_lost {lost}"
    );
    deliveries(&mut page, config);
    steps(&mut page, config);
    page.family("accepted_records", "counter", "Records accepted.", |s| Some(s.accepted as f64));
    page.family("pending_records", "gauge", "Records accepted and not settled, counted.", |s| Some(s.pending as f64));
    page.family("conservation_gap", "gauge", "Accepted less settled less pending: 0.", |s| Some(s.gap as f64));
    page.family("lost_records", "counter", "Acknowledged records that the medium lost.", |s| Some(s.lost as f64));
    let lost_of_backup = |s: &Status| Some(s.lost_of_backup as f64);
    let help = "Acknowledged records that the medium lost before they were backed up.";
    page.family("lost_backup_records", "counter", help, lost_of_backup);
    page.family("disk_bytes", "gauge", "Bytes of the journal on disk.", |s| Some(s.disk_bytes as f64));
    let damage = |s: &Status| Some(s.damage.len() as f64);
    page.family("damage_found", "gauge", "Damages of the stream's files that its last opening found.", damage);
    page.alarms();
    let open_plans = |s: &Status| Some(s.open_plans as f64);
    page.family("open_plans", "gauge", "Objects decided and not yet known to be delivered.", open_plans);
    page.text
}

/// Text with a line a stream in every family.
struct Page<'s> {
    statuses: &'s [Status],
    text: String,
}

impl Page<'_> {
    /// Alarms by kind: a line for each that a stream has.
    fn alarms(&mut self) {
        let help = "Alarms by kind; see `hydrant status`.";
        let _ = writeln!(self.text, "# HELP hydrant_alarms {help}\n# TYPE hydrant_alarms gauge");
        for status in self.statuses {
            for kind in AlarmKind::ALL {
                let count = status.alarms.iter().filter(|alarm| alarm.kind == kind).count();
                let (stream, kind) = (&status.stream, kind.name());
                let _ =
                    writeln!(self.text, "hydrant_alarms{{DeliveryStreamName=\"{stream}\",kind=\"{kind}\"}} {count}");
            }
        }
    }

    fn family(&mut self, name: &str, kind: &str, help: &str, value: impl Fn(&Status) -> Option<f64>) {
        let _ = writeln!(self.text, "# HELP hydrant_{name} {help}\n# TYPE hydrant_{name} {kind}");
        for status in self.statuses {
            if let Some(value) = value(status) {
                let _ = writeln!(self.text, "hydrant_{name}{{DeliveryStreamName=\"{}\"}} {value}", status.stream);
            }
        }
    }

    /// Records and bytes of the streams for which there is something to say.
    fn counts(&mut self, name: &str, what: &str, settled: impl Fn(&Status) -> Option<Settled>) {
        let records = format!("Records {what}.");
        self.family(&format!("{name}_Records"), "counter", &records, |s| Some(settled(s)?.records as f64));
        let bytes = format!("Bytes {what}, before compression.");
        self.family(&format!("{name}_Bytes"), "counter", &bytes, |s| Some(settled(s)?.bytes as f64));
    }
}

fn settled(status: &Status, outlet: Outlet) -> Settled {
    status.outlets.get(outlet.name()).cloned().unwrap_or_default()
}

fn deliveries(page: &mut Page, config: &Config) {
    let has_backup = |s: &Status| config.streams.get(&s.stream).is_some_and(|c| c.source_backup().is_some());
    let backed_up = |s: &Status| {
        let settled = settled(s, Outlet::Backup);
        (has_backup(s) || settled.objects + s.backup_pending > 0).then_some(settled)
    };
    // Of a stream that is in the file no more it is not known where its records went.
    let spec = |s: &Status| {
        let kind = config.streams.get(&s.stream).map_or(DestinationKind::S3, |stream| stream.destination.kind());
        kind.spec()
    };
    let to = |s: &Status, is_meant: bool| is_meant.then(|| settled(s, Outlet::Destination));
    // What is staged for a warehouse is in S3, too.
    delivery(page, "DeliveryToS3", |s| to(s, spec(s).payload != Payload::Records));
    for (name, family) in
        [("DeliveryToHttpEndpoint", MetricFamily::HttpEndpoint), ("DeliveryToRedshift", MetricFamily::Redshift)]
    {
        page.counts(name, "delivered", |s| to(s, spec(s).metrics == family));
        page.family(&format!("{name}_Success"), "gauge", "1 while the stream has no alarm, else 0.", |s| {
            (spec(s).metrics == family).then(|| if s.alarm.is_none() { 1.0 } else { 0.0 })
        });
    }
    page.counts("FailedDelivery", "that the destination did not take", |s| {
        let failed = settled(s, Outlet::DeliveryFailed);
        (spec(s).payload != Payload::Objects || failed.records > 0).then_some(failed)
    });
    delivery(page, "BackupToS3", backed_up);
    let help = "Seconds since the oldest record that is not delivered arrived.";
    page.family("DeliveryToS3_DataFreshness", "gauge", help, |s| {
        (spec(s).payload != Payload::Records).then_some(s.freshness_s as f64)
    });
    let http_freshness = |s: &Status| (spec(s).payload == Payload::Records).then_some(s.freshness_s as f64);
    page.family("DeliveryToHttpEndpoint_DataFreshness", "gauge", help, http_freshness);
    let backup_freshness = |s: &Status| backed_up(s).map(|_| s.backup_freshness_s as f64);
    page.family("BackupToS3_DataFreshness", "gauge", help, backup_freshness);
}

fn delivery(page: &mut Page, name: &str, of: impl Fn(&Status) -> Option<Settled>) {
    page.counts(name, "delivered", &of);
    page.family(&format!("{name}_ObjectCount"), "counter", "Objects delivered.", |s| Some(of(s)?.objects as f64));
    page.family(&format!("{name}_Success"), "gauge", "1 while the stream has no alarm, else 0.", |s| {
        of(s).map(|_| if s.alarm.is_none() { 1.0 } else { 0.0 })
    });
}

fn steps(page: &mut Page, config: &Config) {
    let stream = |s: &Status| config.streams.get(&s.stream);
    let converts = |s: &Status| stream(s).is_some_and(|c| c.format.converts());
    page.family("DroppedRecords", "counter", "Records dropped by the transform.", |s| {
        Some(settled(s, Outlet::Dropped).records as f64)
    });
    // What the transform passed on or dropped ends in one of these.
    page.counts("SucceedProcessing", "that the transform answered for", |s| {
        let ends = [Outlet::Destination, Outlet::ConversionFailed, Outlet::Dropped].map(|o| settled(s, o));
        let (records, bytes) = (ends.iter().map(|e| e.records).sum(), ends.iter().map(|e| e.bytes).sum());
        stream(s).is_some_and(|c| !c.transform.is_empty()).then(|| Settled { records, bytes, ..Settled::default() })
    });
    page.family("FailedProcessing_Records", "counter", "Records in processing-failed.", |s| {
        Some(settled(s, Outlet::ProcessingFailed).records as f64)
    });
    page.counts("SucceedConversion", "converted", |s| converts(s).then(|| settled(s, Outlet::Destination)));
    page.counts("FailedConversion", "in format-conversion-failed", |s| {
        let failed = settled(s, Outlet::ConversionFailed);
        (converts(s) || failed.records > 0).then_some(failed)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "
streams:
  plain: { destination: { local: { dir: d } } }
  backed: { destination: { local: { dir: d } }, backup: { local: { dir: e } } }
";

    #[test]
    fn a_step_is_counted_only_where_it_is() {
        let config = crate::config::parse(YAML, "test", "".as_ref(), &|_| None).unwrap();
        let of = |stream: &str, outlet: Outlet, records: u64| Status {
            stream: stream.into(),
            outlets: [(outlet.name().to_owned(), Settled { records, bytes: 10 * records, ..Settled::default() })]
                .into(),
            ..Status::default()
        };
        let statuses = [
            of("backed", Outlet::Backup, 2),
            of("gone", Outlet::ConversionFailed, 3),
            of("plain", Outlet::Destination, 4),
        ];
        let text = render(&statuses, &config);
        let samples = |family: &str| -> Vec<&str> {
            let prefix = format!("hydrant_{family}{{DeliveryStreamName=");
            text.lines().filter_map(|l| l.strip_prefix(prefix.as_str())).collect()
        };
        assert_eq!(samples("BackupToS3_Bytes"), ["\"backed\"} 20"]);
        assert_eq!(samples("BackupToS3_Success"), ["\"backed\"} 1"]);
        assert_eq!(samples("FailedConversion_Records"), ["\"gone\"} 3"]);
        assert_eq!(samples("DeliveryToS3_Records"), ["\"backed\"} 0", "\"gone\"} 0", "\"plain\"} 4"]);
        assert!(samples("SucceedConversion_Records").is_empty() && samples("SucceedProcessing_Bytes").is_empty());
    }
}
