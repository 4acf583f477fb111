//! The API of Kinesis Data Streams as far as a reader needs it.

use super::whole::{self, WholeAnswer, WholeEvents};
use crate::aws::Login;
use crate::config;
use crate::error::{Error, Kind, Result};
use arc_swap::ArcSwap;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Intercept;
use aws_sdk_kinesis::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_kinesis::config::{ConfigBag, RuntimeComponents};
use aws_sdk_kinesis::error::{BoxError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::event_stream::EventReceiver;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{ConsumerStatus, ShardIteratorType, StartingPosition, SubscribeToShardEventStream};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A consumer is registered in seconds.
const CONSUMER_TRIES: u32 = 30;
const CONSUMER_PAUSE: Duration = Duration::from_millis(500);

/// What a consumer is sent of a shard.
pub type Subscription = EventReceiver<SubscribeToShardEventStream, SubscribeToShardEventStreamError>;

/// A client of one stream of Kinesis Data Streams. Nothing is retried here. Clones are one: what is changed in one is changed
/// in all.
#[derive(Clone)]
pub struct KinesisClient {
    connected: Arc<ArcSwap<Connected>>,
}

struct Connected {
    client: Client,
    settings: config::Kinesis,
}

/// What is known of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    pub arn: String,
    /// Milliseconds since the Unix epoch. A stream that was deleted and made again is another one.
    pub created_ms: u64,
    pub retention: Duration,
    /// The service's own clock, in milliseconds since the Unix epoch, up to a second behind; `None`: it does not say.
    pub now_ms: Option<u64>,
}

/// A shard as the stream lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedShard {
    pub id: String,
    /// The shards that it was made from by a split (one) or a merge (two); they may not be listed any more.
    pub parents: Vec<String>,
    /// The first and the last hash key of its records, in decimal.
    pub hash_keys: Option<(String, String)>,
    /// It was split or merged, and takes no more records.
    pub is_closed: bool,
}

/// Where an iterator begins.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    TrimHorizon,
    /// Milliseconds since the Unix epoch.
    Timestamp(u64),
    Sequence(&'a str),
}

/// Why Kinesis did not do what was asked.
#[derive(Clone, Debug)]
pub struct RefusedCall {
    pub what: What,
    /// Its code and message, or what the connection said.
    pub message: String,
}

/// What a refusal means for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Too often or too much: the same again, later.
    Throttled,
    /// The iterator is of no use any more: another one.
    Iterator,
    /// No answer came, or one that the service failed: the same again.
    Unanswered,
    /// There is no such stream or consumer, or there was none: it may be another one that is there next.
    Missing,
    /// The same again; a person may have to act.
    Other,
}

/// Who we are to the services of a source.
pub(super) fn login(settings: &config::Kinesis) -> Login<'_> {
    Login {
        region: &settings.region,
        access_key_id: settings.access_key_id.as_deref(),
        secret_access_key: settings.secret_access_key.as_ref(),
        session_token: settings.session_token.as_ref(),
        role_arn: settings.role_arn.as_deref(),
    }
}

async fn connected(settings: &config::Kinesis) -> Result<Arc<Connected>> {
    let config = login(settings).config(settings.endpoint.as_deref(), settings.timeout).await?;
    Ok(Arc::new(Connected { client: Client::new(&config), settings: settings.clone() }))
}

/// The time at which an answer was made, in milliseconds since the Unix epoch, if it says so.
#[derive(Clone, Debug, Default)]
struct Date(Arc<Mutex<Option<u64>>>);

impl Intercept for Date {
    fn name(&self) -> &'static str {
        "Date"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let at = date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()).map(|at| at.timestamp().as_millisecond());
        *self.0.lock().expect("nobody panics holding it") = at.and_then(|ms| u64::try_from(ms).ok());
        Ok(())
    }
}

impl KinesisClient {
    /// Makes the client. Nothing is sent yet.
    pub async fn connect(settings: &config::Kinesis) -> Result<KinesisClient> {
        Ok(KinesisClient { connected: Arc::new(ArcSwap::new(connected(settings).await?)) })
    }

    /// The next calls are made as another one makes them.
    pub fn follow(&self, other: &KinesisClient) {
        self.connected.store(other.connected.load_full());
    }

    fn client(&self) -> Client {
        self.connected.load().client.clone()
    }

    /// Between two requests for a shard's records when there are no more.
    pub fn poll_interval(&self) -> Duration {
        self.connected.load().settings.poll_interval
    }

    /// Between two looks for shards, and for a consumer.
    pub fn shards_interval(&self) -> Duration {
        self.connected.load().settings.shards_interval
    }

    /// Name and ARN, of which a request has one.
    fn stream(&self) -> (Option<String>, Option<String>) {
        let given = self.connected.load().settings.stream.clone();
        if given.starts_with("arn:") { (None, Some(given)) } else { (Some(given), None) }
    }

