//! The JSON Schema of the file, for editors: `config/schema.json`.

use super::Config;

/// As in `config/schema.json`, which a test compares with this.
pub fn json_schema() -> String {
    let schema = schemars::schema_for!(Config);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}
