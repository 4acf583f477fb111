//! Firehose's error records: one JSON object per line, in the order AWS writes the members, so that whatever reads
//! AWS's failure objects reads ours.

use crate::json::JsonObject;
use crate::record::EntryPoint;
use crate::record::keyed::{self, Keys};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A failed record as it stands in an object under an error prefix. Times are milliseconds since the Unix epoch.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorRecord<'a> {
    /// What the failing step was given, base64.
    pub raw_data: String,
    pub error_code: &'a str,
    pub error_message: &'a str,
    pub attempts_made: u32,
    pub arrival_timestamp: u64,
    pub attempt_ending_timestamp: u64,
}

/// The same for records that did not convert: AWS spells the code's and message's members differently there.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ConversionRecord<'a> {
    attempts_made: u32,
    arrival_timestamp: u64,
    last_error_code: &'a str,
    last_error_message: &'a str,
    attempt_ending_timestamp: u64,
    raw_data: &'a str,
    sequence_number: String,
    sub_sequence_number: u64,
    /// Where the record has to enter again, if that is not behind the transform.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'static str>,
    /// What the transform gave; AWS's records do not have them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    partition_keys: BTreeMap<&'a str, &'a str>,
}

/// The same for records that a destination did not take (docs/firehose.md: "Error records").
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryRecord<'a> {
    attempts_made: u32,
    arrival_timestamp: u64,
    error_code: &'a str,
    error_message: &'a str,
    attempt_ending_timestamp: u64,
    raw_data: &'a str,
    #[serde(rename = "subsequenceNumber")]
    subsequence_number: u32,
    data_id: String,
    /// As of [`ConversionRecord`].
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    partition_keys: BTreeMap<&'a str, &'a str>,
}

/// An error record as it is read again: ours, or one that AWS wrote, whose members come in other orders and spellings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenRecord<'a> {
    #[serde(borrow)]
    raw_data: std::borrow::Cow<'a, str>,
    #[serde(alias = "ErrorCode")]
    error_code: Option<String>,
    last_error_code: Option<String>,
    #[serde(default)]
    arrival_timestamp: u64,
    sequence_number: Option<serde::de::IgnoredAny>,
    data_catalog_table: Option<serde::de::IgnoredAny>,
    /// Of records that a destination did not take (docs/firehose.md: "Error records"), each by one of these, which may be
    /// null: an index that makes its ids itself has none to tell.
    #[serde(default, deserialize_with = "is_there")]
    data_id: bool,
    #[serde(default, deserialize_with = "is_there")]
    subsequence_number: bool,
    #[serde(default, deserialize_with = "is_there")]
    es_document_id: bool,
    #[serde(default, deserialize_with = "is_there")]
    es_index_name: bool,
    #[serde(default, deserialize_with = "is_there")]
    os_document_id: bool,
    #[serde(default, deserialize_with = "is_there")]
    os_index_name: bool,
    #[serde(default, rename = "EventId", deserialize_with = "is_there")]
    event_id: bool,
    /// Ours: see [`ErrorRecord::conversion_line`].
    #[serde(default)]
    entry: Option<String>,
    #[serde(default)]
    partition_keys: BTreeMap<String, String>,
}

impl WrittenRecord<'_> {
    /// Whether it has what only records have that reached their destination. One of OpenSearch may have an HTTP status for a
    /// code, and nothing else.
    fn is_of_destination(&self, code: &str) -> bool {
        let of_index = self.es_document_id || self.es_index_name || self.os_document_id || self.os_index_name;
        let is_status = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
        self.data_id || self.subsequence_number || self.event_id || of_index || is_status
    }
}

/// A member that is there, whatever it is.
fn is_there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// A failed record, read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRecord {
    /// Where on the path it enters again: at the step that failed.
    pub entry: EntryPoint,
    pub code: String,
    pub arrival_ms: u64,
    /// As its entry takes it.
    pub record: Vec<u8>,
}

/// Codes of what happens behind the transform and before a destination (docs/firehose.md: "Codes of failures").
const CONVERSION_CODES: [&str; 2] = ["DataFormatConversion.", "OutputConversion."];
/// Whose codes are a destination's (docs/firehose.md: "Codes of failures").
const DESTINATION_CODES: [&str; 9] = [
    "HttpEndpoint.",
    "Splunk.",
    "Snowflake.",
    "Iceberg.",
    "OS.",
    "ES.",
    "Redshift.",
    "Postgres.",
    "AmazonOpenSearchService.",
];

