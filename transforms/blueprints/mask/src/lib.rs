//! Drops and masks fields of JSON records, takes partition keys from them and leaves out records nobody wants.
//!
//! ```json
//! {
//!   "drop_if":        {"level": "debug"},
//!   "mask_fields":    ["email"],
//!   "partition_keys": {"customer": "customer_id"},
//!   "drop_fields":    ["password", "request.headers.cookie"],
//!   "newline":        true
//! }
//! ```
//!
//! All of it is optional, and it happens in this order: a dropped field can still be a partition key, and a masked one
//! is masked in the partition key too, which becomes part of an object's name. Dots in a field lead into objects;
//! when masking and dropping they also lead into every object of a list.
//!
//! Fields keep their order and numbers their digits. White space, escapes inside strings and the letter of an exponent
//! are written anew, and of a field that occurs twice the last one counts.

mod field;
mod mask;
mod settings;

use std::sync::OnceLock;

use hydrant_transform::{Outcome, Record, Result, Transformed, export};
use serde_json::{Map, Value};

use field::Field;
use settings::Settings;

export!(handle, init = init);

static SETTINGS: OnceLock<Settings> = OnceLock::new();

fn init(config: &str) -> Result<()> {
    let settings = Settings::parse(config)?;
    SETTINGS.set(settings).map_err(|_| "init was called twice".into())
}

fn handle(record: &Record) -> Result {
    apply(SETTINGS.get_or_init(Settings::default), record.data())
}

fn apply(settings: &Settings, data: &[u8]) -> Result {
    let mut event = parse(data)?;
    if settings.unwanted(&event) {
        return Ok(Outcome::Dropped);
    }
    for field in &settings.mask_fields {
        field.mask_in(&mut event);
    }
    let mut partition_keys = Vec::with_capacity(settings.partition_keys.len());
    for (name, field) in &settings.partition_keys {
        partition_keys.push((name.clone(), partition_key(name, field, &event)?));
    }
    for field in &settings.drop_fields {
        field.drop_from(&mut event);
    }
    let mut data = serde_json::to_vec(&event)?;
    if settings.newline {
        data.push(b'\n');
    }
    Ok(Outcome::Ok(Transformed { data, partition_keys }))
}

fn parse(data: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(data) {
        Ok(Value::Object(event)) => Ok(event),
        Ok(other) => Err(format!("expected a JSON object, found {}", kind(&other)).into()),
        Err(error) => Err(format!("expected a JSON object, found something that is not JSON: {error}").into()),
    }
}

