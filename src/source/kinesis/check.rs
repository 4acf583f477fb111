//! Whether a stream of Kinesis can be read as the configuration says. Everything is tried out, and nothing is made: neither
//! a consumer nor a table.

use super::client::{At, KinesisClient};
use super::leases::Leases;
use crate::config;

/// What does not work, each at the keys below `kinesis` that lead there.
pub async fn check(settings: &config::Kinesis) -> Vec<(Vec<&'static str>, String)> {
    let mut found = Vec::new();
    match stream(settings).await {
        Err(message) => found.push((vec!["stream"], message)),
        Ok((kinesis, arn)) => {
            if let Some(name) = &settings.consumer
                && let Err(e) = kinesis.has_consumer(&arn, name).await
            {
                found.push((vec!["consumer"], e.to_string()));
            }
        }
    }
    if let Some(coordination) = &settings.coordination
        && let Err(message) = table(settings, &coordination.dynamodb).await
    {
        found.push((vec!["coordination", "dynamodb", "table"], message));
    }
    found
}

/// Reads what every life of a stream begins with; the stream's ARN.
async fn stream(settings: &config::Kinesis) -> Result<(KinesisClient, String), String> {
    let kinesis = KinesisClient::connect(settings).await.map_err(|e| e.to_string())?;
    let summary = kinesis.summary().await.map_err(|e| e.to_string())?;
    let shards = kinesis.shards().await.map_err(|e| e.to_string())?;
    let shard = shards.last().ok_or("ListShards: found no shard, expected one")?;
    let iterator = kinesis.iterator(&shard.id, At::TrimHorizon).await;
    let iterator = iterator.map_err(|refused| format!("GetShardIterator: {}", refused.message))?;
    kinesis.records(&iterator, 1).await.map_err(|refused| format!("GetRecords: {}", refused.message))?;
    Ok((kinesis, summary.arn))
}

async fn table(settings: &config::Kinesis, table: &config::LeaseTable) -> Result<(), String> {
    let leases = Leases::connect(settings, table, "", "check".to_owned()).await.map_err(|e| e.to_string())?;
    // One that is not there is made by `run`.
    if leases.is_there().await.map_err(|e| e.to_string())? {
        leases.list().await.map_err(|e| e.to_string())?;
    }
    Ok(())
}
