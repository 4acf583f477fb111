//! Which records of an object a table of PostgreSQL does not take.
//!
//! They are looked for within a transaction, which is rolled back: some records at once behind a savepoint, and where one
//! of them is named by the database, the others again; where none is named (a foreign key is looked at when the statement
//! ends), each half. What of a record can be told to be wrong without the database is not sent.

use super::refusal::{self, WarehouseRefusal};
use super::rows::{Broken, TableColumns, TableRows};
use crate::config::TableName;
use crate::deliver::records::BodyRecords;
use crate::deliver::{Body, Rejection};
use crate::error::bounded;
use bytes::Bytes;
use futures_util::SinkExt;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use tokio_postgres::Client;

/// Sent behind one savepoint.
const PIECE_BYTES: usize = 256 << 10;
/// Found in one go; the others are found when what is left is loaded.
const REJECTED_MAX: usize = 500;
/// Of what is said of each: all of it is persisted in one commit.
const MESSAGE_CHARS_MAX: usize = 500;

/// A record as COPY takes it.
struct RejectedItem {
    record: u64,
    bytes: Vec<u8>,
    /// Lines that it takes.
    lines: u64,
}

/// How records become what COPY takes.
pub(super) enum Input {
    /// JSON objects, for these columns.
    Json(Arc<TableColumns>),
    /// Each is what it is, and a newline where it has none.
    Csv,
}

/// The search for the records of one object that a table does not take.
pub(super) struct Search<'s> {
    pub client: &'s Client,
    pub table: &'s TableName,
    /// The COPY statement.
    pub statement: String,
    pub input: Input,
    /// The code under which a record is rejected.
    pub code: String,
    /// What is only looked at when a transaction ends is looked at behind each piece, so that it is known whose fault it is.
    pub looks_at_once: bool,
    pub rejected: Vec<Rejection>,
    /// Some record was taken.
    pub has_taken: bool,
}

impl Search<'_> {
    /// Goes through the records of a body until it is at its end or has found enough. The rows of the others are in the table
    /// as far as the transaction sees it.
    pub(super) async fn run(&mut self, body: &Body) -> Result<(), WarehouseRefusal> {
        let unreadable =
            |e: io::Error| WarehouseRefusal::new(refusal::Code::DataLoadFailed, format!("read the object: {e}"));
        let mut records = BodyRecords::new(body).map_err(unreadable)?;
        self.hold_table().await.map_err(|e| self.refused(&e))?;
        let (mut items, mut bytes) = (Vec::new(), 0);
        for record in 0.. {
            let Some((_, bytes_of)) = records.read().map_err(unreadable)? else { break };
            match self.item(record, bytes_of) {
                Ok(item) => {
                    bytes += item.bytes.len();
                    items.push(item);
                }
                Err(what) => self.reject(record, format!("record {}{what}", record + 1)),
            }
            if bytes >= PIECE_BYTES {
                self.try_all(&items).await?;
                (items, bytes) = (Vec::new(), 0);
            }
            if self.rejected.len() >= REJECTED_MAX {
                break;
            }
        }
        self.try_all(&items).await?;
        self.rejected.sort_unstable_by_key(|rejection| rejection.record);
        Ok(())
    }

    /// Has the table stay as it is until the transaction ends: one that is mended meanwhile would seem to take some records
    /// and not others. What a savepoint that is rolled back has locked is free again, so rows of none come before any.
    async fn hold_table(&self) -> Result<(), tokio_postgres::Error> {
        let sink = pin!(self.client.copy_in::<_, Bytes>(&self.statement).await?);
        sink.finish().await.map(drop)
    }

    fn reject(&mut self, record: u64, message: String) {
        let message = bounded(message, MESSAGE_CHARS_MAX);
        self.rejected.push(Rejection { record, code: self.code.clone(), message });
    }

    /// The record as COPY takes it, or what is wrong with it.
    fn item(&self, record: u64, given: &[u8]) -> Result<RejectedItem, String> {
        match &self.input {
            Input::Json(columns) => {
                let (mut rows, mut bytes) = (TableRows::new(given, columns.clone()), Vec::new());
                while let Some(mut piece) = rows.piece().map_err(|broken: Broken| broken.what())? {
                    bytes.append(&mut piece);
                }
                Ok(RejectedItem { record, bytes, lines: rows.count() })
            }
            Input::Csv => {
                let bytes = csv(given).map_err(|found| format!(": {found}"))?;
                let lines = memchr::memchr_iter(b'\n', &bytes).count() as u64;
                Ok(RejectedItem { record, bytes, lines })
            }
        }
    }

    /// Puts in what is taken of some records, and notes what is not.
    async fn try_all(&mut self, items: &[RejectedItem]) -> Result<(), WarehouseRefusal> {
        let mut open = vec![items];
        while let Some(items) = open.pop() {
            if items.is_empty() || self.rejected.len() >= REJECTED_MAX {
                continue;
            }
            let Err(e) = self.copy(items).await else {
                self.has_taken = true;
                continue;
            };
            if !refusal::is_of_rows(&e) {
                return Err(self.refused(&e));
            }
            self.execute("ROLLBACK TO SAVEPOINT hydrant_rows").await?;
            let text = refusal::text(&e);
            let named = refusal::line(&e, &self.table.table);
            match named.and_then(|line| Some((line, at_line(items, line)?))) {
                Some((line, i)) => {
                    // Its line is one of this piece.
                    let record = items[i].record;
                    self.reject(record, text.replacen(&format!("line {line}"), &format!("record {}", record + 1), 1));
                    open.extend([&items[i + 1..], &items[..i]]);
                }
                None if items.len() == 1 => self.reject(items[0].record, text),
                None => {
                    let (front, back) = items.split_at(items.len() / 2);
                    open.extend([back, front]);
                }
            }
        }
        Ok(())
    }

    async fn copy(&self, items: &[RejectedItem]) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute("SAVEPOINT hydrant_rows").await?;
        let bytes: Vec<u8> = items.iter().flat_map(|item| &item.bytes).copied().collect();
        let mut sink = pin!(self.client.copy_in::<_, Bytes>(&self.statement).await?);
        sink.send(bytes.into()).await?;
        sink.finish().await?;
        if self.looks_at_once {
            self.client.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
        }
        self.client.batch_execute("RELEASE SAVEPOINT hydrant_rows").await
    }

    async fn execute(&self, statement: &str) -> Result<(), WarehouseRefusal> {
        self.client.batch_execute(statement).await.map_err(|e| self.refused(&e))
    }

    fn refused(&self, e: &tokio_postgres::Error) -> WarehouseRefusal {
        WarehouseRefusal::during(&format!("load into {}", self.table), e)
    }
}

/// A record of comma-separated values as COPY takes it, or what is wrong with it. Of some things the database does not complain:
/// a line `\.` ends the rows for versions before 18, whatever comes behind it, and a quote that has no end takes in the records
/// that follow.
pub(super) fn csv(given: &[u8]) -> Result<Vec<u8>, &'static str> {
    if given.split(|b| *b == b'\n').any(|line| line.trim_ascii_end() == b"\\.") {
        return Err("found a line `\\.`, which ends all rows");
    }
    if !memchr::memchr_iter(b'"', given).count().is_multiple_of(2) {
        return Err("found a quote without its end");
    }
    let mut bytes = given.to_vec();
    if bytes.last() != Some(&b'\n') {
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// The item of which this is a line, counted from 1.
fn at_line(items: &[RejectedItem], line: u64) -> Option<usize> {
    let mut behind = 0;
    items.iter().position(|item| {
        behind += item.lines;
        line <= behind
    })
}
