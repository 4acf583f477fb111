//! The lease table of a stream's shards: in the layout of the Kinesis Client Library, so that one of its applications can
//! take over from us and we from it, with the state of our lanes beside, under names of our own.
//!
//! A row is a shard's lease. Who owns it counts `leaseCounter` up; whose counter has not moved for the failover time is
//! taken to be dead. That alone would let somebody who was asleep go on with what is not his any more: what decides is
//! that the state is written only under the condition that the owner is still who writes, and that the state is still
//! the one that he read (`hydrantVersion`). Renewals move the counter and not the version.

use super::client::{Listed, login};
use super::lease_row::{lease, number, number_of, text, text_of};
use crate::aws::Login;
use crate::config::{self, StartingPosition};
use crate::error::{Error, Kind, Result};
use crate::lane::Start;
use crate::record::Position;
use arc_swap::ArcSwap;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use std::sync::Arc;
use uuid::Uuid;

/// The library's words for places that are no sequence numbers (contract §10.3).
const TRIM_HORIZON: &str = "TRIM_HORIZON";
const LATEST: &str = "LATEST";
const AT_TIMESTAMP: &str = "AT_TIMESTAMP";
const SHARD_END: &str = "SHARD_END";

/// See the module. Nothing is retried here.
#[derive(Clone)]
pub struct Leases {
    client: Arc<ArcSwap<Client>>,
    pub(super) table: String,
    /// The delivery stream that the table is for.
    pub stream: String,
    /// Who we are in the table.
    pub worker: String,
}

/// A row, without its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub shard: String,
    pub owner: Option<String>,
    pub counter: u64,
    /// Where its owner has got to, in the library's words.
    pub checkpoint: String,
    pub checkpoint_sub: u64,
    /// Where new shards begin to be read; `None`: a row that the library made.
    pub begin: Option<Begin>,
    /// When the stream of Kinesis was made, in milliseconds since the Unix epoch; 0: a row that the library made.
    pub created_ms: u64,
    /// The delivery stream that reads it; `None`: a row that the library made.
    pub stream: Option<String>,
}

/// Where shards of a stream begin to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    TrimHorizon,
    /// Milliseconds since the Unix epoch.
    Timestamp(u64),
}

/// Where leases of new shards are made, and what they say of where these begin.
#[derive(Clone)]
pub struct NewLeases {
    pub leases: Leases,
    pub begin: Begin,
}

/// The state of a shard's lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// 0: none was ever written.
    pub version: u64,
    /// Which commit wrote it.
    pub commit: String,
    pub state: KeptState,
    /// How often the shard came back from another application: each time another account begins.
    pub hand_overs: u64,
}

/// A lane's state, as the row has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeptState {
    #[default]
    None,
    Bytes(Vec<u8>),
    /// In a store, under a name.
    Object {
        store: String,
        name: String,
    },
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    Done,
    /// The lease is somebody else's, or the state another one.
    Fenced(String),
    /// Nothing was written.
    Refused(String),
    /// It may have been written, or may yet be.
    Unknown(String),
}

impl Lease {
    pub fn is_ended(&self) -> bool {
        self.checkpoint == SHARD_END
    }

    /// Whether its checkpoint is what we write for a lane that begins here.
    pub fn stands_at(&self, start: &Start) -> bool {
        matches!(start, Start::Timestamp(_)) && self.has_old_words()
            || checkpoint(start) == (self.checkpoint.as_str(), self.checkpoint_sub)
    }

    /// Whether the library fails where it finds this checkpoint, which Hydrant has written once.
    pub fn has_old_words(&self) -> bool {
        self.checkpoint == AT_TIMESTAMP
    }

    /// Where a lane begins that has no state yet. `begin`: where the configuration says that a stream begins, for what the
    /// library would look up there.
    pub fn start(&self, begin: impl FnOnce() -> Begin) -> Start {
        match self.checkpoint.as_str() {
            SHARD_END => Start::End { offset: 0 },
            TRIM_HORIZON => match self.begin {
                Some(Begin::Timestamp(ms)) => Start::Timestamp(ms),
                _ => Start::TrimHorizon,
            },
            LATEST | AT_TIMESTAMP => match self.begin.unwrap_or_else(begin) {
                Begin::Timestamp(ms) => Start::Timestamp(ms),
                Begin::TrimHorizon => Start::TrimHorizon,
            },
            sequence => {
                let position = Position { sequence: sequence.into(), sub_sequence: self.checkpoint_sub };
                Start::After { offset: 0, position }
            }
        }
    }
}

