//! A record's text: white space, strings, numbers and whole values of JSON (RFC 8259), found without taking anything apart.
//!
//! Everything here is linear, allocates nothing but what is unescaped, and does not recurse.

use super::nesting::Nesting;
use super::refusal::{Reading, Refusal};
use super::unchecked::specials;
use std::borrow::Cow;
use std::ops::Range;

/// One record, which is UTF-8, and some bytes behind it, so that bytes can be looked at several at a time. If those are zeros, no part
/// of a value reaches into them. If they belong to other records, one may, and then the record is not what it seems to be.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    padded: &'a [u8],
}

/// Bytes that are looked at together.
pub(super) const BLOCK: usize = 16;
/// Bytes behind a record.
const PADDING: usize = 2 * BLOCK;

impl<'a> Text<'a> {
    /// A record, copied to `room`, with zeros behind it.
    ///
    /// # Errors
    /// It is no UTF-8, or nothing but white space.
    pub(super) fn new(record: &[u8], room: &'a mut Vec<u8>) -> Reading<Text<'a>> {
        check(record)?;
        room.clear();
        room.extend_from_slice(record);
        room.extend_from_slice(&[0; PADDING]);
        Ok(Text { padded: room })
    }

    /// A record where it stands among others; `None`: there is too little behind it.
    ///
    /// # Errors
    /// As [`Text::new`].
    pub(super) fn among(others: &'a [u8], record: Range<usize>) -> Option<Reading<Text<'a>>> {
        let padded = others.get(record.start..record.end + PADDING)?;
        Some(check(&others[record]).map(|()| Text { padded }))
    }

    /// The byte at a place; of a record with zeros behind it, 0 at the end.
    #[inline(always)]
    pub(super) fn byte(self, at: usize) -> u8 {
        self.padded.get(at).copied().unwrap_or(0)
    }

    /// The record's end.
    pub(super) fn end(self) -> usize {
        self.padded.len() - PADDING
    }

    pub(super) fn is_end(self, at: usize) -> bool {
        at >= self.end()
    }

    /// Sixteen bytes.
    #[inline(always)]
    pub(super) fn block(self, at: usize) -> Option<&'a [u8; BLOCK]> {
        self.padded.get(at..at + BLOCK)?.first_chunk()
    }

    /// Twice as many.
    #[inline(always)]
    fn blocks(self, at: usize) -> Option<&'a [u8; 2 * BLOCK]> {
        self.padded.get(at..at + 2 * BLOCK)?.first_chunk()
    }

