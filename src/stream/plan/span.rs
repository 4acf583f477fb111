//! Where the records of plans stand in a log that is somebody else's. Offsets there are ours, counted from where the lane
//! began again; that a replay counts as the life before did is seen from the places that plans keep.

use super::codec::{EntryReader, put_bytes, put_varint};
use crate::error::{Error, Kind, Result};
use crate::lane::Start;
use crate::record::Position;

/// The places of a plan's first and last record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: Position,
    pub last: Position,
}

fn encode_position(position: &Position, out: &mut Vec<u8>) {
    put_bytes(out, position.sequence.as_bytes());
    put_varint(out, position.sub_sequence);
}

fn decode_position(from: &mut EntryReader<'_>) -> Result<Position> {
    Ok(Position { sequence: from.text()?.into(), sub_sequence: from.varint()? })
}

impl Span {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        encode_position(&self.first, out);
        encode_position(&self.last, out);
    }

    pub(super) fn decode(from: &mut EntryReader<'_>) -> Result<Span> {
        Ok(Span { first: decode_position(from)?, last: decode_position(from)? })
    }
}

/// Numbers are on disk: never reuse one.
pub(super) fn encode_start(start: &Start, out: &mut Vec<u8>) {
    match start {
        Start::TrimHorizon => out.push(0),
        Start::Timestamp(ms) => {
            out.push(1);
            put_varint(out, *ms);
        }
        Start::After { offset, position } => {
            out.push(2);
            put_varint(out, *offset);
            encode_position(position, out);
        }
        Start::End { offset } => {
            out.push(3);
            put_varint(out, *offset);
        }
    }
}

pub(super) fn decode_start(from: &mut EntryReader<'_>) -> Result<Start> {
    Ok(match from.take(1)?[0] {
        0 => Start::TrimHorizon,
        1 => Start::Timestamp(from.varint()?),
        2 => Start::After { offset: from.varint()?, position: decode_position(from)? },
        3 => Start::End { offset: from.varint()? },
        other => return Err(Error::new(Kind::Corrupt, format!("start of a lane {other}, expected 0 to 3"))),
    })
}
