//! Run-length encodings of the ORC v1 specification: of bytes, of bits, and version 2 of that of integers.
//!
//! Of the four forms of the last one, patched base is not written: what it saves on outliers is little, and looking for them
//! costs every block.

use super::stream::OrcStream;

/// Integers of a block, the most that a run may have.
const BLOCK: usize = 512;
/// Equal integers that are worth a run of their own; what stands before and behind it needs a header each.
const EQUAL_MIN: usize = 8;
/// The same of integers that rise or fall by the same step.
const STEPS_MIN: usize = 16;
/// Equal integers that have the shortest form.
const SHORT_MAX: usize = 10;

/// Integers, encoded by version 2.
pub(super) struct IntRuns {
    signed: bool,
    values: Vec<i64>,
    out: OrcStream,
}

impl IntRuns {
    pub(super) fn new(signed: bool, out: OrcStream) -> IntRuns {
        IntRuns { signed, values: Vec::new(), out }
    }

    pub(super) fn push(&mut self, value: i64) {
        self.values.push(value);
        if self.values.len() == BLOCK {
            self.flush();
        }
    }

    /// Ends the run.
    pub(super) fn flush(&mut self) {
        encode(&self.values, self.signed, self.out.tail());
        self.values.clear();
        self.out.settle();
    }

    /// Ends the run, and where the next one begins.
    pub(super) fn position(&mut self, positions: &mut Vec<u64>) {
        self.flush();
        self.out.position(positions);
        positions.push(0);
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        self.flush();
        self.out.take()
    }

    pub(super) fn stream(&self) -> &OrcStream {
        &self.out
    }
}

