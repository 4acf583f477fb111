//! The bytes of the plan log's entries: a tag, then the entry's own fields. Tags are on disk: never reuse one.

use super::codec::{EntryReader, put_bytes, put_varint, put_varints};
use super::list::OffsetList;
use super::span::{Span, decode_start, encode_start};
use super::{Abandoned, Entry, Epoch, Mark, Outlet, Plan, Reason, Refused, Totals, Track};
use crate::error::{Error, Kind, Result};
use uuid::Uuid;

/// Plans and marks of before there was anything to give up on; not written any more.
const PLAN_1: u8 = 1;
const MARK_1: u8 = 2;
const RENAME: u8 = 3;
const LOW: u8 = 4;
const EPOCH: u8 = 5;
const BACKUP_FROM: u8 = 6;
const TOTALS: u8 = 7;
const CLOSE: u8 = 8;
const PLAN: u8 = 9;
const MARK: u8 = 10;
const ABANDON: u8 = 11;
const PAUSE: u8 = 12;
const TAKE: u8 = 13;
const TAKEN: u8 = 14;
const REDRIVEN: u8 = 15;
/// A plan of the backup: it has a digest of lengths too.
const BACKUP_PLAN: u8 = 16;
const START: u8 = 17;
const SPAN: u8 = 18;
const MOVE: u8 = 19;
const REFUSED: u8 = 20;
const LOST: u8 = 21;
const LOSS_ACKNOWLEDGED: u8 = 22;

