//! Patterns of Joda-Time's `DateTimeFormat`, which `TimestampFormats` of Firehose's Hive SerDe are written in.
//! Source: the class's documentation (joda.org/joda-time/apidocs/org/joda/time/format/DateTimeFormat.html).

use super::time::{Day, Moment, Shape, TimeOfDay, TimeText};

/// A pattern that reads a moment. What it does not name is the first of its kind: January, the first, midnight, UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JodaPattern {
    fields: Vec<PatternField>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PatternField {
    Literal(char),
    Year { digits_max: usize },
    Month { digits_max: usize },
    MonthName,
    Day { digits_max: usize },
    DayOfYear { digits_max: usize },
    DayName,
    Hour { digits_max: usize },
    HourOfHalf { digits_max: usize },
    Half,
    Minute { digits_max: usize },
    Second { digits_max: usize },
    Fraction { digits_max: usize },
    Offset,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
/// Digits of a number behind which no other number follows.
const DIGITS_MAX: usize = 9;

impl JodaPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What cannot be read: a letter that is not known here, a pattern without a year.
    pub(super) fn parse(text: &str) -> Result<JodaPattern, String> {
        let runs = runs(text)?;
        let mut fields = Vec::new();
        for (i, run) in runs.iter().enumerate() {
            match run {
                Run::Literal(text) => fields.extend(text.chars().map(PatternField::Literal)),
                Run::Letters(letter, count) => {
                    let is_followed = matches!(runs.get(i + 1), Some(Run::Letters(next, n)) if is_number(*next, *n));
                    fields.push(field(text, *letter, *count, if is_followed { *count } else { DIGITS_MAX })?);
                }
            }
        }
        if !fields.iter().any(|field| matches!(field, PatternField::Year { .. })) {
            return Err(format!("found the pattern `{text}`, expected one with a year (`yyyy`)"));
        }
        Ok(JodaPattern { fields })
    }

    /// Reads a moment.
    pub(super) fn read(&self, text: &str) -> Option<Moment> {
        let mut rest = TimeText::new(text);
        let (mut year, mut month, mut day, mut day_of_year) = (0, 1, 1, None);
        let (mut time, mut half, mut offset) = (TimeOfDay::default(), None, 0);
        for field in &self.fields {
            match *field {
                PatternField::Literal(literal) => rest.literal(literal.encode_utf8(&mut [0; 4]).as_bytes())?,
                PatternField::Year { digits_max } => year = rest.number(digits_max)?.0,
                PatternField::Month { digits_max } => month = rest.number(digits_max)?.0,
                PatternField::MonthName => month = rest.name(&MONTHS)? + 1,
                PatternField::Day { digits_max } => day = rest.number(digits_max)?.0,
                PatternField::DayOfYear { digits_max } => day_of_year = Some(rest.number(digits_max)?.0),
                PatternField::DayName => drop(rest.name(&DAYS)?),
                PatternField::Hour { digits_max } => time.hour = rest.number(digits_max)?.0,
                PatternField::HourOfHalf { digits_max } => {
                    time.hour = rest.number(digits_max).filter(|(hour, _)| (1..=12).contains(hour))?.0 % 12;
                }
                PatternField::Half => half = Some(rest.name(&["am", "pm"])?),
                PatternField::Minute { digits_max } => time.minute = rest.number(digits_max)?.0,
                PatternField::Second { digits_max } => time.second = rest.number(digits_max)?.0,
                PatternField::Fraction { digits_max } => {
                    (time.picos, time.has_more) = rest.fraction(digits_max)?;
                }
                PatternField::Offset => offset = rest.offset(Shape::Any)?,
            }
        }
        if half == Some(1) {
            time.hour += 12;
        }
        let day = match day_of_year {
            Some(number) => Day::of_year(year, number)?,
            None => Day::of(year, month, day)?,
        };
        rest.is_empty().then(|| Moment::of_parts(day, time, offset))?
    }
}

