//! The state of a lane that any of several nodes may run, one at a time: kept whole, in a place that takes a new version
//! only from who owns the lane and knows the last one. So that whoever lost the lane without noticing binds no plan any
//! more, and nothing is sent under a plan that no commit has accepted.

use super::plan_log::{entries_of, push_entries};
use crate::error::{Error, Kind, Result};
use crate::lane::{CommitOutcome, Start};
use crate::stream::plan::Entry;
use crate::stream::plan::state::State;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long the outcome of a commit may stay unknown before the lane is opened again, which finds out.
const UNKNOWN_MAX: Duration = Duration::from_secs(5);
const UNKNOWN_PAUSE: Duration = Duration::from_millis(50);

/// A place that keeps the state of a lane whole, for whichever node owns it. Calls block.
pub trait StateStore: Send {
    /// What was written last.
    fn load(&self) -> Result<LoadedState>;

    /// Writes the state that follows `version`, under an id of the commit, with where the lane begins.
    fn commit(&self, version: u64, id: Uuid, state: &[u8], start: Option<&Start>) -> CommitOutcome;
}

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadedState {
    /// 0: nothing was ever written.
    pub version: u64,
    /// The commit that wrote it.
    pub commit: String,
    pub state: Option<Vec<u8>>,
}

/// The log of a lane that any of several nodes may run.
pub struct SharedLog {
    store: Box<dyn StateStore>,
    version: u64,
    state: State,
    ledger_mark: u64,
    ended: Option<Error>,
}

impl SharedLog {
    pub fn open(store: Box<dyn StateStore>) -> Result<SharedLog> {
        let loaded = store.load()?;
        let state = match &loaded.state {
            Some(bytes) => State::from_snapshot(entries_of(bytes).map_err(|e| e.during("the lane's state"))?),
            None => State::default(),
        };
        Ok(SharedLog { store, version: loaded.version, state, ledger_mark: 0, ended: None })
    }

    /// The next commit begins another account: whoever had the lane meanwhile knows what became of what was open.
    pub fn begin_anew(&mut self) {
        self.state = State::default();
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// See [`super::log::StateLog::commit`].
    pub fn commit(&mut self, entries: Vec<Entry>) -> Result<()> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        if entries.is_empty() {
            return Ok(());
        }
        let mut state = self.state.clone();
        entries.into_iter().for_each(|e| state.apply(e));
        state.forget_settled(self.ledger_mark);
        let mut bytes = Vec::new();
        push_entries(&mut bytes, &state.snapshot());
        self.write(&bytes, state.start.as_ref())?;
        self.version += 1;
        self.state = state;
        Ok(())
    }

    fn write(&mut self, state: &[u8], start: Option<&Start>) -> Result<()> {
        let (id, begun) = (Uuid::new_v4(), Instant::now());
        let mut unknown = None;
        loop {
            match self.store.commit(self.version, id, state, start) {
                CommitOutcome::Done => return Ok(()),
                CommitOutcome::Refused(why) if unknown.is_none() => {
                    return Err(Error::new(Kind::Retry, format!("commit the lane's state: {why}")));
                }
                CommitOutcome::Fenced(why) => match self.store.load() {
                    // It was written after all, and its answer was lost.
                    Ok(found) if found.version == self.version + 1 && found.commit == id.to_string() => return Ok(()),
                    Ok(_) => return Err(self.end(Kind::Fenced, format!("the lane is somebody else's now: {why}"))),
                    Err(e) => unknown = Some(e.to_string()),
                },
                CommitOutcome::Refused(why) | CommitOutcome::Unknown(why) => unknown = Some(why),
            }
            if begun.elapsed() > UNKNOWN_MAX {
                let why = unknown.unwrap_or_default();
                return Err(self.end(Kind::Poisoned, format!("whether the lane's state was written is unknown: {why}")));
            }
            // The same commit again: if it was written, its version keeps this one out.
            std::thread::sleep(UNKNOWN_PAUSE);
        }
    }

