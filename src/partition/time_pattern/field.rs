//! The fields of a time pattern: what each takes from a point in time, and how it is printed.

use std::fmt::{self, Write};

use jiff::Zoned;
use jiff::civil::date;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// At least `width` digits.
    Number(Unit, usize),
    /// `yy`, `uu`, `YY`: the last two digits, without a sign.
    TwoDigits(Unit),
    /// The first digits of the fraction of a second, cut off, not rounded.
    Fraction(usize),
    Word(Unit, Style),
    Offset(Offset),
    /// `O` and, with both digits of everything, `OOOO` and `ZZZZ`: `GMT-5`, `GMT-05:00`.
    GmtOffset {
        long: bool,
    },
    ZoneId,
    ZoneAbbreviation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offset {
    pub(super) colon: bool,
    pub(super) minutes: Show,
    pub(super) seconds: Show,
    pub(super) zero: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    Always,
    IfNotZero,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Short,
    /// `LLL`, `qqq`, `ccc`: standing alone, without a day beside it.
    ShortAlone,
    Full,
    Narrow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Era,
    Year,
    YearOfEra,
    WeekYear,
    Quarter,
    Month,
    DayOfMonth,
    DayOfYear,
    ModifiedJulianDay,
    /// Monday is 1: only for words.
    IsoWeekday,
    /// Sunday is 1.
    Weekday,
    WeekOfYear,
    WeekOfMonth,
    /// Java 17's `F`: day of the aligned week in the month, 1 for the days 1, 8, 15, 22, 29.
    AlignedDay,
    HalfDay,
    /// 0-23 `H`, 1-24 `k`, 0-11 `K`, 1-12 `h`.
    Hour,
    ClockHour,
    HalfHour,
    HalfClockHour,
    Minute,
    Second,
    Nano,
    MilliOfDay,
    NanoOfDay,
}

impl Field {
    /// The length of the longest text for the years 1970 to 9998.
    pub(super) fn width_max(self) -> usize {
        match self {
            Field::Number(unit, width) => width.max(match unit {
                Unit::NanoOfDay => 14,
                Unit::Nano => 9,
                Unit::MilliOfDay => 8,
                Unit::ModifiedJulianDay => 7,
                Unit::Year | Unit::YearOfEra | Unit::WeekYear => 4,
                Unit::DayOfYear => 3,
                _ => 2,
            }),
            Field::TwoDigits(_) => 2,
            Field::Fraction(digits) => digits,
            Field::Word(..) => 3,
            Field::Offset(_) => "+10:36:20".len(),
            Field::GmtOffset { .. } | Field::ZoneAbbreviation => "GMT+10:36:20".len(),
            Field::ZoneId => "America/Argentina/ComodRivadavia".len(),
        }
    }
}

/// Appends the field's text.
pub(super) fn write(out: &mut String, field: Field, at: &Zoned) {
    match field {
        Field::Number(unit, width) => {
            let n = value(unit, at);
            let years = matches!(unit, Unit::Year | Unit::YearOfEra | Unit::WeekYear);
            // Java's `SignStyle.EXCEEDS_PAD`: `YYYY` of the last days of 9999 is `+10000`.
            let exceeds = years && (4..19).contains(&width) && n >= 10i64.pow(width as u32);
            let sign = if n < 0 { "-" } else { ["", "+"][usize::from(exceeds)] };
            put(out, format_args!("{sign}{:0width$}", n.unsigned_abs()));
        }
        Field::TwoDigits(unit) => put(out, format_args!("{:02}", value(unit, at).unsigned_abs() % 100)),
        Field::Fraction(digits) => out.push_str(&format!("{:09}", value(Unit::Nano, at))[..digits]),
        Field::Word(unit, style) => out.push_str(&word(unit, style, value(unit, at))),
        Field::Offset(offset) => write_offset(out, offset, at.offset().seconds()),
        Field::GmtOffset { long } => write_gmt_offset(out, long, at.offset().seconds()),
        Field::ZoneId => match at.time_zone().iana_name() {
            Some(name) => out.push_str(name),
            None => write_fixed_zone(out, at),
        },
        Field::ZoneAbbreviation => {
            let info = at.time_zone().to_offset_info(at.timestamp());
            match info.abbreviation() {
                _ if at.time_zone().iana_name().is_none() => write_fixed_zone(out, at),
                name if name.starts_with(['+', '-']) => write_gmt_offset(out, true, at.offset().seconds()),
                name => out.push_str(name),
            }
        }
    }
}

fn put(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string cannot fail");
}

/// A zone that is only an offset has the offset as its id: `Z`, `+05:30`.
fn write_fixed_zone(out: &mut String, at: &Zoned) {
    let id = Offset { colon: true, minutes: Show::Always, seconds: Show::IfNotZero, zero: "Z" };
    write_offset(out, id, at.offset().seconds());
}