impl Begin {
    /// Where a stream begins to be read that nobody has read before. `now_ms`: the time, in milliseconds since the Unix epoch.
    pub fn of(start: StartingPosition, now_ms: u64) -> Begin {
        match start {
            // Records that came before the stream was opened may come along; none that comes later is missed.
            StartingPosition::Latest => Begin::Timestamp(now_ms),
            StartingPosition::TrimHorizon => Begin::TrimHorizon,
            StartingPosition::Timestamp(ms) => Begin::Timestamp(ms),
        }
    }

    fn text(self) -> String {
        match self {
            Begin::TrimHorizon => TRIM_HORIZON.to_owned(),
            Begin::Timestamp(ms) => ms.to_string(),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Begin> {
        match text {
            TRIM_HORIZON => Some(Begin::TrimHorizon),
            ms => ms.parse().ok().map(Begin::Timestamp),
        }
    }
}

/// A place in the library's words.
fn checkpoint(start: &Start) -> (&str, u64) {
    match start {
        Start::TrimHorizon => (TRIM_HORIZON, 0),
        // The library has no time for a place in a table, and fails for ever where it finds `AT_TIMESTAMP`: it may read what is
        // older, and misses nothing.
        Start::Timestamp(_) => (TRIM_HORIZON, 0),
        Start::After { position, .. } => (&position.sequence, position.sub_sequence),
        Start::End { .. } => (SHARD_END, 0),
    }
}

impl Leases {
    /// Makes the client. Nothing is sent yet.
    pub async fn connect(
        settings: &config::Kinesis,
        table: &config::LeaseTable,
        stream: &str,
        worker: String,
    ) -> Result<Leases> {
        Ok(Leases {
            client: Arc::new(ArcSwap::from_pointee(client(settings, table).await?)),
            table: table.table.clone(),
            stream: stream.to_owned(),
            worker,
        })
    }

    /// The next calls, of clones too, are made as these settings say.
    pub async fn reconnect(&self, settings: &config::Kinesis, table: &config::LeaseTable) -> Result<()> {
        self.client.store(Arc::new(client(settings, table).await?));
        Ok(())
    }

    /// The table's name.
    pub fn table(&self) -> &str {
        &self.table
    }

    pub(super) fn client(&self) -> Client {
        self.client.load().as_ref().clone()
    }

    pub(super) fn during<E>(&self, operation: &str) -> impl Fn(SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let act = format!("{operation} of table `{}`", self.table);
        move |e| {
            let kind = if is_refusal(&e) && !is_throttled(&e) { Kind::Misconfigured } else { Kind::Retry };
            Error::new(kind, format!("{act}: {}", message(&e)))
        }
    }

    /// Every lease.
    pub async fn list(&self) -> Result<Vec<Lease>> {
        const SEEN: &str = "leaseKey, leaseOwner, leaseCounter, checkpoint, checkpointSubSequenceNumber, \
                            hydrantBegin, hydrantStreamCreated, hydrantDeliveryStream, entityType";
        let (mut leases, mut next) = (Vec::new(), None);
        loop {
            let names = SEEN.split(", ").map(|name| (format!("#{name}"), name.to_owned())).collect();
            let projection: Vec<String> = SEEN.split(", ").map(|name| format!("#{name}")).collect();
            let scan = self.client().scan().table_name(&self.table).consistent_read(true);
            let scan = scan.projection_expression(projection.join(", ")).set_expression_attribute_names(Some(names));
            let answer = scan.set_exclusive_start_key(next.take()).send().await.map_err(self.during("Scan"))?;
            if answer.items.as_ref().map(Vec::len) != Some(answer.count.max(0) as usize) {
                let message =
                    format!("Scan of table `{}`: an answer of {} rows without them", self.table, answer.count);
                return Err(Error::new(Kind::Retry, message));
            }
            // KCL 3 keeps rows of other kinds in the same table.
            let rows = answer.items().iter().filter(|row| text_of(row, "entityType").is_none_or(|t| t == "LEASE"));
            for row in rows {
                let found = lease(row).map_err(|e| {
                    Error::new(Kind::Misconfigured, format!("table `{}` is no lease table: {e}", self.table))
                })?;
                leases.push(found);
            }
            match answer.last_evaluated_key {
                Some(key) if !key.is_empty() => next = Some(key),
                _ => return Ok(leases),
            }
        }
    }

    /// Makes the lease of a shard that has none yet. Nobody owns it.
    pub async fn create_lease(&self, shard: &Listed, begin: Begin, created_ms: u64) -> Result<()> {
        let mut put = self
            .client()
            .put_item()
            .table_name(&self.table)
            .condition_expression("attribute_not_exists(leaseKey)")
            .item("leaseKey", text(&shard.id))
            .item("leaseCounter", number(0))
            .item("ownerSwitchesSinceCheckpoint", number(0))
            .item("checkpoint", text(TRIM_HORIZON))
            .item("checkpointSubSequenceNumber", number(0))
            .item("hydrantBegin", text(begin.text()))
            .item("hydrantStreamCreated", number(created_ms))
            .item("hydrantDeliveryStream", text(&self.stream));
        if !shard.parents.is_empty() {
            put = put.item("parentShardId", AttributeValue::Ss(shard.parents.clone()));
        }
        if let Some((first, last)) = &shard.hash_keys {
            put = put.item("startingHashKey", text(first)).item("endingHashKey", text(last));
        }
        match put.send().await {
            Err(e) if e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(()),
            Err(e) => Err(self.during("PutItem")(e)),
            Ok(_) => Ok(()),
        }
    }

    fn update(&self, shard: &str) -> UpdateItemFluentBuilder {
        self.client().update_item().table_name(&self.table).key("leaseKey", text(shard))
    }

    /// Whether an update was done: `false` where its condition did not hold.
    async fn done(&self, update: UpdateItemFluentBuilder) -> Result<bool> {
        match update.send().await {
            Ok(_) => Ok(true),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(false),
            Err(e) => Err(self.during("UpdateItem")(e)),
        }
    }

    /// Makes a lease ours that is still as it was seen. `false`: it is not.
    pub async fn take(&self, seen: &Lease) -> Result<bool> {
        let owner = match &seen.owner {
            Some(_) => "leaseOwner = :seen",
            None => "attribute_not_exists(leaseOwner)",
        };
        let update = self
            .update(&seen.shard)
            .update_expression(
                "SET leaseOwner = :me, leaseCounter = :next ADD ownerSwitchesSinceCheckpoint :one REMOVE checkpointOwner",
            )
            .condition_expression(format!("leaseCounter = :counter AND {owner}"))
            .expression_attribute_values(":me", text(&self.worker))
            .expression_attribute_values(":counter", number(seen.counter))
            .expression_attribute_values(":next", number(seen.counter + 1))
            .expression_attribute_values(":one", number(1));
        let update = match &seen.owner {
            Some(owner) => update.expression_attribute_values(":seen", text(owner)),
            None => update,
        };
        self.done(update).await
    }

    /// Shows that we live. `false`: the lease is not ours any more.
    pub async fn renew(&self, shard: &str) -> Result<bool> {
        let update = self
            .update(shard)
            .update_expression("ADD leaseCounter :one")
            .condition_expression("leaseOwner = :me")
            .expression_attribute_values(":me", text(&self.worker))
            .expression_attribute_values(":one", number(1));
        self.done(update).await
    }

    /// Gives a lease up, for anybody to take at once.
    pub async fn release(&self, shard: &str) -> Result<()> {
        let update = self
            .update(shard)
            .update_expression("ADD leaseCounter :one REMOVE leaseOwner")
            .condition_expression("leaseOwner = :me")
            .expression_attribute_values(":me", text(&self.worker))
            .expression_attribute_values(":one", number(1));
        self.done(update).await.map(|_| ())
    }

    /// Removes the lease of a shard that was read to its end and is not there any more.
    pub async fn forget(&self, shard: &str) -> Result<()> {
        let delete = self.client().delete_item().table_name(&self.table).key("leaseKey", text(shard));
        let delete = delete.condition_expression("checkpoint = :end");
        match delete.expression_attribute_values(":end", text(SHARD_END)).send().await {
            Err(e) if e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(()),
            Err(e) => Err(self.during("DeleteItem")(e)),
            Ok(_) => Ok(()),
        }
    }

    /// The state of a shard's lane, with its lease.
    pub async fn load(&self, shard: &str) -> Result<(Lease, Kept)> {
        let get = self.client().get_item().table_name(&self.table).key("leaseKey", text(shard)).consistent_read(true);
        let answer = get.send().await.map_err(self.during("GetItem"))?;
        let gone = || Error::new(Kind::Retry, format!("table `{}` has no lease `{shard}` any more", self.table));
        let row = answer.item.ok_or_else(gone)?;
        let found = lease(&row).map_err(|e| Error::new(Kind::Misconfigured, format!("table `{}`: {e}", self.table)))?;
        if found.shard != shard {
            let message =
                format!("GetItem of table `{}`: found the lease `{}`, expected `{shard}`", self.table, found.shard);
            return Err(Error::new(Kind::Retry, message));
        }
        let state =
            match (row.get("hydrantState"), text_of(&row, "hydrantStateStore"), text_of(&row, "hydrantStateName")) {
                (Some(AttributeValue::B(bytes)), ..) => KeptState::Bytes(bytes.as_ref().to_vec()),
                (_, Some(store), Some(name)) => KeptState::Object { store: store.to_owned(), name: name.to_owned() },
                _ => KeptState::None,
            };
        if state == KeptState::None && row.contains_key("hydrantVersion") {
            let message = format!("table `{}`: the row `{shard}` has a `hydrantVersion` and no state", self.table);
            return Err(Error::new(Kind::Misconfigured, message));
        }
        let commit = text_of(&row, "hydrantCommit").unwrap_or_default().to_owned();
        let [version, hand_overs] =
            ["hydrantVersion", "hydrantHandOvers"].map(|name| number_of(&row, name).unwrap_or(0));
        Ok((found, Kept { version, commit, state, hand_overs }))
    }

    /// Writes a lane's state and its checkpoint, if the lease is still ours and the state still has this version. `shard`:
    /// its id; when its stream was made, which a row of the library does not say yet; and how often it came back from others.
    pub async fn commit(
        &self,
        (shard, created_ms, hand_overs): (&str, u64, u64),
        version: u64,
        id: Uuid,
        state: &KeptState,
        start: &Start,
    ) -> Committed {
        let (checkpoint, sub) = checkpoint(start);
        let known = if version == 0 { "attribute_not_exists(hydrantVersion)" } else { "hydrantVersion = :version" };
        let (kept, removed) = match state {
            KeptState::Object { .. } => ("hydrantStateStore = :store, hydrantStateName = :name", "hydrantState"),
            _ => ("hydrantState = :state", "hydrantStateStore, hydrantStateName"),
        };
        let update = self
            .update(shard)
            .update_expression(format!(
                "SET hydrantVersion = :next, hydrantCommit = :commit, {kept}, checkpoint = :checkpoint, \
                 checkpointSubSequenceNumber = :sub, ownerSwitchesSinceCheckpoint = :zero, \
                 hydrantDeliveryStream = :stream, hydrantHandOvers = :over, \
                 hydrantStreamCreated = if_not_exists(hydrantStreamCreated, :created) REMOVE {removed}"
            ))
            .condition_expression(format!("leaseOwner = :me AND {known}"))
            .expression_attribute_values(":me", text(&self.worker))
            .expression_attribute_values(":next", number(version + 1))
            .expression_attribute_values(":commit", text(id.to_string()))
            .expression_attribute_values(":checkpoint", text(checkpoint))
            .expression_attribute_values(":sub", number(sub))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":stream", text(&self.stream))
            .expression_attribute_values(":over", number(hand_overs))
            .expression_attribute_values(":created", number(created_ms));
        let update = match version {
            0 => update,
            _ => update.expression_attribute_values(":version", number(version)),
        };
        let update = match state {
            KeptState::Object { store, name } => update
                .expression_attribute_values(":store", text(store))
                .expression_attribute_values(":name", text(name)),
            KeptState::Bytes(bytes) => {
                update.expression_attribute_values(":state", AttributeValue::B(Blob::new(bytes.as_slice())))
            }
            KeptState::None => update.expression_attribute_values(":state", AttributeValue::B(Blob::new([]))),
        };
        match update.send().await {
            Ok(_) => Committed::Done,
            Err(e) if e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => {
                Committed::Fenced(message(&e))
            }
            Err(e) if is_refusal(&e) => Committed::Refused(message(&e)),
            Err(e) => Committed::Unknown(message(&e)),
        }
    }
}

async fn client(settings: &config::Kinesis, table: &config::LeaseTable) -> Result<Client> {
    let login = Login { region: table.region.as_ref().unwrap_or(&settings.region), ..login(settings) };
    // A request that takes longer than the others wait for us is of no use.
    let timeout = settings.timeout.min(table.failover);
    Ok(Client::new(&login.config(table.endpoint.as_deref(), timeout).await?))
}

/// Whether the service wants to be asked again later.
fn is_throttled<E: ProvideErrorMetadata>(e: &SdkError<E>) -> bool {
    let code = e.as_service_error().and_then(|e| e.meta().code());
    matches!(
        code,
        Some(
            "ProvisionedThroughputExceededException"
                | "ThrottlingException"
                | "RequestLimitExceeded"
                | "LimitExceededException"
        )
    )
}

/// Whether the service said that it did nothing.
fn is_refusal<E>(e: &SdkError<E>) -> bool {
    match e {
        SdkError::ConstructionFailure(_) => true,
        SdkError::ServiceError(e) => e.raw().status().as_u16() < 500,
        _ => false,
    }
}

fn message<E>(e: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match e.as_service_error().map(ProvideErrorMetadata::meta).and_then(|m| Some((m.code()?, m.message()))) {
        Some((code, message)) => format!("{code}: {}", message.unwrap_or("no message")),
        None => DisplayErrorContext(e).to_string(),
    }
}
