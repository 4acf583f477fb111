//! One load: claim, COPY and COMMIT in one transaction. Where COPY fails by some of the records, it is found out by which.
//!
//! Whatever happens to the connection, the claim and the rows are there together or not at all. An attempt that does
//! not hear the answer to its COMMIT says that it failed; the next one's claim waits until the database has decided, and
//! finds what it decided. A session that we have left ends by itself: the database notices within a minute that nobody
//! confirms its packets, or at `timeout`, and rolls back.

use super::apart::{self, Input, Search};
use super::claim::{Claim, Claims, LoadedPlan, literal};
use super::connect::{Door, PROBES, SILENCE_BEFORE_PROBE, SILENCE_BETWEEN_PROBES, Session};
use super::refusal::{self, Code, WarehouseRefusal, text};
use super::rows::{Broken, TableColumn, TableRows};
use super::{columns, source};
use crate::config::{Dialect, Target, WarehouseInput, quoted_name};
use crate::deliver::records::BodyRecords;
use crate::deliver::{Attempt, Rejection, Shipment};
use crate::sabotage;
use bytes::Bytes;
use futures_util::SinkExt;
use std::io::Read;
use std::pin::pin;
use std::sync::Arc;
use tokio_postgres::{CopyInSink, SimpleQueryMessage};

/// CSV read and sent at once.
const PIECE_BYTES: usize = 256 << 10;

/// Why nothing is loaded.
pub(super) enum NotLoaded {
    Refused(WarehouseRefusal),
    /// The database does not take these records.
    Rejected(Vec<Rejection>),
    /// The object is not where it has to be before its rows are.
    NotStaged(Attempt),
}

impl From<WarehouseRefusal> for NotLoaded {
    fn from(refusal: WarehouseRefusal) -> NotLoaded {
        NotLoaded::Refused(refusal)
    }
}

/// Loads the shipment if nobody has: what it is loaded as. `stage` is awaited before what is loaded is made to last.
pub(super) async fn load(
    door: &Door,
    target: &Target,
    shipment: &Shipment,
    stage: impl AsyncFn() -> Result<(), Attempt>,
) -> Result<LoadedPlan, NotLoaded> {
    let session = door.open().await?;
    let transaction = Transaction { session: &session, target, claims: Claims::of(target), shipment };
    match tokio::time::timeout(target.timeout, transaction.run(stage)).await {
        Ok(Err(NotLoaded::Refused(mut refusal))) => {
            if refusal.code == Code::ConnectionFailed
                && let Some(words) = session.last_words().await
                && !refusal.message.contains(&words)
            {
                refusal.message = format!("{}: {words}", refusal.message);
            }
            Err(refusal.into())
        }
        Ok(done) => {
            session.end().await;
            done
        }
        Err(_) => {
            door.cancel(session).await;
            let message = format!("load into {}: no end within {:?}, cancelled", target.table, target.timeout);
            Err(WarehouseRefusal::new(Code::DataLoadFailed, message).into())
        }
    }
}

