//! Whether an answer has what Kinesis always sends. The SDK puts zeros, empty texts and empty lists for what is missing,
//! and an answer that was cut short on its way would be one without records, the end of a shard, or another stream's.

use super::client::unfit;
use aws_sdk_kinesis::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeDeserializationInterceptorContextMut,
};
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::BoxError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyStream, StreamBody};
use hyper::body::Frame;
use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, de};
use std::fmt;

/// An answer of a stream's description.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeStreamSummary {
    #[serde(rename = "StreamDescriptionSummary")]
    _summary: WholeSummary,
}

#[derive(Deserialize)]
struct WholeSummary {
    #[serde(rename = "StreamARN")]
    _arn: WholeText,
    #[serde(rename = "StreamCreationTimestamp")]
    _created: Above,
    #[serde(rename = "RetentionPeriodHours")]
    _retention: Above,
}

#[derive(Deserialize)]
pub(super) struct ListShards {
    #[serde(rename = "Shards", deserialize_with = "some")]
    _shards: Vec<WholeShard>,
    #[serde(rename = "NextToken", default)]
    _next: Option<WholeText>,
}

#[derive(Deserialize)]
struct WholeShard {
    #[serde(rename = "ShardId")]
    _id: WholeText,
    #[serde(rename = "ParentShardId", default)]
    _parent: Option<WholeText>,
    #[serde(rename = "AdjacentParentShardId", default)]
    _other: Option<WholeText>,
    #[serde(rename = "HashKeyRange")]
    _hash_keys: HashKeys,
    #[serde(rename = "SequenceNumberRange")]
    _sequence: Sequence,
}

#[derive(Deserialize)]
struct HashKeys {
    #[serde(rename = "StartingHashKey")]
    _first: Digits,
    #[serde(rename = "EndingHashKey")]
    _last: Digits,
}

#[derive(Deserialize)]
struct Sequence {
    #[serde(rename = "StartingSequenceNumber")]
    _first: Digits,
    #[serde(rename = "EndingSequenceNumber", default)]
    _last: Option<Digits>,
}

#[derive(Deserialize)]
pub(super) struct GetShardIterator {
    #[serde(rename = "ShardIterator")]
    _iterator: WholeText,
}

#[derive(Deserialize)]
pub(super) struct GetRecords {
    #[serde(rename = "Records")]
    _records: Vec<WholeRecord>,
    #[serde(rename = "NextShardIterator", default)]
    _next: Option<WholeText>,
    #[serde(rename = "MillisBehindLatest")]
    _behind: i64,
}

/// What a consumer is sent.
#[derive(Deserialize)]
pub(super) struct SubscribeToShardEvent {
    #[serde(rename = "Records")]
    _records: Vec<WholeRecord>,
    #[serde(rename = "ContinuationSequenceNumber", default)]
    _next: Option<WholeText>,
    #[serde(rename = "MillisBehindLatest")]
    _behind: i64,
}

/// Its key may be missing: a stream can spread its records by itself.
#[derive(Deserialize)]
struct WholeRecord {
    #[serde(rename = "SequenceNumber")]
    _sequence: Digits,
    #[serde(rename = "ApproximateArrivalTimestamp")]
    _arrived: Above,
    #[serde(rename = "Data")]
    _data: Given,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeStreamConsumer {
    #[serde(rename = "ConsumerDescription")]
    _consumer: WholeConsumer,
}

#[derive(Deserialize)]
struct WholeConsumer {
    #[serde(rename = "ConsumerARN")]
    _arn: WholeText,
    #[serde(rename = "ConsumerStatus")]
    _status: WholeText,
}

/// A text that is looked at and not kept.
struct SeenText(fn(&str) -> bool, &'static str);

impl Visitor<'_> for SeenText {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        match (self.0)(text) {
            true => Ok(()),
            false => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

/// A text with something in it.
struct WholeText;

impl<'d> Deserialize<'d> for WholeText {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<WholeText, D::Error> {
        from.deserialize_str(SeenText(|text| !text.is_empty(), "a text that is not empty")).map(|()| WholeText)
    }
}

/// A number that is written as a text.
struct Digits;

impl<'d> Deserialize<'d> for Digits {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Digits, D::Error> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        from.deserialize_str(SeenText(is_number, "a number as a text")).map(|()| Digits)
    }
}

/// A text, which may be empty.
struct Given;

impl<'d> Deserialize<'d> for Given {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Given, D::Error> {
        from.deserialize_str(SeenText(|_| true, "a text")).map(|()| Given)
    }
}

/// A number above zero.
struct Above;

impl<'d> Deserialize<'d> for Above {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Above, D::Error> {
        match f64::deserialize(from)? {
            n if n > 0.0 => Ok(Above),
            n => Err(D::Error::invalid_value(de::Unexpected::Float(n), &"a number above zero")),
        }
    }
}

/// A list with something in it.
fn some<'d, D: Deserializer<'d>, T: Deserialize<'d>>(from: D) -> Result<Vec<T>, D::Error> {
    match Vec::deserialize(from)? {
        list if list.is_empty() => Err(D::Error::invalid_length(0, &"a list that is not empty")),
        list => Ok(list),
    }
}