    #[inline(always)]
    pub(super) fn slice(self, from: usize, to: usize) -> &'a [u8] {
        &self.padded[from..to]
    }

    /// The same, as a text.
    pub(super) fn str(self, from: usize, to: usize) -> &'a str {
        std::str::from_utf8(self.slice(from, to)).expect("a record is UTF-8, and tokens end at ASCII characters")
    }

    #[inline(always)]
    pub(super) fn starts_with(self, at: usize, word: &[u8]) -> bool {
        self.padded.get(at..at + word.len()) == Some(word)
    }

    /// The first place from `at` on that is no white space.
    #[inline(always)]
    pub(super) fn space(self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\n' | b'\r' | b'\t') {
            at += 1;
        }
        at
    }

    /// The first place from `at` on that is not plain within a string: a quotation mark, a backslash, a control byte; or one behind
    /// the end.
    #[inline(always)]
    pub(super) fn plain_until(self, mut at: usize) -> usize {
        if let Some(block) = self.block(at) {
            let special = specials(block);
            if special != 0 {
                return at + special.trailing_zeros() as usize;
            }
            at += BLOCK;
        }
        while let Some(blocks) = self.blocks(at) {
            let special = specials_of_two(blocks);
            if special != 0 {
                return at + special.trailing_zeros() as usize;
            }
            at += 2 * BLOCK;
        }
        at
    }

    /// Appends a string to `out` as long as it is plain: up to the place that [`Text::plain_until`] finds.
    #[inline(always)]
    pub(super) fn copy_plain(self, from: usize, out: &mut Vec<u8>) -> usize {
        let (before, mut at) = (out.len(), from);
        // Sixteen bytes of which some are taken back are cheaper than a copy of the right length.
        if let Some(block) = self.block(at) {
            out.extend_from_slice(block);
            let special = specials(block);
            if special != 0 {
                let end = at + special.trailing_zeros() as usize;
                out.truncate(before + (end - from));
                return end;
            }
            at += BLOCK;
        }
        while let Some(blocks) = self.blocks(at) {
            out.extend_from_slice(blocks);
            let special = specials_of_two(blocks);
            if special != 0 {
                let end = at + special.trailing_zeros() as usize;
                out.truncate(before + (end - from));
                return end;
            }
            at += 2 * BLOCK;
        }
        out.truncate(before);
        at
    }

    /// What a string means, and the place behind it; `at` is its quotation mark.
    ///
    /// # Errors
    /// As [`Text::unescape`].
    pub(super) fn string(self, at: usize) -> Reading<(Cow<'a, str>, usize)> {
        let close = self.plain_until(at + 1);
        if self.byte(at) == b'"' && self.byte(close) == b'"' && !self.is_end(close) {
            return Ok((self.str(at + 1, close).into(), close + 1));
        }
        let mut meant = Vec::new();
        let behind = self.unescape(at, &mut meant)?;
        Ok((String::from_utf8(meant).expect("characters of a record that is UTF-8").into(), behind))
    }

    /// Appends what a string means to `out`; `at` is its quotation mark. The place behind it.
    ///
    /// # Errors
    /// No string, a control byte, an escape that is none, half a surrogate pair.
    pub(super) fn unescape(self, at: usize, out: &mut Vec<u8>) -> Reading<usize> {
        if self.byte(at) != b'"' {
            return Err(self.unexpected(at, "a string"));
        }
        let plain = self.copy_plain(at + 1, out);
        self.unescape_rest(plain, out)
    }

    /// The same from the first place on that is not plain.
    #[inline(never)]
    pub(super) fn unescape_rest(self, mut at: usize, out: &mut Vec<u8>) -> Reading<usize> {
        loop {
            match self.byte(at) {
                _ if self.is_end(at) => return Err(self.unexpected(at, "the rest of a string")),
                b'"' => return Ok(at + 1),
                b'\\' => at = self.copy_plain(self.unescape_one(at, out)?, out),
                _ => return Err(self.unexpected(at, "the rest of a string")),
            }
        }
    }

    /// The character behind a backslash.
    fn unescape_one(self, at: usize, out: &mut Vec<u8>) -> Reading<usize> {
        let plain = match self.byte(at + 1) {
            same @ (b'"' | b'\\' | b'/') => same,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (mut code, mut behind) = (self.unit(at)?, at + 6);
                if (0xd800..0xdc00).contains(&code) && self.starts_with(behind, b"\\u") {
                    let low = self.unit(behind)?;
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                        behind += 6;
                    }
                }
                let Some(character) = char::from_u32(code) else {
                    let found = self.str(at, behind);
                    return Err(Refusal::value(String::new(), found, "no half of a surrogate pair".into()));
                };
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(behind);
            }
            _ => return Err(self.unexpected(at + 1, "the rest of an escape")),
        };
        out.push(plain);
        Ok(at + 2)
    }

    /// The sixteen bits of `\uXXXX`.
    fn unit(self, at: usize) -> Reading<u32> {
        (at + 2..at + 6).try_fold(0, |code, at| match (self.byte(at) as char).to_digit(16) {
            Some(digit) => Ok(code << 4 | digit),
            None => Err(self.unexpected(at, "four hexadecimal digits")),
        })
    }

    /// The place behind a string, of which only the form is looked at.
    #[inline]
    pub(super) fn skip_string(self, at: usize) -> Reading<usize> {
        if self.byte(at) != b'"' {
            return Err(self.unexpected(at, "a string"));
        }
        let mut at = at + 1;
        loop {
            at = self.plain_until(at);
            match (self.byte(at), self.byte(at + 1)) {
                _ if self.is_end(at) => return Err(self.unexpected(at, "the rest of a string")),
                (b'"', _) => return Ok(at + 1),
                (b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                (b'\\', b'u') => {
                    self.unit(at)?;
                    at += 6;
                }
                (b'\\', _) => return Err(self.unexpected(at + 1, "the rest of an escape")),
                _ => return Err(self.unexpected(at, "the rest of a string")),
            }
        }
    }

    /// The place behind a number.
    pub(super) fn skip_number(self, at: usize) -> Reading<usize> {
        let digits = |mut at: usize| {
            while self.byte(at).is_ascii_digit() {
                at += 1;
            }
            at
        };
        let some = |at: usize| match digits(at) {
            behind if behind > at => Ok(behind),
            _ => Err(self.unexpected(at, "a digit")),
        };
        let first = at + usize::from(self.byte(at) == b'-');
        let mut at = some(first)?;
        if self.byte(first) == b'0' && at > first + 1 {
            return Err(self.unexpected(first + 1, "no digit behind a leading zero"));
        }
        if self.byte(at) == b'.' {
            at = some(at + 1)?;
        }
        if matches!(self.byte(at), b'e' | b'E') {
            at = some(at + 1 + usize::from(matches!(self.byte(at + 1), b'+' | b'-')))?;
        }
        Ok(at)
    }

    /// The place behind a value of any kind.
    ///
    /// # Errors
    /// The value is not JSON, or more than a thousand objects and arrays stand in one another.
    pub(super) fn skip(self, at: usize) -> Reading<usize> {
        let (mut open, mut at) = (Nesting::default(), at);
        loop {
            at = match self.byte(at) {
                b'"' => self.skip_string(at)?,
                start @ (b'{' | b'[') => {
                    let is_object = start == b'{';
                    open.enter(is_object).ok_or_else(|| self.unexpected(at, "at most 1000 levels of nesting"))?;
                    let inside = self.space(at + 1);
                    let is_empty = self.byte(inside) == if is_object { b'}' } else { b']' };
                    if !is_empty {
                        at = if is_object { self.skip_key(inside)? } else { inside };
                        continue;
                    }
                    open.leave();
                    inside + 1
                }
                b'-' | b'0'..=b'9' => self.skip_number(at)?,
                _ => self.skip_word(at)?,
            };
            loop {
                let Some(is_object) = open.innermost() else { return Ok(at) };
                at = self.space(at);
                match (self.byte(at), is_object) {
                    (b',', _) => break,
                    (b'}', true) | (b']', false) => open.leave(),
                    (_, true) => return Err(self.unexpected(at, "`,` or `}`")),
                    (_, false) => return Err(self.unexpected(at, "`,` or `]`")),
                }
                at += 1;
            }
            at = self.space(at + 1);
            if open.innermost() == Some(true) {
                at = self.skip_key(at)?;
            }
        }
    }

    /// The place of the value behind a key and its colon.
    fn skip_key(self, at: usize) -> Reading<usize> {
        let behind = self.skip_string(at)?;
        self.colon(self.space(behind))
    }

    /// The place of the value behind a colon.
    #[inline]
    pub(super) fn colon(self, at: usize) -> Reading<usize> {
        match self.byte(at) {
            b':' => Ok(self.space(at + 1)),
            _ => Err(self.unexpected(at, "`:`")),
        }
    }

    /// The place behind `null`, `true` or `false`.
    fn skip_word(self, at: usize) -> Reading<usize> {
        let word = [b"null".as_slice(), b"true", b"false"].into_iter().find(|word| self.starts_with(at, word));
        word.map(|word| at + word.len()).ok_or_else(|| self.unexpected(at, "a value"))
    }

    /// What stands at a place is not what has to stand there.
    #[cold]
    pub(super) fn unexpected(self, at: usize, expected: &str) -> Box<Refusal> {
        if self.is_end(at) {
            return Refusal::syntax(self.end(), &format!("the end, expected {expected}"));
        }
        let rest = String::from_utf8_lossy(&self.padded[at..self.end().min(at + 4)]);
        let found = rest.chars().next().unwrap_or_default();
        Refusal::syntax(at, &format!("found `{}`, expected {expected}", found.escape_default()))
    }
}

