//! One load: claim, COPY and COMMIT in one transaction.
//!
//! Whatever happens to the connection, the claim and the rows are there together or not at all. An attempt that does
//! not hear the answer to its COMMIT says that it failed; the next one's claim waits until the database has decided, and
//! finds what it decided. A session that we have left ends by itself: the database notices within a minute that nobody
//! confirms its packets, or at `timeout`, and rolls back.

use super::claim::{Claim, Claims, Loaded, literal};
use super::connect::{Door, PROBES, SILENCE_BEFORE_PROBE, SILENCE_BETWEEN_PROBES, Session};
use super::refusal::{Code, Refusal, text};
use super::rows::Rows;
use super::{columns, source};
use crate::config::{Dialect, Target, WarehouseInput, quoted_name};
use crate::deliver::Shipment;
use crate::sabotage;
use bytes::Bytes;
use futures_util::SinkExt;
use std::io::Read;
use std::pin::pin;
use tokio_postgres::{CopyInSink, SimpleQueryMessage};

/// CSV read and sent at once.
const PIECE_BYTES: usize = 256 << 10;

/// Loads the shipment if nobody has: what it is loaded as.
pub(super) async fn load(door: &Door, target: &Target, shipment: &Shipment) -> Result<Loaded, Refusal> {
    let session = door.open().await?;
    let transaction = Transaction { session: &session, target, claims: Claims::of(target), shipment };
    match tokio::time::timeout(target.timeout, transaction.run()).await {
        Ok(Ok(loaded)) => {
            session.end().await;
            Ok(loaded)
        }
        Ok(Err(mut refusal)) => {
            if refusal.code == Code::ConnectionFailed
                && let Some(words) = session.last_words().await
                && !refusal.message.contains(&words)
            {
                refusal.message = format!("{}: {words}", refusal.message);
            }
            Err(refusal)
        }
        Err(_) => {
            door.cancel(session).await;
            let message = format!("load into {}: no end within {:?}, cancelled", target.table, target.timeout);
            Err(Refusal::new(Code::DataLoadFailed, message))
        }
    }
}

/// The statement that opens a transaction.
pub(super) fn begin(target: &Target) -> String {
    let timeout_ms = target.timeout.as_millis();
    match target.dialect {
        // The session is used for nothing else.
        Dialect::Redshift { .. } => format!("SET statement_timeout TO {timeout_ms}; BEGIN"),
        // A commit that is answered before it is on disk could vanish with its claim after we have noted it as done.
        Dialect::Postgres { .. } => format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout TO {timeout_ms}; \
             SET LOCAL idle_in_transaction_session_timeout TO {timeout_ms}; \
             SET LOCAL tcp_keepalives_idle TO {}; SET LOCAL tcp_keepalives_interval TO {}; \
             SET LOCAL tcp_keepalives_count TO {PROBES}; \
             SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'",
            SILENCE_BEFORE_PROBE.as_secs(),
            SILENCE_BETWEEN_PROBES.as_secs(),
        ),
    }
}

struct Transaction<'l> {
    session: &'l Session,
    target: &'l Target,
    claims: Claims,
    shipment: &'l Shipment,
}

