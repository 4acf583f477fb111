//! serde's view of the tree.
//!
//! Any scalar is a text first, with or without quotes, and is read as what the settings type wants: `000000000000` stays
//! an account number, and `"${env:PORT}"`, which YAML wants in quotes inside `{…}`, may be a number. A key without a
//! value counts as an empty list or mapping. A variant whose keys all have defaults may be given by its name alone.

use super::place::{Trail, YamlError, one_of};
use super::tree::{NodeKind, TreeEntry, TreeNode, quote};
use serde::Deserializer;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor};

/// The deserializer of one node.
#[derive(Clone, Copy)]
pub(super) struct De<'n> {
    pub node: &'n TreeNode,
    pub trail: &'n Trail<'n>,
}

impl<'n> De<'n> {
    /// The scalar's text. What is empty is no text.
    fn text(self) -> Option<&'n str> {
        match &self.node.kind {
            NodeKind::Scalar { text, .. } if !self.node.is_null() => Some(text),
            _ => None,
        }
    }

    fn sound(self) -> Sound<'n> {
        Sound { entries: self.node.entries().iter().enumerate(), trail: self.trail, value: None }
    }

    fn collection<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        match &self.node.kind {
            NodeKind::List(_) => visitor.visit_seq(self.sound()),
            NodeKind::Map(_) => visitor.visit_map(self.sound()),
            NodeKind::Scalar { .. } => Err(YamlError::expected(&(&visitor as &dyn de::Expected))),
        }
    }

    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        match self.text().map(|text| (text.parse::<u64>(), text.parse::<i64>(), text.parse::<f64>())) {
            Some((Ok(n), _, _)) => visitor.visit_u64(n),
            Some((_, Ok(n), _)) => visitor.visit_i64(n),
            Some((_, _, Ok(n))) if n.is_finite() => visitor.visit_f64(n),
            _ => Err(YamlError::expected(&(&visitor as &dyn de::Expected))),
        }
    }
}

/// Whether a plain scalar is a number where YAML decides. `007` is a name.
fn is_number(text: &str) -> bool {
    let mut digits = text.strip_prefix('-').unwrap_or(text).bytes();
    match (digits.next(), digits.next()) {
        (Some(b'0'), Some(second)) => !second.is_ascii_digit() && text.parse::<f64>().is_ok(),
        (Some(b'0'..=b'9'), _) => text.parse::<f64>().is_ok_and(f64::is_finite),
        _ => false,
    }
}

macro_rules! as_number {
    ($($name:ident)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
            self.number(visitor)
        }
    )*};
}

