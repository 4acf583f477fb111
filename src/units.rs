//! Sizes and times as people write them: `64MiB`, `1h30m`.
//!
//! Both directions, and what a text that is neither was expected to be. No floating point: `1.5GiB` is exact.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const KIB: u64 = 1024;
const SIZE_EXPECTED: &str = "a size such as `64MiB`, `5MB` or `100` (bytes)";
const SIZE_UNITS: [(&str, u64); 11] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", KIB),
    ("MiB", KIB * KIB),
    ("GiB", KIB * KIB * KIB),
    ("TiB", KIB * KIB * KIB * KIB),
];

impl ByteSize {
    pub const fn kib(n: u64) -> ByteSize {
        ByteSize(n * KIB)
    }

    pub const fn mib(n: u64) -> ByteSize {
        ByteSize(n * KIB * KIB)
    }

    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::new(text, SIZE_EXPECTED);
        let (number, unit) = Decimal::split(text.trim()).ok_or_else(error)?;
        let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim_start()).ok_or_else(error)?;
        let bytes = number.times(u128::from(*factor)).ok_or_else(error)?;
        u64::try_from(bytes).map(ByteSize).map_err(|_| error())
    }
}

impl fmt::Display for ByteSize {
    /// The largest binary unit that shows the number exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = SIZE_UNITS[7..].iter().rev().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor));
        match exact {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(UnitReader(SIZE_EXPECTED, |text| text.parse().ok()))
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"] })
    }
}

const TIME_EXPECTED: &str = "a time such as `60s`, `1h30m`, `100ms` or `5` (seconds)";
const TIME_UNITS: [(&str, u128); 5] =
    [("ms", 1_000_000), ("s", NANOS), ("m", 60 * NANOS), ("h", 3_600 * NANOS), ("d", 86_400 * NANOS)];
const NANOS: u128 = 1_000_000_000;

/// Reads `60s`, `5m`, `1h30m`, `100ms`, `1.5s`; a plain number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let error = || UnitError::new(text, TIME_EXPECTED);
    let mut rest = text.trim();
    let mut nanos = 0u128;
    loop {
        let (number, after) = Decimal::split(rest).ok_or_else(error)?;
        let name_len = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (name, next) = after.split_at(name_len);
        let alone = rest == text.trim() && after.is_empty();
        let (_, factor) =
            TIME_UNITS.iter().find(|(unit, _)| *unit == if alone { "s" } else { name }).ok_or_else(error)?;
        nanos = number.times(*factor).and_then(|part| nanos.checked_add(part)).ok_or_else(error)?;
        rest = next;
        if rest.is_empty() {
            let seconds = u64::try_from(nanos / NANOS).map_err(|_| error())?;
            return Ok(Duration::new(seconds, (nanos % NANOS) as u32));
        }
    }
}

/// The shortest text that `parse_duration` reads back, to the millisecond.
pub fn format_duration(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_string();
    }
    let mut text = String::new();
    for (name, factor) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if millis >= factor {
            text.push_str(&format!("{}{name}", millis / factor));
            millis %= factor;
        }
    }
    text
}

/// `#[serde(with = "duration")]` for a `std::time::Duration`, and its schema.
pub mod duration {
    use super::*;

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*duration))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_str(UnitReader(TIME_EXPECTED, |text| parse_duration(text).ok()))
    }

    /// For `#[schemars(with = "duration::Text")]`.
    pub struct Text;

    impl JsonSchema for Text {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            "Duration".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({ "type": ["string", "number"] })
        }
    }
}

/// A share of a whole, in whole percent from 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u8);

const PERCENT_EXPECTED: &str = "a share from `1%` to `100%`";

impl Percent {
    pub fn of(self, whole: ByteSize) -> ByteSize {
        ByteSize((u128::from(whole.0) * u128::from(self.0) / 100) as u64)
    }
}