fn partition_key(name: &str, field: &Field, event: &Map<String, Value>) -> Result<String> {
    let found = match field.find_in(event) {
        Some(Value::String(text)) if !text.is_empty() => return Ok(text.clone()),
        Some(Value::Number(number)) => return Ok(number.to_string()),
        Some(Value::String(_)) => "empty",
        Some(other) => kind(other),
        None => "missing",
    };
    Err(format!("partition key `{name}` needs a string or a number in field `{field}`, which is {found}").into())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(config: &str, data: &str) -> Result {
        apply(&Settings::parse(config).expect("the test's settings are right"), data.as_bytes())
    }

    fn line(config: &str, data: &str) -> String {
        match run(config, data) {
            Ok(Outcome::Ok(one)) => String::from_utf8(one.data).expect("JSON is UTF-8"),
            other => panic!("{other:?}"),
        }
    }

    fn keys(config: &str, data: &str) -> Vec<(String, String)> {
        match run(config, data) {
            Ok(Outcome::Ok(one)) => one.partition_keys,
            other => panic!("{other:?}"),
        }
    }

    fn failure(config: &str, data: &str) -> String {
        run(config, data).expect_err("the record is at fault").to_string()
    }

    #[test]
    fn without_settings_an_object_passes_with_its_order_and_its_digits() {
        let data = r#"{"z":1.50,"a":12345678901234567890123,"m":1e+5,"n":-0.0,"u":"å\n"}"#;
        assert_eq!(line("", data), format!("{data}\n"));
        assert_eq!(line("", r#"{"m":1E5}"#), "{\"m\":1e+5}\n");
        assert_eq!(line("{}", "  {\"a\" : [ 1 , true ] }\n"), "{\"a\":[1,true]}\n");
    }

    #[test]
    fn the_newline_can_be_left_out() {
        assert_eq!(line(r#"{"newline":false}"#, "{}\n"), "{}");
    }

    #[test]
    fn fields_are_dropped_at_any_depth_and_the_rest_keeps_its_order() {
        let config = r#"{"drop_fields":["a","b.c","list.secret","gone","b.gone.too","d.x"]}"#;
        let data = r#"{"z":0,"a":{"k":1},"b":{"q":1,"c":2,"r":3},"list":[{"secret":1,"id":7},5],"d":"text"}"#;
        assert_eq!(line(config, data), "{\"z\":0,\"b\":{\"q\":1,\"r\":3},\"list\":[{\"id\":7},5],\"d\":\"text\"}\n");
    }

    #[test]
    fn masking_keeps_of_a_mail_address_the_first_character_and_the_domain() {
        let config = r#"{"mask_fields":["email","name","user.emails","user.age","none","gone"]}"#;
        let data =
            r#"{"email":"alice@example.com","name":"Alice","user":{"emails":["ö@x.no",""],"age":41},"none":null}"#;
        let masked = r#"{"email":"a***@example.com","name":"***","user":{"emails":["ö***@x.no","***"],"age":"***"},"none":null}"#;
        assert_eq!(line(config, data), format!("{masked}\n"));
    }

    #[test]
    fn partition_keys_are_strings_or_numbers_as_written() {
        let config = r#"{"partition_keys":{"customer":"customer.id","score":"score"},"drop_fields":["score"]}"#;
        let data = r#"{"customer":{"id":"c-1"},"score":1.50}"#;
        assert_eq!(keys(config, data), [("customer".into(), "c-1".into()), ("score".into(), "1.50".into())]);
        assert_eq!(line(config, data), "{\"customer\":{\"id\":\"c-1\"}}\n");
    }

    #[test]
    fn a_masked_field_is_masked_in_the_partition_key_too() {
        let config = r#"{"partition_keys":{"who":"email"},"mask_fields":["email"]}"#;
        assert_eq!(keys(config, r#"{"email":"alice@example.com"}"#), [("who".into(), "a***@example.com".into())]);
    }

    #[test]
    fn a_record_without_its_partition_key_fails_with_the_reason() {
        let config = r#"{"partition_keys":{"customer":"customer.id"}}"#;
        for (data, found) in [
            (r#"{}"#, "missing"),
            (r#"{"customer":"c-1"}"#, "missing"),
            (r#"{"customer":{"id":""}}"#, "empty"),
            (r#"{"customer":{"id":null}}"#, "null"),
            (r#"{"customer":{"id":[1]}}"#, "a list"),
        ] {
            let why =
                format!("partition key `customer` needs a string or a number in field `customer.id`, which is {found}");
            assert_eq!(failure(config, data), why);
        }
    }

    #[test]
    fn records_that_match_every_condition_are_dropped() {
        let config = r#"{"drop_if":{"level":"debug","http.status":200}}"#;
        let matching = r#"{"level":"debug","http":{"status":200}}"#;
        assert!(matches!(run(config, matching), Ok(Outcome::Dropped)));
        for kept in [r#"{"level":"debug"}"#, r#"{"level":"debug","http":{"status":"200"}}"#] {
            assert_eq!(line(config, kept), format!("{kept}\n"));
        }
    }

    #[test]
    fn a_dropped_record_need_not_have_a_partition_key() {
        let config = r#"{"drop_if":{"level":"debug"},"partition_keys":{"customer":"id"}}"#;
        assert!(matches!(run(config, r#"{"level":"debug"}"#), Ok(Outcome::Dropped)));
    }

    #[test]
    fn only_one_json_object_is_a_record() {
        assert_eq!(failure("", "[1]"), "expected a JSON object, found a list");
        assert_eq!(failure("", "7"), "expected a JSON object, found a number");
        let not_json = "expected a JSON object, found something that is not JSON: ";
        assert_eq!(failure("", ""), format!("{not_json}EOF while parsing a value at line 1 column 0"));
        assert_eq!(failure("", "{}{}"), format!("{not_json}trailing characters at line 1 column 3"));
        assert!(failure("", "{\"a\":\"").starts_with(not_json));
        assert!(failure("", &"[".repeat(1000)).starts_with(not_json));
    }

    #[test]
    fn the_exported_function_works_unconfigured() {
        let outcome = handle(&Record::test(r#"{"a":1}"#)).expect("an object");
        assert!(matches!(outcome, Outcome::Ok(one) if one.data == b"{\"a\":1}\n"));
    }
}
