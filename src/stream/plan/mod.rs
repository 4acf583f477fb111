//! Plans: the decisions that a lane persists, and the entries of which its plan log consists. No I/O: what is durable is the
//! log's matter.

pub mod codec;
pub mod entry;
pub mod lengths;
pub mod list;
pub mod loss;
pub mod outlet;
pub mod replay;
pub mod snapshot;
pub mod span;
pub mod state;

use self::list::OffsetList;
pub use self::outlet::{Outlet, Track};
use self::span::Span;
use crate::lane::Start;
use uuid::Uuid;

/// Why a record failed: kept in the plan, so that a replay does not judge again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub code: String,
    pub message: String,
    pub attempts: u32,
    /// Milliseconds since the Unix epoch at which the last attempt ended.
    pub ended_ms: u64,
}

/// The persisted decision that exactly these records, in this outlet, with this key, become this object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Short name within the log.
    pub number: u64,
    pub id: Uuid,
    pub outlet: Outlet,
    pub epoch: u32,
    /// The store the object goes to, such as `s3://bucket`: a plan keeps it through every reload.
    pub store: String,
    /// The object's name in that store.
    pub name: String,
    pub list: OffsetList,
    pub oldest_arrival_ms: u64,
    /// For failures: one per listed record, in order.
    pub reasons: Vec<Reason>,
    /// Bytes of the records as they were buffered, before compression.
    pub bytes: u64,
    /// Of a backup: the digest of its records' lengths (see `backed_up`).
    pub lengths: Option<u128>,
    /// Milliseconds since the Unix epoch at which it was decided.
    pub planned_ms: u64,
    /// Its destination was given up on: it is never sent there again.
    pub abandoned: Option<Box<Abandoned>>,
    /// Set once settled.
    pub mark: Option<Mark>,
}

/// What becomes of a plan that its destination did not take: another object tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    pub reason: Reason,
    /// Where the object goes, and its name there.
    pub store: String,
    pub name: String,
    /// What stands in it; `None`: an error record for each listed output.
    pub contents: Option<Vec<u8>>,
}

impl Plan {
    pub fn is_open(&self) -> bool {
        self.mark.is_none()
    }

    /// Where its records end.
    pub fn ends_in(&self) -> Outlet {
        if self.abandoned.is_some() { Outlet::DeliveryFailed } else { self.outlet }
    }

    /// The outlet that counts it. A copy for the backup is one wherever it goes.
    pub fn counts_in(&self) -> Outlet {
        if self.outlet == Outlet::Backup { Outlet::Backup } else { self.ends_in() }
    }

    /// Whether an error record is made of each of its outputs.
    pub fn tells_of_outputs(&self) -> bool {
        self.outlet != Outlet::Backup && self.abandoned.as_ref().is_some_and(|a| a.contents.is_none())
    }

    /// Store and name of the object that it becomes.
    pub fn place(&self) -> (&str, &str) {
        match &self.abandoned {
            Some(abandoned) => (&abandoned.store, &abandoned.name),
            None => (&self.store, &self.name),
        }
    }

    /// Gives its object another name.
    pub fn rename(&mut self, name: String) {
        match &mut self.abandoned {
            Some(abandoned) => abandoned.name = name,
            None => self.name = name,
        }
    }

    /// Sends its object to another store.
    pub(super) fn send_to(&mut self, store: String) {
        match &mut self.abandoned {
            Some(abandoned) => abandoned.store = store,
            None => self.store = store,
        }
    }

    /// What it takes in memory and, about, in a snapshot.
    pub fn memory_bytes(&self) -> usize {
        let reasons: usize = self.reasons.iter().map(|r| size_of::<Reason>() + r.code.len() + r.message.len()).sum();
        let abandoned = self.abandoned.as_ref().map_or(0, |a| {
            let texts = a.reason.code.len() + a.reason.message.len() + a.store.len() + a.name.len();
            size_of::<Abandoned>() + texts + a.contents.as_ref().map_or(0, Vec::len)
        });
        size_of::<Plan>() + self.store.len() + self.name.len() + self.list.encoded().len() + reasons + abandoned
    }
}

/// `epoch number from offset from`, with its configuration by hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    pub number: u32,
    pub from: u64,
    pub hash: [u8; 32],
}

/// What a settled plan adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub plan: u64,
    /// Marks are numbered without a gap, in the order of the log.
    pub mark: u64,
    pub at_ms: u64,
    /// Records of which this mark settles the last output, and all others ended well.
    pub completed: u64,
    /// Records of which this mark settles the last output, and another one was given up on.
    pub failed: u64,
    /// Bytes of the object as stored.
    pub object_bytes: u64,
    /// The store's tag of the object, as far as it gave one.
    pub tag: String,
}

/// Settled so far, per outlet, each counted by its own marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub objects: u64,
    pub outputs: u64,
    pub records: u64,
    pub bytes: u64,
    pub object_bytes: u64,
}

/// How a destination has refused an open plan so far: its patience with it goes on in the next life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    pub count: u32,
    /// The time since its first attempt began, in milliseconds, without that between lives.
    pub spent_ms: u64,
    /// The pauses between attempts together, in milliseconds.
    pub paused_ms: u64,
}

/// A change of a lane's state. Tags are on disk: never reuse one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Plan(Plan),
    Mark(Mark),
    /// An open plan ends without a mark: what it lists is in plans of the same commit.
    Close {
        plan: u64,
    },
    /// An open plan is given up on.
    Abandon {
        plan: u64,
        abandoned: Box<Abandoned>,
    },
    /// What an open plan's destination has cost so far.
    Refused {
        plan: u64,
        refused: Refused,
    },
    /// Nothing is delivered until the next of these says so.
    Pause(bool),
    /// Lines of a failure object are about to be put in again, as one frame at or above this offset of the journal.
    Take {
        object: String,
        lines: OffsetList,
        from: u64,
    },
    /// They are in the journal, or will not be.
    Taken {
        object: String,
        taken: bool,
    },
    /// A mark beside the object says which of its lines were put in again.
    Redriven {
        object: String,
    },
    /// Somebody else's object stands at the old name.
    Rename {
        plan: u64,
        name: String,
    },
    /// There is no such store as it went to, and never was: it goes to this one.
    Move {
        plan: u64,
        store: String,
    },
    Low {
        track: Track,
        low: u64,
    },
    Epoch(Epoch),
    /// The backup track exists from this offset on; `None` ends it.
    BackupFrom(Option<u64>),
    /// Where a lane that is somebody else's begins again.
    Start(Start),
    /// Where there the records of a plan of the same commit stand.
    Span {
        plan: u64,
        span: Span,
    },
    /// These offsets of a track were acknowledged and cannot be read any more. What plans of the main track count as lost is
    /// in an entry of its own only in snapshots.
    Lost {
        track: Track,
        from: u64,
        to: u64,
    },
    /// Somebody has taken note that so many records are lost.
    LossAcknowledged {
        records: u64,
    },
    /// Only in snapshots.
    Totals {
        marks: u64,
        next_plan: u64,
        totals: [Totals; Outlet::ALL.len()],
    },
}