impl FromStr for Percent {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let number = text.trim().strip_suffix('%').and_then(|n| n.trim_end().parse().ok());
        number.filter(|n| (1..=100).contains(n)).map(Percent).ok_or_else(|| UnitError::new(text, PERCENT_EXPECTED))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(UnitReader(PERCENT_EXPECTED, |text| text.parse().ok()))
    }
}

impl JsonSchema for Percent {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]{1,3} ?%$" })
    }
}

/// A text that is no size or time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError {
    pub found: String,
    pub expected: &'static str,
}

impl UnitError {
    fn new(found: &str, expected: &'static str) -> Self {
        UnitError { found: found.to_string(), expected }
    }
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found `{}`, expected {}", self.found, self.expected)
    }
}

impl std::error::Error for UnitError {}

/// A serde visitor that hands text to a parser: what is expected, and the parser.
struct UnitReader<T>(&'static str, fn(&str) -> Option<T>);

impl<T> de::Visitor<'_> for UnitReader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// `digits / 10^scale`, exactly.
#[derive(Clone, Copy)]
struct Decimal {
    digits: u64,
    scale: u32,
}

impl Decimal {
    /// The number that `text` begins with, and what follows.
    fn split(text: &str) -> Option<(Decimal, &str)> {
        let len = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, rest) = text.split_at(len);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || fraction.is_empty() {
            return None;
        }
        let scale = u32::try_from(fraction.len()).ok()?;
        Some((Decimal { digits: format!("{whole}{fraction}").parse().ok()?, scale }, rest))
    }

    /// `None` if the product is not whole or too large.
    fn times(self, factor: u128) -> Option<u128> {
        let product = u128::from(self.digits).checked_mul(factor)?;
        let divisor = 10u128.checked_pow(self.scale)?;
        product.is_multiple_of(divisor).then_some(product / divisor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        let cases = [
            ("64MiB", 64 << 20, "64MiB"),
            ("5MB", 5_000_000, "5000000B"),
            ("100", 100, "100B"),
            ("1.5 GiB", 3 << 29, "1536MiB"),
            ("0", 0, "0B"),
            ("2TiB", 2 << 40, "2TiB"),
        ];
        for (text, bytes, shown) in cases {
            let size: ByteSize = text.parse().expect(text);
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown));
            assert_eq!(size.to_string().parse(), Ok(size));
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_what_was_expected() {
        for text in ["", "MiB", "5mib", "5 M", "-1", "1.", ".5MiB", "1.0001B", "99999999TiB", "1e3"] {
            let error = text.parse::<ByteSize>().expect_err(text).to_string();
            assert_eq!(error, format!("found `{text}`, expected a size such as `64MiB`, `5MB` or `100` (bytes)"));
        }
    }

    #[test]
    fn times_are_read_and_shown() {
        let cases = [
            ("60s", 60_000, "1m"),
            ("5m", 300_000, "5m"),
            ("1h30m", 5_400_000, "1h30m"),
            ("100ms", 100, "100ms"),
            ("300", 300_000, "5m"),
            ("1.5s", 1_500, "1s500ms"),
            ("0", 0, "0s"),
            ("1d", 86_400_000, "24h"),
        ];
        for (text, millis, shown) in cases {
            let duration = parse_duration(text).expect(text);
            assert_eq!((duration.as_millis(), format_duration(duration).as_str()), (millis, shown));
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_was_expected() {
        for text in ["", "s", "5 m", "1h30", "5min", "-1s", "99999999999999999999d"] {
            let error = parse_duration(text).expect_err(text).to_string();
            assert!(error.starts_with(&format!("found `{text}`, expected a time such as `60s`")), "{error}");
        }
    }

    #[test]
    fn a_share_is_a_percentage() {
        assert_eq!("25%".parse(), Ok(Percent(25)));
        assert_eq!(Percent(25).of(ByteSize::mib(192)), ByteSize::mib(48));
        for text in ["25", "0%", "101%", "x%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }
}
