//! Alarms: what needs a person. Each has a kind, by which it is counted in the metrics, and a subject; by these two it is known
//! again while its words change, so that it is logged once when it begins and once when it ends.

use crate::error::{Error, Kind};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// A stream is not open yet, could not be opened, or its lane has stopped.
    Stopped,
    /// The journal does not take what is put.
    PutsRefused,
    /// A plan is held until a person decides what becomes of it.
    PlanHeld,
    /// Acknowledged records cannot be read any more.
    RecordsLost,
    /// Records of a shard have expired, or may have, before they were read.
    RecordsExpired,
    /// The disk has no room for what the stream has to write.
    NoRoom,
    /// What the configuration says cannot be done, or is not in force.
    Misconfigured,
    /// The stream waits for something that is none of the others.
    Stalled,
    /// The destination or the backup does not take what is sent.
    NotDelivered,
    /// A source cannot be read.
    SourceNotRead,
    /// Shards that nobody reads any more hold records that are not delivered.
    ShardNotRead,
    /// A stalled track of a shard is left behind, so that the other one goes on.
    TrackLeftBehind,
    /// A column has no values, while keys of records name no column.
    ColumnsEmpty,
}

impl AlarmKind {
    /// Every kind, as the metrics list them.
    pub const ALL: [AlarmKind; 13] = [
        AlarmKind::Stopped,
        AlarmKind::PutsRefused,
        AlarmKind::PlanHeld,
        AlarmKind::RecordsLost,
        AlarmKind::RecordsExpired,
        AlarmKind::NoRoom,
        AlarmKind::Misconfigured,
        AlarmKind::Stalled,
        AlarmKind::NotDelivered,
        AlarmKind::SourceNotRead,
        AlarmKind::ShardNotRead,
        AlarmKind::TrackLeftBehind,
        AlarmKind::ColumnsEmpty,
    ];

    /// Its name in metrics, in `/v1/streams` and in logs.
    pub fn name(self) -> &'static str {
        match self {
            AlarmKind::Stopped => "stopped",
            AlarmKind::PutsRefused => "puts_refused",
            AlarmKind::PlanHeld => "plan_held",
            AlarmKind::RecordsLost => "records_lost",
            AlarmKind::RecordsExpired => "records_expired",
            AlarmKind::NoRoom => "no_room",
            AlarmKind::Misconfigured => "misconfigured",
            AlarmKind::Stalled => "stalled",
            AlarmKind::NotDelivered => "not_delivered",
            AlarmKind::SourceNotRead => "source_not_read",
            AlarmKind::ShardNotRead => "shard_not_read",
            AlarmKind::TrackLeftBehind => "track_left_behind",
            AlarmKind::ColumnsEmpty => "columns_empty",
        }
    }
}

/// Something that needs a person for as long as it lasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    pub kind: AlarmKind,
    /// What of the stream it is about: a shard, a plan, a store. Empty: the stream.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The cause as far as it has a name, such as an error's code: the alarm is logged again when that changes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// When it began, in milliseconds since the Unix epoch; 0 while nobody has noted that.
    pub since_ms: u64,
    /// What is wrong and, where that can be told, what to do: a sentence.
    pub detail: String,
}

impl Alarm {
    /// An alarm about the stream as a whole.
    pub fn new(kind: AlarmKind, detail: impl Into<String>) -> Alarm {
        Alarm { kind, subject: String::new(), cause: String::new(), since_ms: 0, detail: detail.into() }
    }

    /// The alarm of an error that is met again and again.
    pub fn of_error(error: &Error) -> Alarm {
        let kind = match error.kind {
            Kind::NoSpace => AlarmKind::NoRoom,
            Kind::Misconfigured => AlarmKind::Misconfigured,
            _ => AlarmKind::Stalled,
        };
        Alarm::new(kind, error.to_string())
    }

    /// The same about a part of it.
    pub fn about(self, subject: impl Into<String>) -> Alarm {
        Alarm { subject: subject.into(), ..self }
    }

    /// The same with its cause.
    pub fn because_of(self, cause: impl Into<String>) -> Alarm {
        Alarm { cause: cause.into(), ..self }
    }

