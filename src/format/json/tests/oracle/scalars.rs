//! Values without members: numbers are texts of digits here, which lose nothing.

use super::OracleCell;
use super::times;
use crate::format::json::SerdeRules;
use crate::format::schema::ColumnType;

/// A value without members, as a record has it.
pub(super) enum OracleScalar<'a> {
    Bool(bool),
    /// As it is spelled.
    Number(&'a str),
    Text(String),
    /// A key of a map, which is a text, but may stand for a value of every type.
    Key(String),
    /// An object or an array, as it is spelled.
    Nested(&'a str),
}

impl<'a> OracleScalar<'a> {
    /// None is a text with half of a surrogate pair.
    pub(super) fn of_json(json: &'a str) -> Option<OracleScalar<'a>> {
        Some(match json.as_bytes()[0] {
            b't' => OracleScalar::Bool(true),
            b'f' => OracleScalar::Bool(false),
            b'"' => OracleScalar::Text(super::text_of(json)?),
            b'{' | b'[' => OracleScalar::Nested(json),
            _ => OracleScalar::Number(json),
        })
    }

    /// What it becomes in a column of that type; none if it does not fit.
    pub(super) fn cell(&self, of: &ColumnType, rules: &SerdeRules) -> Option<OracleCell> {
        let strict = matches!(rules, SerdeRules::Strict);
        match of {
            ColumnType::TinyInt => self.integer(rules, i8::MIN.into(), i8::MAX.into()),
            ColumnType::SmallInt => self.integer(rules, i16::MIN.into(), i16::MAX.into()),
            ColumnType::Int => self.integer(rules, i32::MIN.into(), i32::MAX.into()),
            ColumnType::BigInt => self.integer(rules, i64::MIN.into(), i64::MAX.into()),
            ColumnType::Float => float(self.number(rules, false)?, strict),
            ColumnType::Double => double(self.number(rules, false)?, strict),
            ColumnType::Decimal { precision, scale } => {
                let number = ExactNumber::of(self.number(rules, true)?);
                let (units, rounded) = number.in_units(i64::from(*scale))?;
                let fits = units.unsigned_abs() < 10u128.pow(u32::from(*precision));
                (fits && !(rounded && strict)).then_some(OracleCell::Int(units))
            }
            ColumnType::Boolean => self.boolean(rules),
            ColumnType::String => self.text(rules).map(OracleCell::Text),
            ColumnType::Char(most) | ColumnType::Varchar(most) => {
                let text = self.text(rules)?;
                (text.chars().count() <= *most as usize).then_some(OracleCell::Text(text))
            }
            ColumnType::Binary => match self {
                OracleScalar::Text(text) | OracleScalar::Key(text) => bytes(text).map(OracleCell::Bytes),
                _ => None,
            },
            ColumnType::Date => times::date(self, rules),
            ColumnType::Timestamp(unit) => times::timestamp(self, unit.map_or(6, |unit| unit.digits()), rules),
            ColumnType::Array(_) | ColumnType::Map(..) | ColumnType::Struct(_) => unreachable!("it has members"),
        }
    }

    /// The spelling of a number.
    pub(super) fn number(&self, rules: &SerdeRules, is_decimal: bool) -> Option<&str> {
        let in_texts = match rules {
            SerdeRules::OpenX(_) => true,
            SerdeRules::Hive(_) => is_decimal,
            SerdeRules::Strict => false,
        };
        match self {
            OracleScalar::Number(number) => Some(number),
            OracleScalar::Text(text) if in_texts && is_number(text) => Some(text),
            OracleScalar::Key(text) if is_number(text) => Some(text),
            _ => None,
        }
    }

    fn integer(&self, rules: &SerdeRules, least: i128, most: i128) -> Option<OracleCell> {
        let (found, rounded) = ExactNumber::of(self.number(rules, false)?).in_units(0)?;
        (!rounded && (least..=most).contains(&found)).then_some(OracleCell::Int(found))
    }

    fn boolean(&self, rules: &SerdeRules) -> Option<OracleCell> {
        let word = match self {
            OracleScalar::Bool(found) => found.to_string(),
            OracleScalar::Text(text) | OracleScalar::Key(text) if matches!(rules, SerdeRules::OpenX(_)) => {
                text.to_ascii_lowercase()
            }
            OracleScalar::Key(text) => text.clone(),
            _ => return None,
        };
        word.parse().ok().map(OracleCell::Bool)
    }

    fn text(&self, rules: &SerdeRules) -> Option<String> {
        Some(match self {
            OracleScalar::Text(text) | OracleScalar::Key(text) => text.clone(),
            OracleScalar::Bool(_) | OracleScalar::Number(_) if matches!(rules, SerdeRules::Strict) => return None,
            OracleScalar::Bool(found) => found.to_string(),
            OracleScalar::Number(number) => (*number).to_owned(),
            OracleScalar::Nested(json) if matches!(rules, SerdeRules::OpenX(_)) => (*json).to_owned(),
            OracleScalar::Nested(_) => return None,
        })
    }
}

/// Whether a text is a number: as JSON has it, or with a plus, with zeros before it, with digits on one side of the point alone.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_digits(&mantissa.replacen('.', "", 1)) && is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
}

/// What is cut off.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CutRest {
    Nothing,
    Less,
    Half,
    More,
}

