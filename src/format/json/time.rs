//! Moments and days: from the texts and numbers that people write them as, to counts since 1970.

use super::number::{Number, Scaled};
use crate::format::schema::TimestampUnit;

/// A moment in UTC, in a year from 1 to 9999: other years are beyond what readers of columns can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    seconds: i64,
    /// Of a second. Three digits more than any column keeps, so that they can be rounded once.
    picos: u64,
    /// There were digits behind these.
    has_more: bool,
}

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// A number with at most so many digits before its point is seconds, else milliseconds: Firehose's rule.
const SECONDS_DIGITS_MAX: i64 = 12;
const PICOS: u64 = 1_000_000_000_000;

impl Moment {
    fn of_picos(picos: Scaled) -> Option<Moment> {
        let Scaled { value, rounded: has_more } = picos;
        let seconds = i64::try_from(value.div_euclid(PICOS.into())).ok().filter(|seconds| SECONDS.contains(seconds))?;
        Some(Moment { seconds, picos: value.rem_euclid(PICOS.into()) as u64, has_more })
    }

    /// Epoch seconds or epoch milliseconds.
    pub(super) fn of_number(number: &Number) -> Option<Moment> {
        let is_seconds = number.magnitude() <= SECONDS_DIGITS_MAX;
        Moment::of_picos(number.floored(if is_seconds { 12 } else { 9 })?)
    }

    /// Epoch milliseconds.
    pub(super) fn of_millis(number: &Number) -> Option<Moment> {
        Moment::of_picos(number.floored(9)?)
    }

    /// A day and a time of it, so far from UTC. `None` if there is no such day or time.
    #[inline]
    pub(super) fn of_parts(day: Day, time: TimeOfDay, offset_seconds: i64) -> Option<Moment> {
        let TimeOfDay { hour, minute, second, picos, has_more } = time;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let time = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        let seconds = i64::from(day.0) * 86_400 + time - offset_seconds;
        SECONDS.contains(&seconds).then_some(Moment { seconds, picos, has_more })
    }

    /// In a column's unit, rounded half up (to the later one) if the flag says so. `None`: the column cannot count it.
    #[inline]
    pub(super) fn in_unit(self, unit: TimestampUnit) -> Option<(i64, bool)> {
        let (per_second, step) = match unit {
            TimestampUnit::Millis => (1_000, 1_000_000_000),
            TimestampUnit::Micros => (1_000_000, 1_000_000),
            TimestampUnit::Nanos => (1_000_000_000, 1_000),
        };
        let (whole, rest) = (self.picos / step, self.picos % step);
        let fraction = whole + u64::from(2 * rest >= step);
        let value = i128::from(self.seconds) * per_second + i128::from(fraction);
        // The last half of a unit of the year 9999 is nearer to the year 10000.
        let fits = fraction < per_second as u64 || self.seconds < *SECONDS.end();
        fits.then_some((i64::try_from(value).ok()?, rest > 0 || self.has_more))
    }
}

/// Days since 1970-01-01, in the years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day(pub(super) i32);

impl Day {
    /// `None`: there is no such day.
    #[inline]
    pub(super) fn of(year: u32, month: u32, day: u32) -> Option<Day> {
        const DAYS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = DAYS.get(month.wrapping_sub(1) as usize)? + u32::from(month == 2 && is_leap);
        if !(1..=9999).contains(&year) || !(1..=days).contains(&day) {
            return None;
        }
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": days_from_civil.
        let year = year - u32::from(month <= 2);
        let (era, of_era) = (year / 400, year % 400);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        Some(Day((era * 146_097 + of_era) as i32 - 719_468))
    }

    /// The n-th day of a year, the first one being 1. `None`: there is no such day.
    pub(super) fn of_year(year: u32, number: u32) -> Option<Day> {
        let (first, last) = (Day::of(year, 1, 1)?, Day::of(year, 12, 31)?);
        let day = first.0.checked_add(i32::try_from(number).ok()? - 1)?;
        (first.0..=last.0).contains(&day).then_some(Day(day))
    }

