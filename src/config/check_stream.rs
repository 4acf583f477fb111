//! The rules of one stream, in path order.

use super::check_kinesis;
use super::checker::{Checker, Keys, STREAM_DISK_MIN};
use super::format::{FormatSpec, ObjectContent};
use super::rules::{Rules, below};
use super::schema::check_column_name;
use super::store::Store;
use super::tree::quote;
use super::{Buffer, Compress, Format, Gzip, ParquetWriter, StreamConfig, Transform, Wasm, load_columns};
use crate::destination::{DestinationSpec, Payload};
use crate::partition::prefix::{Namespace, Prefix, PrefixKind, check_pair};
use crate::units::ByteSize;
use std::time::Duration;

/// Firehose has no buffering of zero for backups: every record would be an object. (It wants 60 seconds and more.)
const BACKUP_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// The most bytes of records in an object whose size is asked for.
const RECORDS_SIZE_MAX: ByteSize = ByteSize::mib(16 << 10);
/// And so many times that size by default, which no data reach that are not empty.
const RECORDS_PER_OBJECT: u64 = 64;

const NAME_CHARS_MAX: usize = 64;

/// Reports what is wrong with a stream and settles its defaults and files.
pub(super) fn check(checker: &mut Checker, name: &str, stream: &mut StreamConfig) {
    let mut rules = Rules { checker, name };
    rules.name();
    if let Some(kinesis) = stream.kinesis() {
        check_kinesis::check(&mut rules, kinesis);
    }
    rules.transforms(stream);
    rules.format(stream);
    rules.compress(&["compress"], &stream.compress);
    rules.object_size(stream);
    rules.buffer(&["buffer"], &stream.buffer, Duration::ZERO);
    rules.destination(stream);
    rules.check_prefixes(stream);
    if let Some(backup) = &stream.backup {
        rules.compress(&["backup", "compress"], &backup.compress);
        rules.buffer(&["backup", "buffer"], &backup.buffer, BACKUP_INTERVAL_MIN);
        if backup.buffer.object_size.is_some() {
            let message = "unknown for a backup, whose objects are cut by `size` and `interval`";
            rules.problem(&["backup", "buffer", "object_size"], message);
        }
        if let Some(store) = backup.destination.store() {
            store.check(&mut rules, &["backup"]);
        }
    }
    rules.rest(stream);
}

impl Rules<'_, '_> {
    fn name(&mut self) {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if !(1..=NAME_CHARS_MAX).contains(&self.name.len()) || !self.name.bytes().all(allowed) {
            let name = quote(self.name);
            let message = format!("found the stream name {name}, expected 1 to 64 of the characters a-z A-Z 0-9 _ . -");
            self.checker.problem_at_key(&below(self.name, &[]), message);
        }
        // Firehose has them, but `_ledger/../` would be another folder, and an address with `/../` another page.
        if [".", ".."].contains(&self.name) {
            let message = format!(
                "found the stream name {}, expected one that is no folder's: it stands in the names of objects and in \
                 addresses",
                quote(self.name)
            );
            self.checker.problem_at_key(&below(self.name, &[]), message);
        }
    }

    fn transforms(&mut self, stream: &mut StreamConfig) {
        if stream.transform.len() > 1 {
            self.problem(
                &["transform", "[1]"],
                "found a second transform, expected at most one: chains are not there yet",
            );
        }
        for (i, Transform::Wasm(wasm)) in stream.transform.iter_mut().enumerate() {
            self.wasm(&format!("[{i}]"), wasm);
        }
    }

