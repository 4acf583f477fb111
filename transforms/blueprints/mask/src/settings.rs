//! The stream's `config`, read once per instance.

use hydrant_transform::Result;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::field::Field;

#[derive(Debug)]
pub struct Settings {
    drop_if: Vec<(Field, Value)>,
    pub mask_fields: Vec<Field>,
    pub partition_keys: Vec<(String, Field)>,
    pub drop_fields: Vec<Field>,
    pub newline: bool,
}

/// As written in the YAML, before the fields are understood.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    drop_if: Map<String, Value>,
    mask_fields: Vec<String>,
    partition_keys: Map<String, Value>,
    drop_fields: Vec<String>,
    newline: bool,
}

impl Default for Written {
    fn default() -> Self {
        Written {
            drop_if: Map::new(),
            mask_fields: Vec::new(),
            partition_keys: Map::new(),
            drop_fields: Vec::new(),
            newline: true,
        }
    }
}

impl Settings {
    pub fn parse(config: &str) -> Result<Settings> {
        Settings::read(config).map_err(|error| format!("mask: {error}").into())
    }

    /// Whether the record meets every condition, of which there must be one.
    pub fn unwanted(&self, event: &Map<String, Value>) -> bool {
        !self.drop_if.is_empty() && self.drop_if.iter().all(|(field, value)| field.find_in(event) == Some(value))
    }

    fn read(config: &str) -> Result<Settings, String> {
        let config = if config.trim().is_empty() { "null" } else { config };
        // From bytes, as records are: a second parser for `&str` would make the module 10 KB larger.
        let written = match serde_json::from_slice(config.as_bytes()).map_err(|error| error.to_string())? {
            Value::Null => Written::default(),
            object @ Value::Object(_) => Written::deserialize(object).map_err(|error| error.to_string())?,
            _ => return Err("the configuration must be an object".into()),
        };
        Settings::understand(written)
    }

    fn understand(written: Written) -> Result<Settings, String> {
        let mut drop_if = Vec::new();
        for (dotted, value) in written.drop_if {
            drop_if.push((Field::parse(&dotted)?, value));
        }
        let mut partition_keys = Vec::new();
        for (name, dotted) in written.partition_keys {
            let dotted = dotted.as_str().ok_or_else(|| format!("partition key `{name}` needs the name of a field"))?;
            partition_keys.push((name, Field::parse(dotted)?));
        }
        Ok(Settings {
            drop_if,
            mask_fields: fields(&written.mask_fields)?,
            partition_keys,
            drop_fields: fields(&written.drop_fields)?,
            newline: written.newline,
        })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings::understand(Written::default()).expect("no fields, so none of them is wrong")
    }
}

fn fields(dotted: &[String]) -> Result<Vec<Field>, String> {
    dotted.iter().map(|dotted| Field::parse(dotted)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(config: &str) -> String {
        Settings::parse(config).expect_err("the settings are wrong").to_string()
    }

    #[test]
    fn no_settings_are_the_default_settings() {
        for nothing in ["", "null", "{}", " \n"] {
            let settings = Settings::parse(nothing).expect("nothing is fine");
            assert!(settings.newline && settings.mask_fields.is_empty() && !settings.unwanted(&Map::new()));
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let why = refusal(r#"{"mask_field":["a"]}"#);
        assert!(why.starts_with("mask: unknown field `mask_field`, expected one of `drop_if`, `mask_fields`"), "{why}");
    }

    #[test]
    fn a_wrong_value_is_an_error_that_names_it() {
        assert_eq!(refusal(r#"{"drop_fields":["a..b"]}"#), "mask: `a..b` is not a field: a name is empty");
        assert_eq!(refusal(r#"{"partition_keys":{"k":1}}"#), "mask: partition key `k` needs the name of a field");
        assert!(refusal(r#"{"mask_fields":"email"}"#).contains("expected a sequence"));
        assert_eq!(refusal("[]"), "mask: the configuration must be an object");
    }
}