fn write_offset(out: &mut String, style: Offset, seconds: i32) {
    let start = out.len();
    let (hours, minutes, rest) = hours_minutes_seconds(seconds);
    let colon = if style.colon { ":" } else { "" };
    put(out, format_args!("{}{hours:02}", if seconds < 0 { '-' } else { '+' }));
    let mut shown = hours;
    for (part, show) in [(minutes, style.minutes), (rest, style.seconds)] {
        if show == Show::Always || (show == Show::IfNotZero && part != 0) {
            put(out, format_args!("{colon}{part:02}"));
            shown += part;
        }
    }
    if shown == 0 {
        out.truncate(start);
        out.push_str(style.zero);
    }
}

fn write_gmt_offset(out: &mut String, long: bool, seconds: i32) {
    out.push_str("GMT");
    if seconds == 0 {
        return;
    }
    let (hours, minutes, rest) = hours_minutes_seconds(seconds);
    let width = if long { 2 } else { 1 };
    put(out, format_args!("{}{hours:0width$}", if seconds < 0 { '-' } else { '+' }));
    if long || minutes != 0 || rest != 0 {
        put(out, format_args!(":{minutes:02}"));
    }
    if rest != 0 {
        put(out, format_args!(":{rest:02}"));
    }
}

fn hours_minutes_seconds(seconds: i32) -> (u32, u32, u32) {
    let seconds = seconds.unsigned_abs();
    (seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Every word of the locale: Java 17's `Locale.ROOT` (CLDR).
fn word(unit: Unit, style: Style, n: i64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let index = usize::try_from(n).expect("units with words are not negative");
    match (unit, style) {
        (Unit::Month | Unit::Quarter, Style::Narrow) | (Unit::Quarter, Style::ShortAlone) => n.to_string(),
        (Unit::Month, _) => MONTHS[index - 1].to_owned(),
        (Unit::IsoWeekday, Style::Narrow) => DAYS[index - 1][..1].to_owned(),
        (Unit::IsoWeekday, _) => DAYS[index - 1].to_owned(),
        (Unit::Era, Style::Short) => ["BC", "AD"][index].to_owned(),
        (Unit::Era, _) => ["BCE", "CE"][index].to_owned(),
        (Unit::HalfDay, _) => ["AM", "PM"][index].to_owned(),
        (_, _) => format!("Q{n}"),
    }
}

fn value(unit: Unit, at: &Zoned) -> i64 {
    let year = i64::from(at.year());
    let hour = i64::from(at.hour());
    let day = i64::from(at.day());
    let nano = i64::from(at.subsec_nanosecond());
    let second_of_day = (hour * 60 + i64::from(at.minute())) * 60 + i64::from(at.second());
    match unit {
        Unit::Era => i64::from(year > 0),
        Unit::Year => year,
        Unit::YearOfEra if year > 0 => year,
        Unit::YearOfEra => 1 - year,
        Unit::WeekYear => week(at).0,
        Unit::Quarter => (i64::from(at.month()) + 2) / 3,
        Unit::Month => i64::from(at.month()),
        Unit::DayOfMonth => day,
        Unit::DayOfYear => i64::from(at.day_of_year()),
        Unit::ModifiedJulianDay => at.date().duration_since(date(1970, 1, 1)).as_hours() / 24 + 40_587,
        Unit::IsoWeekday => i64::from(at.weekday().to_monday_one_offset()),
        Unit::Weekday => i64::from(at.weekday().to_sunday_one_offset()),
        Unit::WeekOfYear => week(at).1,
        Unit::WeekOfMonth => week_number(at, day, day),
        Unit::AlignedDay => (day - 1) % 7 + 1,
        Unit::HalfDay => hour / 12,
        Unit::Hour => hour,
        Unit::ClockHour => (hour + 23) % 24 + 1,
        Unit::HalfHour => hour % 12,
        Unit::HalfClockHour => (hour + 11) % 12 + 1,
        Unit::Minute => i64::from(at.minute()),
        Unit::Second => i64::from(at.second()),
        Unit::Nano => nano,
        Unit::MilliOfDay => second_of_day * 1_000 + nano / 1_000_000,
        Unit::NanoOfDay => second_of_day * 1_000_000_000 + nano,
    }
}

/// The week-based year and its week, by the rule "Sunday first, one day makes a week" (`WeekFields[SUNDAY,1]`).
fn week(at: &Zoned) -> (i64, i64) {
    let (year, day) = (i64::from(at.year()), i64::from(at.day_of_year()));
    let number = week_number(at, day, day);
    // The week with 1 January belongs to the new year.
    if number >= week_number(at, day, i64::from(at.days_in_year()) + 1) { (year + 1, 1) } else { (year, number) }
}

/// The number of the week in which `day` lies, when `today` is `at`; both count from 1, in the year or in the month.
fn week_number(at: &Zoned, today: i64, day: i64) -> i64 {
    // Days that the first week misses, 0-6.
    let missing = (i64::from(at.weekday().to_sunday_zero_offset()) - (today - 1)).rem_euclid(7);
    (day - 1 + missing) / 7 + 1
}
