//! Firehose's operations over the streams of a node.

use super::connections::{Connections, connections_max};
use super::describe::{Standing, add_times, arn, description};
use super::error::ApiError;
use super::health::Health;
use super::model::Violations;
use super::tally::{Calls, Tallies, Tally};
use super::{reload, sigv4, tls, wire};
use crate::clock::{Clock, System};
use crate::config::{self, Config};
use crate::error::{Error, Kind, Result};
use crate::stream::node::Node;
use crate::stream::roster::NotOpen;
use crate::stream::supervise::Stream;
use arc_swap::{ArcSwap, ArcSwapOption};
use hyper::HeaderMap;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Number, Value, json};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

const TARGET_PREFIX: &str = "Firehose_20150804.";
/// What Firehose says of a put into a stream that reads from Kinesis.
const NOT_PERMITTED: &str = "This operation is not permitted on KinesisStreamAsSource delivery stream type.";

/// The API of a node. The configuration is swapped by a reload.
pub struct FirehoseApi {
    node: Arc<Node>,
    config: ArcSwap<Config>,
    tls: ArcSwapOption<TlsAcceptor>,
    clock: System,
    signing_keys: sigv4::SigningKeys,
    tallies: Tallies,
    lists: Calls,
    health: Health,
    /// Once the API is served.
    connections: OnceLock<Arc<Connections>>,
}

/// An answer's status and body.
pub(super) type ApiAnswer = Result<Vec<u8>, ApiError>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named<'a> {
    #[serde(borrow)]
    delivery_stream_name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Describe<'a> {
    #[serde(borrow)]
    delivery_stream_name: Option<Cow<'a, str>>,
    limit: Option<Number>,
    exclusive_start_destination_id: Option<String>,
}

/// `ListTagsForDeliveryStream`, beside its name.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tags {
    limit: Option<Number>,
    exclusive_start_tag_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListInput {
    limit: Option<Number>,
    delivery_stream_type: Option<String>,
    exclusive_start_delivery_stream_name: Option<String>,
}

/// A configuration that can come into force, with the certificate that its files hold now.
pub struct Admitted {
    pub config: Config,
    tls: Option<Arc<TlsAcceptor>>,
}

impl Admitted {
    fn new(config: Config) -> Result<Admitted> {
        let tls = config.api.tls.as_ref().map(tls::acceptor).transpose()?;
        Ok(Admitted { config, tls: tls.map(Arc::new) })
    }
}

/// A call that was authenticated.
struct Call<'a> {
    config: &'a Config,
    /// The access key that signed it.
    key: Option<&'a str>,
    operation: &'a str,
    /// When it came, by the steady clock.
    began: Duration,
}

impl FirehoseApi {
    /// An error names the file of a certificate that cannot be used.
    pub fn new(node: Arc<Node>, config: Config) -> Result<Self> {
        let Admitted { config, tls } = Admitted::new(config)?;
        let (config, tls) = (ArcSwap::from_pointee(config), tls.into());
        let (clock, signing_keys, tallies) = (System::default(), Default::default(), Tallies::default());
        let (lists, health, connections) = (Calls::of_list(), Health::default(), OnceLock::new());
        Ok(FirehoseApi { node, config, tls, clock, signing_keys, tallies, lists, health, connections })
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The connections of the server that serves it: made when they are first asked for, when everything else is open that is
    /// there before the first of them.
    pub fn connections(&self) -> &Arc<Connections> {
        self.connections.get_or_init(|| Connections::new(connections_max(self.config().api.max_connections)))
    }

    /// Why clients are turned away, if one was not long ago.
    pub fn turned_away(&self) -> Option<String> {
        self.connections.get().and_then(|connections| connections.refusal())
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Accepts TLS for connections that come now, if they are to be of TLS.
    pub fn acceptor(&self) -> Option<Arc<TlsAcceptor>> {
        self.tls.load_full()
    }

    /// What of a reloaded configuration can come into force; what needs a restart is logged and keeps its value. Refused
    /// is one that would open the bound address to everybody, or whose certificate cannot be used.
    pub fn admit(&self, config: Config) -> Result<Admitted, String> {
        let (config, kept) = reload::admit(&self.config(), config)?;
        for key in kept {
            tracing::warn!(key, "the key needs a restart; its old value stays in force");
        }
        Admitted::new(config).map_err(|e| e.to_string())
    }

    /// Brings an admitted configuration into force.
    pub fn set_config(&self, Admitted { config, tls }: Admitted) {
        self.tls.store(tls);
        self.config.store(Arc::new(config));
    }

    /// Answers one request whose body has been read.
    pub async fn answer(&self, headers: &HeaderMap, body: &[u8]) -> ApiAnswer {
        let config = self.config();
        let began = self.clock.steady();
        let target = headers.get("x-amz-target").and_then(|t| t.to_str().ok()).unwrap_or_default();
        let key = self.authenticate(&config, headers, body)?;
        wire::check_content_type(headers)?;
        let Some(operation) = target.strip_prefix(TARGET_PREFIX) else {
            return Err(ApiError::new(400, "UnknownOperationException", format!("unknown target `{target}`")));
        };
        metrics::counter!("hydrant_api_requests", "operation" => known_operation(operation)).increment(1);
        match operation {
            "PutRecord" => {
                let input = wire::put_record(body)?;
                let (lane, first, _) = self.put(Call { config: &config, key, operation, began }, input).await?;
                Ok(wire::put_record_answer(lane, first))
            }
            "PutRecordBatch" => {
                let input = wire::put_record_batch(body)?;
                let (lane, first, records) = self.put(Call { config: &config, key, operation, began }, input).await?;
                Ok(wire::put_record_batch_answer(lane, first, records))
            }
            "DescribeDeliveryStream" => self.describe(&config, key, body, began),
            "ListDeliveryStreams" => {
                let answer = self.list(&config, key, body);
                self.lists.count(self.since(began));
                answer
            }
            _ => self.refuse(&config, key, operation, body),
        }
    }

    /// The access key that a request says it is signed with, looked at before its body is taken: `None` where there is one at
    /// most. Errors: what no body can mend.
    pub fn claimed_key(&self, headers: &HeaderMap) -> Result<Option<String>, ApiError> {
        let config = self.config();
        let keys = &config.api.access_keys;
        if keys.is_empty() {
            return Ok(None);
        }
        let now = self.clock.wall_ms() / 1000;
        let key = sigv4::claimed_key(headers, now, config.api.clock_skew, &|id| keys.contains_key(id))?;
        Ok((keys.len() > 1).then(|| key.to_owned()))
    }

    /// The access key that signed the request; `None` where none is configured.
    fn authenticate<'a>(
        &self,
        config: &Config,
        headers: &'a HeaderMap,
        body: &[u8],
    ) -> Result<Option<&'a str>, ApiError> {
        if config.api.access_keys.is_empty() {
            return Ok(None);
        }
        let secret = |id: &str| config.api.access_keys.get(id).map(|k| k.secret.expose_secret().to_owned());
        let now = self.clock.wall_ms() / 1000;
        sigv4::verify(headers, body, (now, config.api.clock_skew), &secret, &self.signing_keys).map(Some)
    }

