//! The verdict: what the endpoint saw and what stands under the error prefix, against what the clients know.

use super::load::STREAM;
use super::mix::{Hung, is_poison};
use crate::rig::endpoint::{Endpoint, Outcome, Request};
use crate::rig::service::collect;
use crate::stream::kill::record::{Fate, Id, Known};
use hydrant::stream::supervise::Status;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// The last verdict, in numbers.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    pub acked: u64,
    pub in_doubt: u64,
    pub refused: u64,
    /// Found at the endpoint or among the failures.
    pub accepted: u64,
    pub delivered: u64,
    pub failed: u64,
    /// Of the failed ones those that the endpoint had taken as well, in a life that did not live to hear it.
    pub both: u64,
    /// Failed records by code.
    pub codes: BTreeMap<String, u64>,
    pub requests: u64,
    pub ids: u64,
}

/// All requests with one id, in the order of arrival.
type Requests = Vec<(Arc<Request>, Outcome)>;

/// What a verdict is made from.
pub struct Evidence<'a> {
    pub endpoint: &'a Endpoint,
    pub hung: &'a Hung,
    /// The number of the first request of each life.
    pub lives: &'a [(usize, u64)],
    /// Where failures go.
    pub failed: &'a Path,
    pub known: &'a Known,
    pub status: &'a Status,
}