impl FailedRecord {
    /// Reads a line of a failure object. The error says what it is not.
    pub fn read(line: &[u8]) -> Result<FailedRecord, String> {
        let JsonObject::<WrittenRecord>(written) =
            serde_json::from_slice(line).map_err(|e| format!("no error record: {e}"))?;
        let record = base64_simd::STANDARD.decode_to_vec(written.raw_data.as_bytes());
        let record = record.map_err(|_| "no error record: `rawData` is not base64".to_owned())?;
        let is_conversion = written.last_error_code.is_some()
            || written.sequence_number.is_some()
            || written.data_catalog_table.is_some();
        let code = written.error_code.as_ref().or(written.last_error_code.as_ref()).cloned().unwrap_or_default();
        let begins = |codes: &[&str]| codes.iter().any(|c| code.starts_with(c));
        let entry = match () {
            () if written.entry.as_deref() == Some("source") => EntryPoint::Again,
            () if begins(&DESTINATION_CODES) || written.is_of_destination(&code) => EntryPoint::Deliver,
            () if is_conversion || begins(&CONVERSION_CODES) => EntryPoint::Format,
            () => EntryPoint::Again,
        };
        let (entry, record) = match entry {
            EntryPoint::Format | EntryPoint::Deliver if !written.partition_keys.is_empty() => {
                let keys = written.partition_keys.into_iter().collect();
                (EntryPoint::Keyed, keyed::pack(&keys, &record))
            }
            entry => (entry, record),
        };
        Ok(FailedRecord { entry, code, arrival_ms: written.arrival_timestamp, record })
    }
}

impl ErrorRecord<'_> {
    /// The line for `processing-failed/`.
    pub fn line(&self, out: &mut Vec<u8>) {
        push_line(self, out);
    }

    /// The line for `format-conversion-failed/`; the record's offset stands for AWS's sequence number. `keys`: what the
    /// transform gave with it; `None`: one of several outputs did not convert, and what stands here is the record that they
    /// were made of.
    pub fn conversion_line(&self, offset: u64, keys: Option<&Keys>, out: &mut Vec<u8>) {
        let record = ConversionRecord {
            attempts_made: self.attempts_made,
            arrival_timestamp: self.arrival_timestamp,
            last_error_code: self.error_code,
            last_error_message: self.error_message,
            attempt_ending_timestamp: self.attempt_ending_timestamp,
            raw_data: &self.raw_data,
            sequence_number: offset.to_string(),
            sub_sequence_number: 0,
            entry: keys.is_none().then_some("source"),
            partition_keys: keys.into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        };
        push_line(&record, out);
    }

    /// The line for `http-endpoint-failed/`; offset and output number stand for AWS's id of the record. `keys`: as of
    /// [`ErrorRecord::conversion_line`].
    pub fn delivery_line(&self, (offset, output): (u64, u32), keys: Option<&Keys>, out: &mut Vec<u8>) {
        let record = DeliveryRecord {
            attempts_made: self.attempts_made,
            arrival_timestamp: self.arrival_timestamp,
            error_code: self.error_code,
            error_message: self.error_message,
            attempt_ending_timestamp: self.attempt_ending_timestamp,
            raw_data: &self.raw_data,
            subsequence_number: output,
            data_id: offset.to_string(),
            entry: keys.is_none().then_some("source"),
            partition_keys: keys.into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        };
        push_line(&record, out);
    }
}