/// Encodes a block, in runs of whatever form suits.
fn encode(values: &[i64], signed: bool, out: &mut Vec<u8>) {
    let (mut literals, mut at) = (0, 0);
    while at < values.len() {
        let step = values.get(at + 1).and_then(|next| next.checked_sub(values[at]));
        let end = match step {
            None => at + 1,
            Some(step) => {
                let steps = values[at..].windows(2).take_while(|w| w[1].checked_sub(w[0]) == Some(step));
                at + 1 + steps.count()
            }
        };
        let count = end - at;
        let is_run = match step {
            Some(0) => count >= EQUAL_MIN,
            Some(_) => count >= STEPS_MIN,
            None => false,
        };
        match step.filter(|_| is_run) {
            Some(step) => {
                encode_literals(&values[literals..at], signed, out);
                match step {
                    0 if count <= SHORT_MAX => encode_short(values[at], count, signed, out),
                    _ => encode_steps(values[at], step, count, signed, out),
                }
                literals = end;
                at = end;
            }
            // The last one may begin the next run.
            None => at = (end - 1).max(at + 1),
        }
    }
    encode_literals(&values[literals..], signed, out);
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

fn unsigned(value: i64, signed: bool) -> u64 {
    if signed { zigzag(value) } else { value as u64 }
}

pub(super) fn push_varint(mut value: u128, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The narrowest width, in bits, that may be written and holds so many.
fn width_for(bits: u32) -> u32 {
    const WIDE: [u32; 8] = [26, 28, 30, 32, 40, 48, 56, 64];
    match bits {
        0 => 1,
        1..=24 => bits,
        _ => WIDE.into_iter().find(|width| *width >= bits).unwrap_or(64),
    }
}

fn width_code(width: u32) -> u32 {
    match width {
        1..=24 => width - 1,
        26..=32 => 24 + (width - 26) / 2,
        _ => 28 + (width - 40) / 8,
    }
}

fn push_header(form: u32, code: u32, count: usize, out: &mut Vec<u8>) {
    let length = count as u32 - 1;
    out.extend_from_slice(&[(form << 6 | code << 1 | length >> 8) as u8, length as u8]);
}

fn encode_short(value: i64, count: usize, signed: bool, out: &mut Vec<u8>) {
    let value = unsigned(value, signed);
    let bytes = (64 - value.leading_zeros()).div_ceil(8).max(1) as usize;
    out.push(((bytes - 1) << 3 | (count - 3)) as u8);
    out.extend_from_slice(&value.to_be_bytes()[8 - bytes..]);
}

const FORM_DIRECT: u32 = 1;
const FORM_DELTA: u32 = 3;

/// The same step every time.
fn encode_steps(first: i64, step: i64, count: usize, signed: bool, out: &mut Vec<u8>) {
    push_header(FORM_DELTA, 0, count, out);
    push_varint(unsigned(first, signed).into(), out);
    push_varint(zigzag(step).into(), out);
}

fn encode_literals(values: &[i64], signed: bool, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let all = values.iter().fold(0, |all, value| all | unsigned(*value, signed));
    let width = width_for(64 - all.leading_zeros());
    if let Some((first_step, steps_width)) = monotonic(values).filter(|(_, steps_width)| *steps_width < width) {
        push_header(FORM_DELTA, width_code(steps_width), values.len(), out);
        push_varint(unsigned(values[0], signed).into(), out);
        push_varint(zigzag(first_step).into(), out);
        let steps = values.windows(2).skip(1).map(|w| w[1].abs_diff(w[0]));
        return pack(steps, steps_width, out);
    }
    push_header(FORM_DIRECT, width_code(width), values.len(), out);
    pack(values.iter().map(|value| unsigned(*value, signed)), width, out);
}

/// The first step, and the width of all others, of values that never fall or never rise.
fn monotonic(values: &[i64]) -> Option<(i64, u32)> {
    let [first, second, ..] = values else { return None };
    let first_step = second.checked_sub(*first)?;
    let mut all = 0;
    for step in values.windows(2).skip(1) {
        let is_right = if first_step < 0 { step[1] <= step[0] } else { step[1] >= step[0] };
        if !is_right {
            return None;
        }
        all |= step[1].abs_diff(step[0]);
    }
    // Of no width would be steps that are all the same, and the code of a width of one is taken for that.
    Some((first_step, width_for(64 - all.leading_zeros()).max(2)))
}

/// Appends the lowest `width` bits of each value, highest first, up to a whole byte.
fn pack(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0u128, 0);
    for value in values {
        bits = bits << width | value as u128;
        held += width;
        while held >= 32 {
            held -= 32;
            out.extend_from_slice(&((bits >> held) as u32).to_be_bytes());
        }
    }
    while held > 0 {
        let byte = if held >= 8 { (bits >> (held - 8)) as u8 } else { (bits << (8 - held)) as u8 };
        out.push(byte);
        held = held.saturating_sub(8);
    }
}

/// Bytes, in runs of one or of many.
pub(super) struct ByteRuns {
    literals: Vec<u8>,
    /// Of the last of them, how many are the same.
    same: usize,
    out: OrcStream,
}

const RUN_MIN: usize = 3;
const RUN_MAX: usize = 130;
const LITERALS_MAX: usize = 128;

impl ByteRuns {
    pub(super) fn new(out: OrcStream) -> ByteRuns {
        ByteRuns { literals: Vec::new(), same: 0, out }
    }

    pub(super) fn push(&mut self, byte: u8) {
        let is_same = self.literals.last() == Some(&byte);
        if is_same && self.same >= RUN_MIN && self.same == self.literals.len() {
            // A run: one byte stands for all.
            self.same += 1;
            self.literals.push(byte);
            if self.same == RUN_MAX {
                self.flush();
            }
            return;
        }
        if self.same >= RUN_MIN && self.same == self.literals.len() {
            self.flush();
        }
        self.same = if is_same && !self.literals.is_empty() { self.same + 1 } else { 1 };
        self.literals.push(byte);
        if self.same == RUN_MIN && self.literals.len() > RUN_MIN {
            let literals = self.literals.len() - RUN_MIN;
            self.push_literals(literals);
            self.literals.drain(..literals);
        } else if self.literals.len() == LITERALS_MAX && self.same < RUN_MIN {
            self.flush();
        }
    }

    fn push_literals(&mut self, count: usize) {
        self.out.tail().push((count as u8).wrapping_neg());
        self.out.tail().extend_from_slice(&self.literals[..count]);
    }

    /// Ends the run.
    pub(super) fn flush(&mut self) {
        match self.literals.len() {
            0 => return,
            all if self.same == all && all >= RUN_MIN => {
                let byte = self.literals[0];
                self.out.tail().extend_from_slice(&[(all - RUN_MIN) as u8, byte]);
            }
            all => self.push_literals(all),
        }
        self.literals.clear();
        self.same = 0;
        self.out.settle();
    }

    /// Ends the run, and where the next one begins.
    pub(super) fn position(&mut self, positions: &mut Vec<u64>) {
        self.flush();
        self.out.position(positions);
        positions.push(0);
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        self.flush();
        self.out.take()
    }

    pub(super) fn stream(&self) -> &OrcStream {
        &self.out
    }
}

/// Bits, eight to a byte, the first one highest.
pub(super) struct BitRuns {
    bytes: ByteRuns,
    open: u8,
    held: u8,
}

impl BitRuns {
    pub(super) fn new(out: OrcStream) -> BitRuns {
        BitRuns { bytes: ByteRuns::new(out), open: 0, held: 0 }
    }

    pub(super) fn push(&mut self, bit: bool) {
        self.open = self.open << 1 | bit as u8;
        self.held += 1;
        if self.held == 8 {
            self.bytes.push(self.open);
            (self.open, self.held) = (0, 0);
        }
    }

    /// So many ones.
    pub(super) fn push_ones(&mut self, mut count: usize) {
        while count > 0 && self.held > 0 {
            self.push(true);
            count -= 1;
        }
        (0..count / 8).for_each(|_| self.bytes.push(0xff));
        (0..count % 8).for_each(|_| self.push(true));
    }

    /// Where the next bit stands: behind the bits that are held, in the byte that the next run begins with.
    pub(super) fn position(&mut self, positions: &mut Vec<u64>) {
        self.bytes.position(positions);
        positions.push(self.held.into());
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        while self.held > 0 {
            self.push(false);
        }
        self.bytes.take()
    }

    pub(super) fn stream(&self) -> &OrcStream {
        self.bytes.stream()
    }
}
