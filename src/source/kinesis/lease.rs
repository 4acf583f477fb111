//! A lease of the Kinesis Client Library's table, and what its checkpoint says of where a shard is read from.

use crate::config::StartingPosition;
use crate::lane::Start;
use crate::record::Position;

/// The library's words for places that are no sequence numbers (docs/firehose.md: "Kinesis Data Streams").
pub(super) const TRIM_HORIZON: &str = "TRIM_HORIZON";
const LATEST: &str = "LATEST";
const AT_TIMESTAMP: &str = "AT_TIMESTAMP";
pub(super) const SHARD_END: &str = "SHARD_END";

/// A row, without its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub shard: String,
    pub owner: Option<String>,
    pub counter: u64,
    /// Where its owner has got to, in the library's words.
    pub checkpoint: String,
    pub checkpoint_sub: u64,
    /// Where new shards begin to be read; `None`: a row that the library made.
    pub begin: Option<ShardBegin>,
    /// When the stream of Kinesis was made, in milliseconds since the Unix epoch; 0: a row that the library made.
    pub created_ms: u64,
    /// The delivery stream that reads it; `None`: a row that the library made.
    pub stream: Option<String>,
}

/// Where shards of a stream begin to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardBegin {
    TrimHorizon,
    /// Milliseconds since the Unix epoch.
    Timestamp(u64),
}

impl Lease {
    pub fn is_ended(&self) -> bool {
        self.checkpoint == SHARD_END
    }

    /// Whether its checkpoint is what we write for a lane that begins here.
    pub fn stands_at(&self, start: &Start) -> bool {
        matches!(start, Start::Timestamp(_)) && self.has_old_words()
            || checkpoint(start) == (self.checkpoint.as_str(), self.checkpoint_sub)
    }

    /// Whether the library fails where it finds this checkpoint, which Hydrant has written once.
    pub fn has_old_words(&self) -> bool {
        self.checkpoint == AT_TIMESTAMP
    }

    /// Where a lane begins that has no state yet. `begin`: where the configuration says that a stream begins, for what the
    /// library would look up there.
    pub fn start(&self, begin: impl FnOnce() -> ShardBegin) -> Start {
        match self.checkpoint.as_str() {
            SHARD_END => Start::End { offset: 0 },
            TRIM_HORIZON => match self.begin {
                Some(ShardBegin::Timestamp(ms)) => Start::Timestamp(ms),
                _ => Start::TrimHorizon,
            },
            LATEST | AT_TIMESTAMP => match self.begin.unwrap_or_else(begin) {
                ShardBegin::Timestamp(ms) => Start::Timestamp(ms),
                ShardBegin::TrimHorizon => Start::TrimHorizon,
            },
            sequence => {
                let position = Position { sequence: sequence.into(), sub_sequence: self.checkpoint_sub };
                Start::After { offset: 0, position }
            }
        }
    }
}

impl ShardBegin {
    /// Where a stream begins to be read that nobody has read before. `now_ms`: the time, in milliseconds since the Unix epoch.
    pub fn of(start: StartingPosition, now_ms: u64) -> ShardBegin {
        match start {
            // Records that came before the stream was opened may come along; none that comes later is missed.
            StartingPosition::Latest => ShardBegin::Timestamp(now_ms),
            StartingPosition::TrimHorizon => ShardBegin::TrimHorizon,
            StartingPosition::Timestamp(ms) => ShardBegin::Timestamp(ms),
        }
    }

    pub(super) fn text(self) -> String {
        match self {
            ShardBegin::TrimHorizon => TRIM_HORIZON.to_owned(),
            ShardBegin::Timestamp(ms) => ms.to_string(),
        }
    }

    pub(super) fn parse(text: &str) -> Option<ShardBegin> {
        match text {
            TRIM_HORIZON => Some(ShardBegin::TrimHorizon),
            ms => ms.parse().ok().map(ShardBegin::Timestamp),
        }
    }
}

/// A place in the library's words.
pub(super) fn checkpoint(start: &Start) -> (&str, u64) {
    match start {
        Start::TrimHorizon => (TRIM_HORIZON, 0),
        // The library has no time for a place in a table, and fails for ever where it finds `AT_TIMESTAMP`: it may read what is
        // older, and misses nothing.
        Start::Timestamp(_) => (TRIM_HORIZON, 0),
        Start::After { position, .. } => (&position.sequence, position.sub_sequence),
        Start::End { .. } => (SHARD_END, 0),
    }
}