    fn end(&mut self, kind: Kind, message: String) -> Error {
        let error = Error::new(kind, message);
        self.ended = Some(error.clone());
        error
    }

    /// See [`super::log::StateLog::apply_in_memory`].
    pub fn apply_in_memory(&mut self, entries: Vec<Entry>) {
        entries.into_iter().for_each(|e| self.state.apply(e));
    }

    /// See [`super::log::StateLog::ledger_is_durable_to`].
    pub fn ledger_is_durable_to(&mut self, mark: u64) {
        self.ledger_mark = mark;
        self.state.forget_settled(mark);
    }

    /// The mark behind which a ledger has to go on: lines of later ones may be nowhere.
    pub fn ledger_from(&self) -> u64 {
        let marks = self.state.plans.values().filter_map(|p| p.mark.as_ref()).map(|m| m.mark);
        marks.min().map_or(self.state.marks, |first| first - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::plan::Track;
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    /// A store of one row, and what it answers instead of doing what it is told.
    #[derive(Clone, Default)]
    struct Row(Arc<Mutex<(LoadedState, VecDeque<Trouble>)>>);

    enum Trouble {
        /// It is written, and the answer lost.
        Lost,
        /// Nothing is written and the answer lost.
        Dropped,
        Refused,
    }

    impl StateStore for Row {
        fn load(&self) -> Result<LoadedState> {
            Ok(self.0.lock().unwrap().0.clone())
        }

        fn commit(&self, version: u64, id: Uuid, state: &[u8], _: Option<&Start>) -> CommitOutcome {
            let (row, troubles) = &mut *self.0.lock().unwrap();
            let trouble = troubles.pop_front();
            match trouble {
                Some(Trouble::Dropped) => return CommitOutcome::Unknown("no answer".into()),
                Some(Trouble::Refused) => return CommitOutcome::Refused("too often".into()),
                Some(Trouble::Lost) | None => {}
            }
            if row.version != version {
                return CommitOutcome::Fenced(format!("version {}", row.version));
            }
            *row = LoadedState { version: version + 1, commit: id.to_string(), state: Some(state.to_vec()) };
            if trouble.is_some() { CommitOutcome::Unknown("no answer".into()) } else { CommitOutcome::Done }
        }
    }

    fn low(low: u64) -> Vec<Entry> {
        vec![Entry::Low { track: Track::Main, low }]
    }

    #[test]
    fn a_commit_is_known_to_be_written_or_not_whatever_is_answered() {
        let row = Row::default();
        let mut log = SharedLog::open(Box::new(row.clone())).unwrap();
        row.0.lock().unwrap().1.extend([Trouble::Lost, Trouble::Dropped, Trouble::Dropped]);
        log.commit(low(1)).unwrap();
        log.commit(low(2)).unwrap();
        row.0.lock().unwrap().1.push_back(Trouble::Refused);
        assert_eq!(log.commit(low(3)).map_err(|e| e.kind), Err(Kind::Retry));
        assert_eq!(log.state().low[0], 2, "nothing was changed");
        log.commit(low(4)).unwrap();
        assert_eq!(row.load().unwrap().version, 3);
        assert_eq!(SharedLog::open(Box::new(row)).unwrap().state().low[0], 4);
    }

    #[test]
    fn whoever_does_not_know_the_last_state_binds_nothing() {
        let row = Row::default();
        let mut one = SharedLog::open(Box::new(row.clone())).unwrap();
        one.commit(low(1)).unwrap();
        let mut two = SharedLog::open(Box::new(row.clone())).unwrap();
        two.commit(low(2)).unwrap();
        for _ in 0..2 {
            assert_eq!(one.commit(low(9)).map_err(|e| e.kind), Err(Kind::Fenced));
        }
        two.commit(low(3)).unwrap();
        assert_eq!(SharedLog::open(Box::new(row)).unwrap().state().low[0], 3);
    }
}
