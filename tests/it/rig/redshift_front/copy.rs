//! `COPY … FROM 's3://…' MANIFEST`, carried out: the manifest and its objects are fetched, and PostgreSQL takes the rows.
//! JSON is read by PostgreSQL itself (`json_populate_record`), so that nothing of ours judges ours.

use super::statement::{Copy, Format, parse};
use crate::rig::bucket;
use bytes::Bytes;
use futures_util::SinkExt;
use pgwire::error::ErrorInfo;
use serde_json::Value;
use std::io::Read;
use std::pin::pin;
use tokio_postgres::{Client, CopyInSink, SimpleQueryMessage};

/// Carries out a statement in the client's transaction; what is wrong with rows is noted aside.
pub async fn copy(client: &Client, aside: &Client, sql: &str) -> Result<u64, ErrorInfo> {
    let copy = parse(sql).map_err(|(state, message)| error(state, message))?;
    // Redshift looks at the table before it fetches anything.
    let columns = columns(client, &copy).await?;
    let mut rows = 0;
    for url in manifest(&copy.url).await? {
        let bytes = fetch(&url).await?;
        let bytes = match unpack(&copy, bytes) {
            Ok(bytes) => bytes,
            Err(what) => return Err(bad_row(aside, &copy, &url, 0, "", &what).await),
        };
        rows += match &copy.format {
            Format::JsonAuto => json(client, aside, &copy, &columns, &url, &bytes).await?,
            Format::Csv => text(client, aside, &copy, &url, bytes, "FORMAT csv").await?,
            Format::Delimited(by) => {
                let options = format!("FORMAT text, DELIMITER E'{}'", by.replace('\t', "\\t"));
                text(client, aside, &copy, &url, bytes, &options).await?
            }
        };
    }
    Ok(rows)
}

fn error(state: &str, message: impl Into<String>) -> ErrorInfo {
    ErrorInfo::new("ERROR".into(), state.into(), message.into())
}

/// The statement's columns, or all of them.
async fn columns(client: &Client, copy: &Copy) -> Result<Vec<String>, ErrorInfo> {
    let list = if copy.columns.is_empty() { "*".to_owned() } else { copy.columns.join(", ") };
    let looked = client.simple_query(&format!("SELECT {list} FROM {} LIMIT 0", copy.table)).await;
    let names = looked.map_err(|e| super::info(&e))?.into_iter().find_map(|answer| match answer {
        SimpleQueryMessage::RowDescription(columns) => {
            Some(columns.iter().map(|c| format!("\"{}\"", c.name().replace('"', "\"\""))).collect())
        }
        _ => None,
    });
    Ok(names.expect("a SELECT describes its rows"))
}

/// The objects that the manifest lists.
async fn manifest(url: &str) -> Result<Vec<String>, ErrorInfo> {
    let bad = || error("XX000", "Manifest file is not in correct json format");
    let manifest: Value = serde_json::from_slice(&fetch(url).await?).map_err(|_| bad())?;
    let entries = manifest["entries"].as_array().ok_or_else(bad)?;
    let mut urls = Vec::new();
    for entry in entries {
        let url = entry["url"].as_str().ok_or_else(bad)?;
        let mandatory = entry["mandatory"].as_bool().unwrap_or(false);
        match fetch(url).await {
            Ok(bytes) => {
                let length = entry["meta"]["content_length"].as_u64();
                if length.is_some_and(|length| length != bytes.len() as u64) {
                    return Err(error("XX000", format!("Problem reading manifest file - length of {url}")));
                }
                urls.push(url.to_owned());
            }
            Err(e) if mandatory => return Err(e),
            Err(_) => {}
        }
    }
    Ok(urls)
}