macro_rules! as_text {
    ($($name:ident)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
            match (&self.node.kind, self.text()) {
                (_, Some(text)) => visitor.visit_str(text),
                (NodeKind::Scalar { .. }, None) => visitor.visit_unit(),
                _ => self.collection(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for De<'_> {
    type Error = YamlError;

    as_number! { deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_i8 deserialize_i16
    deserialize_i32 deserialize_i64 deserialize_f32 deserialize_f64 }

    as_text! { deserialize_str deserialize_string deserialize_char deserialize_identifier }

    /// Only free JSON (a transform's `config`) is read so: a plain scalar is what YAML says it is.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let NodeKind::Scalar { text, plain, .. } = &self.node.kind else { return self.collection(visitor) };
        match text.as_str() {
            _ if !plain => visitor.visit_str(text),
            _ if self.node.is_null() => visitor.visit_unit(),
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ if is_number(text) => self.number(visitor),
            _ => visitor.visit_str(text),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        match self.text() {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            _ => Err(YamlError::expected(&"`true` or `false`")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, YamlError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        if self.node.is_null() { visitor.visit_seq(self.sound()) } else { self.collection(visitor) }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        if self.node.is_null() { visitor.visit_map(self.sound()) } else { self.collection(visitor) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        match &self.node.kind {
            // A derived struct would take a list by position.
            NodeKind::List(_) => Err(YamlError::expected(&"a mapping")),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, YamlError> {
        let mut sound = self.node.entries().iter().enumerate().filter(|(_, entry)| !entry.skip);
        match (&self.node.kind, sound.next(), sound.next()) {
            (NodeKind::Scalar { text, .. }, ..) if self.text().is_some() => {
                let trail = Trail::Step { parent: self.trail, key: text, index: None };
                let nothing = TreeNode { kind: NodeKind::Map(Vec::new()), ..*self.node };
                visitor.visit_enum(Variant { name: text, value: De { node: &nothing, trail: &trail } })
            }
            (NodeKind::Map(_), Some((index, only)), None) => {
                let trail = Trail::Step { parent: self.trail, key: &only.key, index: Some(index) };
                let variant = Variant { name: &only.key, value: De { node: &only.value, trail: &trail } };
                let position = (only.line, only.column);
                let found = quote(&only.key);
                visitor.visit_enum(variant).map_err(|e| e.at_key(position, &found, &trail))
            }
            (NodeKind::Map(_), Some((_, first)), Some((index, second))) => {
                let trail = Trail::Step { parent: self.trail, key: &second.key, index: Some(index) };
                let error = YamlError::expected(&format!("only one of `{}`", variants.join("`, `")));
                let found = format!("`{}` beside `{}`", second.key, first.key);
                Err(error.at_key((second.line, second.column), &found, &trail))
            }
            _ => Err(YamlError::expected(&one_of(variants))),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        let is_nothing = self.node.is_null() || matches!(&self.node.kind, NodeKind::Map(entries) if entries.is_empty());
        if is_nothing { visitor.visit_unit() } else { Err(YamlError::expected(&"nothing")) }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, YamlError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! { bytes byte_buf unit_struct tuple tuple_struct }
}

/// The entries of a list or mapping that were not left out.
struct Sound<'n> {
    entries: std::iter::Enumerate<std::slice::Iter<'n, TreeEntry>>,
    trail: &'n Trail<'n>,
    /// The one whose key was read last.
    value: Option<(usize, &'n TreeEntry)>,
}

impl<'n> Sound<'n> {
    fn next(&mut self) -> Option<(usize, &'n TreeEntry)> {
        self.value = self.entries.find(|(_, entry)| !entry.skip);
        self.value
    }

    fn read<'de, S: DeserializeSeed<'de>>(&self, seed: S) -> Result<S::Value, YamlError> {
        let (index, entry) = self.value.expect("serde asks for a value after its key");
        let trail = Trail::Step { parent: self.trail, key: &entry.key, index: Some(index) };
        seed.deserialize(De { node: &entry.value, trail: &trail }).map_err(|e| e.at(&entry.value, &trail))
    }
}

impl<'de> SeqAccess<'de> for Sound<'_> {
    type Error = YamlError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, YamlError> {
        match self.next() {
            Some(_) => self.read(seed).map(Some),
            None => Ok(None),
        }
    }
}

impl<'de> MapAccess<'de> for Sound<'_> {
    type Error = YamlError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, YamlError> {
        let Some((index, entry)) = self.next() else { return Ok(None) };
        let trail = Trail::Step { parent: self.trail, key: &entry.key, index: Some(index) };
        let name: StrDeserializer<'_, YamlError> = entry.key.as_str().into_deserializer();
        let key = seed.deserialize(name);
        key.map(Some).map_err(|e| e.at_key((entry.line, entry.column), &quote(&entry.key), &trail))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, YamlError> {
        self.read(seed)
    }
}

/// A variant and what belongs to it.
struct Variant<'n> {
    name: &'n str,
    value: De<'n>,
}

impl<'de, 'n> EnumAccess<'de> for Variant<'n> {
    type Error = YamlError;
    type Variant = De<'n>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, De<'n>), YamlError> {
        let name: StrDeserializer<'_, YamlError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self.value))
    }
}

impl<'de> VariantAccess<'de> for De<'_> {
    type Error = YamlError;

    fn unit_variant(self) -> Result<(), YamlError> {
        serde::Deserialize::deserialize(self).map_err(|e: YamlError| e.at(self.node, self.trail))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, YamlError> {
        seed.deserialize(self).map_err(|e| e.at(self.node, self.trail))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, YamlError> {
        self.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, YamlError> {
        self.deserialize_map(visitor)
    }
}
