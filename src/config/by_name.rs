//! Settings that may be given by their name alone.

use schemars::Schema;

/// A setting whose keys all have defaults may be given by its name alone; the derived schema does not know.
pub(super) fn alone(schema: &mut Schema, name: &str) {
    if let Some(forms) = schema.get_mut("oneOf").and_then(|forms| forms.as_array_mut()) {
        forms.push(serde_json::json!({ "type": "string", "const": name }));
    }
}
