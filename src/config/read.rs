//! From a tree to settings types, with every problem found rather than the first.
//!
//! The settings types say what is known, required and default; the tree says where. An error carries the place at which
//! it arose: it is reported, the value left out, and the tree read again, so that the next one comes to light. A mapping
//! from which something was left out reports nothing about itself (it may only miss what was left out).

use super::de::De;
use super::place::{Trail, YamlPlace};
use super::problem::Problem;
use super::tree::TreeNode;
use secrecy::SecretString;
use serde::de::{self, DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;

/// More than anybody reads at once; each costs another pass over the tree.
const PROBLEMS_MAX: usize = 100;

/// A value of `T` from what is sound in the tree. Everything else is reported and marked `skip`.
pub(crate) fn read<T: DeserializeOwned>(root: &mut TreeNode, file: &str, problems: &mut Vec<Problem>) -> Option<T> {
    while problems.len() < PROBLEMS_MAX {
        let (message, place) = match T::deserialize(De { node: root, trail: &Trail::Root }) {
            Ok(value) => return Some(value),
            Err(error) => error.at_last(root),
        };
        let YamlPlace { line, column, path, steps, quiet } = place;
        if !quiet {
            problems.push(Problem { file: file.to_string(), line, column, path, message });
        }
        if !skip(root, &steps) {
            return None;
        }
    }
    None
}

/// Leaves out the value that `steps` lead to. False for the root, which cannot be left out.
fn skip(root: &mut TreeNode, steps: &[usize]) -> bool {
    let Some((last, way)) = steps.split_last() else { return false };
    let parent = way.iter().fold(root, |node, step| &mut node.entries_mut()[*step].value);
    parent.entries_mut()[*last].skip = true;
    true
}

/// A secret. `SecretString` has no `Deserialize` of its own, so that none is read by accident.
pub(crate) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

pub(crate) fn secret_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(SecretString::from))
}

/// A socket address, with a better message than the standard library's.
pub(crate) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let expected = "an address such as `127.0.0.1:4573`";
    let wrong = || de::Error::invalid_value(de::Unexpected::Other("text"), &expected);
    String::deserialize(deserializer)?.parse().map_err(|_| wrong())
}

/// A setting that is a mapping or, for short, one text.
pub(crate) enum TextOr<T, M> {
    Text(T),
    Mapping(M),
}

/// Reads such a setting. `text` gives none for a text that is none of `expected`.
pub(crate) fn text_or<'de, T, M: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
    text: impl FnOnce(&str) -> Option<T>,
) -> Result<TextOr<T, M>, D::Error> {
    struct Forms<F, M>(&'static str, F, PhantomData<M>);

    impl<'de, T, M: Deserialize<'de>, F: FnOnce(&str) -> Option<T>> Visitor<'de> for Forms<F, M> {
        type Value = TextOr<T, M>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, found: &str) -> Result<Self::Value, E> {
            let wrong = || E::invalid_value(de::Unexpected::Other("text"), &self.0);
            (self.1)(found).map(TextOr::Text).ok_or_else(wrong)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            M::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Mapping)
        }
    }

    deserializer.deserialize_str(Forms(expected, text, PhantomData))
}