    fn authorize(
        &self,
        config: &Config,
        key: Option<&str>,
        operation: &str,
        stream: Option<&str>,
    ) -> Result<(), ApiError> {
        let Some(id) = key else { return Ok(()) };
        if config.api.access_keys.get(id).is_some_and(|k| k.allows(operation, stream)) {
            return Ok(());
        }
        let account = &config.api.account;
        let resource = arn(config, stream.unwrap_or("*"));
        let message = format!(
            "User: arn:aws:iam::{account}:user/{id} is not authorized to perform: firehose:{operation} on resource: \
             {resource}"
        );
        Err(ApiError::new(400, "AccessDeniedException", message))
    }

    fn stream(&self, config: &Config, name: &str) -> Result<Arc<Stream>, ApiError> {
        match self.node.lookup(name) {
            Some(Ok(stream)) => Ok(stream),
            // Why it failed was logged when it did.
            Some(Err(_)) => Err(ApiError::closed(name)),
            None => Err(ApiError::not_found(name, &config.api.account)),
        }
    }

    /// Puts a batch: the lane's number, the first offset, the number of records.
    async fn put(&self, call: Call<'_>, input: wire::PutInput) -> Result<(u64, u64, usize), ApiError> {
        let Call { config, key, operation, began } = call;
        self.authorize(config, key, operation, Some(&input.stream))?;
        let (records, bytes) = (input.batch.len(), input.batch.bytes().len());
        let stream = self.stream(config, &input.stream).inspect_err(|e| {
            if e.status == 503 {
                self.tallies.of(&input.stream).throttled(records);
            }
        })?;
        if stream.is_retired() {
            return Err(ApiError::not_found(&input.stream, &config.api.account));
        }
        if !stream.takes_puts() {
            return Err(ApiError::invalid_argument(NOT_PERMITTED));
        }
        let tally = self.tallies.of(&input.stream);
        let put = stream.put(input.batch).await;
        tally.put(operation).calls.count(self.since(began));
        match put {
            Ok(first) => {
                tally.accepted(operation, records, bytes);
                Ok((stream.lane(), first, records))
            }
            // It left the configuration since we looked.
            Err(e) if e.kind == Kind::Invalid && stream.is_retired() => {
                Err(ApiError::not_found(&input.stream, &config.api.account))
            }
            Err(e) => Err(self.refused(&input.stream, &tally, records, &e)),
        }
    }

    /// A put that the stream did not take: counted, told to the log in full and to the client in general.
    fn refused(&self, stream: &str, tally: &Tally, records: usize, e: &Error) -> ApiError {
        let answer = ApiError::refused(stream, e);
        if e.kind == Kind::Stopping {
            return answer;
        }
        if answer.status == 503 {
            tally.throttled(records);
        }
        if tally.logs_refusal(self.clock.steady()) {
            tracing::warn!(stream, error = %e, "a put was refused");
        }
        answer
    }

    fn since(&self, began: Duration) -> Duration {
        self.clock.steady().saturating_sub(began)
    }

