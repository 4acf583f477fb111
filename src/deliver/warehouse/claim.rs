//! Which plans have been loaded: a row per plan, in the same transaction as its data.
//!
//! PostgreSQL: the row's insertion waits for an older transaction that inserted it and has not ended, and then is made or
//! found; the key is enforced. Redshift enforces no key: the table is locked first, which waits for every older
//! transaction, and then looked into.

use super::connect::Session;
use super::refusal::{Code, WarehouseRefusal};
use crate::config::{Dialect, TableName, Target};
use crate::deliver::Shipment;
use tokio_postgres::SimpleQueryMessage;
use uuid::Uuid;

/// The claims table of one target.
pub(super) struct Claims {
    table: TableName,
    redshift: bool,
}

/// What a plan was loaded as.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LoadedPlan {
    pub outputs: String,
    pub digest: String,
}

impl LoadedPlan {
    pub(super) fn of(shipment: &Shipment) -> LoadedPlan {
        LoadedPlan { outputs: shipment.outputs.to_string(), digest: format!("{:032x}", shipment.digest) }
    }
}

/// What became of a claim.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is this transaction's to load.
    Made,
    Found(LoadedPlan),
}

impl Claims {
    pub(super) fn of(target: &Target) -> Claims {
        let redshift = matches!(target.dialect, Dialect::Redshift { .. });
        Claims { table: target.claims_table.clone(), redshift }
    }

    /// Makes the table if it is not there. Outside a transaction: an error here must not spoil one, and in Redshift it
    /// would have the transaction look at an older state.
    pub(super) async fn prepare(&self, session: &Session) -> Result<(), WarehouseRefusal> {
        // Asked first: `IF NOT EXISTS` wants the right to create also where there is nothing to do.
        if self.exists(session).await? {
            return Ok(());
        }
        match session.client.batch_execute(&self.create()).await {
            Ok(()) => Ok(()),
            // Two that create it at once are not both told that it is there.
            Err(_) if self.exists(session).await? => Ok(()),
            Err(e) => Err(WarehouseRefusal::during(&format!("create the table {}", self.table), &e)),
        }
    }

    pub(super) async fn exists(&self, session: &Session) -> Result<bool, WarehouseRefusal> {
        match session.client.batch_execute(&format!("SELECT plan FROM {} WHERE false", self.table)).await {
            Ok(()) => Ok(true),
            Err(e) if e.code().is_some_and(|state| state.code() == "42P01") => Ok(false),
            Err(e) => Err(self.refusal("look into", &e)),
        }
    }

    pub(super) fn create(&self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (plan VARCHAR(36) NOT NULL PRIMARY KEY, object VARCHAR(1024) NOT NULL, \
             outputs BIGINT NOT NULL, digest VARCHAR(32) NOT NULL, loaded_at TIMESTAMP NOT NULL)",
            self.table
        )
    }

    /// Claims a plan within the session's transaction.
    pub(super) async fn claim(&self, session: &Session, shipment: &Shipment) -> Result<Claim, WarehouseRefusal> {
        if self.redshift {
            self.lock(session).await?;
            if let Some(loaded) = self.find(session, shipment.id).await? {
                return Ok(Claim::Found(loaded));
            }
        }
        if self.insert(session, shipment).await? == 1 {
            return Ok(Claim::Made);
        }
        let gone =
            || WarehouseRefusal::new(Code::DataLoadFailed, format!("a row of {} vanished under our eyes", self.table));
        self.find(session, shipment.id).await?.map(Claim::Found).ok_or_else(gone)
    }

    async fn lock(&self, session: &Session) -> Result<(), WarehouseRefusal> {
        let locked = session.client.batch_execute(&format!("LOCK TABLE {}", self.table)).await;
        locked.map_err(|e| self.refusal("lock", &e))
    }

    async fn insert(&self, session: &Session, shipment: &Shipment) -> Result<u64, WarehouseRefusal> {
        let (now, or_nothing) = match self.redshift {
            true => ("GETDATE()", ""),
            // Waits for an older transaction as a violated key would, but does not end this one.
            false => ("now() AT TIME ZONE 'UTC'", " ON CONFLICT (plan) DO NOTHING"),
        };
        let LoadedPlan { outputs, digest } = LoadedPlan::of(shipment);
        let (plan, object) = (shipment.id, self.literal(&shipment.name));
        let statement = format!(
            "INSERT INTO {} (plan, object, outputs, digest, loaded_at) VALUES ('{plan}', {object}, {outputs}, \
             '{digest}', {now}){or_nothing}",
            self.table
        );
        let answers = session.client.simple_query(&statement).await.map_err(|e| self.refusal("claim a plan in", &e))?;
        let rows = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
            _ => None,
        });
        Ok(rows.unwrap_or_default())
    }

    /// What a plan was loaded as, if it was.
    pub(super) async fn find(&self, session: &Session, plan: Uuid) -> Result<Option<LoadedPlan>, WarehouseRefusal> {
        let statement = format!("SELECT outputs, digest FROM {} WHERE plan = '{plan}'", self.table);
        let answers = session.client.simple_query(&statement).await.map_err(|e| self.refusal("look into", &e))?;
        Ok(answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => {
                let text = |i| row.get(i).unwrap_or_default().to_owned();
                Some(LoadedPlan { outputs: text(0), digest: text(1) })
            }
            _ => None,
        }))
    }

    fn literal(&self, text: &str) -> String {
        literal(text, self.redshift)
    }

    fn refusal(&self, act: &str, e: &tokio_postgres::Error) -> WarehouseRefusal {
        WarehouseRefusal::during(&format!("{act} {}", self.table), e)
    }
}

/// Text as SQL takes it literally. To Redshift a backslash in it means something.
pub(super) fn literal(text: &str, redshift: bool) -> String {
    let text = text.replace('\'', "''");
    format!("'{}'", if redshift { text.replace('\\', "\\\\") } else { text })
}
