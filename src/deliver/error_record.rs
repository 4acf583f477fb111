//! Firehose's error records: one JSON object per line, in the order AWS writes the members, so that whatever reads
//! AWS's failure objects reads ours.

use serde::Serialize;

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
}

impl ErrorRecord<'_> {
    /// The line for `processing-failed/`.
    pub fn line(&self, out: &mut Vec<u8>) {
        push_line(self, out);
    }

    /// The line for `format-conversion-failed/`; the record's offset stands for AWS's sequence number.
    pub fn conversion_line(&self, offset: u64, out: &mut Vec<u8>) {
        let record = ConversionRecord {
            attempts_made: self.attempts_made,
            arrival_timestamp: self.arrival_timestamp,
            last_error_code: self.error_code,
            last_error_message: self.error_message,
            attempt_ending_timestamp: self.attempt_ending_timestamp,
            raw_data: &self.raw_data,
            sequence_number: offset.to_string(),
            sub_sequence_number: 0,
        };
        push_line(&record, out);
    }
}

fn push_line(record: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, record).expect("strings and numbers always serialise into memory");
    out.push(b'\n');
}