fn field(text: &str, letter: char, count: usize, digits_max: usize) -> Result<PatternField, String> {
    Ok(match (letter, count) {
        ('y' | 'Y', 2) => {
            return Err(format!(
                "found `{letter}{letter}` in the pattern `{text}`, expected all digits of a year (`yyyy`)"
            ));
        }
        ('y' | 'Y', _) => PatternField::Year { digits_max },
        ('M', 1 | 2) => PatternField::Month { digits_max },
        ('M', _) => PatternField::MonthName,
        ('d', _) => PatternField::Day { digits_max },
        ('D', _) => PatternField::DayOfYear { digits_max },
        ('E', _) => PatternField::DayName,
        ('H', _) => PatternField::Hour { digits_max },
        ('h', _) => PatternField::HourOfHalf { digits_max },
        ('a', _) => PatternField::Half,
        ('m', _) => PatternField::Minute { digits_max },
        ('s', _) => PatternField::Second { digits_max },
        ('S', 1..=9) => PatternField::Fraction { digits_max: count },
        ('Z', 1 | 2) => PatternField::Offset,
        _ => {
            let known = "y M d D E H h a m s S Z and text in '…'";
            let found: String = std::iter::repeat_n(letter, count.min(10)).collect();
            return Err(format!("found `{found}` in the pattern `{text}`, expected {known}"));
        }
    })
}

fn is_number(letter: char, count: usize) -> bool {
    matches!(letter, 'y' | 'Y' | 'd' | 'D' | 'H' | 'h' | 'm' | 's' | 'S') || letter == 'M' && count < 3
}

enum Run {
    Literal(String),
    Letters(char, usize),
}

/// Equal letters together; text in apostrophes, of which two stand for one, and all that is no letter.
fn runs(text: &str) -> Result<Vec<Run>, String> {
    let (mut runs, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        if let Some(behind) = rest.strip_prefix("''") {
            runs.push(Run::Literal("'".into()));
            rest = behind;
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            let end = quoted.find('\'').ok_or_else(|| format!("found the pattern `{text}`, expected a second `'`"))?;
            runs.push(Run::Literal(quoted[..end].to_owned()));
            rest = &quoted[end + 1..];
        } else if first.is_ascii_alphabetic() {
            let count = rest.chars().take_while(|c| *c == first).count();
            runs.push(Run::Letters(first, count));
            rest = &rest[count..];
        } else {
            runs.push(Run::Literal(first.into()));
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::schema::TimestampUnit;

    #[test]
    fn patterns_read_what_they_are_written_for() {
        let at = 1_515_121_445_000_000;
        for (pattern, text, expected) in [
            ("yyyy-MM-dd'T'HH:mm:ssZ", "2018-01-05T05:04:05+0200", Some(at)),
            ("yyyy-MM-dd'T'HH:mm:ssZZ", "2018-01-05T05:04:05+02:00", Some(at)),
            ("yyyyMMddHHmmss", "20180105030405", Some(at)),
            ("dd/MMM/yyyy:HH:mm:ss Z", "05/Jan/2018:03:04:05 +0000", Some(at)),
            ("EEE, d MMM yyyy h:mm:ss a", "Fri, 5 January 2018 3:04:05 AM", Some(at)),
            ("yyyy-MM-dd HH:mm:ss.SSS", "2018-01-05 03:04:05.25", Some(at + 250_000)),
            ("yyyy-DDD", "2018-005", Some(1_515_110_400_000_000)),
            ("h a d.M.yyyy", "12 pm 5.1.2018", Some(1_515_153_600_000_000)),
            ("yyyy 'o''clock'", "2018 o", None),
            ("yyyy-MM-dd", "2018-02-30", None),
            ("yyyy-MM-dd", "2018-01-05 ", None),
            ("yyyyMMdd", "2018010", None),
            ("yyyyyyyyyyyyMMdd", "9999999999990101", None),
            ("h a yyyy", "13 am 2018", None),
        ] {
            let read = JodaPattern::parse(pattern).unwrap().read(text);
            let micros = read.map(|moment| moment.in_unit(TimestampUnit::Micros).unwrap().0);
            assert_eq!(micros, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_would_have_to_be_guessed_is_no_pattern() {
        for (pattern, message) in [
            ("yy-MM-dd", "found `yy`"),
            ("HH:mm", "expected one with a year"),
            ("yyyy w", "found `w`"),
            ("yyyy 'T", "expected a second `'`"),
            ("yyyy SSSSSSSSSS", "found `SSSSSSSSSS`"),
        ] {
            let error = JodaPattern::parse(pattern).unwrap_err();
            assert!(error.contains(message), "{pattern}: {error}");
        }
    }
}