impl Entry {
    /// Appends its tag and its fields.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.tag());
        match self {
            Entry::Plan(plan) => {
                encode_plan(plan, out);
                out.extend(plan.lengths.iter().flat_map(|digest| digest.to_le_bytes()));
            }
            Entry::Mark(mark) => encode_mark(mark, out),
            Entry::Close { plan } => put_varint(out, *plan),
            Entry::Abandon { plan, abandoned } => {
                put_varint(out, *plan);
                encode_abandoned(abandoned, out);
            }
            Entry::Refused { plan, refused: Refused { count, spent_ms, paused_ms } } => {
                put_varints(out, [*plan, *count as u64, *spent_ms, *paused_ms]);
            }
            Entry::Pause(paused) => out.push(*paused as u8),
            Entry::Take { object, lines, from } => {
                put_bytes(out, object.as_bytes());
                put_bytes(out, lines.encoded());
                put_varint(out, *from);
            }
            Entry::Taken { object, taken } => {
                out.push(*taken as u8);
                put_bytes(out, object.as_bytes());
            }
            Entry::Redriven { object } => put_bytes(out, object.as_bytes()),
            Entry::Start(start) => encode_start(start, out),
            Entry::Span { plan, span } => {
                put_varint(out, *plan);
                span.encode(out);
            }
            Entry::Rename { plan, name: place } | Entry::Move { plan, store: place } => {
                put_varint(out, *plan);
                put_bytes(out, place.as_bytes());
            }
            Entry::Lost { track, from, to } => {
                out.push(*track as u8);
                put_varints(out, [*from, *to]);
            }
            Entry::LossAcknowledged { records } => put_varint(out, *records),
            Entry::Low { track, low } => {
                out.push(*track as u8);
                put_varint(out, *low);
            }
            Entry::Epoch(Epoch { number, from, hash }) => {
                put_varints(out, [*number as u64, *from]);
                out.extend_from_slice(hash);
            }
            Entry::BackupFrom(from) => put_varint(out, from.map_or(0, |from| from + 1)),
            Entry::Totals { marks, next_plan, totals } => {
                put_varints(out, [*marks, *next_plan, totals.len() as u64]);
                let totals = totals.iter().flat_map(|t| [t.objects, t.outputs, t.records, t.bytes, t.object_bytes]);
                put_varints(out, totals);
            }
        }
    }

    fn tag(&self) -> u8 {
        match self {
            Entry::Plan(plan) if plan.lengths.is_some() => BACKUP_PLAN,
            Entry::Plan(_) => PLAN,
            Entry::Mark(_) => MARK,
            Entry::Close { .. } => CLOSE,
            Entry::Abandon { .. } => ABANDON,
            Entry::Refused { .. } => REFUSED,
            Entry::Pause(_) => PAUSE,
            Entry::Take { .. } => TAKE,
            Entry::Taken { .. } => TAKEN,
            Entry::Redriven { .. } => REDRIVEN,
            Entry::Start(_) => START,
            Entry::Span { .. } => SPAN,
            Entry::Rename { .. } => RENAME,
            Entry::Move { .. } => MOVE,
            Entry::Lost { .. } => LOST,
            Entry::LossAcknowledged { .. } => LOSS_ACKNOWLEDGED,
            Entry::Low { .. } => LOW,
            Entry::Epoch(_) => EPOCH,
            Entry::BackupFrom(_) => BACKUP_FROM,
            Entry::Totals { .. } => TOTALS,
        }
    }

    /// Reads what [`Entry::encode`] appended, or an earlier version did. Errors: `Corrupt`.
    pub fn decode(from: &mut EntryReader<'_>) -> Result<Entry> {
        let tag = from.take(1)?[0];
        Ok(match tag {
            PLAN | PLAN_1 => Entry::Plan(decode_plan(from, tag == PLAN)?),
            BACKUP_PLAN => {
                let plan = decode_plan(from, true)?;
                Entry::Plan(Plan { lengths: Some(u128::from_le_bytes(from.array()?)), ..plan })
            }
            MARK | MARK_1 => Entry::Mark(decode_mark(from, tag == MARK)?),
            ABANDON => Entry::Abandon { plan: from.varint()?, abandoned: Box::new(decode_abandoned(from)?) },
            REFUSED => {
                let (plan, count) = (from.varint()?, from.varint()? as u32);
                Entry::Refused { plan, refused: Refused { count, spent_ms: from.varint()?, paused_ms: from.varint()? } }
            }
            PAUSE => Entry::Pause(from.take(1)?[0] == 1),
            TAKE => Entry::Take {
                object: from.text()?,
                lines: OffsetList::from_encoded(from.bytes()?.to_vec())?,
                from: from.varint()?,
            },
            TAKEN => {
                let taken = from.take(1)?[0] == 1;
                Entry::Taken { object: from.text()?, taken }
            }
            REDRIVEN => Entry::Redriven { object: from.text()? },
            START => Entry::Start(decode_start(from)?),
            SPAN => Entry::Span { plan: from.varint()?, span: Span::decode(from)? },
            CLOSE => Entry::Close { plan: from.varint()? },
            RENAME => Entry::Rename { plan: from.varint()?, name: from.text()? },
            MOVE => Entry::Move { plan: from.varint()?, store: from.text()? },
            LOW => Entry::Low { track: decode_track(from)?, low: from.varint()? },
            LOST => Entry::Lost { track: decode_track(from)?, from: from.varint()?, to: from.varint()? },
            LOSS_ACKNOWLEDGED => Entry::LossAcknowledged { records: from.varint()? },
            EPOCH => Entry::Epoch(Epoch { number: from.varint()? as u32, from: from.varint()?, hash: from.array()? }),
            BACKUP_FROM => Entry::BackupFrom(from.varint()?.checked_sub(1)),
            TOTALS => {
                let (marks, next_plan, n) = (from.varint()?, from.varint()?, from.varint()? as usize);
                let mut totals = [Totals::default(); Outlet::ALL.len()];
                for t in totals.iter_mut().take(n) {
                    *t = Totals {
                        objects: from.varint()?,
                        outputs: from.varint()?,
                        records: from.varint()?,
                        bytes: from.varint()?,
                        object_bytes: from.varint()?,
                    };
                }
                Entry::Totals { marks, next_plan, totals }
            }
            other => {
                return Err(Error::new(
                    Kind::Corrupt,
                    format!("unknown entry tag {other}, expected 1 to {LOSS_ACKNOWLEDGED}"),
                ));
            }
        })
    }
}

fn decode_track(from: &mut EntryReader<'_>) -> Result<Track> {
    match from.take(1)?[0] {
        0 => Ok(Track::Main),
        1 => Ok(Track::Backup),
        other => Err(Error::new(Kind::Corrupt, format!("track {other} of an entry, expected 0 or 1"))),
    }
}

fn encode_mark(mark: &Mark, out: &mut Vec<u8>) {
    for n in [mark.plan, mark.mark, mark.at_ms, mark.completed, mark.object_bytes] {
        put_varint(out, n);
    }
    put_bytes(out, mark.tag.as_bytes());
    put_varint(out, mark.failed);
}

/// `whole`: it was written with what marks have today.
fn decode_mark(from: &mut EntryReader<'_>, whole: bool) -> Result<Mark> {
    Ok(Mark {
        plan: from.varint()?,
        mark: from.varint()?,
        at_ms: from.varint()?,
        completed: from.varint()?,
        object_bytes: from.varint()?,
        tag: from.text()?,
        failed: if whole { from.varint()? } else { 0 },
    })
}