#[inline(always)]
fn specials_of_two(blocks: &[u8; 2 * BLOCK]) -> u32 {
    let ([first, second], _) = blocks.as_chunks() else { unreachable!("two blocks") };
    specials(first) | specials(second) << BLOCK
}

/// Whether bytes are a record that can be JSON.
///
/// # Errors
/// They are no UTF-8, or nothing but white space.
fn check(record: &[u8]) -> Reading<()> {
    if !(is_ascii(record) || simdutf8::basic::from_utf8(record).is_ok()) {
        return Err(Refusal::whole("The record is not valid UTF-8."));
    }
    if record.trim_ascii().is_empty() {
        return Err(Refusal::whole("The record was empty or contained only whitespace."));
    }
    Ok(())
}

/// As the standard library's, and twice as fast: without an end at each block.
fn is_ascii(record: &[u8]) -> bool {
    const BYTES: usize = 32;
    let (words, rest) = record.as_chunks::<BYTES>();
    let mut all = [0; BYTES];
    let mut add = |word: &[u8]| all.iter_mut().zip(word).for_each(|(all, byte)| *all |= byte);
    words.iter().for_each(|word| add(word));
    match record.last_chunk::<BYTES>() {
        // Some bytes are looked at twice.
        Some(last) => add(last),
        None => add(rest),
    }
    all.iter().all(|byte| *byte < 0x80)
}
