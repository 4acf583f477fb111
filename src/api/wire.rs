//! Requests out of bytes and answers into bytes, with Firehose's limits checked before anything is allocated for them
//! (docs/firehose.md: "Operations").

use super::error::ApiError;
use super::json::{self, JsonText};
use super::model::Violations;
use crate::error::bounded;
use crate::json::JsonObject;
use crate::record::Records;
use hyper::HeaderMap;
use serde::Deserialize;

/// Decoded bytes of a record.
pub const RECORD_BYTES_MAX: usize = 1_024_000;
pub const BATCH_RECORDS_MAX: usize = 500;
/// Decoded bytes of a batch.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// A request's body: a full batch in base64 with room for JSON around it.
pub const BODY_BYTES_MAX: usize = 6 << 20;

/// A put, decoded.
#[derive(Debug, PartialEq, Eq)]
pub struct PutInput {
    pub stream: String,
    pub batch: Records,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawBatch<'a> {
    #[serde(borrow)]
    delivery_stream_name: Option<JsonText<'a>>,
    #[serde(borrow)]
    records: Option<json::JsonRecords<JsonObject<RawRecord<'a>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawSingle<'a> {
    #[serde(borrow)]
    delivery_stream_name: Option<JsonText<'a>>,
    #[serde(borrow)]
    record: Option<JsonObject<RawRecord<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawRecord<'a> {
    #[serde(borrow)]
    data: Option<JsonText<'a>>,
}

/// Longer accounts of what is wrong with a body repeat it.
const MESSAGE_BYTES_MAX: usize = 200;
const JSON: &str = "application/x-amz-json-1.1";

fn not_json(e: serde_json::Error) -> ApiError {
    let mut why = e.to_string();
    if why.len() > MESSAGE_BYTES_MAX {
        why = format!("a member of another type than expected at line {} column {}", e.line(), e.column());
    }
    ApiError::serialization(format!("The request body cannot be read: {why}"))
}

/// Refuses CBOR, which older SDKs speak to Kinesis: Firehose's model has JSON only. Whatever else a client calls its JSON is
/// let be.
pub fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers.get("content-type").and_then(|t| t.to_str().ok()).unwrap_or_default();
    if !given.split(';').next().unwrap_or_default().to_ascii_lowercase().contains("cbor") {
        return Ok(());
    }
    let given = bounded(given.to_owned(), MESSAGE_BYTES_MAX);
    let message = format!("found the Content-Type `{given}`, expected `{JSON}`");
    Err(ApiError::serialization(message))
}

/// Reads any operation's input.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let JsonObject(input) = serde_json::from_slice(body).map_err(not_json)?;
    Ok(input)
}

/// Reads `PutRecord`'s input.
pub fn put_record(body: &[u8]) -> Result<PutInput, ApiError> {
    let input: RawSingle = parse(body)?;
    let mut violations = Violations::default();
    let stream = violations.stream_name(input.delivery_stream_name.map(|JsonText(name)| name));
    let record = violations.required("record", input.record);
    let data = record.and_then(|JsonObject(record)| violations.required("record.data", record.data));
    let data = data.as_ref().map_or(&b""[..], |JsonText(data)| data.as_bytes());
    check_bytes(&mut violations, data, || "record.data".into());
    violations.check()?;
    let mut batch = Records::default();
    decode(data, &mut batch, || "record.data".into())?;
    Ok(PutInput { stream, batch })
}

