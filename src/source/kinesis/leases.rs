//! The lease table of a stream's shards: in the layout of the Kinesis Client Library, so that one of its applications can
//! take over from us and we from it, with the state of our lanes beside, under names of our own.
//!
//! A row is a shard's lease. Who owns it counts `leaseCounter` up; whose counter has not moved for the failover time is
//! expired. That alone would let somebody who was asleep go on with a lease that is not theirs any more: what decides is
//! that the state is written only under the condition that the owner is still who writes, and that the state is still
//! the one that was read (`hydrantVersion`). Renewals move the counter and not the version.

use super::client::{ListedShard, login};
use super::lease::{Lease, SHARD_END, ShardBegin, TRIM_HORIZON};
use super::lease_row::{lease, number, text, text_of};
use crate::aws::Login;
use crate::config::{self};
use crate::error::{Error, Kind, Result};
use arc_swap::ArcSwap;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use std::sync::Arc;

/// A client of the lease table of one stream's shards. Nothing is retried here.
#[derive(Clone)]
pub struct Leases {
    client: Arc<ArcSwap<Client>>,
    pub(super) table: String,
    /// The delivery stream that the table is for.
    pub stream: String,
    /// Who we are in the table.
    pub worker: String,
}

/// Where leases of new shards are made, and what they say of where these begin.
#[derive(Clone)]
pub struct NewLeases {
    pub leases: Leases,
    pub begin: ShardBegin,
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
    pub async fn create_lease(&self, shard: &ListedShard, begin: ShardBegin, created_ms: u64) -> Result<()> {
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

    pub(super) fn update(&self, shard: &str) -> UpdateItemFluentBuilder {
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
pub(super) fn is_refusal<E>(e: &SdkError<E>) -> bool {
    match e {
        SdkError::ConstructionFailure(_) => true,
        SdkError::ServiceError(e) => e.raw().status().as_u16() < 500,
        _ => false,
    }
}

pub(super) fn message<E>(e: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match e.as_service_error().map(ProvideErrorMetadata::meta).and_then(|m| Some((m.code()?, m.message()))) {
        Some((code, message)) => format!("{code}: {}", message.unwrap_or("no message")),
        None => DisplayErrorContext(e).to_string(),
    }
}
