//! What a schema does not know of a record, as JSON: members that no column is named for, at every depth, within the objects and
//! arrays that they came in.

use super::column::{Column, Elements, Members, Values};
use super::refusal::Reading;
use super::rows::RowReader;

impl RowReader<'_> {
    /// Adds what of the object at `at`, which has been read, no member is named for; null if that is nothing.
    pub(super) fn keep_remainder(&self, at: usize, members: &Members, extra: &mut Column) -> Reading<()> {
        if !self.unknown {
            extra.push_null();
            return Ok(());
        }
        let Values::Text { data, .. } = &mut extra.values else { unreachable!("the extra column is a text") };
        self.of_object(at, members, &mut data.bytes)?;
        if data.bytes.len() == data.begin() {
            // What was unknown is in a value that holds no members: an overwritten one, say.
            extra.push_null();
            return Ok(());
        }
        data.end();
        extra.added();
        Ok(())
    }

    /// Appends the unknown members of an object, as an object; nothing if there are none. The place behind it.
    fn of_object(&self, at: usize, members: &Members, out: &mut Vec<u8>) -> Reading<usize> {
        let column = |key: usize| {
            // A key with half of a surrogate pair names nothing.
            let (name, _) = self.text.string(key).ok()?;
            Some(&members.columns[members.names.member(&name)? as usize])
        };
        self.of_entries(at, column, out)
    }

    /// The same of the value of a column, which knows members only if it is made of objects.
    fn of_value(&self, at: usize, column: &Column, out: &mut Vec<u8>) -> Reading<usize> {
        match (&column.values, self.text.byte(at)) {
            (Values::Struct(members), b'{') => self.of_object(at, members, out),
            // Members by their places.
            (Values::Struct(members), b'[') => self.of_elements(at, |element| members.columns.get(element), out),
            (Values::Array(Elements { column, .. }), b'[') if column.members().is_some() => {
                self.of_elements(at, |_| Some(&**column), out)
            }
            // One value for an array.
            (Values::Array(Elements { column, .. }), b'{') => self.of_value(at, column, out),
            (Values::Map { values, .. }, b'{') if values.members().is_some() => {
                self.of_entries(at, |_| Some(&**values), out)
            }
            _ => self.text.skip(at),
        }
    }

    /// The same of an array, in which elements that have nothing unknown are null.
    fn of_elements<'c>(
        &self,
        at: usize,
        column: impl Fn(usize) -> Option<&'c Column>,
        out: &mut Vec<u8>,
    ) -> Reading<usize> {
        let (before, mut any) = (out.len(), false);
        let mut at = self.text.space(at + 1);
        for element in 0.. {
            if self.text.byte(at) == b']' {
                break;
            }
            out.push(if out.len() == before { b'[' } else { b',' });
            let length = out.len();
            at = match column(element) {
                Some(column) => self.of_value(at, column, out)?,
                None => self.text.skip(at)?,
            };
            any |= out.len() > length;
            if out.len() == length {
                out.extend_from_slice(b"null");
            }
            at = self.next(at);
        }
        match any {
            true => out.push(b']'),
            false => out.truncate(before),
        }
        Ok(at + 1)
    }

    /// The same of an object whose keys, by where they stand, have these columns; what has none is unknown. Entries that have nothing
    /// unknown are left out.
    fn of_entries<'c>(
        &self,
        at: usize,
        column: impl Fn(usize) -> Option<&'c Column>,
        out: &mut Vec<u8>,
    ) -> Reading<usize> {
        let (text, before) = (self.text, out.len());
        let mut at = text.space(at + 1);
        while text.byte(at) != b'}' {
            let (key, behind) = (at, text.skip_string(at)?);
            let value = text.colon(text.space(behind))?;
            let length = out.len();
            out.push(if length == before { b'{' } else { b',' });
            out.extend_from_slice(text.slice(key, behind));
            out.push(b':');
            let named = out.len();
            at = match column(key) {
                Some(column) => self.of_value(value, column, out)?,
                None => {
                    let end = text.skip(value)?;
                    out.extend_from_slice(text.slice(value, end));
                    end
                }
            };
            if out.len() == named {
                out.truncate(length);
            }
            at = self.next(at);
        }
        if out.len() > before {
            out.push(b'}');
        }
        Ok(at + 1)
    }

    /// Behind a value and its comma, in what has been read before.
    fn next(&self, at: usize) -> usize {
        let at = self.text.space(at);
        if self.text.byte(at) == b',' { self.text.space(at + 1) } else { at }
    }
}