    pub async fn summary(&self) -> Result<StreamSummary> {
        let (name, arn) = self.stream();
        let request = self.client().describe_stream_summary().set_stream_name(name).set_stream_arn(arn);
        let date = Date::default();
        let answer = request
            .customize()
            .interceptor(date.clone())
            .interceptor(WholeAnswer::of::<whole::DescribeStreamSummary>())
            .send()
            .await
            .map_err(|e| refused("DescribeStreamSummary", &e).about("DescribeStreamSummary"))?;
        let found = answer.stream_description_summary();
        let found =
            found.ok_or_else(|| Error::new(Kind::Retry, "DescribeStreamSummary: an answer without a summary"))?;
        let created = found.stream_creation_timestamp().to_millis().unwrap_or(0);
        Ok(StreamSummary {
            arn: found.stream_arn().to_owned(),
            created_ms: created.max(0) as u64,
            retention: Duration::from_secs(3600 * found.retention_period_hours().max(0) as u64),
            now_ms: *date.0.lock().expect("nobody panics holding it"),
        })
    }

    /// Every shard whose records may still be there. Parents are named by every shard that has them: a list in which they
    /// are not is none.
    pub async fn shards(&self) -> Result<Vec<ListedShard>> {
        let (mut shards, mut token) = (Vec::new(), None);
        loop {
            let request = self.client().list_shards();
            let request = match token.take() {
                Some(token) => request.next_token(token),
                None => {
                    let (name, arn) = self.stream();
                    request.set_stream_name(name).set_stream_arn(arn)
                }
            };
            let request = request.customize().interceptor(WholeAnswer::of::<whole::ListShards>());
            let answer = request.send().await.map_err(|e| refused("ListShards", &e).about("ListShards"))?;
            shards.extend(answer.shards().iter().map(|shard| {
                ListedShard {
                    id: shard.shard_id().to_owned(),
                    parents: [shard.parent_shard_id(), shard.adjacent_parent_shard_id()]
                        .into_iter()
                        .flatten()
                        .map(str::to_owned)
                        .collect(),
                    hash_keys: shard
                        .hash_key_range()
                        .map(|range| (range.starting_hash_key().to_owned(), range.ending_hash_key().to_owned())),
                    is_closed: shard.sequence_number_range().is_some_and(|r| r.ending_sequence_number().is_some()),
                }
            }));
            match answer.next_token() {
                Some(next) => token = Some(next.to_owned()),
                None => break,
            }
        }
        match without_its_parents(&shards) {
            None => Ok(shards),
            Some((one, other)) => {
                unfit("ListShards");
                let message = format!(
                    "ListShards: `{one}` and `{other}` have hash keys in common, and neither was made from the other"
                );
                Err(Error::new(Kind::Retry, message))
            }
        }
    }

    pub async fn iterator(&self, shard: &str, at: At<'_>) -> std::result::Result<String, RefusedCall> {
        let (name, arn) = self.stream();
        let request = self.client().get_shard_iterator().set_stream_name(name).set_stream_arn(arn).shard_id(shard);
        let request = match at {
            At::TrimHorizon => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            At::Timestamp(ms) => {
                let at = aws_sdk_kinesis::primitives::DateTime::from_millis(ms as i64);
                request.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(at)
            }
            At::Sequence(sequence) => {
                request.shard_iterator_type(ShardIteratorType::AtSequenceNumber).starting_sequence_number(sequence)
            }
        };
        let request = request.customize().interceptor(WholeAnswer::of::<whole::GetShardIterator>());
        let answer = request.send().await.map_err(|e| refused("GetShardIterator", &e))?;
        let none = || RefusedCall { what: What::Other, message: "an answer without an iterator".to_owned() };
        answer.shard_iterator.ok_or_else(none)
    }

