//! The columns of a PostgreSQL table, as its catalog has them.

use super::claim::literal;
use super::connect::Session;
use super::refusal::{Code, WarehouseRefusal};
use super::rows::{ColumnKind, TableColumn};
use crate::config::Target;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

/// The columns to load: those that the settings name, else all that take a value.
pub(super) async fn find(session: &Session, target: &Target) -> Result<Vec<TableColumn>, WarehouseRefusal> {
    let act = format!("look up the columns of {}", target.table);
    let answers =
        session.client.simple_query(&statement(target)).await.map_err(|e| WarehouseRefusal::during(&act, &e))?;
    let all: Vec<(TableColumn, bool)> = answers
        .iter()
        .filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some((column(row), row.get("made") == Some("t"))),
            _ => None,
        })
        .collect();
    if target.columns.is_empty() {
        let given: Vec<TableColumn> = all.into_iter().filter(|(_, made)| !made).map(|(column, _)| column).collect();
        if given.is_empty() {
            return Err(WarehouseRefusal::new(Code::MissingColumn, format!("{act}: found none that takes a value")));
        }
        return Ok(given);
    }
    let named = |name: &String| {
        let found = all.iter().find(|(column, _)| column.name == *name).map(|(column, _)| column.clone());
        let names = || all.iter().map(|(column, _)| format!("`{}`", column.name)).collect::<Vec<_>>().join(", ");
        found.ok_or_else(|| {
            WarehouseRefusal::new(Code::ColumnNotFound, format!("{act}: there is no `{name}`, found {}", names()))
        })
    };
    target.columns.iter().map(named).collect()
}

/// A domain counts as what it is made of. `made`: the database makes the value itself.
fn statement(target: &Target) -> String {
    format!(
        "SELECT a.attname AS name, t.typname AS type, t.typcategory = 'A' AS is_array, e.typname AS element, \
         a.attidentity <> '' OR a.attgenerated <> '' AS made \
         FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_type d ON d.oid = a.atttypid \
         JOIN pg_catalog.pg_type t ON t.oid = CASE WHEN d.typtype = 'd' THEN d.typbasetype ELSE d.oid END \
         LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem \
         WHERE a.attrelid = {}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        literal(&target.table.to_string(), false)
    )
}

fn column(row: &SimpleQueryRow) -> TableColumn {
    let is_json = |name| matches!(row.get(name), Some("json" | "jsonb"));
    let kind = match row.get("is_array") {
        Some("t") => ColumnKind::Array { json: is_json("element") },
        _ if is_json("type") => ColumnKind::Json,
        _ => ColumnKind::Plain,
    };
    TableColumn { name: row.get("name").unwrap_or_default().to_owned(), kind }
}