async fn fetch(url: &str) -> Result<Vec<u8>, ErrorInfo> {
    let place = url.strip_prefix("s3://").and_then(|place| place.split_once('/'));
    let (name, key) = place.ok_or_else(|| error("XX000", format!("Invalid S3 path {url}")))?;
    let got = bucket::client().get_object().bucket(name).key(key).send().await.map_err(|e| {
        let (status, code) = match e.raw_response().map(|r| r.status().as_u16()) {
            Some(404) => (404, "NoSuchKey"),
            status => (status.unwrap_or(0), "Unknown"),
        };
        error("XX000", format!("S3ServiceException:The specified key does not exist.,Status {status},Error {code}"))
    })?;
    let bytes = got.body.collect().await.map_err(|e| error("XX000", e.to_string()))?;
    Ok(bytes.to_vec())
}

fn unpack(copy: &Copy, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    match (copy.gzip, bytes.starts_with(&[0x1f, 0x8b])) {
        (true, true) => {
            let mut out = Vec::new();
            let read = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut out);
            read.map(|_| out).map_err(|e| e.to_string())
        }
        (true, false) => Err("gzip: not in gzip format".to_owned()),
        (false, true) => Err("Invalid byte sequence: is the file compressed?".to_owned()),
        (false, false) => Ok(bytes),
    }
}

/// Redshift's way to refuse a row.
async fn bad_row(aside: &Client, copy: &Copy, url: &str, line: u64, column: &str, what: &str) -> ErrorInfo {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let note = format!(
        "INSERT INTO sys_load_error_detail (file_name, line_number, column_name, error_message) VALUES ({}, {line}, {}, {})",
        quoted(url),
        quoted(column),
        quoted(what)
    );
    aside.batch_execute(&note).await.expect("the note is taken");
    let table = copy.table.replace('"', "");
    let message = format!("Load into table '{table}' failed.  Check 'sys_load_error_detail' system table for details.");
    error("XX000", message)
}

async fn json(
    client: &Client,
    aside: &Client,
    copy: &Copy,
    columns: &[String],
    url: &str,
    bytes: &[u8],
) -> Result<u64, ErrorInfo> {
    let (table, list) = (&copy.table, columns.join(", "));
    let insert = format!(
        "INSERT INTO {table} ({list}) SELECT {list} FROM json_populate_record(NULL::{table}, ($1::text)::json)"
    );
    let insert = client.prepare(&insert).await.map_err(|e| super::info(&e))?;
    let mut line = 0;
    for value in serde_json::Deserializer::from_slice(bytes).into_iter::<&serde_json::value::RawValue>() {
        line += 1;
        let value = match value {
            Ok(value) => value.get(),
            Err(e) => return Err(bad_row(aside, copy, url, line, "", &format!("Invalid JSON: {e}")).await),
        };
        if let Err(e) = client.execute(&insert, &[&value]).await {
            let said = super::info(&e);
            if e.is_closed() || said.code.starts_with("57") {
                return Err(said);
            }
            let column = e.as_db_error().and_then(|e| e.column()).unwrap_or_default();
            return Err(bad_row(aside, copy, url, line, column, &said.message).await);
        }
    }
    Ok(line)
}

async fn text(
    client: &Client,
    aside: &Client,
    copy: &Copy,
    url: &str,
    bytes: Vec<u8>,
    options: &str,
) -> Result<u64, ErrorInfo> {
    let columns = if copy.columns.is_empty() { String::new() } else { format!(" ({})", copy.columns.join(", ")) };
    let sink = client.copy_in(&format!("COPY {}{columns} FROM STDIN WITH ({options})", copy.table)).await;
    let sink: CopyInSink<Bytes> = sink.map_err(|e| super::info(&e))?;
    let mut sink = pin!(sink);
    sink.send(Bytes::from(bytes)).await.map_err(|e| super::info(&e))?;
    match sink.finish().await {
        Ok(rows) => Ok(rows),
        Err(e) => {
            let said = super::info(&e);
            let what = format!("{}; {}", said.message, said.where_context.unwrap_or_default());
            Err(bad_row(aside, copy, url, 0, "", &what).await)
        }
    }
}