    /// A count of days.
    pub(super) fn of_number(number: &Number) -> Option<Day> {
        let scaled = number.scaled(0).filter(|scaled| !scaled.rounded)?;
        let seconds = scaled.value.checked_mul(86_400)?;
        SECONDS.contains(&i64::try_from(seconds).ok()?).then_some(Day(scaled.value as i32))
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TimeOfDay {
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    /// Of a second.
    pub picos: u64,
    /// There were digits behind these.
    pub has_more: bool,
}

/// What is taken for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `2026-11-20T12:30:00.123456789+01:00`, and nothing else (RFC 3339).
    Rfc3339,
    /// `2026-1-5 3:04:05[.123456789]`, as `java.sql.Timestamp.valueOf` takes it.
    Sql,
    /// Both, an ISO text without an offset, and a day alone.
    Any,
}

/// Reads a moment.
pub(super) fn moment(text: &str, shape: Shape) -> Option<Moment> {
    let mut rest = TimeText(text.as_bytes());
    let (day, is_padded) = rest.day()?;
    if rest.0.is_empty() && shape == Shape::Any && is_padded {
        return Moment::of_parts(day, TimeOfDay::default(), 0);
    }
    let separator = rest.next()?;
    let is_iso = matches!(separator, b'T' | b't');
    match (separator, shape) {
        (b'T' | b't', Shape::Rfc3339 | Shape::Any) if is_padded => {}
        (b' ', Shape::Sql | Shape::Any) => {}
        _ => return None,
    }
    let (time, is_time_padded) = rest.time()?;
    if is_iso && !is_time_padded {
        return None;
    }
    let offset = match (rest.0.is_empty(), shape) {
        (true, Shape::Sql | Shape::Any) => 0,
        (false, Shape::Rfc3339 | Shape::Any) => rest.offset(shape)?,
        _ => return None,
    };
    rest.0.is_empty().then(|| Moment::of_parts(day, time, offset))?
}

/// Reads a day: `2026-11-20`, or `2026-1-5` if that is taken.
pub(super) fn day(text: &str, padded: bool) -> Option<Day> {
    let mut rest = TimeText(text.as_bytes());
    let (day, is_padded) = rest.day()?;
    (rest.0.is_empty() && (is_padded || !padded)).then_some(day)
}

/// What is left of a text.
pub(super) struct TimeText<'a>(&'a [u8]);