/// A number as its digits and the power of ten of the last one.
#[derive(Debug)]
pub(super) struct ExactNumber {
    is_negative: bool,
    /// Neither the first nor the last one is 0; zero has none.
    digits: String,
    exponent: i64,
}

impl ExactNumber {
    /// Reads a number that is one.
    pub(super) fn of(text: &str) -> ExactNumber {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{}{fraction}", whole.trim_start_matches(['+', '-']));
        // An exponent beyond all of these numbers is as good as any other.
        let beyond = if exponent.starts_with('-') { -1_000_000_000 } else { 1_000_000_000 };
        let exponent = exponent.parse::<i64>().unwrap_or(beyond).clamp(-1_000_000_000, 1_000_000_000);
        let short = digits.trim_end_matches('0');
        let cut = (digits.len() - short.len()) as i64;
        ExactNumber {
            is_negative: text.starts_with('-'),
            digits: short.trim_start_matches('0').to_owned(),
            exponent: exponent - fraction.len() as i64 + cut,
        }
    }

    /// Digits before the point.
    pub(super) fn whole_digits(&self) -> i64 {
        if self.digits.is_empty() { 0 } else { (self.digits.len() as i64 + self.exponent).max(0) }
    }

    /// How many of `10^-scale` it is, without its sign, and how the rest compares with nothing and with a half of one. None
    /// are too many to be counted.
    fn cut(&self, scale: i64) -> Option<(i128, CutRest)> {
        let shift = self.exponent + scale;
        let kept = self.digits.len() as i64 + shift;
        if kept > 39 && !self.digits.is_empty() {
            return None;
        }
        if shift >= 0 || self.digits.is_empty() {
            let zeros = if self.digits.is_empty() { 0 } else { shift as usize };
            let units = format!("0{}{}", self.digits, "0".repeat(zeros));
            return Some((units.parse().ok()?, CutRest::Nothing));
        }
        let (units, rest) = if kept > 0 { self.digits.split_at(kept as usize) } else { ("0", self.digits.as_str()) };
        let rest = match rest.as_bytes() {
            [b'5', ..] if kept >= 0 && rest.len() == 1 => CutRest::Half,
            [b'5'..=b'9', ..] if kept >= 0 => CutRest::More,
            _ => CutRest::Less,
        };
        Some((units.parse().ok()?, rest))
    }

    /// How many of `10^-scale` it is, rounded half up, which is away from zero, and whether it was.
    pub(super) fn in_units(&self, scale: i64) -> Option<(i128, bool)> {
        let (units, rest) = self.cut(scale)?;
        let units = units + i128::from(rest >= CutRest::Half);
        Some((if self.is_negative { -units } else { units }, rest > CutRest::Nothing))
    }

    /// The `10^-scale` below it, and the nearest one, of which it is the later one in the middle.
    pub(super) fn in_time(&self, scale: i64) -> Option<(i128, i128)> {
        let (units, rest) = self.cut(scale)?;
        Some(match self.is_negative {
            false => (units, units + i128::from(rest >= CutRest::Half)),
            true => (-units - i128::from(rest > CutRest::Nothing), -units - i128::from(rest > CutRest::Half)),
        })
    }

    /// Its digits before the point, if there are none behind it.
    fn whole(&self) -> Option<String> {
        (self.exponent >= 0).then(|| format!("{}{}", self.digits, "0".repeat(self.exponent as usize)))
    }
}

/// The nearest double. What vanishes, and integers that a double does not hold, have lost something.
fn double(text: &str, strict: bool) -> Option<OracleCell> {
    let found: f64 = text.parse().ok().filter(|found: &f64| found.is_finite())?;
    (!strict || is_held(text, found)).then_some(OracleCell::Double(found))
}

/// The same of a float.
fn float(text: &str, strict: bool) -> Option<OracleCell> {
    let found: f32 = text.parse().ok().filter(|found: &f32| found.is_finite())?;
    (!strict || is_held(text, found.into())).then_some(OracleCell::Float(found))
}

fn is_held(text: &str, found: f64) -> bool {
    let number = ExactNumber::of(text);
    if number.digits.is_empty() {
        return true;
    }
    let is_integer = text.bytes().all(|b| b.is_ascii_digit() || b"+-".contains(&b));
    found != 0.0 && (!is_integer || number.whole().is_some_and(|whole| whole == format!("{:.0}", found.abs())))
}

/// What base64 stands for.
fn bytes(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let short = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - short.len() > 2 {
        return None;
    }
    let mut bits: Vec<bool> = Vec::new();
    for digit in short.bytes() {
        let value = DIGITS.iter().position(|d| *d == digit)?;
        bits.extend((0..6).rev().map(|bit| value >> bit & 1 == 1));
    }
    let whole = bits.len() / 8 * 8;
    let byte = |bits: &[bool]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    bits[whole..].iter().all(|bit| !bit).then(|| bits[..whole].chunks(8).map(byte).collect())
}
