//! A stream as `DescribeDeliveryStream` shows it (docs/firehose.md: "Operations").

use crate::config::{
    Backup, Buffer, Compress, Config, ContentEncoding, Destination, Format, Http, JsonSerde, OrcCompression,
    ParquetCompression, ParquetDictionary, ParquetVersion, Source, Sse, Store, StreamConfig, WarehouseSettings,
};
use crate::stream::supervise::Stream;
use serde_json::{Value, json};

/// How a stream stands, in Firehose's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// In the configuration and about to be opened.
    Creating,
    Active,
    /// Could not be opened.
    Failed,
    /// Not in the configuration any more: delivers what it holds.
    Retired,
    /// Not in the configuration any more, and could not be opened.
    RetiredFailed,
}

impl Standing {
    fn name(self) -> &'static str {
        match self {
            Standing::Creating => "CREATING",
            Standing::Active => "ACTIVE",
            Standing::Failed => "CREATING_FAILED",
            Standing::Retired => "DELETING",
            Standing::RetiredFailed => "DELETING_FAILED",
        }
    }
}

pub(super) fn arn(config: &Config, stream: &str) -> String {
    config.api.stream_arn(stream)
}

/// A stream's source, as Firehose calls it.
pub(super) fn stream_type(config: &Config, name: &str) -> &'static str {
    let source = config.streams.get(name).map_or(&Source::DirectPut, |stream| &stream.source);
    source.spec().stream_type
}

/// A stream's description. Of one that is not in the configuration no destination is known.
pub(super) fn description(config: &Config, name: &str, standing: Standing, epoch: u32) -> Value {
    let destinations: Vec<Value> = config.streams.get(name).map(|s| destination(config, s)).into_iter().collect();
    let mut description = json!({
        "DeliveryStreamName": name,
        "DeliveryStreamARN": arn(config, name),
        "DeliveryStreamStatus": standing.name(),
        "DeliveryStreamType": stream_type(config, name),
        "VersionId": epoch.to_string(),
        "Destinations": destinations,
        "HasMoreDestinations": false,
    });
    if let Some(kinesis) = config.streams.get(name).and_then(StreamConfig::kinesis) {
        let arn = match kinesis.stream.starts_with("arn:") {
            true => kinesis.stream.clone(),
            false => format!("arn:aws:kinesis:{}:{}:stream/{}", kinesis.region, config.api.account, kinesis.stream),
        };
        let mut source = json!({ "KinesisStreamARN": arn });
        if let Some(role) = &kinesis.role_arn {
            source["RoleARN"] = role.as_str().into();
        }
        description["Source"] = json!({ "KinesisStreamSourceDescription": source });
    }
    if matches!(standing, Standing::Failed | Standing::RetiredFailed) {
        let details = "The stream cannot be opened or takes no puts; the service's status and log say why.";
        description["FailureDescription"] = json!({ "Type": "UNKNOWN_ERROR", "Details": details });
    }
    description
}

/// Adds when the stream was made and last changed, in seconds as JSON 1.1 has times.
pub(super) fn add_times(description: &mut Value, stream: &Stream) {
    for (member, millis) in [("CreateTimestamp", stream.created_ms()), ("LastUpdateTimestamp", stream.updated_ms())] {
        if let Some(millis) = millis {
            description[member] = (millis as f64 / 1000.0).into();
        }
    }
}

fn destination(config: &Config, stream: &StreamConfig) -> Value {
    let mut destination = match &stream.destination {
        Destination::Http(http) => json!({ "HttpEndpointDestinationDescription": http_endpoint(config, stream, http) }),
        destination => match (destination.warehouse(), destination.store()) {
            (Some(warehouse), _) => redshift(config, stream, &warehouse),
            (None, Some(store)) => s3_destination(config, stream, store),
            // Firehose has none that is like it.
            (None, None) => json!({}),
        },
    };
    destination["DestinationId"] = "destinationId-000000000001".into();
    destination
}

/// How records are converted. `StrictJsonSerDe` is ours: clients that know Firehose's shapes only show none then.
fn conversion(format: &Format) -> Value {
    let (Some(serializer), Some(serde)) = (serializer(format), format.serde()) else {
        return json!({ "Enabled": false });
    };
    let deserializer = match serde {
        JsonSerde::Openx(openx) => json!({ "OpenXJsonSerDe": {
            "CaseInsensitive": openx.case_insensitive,
            "ConvertDotsInJsonKeysToUnderscores": openx.convert_dots_in_json_keys_to_underscores,
            "ColumnToJsonKeyMappings": openx.column_to_json_key_mappings,
        } }),
        JsonSerde::Hive(hive) => json!({ "HiveJsonSerDe": { "TimestampFormats": hive.timestamp_formats } }),
        JsonSerde::Strict(_) => json!({ "StrictJsonSerDe": {} }),
    };
    json!({
        "Enabled": true,
        "InputFormatConfiguration": { "Deserializer": deserializer },
        "OutputFormatConfiguration": { "Serializer": serializer },
    })
}

