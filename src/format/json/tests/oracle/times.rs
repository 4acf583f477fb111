//! Days and moments.

use super::OracleCell;
use super::scalars::{ExactNumber, OracleScalar};
use crate::format::json::{HiveTimestampFormat, SerdeRules};
use jiff::civil::Date;

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// The days since 1970 of a value.
pub(super) fn date(scalar: &OracleScalar, rules: &SerdeRules) -> Option<OracleCell> {
    let days = match scalar {
        OracleScalar::Number(number) if matches!(rules, SerdeRules::OpenX(_)) => {
            let (days, rounded) = ExactNumber::of(number).in_units(0)?;
            (!rounded).then_some(days)?
        }
        OracleScalar::Text(text) | OracleScalar::Key(text) => days(text, !matches!(rules, SerdeRules::Strict))?,
        _ => return None,
    };
    (days_between(0)? <= days && days < days_between(9999)?).then_some(OracleCell::Int(days))
}

/// Days from 1970 to the end of a year.
fn days_between(year: i16) -> Option<i128> {
    Some(days_since_1970(Date::new(year, 12, 31).ok()?) + 1)
}

fn days_since_1970(date: Date) -> i128 {
    i128::from(date.duration_since(EPOCH).as_secs() / 86_400)
}

/// A number of so many digits.
fn digits(text: &str, least: usize, most: usize) -> Option<i64> {
    let is_one = (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_one.then(|| text.parse().expect("digits"))
}

/// The days since 1970 of `2026-11-20`; zeros of months and days may be left out.
fn days(text: &str, may_be_short: bool) -> Option<i128> {
    let least = if may_be_short { 1 } else { 2 };
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return None };
    let (year, month, day) = (digits(year, 4, 4)?, digits(month, least, 2)?, digits(day, least, 2)?);
    Date::new(year as i16, month as i8, day as i8).ok().filter(|date| date.year() >= 1).map(days_since_1970)
}

/// Seconds of a day, and the digits behind the point.
fn seconds(text: &str, least: usize) -> Option<(i128, &str)> {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) if !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit()) => {
            (clock, fraction)
        }
        Some(_) => return None,
        None => (text, ""),
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = parts[..] else { return None };
    let (hour, minute, second) = (digits(hour, least, 2)?, digits(minute, least, 2)?, digits(second, least, 2)?);
    let time = jiff::civil::Time::new(hour as i8, minute as i8, second as i8, 0).ok()?;
    Some((i128::from(time.hour()) * 3600 + i128::from(time.minute()) * 60 + i128::from(time.second()), fraction))
}

/// Seconds since 1970, and the digits behind the point.
type OracleMoment<'a> = (i128, &'a str);

/// Seconds of an offset: `02:00`, and where that is said `0200` and `02`, too.
fn offset(text: &str, may_be_short: bool) -> Option<i128> {
    let (hours, minutes) = match (text.split_once(':'), text.split_at_checked(2)?) {
        (Some(parts), _) => parts,
        (None, (hours, "")) if may_be_short => (hours, "00"),
        (None, parts) if may_be_short => parts,
        _ => return None,
    };
    let (hours, minutes) = (digits(hours, 2, 2)?, digits(minutes, 2, 2)?);
    (hours < 24 && minutes < 60).then_some(i128::from(hours * 3600 + minutes * 60))
}

/// `2026-01-05T03:04:05.123+01:00`
fn rfc3339(text: &str) -> Option<OracleMoment<'_>> {
    let (time, offset) = without_offset(text, false)?;
    of_iso(time).map(|moment| moved(moment, offset))
}

/// A text without the offset at its end.
fn without_offset(text: &str, may_be_short: bool) -> Option<(&str, i128)> {
    if let Some(text) = text.strip_suffix(['Z', 'z']) {
        return Some((text, 0));
    }
    let sign = text.rfind(['+', '-'])?;
    let found = offset(&text[sign + 1..], may_be_short)?;
    Some((&text[..sign], if text[sign..].starts_with('+') { found } else { -found }))
}

fn moved((seconds, fraction): OracleMoment, offset: i128) -> OracleMoment {
    (seconds - offset, fraction)
}

/// `2026-01-05T03:04:05.123`
fn of_iso(text: &str) -> Option<OracleMoment<'_>> {
    let (day, time) = text.split_once(['T', 't'])?;
    let (seconds, fraction) = seconds(time, 2)?;
    Some((days(day, false)? * 86_400 + seconds, fraction))
}

/// `2026-1-5 3:04:05.123456789`
fn of_sql(text: &str) -> Option<OracleMoment<'_>> {
    let (day, time) = text.split_once(' ')?;
    let (seconds, fraction) = seconds(time, 1)?;
    Some((days(day, true)? * 86_400 + seconds, fraction))
}

/// Both, with an offset or without one, or a day alone.
fn of_any_shape(text: &str) -> Option<OracleMoment<'_>> {
    let (time, offset) = without_offset(text, true).filter(|(time, _)| time.contains(':')).unwrap_or((text, 0));
    let day = || days(text, false).map(|days| (days * 86_400, ""));
    of_iso(time).or_else(|| of_sql(time)).map(|moment| moved(moment, offset)).or_else(day)
}

/// What a value counts since 1970, with so many digits of a second.
pub(super) fn timestamp(scalar: &OracleScalar, unit: u32, rules: &SerdeRules) -> Option<OracleCell> {
    let text = match scalar {
        OracleScalar::Text(text) | OracleScalar::Key(text) => Some(text.as_str()),
        _ => None,
    };
    let (below, nearest) = match rules {
        SerdeRules::Strict => {
            let (seconds, fraction) = rfc3339(text?)?;
            let fits = fraction.trim_end_matches('0').len() <= unit as usize;
            fits.then(|| counted((seconds, fraction), unit))?
        }
        SerdeRules::Hive(rules) if rules.timestamp_formats.is_empty() => counted(of_sql(text?)?, unit),
        SerdeRules::Hive(hive) => {
            assert!(hive.timestamp_formats.iter().all(|format| *format == HiveTimestampFormat::Millis));
            number_counted(scalar.number(rules, true)?, 3, unit)?
        }
        SerdeRules::OpenX(_) => match scalar.number(rules, false) {
            Some(number) => {
                let is_seconds = ExactNumber::of(number).whole_digits() <= 12;
                number_counted(number, if is_seconds { 0 } else { 3 }, unit)?
            }
            None => counted(of_any_shape(text?)?, unit),
        },
    };
    let of_second = 10i128.pow(unit);
    let (begin, end) = (days_between(0)? * 86_400 * of_second, days_between(9999)? * 86_400 * of_second);
    let is_in_years = begin <= below && below < end && nearest < end;
    (is_in_years && i64::try_from(nearest).is_ok()).then_some(OracleCell::Int(nearest))
}

/// The unit of time below a moment, and the nearest one.
fn counted((seconds, fraction): OracleMoment, unit: u32) -> (i128, i128) {
    let part = ExactNumber::of(&format!("0.{fraction}0"));
    let (below, nearest) = part.in_time(unit.into()).expect("less than a second");
    let seconds = seconds * 10i128.pow(unit);
    (seconds + below, seconds + nearest)
}

/// The same of a number of seconds, or of their parts.
fn number_counted(number: &str, digits: i64, unit: u32) -> Option<(i128, i128)> {
    let (number, unit) = (ExactNumber::of(number), i64::from(unit));
    number.in_time(unit - digits)
}
