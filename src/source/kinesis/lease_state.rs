//! The state of a shard's lane in the row of its lease: written only by the lease's owner who knows the state before.

use super::lease::{Lease, checkpoint};
use super::lease_row::{lease, number, number_of, text, text_of};
use super::leases::{Leases, is_refusal, message};
use crate::error::{Error, Kind, Result};
use crate::lane::{CommitOutcome, Start};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

/// The state of a shard's lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptLeaseState {
    /// 0: none was ever written.
    pub version: u64,
    /// Which commit wrote it.
    pub commit: String,
    pub state: KeptState,
    /// Where objects with this lane's states are, and nobody else's. `None`: there never was one.
    pub folder: Option<Uuid>,
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

/// A commit of a lane's state.
pub struct StateCommit<'a> {
    /// The one that it follows.
    pub version: u64,
    pub id: Uuid,
    pub state: &'a KeptState,
    /// Written with the name of an object; see [`KeptLeaseState::folder`].
    pub folder: Uuid,
    /// Where the lane begins again, which becomes the lease's checkpoint.
    pub start: &'a Start,
}

impl Leases {
    /// The state of a shard's lane, with its lease.
    pub async fn load(&self, shard: &str) -> Result<(Lease, KeptLeaseState)> {
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
        let folder = text_of(&row, "hydrantStateFolder").and_then(|folder| Uuid::try_parse(folder).ok());
        Ok((found, KeptLeaseState { version, commit, state, folder, hand_overs }))
    }

    /// Writes a lane's state and its checkpoint, if the lease is still ours and the state still has this version. `shard`:
    /// its id; when its stream was made, which a row of the library does not say yet; and how often it came back from others.
    pub async fn commit(
        &self,
        (shard, created_ms, hand_overs): (&str, u64, u64),
        commit: StateCommit<'_>,
    ) -> CommitOutcome {
        let StateCommit { version, id, state, folder, start } = commit;
        let (checkpoint, sub) = checkpoint(start);
        let known = if version == 0 { "attribute_not_exists(hydrantVersion)" } else { "hydrantVersion = :version" };
        let (kept, removed) = match state {
            KeptState::Object { .. } => {
                ("hydrantStateStore = :store, hydrantStateName = :name, hydrantStateFolder = :folder", "hydrantState")
            }
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
                .expression_attribute_values(":name", text(name))
                .expression_attribute_values(":folder", text(folder.to_string())),
            KeptState::Bytes(bytes) => {
                update.expression_attribute_values(":state", AttributeValue::B(Blob::new(bytes.as_slice())))
            }
            KeptState::None => update.expression_attribute_values(":state", AttributeValue::B(Blob::new([]))),
        };
        match update.send().await {
            Ok(_) => CommitOutcome::Done,
            Err(e) if e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => {
                CommitOutcome::Fenced(message(&e))
            }
            Err(e) if is_refusal(&e) => CommitOutcome::Refused(message(&e)),
            Err(e) => CommitOutcome::Unknown(message(&e)),
        }
    }
}