/// What the plan is loaded as, if it is: it is claimed, which waits for whoever has claimed it before, and the claim is taken back.
pub(super) async fn look(
    session: &Session,
    target: &Target,
    claims: &Claims,
    shipment: &Shipment,
) -> Result<Option<LoadedPlan>, WarehouseRefusal> {
    let execute = async |act: &str, statement: &str| {
        session.client.batch_execute(statement).await.map_err(|e| WarehouseRefusal::during(act, &e))
    };
    execute("begin", &begin(target)).await?;
    let claim = claims.claim(session, shipment).await?;
    execute("roll back", "ROLLBACK").await?;
    Ok(match claim {
        Claim::Found(loaded) => Some(loaded),
        Claim::Made => None,
    })
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

/// Why a COPY came to nothing.
struct NotCopied {
    refusal: WarehouseRefusal,
    /// It may be the fault of some records.
    is_of_rows: bool,
    /// This one.
    named: Option<u64>,
    /// It was found out when the transaction was to end.
    at_commit: bool,
}

impl From<WarehouseRefusal> for NotCopied {
    fn from(refusal: WarehouseRefusal) -> NotCopied {
        NotCopied { refusal, is_of_rows: false, named: None, at_commit: false }
    }
}

impl Transaction<'_> {
    /// All of it. On an error the session is left as it is: its end is the transaction's.
    async fn run(&self, stage: impl AsyncFn() -> Result<(), Attempt>) -> Result<LoadedPlan, NotLoaded> {
        self.claims.prepare(self.session).await?;
        if let Some(loaded) = self.claim().await? {
            return Ok(loaded);
        }
        sabotage::point("load.claimed");
        let failed = match self.copy().await {
            Ok(()) => {
                stage().await.map_err(NotLoaded::NotStaged)?;
                match self.commit().await {
                    Ok(loaded) => return Ok(loaded),
                    Err(e) => e,
                }
            }
            Err(e) => e,
        };
        if let Some(record) = failed.named {
            let WarehouseRefusal { code, message } = failed.refusal;
            return Err(NotLoaded::Rejected(vec![Rejection { record, code: code.of(self.target), message }]));
        }
        if !failed.is_of_rows || self.shipment.body.index().is_none() {
            return Err(failed.refusal.into());
        }
        self.run_without(failed, stage).await
    }

    /// What was refused, again: without what is not taken of it. That is said, and nothing is loaded.
    async fn run_without(
        &self,
        failed: NotCopied,
        stage: impl AsyncFn() -> Result<(), Attempt>,
    ) -> Result<LoadedPlan, NotLoaded> {
        self.execute("roll back", "ROLLBACK").await?;
        if let Some(loaded) = self.claim().await? {
            return Ok(loaded);
        }
        let (rejected, has_taken) = self.rejected(failed.at_commit).await?;
        if rejected.is_empty() {
            // Whatever it was has been mended meanwhile.
            stage().await.map_err(NotLoaded::NotStaged)?;
            return self.commit().await.map_err(|e| e.refusal.into());
        }
        // Where not one of them is taken, it is rather the table's fault than theirs.
        match self.shipment.outputs > 1 && !has_taken {
            true => Err(failed.refusal.into()),
            false => Err(NotLoaded::Rejected(rejected)),
        }
    }

    /// Begins and claims the plan; what it was loaded as if somebody has loaded it.
    async fn claim(&self) -> Result<Option<LoadedPlan>, WarehouseRefusal> {
        self.execute("begin", &begin(self.target)).await?;
        match self.claims.claim(self.session, self.shipment).await? {
            Claim::Found(loaded) if !sabotage::on("claimed_is_loaded_again") => {
                self.execute("roll back", "ROLLBACK").await?;
                Ok(Some(loaded))
            }
            Claim::Found(_) | Claim::Made => Ok(None),
        }
    }

    async fn copy(&self) -> Result<(), NotCopied> {
        match &self.target.dialect {
            Dialect::Redshift { copy_options, role_arn } => self.copy_objects(copy_options, role_arn.as_deref()).await,
            Dialect::Postgres { input } => self.copy_rows(*input).await,
        }
    }

    async fn commit(&self) -> Result<LoadedPlan, NotCopied> {
        sabotage::point("load.copied");
        let committed = self.session.client.batch_execute("COMMIT").await;
        committed.map_err(|e| NotCopied { at_commit: true, ..self.not_copied("commit", &e) })?;
        sabotage::point("load.committed");
        Ok(LoadedPlan::of(self.shipment))
    }

    async fn execute(&self, act: &str, statement: &str) -> Result<(), WarehouseRefusal> {
        self.session.client.batch_execute(statement).await.map_err(|e| WarehouseRefusal::during(act, &e))
    }

    fn act(&self) -> String {
        format!("load into {}", self.target.table)
    }

    fn not_copied(&self, act: &str, e: &tokio_postgres::Error) -> NotCopied {
        NotCopied { is_of_rows: refusal::is_of_rows(e), ..WarehouseRefusal::during(act, e).into() }
    }

    /// Has Redshift fetch the object that the working manifest lists.
    async fn copy_objects(&self, options: &str, role: Option<&str>) -> Result<(), NotCopied> {
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
        let (mut refusal, mut named) = (WarehouseRefusal::during(&self.act(), &e), None);
        if refusal.code == Code::DataLoadFailed && !e.is_closed() {
            let (line, details) = self.details().await;
            refusal.message.push_str(&details);
            // Line 0: it is not said of one.
            named = line.filter(|line| *line > 0).and_then(|line| record_at(self.shipment, line));
        }
        Err(NotCopied { named, ..refusal.into() })
    }

    /// What Redshift has noted about the object's rows: the line, and all of it in words. Its error only says that there is
    /// such a note.
    async fn details(&self) -> (Option<u64>, String) {
        let file = literal(&format!("s3://{}/{}", self.target.bucket, self.shipment.name), true);
        let statement = format!(
            "ROLLBACK; SELECT line_number, column_name, error_message FROM sys_load_error_detail \
             WHERE file_name = {file} ORDER BY start_time DESC LIMIT 1"
        );
        let answers = match self.session.client.simple_query(&statement).await {
            Ok(answers) => answers,
            Err(e) => return (None, format!("; sys_load_error_detail cannot be read: {}", text(&e))),
        };
        let row = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some([0, 1, 2].map(|i| row.get(i).unwrap_or_default().trim().to_owned())),
            _ => None,
        });
        let Some([line, column, error]) = row else { return (None, String::new()) };
        (line.parse().ok(), format!("; line {line}, column `{column}`: {error}"))
    }

    /// Sends the rows.
    async fn copy_rows(&self, input: WarehouseInput) -> Result<(), NotCopied> {
        let mut bytes = source::bytes(self.shipment);
        match input {
            WarehouseInput::Csv if self.shipment.body.index().is_some() => {
                let mut records = BodyRecords::new(&self.shipment.body).map_err(unreadable)?;
                let mut number = 0;
                self.send(&self.copy_csv(), || csv_records(&mut records, &mut number)).await
            }
            WarehouseInput::Csv => self.send(&self.copy_csv(), || csv_piece(&mut *bytes)).await,
            WarehouseInput::Json => {
                let columns = columns::find(self.session, self.target).await?;
                let statement = self.copy_json(&columns);
                let mut rows = TableRows::new(bytes, Arc::new(columns.into()));
                self.send(&statement, || rows.piece()).await
            }
        }
    }

    fn copy_csv(&self) -> String {
        format!("COPY {}{} FROM STDIN WITH (FORMAT csv)", self.target.table, list(&self.target.columns))
    }

    fn copy_json(&self, columns: &[TableColumn]) -> String {
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        format!("COPY {}{} FROM STDIN", self.target.table, list(&names))
    }

    /// The records that are not taken, and whether any is. All others are, as far as this transaction sees it.
    async fn rejected(&self, looks_at_once: bool) -> Result<(Vec<Rejection>, bool), WarehouseRefusal> {
        let (statement, input) = match &self.target.dialect {
            Dialect::Postgres { input: WarehouseInput::Json } => {
                let columns = columns::find(self.session, self.target).await?;
                (self.copy_json(&columns), Input::Json(Arc::new(columns.into())))
            }
            _ => (self.copy_csv(), Input::Csv),
        };
        let code = Code::DataLoadFailed.of(self.target);
        let (client, table, rejected) = (&self.session.client, &self.target.table, Vec::new());
        let mut search = Search { client, table, statement, input, code, looks_at_once, rejected, has_taken: false };
        search.run(&self.shipment.body).await?;
        Ok((search.rejected, search.has_taken))
    }

    async fn send(
        &self,
        statement: &str,
        mut piece: impl FnMut() -> Result<Option<Vec<u8>>, Broken>,
    ) -> Result<(), NotCopied> {
        let refused = |e: tokio_postgres::Error| self.not_copied(&self.act(), &e);
        let sink: CopyInSink<Bytes> = self.session.client.copy_in(statement).await.map_err(refused)?;
        let mut sink = pin!(sink);
        let broken = |broken: Broken| NotCopied {
            is_of_rows: matches!(broken, Broken::Record { .. }),
            ..WarehouseRefusal::new(Code::DataLoadFailed, format!("{}: {broken}", self.act())).into()
        };
        while let Some(piece) = piece().map_err(broken)? {
            sink.send(Bytes::from(piece)).await.map_err(refused)?;
        }
        sink.finish().await.map_err(refused)?;
        Ok(())
    }
}