/// What columns are written as. Codecs that Firehose has not have the names of their formats.
fn serializer(format: &Format) -> Option<Value> {
    match format {
        Format::Raw | Format::Lines(_) => None,
        Format::Parquet(parquet) => {
            let compression = match parquet.compression {
                ParquetCompression::Snappy => "SNAPPY",
                ParquetCompression::Gzip => "GZIP",
                ParquetCompression::Uncompressed => "UNCOMPRESSED",
                ParquetCompression::Zstd => "ZSTD",
                ParquetCompression::Lz4Raw => "LZ4_RAW",
            };
            let writer = &parquet.writer;
            Some(json!({ "ParquetSerDe": {
                "BlockSizeBytes": writer.block_size.bytes(),
                "PageSizeBytes": writer.page_size.bytes(),
                "Compression": compression,
                "EnableDictionaryCompression": writer.dictionary != ParquetDictionary::None,
                "MaxPaddingBytes": 0,
                "WriterVersion": if writer.version == ParquetVersion::V1 { "V1" } else { "V2" },
            } }))
        }
        Format::Orc(orc) => {
            let compression = match orc.compression {
                OrcCompression::Snappy => "SNAPPY",
                OrcCompression::Zlib => "ZLIB",
                OrcCompression::Zstd => "ZSTD",
                OrcCompression::None => "NONE",
            };
            Some(json!({ "OrcSerDe": {
                "StripeSizeBytes": orc.writer.stripe_size.bytes(),
                "RowIndexStride": orc.writer.row_index_stride,
                "Compression": compression,
                "EnablePadding": false,
                "FormatVersion": "V0_12",
            } }))
        }
    }
}

/// For S3 the service fills both descriptions, since clients read either.
fn s3_destination(config: &Config, stream: &StreamConfig, store: Store) -> Value {
    let s3 = s3(config, store, &stream.buffer, &stream.compress);
    let mut extended = s3.clone();
    extended["S3BackupMode"] = if stream.source_backup().is_some() { "Enabled" } else { "Disabled" }.into();
    extended["DataFormatConversionConfiguration"] = conversion(&stream.format);
    extended["ProcessingConfiguration"] = processing(stream);
    if let Some(backup) = stream.source_backup().and_then(|b| backup(config, b)) {
        extended["S3BackupDescription"] = backup;
    }
    for (member, value) in [("FileExtension", &stream.file_extension), ("CustomTimeZone", &stream.time_zone)] {
        if let Some(value) = value {
            extended[member] = value.as_str().into();
        }
    }
    json!({ "S3DestinationDescription": s3, "ExtendedS3DestinationDescription": extended })
}

/// The access key is not shown.
fn http_endpoint(config: &Config, stream: &StreamConfig, http: &Http) -> Value {
    let attribute = |(name, value)| json!({ "AttributeName": name, "AttributeValue": value });
    let attributes: Vec<Value> = http.common_attributes.iter().map(attribute).collect();
    let mut endpoint = json!({ "Url": http.url });
    if let Some(name) = &http.name {
        endpoint["Name"] = name.as_str().into();
    }
    let mut description = json!({
        "EndpointConfiguration": endpoint,
        "BufferingHints": hints(&stream.buffer),
        "RequestConfiguration": {
            "ContentEncoding": if http.content_encoding == ContentEncoding::Gzip { "GZIP" } else { "NONE" },
            "CommonAttributes": attributes,
        },
        "ProcessingConfiguration": processing(stream),
        "RoleARN": role(config),
        "RetryOptions": { "DurationInSeconds": http.retry_duration.as_secs() },
        "S3BackupMode": if stream.source_backup().is_some() { "AllData" } else { "FailedDataOnly" },
        "CloudWatchLoggingOptions": { "Enabled": false },
    });
    if let Some(backup) = stream.backup.as_ref().and_then(|b| backup(config, b)) {
        description["S3DestinationDescription"] = backup;
    }
    description
}

/// A warehouse: Firehose knows one kind.
fn redshift(config: &Config, stream: &StreamConfig, warehouse: &WarehouseSettings) -> Value {
    let (columns, options) = (warehouse.columns.join(","), warehouse.copy_options);
    let mut description = json!({
        "RoleARN": role(config),
        "ClusterJDBCURL": warehouse.url,
        "CopyCommand": { "DataTableName": warehouse.table, "DataTableColumns": columns, "CopyOptions": options },
        "Username": warehouse.username,
        "RetryOptions": { "DurationInSeconds": warehouse.retry_duration.as_secs() },
        "ProcessingConfiguration": processing(stream),
        "S3BackupMode": if stream.source_backup().is_some() { "Enabled" } else { "Disabled" },
        "CloudWatchLoggingOptions": { "Enabled": false },
    });
    if let Some(store) = stream.destination.store() {
        description["S3DestinationDescription"] = s3(config, store, &stream.buffer, &stream.compress);
    }
    if let Some(backup) = stream.source_backup().and_then(|b| backup(config, b)) {
        description["S3BackupDescription"] = backup;
    }
    json!({ "RedshiftDestinationDescription": description })
}