impl Evidence<'_> {
    /// Holds everything against everything; at rest only. An error names the first faults.
    pub fn judge(&self) -> Result<Sums, String> {
        let mut wrong: Vec<String> = self.endpoint.check_one_body_per_id().err().into_iter().collect();
        let mut ids: BTreeMap<String, Requests> = BTreeMap::new();
        let mut seen = self.endpoint.seen();
        seen.sort_by_key(|(r, _)| r.number);
        let mut sums = Sums { requests: seen.len() as u64, ..Sums::default() };
        seen.into_iter().for_each(|(r, outcome)| ids.entry(r.id.clone()).or_default().push((r, outcome)));
        sums.ids = ids.len() as u64;
        let mut holders: BTreeMap<Id, Vec<&Requests>> = BTreeMap::new();
        let mut found = BTreeSet::new();
        for requests in ids.values() {
            wrong.extend(self.sent_again_in_one_life(requests));
            let taken = requests.iter().any(|r| r.1 != Outcome::Refused);
            for record in &requests[0].0.records {
                match whole(record) {
                    Err(e) => wrong.push(format!("request `{}`: {e}", requests[0].0.id)),
                    Ok(id) if taken => holders.entry(id).or_default().push(requests),
                    Ok(id) => drop(found.insert(id)),
                }
            }
        }
        let failures = self.failures(&mut sums, &mut wrong);
        found.extend(holders.keys().chain(failures.keys()).copied());
        let known = self.known.lock();
        wrong.extend(found.iter().filter(|id| !known.contains_key(id)).map(|id| format!("{id:?} was never sent")));
        for (&id, &fate) in known.iter() {
            let holders = holders.get(&id).map_or(&[][..], Vec::as_slice);
            let failed = failures.get(&id).copied().unwrap_or((0, 0));
            if let Err(why) = self.one(id, fate, holders, failed, &mut sums) {
                let at: Vec<&str> = holders.iter().map(|h| h[0].0.id.as_str()).collect();
                wrong.push(format!("record {id:?}, {fate:?}: {why}; taken as {at:?}, {} error records", failed.0));
            }
        }
        wrong.extend(self.miscounted(&sums));
        match wrong.len() {
            0 => Ok(sums),
            n => Err(format!("{n} problems:\n  {}", wrong[..n.min(8)].join("\n  "))),
        }
    }

    /// Judges one record by the requests that were taken with it in them, and its error records.
    fn one(
        &self,
        id: Id,
        fate: Fate,
        holders: &[&Requests],
        (failed, given_up_ms): (u64, u64),
        sums: &mut Sums,
    ) -> Result<(), &'static str> {
        match fate {
            Fate::Acked => sums.acked += 1,
            Fate::InDoubt => sums.in_doubt += 1,
            Fate::Refused => sums.refused += 1,
        }
        // A receiver that looks at the ids knows that what it took twice under one is one.
        if holders.len() > 1 {
            return Err("TWICE: taken under two request ids, or twice in one request");
        }
        if failed > 1 {
            return Err("TWICE among the failures");
        }
        let requests = holders.first();
        let answered = requests.is_some_and(|r| r.iter().any(|r| r.1 == Outcome::Accepted));
        match (answered, failed, fate) {
            (false, 0, Fate::Acked) => return Err("LOST"),
            // That the endpoint took it without a word is no end of it.
            (false, 0, _) if requests.is_some() => return Err("taken without an answer, and then forgotten"),
            (false, 0, _) => return Ok(()),
            (.., Fate::Refused) => return Err("refused and delivered"),
            _ => sums.accepted += 1,
        }
        if is_poison(id) && answered {
            return Err("the endpoint took what it does not take");
        }
        sums.failed += failed;
        sums.delivered += u64::from(failed == 0);
        if answered && failed > 0 {
            sums.both += 1;
            if requests.is_some_and(|r| self.was_heard(r, given_up_ms)) {
                return Err("among the failures, though its success was heard");
            }
        }
        Ok(())
    }

    /// The life in which a request came.
    fn life(&self, request: &Request) -> usize {
        self.lives.partition_point(|(first, _)| *first <= request.number)
    }

    fn is_hung(&self, request: &Request) -> bool {
        self.hung.lock().expect("nobody panics").contains(&request.number)
    }

    /// Whether the last success of a request was heard: it was not if a later life asked again or gave up, perhaps without
    /// reaching anybody, or if nobody may have waited for it any more.
    fn was_heard(&self, requests: &Requests, given_up_ms: u64) -> bool {
        let last = requests.iter().rposition(|r| r.1 == Outcome::Accepted).expect("it was answered");
        let success = &requests[last].0;
        let asked_again = requests[last + 1..].iter().any(|r| self.life(&r.0) > self.life(success));
        let given_up_later = self.lives.partition_point(|(_, at_ms)| *at_ms <= given_up_ms) > self.life(success);
        !asked_again && !given_up_later && !self.is_hung(success)
    }

    /// A life that was told of a success does not ask again.
    fn sent_again_in_one_life(&self, requests: &Requests) -> Option<String> {
        let again = requests.windows(2).find(|pair| {
            let (first, second) = (&pair[0], &pair[1]);
            let told = first.1 == Outcome::Accepted && !self.is_hung(&first.0);
            told && self.life(&first.0) == self.life(&second.0)
        })?;
        let (first, second) = (&again[0].0, &again[1].0);
        Some(format!("`{}` was taken as request {} and came again as {}", first.id, first.number, second.number))
    }

    /// Records among the failures: how often, and when the last attempt ended.
    fn failures(&self, sums: &mut Sums, wrong: &mut Vec<String>) -> BTreeMap<Id, (u64, u64)> {
        let mut objects = Vec::new();
        collect(self.failed, &mut objects);
        let (mut found, mut ids) = (BTreeMap::new(), BTreeSet::new());
        // A ledger file that is full goes to the same place; the deep audit reads it there.
        objects.retain(|(name, _)| !name.contains("/failed/_ledger/"));
        for (name, bytes) in objects {
            if !name.contains("/errors/http-endpoint-failed/") {
                wrong.push(format!("`{name}` stands where nothing goes"));
            }
            for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                match failure(line) {
                    Err(e) => wrong.push(format!("`{name}`: {e}")),
                    Ok((id, code, data_id, ended_ms)) => {
                        let (count, last_ms) = found.entry(id).or_default();
                        (*count, *last_ms) = (*count + 1, ended_ms);
                        *sums.codes.entry(code).or_default() += 1;
                        if !ids.insert(data_id.clone()) {
                            wrong.push(format!("`{name}`: another failure has the id {data_id}"));
                        }
                    }
                }
            }
        }
        found
    }

    /// What the service counts is what was found.
    fn miscounted(&self, sums: &Sums) -> Option<String> {
        let status = self.status;
        let records = |outlet: &str| status.outlets.get(outlet).map_or(0, |o| o.records);
        let (delivered, failed) = (records("destination"), records("delivery-failed"));
        let counted = [status.accepted, delivered, failed, delivered + failed, status.lost, status.gap as u64];
        let found = [sums.accepted, sums.delivered, sums.failed, sums.accepted, 0, 0];
        (counted != found).then(|| {
            format!(
                "`{STREAM}` counts [accepted, delivered, failed, both, lost, gap] {counted:?}, found {found:?}: {status:?}"
            )
        })
    }
}

/// The record that these bytes are, every one of them.
fn whole(bytes: &[u8]) -> Result<Id, String> {
    match Id::at(bytes) {
        Some((id, length)) if length == bytes.len() => Ok(id),
        _ => Err(format!("`{}` is no record of ours", bytes.escape_ascii().to_string().get(..99).unwrap_or_default())),
    }
}

/// A line under the error prefix: its record, code and id, and when the last attempt ended.
fn failure(line: &[u8]) -> Result<(Id, String, String, u64), String> {
    let line: serde_json::Value = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    let raw = base64_simd::STANDARD.decode_to_vec(line["rawData"].as_str().unwrap_or_default());
    let id = whole(&raw.map_err(|e| e.to_string())?)?;
    let code = line["errorCode"].as_str().unwrap_or_default();
    if !code.starts_with("HttpEndpoint.") || line["attemptsMade"].as_u64().unwrap_or(0) == 0 {
        return Err(format!("not as an error record is: {line}"));
    }
    let ended_ms = line["attemptEndingTimestamp"].as_u64().ok_or_else(|| format!("ended at no time: {line}"))?;
    Ok((id, code.to_owned(), format!("{}/{}", line["dataId"], line["subsequenceNumber"]), ended_ms))
}