impl Transaction<'_> {
    /// All of it. On an error the session is left as it is: its end is the transaction's.
    async fn run(&self) -> Result<Loaded, Refusal> {
        self.claims.prepare(self.session).await?;
        self.execute("begin", &begin(self.target)).await?;
        match self.claims.claim(self.session, self.shipment).await? {
            Claim::Found(loaded) if !sabotage::on("claimed_is_loaded_again") => {
                self.execute("roll back", "ROLLBACK").await?;
                return Ok(loaded);
            }
            Claim::Found(_) | Claim::Made => {}
        }
        sabotage::point("load.claimed");
        match &self.target.dialect {
            Dialect::Redshift { copy_options, role_arn } => {
                self.copy_objects(copy_options, role_arn.as_deref()).await?
            }
            Dialect::Postgres { input } => self.copy_rows(*input).await?,
        }
        sabotage::point("load.copied");
        self.execute("commit", "COMMIT").await?;
        sabotage::point("load.committed");
        Ok(Loaded::of(self.shipment))
    }

    async fn execute(&self, act: &str, statement: &str) -> Result<(), Refusal> {
        self.session.client.batch_execute(statement).await.map_err(|e| Refusal::during(act, &e))
    }

    fn act(&self) -> String {
        format!("load into {}", self.target.table)
    }

    /// Has Redshift fetch the object that the working manifest lists.
    async fn copy_objects(&self, options: &str, role: Option<&str>) -> Result<(), Refusal> {
        let bucket = &self.target.bucket;
        let manifest = super::manifest::working_name(&self.shipment.name);
        let from = literal(&format!("s3://{bucket}/{manifest}"), true);
        let role = match role {
            Some(role) => format!("CREDENTIALS {}", literal(&format!("aws_iam_role={role}"), true)),
            None => "IAM_ROLE default".to_owned(),
        };
        let (table, columns) = (&self.target.table, list(&self.target.columns));
        let statement = format!("COPY {table}{columns} FROM {from} {role} MANIFEST {options};");
        let Err(e) = self.session.client.batch_execute(&statement).await else { return Ok(()) };
        let mut refusal = Refusal::during(&self.act(), &e);
        if refusal.code == Code::DataLoadFailed && !e.is_closed() {
            refusal.message.push_str(&self.details().await);
        }
        Err(refusal)
    }

    /// What Redshift has noted about the object's rows. Its error only says that there is such a note.
    async fn details(&self) -> String {
        let file = literal(&format!("s3://{}/{}", self.target.bucket, self.shipment.name), true);
        let statement = format!(
            "ROLLBACK; SELECT line_number, column_name, error_message FROM sys_load_error_detail \
             WHERE file_name = {file} ORDER BY start_time DESC LIMIT 1"
        );
        let answers = match self.session.client.simple_query(&statement).await {
            Ok(answers) => answers,
            Err(e) => return format!("; sys_load_error_detail cannot be read: {}", text(&e)),
        };
        let row = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some([0, 1, 2].map(|i| row.get(i).unwrap_or_default().trim().to_owned())),
            _ => None,
        });
        row.map(|[line, column, error]| format!("; line {line}, column `{column}`: {error}")).unwrap_or_default()
    }

    /// Sends the rows.
    async fn copy_rows(&self, input: WarehouseInput) -> Result<(), Refusal> {
        let bytes = source::bytes(self.shipment);
        match input {
            WarehouseInput::Csv => {
                let columns = list(&self.target.columns);
                let statement = format!("COPY {}{columns} FROM STDIN WITH (FORMAT csv)", self.target.table);
                let mut bytes = bytes;
                self.send(&statement, || csv_piece(&mut *bytes)).await
            }
            WarehouseInput::Json => {
                let columns = columns::find(self.session, self.target).await?;
                let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
                let statement = format!("COPY {}{} FROM STDIN", self.target.table, list(&names));
                let mut rows = Rows::new(bytes, columns);
                self.send(&statement, || rows.piece().map_err(|e| e.to_string())).await
            }
        }
    }

    async fn send(
        &self,
        statement: &str,
        mut piece: impl FnMut() -> Result<Option<Vec<u8>>, String>,
    ) -> Result<(), Refusal> {
        let refused = |e: tokio_postgres::Error| Refusal::during(&self.act(), &e);
        let sink: CopyInSink<Bytes> = self.session.client.copy_in(statement).await.map_err(refused)?;
        let mut sink = pin!(sink);
        let broken = |what: String| Refusal::new(Code::DataLoadFailed, format!("{}: {what}", self.act()));
        while let Some(piece) = piece().map_err(broken)? {
            sink.send(Bytes::from(piece)).await.map_err(refused)?;
        }
        sink.finish().await.map_err(refused)?;
        Ok(())
    }
}

fn csv_piece(bytes: &mut dyn Read) -> Result<Option<Vec<u8>>, String> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    bytes.take(PIECE_BYTES as u64).read_to_end(&mut piece).map_err(|e| format!("read the object: {e}"))?;
    Ok((!piece.is_empty()).then_some(piece))
}

/// Columns in parentheses; nothing for all of them.
pub(super) fn list(columns: &[String]) -> String {
    if columns.is_empty() {
        return String::new();
    }
    let names: Vec<String> = columns.iter().map(|name| quoted_name(name)).collect();
    format!(" ({})", names.join(", "))
}
