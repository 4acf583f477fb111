//! Pieces of JSON as strict as the service: a list is kept no further than a batch may reach, and messages speak of JSON
//! and not of our types.

use super::wire::BATCH_RECORDS_MAX;
use serde::de::{Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// The first records of a list: one more than a batch may have, so that more is seen to be too many.
pub(super) struct JsonRecords<T>(pub Vec<Option<T>>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for JsonRecords<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RecordsVisitor(PhantomData))
    }
}

struct RecordsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for RecordsVisitor<T> {
    type Value = JsonRecords<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut records = Vec::new();
        while records.len() <= BATCH_RECORDS_MAX {
            match list.next_element()? {
                Some(record) => records.push(record),
                None => return Ok(JsonRecords(records)),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(JsonRecords(records))
    }
}

/// A string, borrowed where it has no escapes (derived readers copy it inside an `Option`).
pub(super) struct JsonText<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = JsonText<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(JsonText(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(JsonText(Cow::Owned(text.to_owned())))
    }
}