/// Reads `PutRecordBatch`'s input: what every SDK writes by a scan, anything else by a full parser.
pub fn put_record_batch(body: &[u8]) -> Result<PutInput, ApiError> {
    let mut data = Vec::with_capacity(BATCH_RECORDS_MAX);
    let mut violations = Violations::default();
    if let Some(name) = scan(body, &mut data) {
        let stream = violations.stream_name(Some(String::from_utf8_lossy(name)));
        check_count(&mut violations, data.len());
        data.iter().enumerate().for_each(|(i, data)| check_bytes(&mut violations, data, || data_path(i)));
        violations.check()?;
        return decode_batch(stream, &data);
    }
    let input: RawBatch = parse(body)?;
    let stream = violations.stream_name(input.delivery_stream_name.map(|JsonText(name)| name));
    let records = violations.required("records", input.records);
    let data = records.as_ref().map(|json::JsonRecords(records)| data_of(&mut violations, records)).unwrap_or_default();
    violations.check()?;
    decode_batch(stream, &data)
}

/// The data of each record. Of a list that is too long nothing more is said: it was not kept whole.
fn data_of<'a>(violations: &mut Violations, records: &'a [Option<JsonObject<RawRecord>>]) -> Vec<&'a [u8]> {
    check_count(violations, records.len());
    if records.len() > BATCH_RECORDS_MAX {
        return Vec::new();
    }
    let mut all = Vec::with_capacity(records.len());
    for (i, record) in records.iter().enumerate() {
        let record = violations.required(&format!("records.{}.member", i + 1), record.as_ref());
        let data = record.and_then(|JsonObject(record)| violations.required(&data_path(i), record.data.as_ref()));
        let data = data.map_or(&b""[..], |JsonText(text)| text.as_bytes());
        check_bytes(violations, data, || data_path(i));
        all.push(data);
    }
    all
}

fn data_path(i: usize) -> String {
    format!("records.{}.member.data", i + 1)
}

fn check_count(violations: &mut Violations, records: usize) {
    match records {
        0 => violations.add("records", "Member must have length greater than or equal to 1"),
        1..=BATCH_RECORDS_MAX => {}
        _ => violations.add("records", "Member must have length less than or equal to 500"),
    }
}

fn check_bytes(violations: &mut Violations, base64: &[u8], path: impl Fn() -> String) {
    if decoded_bytes(base64) > RECORD_BYTES_MAX {
        violations.add(&path(), "Member must have length less than or equal to 1024000");
    }
}

fn decode_batch(stream: String, data: &[&[u8]]) -> Result<PutInput, ApiError> {
    let bytes: usize = data.iter().map(|d| decoded_bytes(d)).sum();
    if bytes > BATCH_BYTES_MAX {
        let message =
            format!("Records size exceeds 4 MB limit: found {bytes} bytes, expected at most {BATCH_BYTES_MAX}");
        return Err(ApiError::invalid_argument(message));
    }
    let mut batch = Records::with_capacity(data.len(), bytes + 64);
    for (i, data) in data.iter().enumerate() {
        decode(data, &mut batch, || data_path(i))?;
    }
    Ok(PutInput { stream, batch })
}

fn decoded_bytes(base64: &[u8]) -> usize {
    let padding = base64.iter().rev().take(2).filter(|b| **b == b'=').count();
    (base64.len() / 4 * 3).saturating_sub(padding)
}

fn decode(base64: &[u8], batch: &mut Records, path: impl Fn() -> String) -> Result<(), ApiError> {
    base64_simd::STANDARD
        .decode_append(base64, batch.tail())
        .map_err(|_| ApiError::serialization(format!("'{}' is not valid base64", path())))?;
    batch.end_record();
    Ok(())
}

