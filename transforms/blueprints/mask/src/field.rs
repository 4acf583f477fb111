//! Where a field stands in a record: names, outermost first.

use std::fmt;

use serde_json::{Map, Value};

use crate::mask::masked;

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The objects on the way to it.
    parents: Vec<String>,
    name: String,
}

impl Field {
    pub fn parse(dotted: &str) -> Result<Field, String> {
        let mut parents: Vec<String> = dotted.split('.').map(String::from).collect();
        if parents.iter().any(String::is_empty) {
            return Err(format!("`{dotted}` is not a field: a name is empty"));
        }
        let name = parents.pop().expect("a split has at least one part");
        Ok(Field { parents, name })
    }

    /// Looks through objects only: one record has one partition key, so a list on the way is as good as nothing.
    pub fn find_in<'a>(&self, event: &'a Map<String, Value>) -> Option<&'a Value> {
        let mut at = event;
        for parent in &self.parents {
            at = at.get(parent)?.as_object()?;
        }
        at.get(&self.name)
    }

    pub fn drop_from(&self, event: &mut Map<String, Value>) {
        each_owner(event, &self.parents, &mut |owner| {
            owner.shift_remove(&self.name);
        });
    }

    pub fn mask_in(&self, event: &mut Map<String, Value>) {
        each_owner(event, &self.parents, &mut |owner| {
            if let Some(value) = owner.get_mut(&self.name) {
                *value = masked(value.take());
            }
        });
    }
}

impl fmt::Display for Field {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        for parent in &self.parents {
            write!(out, "{parent}.")?;
        }
        out.write_str(&self.name)
    }
}

/// Calls `act` with every object that can hold the field, through lists as well: what must not leave the house must not
/// leave it as the second element of a list either.
fn each_owner(event: &mut Map<String, Value>, parents: &[String], act: &mut impl FnMut(&mut Map<String, Value>)) {
    match parents.split_first() {
        None => act(event),
        Some((parent, rest)) => {
            if let Some(value) = event.get_mut(parent) {
                each_object(value, rest, act);
            }
        }
    }
}

/// Recursion is bounded by the depth that the JSON parser accepts, 128.
fn each_object(value: &mut Value, parents: &[String], act: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => each_owner(object, parents, act),
        Value::Array(values) => values.iter_mut().for_each(|value| each_object(value, parents, act)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_written_as_it_was_read() {
        for dotted in ["a", "a.b.c"] {
            assert_eq!(Field::parse(dotted).map(|field| field.to_string()), Ok(dotted.into()));
        }
    }

    #[test]
    fn an_empty_name_is_no_field() {
        for dotted in ["", ".", "a.", ".a", "a..b"] {
            assert!(Field::parse(dotted).is_err(), "{dotted}");
        }
    }
}