/// The record of a shipment in which this line of its object stands, from 1.
fn record_at(shipment: &Shipment, line: u64) -> Option<u64> {
    let mut records = BodyRecords::new(&shipment.body).ok()?;
    let mut before = 0;
    let mut found = None;
    for record in 0.. {
        let Some((_, bytes)) = records.read().ok()? else { break };
        let (newlines, ends) = (memchr::memchr_iter(b'\n', bytes).count() as u64, bytes.last() == Some(&b'\n'));
        let newlines = newlines + records.adds_newline() as u64;
        let last = before + newlines + !(ends || records.adds_newline()) as u64;
        if (before + 1..=last).contains(&line) && found.replace(record).is_some() {
            // Several records stand on that line: which of them it is, is not said.
            return None;
        }
        before += newlines;
        if before > line {
            break;
        }
    }
    found
}

fn unreadable(e: std::io::Error) -> WarehouseRefusal {
    WarehouseRefusal::new(Code::DataLoadFailed, format!("read the object: {e}"))
}

/// The next records, a piece.
fn csv_records(records: &mut BodyRecords, number: &mut u64) -> Result<Option<Vec<u8>>, Broken> {
    let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
    while piece.len() < PIECE_BYTES
        && let Some((_, record)) = records.read().map_err(Broken::Unreadable)?
    {
        *number += 1;
        let broken = |found: &str| Broken::Record { number: *number, column: None, found: found.to_owned() };
        piece.append(&mut apart::csv(record).map_err(broken)?);
    }
    Ok((!piece.is_empty()).then_some(piece))
}

fn csv_piece(bytes: &mut dyn Read) -> Result<Option<Vec<u8>>, Broken> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    bytes.take(PIECE_BYTES as u64).read_to_end(&mut piece).map_err(Broken::Unreadable)?;
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