    /// The same with the time at which it began.
    pub fn since(self, since_ms: u64) -> Alarm {
        Alarm { since_ms, ..self }
    }

    /// The same of a stream one of whose shards has it.
    pub fn of_shard(self, shard: &str) -> Alarm {
        let part = if self.subject.is_empty() { String::new() } else { format!(", {}", self.subject) };
        let detail = format!("shard `{shard}`: {}", self.detail);
        Alarm { subject: format!("shard {shard}{part}"), detail, ..self }
    }

    /// Whether it is the same alarm, whatever it says by now.
    pub fn is_same(&self, other: &Alarm) -> bool {
        (self.kind, &self.subject) == (other.kind, &other.subject)
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// What the first alarm of each kind says, as one sentence; `None` if there is none.
pub fn headline(alarms: &[Alarm]) -> Option<String> {
    let mut details: Vec<&Alarm> = Vec::new();
    for alarm in alarms {
        if !details.iter().any(|known| known.kind == alarm.kind) {
            details.push(alarm);
        }
    }
    let details: Vec<&str> = details.into_iter().map(|alarm| alarm.detail.as_str()).collect();
    (!details.is_empty()).then(|| details.join("; "))
}

/// The alarms of one holder, with the time at which each began.
#[derive(Default)]
pub struct AlarmBoard {
    alarms: Vec<Alarm>,
}

/// What has changed on a board.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AlarmChanges {
    pub begun: Vec<Alarm>,
    pub ended: Vec<Alarm>,
}

impl AlarmBoard {
    /// Replaces what is on the board by `alarms`: one that was there before keeps its time, one that was not has begun at
    /// `now_ms` unless it says otherwise. One whose cause has changed counts as begun, too.
    pub fn update(&mut self, alarms: Vec<Alarm>, now_ms: u64) -> AlarmChanges {
        if alarms.is_empty() && self.alarms.is_empty() {
            return AlarmChanges::default();
        }
        let mut changes = AlarmChanges::default();
        let before = std::mem::take(&mut self.alarms);
        for mut alarm in alarms {
            let known = before.iter().find(|known| known.is_same(&alarm));
            if alarm.since_ms == 0 {
                alarm.since_ms = known.map_or(now_ms, |known| known.since_ms);
            }
            let is_known = known.is_some_and(|known| known.cause == alarm.cause);
            changes.begun.extend((!is_known).then(|| alarm.clone()));
            self.alarms.push(alarm);
        }
        let is_there = |known: &Alarm| self.alarms.iter().any(|alarm| alarm.is_same(known));
        changes.ended = before.into_iter().filter(|known| !is_there(known)).collect();
        changes
    }

    /// What is on the board, in the order in which it was given.
    pub fn alarms(&self) -> &[Alarm] {
        &self.alarms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_known_again_though_its_words_change() {
        let mut board = AlarmBoard::default();
        let full = |words: &str| Alarm::new(AlarmKind::NoRoom, words);
        let refused = |words: &str| Alarm::new(AlarmKind::NotDelivered, words).about("s3://b");
        assert_eq!(board.update(vec![full("1 byte is missing")], 10).begun, [full("1 byte is missing").since(10)]);
        let changes = board.update(vec![refused("attempt 1"), full("2 bytes are missing")], 20);
        assert_eq!((changes.begun, changes.ended), (vec![refused("attempt 1").since(20)], vec![]));
        let changes = board.update(vec![refused("attempt 2")], 30);
        assert_eq!((changes.begun, changes.ended), (vec![], vec![full("2 bytes are missing").since(10)]));
        assert_eq!(board.alarms(), [refused("attempt 2").since(20)]);
        assert_eq!(headline(board.alarms()).as_deref(), Some("attempt 2"));
        let changed = board.update(vec![refused("attempt 3").because_of("S3.AccessDenied")], 35);
        assert_eq!((changed.begun.len(), changed.begun[0].since_ms, changed.ended.len()), (1, 20, 0));
        assert_eq!(board.update(vec![refused("attempt 3").about("s3://c")], 40).ended.len(), 1);
    }

    #[test]
    fn kinds_are_named_in_metrics_as_in_the_page() {
        for kind in AlarmKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
