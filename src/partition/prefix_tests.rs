use jiff::{Timestamp, Zoned};
use proptest::prelude::*;
use uuid::Uuid;

use super::super::key::evaluate;
use super::super::object_name::{ObjectName, is_object_of};
use super::*;
use PrefixKind::{Errors, Objects};

fn at() -> Zoned {
    "2026-07-13T14:05:09Z".parse::<Timestamp>().unwrap().in_tz("UTC").unwrap()
}

fn pairs(values: &[(&str, &str)]) -> Vec<(String, String)> {
    values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// The evaluated prefix; random strings are `random00001`, `random00002`, …
fn evaluated(key: &Key) -> String {
    let mut n = 0;
    evaluate(key, &at(), &mut || {
        n += 1;
        format!("random{n:05}")
    })
}

fn with_value(prefix: &str, value: &str) -> Result<String, KeyError> {
    let prefix = Prefix::parse(prefix, Objects).expect("the prefix is valid");
    prefix.key(None, &pairs(&[("k", value)])).map(|key| evaluated(&key))
}

#[test]
fn a_prefix_evaluates_as_firehose_does() {
    for (kind, prefix, expected) in [
        (Objects, "", "2026/07/13/14/"),
        (Objects, "legacy", "legacy2026/07/13/14/"),
        (Objects, "legacy/", "legacy/2026/07/13/14/"),
        (Objects, "/a//b! {c}/", "/a//b! {c}/2026/07/13/14/"),
        (Objects, "!{firehose:random-string}/", "random00001/"),
        (Objects, "!{firehose:random-string}!{firehose:random-string}", "random00001random00002"),
        (Objects, "!{timestamp:yyyy}!!!{timestamp:'y='yy}!", "2026!!y=26!"),
        (Objects, "é/!{timestamp:yyyy/MM/dd/HH'h'}/", "é/2026/07/13/14h/"),
        (Objects, "k=!{partitionKeyFromLambda:k}/q=!{partitionKeyFromQuery:q 1}/!{timestamp:HH}/", "k=v/q=w/14/"),
        (Errors, "failed/", "failed/2026/07/13/14/"),
        (Errors, "f/!{firehose:error-output-type}/", "f/processing-failed/"),
        (
            Errors,
            "!{timestamp:yyyy}/!{firehose:error-output-type}-!{firehose:random-string}/",
            "2026/processing-failed-random00001/",
        ),
    ] {
        let values = pairs(&[("k", "v"), ("q 1", "w"), ("unused", "")]);
        let key = Prefix::parse(prefix, kind).expect(prefix).key(Some("processing-failed"), &values).unwrap();
        assert_eq!(evaluated(&key), expected, "{prefix}");
        assert_eq!(Key::from_persisted(key.as_str()), Ok(key), "{prefix}");
    }
}

#[test]
fn a_wrong_prefix_is_refused_with_its_place_and_what_was_expected() {
    for (kind, prefix, expected) in [
        (Objects, "a!{", "prefix, column 2: `!{` without `}`, expected an expression `!{namespace:value}`"),
        (
            Objects,
            "é!{a!{timestamp:yyyy}",
            "prefix, column 2: `!{` without `}`, expected an expression `!{namespace:value}`",
        ),
        (Objects, "!{}", "prefix, column 1: `!{}`, expected an expression `!{namespace:value}`"),
        (Objects, "!{timestamp}", "prefix, column 1: `!{timestamp}`, expected an expression `!{namespace:value}`"),
        (Objects, "!{timestamp:}", "prefix, column 1: `!{timestamp:}` has no value, expected `!{namespace:value}`"),
        (
            Objects,
            "!{partitionKeyFromQuery:}",
            "prefix, column 1: `!{partitionKeyFromQuery:}` has no value, expected `!{namespace:value}`",
        ),
        (
            Errors,
            "!{Timestamp:yyyy}",
            "error prefix, column 1: unknown namespace `Timestamp`, expected one of `timestamp`, `firehose`",
        ),
        (
            Objects,
            "!{s3:x}",
            "prefix, column 1: unknown namespace `s3`, expected one of `timestamp`, `firehose`, `partitionKeyFromLambda`, `partitionKeyFromQuery`",
        ),
        (
            Objects,
            "!{firehose:random}",
            "prefix, column 1: unknown value `!{firehose:random}`, expected `!{firehose:random-string}`",
        ),
        (
            Objects,
            "x!{firehose:error-output-type}",
            "prefix, column 2: `!{firehose:error-output-type}` is not allowed, expected it only in the error prefix",
        ),
        (
            Errors,
            "!{partitionKeyFromLambda:k}",
            "error prefix, column 1: `!{partitionKeyFromLambda:k}` is not allowed, expected it only in the prefix",
        ),
        (
            Errors,
            "!{partitionKeyFromQuery:k}",
            "error prefix, column 1: `!{partitionKeyFromQuery:k}` is not allowed, expected it only in the prefix",
        ),
        (
            Objects,
            "a/!{timestamp:yyyy-MMMMMM}",
            "prefix, column 20: time pattern, column 6: letter `M` 6 times in a row, expected 1 to 5",
        ),
        (
            Objects,
            "!{timestamp:'}'}",
            "prefix, column 13: time pattern, column 1: quoted text has no end, expected `'` (and `''` for a quote)",
        ),
        (Objects, "a\u{0}", "prefix, column 2: control character, expected printable text"),
        (Objects, "a/../b/", "prefix: path segment `..`, expected a name"),
        (Objects, "./!{timestamp:yyyy}", "prefix: path segment `.`, expected a name"),
        (Objects, "!{timestamp:yyyy/'.'./dd}", "prefix: path segment `..`, expected a name"),
        (Errors, "", "error prefix: is empty, expected some text or no error prefix at all"),
    ] {
        let error = Prefix::parse(prefix, kind).expect_err(prefix);
        assert_eq!(error.to_string(), expected, "{prefix}");
    }
}

#[test]
fn lengths_are_limited_as_configured_and_as_evaluated() {
    let error = |text: String, kind| Prefix::parse(&text, kind).unwrap_err().to_string();
    assert_eq!(error("x".repeat(1025), Objects), "prefix: 1025 characters, expected at most 1024");
    assert!(Prefix::parse(&"x".repeat(512 - 14), Objects).is_ok());
    assert_eq!(
        error("x".repeat(512 - 13), Objects),
        "prefix: evaluates to as many as 513 characters (513 bytes), expected at most 512 (754 bytes)"
    );
    // 1024 bytes for the whole name: 400 characters of two bytes leave no room.
    assert!(Prefix::parse(&"é".repeat(400), Objects).is_err());
    // A literal of 1,000 characters in a short text: quoted text and wide numbers count as they print.
    assert!(error(format!("!{{timestamp:{}}}", "Y".repeat(600)), Objects).contains("600 characters"));
    // Whatever the error type, the record that failed has a place.
    assert!(Prefix::errors_default(&"x".repeat(512 - 30 - 1 - 14)).is_ok());
    assert!(Prefix::errors_default(&"x".repeat(512 - 30 - 1 - 13)).is_err());

    let prefix = Prefix::parse("!{partitionKeyFromLambda:k}/!{timestamp:yyyy}/", Objects).unwrap();
    assert!(prefix.key(None, &pairs(&[("k", &"x".repeat(506))])).is_ok());
    let too_long = prefix.key(None, &pairs(&[("k", &"x".repeat(507))]));
    assert_eq!(too_long, Err(KeyError::TooLong { chars: 513, bytes: 513 }));
    assert!(matches!(prefix.key(None, &pairs(&[("k", &"é".repeat(100))])), Err(KeyError::TooLong { chars: 606, .. })));
}

#[test]
fn a_hostile_value_is_encoded_or_refused() {
    for (value, expected) in [
        ("a b", "p/a%20b/2026/"),
        ("A-Za-z0-9!_.*'()=-", "p/A-Za-z0-9!_.*'()=-/2026/"),
        ("%2e%2e", "p/%252e%252e/2026/"),
        ("..%2f", "p/..%252f/2026/"),
        ("\\..\\", "p/%5C..%5C/2026/"),
        ("a\0b", "p/a%00b/2026/"),
        ("\r\n\x1b[31m", "p/%0D%0A%1B%5B31m/2026/"),
        ("\u{202e}fdp", "p/%E2%80%AEfdp/2026/"),
        ("é", "p/%C3%A9/2026/"),
        ("!{timestamp:yyyy}", "p/!%7Btimestamp%3Ayyyy%7D/2026/"),
        ("!!{firehose:random-string}", "p/!!%7Bfirehose%3Arandom-string%7D/2026/"),
        ("a/b", "p/a/b/2026/"),
        ("...", "p/.../2026/"),
        ("~", "p/%7E/2026/"),
    ] {
        assert_eq!(with_value("p/!{partitionKeyFromLambda:k}/!{timestamp:yyyy}/", value).as_deref(), Ok(expected));
    }
    for (value, segment) in [
        (".", "."),
        ("..", ".."),
        ("../", ".."),
        ("../../etc", ".."),
        ("a/../..", ".."),
        ("/a", ""),
        ("a/", ""),
        ("a//b", ""),
        ("/", ""),
        ("a/./b", "."),
    ] {
        let found = with_value("p/!{partitionKeyFromLambda:k}/!{timestamp:yyyy}/", value);
        assert_eq!(found, Err(KeyError::Segment { key: "k".into(), segment }), "{value}");
    }
    let two_kilobytes = with_value("p/!{partitionKeyFromLambda:k}/", &"x".repeat(2048));
    assert!(matches!(two_kilobytes, Err(KeyError::TooLong { .. })), "{two_kilobytes:?}");
}

#[test]
fn a_segment_is_judged_with_what_stands_beside_the_value() {
    for (prefix, value, expected) in [
        ("k=!{partitionKeyFromQuery:k}/", "..", Ok("k=../")),
        ("p/!{partitionKeyFromQuery:k}", "..", Ok("p/..")), // `..stream-1-…`
        ("p/!{partitionKeyFromQuery:k}", "a/", Ok("p/a/")),
        ("p/!{partitionKeyFromQuery:k}x/", "a/", Ok("p/a/x/")),
        ("p!{partitionKeyFromQuery:k}/", "/a", Ok("p/a/")),
        ("!{timestamp:dd}!{partitionKeyFromQuery:k}/", "..", Ok("13../")),
        ("p//!{partitionKeyFromQuery:k}//q/", "a", Ok("p//a//q/")),
        (".!{partitionKeyFromQuery:k}/", ".", Err("..")),
        ("!{partitionKeyFromQuery:k}./", "x/.", Err("..")),
        ("!{partitionKeyFromQuery:k}!{partitionKeyFromLambda:k}/", ".", Err("..")),
        ("!{partitionKeyFromQuery:k}/", "/a", Err("")),
        ("!{timestamp:yyyy/MM/}!{partitionKeyFromQuery:k}/", "..", Err("..")),
        ("!{partitionKeyFromQuery:k}!{timestamp:/yyyy}/", "..", Err("..")),
        ("!{timestamp:yyyy/'.'}!{partitionKeyFromQuery:k}/", ".", Err("..")),
    ] {
        let expected = expected.map(str::to_owned).map_err(|segment| KeyError::Segment { key: "k".into(), segment });
        assert_eq!(with_value(prefix, value), expected, "{prefix} {value}");
    }
}

#[test]
fn a_missing_or_empty_value_is_named() {
    let prefix = Prefix::parse("!{partitionKeyFromLambda:customer}/!{partitionKeyFromQuery:day}/", Objects).unwrap();
    assert_eq!(
        prefix.key(None, &pairs(&[("customer", "c")])).unwrap_err().to_string(),
        "partition key `day` is missing"
    );
    assert_eq!(
        prefix.key(None, &pairs(&[("customer", ""), ("day", "1")])).unwrap_err().to_string(),
        "partition key `customer` is empty"
    );
    let errors = Prefix::parse("!{firehose:error-output-type}/", Errors).unwrap();
    assert_eq!(errors.key(None, &[]), Err(KeyError::Missing { key: "error-output-type".into() }));
}

#[test]
fn the_rules_that_concern_two_prefixes_hold() {
    let aws = "Ths supplied prefix(es) do not satisfy the following constraint: \
               ErrorOutputPrefix cannot be null or empty when Prefix contains expressions";
    let keys = format!("{aws} (partition key `k`: records without it need a place)");
    let no_type = "error prefix: has expressions, but not `!{firehose:error-output-type}`, expected it at least once";
    for (objects, errors, expected) in [
        ("", None, ""),
        ("a/", None, ""),
        ("a/", Some("b/"), ""),
        ("!{timestamp:yyyy}/", Some("b/"), ""),
        ("!{timestamp:yyyy}/", Some("!{firehose:error-output-type}/!{timestamp:yyyy}/"), ""),
        ("!{timestamp:yyyy}/", None, aws),
        ("!{firehose:random-string}/", None, aws),
        ("!{timestamp:yyyy}/!{partitionKeyFromQuery:k}/", None, keys.as_str()),
        ("a/", Some("!{timestamp:yyyy}/"), no_type),
        ("!{partitionKeyFromQuery:k}/", Some("!{firehose:random-string}/"), no_type),
    ] {
        let errors = errors.map(|text| Prefix::parse(text, Errors).unwrap());
        let found = check_pair(&Prefix::parse(objects, Objects).unwrap(), errors.as_ref());
        assert_eq!(found.err().map_or(String::new(), |e| e.to_string()), expected, "{objects}");
    }
    assert_eq!(Prefix::errors_default("a!{timestamp:yyyy}").unwrap_err().to_string(), aws);
}

#[test]
fn failures_without_an_error_prefix_go_below_the_objects_prefix() {
    for (objects, expected) in [
        ("", "splunk-failed/2026/07/13/14/"),
        ("legacy/", "legacy/splunk-failed/2026/07/13/14/"),
        ("legacy!", "legacy!splunk-failed/2026/07/13/14/"),
    ] {
        let key = Prefix::errors_default(objects).unwrap().key(Some("splunk-failed"), &[]).unwrap();
        assert_eq!(evaluated(&key), expected);
    }
}

#[test]
fn partition_keys_are_listed_once_and_random_strings_and_times_stay_open_in_a_key() {
    let text = "!{partitionKeyFromQuery:b}!{partitionKeyFromLambda:a}!{partitionKeyFromQuery:b}!!{firehose:random-string}!{timestamp:HH}";
    let prefix = Prefix::parse(text, Objects).unwrap();
    assert_eq!(prefix.partition_keys_used(), [(Namespace::Query, "b".into()), (Namespace::Lambda, "a".into())]);
    let key = prefix.key(None, &pairs(&[("a", "1!"), ("b", "2")])).unwrap();
    assert_eq!(key.as_str(), "21!!2!!!{firehose:random-string}!{timestamp:HH}");
    assert_eq!(evaluated(&key), "21!2!random0000114");
}

#[test]
fn persisted_text_that_is_no_key_is_refused() {
    for text in [
        "!",
        "a!b",
        "!{",
        "!{timestamp:yyyy",
        "!{timestamp:bb}",
        "!{firehose:error-output-type}",
        "!{partitionKeyFromQuery:k}",
        "!!!",
    ] {
        assert_eq!(Key::from_persisted(text), Err(KeyError::Unreadable { text: text.into() }));
    }
}

#[test]
fn an_object_is_named_as_firehose_names_it_and_fits_into_s3s_limit() {
    let uuid = Uuid::from_u128(0xAB_CDEF);
    let time = at().in_tz("Asia/Kolkata").unwrap();
    let (oldest_arrival, id) = (&time, &uuid);
    let named = |stream, version, extension| ObjectName { stream, version, oldest_arrival, id, extension };
    assert_eq!(
        named("my.stream_1", Some(4), ".gz").below("iceberg-failed/2025/11/19/22/"),
        "iceberg-failed/2025/11/19/22/my.stream_1-4-2026-07-13-19-35-09-00000000-0000-0000-0000-000000abcdef.gz"
    );
    let (stream, extension) = ("s".repeat(64), "e".repeat(128));
    let longest = named(&stream, Some(u64::MAX), &extension).below(&"x".repeat(EVALUATED_BYTES_MAX));
    assert_eq!(longest.len(), OBJECT_KEY_BYTES_MAX);
}

/// An encoder to compare with, written the other way round.
fn encoded(value: &str) -> String {
    value
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || "!_.*'()=-/".contains(char::from(b)) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[!{}:./%a-c]{1,12}",
        "\\PC{1,20}",
        any::<String>(),
        Just("!{timestamp:yyyy}".to_owned()),
        Just("!".to_owned()),
        Just("{firehose:random-string}".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_value_changes_nothing_outside_its_own_place(a in hostile(), b in hostile(), literal in "[!{}x:]{0,4}") {
        // Text after a value that would be an expression, if the value could give it its `!`.
        prop_assume!(!format!("{literal}!").contains("!{"));
        let text = format!("<{literal}>!{{partitionKeyFromLambda:a}}{{timestamp:HH}}!{{timestamp:/HH/}}{literal}z!{{partitionKeyFromQuery:b}}{{firehose:random-string}}!{{firehose:random-string}}");
        let prefix = Prefix::parse(&text, Objects).unwrap();
        let values = pairs(&[("a", &a), ("b", &b)]);
        if let Ok(key) = prefix.key(None, &values) {
            let expected = format!("<{literal}>{}{{timestamp:HH}}/14/{literal}z{}{{firehose:random-string}}random00001", encoded(&a), encoded(&b));
            prop_assert_eq!(evaluated(&key), expected.clone());
            let read = Key::from_persisted(key.as_str()).unwrap();
            prop_assert_eq!(evaluated(&read), expected.clone());
            prop_assert_eq!(&read, &key);
            prop_assert!(expected.is_ascii() && expected.len() <= 512);
            prop_assert!(expected.split('/').all(|segment| !["", ".", ".."].contains(&segment)));
        }
    }

    #[test]
    fn different_values_make_different_keys(a in hostile(), b in hostile()) {
        let prefix = Prefix::parse("p/!{partitionKeyFromLambda:k}{x}/", Objects).unwrap();
        let key = |value: &str| prefix.key(None, &pairs(&[("k", value)]));
        if let (Ok(one), Ok(other)) = (key(&a), key(&b)) {
            prop_assert_eq!(one == other, a == b);
            prop_assert_eq!(evaluated(&one) == evaluated(&other), a == b);
        }
    }

    #[test]
    fn any_text_is_a_prefix_or_an_error_and_its_key_reads_back(text in "(![{]|[{]|timestamp:|firehose:|random-string|yyyy|/|[.]|!|\\PC|[}]){0,12}") {
        if let Ok(prefix) = Prefix::parse(&text, Objects) && let Ok(key) = prefix.key(None, &[]) {
            prop_assert_eq!(Key::from_persisted(key.as_str()), Ok(key.clone()));
            evaluated(&key);
        }
        if let Ok(key) = Key::from_persisted(&text) {
            evaluated(&key);
        }
    }
}

#[test]
fn an_objects_name_says_whose_it_is() {
    let rest = "2026-11-24-18-01-59-ed4acda5-034f-9f42-bba1-f29aea6d7d8f";
    let streams = ["a", "a-1", "a-1-2026", "x.y_z-7"];
    for stream in streams {
        let own = [format!("e/2026/{stream}-3-{rest}"), format!("{stream}-12-{rest}.gz")];
        for (own, has_version) in own.iter().map(|n| (n.clone(), true)).chain([(format!("m/{stream}-{rest}"), false)]) {
            assert!(is_object_of(&own, stream, has_version), "{own} of {stream}");
            for other in streams.into_iter().filter(|other| *other != stream) {
                assert!(!is_object_of(&own, other, has_version), "{own} of {other}");
            }
        }
    }
    for name in ["a-1-2026-11-24", "a", "b/a-1/x", ""] {
        assert!(!is_object_of(name, "a", true) && !is_object_of(name, "a", false), "{name}");
    }
}