type Look = fn(&[u8]) -> Result<(), serde_json::Error>;

/// Looks at the answers of one operation: one that lacks something becomes an error.
#[derive(Debug)]
pub(super) struct WholeAnswer(Look);

impl WholeAnswer {
    pub(super) fn of<T: de::DeserializeOwned>() -> WholeAnswer {
        WholeAnswer(|bytes| serde_json::from_slice::<T>(bytes).map(drop))
    }
}

impl Intercept for WholeAnswer {
    fn name(&self) -> &'static str {
        "Whole"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // What the SDK could not read is an error already.
        if context.response().status().is_success() && context.output_or_error().is_ok() {
            (self.0)(context.response().body().bytes().unwrap_or_default())?;
        }
        Ok(())
    }
}

/// Looks at the events of a subscription: one that lacks something breaks it.
#[derive(Debug)]
pub(super) struct WholeEvents;

/// An event's frame: its length, that of its headers, a checksum; headers; payload; a checksum.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

impl Intercept for WholeEvents {
    fn name(&self) -> &'static str {
        "WholeEvents"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response_mut();
        if answer.status().is_success() {
            let body = std::mem::replace(answer.body_mut(), SdkBody::taken());
            let mut begun = Vec::new();
            let looked_at = BodyStream::new(body).map(move |frame| {
                let frame: Frame<Bytes> = frame?;
                begun.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                while let Some(event) = next(&mut begun) {
                    look_at(&event)?;
                }
                Ok::<_, BoxError>(frame)
            });
            *answer.body_mut() = SdkBody::from_body_1_x(StreamBody::new(looked_at));
        }
        Ok(())
    }
}

/// The next frame, once all of it is there.
fn next(begun: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(begun.get(..4)?.try_into().ok()?) as usize;
    (length >= PRELUDE + CHECKSUM && begun.len() >= length).then(|| begun.drain(..length).collect())
}

fn look_at(frame: &[u8]) -> Result<(), BoxError> {
    let headers = u32::from_be_bytes(frame[4..8].try_into()?) as usize;
    let payload = PRELUDE + headers;
    // What is said in other frames, and whether they are frames, is for the SDK.
    let Some(named) = frame.get(PRELUDE..payload) else { return Ok(()) };
    let is_event = memchr::memmem::find(named, b"SubscribeToShardEvent").is_some();
    match frame.get(payload..frame.len() - CHECKSUM) {
        Some(payload) if is_event => {
            let event = serde_json::from_slice::<SubscribeToShardEvent>(payload);
            Ok(event.map(drop).inspect_err(|_| unfit("SubscribeToShard"))?)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(text: &str) -> Option<String> {
        (WholeAnswer::of::<GetRecords>().0)(text.as_bytes()).err().map(|e| e.to_string())
    }

    #[test]
    fn what_is_missing_is_named() {
        let record = r#"{"SequenceNumber":"5","ApproximateArrivalTimestamp":1.5,"Data":"","PartitionKey":"k"}"#;
        let whole = format!(r#"{{"Records":[{record}],"MillisBehindLatest":0}}"#);
        assert_eq!(looked(&whole), None);
        let says = |from: &str, to: &str| looked(&whole.replace(from, to)).expect("it lacks something");
        assert!(looked("{}").is_some_and(|e| e.contains("missing field `Records`")));
        assert!(says(r#","MillisBehindLatest":0"#, "").contains("missing field `MillisBehindLatest`"));
        assert!(says(r#""5""#, r#""""#).contains("a number as a text"));
        assert!(says("1.5", "0").contains("a number above zero"));
        assert!(says(r#""Data":"","#, "").contains("missing field `Data`"));
        assert!(says(r#""Data":"""#, r#""Data":null"#).contains("expected a text"));
    }
}
