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

/// The same for records that a destination did not take (contract §4.7).
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

    /// The line for `http-endpoint-failed/`; offset and output number stand for AWS's id of the record.
    pub fn delivery_line(&self, (offset, output): (u64, u32), out: &mut Vec<u8>) {
        let record = DeliveryRecord {
            attempts_made: self.attempts_made,
            arrival_timestamp: self.arrival_timestamp,
            error_code: self.error_code,
            error_message: self.error_message,
            attempt_ending_timestamp: self.attempt_ending_timestamp,
            raw_data: &self.raw_data,
            subsequence_number: output,
            data_id: offset.to_string(),
        };
        push_line(&record, out);
    }
}

fn push_line(record: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, record).expect("strings and numbers always serialise into memory");
    out.push(b'\n');
}