fn backup(config: &Config, backup: &Backup) -> Option<Value> {
    Some(s3(config, backup.destination.store()?, &backup.buffer, &backup.compress))
}

fn processing(stream: &StreamConfig) -> Value {
    json!({ "Enabled": !stream.transform.is_empty() })
}

fn hints(buffer: &Buffer) -> Value {
    json!({ "SizeInMBs": buffer.size.bytes() >> 20, "IntervalInSeconds": buffer.interval.as_secs() })
}

fn role(config: &Config) -> String {
    format!("arn:aws:iam::{}:role/hydrant", config.api.account)
}

fn s3(config: &Config, store: Store, buffer: &Buffer, compress: &Compress) -> Value {
    let (bucket, role) = match store {
        Store::S3(s3) => (s3.bucket.as_str(), s3.role_arn.clone().unwrap_or(role(config))),
        Store::Local(_) => ("local", role(config)),
    };
    let mut s3 = json!({
        "RoleARN": role,
        "BucketARN": format!("arn:aws:s3:::{bucket}"),
        "Prefix": store.prefix(),
        "BufferingHints": hints(buffer),
        "CompressionFormat": if compress.name() == "gzip" { "GZIP" } else { "UNCOMPRESSED" },
        "EncryptionConfiguration": encryption(config, store),
        "CloudWatchLoggingOptions": { "Enabled": false },
    });
    if let Some(error_prefix) = store.error_prefix() {
        s3["ErrorOutputPrefix"] = error_prefix.into();
    }
    s3
}

/// Firehose knows only keys of KMS: S3's own are its "no encryption". An id or alias is shown as the ARN it stands for.
fn encryption(config: &Config, store: Store) -> Value {
    let Store::S3(s3) = store else { return json!({ "NoEncryptionConfig": "NoEncryption" }) };
    let Some(Sse::KmsKeyId(key)) = &s3.sse else { return json!({ "NoEncryptionConfig": "NoEncryption" }) };
    let arn = match key {
        arn if arn.starts_with("arn:") => arn.clone(),
        alias if alias.starts_with("alias/") => format!("arn:aws:kms:{}:{}:{alias}", s3.region, config.api.account),
        id => format!("arn:aws:kms:{}:{}:key/{id}", s3.region, config.api.account),
    };
    json!({ "KMSEncryptionConfig": { "AWSKMSKeyARN": arn } })
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = r#"
streams:
  s:
    compress: gzip
    time_zone: Europe/Oslo
    file_extension: .log
    destination: { s3: { bucket: b, prefix: p/, sse: { kms_key_id: alias/mine }, region: eu-north-1 } }
    backup: { s3: { bucket: raw, sse: aes256 }, buffer: { size: 2MiB, interval: 60s } }
"#;

    #[test]
    fn what_the_file_says_of_a_stream_is_described() {
        let config = crate::config::parse(YAML, "test", "".as_ref(), &|_| None).unwrap();
        let found = description(&config, "s", Standing::Active, 3);
        assert_eq!((&found["VersionId"], &found["DeliveryStreamStatus"]), (&json!("3"), &json!("ACTIVE")));
        assert!(found.get("FailureDescription").is_none());
        let extended = &found["Destinations"][0]["ExtendedS3DestinationDescription"];
        let key = "arn:aws:kms:eu-north-1:000000000000:alias/mine";
        assert_eq!(extended["EncryptionConfiguration"]["KMSEncryptionConfig"]["AWSKMSKeyARN"], key);
        assert_eq!((&extended["CustomTimeZone"], &extended["FileExtension"]), (&json!("Europe/Oslo"), &json!(".log")));
        assert_eq!(extended["DataFormatConversionConfiguration"], json!({ "Enabled": false }));
        assert_eq!(extended["ProcessingConfiguration"], json!({ "Enabled": false }));
        assert_eq!(extended["CompressionFormat"], "GZIP");
        let backup = &extended["S3BackupDescription"];
        assert_eq!((&extended["S3BackupMode"], &backup["BucketARN"]), (&json!("Enabled"), &json!("arn:aws:s3:::raw")));
        assert_eq!(backup["BufferingHints"], json!({ "SizeInMBs": 2, "IntervalInSeconds": 60 }));
        assert_eq!(backup["EncryptionConfiguration"], json!({ "NoEncryptionConfig": "NoEncryption" }));
    }

    #[test]
    fn a_stream_that_failed_says_so_and_a_retired_one_has_no_destination() {
        let config = Config::default();
        let found = description(&config, "gone", Standing::Retired, 2);
        assert_eq!((&found["DeliveryStreamStatus"], &found["Destinations"]), (&json!("DELETING"), &json!([])));
        for (standing, status) in [(Standing::Failed, "CREATING_FAILED"), (Standing::RetiredFailed, "DELETING_FAILED")]
        {
            let found = description(&config, "s", standing, 1);
            assert_eq!(found["DeliveryStreamStatus"], status);
            assert_eq!(found["FailureDescription"]["Type"], "UNKNOWN_ERROR");
        }
    }
}
