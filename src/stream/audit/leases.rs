//! The account of shards that several nodes share: what became of their records is in the lease table, whichever node it
//! was that read them.

use super::{Audit, account, survey_of_shard};
use crate::config::{self, StreamConfig};
use crate::error::{Kind, Result};
use crate::source::kinesis::lease::Lease;
use crate::source::kinesis::lease_state::KeptState;
use crate::source::kinesis::leases::Leases;
use crate::stream::plan::state::State;
use crate::stream::state_log::plan_log::entries_of;
use std::time::Duration;
use tokio::runtime::Handle;

/// A table that is busy, or does not answer, is asked so often, with pauses that double; after that it is a problem.
const TRIES: u32 = 7;
const PAUSE_FIRST: Duration = Duration::from_millis(200);

/// A stream's lease table, with the settings of its source.
pub type Table<'c> = (&'c config::Kinesis, &'c config::LeaseTable);

/// Reads what a store (its id) has under a name, or says why it cannot.
pub type Fetch<'f> = &'f dyn Fn(&str, &str) -> std::result::Result<Vec<u8>, String>;

/// The lease table of a stream, if nodes share its shards.
pub fn of_table(config: &StreamConfig) -> Option<Table<'_>> {
    let kinesis = config.kinesis()?;
    kinesis.coordination.as_ref().map(|coordination| (kinesis, &coordination.dynamodb))
}

/// The account of each lease of a stream's table. Blocks.
pub fn audit(runtime: &Handle, (settings, table): Table, stream: &str, fetch: Fetch) -> Result<Vec<Audit>> {
    let leases = runtime.block_on(Leases::connect(settings, table, stream, "audit".into()))?;
    let listed = runtime.block_on(asked(|| leases.list()))?;
    listed.into_iter().map(|lease| of_lease(runtime, &leases, lease, stream, fetch)).collect()
}

/// What the table answers in the end.
async fn asked<T, F: Future<Output = Result<T>>>(ask: impl Fn() -> F) -> Result<T> {
    let mut pause = PAUSE_FIRST;
    for _ in 1..TRIES {
        match ask().await {
            Err(e) if e.kind == Kind::Retry => tokio::time::sleep(pause).await,
            answer => return answer,
        }
        pause *= 2;
    }
    ask().await
}

fn of_lease(runtime: &Handle, leases: &Leases, lease: Lease, stream: &str, fetch: Fetch) -> Result<Audit> {
    let name = format!("{stream}/{}/{}", lease.created_ms, lease.shard);
    let bytes = loop {
        let (_, kept) = runtime.block_on(asked(|| leases.load(&lease.shard)))?;
        match kept.state {
            KeptState::None => break Ok(None),
            KeptState::Bytes(bytes) => break Ok(Some(bytes)),
            KeptState::Object { store, name } => match fetch(&store, &name) {
                Ok(bytes) => break Ok(Some(bytes)),
                // Its owner removes it when the row names another.
                Err(_) if runtime.block_on(asked(|| leases.load(&lease.shard)))?.1.version != kept.version => {}
                Err(why) => break Err(format!("its state: {why}")),
            },
        }
    };
    let state = bytes.and_then(|bytes| match bytes {
        Some(bytes) => entries_of(&bytes).map(State::from_snapshot).map_err(|e| format!("its state: {e}")),
        None => Ok(State::default()),
    });
    Ok(match state {
        Ok(state) => account(name, &state, &survey_of_shard(&state)),
        Err(why) => Audit::impossible(name, why),
    })
}
