//! Whether a load would work: all of it is rehearsed, and rolled back.

use super::claim::Claims;
use super::columns;
use super::connect::{Door, Session};
use super::load::{begin, list};
use super::refusal::{Code, WarehouseRefusal};
use crate::config::{Dialect, Target};
use crate::deliver::{Body, Shipment};
use std::pin::pin;
use std::sync::Arc;
use tokio_postgres::{CopyInSink, SimpleQueryMessage};
use uuid::Uuid;

/// What is wrong, each in a sentence.
pub(super) async fn check(door: &Door, target: &Target) -> Vec<String> {
    // Each in a session of its own, whose end takes everything back: an error ends a transaction, and the client gives
    // up a connection on which a COPY was refused.
    let session = match door.open().await {
        Ok(session) => session,
        Err(refusal) => return vec![advice(target, refusal)],
    };
    let mut problems = Vec::new();
    problems.extend(rehearse_copy(&session, target).await.err());
    session.end().await;
    match door.open().await {
        Ok(session) => {
            problems.extend(rehearse_claim(&session, target).await.err());
            session.end().await;
        }
        Err(refusal) => problems.push(refusal),
    }
    problems.into_iter().map(|refusal| advice(target, refusal)).collect()
}

async fn rehearse_copy(session: &Session, target: &Target) -> Result<(), WarehouseRefusal> {
    execute(session, "begin", &begin(target)).await?;
    match target.dialect {
        Dialect::Redshift { .. } => ask_redshift(session, target).await,
        Dialect::Postgres { .. } => {
            let columns = columns::find(session, target).await?;
            let names: Vec<String> = columns.into_iter().map(|column| column.name).collect();
            let refused = |e| WarehouseRefusal::during(&format!("load into {}", target.table), &e);
            let statement = format!("COPY {}{} FROM STDIN", target.table, list(&names));
            let sink: CopyInSink<bytes::Bytes> = session.client.copy_in(&statement).await.map_err(refused)?;
            pin!(sink).finish().await.map(drop).map_err(refused)
        }
    }
}

/// Redshift's COPY cannot be rehearsed without an object.
async fn ask_redshift(session: &Session, target: &Target) -> Result<(), WarehouseRefusal> {
    let name = super::claim::literal(&target.table.to_string(), true);
    let columns = match target.columns.is_empty() {
        true => "*".to_owned(),
        false => list(&target.columns).trim_matches([' ', '(', ')']).to_owned(),
    };
    let act = format!("look into {}", target.table);
    let answers = session.client.simple_query(&format!("SELECT has_table_privilege({name}, 'INSERT')")).await;
    let answers = answers.map_err(|e| WarehouseRefusal::during(&act, &e))?;
    let may = answers.iter().any(|answer| matches!(answer, SimpleQueryMessage::Row(row) if row.get(0) == Some("t")));
    if !may {
        let message = format!("load into {}: the user has no right to INSERT", target.table);
        return Err(WarehouseRefusal::new(Code::InsufficientPrivilege, message));
    }
    execute(session, &act, &format!("SELECT {columns} FROM {} WHERE false", target.table)).await
}

async fn rehearse_claim(session: &Session, target: &Target) -> Result<(), WarehouseRefusal> {
    let claims = Claims::of(target);
    let is_there = claims.exists(session).await?;
    execute(session, "begin", &begin(target)).await?;
    if !is_there {
        execute(session, &format!("create the table {}", target.claims_table), &claims.create()).await?;
    }
    let nobody = Shipment {
        plan: 0,
        id: Uuid::new_v4(),
        outputs: 0,
        digest: 0,
        name: "check".to_owned(),
        planned_ms: 0,
        content_encoding: None,
        body: Arc::new(Body::of(Vec::new())),
        only_look: false,
    };
    claims.claim(session, &nobody).await.map(drop)
}

async fn execute(session: &Session, act: &str, statement: &str) -> Result<(), WarehouseRefusal> {
    session.client.batch_execute(statement).await.map_err(|e| WarehouseRefusal::during(act, &e))
}

/// The refusal and what may be done about it.
fn advice(target: &Target, refusal: WarehouseRefusal) -> String {
    let user = &target.username;
    let advice = match refusal.code {
        Code::AuthenticationFailed => format!("check `username` and `password` of {user} and what the server allows"),
        Code::ConnectionFailed => "check `url`, `tls` and what lies between here and there".to_owned(),
        Code::DatabaseNotFound => "check the database at the end of `url`".to_owned(),
        Code::TableNotFound => "create it, or check `table`: names are taken exactly, upper case is kept".to_owned(),
        Code::SchemaNotFound => "create the schema, or check what stands before the dot in the name".to_owned(),
        Code::ColumnNotFound => "check `columns`: names are taken exactly, upper case is kept".to_owned(),
        Code::InsufficientPrivilege => format!("grant it to {user}"),
        Code::ReadOnlyCluster => "name a server that takes writes in `url`".to_owned(),
        _ => return refusal.message,
    };
    format!("{}; {advice}", refusal.message)
}