fn push_line(record: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, record).expect("strings and numbers always serialise into memory");
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_aws_wrote_are_read_in_every_spelling_it_has() {
        let cases: [(&str, EntryPoint, &str); 12] = [
            // Captures of 2026 and 2022, and the guide's (docs/firehose.md: "Error records").
            (
                r#"{"rawData":"eA==","errorCode":"Lambda.FunctionError","errorMessage":"m","attemptsMade":4,"arrivalTimestamp":7,"attemptEndingTimestamp":8,"lambdaARN":"arn"}"#,
                EntryPoint::Again,
                "Lambda.FunctionError",
            ),
            (
                r#"{"attemptsMade":4,"arrivalTimestamp":7,"errorCode":"Lambda.MissingRecordId","errorMessage":"m","attemptEndingTimestamp":8,"rawData":"eA==","lambdaArn":"arn"}"#,
                EntryPoint::Again,
                "Lambda.MissingRecordId",
            ),
            (
                r#"{"attemptsMade":1,"arrivalTimestamp":7,"lastErrorCode":"DataFormatConversion.ParseError","lastErrorMessage":"m","attemptEndingTimestamp":8,"rawData":"eA==","sequenceNumber":"49","subSequenceNumber":null,"dataCatalogTable":{"catalogId":null}}"#,
                EntryPoint::Format,
                "DataFormatConversion.ParseError",
            ),
            (
                r#"{"attemptsMade":1,"arrivalTimestamp":7,"ErrorCode":"DataFormatConversion.MalformedData","ErrorMessage":"m","rawData":"eA==","sequenceNumber":"49"}"#,
                EntryPoint::Format,
                "DataFormatConversion.MalformedData",
            ),
            (
                r#"{"attemptsMade":5,"arrivalTimestamp":7,"errorCode":"HttpEndpoint.DestinationException","errorMessage":"m","rawData":"eA==","subsequenceNumber":0,"dataId":"4"}"#,
                EntryPoint::Deliver,
                "HttpEndpoint.DestinationException",
            ),
            (
                r#"{"attemptsMade":5,"arrivalTimestamp":7,"errorCode":"Splunk.AckTimeout","errorMessage":"m","rawData":"eA==","EventId":"4.0"}"#,
                EntryPoint::Deliver,
                "Splunk.AckTimeout",
            ),
            (
                r#"{"attemptsMade":5,"arrivalTimestamp":7,"errorCode":"400","errorMessage":"m","rawData":"eA==","esDocumentId":"4","esIndexName":"i","esTypeName":""}"#,
                EntryPoint::Deliver,
                "400",
            ),
            // An index that makes its ids itself; no id at all; OpenSearch Serverless; nothing but a status.
            (
                r#"{"attemptsMade":5,"arrivalTimestamp":7,"errorCode":"es.Rejected","errorMessage":"m","rawData":"eA==","esDocumentId":null,"esIndexName":"i","esTypeName":""}"#,
                EntryPoint::Deliver,
                "es.Rejected",
            ),
            (
                r#"{"attemptsMade":5,"arrivalTimestamp":7,"errorCode":"mapper_parsing_exception","errorMessage":"m","rawData":"eA==","esIndexName":"i","esTypeName":""}"#,
                EntryPoint::Deliver,
                "mapper_parsing_exception",
            ),
            (
                r#"{"attemptsMade":5,"arrivalTimestamp":7,"errorCode":"mapper_parsing_exception","errorMessage":"m","rawData":"eA==","osIndexName":null}"#,
                EntryPoint::Deliver,
                "mapper_parsing_exception",
            ),
            (r#"{"arrivalTimestamp":7,"errorCode":"429","rawData":"eA=="}"#, EntryPoint::Deliver, "429"),
            (
                r#"{"attemptsMade":1,"arrivalTimestamp":7,"lastErrorCode":"DataFormatConversion.ParseError","lastErrorMessage":"m","rawData":"eA==","sequenceNumber":"4","entry":"source"}"#,
                EntryPoint::Again,
                "DataFormatConversion.ParseError",
            ),
        ];
        for (line, entry, code) in cases {
            let expected = FailedRecord { entry, code: code.to_owned(), arrival_ms: 7, record: b"x".to_vec() };
            assert_eq!(FailedRecord::read(line.as_bytes()), Ok(expected), "{line}");
        }
        for wrong in ["", "x", "{}", r#"{"rawData":"*"}"#, r#"["eA==",null,null,7,null,null]"#] {
            assert!(FailedRecord::read(wrong.as_bytes()).unwrap_err().starts_with("no error record"), "{wrong}");
        }
    }

    #[test]
    fn a_conversion_failure_keeps_the_partition_keys_that_its_transform_gave() {
        let raw_data = "eA==".to_owned();
        let (error_code, error_message) = ("DataFormatConversion.ParseError", "m");
        let (attempts_made, arrival_timestamp, attempt_ending_timestamp) = (1, 7, 8);
        let record = ErrorRecord {
            raw_data,
            error_code,
            error_message,
            attempts_made,
            arrival_timestamp,
            attempt_ending_timestamp,
        };
        let keys = vec![("country".to_owned(), "NO".to_owned()), ("day".to_owned(), "1".to_owned())];
        let read = |keys: Option<&Keys>| {
            let mut line = Vec::new();
            record.conversion_line(4, keys, &mut line);
            let failed = FailedRecord::read(&line).unwrap();
            (failed.entry, failed.record, String::from_utf8(line).unwrap())
        };
        let (entry, packed, line) = read(Some(&keys));
        assert!(line.contains(r#""partitionKeys":{"country":"NO","day":"1"}"#), "{line}");
        let mut batch = crate::record::Records::default();
        batch.push(&packed);
        let (records, found) = keyed::unpack(&batch).unwrap();
        assert_eq!((entry, records.get(0), &found[0]), (EntryPoint::Keyed, &b"x"[..], &keys));
        let (entry, record, line) = read(Some(&Vec::new()));
        assert_eq!((entry, record), (EntryPoint::Format, b"x".to_vec()));
        assert!(!line.contains("partitionKeys"), "{line}");
        assert_eq!(read(None).0, EntryPoint::Again);
    }
}