impl<'a> TimeText<'a> {
    pub(super) fn new(text: &'a str) -> TimeText<'a> {
        TimeText(text.as_bytes())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(literal)?;
        Some(())
    }

    /// Which of these names, whole or its first three letters, in any case.
    pub(super) fn name(&mut self, names: &[&str]) -> Option<u32> {
        let letters = self.0.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let (word, rest) = self.0.split_at(letters);
        self.0 = rest;
        let is_it = |name: &&str| {
            let name = name.as_bytes();
            word.eq_ignore_ascii_case(name) || word.eq_ignore_ascii_case(&name[..name.len().min(3)])
        };
        names.iter().position(is_it).map(|number| number as u32)
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self, byte: u8) -> Option<()> {
        self.next().filter(|found| *found == byte).map(drop)
    }

    /// A number of at most so many digits, and of how many.
    ///
    /// A number of more digits ends there; what follows it is no number then.
    pub(super) fn number(&mut self, digits_max: usize) -> Option<(u32, usize)> {
        // More do not fit.
        let digits = self.0.iter().take(digits_max.min(9)).take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        Some((number.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')), digits))
    }

    /// A day, and whether month and day of the month have two digits.
    fn day(&mut self) -> Option<(Day, bool)> {
        let (year, digits) = self.number(4)?;
        self.byte(b'-')?;
        let month = self.number(2)?;
        self.byte(b'-')?;
        let day = self.number(2)?;
        let found = Day::of(year, month.0, day.0)?;
        (digits == 4).then_some((found, month.1 == 2 && day.1 == 2))
    }

    /// A time of day, and whether all its parts have two digits.
    fn time(&mut self) -> Option<(TimeOfDay, bool)> {
        let hour = self.number(2)?;
        self.byte(b':')?;
        let minute = self.number(2)?;
        self.byte(b':')?;
        let second = self.number(2)?;
        let mut time = TimeOfDay { hour: hour.0, minute: minute.0, second: second.0, ..TimeOfDay::default() };
        if self.0.first() == Some(&b'.') {
            self.next();
            (time.picos, time.has_more) = self.fraction(usize::MAX)?;
        }
        Some((time, [hour.1, minute.1, second.1] == [2; 3]))
    }

    /// A fraction of a second of at most so many digits: in picoseconds, and whether there were digits behind those.
    pub(super) fn fraction(&mut self, digits_max: usize) -> Option<(u64, bool)> {
        let digits = self.0.iter().take(digits_max).take_while(|b| b.is_ascii_digit()).count();
        let (fraction, rest) = self.0.split_at(digits);
        self.0 = rest;
        let kept = fraction.iter().chain(std::iter::repeat(&b'0')).take(12);
        let picos = kept.fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        let has_more = fraction.iter().skip(12).any(|digit| *digit != b'0');
        (digits > 0).then_some((picos, has_more))
    }

    /// `Z` or `+01:00`, in seconds; `+0100` and `+01` too, unless it has to be as RFC 3339 has it.
    pub(super) fn offset(&mut self, shape: Shape) -> Option<i64> {
        let sign = match self.next()? {
            b'Z' | b'z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (hours, minutes) = match self.number(4)? {
            (hours, 2) if self.0.is_empty() && shape != Shape::Rfc3339 => (hours, 0),
            (hours, 2) => {
                self.byte(b':')?;
                (hours, self.number(2).filter(|(_, digits)| *digits == 2)?.0)
            }
            (both, 4) if shape != Shape::Rfc3339 => (both / 100, both % 100),
            _ => return None,
        };
        (hours <= 23 && minutes <= 59).then_some(sign * i64::from(hours * 3600 + minutes * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str, shape: Shape) -> Option<i64> {
        moment(text, shape).map(|m| m.in_unit(TimestampUnit::Micros).unwrap().0)
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let mut date = jiff::civil::date(1, 1, 1);
        let epoch = jiff::civil::date(1970, 1, 1);
        while let Ok(next) = date.checked_add(jiff::Span::new().days(17)) {
            let (y, m, d) = (date.year() as u32, date.month() as u32, date.day() as u32);
            let expected = (date - epoch).get_days();
            assert_eq!(Day::of(y, m, d), Some(Day(expected)), "{date}");
            date = next;
        }
        assert_eq!(Day::of(9999, 12, 31), Some(Day(2_932_896)));
        for (y, m, d) in
            [(0, 1, 1), (10000, 1, 1), (2026, 0, 1), (2026, 13, 1), (2026, 2, 29), (1900, 2, 29), (2026, 4, 31)]
        {
            assert_eq!(Day::of(y, m, d), None, "{y}-{m}-{d}");
        }
    }

    #[test]
    fn shapes_of_moments() {
        let at = 1_515_121_445_000_000;
        for (text, rfc, sql, any) in [
            ("2018-01-05T03:04:05Z", true, false, true),
            ("2018-01-05T03:04:05.000000000+00:00", true, false, true),
            ("2018-01-05T05:04:05+02:00", true, false, true),
            ("2018-01-05T05:04:05+0200", false, false, true),
            ("2018-01-05T03:04:05", false, false, true),
            ("2018-01-05 03:04:05", false, true, true),
            ("2018-1-5 3:04:05", false, true, true),
            ("2018-01-05 03:04:05Z", false, false, true),
            ("2018-1-5T03:04:05Z", false, false, false),
            ("2018-01-05T3:04:05Z", false, false, false),
            ("2018-01-05T03:04:05+24:00", false, false, false),
            ("2018-01-05T24:00:00Z", false, false, false),
            ("2018-02-30 00:00:00", false, false, false),
            ("2018-01-05 23:59:60", false, false, false),
            ("2018-01-05T03:04:05.0000000000000Z", true, false, true),
            ("18-01-05 03:04:05", false, false, false),
        ] {
            let taken = [Shape::Rfc3339, Shape::Sql, Shape::Any].map(|shape| micros(text, shape));
            assert_eq!(taken, [rfc, sql, any].map(|taken| taken.then_some(at)), "{text}");
        }
        assert_eq!(micros("2018-01-05", Shape::Any), Some(1_515_110_400_000_000));
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds() {
        let of = |text| {
            let moment = Moment::of_number(&Number::parse(text).unwrap())?;
            Some((moment.seconds, moment.picos / 1000, moment.has_more))
        };
        assert_eq!(of("1493668022"), Some((1_493_668_022, 0, false)));
        assert_eq!(of("1493668022112"), Some((1_493_668_022, 112_000_000, false)));
        assert_eq!(of("1493668022.112"), Some((1_493_668_022, 112_000_000, false)));
        assert_eq!(of("-1.5"), Some((-2, 500_000_000, false)));
        assert_eq!(of("0.0000000000001"), Some((0, 0, true)));
        for far in ["999999999999", "1529014095948999936", "9223372036854775808", "253402300800000", "1e300"] {
            assert_eq!(of(far), None, "{far}");
        }
    }

    #[test]
    fn a_finer_moment_is_rounded_half_up_and_told() {
        let moment = moment("2018-01-05T03:04:05.1234565Z", Shape::Rfc3339).unwrap();
        assert_eq!(moment.in_unit(TimestampUnit::Micros), Some((1_515_121_445_123_457, true)));
        assert_eq!(moment.in_unit(TimestampUnit::Nanos), Some((1_515_121_445_123_456_500, false)));
        assert_eq!(moment.in_unit(TimestampUnit::Millis), Some((1_515_121_445_123, true)));
        let far = Moment::of_parts(Day::of(9999, 12, 31).unwrap(), TimeOfDay::default(), 0).unwrap();
        assert_eq!(far.in_unit(TimestampUnit::Nanos), None);
        let of = |text, unit| super::moment(text, Shape::Any).unwrap().in_unit(unit);
        assert_eq!(of("9999-12-31T23:59:59.9999995Z", TimestampUnit::Micros), None);
        assert_eq!(of("9999-12-31T23:59:59.9999994999Z", TimestampUnit::Micros), Some((253_402_300_799_999_999, true)));
        assert_eq!(of("1677-09-21T00:12:43.5Z", TimestampUnit::Nanos), Some((-9_223_372_036_500_000_000, false)));
        assert_eq!(of("1970-01-01T00:00:00.0004999999999Z", TimestampUnit::Millis), Some((0, true)));
        assert_eq!(of("1970-01-01T00:00:00.0000000005Z", TimestampUnit::Nanos), Some((1, true)));
        assert_eq!(of("1970-01-01T00:00:00.0000000000001Z", TimestampUnit::Nanos), Some((0, true)));
    }
}