    /// The ARN of the stream's consumer of this name, which is registered if it is not there.
    pub async fn consumer(&self, stream_arn: &str, name: &str) -> Result<String> {
        for _ in 0..CONSUMER_TRIES {
            let asked = self.client().describe_stream_consumer().stream_arn(stream_arn).consumer_name(name);
            let asked = asked.customize().interceptor(WholeAnswer::of::<whole::DescribeStreamConsumer>());
            match asked.send().await {
                Ok(answer) => {
                    let found = answer.consumer_description();
                    if let Some(found) = found.filter(|c| *c.consumer_status() == ConsumerStatus::Active) {
                        return Ok(found.consumer_arn().to_owned());
                    }
                }
                Err(e) if e.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
                    let request = self.client().register_stream_consumer().stream_arn(stream_arn).consumer_name(name);
                    match request.send().await {
                        // Somebody else is at it.
                        Err(e) if e.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) => {}
                        Err(e) => return Err(refused("RegisterStreamConsumer", &e).about("RegisterStreamConsumer")),
                        Ok(_) => {}
                    }
                }
                Err(e) => return Err(refused("DescribeStreamConsumer", &e).about("DescribeStreamConsumer")),
            }
            tokio::time::sleep(CONSUMER_PAUSE).await;
        }
        Err(Error::new(Kind::Retry, format!("consumer `{name}` is still being registered")))
    }

    /// Whether the stream has a consumer of this name.
    pub async fn has_consumer(&self, stream_arn: &str, name: &str) -> Result<bool> {
        match self.client().describe_stream_consumer().stream_arn(stream_arn).consumer_name(name).send().await {
            Ok(_) => Ok(true),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => Ok(false),
            Err(e) => Err(refused("DescribeStreamConsumer", &e).about("DescribeStreamConsumer")),
        }
    }

    /// Has a shard's records sent to a consumer.
    pub async fn subscribe(
        &self,
        consumer: &str,
        shard: &str,
        at: At<'_>,
    ) -> std::result::Result<Subscription, RefusedCall> {
        let start = StartingPosition::builder();
        let start = match at {
            At::TrimHorizon => start.r#type(ShardIteratorType::TrimHorizon),
            At::Timestamp(ms) => {
                let at = aws_sdk_kinesis::primitives::DateTime::from_millis(ms as i64);
                start.r#type(ShardIteratorType::AtTimestamp).timestamp(at)
            }
            At::Sequence(sequence) => start.r#type(ShardIteratorType::AtSequenceNumber).sequence_number(sequence),
        };
        let start = start.build().map_err(|e| RefusedCall { what: What::Other, message: e.to_string() })?;
        let request = self.client().subscribe_to_shard().consumer_arn(consumer).shard_id(shard);
        let request = request.starting_position(start).customize().interceptor(WholeEvents);
        let answer = request.send().await.map_err(|e| refused("SubscribeToShard", &e))?;
        Ok(answer.event_stream)
    }

    /// So many records at most.
    pub async fn records(&self, iterator: &str, most: usize) -> std::result::Result<GetRecordsOutput, RefusedCall> {
        let request = self.client().get_records().shard_iterator(iterator).limit(most as i32);
        let request = request.customize().interceptor(WholeAnswer::of::<whole::GetRecords>());
        request.send().await.map_err(|e| refused("GetRecords", &e))
    }
}

impl RefusedCall {
    fn about(self, operation: &str) -> Error {
        let kind =
            if matches!(self.what, What::Throttled | What::Unanswered) { Kind::Retry } else { Kind::Misconfigured };
        Error::new(kind, format!("{operation}: {}", self.message))
    }
}

/// Two shards of which one must have been made from the other, though it does not say so: of those whose parents are not
/// listed no two have a hash key in common. That two share the last and the first of theirs is how some emulators count.
fn without_its_parents(shards: &[ListedShard]) -> Option<(&str, &str)> {
    let ids: HashSet<&String> = shards.iter().map(|shard| &shard.id).collect();
    let is_first = |shard: &&ListedShard| !shard.parents.iter().any(|parent| ids.contains(parent));
    let number = |text: &str| text.parse::<u128>().unwrap_or(u128::MAX);
    let range = |shard: &ListedShard| shard.hash_keys.as_ref().map(|(first, last)| (number(first), number(last)));
    let mut firsts: Vec<_> = shards.iter().filter(is_first).filter_map(|s| Some((range(s)?, s.id.as_str()))).collect();
    firsts.sort_unstable();
    let overlap = firsts.windows(2).find(|pair| pair[1].0.0 < pair[0].0.1);
    overlap.map(|pair| (pair[0].1, pair[1].1))
}

/// Counts an answer that cannot be what the service sends.
pub(super) fn unfit(operation: &'static str) {
    metrics::counter!("hydrant_kinesis_answers_unfit", &[("Operation", operation)]).increment(1);
}

fn refused<E>(operation: &'static str, error: &SdkError<E>) -> RefusedCall
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let meta = error.as_service_error().map(ProvideErrorMetadata::meta);
    if let SdkError::ResponseError(e) = error
        && e.raw().status().is_success()
    {
        unfit(operation);
        // Not the answer itself, which may be records.
        let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
        return RefusedCall {
            what: What::Unanswered,
            message: format!("an answer that cannot be what was sent{cause}"),
        };
    }
    let Some(code) = meta.and_then(|m| m.code()) else {
        return RefusedCall { what: What::Unanswered, message: DisplayErrorContext(error).to_string() };
    };
    let what = match code {
        "ProvisionedThroughputExceededException"
        | "LimitExceededException"
        | "KMSThrottlingException"
        | "ThrottlingException"
        // The subscription before this one is not over yet.
        | "ResourceInUseException" => What::Throttled,
        "ResourceNotFoundException" => What::Missing,
        "ExpiredIteratorException" | "InvalidArgumentException" => What::Iterator,
        _ => What::Other,
    };
    let failed = matches!(error, SdkError::ServiceError(e) if e.raw().status().is_server_error());
    let what = if failed && what == What::Other { What::Unanswered } else { what };
    let message = meta.and_then(|m| m.message()).unwrap_or("no message");
    RefusedCall { what, message: format!("{code}: {message}") }
}
