//! Objects, arrays and maps, each into its columns.

use super::column::{Column, Elements, Members, Values};
use super::keys::Seen;
use super::refusal::{Reading, Refusal};
use super::text::Text;
use super::{SerdeRules, general};
use std::borrow::Cow;

/// Reads the rows of one record.
pub(super) struct RowReader<'a> {
    pub text: Text<'a>,
    pub rules: &'a SerdeRules,
    /// Times that ORC cannot hold are refused.
    pub orc_times: bool,
    /// Values that the record may have, and may still have.
    pub values_max: usize,
    pub values_left: usize,
    /// Values of which digits were rounded away.
    pub rounded: u64,
    /// A key has named no member.
    pub unknown: bool,
    /// The short way is not taken.
    pub long_way_only: bool,
}

const NULL: &[u8] = b"null";
/// Bytes of a key, as Firehose has it.
const KEY_BYTES_MAX: usize = 262_144;

impl RowReader<'_> {
    /// Reads all documents of the record, each an object; `extra` gets what names no member.
    pub(super) fn documents(&mut self, root: &mut Members, mut extra: Option<&mut Column>) -> Reading<()> {
        let mut at = self.text.space(0);
        while !self.text.is_end(at) {
            self.top(at)?;
            self.unknown = false;
            let behind = self.object(at, root)?;
            if behind > self.text.end() {
                return Err(self.text.unexpected(behind, "the rest of an object"));
            }
            if let Some(extra) = &mut extra {
                self.keep_remainder(at, root, extra)?;
            }
            at = self.text.space(behind);
        }
        Ok(())
    }

    /// Whether all documents are objects, whatever is in them.
    ///
    /// # Errors
    /// The record is no JSON, or holds something else. What was wrong with its values matters less.
    pub(super) fn check(&self) -> Reading<()> {
        let (mut at, mut other) = (self.text.space(0), None);
        while !self.text.is_end(at) {
            other = other.or(self.top(at).err());
            at = self.text.space(self.text.skip(at)?);
        }
        other.map_or(Ok(()), Err)
    }

    /// What stands at the top level has to be an object; Firehose's words.
    fn top(&self, at: usize) -> Reading<()> {
        match self.text.byte(at) {
            b'{' => Ok(()),
            b'[' => Err(Refusal::whole("The input JSON contained an array at the top level. Records must be objects.")),
            _ => Err(Refusal::whole(
                "The input JSON contained a primitive at the top level. The top level must be an object or array.",
            )),
        }
    }

    /// Reads an object, which begins at `at`, as a row of these members. The place behind it.
    pub(super) fn object(&mut self, at: usize, members: &mut Members) -> Reading<usize> {
        self.take_values(members.width)?;
        let text = self.text;
        let (mut at, mut last) = (text.space(at + 1), Seen::BEGINNING);
        if text.byte(at) == b'}' {
            members.rows += 1;
            return Ok(at + 1);
        }
        let mut member;
        if let Some((seen, behind)) = members.keys.predicted_first(text, at) {
            (member, last, at) = (members.keys.member(seen), seen, behind);
        } else {
            (member, at) = self.key(at, &mut last, members)?;
        }
        loop {
            at = text.space(at);
            at = match member {
                // As if it were not there: nulls are added when there is a value again.
                Some(member) if text.byte(at) == b'n' && self.leaves_out_null(at) => {
                    let column = &mut members.columns[member];
                    if column.len > members.rows {
                        column.truncate(members.rows);
                    }
                    at + NULL.len()
                }
                Some(member) => {
                    let column = &mut members.columns[member];
                    if column.len != members.rows {
                        self.catch_up(column, members.rows).map_err(|r| r.in_field(&members.names.names[member]))?;
                    }
                    self.value_here(at, column).map_err(|refusal| refusal.in_field(&members.names.names[member]))?
                }
                None => {
                    self.unknown = true;
                    text.skip(at)?
                }
            };
            if let Some((seen, behind)) = members.keys.predicted(last, text, at) {
                (member, last, at) = (members.keys.member(seen), seen, behind);
                continue;
            }
            at = text.space(at);
            match text.byte(at) {
                b',' => (member, at) = self.key(text.space(at + 1), &mut last, members)?,
                b'}' => break,
                _ => return Err(text.unexpected(at, "`,` or `}`")),
            }
        }
        members.rows += 1;
        Ok(at + 1)
    }

    /// Whether there is a null at `at` that leaves nothing behind. Strictly, its key must not stand twice.
    #[inline(always)]
    fn leaves_out_null(&self, at: usize) -> bool {
        *self.rules != SerdeRules::Strict && self.text.starts_with(at, NULL)
    }

    /// A few bytes may make many values.
    #[inline]
    pub(super) fn take_values(&mut self, values: usize) -> Reading<()> {
        match self.values_left.checked_sub(values) {
            Some(left) => self.values_left = left,
            None => {
                let message = format!("The record has more than {} values, nulls included.", self.values_max);
                return Err(Refusal::whole(&message));
            }
        }
        Ok(())
    }

    /// Makes a member ready for its value in a row: it had none in rows before, or has one in this row already. Of equal keys the
    /// last one counts.
    #[inline(never)]
    fn catch_up(&self, column: &mut Column, row: usize) -> Reading<()> {
        if column.len < row {
            column.push_nulls_to(row);
            return Ok(());
        }
        self.takes_again()?;
        column.truncate(row);
        Ok(())
    }

    /// Whether a key may stand twice in an object.
    fn takes_again(&self) -> Reading<()> {
        match self.rules {
            SerdeRules::Strict => Err(Refusal::value(String::new(), "another value", "one value for a key".into())),
            _ => Ok(()),
        }
    }

    /// A key that was not the predicted one: the member that it names, and the place behind its colon.
    #[inline(always)]
    fn key(&mut self, at: usize, last: &mut Seen, members: &mut Members) -> Reading<(Option<usize>, usize)> {
        let text = self.text;
        if text.byte(at) == b'"' {
            let close = text.plain_until(at + 1);
            if text.byte(close) == b'"'
                && text.byte(close + 1) == b':'
                && let Some(seen) = members.keys.find(*last, text, at, close + 2 - at)
            {
                *last = seen;
                return Ok((members.keys.member(seen), close + 2));
            }
        }
        self.new_key(at, last, members)
    }

    /// A key that was not seen before, or does not stand directly before its colon, or has escapes.
    #[inline(never)]
    fn new_key(&mut self, at: usize, last: &mut Seen, members: &mut Members) -> Reading<(Option<usize>, usize)> {
        let text = self.text;
        let (key, behind) = match text.string(at) {
            Ok(key) => key,
            // Half of a surrogate pair names no member, and is no error where nothing is stored.
            Err(_) => {
                let behind = text.skip_string(at)?;
                members.keys.note_unknown(text.str(at + 1, behind - 1));
                return Ok((None, text.colon(text.space(behind))?));
            }
        };
        if key.len() > KEY_BYTES_MAX {
            return Err(Refusal::whole("The record has a JSON key longer than 262144 bytes."));
        }
        let member = members.names.member(&key);
        let value = text.colon(text.space(behind))?;
        let is_plain = matches!(key, Cow::Borrowed(_));
        let remembered = match is_plain && text.byte(behind) == b':' {
            true => members.keys.remember(*last, text.slice(at, behind + 1), member),
            false => None,
        };
        *last = remembered.unwrap_or(*last);
        if remembered.is_none() && member.is_none() {
            members.keys.note_unknown(&key);
        }
        Ok((member.map(|member| member as usize), value))
    }

    /// Reads a value, which begins at `at`, into a column. The place behind it.
    #[inline(never)]
    pub(super) fn value(&mut self, at: usize, column: &mut Column) -> Reading<usize> {
        self.value_here(at, column)
    }

    /// The same, in the loop that most values are read in.
    #[inline(always)]
    fn value_here(&mut self, at: usize, column: &mut Column) -> Reading<usize> {
        let text = self.text;
        // What has members has no other way.
        let has_members = |values: &Values| matches!(values, Values::Struct(_) | Values::Array(_) | Values::Map { .. });
        let long_way = cfg!(test) && self.long_way_only && !has_members(&column.values);
        /// Ends with a value, if it was one that is read here.
        macro_rules! value {
            ($values:expr, $read:expr) => {
                if let Some((value, behind)) = $read {
                    $values.push(value);
                    column.added();
                    return Ok(behind);
                }
            };
        }
        /// Ends with what begins with that character, if it does.
        macro_rules! from {
            ($character:literal, $read:expr) => {
                if text.byte(at) == $character {
                    let behind = $read;
                    column.added();
                    return Ok(behind);
                }
            };
        }
        match &mut column.values {
            _ if long_way => {}
            Values::Text { data, chars_max: None } => from!(b'"', {
                let plain = text.copy_plain(at + 1, &mut data.bytes);
                let behind = match text.byte(plain) {
                    b'"' => plain + 1,
                    _ => text.unescape_rest(plain, &mut data.bytes)?,
                };
                data.end();
                behind
            }),
            Values::Struct(members) => from!(b'{', self.object(at, members)?),
            Values::Array(elements) => from!(b'[', self.array(at, elements)?),
            Values::Map { keys, values } => from!(b'{', self.map(at, keys, values)?),
            Values::BigInt(values) => value!(values, text.short_integer(at)),
            Values::Double(values) => value!(values, text.short_double(at)),
            Values::Int(values) => value!(values, text.short_narrow(at)),
            Values::Timestamp { values, unit } if self.rules.takes_short_moments() => {
                value!(values, text.short_moment(at, *unit))
            }
            Values::Decimal { values, precision, scale } => {
                value!(values, text.short_decimal(at, (*precision, *scale)))
            }
            Values::Float(values) => value!(values, text.short_float(at)),
            Values::SmallInt(values) => value!(values, text.short_narrow(at)),
            Values::TinyInt(values) => value!(values, text.short_narrow(at)),
            Values::Date(values) => value!(values, text.short_day(at)),
            Values::Boolean(values) => value!(values, text.short_boolean(at)),
            Values::Timestamp { .. } | Values::Text { .. } | Values::Binary(_) => {}
        }
        general::value(self, at, column)
    }

    /// Reads an array, which begins at `at`.
    fn array(&mut self, at: usize, elements: &mut Elements) -> Reading<usize> {
        let mut at = self.text.space(at + 1);
        if self.text.byte(at) == b']' {
            elements.end();
            return Ok(at + 1);
        }
        loop {
            let read = self.value(at, &mut elements.column);
            at = read.map_err(|refusal| refusal.in_element(elements.column.len - elements.begin()))?;
            at = self.text.space(at);
            match self.text.byte(at) {
                b',' => at = self.text.space(at + 1),
                b']' => break,
                _ => return Err(self.text.unexpected(at, "`,` or `]`")),
            }
        }
        elements.end();
        Ok(at + 1)
    }

    /// Reads an object, which begins at `at`, as keys and values. Of equal keys the last one counts: readers refuse a whole
    /// file for a map that has a key twice.
    fn map(&mut self, at: usize, keys: &mut Elements, values: &mut Column) -> Reading<usize> {
        let is_strict = *self.rules == SerdeRules::Strict;
        let left_out = if is_strict { Vec::new() } else { self.overwritten(at, keys) };
        let behind = self.entries(at, keys, values, &left_out)?;
        if is_strict && !general::overwritten(keys).is_empty() {
            self.takes_again()?;
        }
        keys.end();
        Ok(behind)
    }

    /// Entries of the object at `at` which a later one with the same key takes the place of. Values are only stepped over: maps may be
    /// in maps. What is wrong with the object is found when it is read.
    fn overwritten(&mut self, at: usize, keys: &mut Elements) -> Vec<usize> {
        let (text, rounded) = (self.text, self.rounded);
        let mut at = text.space(at + 1);
        while text.byte(at) == b'"' {
            let Ok((key, behind)) = text.string(at) else { break };
            let skipped = text.colon(text.space(behind)).and_then(|value| text.skip(value));
            let Ok(behind) = skipped else { break };
            if general::map_key(self, &key, &mut keys.column).is_err() {
                break;
            }
            at = text.space(behind);
            if text.byte(at) != b',' {
                break;
            }
            at = text.space(at + 1);
        }
        let found = general::overwritten(keys);
        keys.column.truncate(keys.begin());
        self.rounded = rounded;
        found
    }

    /// Adds the entries of an object, which begins at `at`, but those that are left out. The place behind it.
    fn entries(&mut self, at: usize, keys: &mut Elements, values: &mut Column, left_out: &[usize]) -> Reading<usize> {
        let mut at = self.text.space(at + 1);
        if self.text.byte(at) == b'}' {
            return Ok(at + 1);
        }
        let mut left_out = left_out.iter().copied().peekable();
        for entry in 0.. {
            let (key, behind) = self.text.string(at)?;
            at = self.text.colon(self.text.space(behind))?;
            let before = values.len;
            general::map_key(self, &key, &mut keys.column)?;
            at = self.value(at, values).map_err(|refusal| refusal.in_field(&key))?;
            if left_out.next_if_eq(&entry).is_some() {
                keys.column.truncate(before);
                values.truncate(before);
            }
            at = self.text.space(at);
            match self.text.byte(at) {
                b',' => at = self.text.space(at + 1),
                b'}' => break,
                _ => return Err(self.text.unexpected(at, "`,` or `}`")),
            }
        }
        Ok(at + 1)
    }
}
