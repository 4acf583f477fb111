//! What is left of a value that must not be read.

use serde_json::Value;

const STARS: &str = "***";

/// `null` says nothing and stays; a list is masked value by value; everything that is not an e-mail address becomes
/// stars, numbers and objects too: half a mask is none.
pub fn masked(value: Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::String(text) => Value::String(masked_text(&text)),
        Value::Array(values) => Value::Array(values.into_iter().map(masked).collect()),
        _ => Value::String(STARS.into()),
    }
}

fn masked_text(text: &str) -> String {
    if let Some((local, domain)) = text.rsplit_once('@') {
        let plain = !text.contains(char::is_whitespace) && !domain.is_empty();
        if let (true, Some(first)) = (plain, local.chars().next()) {
            return format!("{first}{STARS}@{domain}");
        }
    }
    STARS.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_an_address_keeps_its_domain() {
        for (text, masked) in [
            ("a@example.com", "a***@example.com"),
            ("a@b@example.com", "a***@example.com"),
            ("Ann <ann@example.com>", "***"),
            ("@example.com", "***"),
            ("ann@", "***"),
            ("", "***"),
        ] {
            assert_eq!(masked_text(text), masked, "{text}");
        }
    }

    #[test]
    fn an_object_is_masked_as_a_whole() {
        let object = serde_json::json!([{"a": 1}, true, null, "x"]);
        assert_eq!(masked(object), serde_json::json!(["***", "***", null, "***"]));
    }
}
