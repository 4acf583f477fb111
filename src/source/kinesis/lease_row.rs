//! The attributes of a lease's row: the library's, and ours beside them.

use super::leases::{Begin, Lease};
use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::HashMap;

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(n: u64) -> AttributeValue {
    AttributeValue::N(n.to_string())
}

pub(super) type Row = HashMap<String, AttributeValue>;

pub(super) fn text_of<'r>(row: &'r Row, name: &str) -> Option<&'r str> {
    row.get(name).and_then(|value| value.as_s().ok()).map(String::as_str)
}

pub(super) fn number_of(row: &Row, name: &str) -> Option<u64> {
    row.get(name).and_then(|value| value.as_n().ok()).and_then(|n| n.parse().ok())
}

/// Attributes that a row may lack.
const LOOKED_AT: [&str; 7] = [
    "leaseOwner",
    "checkpointSubSequenceNumber",
    "hydrantBegin",
    "hydrantDeliveryStream",
    "hydrantHandOvers",
    "hydrantStreamCreated",
    "hydrantVersion",
];

/// A row as a lease; what is wrong with it if it is none.
pub(super) fn lease(row: &Row) -> std::result::Result<Lease, String> {
    let shard = text_of(row, "leaseKey").ok_or("found a row without `leaseKey`")?.to_owned();
    if shard.contains(':') {
        return Err(format!(
            "found the lease `{shard}`, as the KCL keeps them where one application reads several streams: a table of Hydrant \
             is of one stream"
        ));
    }
    let lacks = |name: &str| format!("the row `{shard}` has no `{name}`, as every lease of the KCL has");
    // What is there and cannot be read is not taken for what is not there.
    let is_unfit = |name: &&&str| match **name {
        "hydrantBegin" => row.contains_key(**name) && text_of(row, name).and_then(Begin::parse).is_none(),
        "leaseOwner" | "hydrantDeliveryStream" => row.contains_key(**name) && text_of(row, name).is_none(),
        _ => row.contains_key(**name) && number_of(row, name).is_none(),
    };
    if let Some(name) = LOOKED_AT.iter().find(is_unfit) {
        return Err(format!("the row `{shard}` has a `{name}` that cannot be read: found {:?}", row[*name]));
    }
    Ok(Lease {
        owner: text_of(row, "leaseOwner").map(str::to_owned),
        counter: number_of(row, "leaseCounter").ok_or_else(|| lacks("leaseCounter"))?,
        checkpoint: text_of(row, "checkpoint").ok_or_else(|| lacks("checkpoint"))?.to_owned(),
        checkpoint_sub: number_of(row, "checkpointSubSequenceNumber").unwrap_or(0),
        begin: text_of(row, "hydrantBegin").and_then(Begin::parse),
        created_ms: number_of(row, "hydrantStreamCreated").unwrap_or(0),
        stream: text_of(row, "hydrantDeliveryStream").map(str::to_owned),
        shard,
    })
}