fn encode_plan(plan: &Plan, out: &mut Vec<u8>) {
    put_varint(out, plan.number);
    out.extend_from_slice(plan.id.as_bytes());
    out.push(plan.outlet as u8);
    put_varint(out, plan.epoch as u64);
    for text in [&plan.store, &plan.name] {
        put_bytes(out, text.as_bytes());
    }
    put_bytes(out, plan.list.encoded());
    put_varint(out, plan.oldest_arrival_ms);
    put_varint(out, plan.bytes);
    out.push(plan.mark.is_some() as u8);
    if let Some(mark) = &plan.mark {
        encode_mark(mark, out);
    }
    put_varint(out, plan.reasons.len() as u64);
    plan.reasons.iter().for_each(|reason| encode_reason(reason, out));
    put_varint(out, plan.planned_ms);
    out.push(plan.abandoned.is_some() as u8);
    if let Some(abandoned) = &plan.abandoned {
        encode_abandoned(abandoned, out);
    }
}

fn encode_reason(reason: &Reason, out: &mut Vec<u8>) {
    put_bytes(out, reason.code.as_bytes());
    put_bytes(out, reason.message.as_bytes());
    put_varint(out, reason.attempts as u64);
    put_varint(out, reason.ended_ms);
}

fn decode_reason(from: &mut EntryReader<'_>) -> Result<Reason> {
    Ok(Reason { code: from.text()?, message: from.text()?, attempts: from.varint()? as u32, ended_ms: from.varint()? })
}

fn encode_abandoned(abandoned: &Abandoned, out: &mut Vec<u8>) {
    encode_reason(&abandoned.reason, out);
    put_bytes(out, abandoned.store.as_bytes());
    put_bytes(out, abandoned.name.as_bytes());
    out.push(abandoned.contents.is_some() as u8);
    if let Some(contents) = &abandoned.contents {
        put_bytes(out, contents);
    }
}

fn decode_abandoned(from: &mut EntryReader<'_>) -> Result<Abandoned> {
    let reason = decode_reason(from)?;
    let (store, name) = (from.text()?, from.text()?);
    let contents = if from.take(1)?[0] == 1 { Some(from.bytes()?.to_vec()) } else { None };
    Ok(Abandoned { reason, store, name, contents })
}

/// `whole`: it was written with what plans have today.
fn decode_plan(from: &mut EntryReader<'_>, whole: bool) -> Result<Plan> {
    let number = from.varint()?;
    let id = Uuid::from_bytes(from.array()?);
    let outlet = from.take(1)?[0];
    let outlet =
        Outlet::from_u8(outlet).ok_or_else(|| Error::new(Kind::Corrupt, format!("plan {number}: outlet {outlet}")))?;
    let epoch = from.varint()? as u32;
    let (store, name) = (from.text()?, from.text()?);
    let list = OffsetList::from_encoded(from.bytes()?.to_vec())?;
    let (oldest_arrival_ms, bytes) = (from.varint()?, from.varint()?);
    let mark = if from.take(1)?[0] == 1 { Some(decode_mark(from, whole)?) } else { None };
    let mut reasons = Vec::new();
    for _ in 0..from.varint()? {
        reasons.push(decode_reason(from)?);
    }
    let (mut planned_ms, mut abandoned) = (oldest_arrival_ms, None);
    if whole {
        planned_ms = from.varint()?;
        abandoned = if from.take(1)?[0] == 1 { Some(Box::new(decode_abandoned(from)?)) } else { None };
    }
    Ok(Plan {
        number,
        id,
        outlet,
        epoch,
        store,
        name,
        list,
        oldest_arrival_ms,
        reasons,
        bytes,
        lengths: None,
        planned_ms,
        abandoned,
        mark,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::plan::list::ListBuilder;

    #[test]
    fn a_plan_of_the_backup_keeps_the_digest_of_lengths_and_others_are_written_as_before() {
        let mut list = ListBuilder::default();
        list.push(7, 0, 1);
        let plan = Plan {
            number: 1,
            id: Uuid::from_u128(2),
            outlet: Outlet::Backup,
            epoch: 3,
            store: "s3://raw".into(),
            name: "x".into(),
            list: list.finish(),
            oldest_arrival_ms: 4,
            reasons: Vec::new(),
            bytes: 5,
            lengths: Some(6 << 100),
            planned_ms: 7,
            abandoned: None,
            mark: None,
        };
        for (plan, tag) in [(plan.clone(), BACKUP_PLAN), (Plan { lengths: None, ..plan }, PLAN)] {
            let (mut bytes, next) = (Vec::new(), Entry::Pause(true));
            let entry = Entry::Plan(plan);
            entry.encode(&mut bytes);
            next.encode(&mut bytes);
            let mut reader = EntryReader(&bytes);
            assert_eq!(bytes[0], tag);
            assert_eq!([Entry::decode(&mut reader).unwrap(), Entry::decode(&mut reader).unwrap()], [entry, next]);
        }
    }
}
