//! The attributes of a lease's row: the library's, and ours beside them.

use super::lease::{Lease, ShardBegin};
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
    let shard =
        text_of(row, "leaseKey").filter(|key| !key.is_empty()).ok_or("found a row without `leaseKey`")?.to_owned();
    if shard.contains(':') {
        return Err(format!(
            "found the lease `{shard}`, as the KCL keeps them where one application reads several streams: a table of Hydrant \
             is of one stream"
        ));
    }
    let lacks = |name: &str| format!("the row `{shard}` has no `{name}`, as every lease of the KCL has");
    // What is there and cannot be read is not taken for what is not there.
    let is_unfit = |name: &&&str| match **name {
        "hydrantBegin" => row.contains_key(**name) && text_of(row, name).and_then(ShardBegin::parse).is_none(),
        "leaseOwner" | "hydrantDeliveryStream" => {
            row.contains_key(**name) && text_of(row, name).is_none_or(str::is_empty)
        }
        _ => row.contains_key(**name) && number_of(row, name).is_none(),
    };
    if let Some(name) = LOOKED_AT.iter().find(is_unfit) {
        return Err(format!("the row `{shard}` has a `{name}` that cannot be read: found {:?}", row[*name]));
    }
    Ok(Lease {
        owner: text_of(row, "leaseOwner").map(str::to_owned),
        counter: number_of(row, "leaseCounter").ok_or_else(|| lacks("leaseCounter"))?,
        checkpoint: text_of(row, "checkpoint").filter(|c| !c.is_empty()).ok_or_else(|| lacks("checkpoint"))?.to_owned(),
        checkpoint_sub: number_of(row, "checkpointSubSequenceNumber").unwrap_or(0),
        begin: text_of(row, "hydrantBegin").and_then(ShardBegin::parse),
        created_ms: number_of(row, "hydrantStreamCreated").unwrap_or(0),
        stream: text_of(row, "hydrantDeliveryStream").map(str::to_owned),
        shard,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_whose_key_checkpoint_or_owner_is_missing_or_empty_is_no_lease() {
        let whole: Row = [("leaseKey", "shardId-0"), ("checkpoint", "5"), ("leaseOwner", "us")]
            .map(|(name, value)| (name.to_owned(), text(value)))
            .into_iter()
            .chain([("leaseCounter".to_owned(), number(1))])
            .collect();
        assert_eq!(lease(&whole).map(|lease| lease.shard), Ok("shardId-0".to_owned()));
        for name in ["leaseKey", "checkpoint", "leaseOwner"] {
            let (mut lacks, mut empty) = (whole.clone(), whole.clone());
            lacks.remove(name);
            empty.insert(name.to_owned(), text(""));
            // Nobody may have it.
            assert_eq!(lease(&lacks).is_ok(), name == "leaseOwner", "{name}");
            assert!(lease(&empty).is_err(), "{name}");
        }
    }
}