    fn wasm(&mut self, index: &str, wasm: &mut Wasm) {
        let at = |key: &'static str| ["transform", index, "wasm", key];
        self.checker.file(&below(self.name, &at("module")), &mut wasm.module);
        let is_hex = |sum: &String| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit());
        if wasm.sha256.as_ref().is_some_and(|sum| !is_hex(sum)) {
            self.expected(&at("sha256"), "64 hexadecimal digits");
        }
        let at = |group: &'static str, key: &'static str| ["transform", index, "wasm", group, key];
        let (batch, limits) = (&wasm.batch, &wasm.limits);
        let (millis, mib) = (Duration::from_millis, ByteSize::mib);
        self.number(&at("batch", "max_records"), batch.max_records, 1, 10_000);
        self.size(&at("batch", "max_bytes"), batch.max_bytes, ByteSize::kib(1), mib(64));
        self.size(&at("limits", "memory"), limits.memory, mib(1), mib(4096));
        self.time(&at("limits", "timeout"), limits.timeout, millis(10), millis(300_000));
        self.time(&at("limits", "timeout_per_record"), limits.timeout_per_record, millis(0), millis(60_000));
        self.size(&at("limits", "output"), limits.output, ByteSize::kib(1), mib(1024));
        self.number(&at("limits", "log_lines"), limits.log_lines, 0, 10_000);
        self.number(&at("limits", "metric_names"), limits.metric_names, 0, 1_000);
        self.number(&["transform", index, "wasm", "retries"], wasm.retries, 0, 10);
        self.number(&at("isolate", "max_calls"), wasm.isolate.max_calls, 1, 100_000);
    }

    fn format(&mut self, stream: &mut StreamConfig) {
        let FormatSpec { key, name, compresses_inside, buffer_size, .. } = stream.format.spec();
        if let Some(schema) = stream.format.schema_mut()
            && self.checker.file(&below(self.name, &["format", key, "schema"]), schema)
            && let Err(errors) = load_columns(schema)
        {
            self.checker.problems.extend(errors.0);
        }
        if *compresses_inside && stream.compress != Compress::None {
            let what = format!("`none` with {name}, which compresses inside the file (`format.{key}.compression`)");
            self.expected(&["compress"], &what);
        }
        for (setting, column) in stream.format.further_columns() {
            if let Err(message) = check_column_name(column) {
                self.problem(&[&["format", *key], setting.as_slice()].concat(), message);
            }
        }
        if let Format::Parquet(parquet) = &stream.format {
            self.parquet_writer(&["format", key, "writer"], &parquet.writer);
        }
        if let Format::Orc(orc) = &stream.format {
            let at = |setting| ["format", *key, "writer", setting];
            self.size(&at("stripe_size"), orc.writer.stripe_size, ByteSize::mib(1), ByteSize::mib(256));
            self.number(&at("row_index_stride"), orc.writer.row_index_stride, 1000, 1_000_000);
        }
        if let Some(size) = buffer_size.filter(|_| !self.checker.has(&below(self.name, &["buffer", "size"]))) {
            stream.buffer.size = size;
        }
    }

    fn parquet_writer(&mut self, keys: &Keys, writer: &ParquetWriter) {
        let at = |key| [keys, &[key]].concat();
        self.size(&at("block_size"), writer.block_size, ByteSize::mib(1), ByteSize::mib(256));
        self.size(&at("page_size"), writer.page_size, ByteSize::kib(64), ByteSize::mib(16));
        let share = writer.bloom_filter_false_positive_probability;
        if !(0.0001..=0.5).contains(&share) {
            self.expected(&at("bloom_filter_false_positive_probability"), "a number from 0.0001 to 0.5");
        }
    }

    fn compress(&mut self, keys: &Keys, compress: &Compress) {
        if let Compress::Gzip(Gzip { level }) = compress {
            self.number(&[keys, &["gzip", "level"]].concat(), *level, 1, 9);
        }
    }

    /// The size of objects as they are delivered, and the size of their records that bounds it.
    fn object_size(&mut self, stream: &mut StreamConfig) {
        let Some(wanted) = stream.buffer.object_size else { return };
        let at = ["buffer", "object_size"];
        self.size(&at, wanted, ByteSize::kib(64), ByteSize::mib(1024));
        let DestinationSpec { key, payload, .. } = stream.destination.kind().spec();
        if *payload != Payload::Objects {
            return self.problem(&at, format!("unknown with `{key}`, which takes no objects"));
        }
        if !self.checker.has(&below(self.name, &["buffer", "size"])) {
            let bytes = wanted.bytes().saturating_mul(RECORDS_PER_OBJECT);
            stream.buffer.size = ByteSize(bytes.clamp(ByteSize::mib(128).bytes(), RECORDS_SIZE_MAX.bytes()));
        }
    }

    /// Firehose wants 64 MiB and more for Parquet; we only make it the default.
    fn buffer(&mut self, keys: &Keys, buffer: &Buffer, interval_min: Duration) {
        let max = if buffer.object_size.is_some() { RECORDS_SIZE_MAX } else { ByteSize::mib(128) };
        self.size(&[keys, &["size"]].concat(), buffer.size, ByteSize::mib(1), max);
        self.time(&[keys, &["interval"]].concat(), buffer.interval, interval_min, Duration::from_secs(900));
    }

    fn destination(&mut self, stream: &mut StreamConfig) {
        let keys = stream.destination.store_keys();
        if let Some(store) = stream.destination.store() {
            store.check(self, &keys[..keys.len() - 1]);
        }
        stream.destination.settings_mut().check(self, &stream.compress);
        match stream.destination.kind().spec().payload {
            Payload::Objects => {}
            Payload::Rows => {
                if stream.format.converts() {
                    self.expected(&["format"], "`raw` or `lines`: a warehouse loads JSON or CSV");
                }
            }
            Payload::Records => self.records(stream),
        }
    }

    /// What a destination that takes records one by one asks of the rest of its stream (docs/firehose.md: "HTTP endpoints").
    fn records(&mut self, stream: &mut StreamConfig) {
        let DestinationSpec { key, buffer_interval, request_max, .. } = stream.destination.kind().spec();
        if stream.compress != Compress::None {
            let what = format!(
                "`none`: an endpoint takes records one by one (`destination.{key}.content_encoding: gzip` is for requests)"
            );
            self.expected(&["compress"], &what);
        }
        if stream.format.spec().content != ObjectContent::Records {
            self.expected(&["format"], "`raw`: an endpoint takes records one by one, as they are");
        }
        if stream.file_extension.is_some() {
            self.problem(&["file_extension"], format!("unknown with `{key}`, which has no files"));
        }
        if let Some(max) = request_max.map(|max| ByteSize(max.bytes)).filter(|max| stream.buffer.size > *max) {
            let what = format!("a size from 1MiB to {max}: an endpoint gets no more at once");
            self.expected(&["buffer", "size"], &what);
        }
        if let Some(interval) =
            buffer_interval.filter(|_| !self.checker.has(&below(self.name, &["buffer", "interval"])))
        {
            stream.buffer.interval = interval;
        }
        if stream.backup.is_none() {
            let message =
                "missing: an endpoint may refuse records, which then go there (`mode: failed`, or `all` for all)";
            self.problem(&["backup"], message);
        }
    }

    /// What the prefixes may contain, alone and together.
    fn check_prefixes(&mut self, stream: &StreamConfig) {
        let into_backup = stream.fails_into_backup();
        if let Some(store) = stream.destination.store() {
            let keys = stream.destination.store_keys();
            match Prefix::parse(store.prefix(), PrefixKind::Objects) {
                Ok(prefix) => self.partition_keys(&[&keys[..], &["prefix"]].concat(), &prefix, stream),
                Err(e) => self.problem(&[&keys[..], &["prefix"]].concat(), e.to_string()),
            }
            match into_backup {
                false => self.error_prefix(&keys, store),
                true if store.error_prefix().is_some() => {
                    let message = "unknown with `backup.mode: failed`: failures go to that of `backup`";
                    self.problem(&[&keys[..], &["error_prefix"]].concat(), message);
                }
                true => {}
            }
        }
        let Some(store) = stream.backup.as_ref().and_then(|b| b.destination.store()) else { return };
        let keys = ["backup", store.kind().spec().key];
        match Prefix::parse(store.prefix(), PrefixKind::Objects) {
            Ok(prefix) if prefix.partition_keys_used().is_empty() => {}
            Ok(_) => self
                .expected(&[&keys[..], &["prefix"]].concat(), "no partition key: a backup holds records as they came"),
            Err(e) => self.problem(&[&keys[..], &["prefix"]].concat(), e.to_string()),
        }
        match into_backup {
            true => self.error_prefix(&keys, store),
            false if store.error_prefix().is_some() => {
                let message = "unknown in a backup, where nothing fails: use that of `destination`";
                self.problem(&[&keys[..], &["error_prefix"]].concat(), message);
            }
            false => {}
        }
    }

    /// The error prefix of the place that failures go to.
    fn error_prefix(&mut self, keys: &Keys, store: Store) {
        let at = [keys, &["error_prefix"]].concat();
        let errors = store.error_prefix().map(|text| Prefix::parse(text, PrefixKind::Errors)).transpose();
        match (Prefix::parse(store.prefix(), PrefixKind::Objects), errors) {
            (Ok(objects), Ok(errors)) => {
                let pair = check_pair(&objects, errors.as_ref());
                let alone = match (&pair, &errors) {
                    (Ok(()), None) => Prefix::errors_default(store.prefix()).map(|_| ()),
                    _ => Ok(()),
                };
                if let Err(e) = pair.and(alone) {
                    self.problem(&at, e.to_string());
                }
            }
            (_, errors) => errors.err().into_iter().for_each(|e| self.problem(&at, e.to_string())),
        }
    }

    /// Every key that is used has to be made by somebody.
    fn partition_keys(&mut self, keys: &Keys, prefix: &Prefix, stream: &StreamConfig) {
        for (namespace, name) in prefix.partition_keys_used() {
            match namespace {
                Namespace::Query => {
                    let message = format!("found `!{{partitionKeyFromQuery:{name}}}`, but jq keys are not there yet");
                    self.problem(keys, message);
                }
                Namespace::Lambda if stream.transform.is_empty() => {
                    let message =
                        format!("found `!{{partitionKeyFromLambda:{name}}}`, expected a `transform` that makes it");
                    self.problem(keys, message);
                }
                Namespace::Lambda => {}
            }
        }
    }

    fn rest(&mut self, stream: &mut StreamConfig) {
        if stream.disk_budget.is_some_and(|budget| budget < STREAM_DISK_MIN) {
            let what = format!("a size of at least {STREAM_DISK_MIN}, which a stream needs to open and to go on");
            self.expected(&["disk_budget"], &what);
        }
        if let Some(zone) = &stream.time_zone {
            let is_short = zone.len() <= 3 && zone != "UTC";
            if is_short || jiff::tz::TimeZone::get(zone).is_err() {
                self.expected(&["time_zone"], "an IANA zone such as `Europe/Zurich`, or `UTC`");
            }
        }
        // Firehose takes the empty text for none.
        stream.file_extension.take_if(|extension| extension.is_empty());
        if stream.file_extension.as_deref().is_some_and(|extension| !is_extension(extension)) {
            self.expected(&["file_extension"], "`.` and 1 to 127 of the characters a-z 0-9 ! - _ . * ' ( )");
        }
    }
}

/// Firehose's `^\.[0-9a-z!\-_.*'()]+$`.
fn is_extension(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!-_.*'()".contains(&b);
    let rest = text.strip_prefix('.').unwrap_or_default();
    (1..=127).contains(&rest.len()) && rest.bytes().all(is_allowed)
}