    fn list(&self, config: &Config, key: Option<&str>, body: &[u8]) -> ApiAnswer {
        let input: ListInput = wire::parse(body)?;
        self.authorize(config, key, "ListDeliveryStreams", None)?;
        let mut violations = Violations::default();
        let limit = violations.limit(input.limit, 1..=10_000, 10)?;
        let of_type = input.delivery_stream_type.as_deref();
        of_type.into_iter().for_each(|of| violations.stream_type(of));
        let after = input.exclusive_start_delivery_stream_name.as_deref();
        after.into_iter().for_each(|after| violations.name("exclusiveStartDeliveryStreamName", after));
        violations.check()?;
        let after = after.unwrap_or_default();
        let names: Vec<String> = self
            .node
            .names()
            .into_iter()
            .filter(|n| of_type.is_none_or(|t| t == super::describe::stream_type(config, n)) && n.as_str() > after)
            .collect();
        let more = names.len() > limit as usize;
        let names = &names[..names.len().min(limit as usize)];
        Ok(to_bytes(&json!({ "DeliveryStreamNames": names, "HasMoreDeliveryStreams": more })))
    }

    fn describe(&self, config: &Config, key: Option<&str>, body: &[u8], began: Duration) -> ApiAnswer {
        let input: Describe = wire::parse(body)?;
        let mut violations = Violations::default();
        let name = violations.stream_name(input.delivery_stream_name);
        violations.limit(input.limit, 1..=10_000, 1)?;
        input.exclusive_start_destination_id.iter().for_each(|id| violations.destination_id(id));
        violations.check()?;
        self.authorize(config, key, "DescribeDeliveryStream", Some(&name))?;
        let Some((standing, epoch)) = self.standing(config, &name) else {
            return Err(ApiError::not_found(&name, &config.api.account));
        };
        let mut description = description(config, &name, standing, epoch);
        if let Some(Ok(stream)) = self.node.lookup(&name) {
            add_times(&mut description, &stream);
        }
        let answer = to_bytes(&json!({ "DeliveryStreamDescription": description }));
        self.tallies.of(&name).describe().count(self.since(began));
        Ok(answer)
    }

    /// How a stream stands, and its epoch; `None` if there is none of that name.
    fn standing(&self, config: &Config, name: &str) -> Option<(Standing, u32)> {
        let configured = config.streams.contains_key(name);
        let standing = match (configured, self.node.lookup(name)) {
            (_, Some(Ok(stream))) => {
                let standing = match (stream.is_retired(), stream.is_broken() || stream.refuses_puts()) {
                    (false, false) => Standing::Active,
                    (false, true) => Standing::Failed,
                    (true, false) => Standing::Retired,
                    (true, true) => Standing::RetiredFailed,
                };
                return Some((standing, stream.epoch()));
            }
            (true, Some(Err(NotOpen::Opening))) => Standing::Creating,
            (true, Some(Err(_))) => Standing::Failed,
            (true, None) => Standing::Creating,
            (false, Some(Err(_))) => Standing::RetiredFailed,
            (false, None) => return None,
        };
        Some((standing, 1))
    }

    /// What the configuration file decides cannot be changed through the API; each operation says so with an error that
    /// its model knows.
    fn refuse(&self, config: &Config, key: Option<&str>, operation: &str, body: &[u8]) -> ApiAnswer {
        if known_operation(operation) == "unknown" {
            return Err(ApiError::new(400, "UnknownOperationException", format!("unknown operation `{operation}`")));
        }
        let input: Named = wire::parse(body)?;
        let mut violations = Violations::default();
        let name = violations.stream_name(input.delivery_stream_name);
        if operation == "ListTagsForDeliveryStream" {
            let tags: Tags = wire::parse(body)?;
            tags.exclusive_start_tag_key.iter().for_each(|key| violations.tag_key("exclusiveStartTagKey", key));
            violations.limit(tags.limit, 1..=50, 10)?;
        }
        violations.check()?;
        self.authorize(config, key, operation, Some(&name))?;
        let exists = self.standing(config, &name).is_some();
        let file = "delivery streams are defined in the configuration file; change it there and reload";
        match (operation, exists) {
            ("CreateDeliveryStream", true) => {
                let message = format!("Firehose {name} under accountId {} already exists", config.api.account);
                Err(ApiError::new(400, "ResourceInUseException", message))
            }
            ("CreateDeliveryStream", false) => Err(ApiError::invalid_argument(format!("Firehose {name}: {file}"))),
            (_, false) => Err(ApiError::not_found(&name, &config.api.account)),
            ("DeleteDeliveryStream", true) => {
                Err(ApiError::new(400, "ResourceInUseException", format!("Firehose {name}: {file}")))
            }
            (_, true) => Err(ApiError::invalid_argument(format!("Firehose {name}: {file}"))),
        }
    }
}

/// An operation of the model by its own name, for labels that a client cannot multiply.
fn known_operation(operation: &str) -> &'static str {
    config::AccessKey::ACTIONS.into_iter().find(|known| *known == operation).unwrap_or("unknown")
}

fn to_bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a value always serialises into memory")
}