/// Takes apart `{"DeliveryStreamName": "…", "Records": [{"Data": "…"}, …]}`, with white space anywhere between tokens and
/// the two members in either order. Anything else, escapes included, is `None` and goes to the full parser.
fn scan<'a>(body: &'a [u8], data: &mut Vec<&'a [u8]>) -> Option<&'a [u8]> {
    let mut scanner = Scanner { body, at: 0 };
    let (mut name, mut records) = (None, false);
    scanner.symbol(b'{')?;
    loop {
        match scanner.string()? {
            b"DeliveryStreamName" if name.is_none() => {
                scanner.symbol(b':')?;
                name = Some(scanner.string()?);
            }
            b"Records" if !records => {
                scanner.symbol(b':')?;
                scanner.records(data)?;
                records = true;
            }
            _ => return None,
        }
        match scanner.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    scanner.space();
    (scanner.at == body.len() && records).then_some(name?)
}

struct Scanner<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn space(&mut self) {
        while matches!(self.body.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Option<u8> {
        self.space();
        let byte = *self.body.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn symbol(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    /// A string without escapes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.symbol(b'"')?;
        let rest = &self.body[self.at..];
        let end = memchr::memchr2(b'"', b'\\', rest)?;
        self.at += end + 1;
        // That what is no ASCII is found out where the string is used: neither a name nor base64 has any.
        (rest[end] == b'"').then_some(&rest[..end])
    }

    fn records(&mut self, data: &mut Vec<&'a [u8]>) -> Option<()> {
        self.symbol(b'[')?;
        self.space();
        if self.body.get(self.at) == Some(&b']') {
            self.at += 1;
            return Some(());
        }
        loop {
            self.symbol(b'{')?;
            if self.string()? != b"Data" || data.len() > BATCH_RECORDS_MAX {
                return None;
            }
            self.symbol(b':')?;
            data.push(self.string()?);
            self.symbol(b'}')?;
            match self.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }
}

/// A record's id: opaque to clients, and to us the journal and the offset.
fn push_record_id(out: &mut Vec<u8>, lane: u64, offset: u64) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for word in [lane, offset] {
        for i in (0..16).rev() {
            out.push(HEX[(word >> (4 * i)) as usize & 15]);
        }
    }
}

/// `PutRecord`'s answer.
pub fn put_record_answer(lane: u64, offset: u64) -> Vec<u8> {
    let mut out = b"{\"RecordId\":\"".to_vec();
    push_record_id(&mut out, lane, offset);
    out.extend_from_slice(b"\",\"Encrypted\":false}");
    out
}

/// `PutRecordBatch`'s answer, compact: Fluent Bit looks for the bytes `"FailedPutCount":0`.
pub fn put_record_batch_answer(lane: u64, first: u64, records: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(80 + records * 50);
    out.extend_from_slice(b"{\"FailedPutCount\":0,\"Encrypted\":false,\"RequestResponses\":[");
    for i in 0..records as u64 {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"RecordId\":\"");
        push_record_id(&mut out, lane, first + i);
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b"]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full(body: &[u8]) -> Result<PutInput, ApiError> {
        let input: RawBatch = parse(body)?;
        let stream = input.delivery_stream_name.unwrap().0.into_owned();
        let records = input.records.unwrap().0;
        let data: Vec<&[u8]> =
            records.iter().map(|r| r.as_ref().unwrap().0.data.as_ref().unwrap().0.as_bytes()).collect();
        decode_batch(stream, &data)
    }

    proptest! {
        #[test]
        fn the_scan_and_the_parser_agree(
            records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..8),
            space in "[ \n]{0,2}",
            reversed in any::<bool>(),
        ) {
            let data: Vec<String> = records
                .iter()
                .map(|r| format!("{{{space}\"Data\"{space}:{space}\"{}\"{space}}}", base64_simd::STANDARD.encode_to_string(r)))
                .collect();
            let list = format!("\"Records\"{space}:{space}[{space}{}]", data.join(&format!("{space},{space}")));
            let name = format!("\"DeliveryStreamName\":{space}\"s\"");
            let body = if reversed { format!("{{{list},{name}}}") } else { format!("{{{name}{space},{list}}}{space}") };
            let found = put_record_batch(body.as_bytes()).unwrap();
            prop_assert!(scan(body.as_bytes(), &mut Vec::new()).is_some());
            prop_assert_eq!(&found, &full(body.as_bytes()).unwrap());
            prop_assert!(found.batch.iter().eq(records.iter().map(Vec::as_slice)));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = put_record_batch(&body);
            let _ = put_record(&body);
        }
    }

    #[test]
    fn no_more_records_are_kept_than_a_batch_may_have() {
        let body = format!("{{\"DeliveryStreamName\":\"s\",\"Records\":[{}{{}}]}}", "{},".repeat(1_000_000));
        let input: RawBatch = parse(body.as_bytes()).unwrap();
        assert_eq!(input.records.unwrap().0.len(), BATCH_RECORDS_MAX + 1);
        let refused = put_record_batch(body.as_bytes()).unwrap_err();
        assert_eq!(refused.code, "ValidationException");
        assert!(
            refused
                .message
                .ends_with("'records' failed to satisfy constraint: Member must have length less than or equal to 500"),
            "{refused:?}"
        );
    }

    #[test]
    fn a_member_of_another_type_is_refused_without_words_of_ours() {
        let long = format!("{{\"DeliveryStreamName\":\"s\",\"Record\":\"{}\"}}", "x".repeat(100_000));
        for body in [
            r#"["s",["eA=="]]"#,
            r#"{"DeliveryStreamName":"s","Record":["eA=="]}"#,
            r#"{"DeliveryStreamName":"s","Record":"eA=="}"#,
            r#"{"DeliveryStreamName":"s","Record":{"Data":["eA=="]}}"#,
            r#"{"DeliveryStreamName":{"s":1},"Record":{"Data":"eA=="}}"#,
            &long,
        ] {
            let refused = put_record(body.as_bytes()).unwrap_err();
            assert_eq!(refused.code, "SerializationException", "{body}");
            assert!(!refused.message.contains("Raw") && !refused.message.contains("struct"), "{refused:?}");
            assert!(refused.message.len() < 300, "{} bytes", refused.message.len());
        }
        for body in [r#"["s",[{"Data":"eA=="}]]"#, r#"{"DeliveryStreamName":"s","Records":[["eA=="]]}"#] {
            let refused = put_record_batch(body.as_bytes()).unwrap_err();
            assert_eq!(refused.code, "SerializationException", "{body}");
        }
    }

    #[test]
    fn limits_are_the_services_own() {
        let put = |records: &[usize]| {
            let data: Vec<String> = records
                .iter()
                .map(|n| format!("{{\"Data\":\"{}\"}}", base64_simd::STANDARD.encode_to_string(vec![b'x'; *n])))
                .collect();
            put_record_batch(format!("{{\"DeliveryStreamName\":\"s\",\"Records\":[{}]}}", data.join(",")).as_bytes())
        };
        let code = |r: Result<PutInput, ApiError>| r.map(|p| p.batch.len()).map_err(|e| e.code);
        assert_eq!(code(put(&[RECORD_BYTES_MAX, 0])), Ok(2));
        assert_eq!(code(put(&[RECORD_BYTES_MAX + 1])), Err("ValidationException"));
        assert_eq!(code(put(&[1; 500])), Ok(500));
        assert_eq!(code(put(&[1; 501])), Err("ValidationException"));
        assert_eq!(code(put(&[1_000_000, 1_000_000, 1_000_000, 1_000_000, 194_304])), Ok(5));
        assert_eq!(code(put(&[1_000_000, 1_000_000, 1_000_000, 1_000_000, 194_305])), Err("InvalidArgumentException"));
        assert_eq!(code(put(&[])), Err("ValidationException"));
        let bad = put_record_batch(br#"{"DeliveryStreamName":"s","Records":[{"Data":"%%%%"}]}"#);
        assert_eq!(code(bad), Err("SerializationException"));
        let wrong = put_record_batch(br#"{"DeliveryStreamName":5,"Records":[]}"#);
        assert_eq!(code(wrong), Err("SerializationException"));
        let nested = format!("{{\"DeliveryStreamName\":{}", "[".repeat(100_000));
        assert_eq!(code(put_record_batch(nested.as_bytes())), Err("SerializationException"));
    }
}
