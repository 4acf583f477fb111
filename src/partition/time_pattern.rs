//! Java `java.time.format.DateTimeFormatter` patterns, as Firehose has them in `!{timestamp:<pattern>}`.
//!
//! Promises the text that Java 17 prints with `Locale.ROOT` for a `ZonedDateTime`, compared line by line with
//! `tests/data/time_patterns/golden.tsv`, which Java wrote. `Locale.ROOT` is not quite English: `MMMM` is `Jan`,
//! `EEEE` is `Fri`, `QQQQ` is `Q1`, `MMMMM` is `1`, `GGGG` is `CE`, `B` is `AM`; weeks start on Sunday and the week
//! with 1 January is week 1. All words live in `field::word`.
//!
//! Does not follow Java in three places. Zone names in words (`zzzz`, `v`, `vvvv`) are refused. `z` is the time zone
//! database's abbreviation (`EST`, `IST`) or, where that is a number, `GMT+10:30`; Java invents a name there. A text
//! wider than its padding (`pH` at 10 o'clock) is printed whole; Java throws, and a delivery must not fail over that.
//!
//! Source of the grammar: the class documentation of `DateTimeFormatter` (Java SE 17) and the golden file.

mod field;

use std::fmt;

use jiff::Zoned;

use field::{Field, Offset, Show, Style, Unit};

/// A pattern, parsed once and formatted many times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimePattern {
    items: Vec<PatternItem>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PatternItem {
    Literal(char),
    /// `pad` is the least width in characters, filled with spaces on the left (`ppp`).
    Field {
        field: Field,
        pad: usize,
    },
}

impl TimePattern {
    /// Reads a pattern by Java 17's rules.
    pub fn parse(pattern: &str) -> Result<TimePattern, PatternError> {
        let chars: Vec<char> = pattern.chars().collect();
        let mut items = Vec::new();
        let (mut at, mut open_sections) = (0, 0usize);
        while let Some(&c) = chars.get(at) {
            let here = |fault| PatternError { column: at + 1, fault };
            match c {
                'a'..='z' | 'A'..='Z' => {
                    at = letters(&chars, at, &mut items)?;
                    continue;
                }
                '\'' => {
                    at = quoted(&chars, at, &mut items)?;
                    continue;
                }
                // Everything is available in a point in time with a zone, so an optional section is always printed.
                '[' => open_sections += 1,
                ']' if open_sections == 0 => return Err(here(PatternFault::NoOpenSection)),
                ']' => open_sections -= 1,
                '{' | '}' | '#' => return Err(here(PatternFault::Reserved(c))),
                _ => items.push(PatternItem::Literal(c)),
            }
            at += 1;
        }
        Ok(TimePattern { items })
    }

    /// The text for a point in time; fields and offsets are those of its zone.
    pub fn format(&self, at: &Zoned) -> String {
        let mut out = String::with_capacity(self.items.len() * 2);
        for item in &self.items {
            match item {
                PatternItem::Literal(c) => out.push(*c),
                PatternItem::Field { field, pad: 0 } => field::write(&mut out, *field, at),
                PatternItem::Field { field, pad } => {
                    let mut text = String::new();
                    field::write(&mut text, *field, at);
                    pad_into(&mut out, *pad, &text);
                }
            }
        }
        out
    }

    /// A text as long as any that [`format`](Self::format) prints for the years 1970 to 9998, with zeros for the fields
    /// and the literal text as it is: what a prefix can become, before the time is known.
    pub fn widest(&self) -> String {
        let mut out = String::new();
        for item in &self.items {
            match item {
                PatternItem::Literal(c) => out.push(*c),
                PatternItem::Field { field, pad } => pad_into(&mut out, *pad, &"0".repeat(field.width_max())),
            }
        }
        out
    }
}

fn pad_into(out: &mut String, pad: usize, text: &str) {
    out.extend(std::iter::repeat_n(' ', pad.saturating_sub(text.chars().count())));
    out.push_str(text);
}

/// Reads a run of one letter at `at` (and the run it pads, if it is `p`); returns where to go on.
fn letters(chars: &[char], at: usize, items: &mut Vec<PatternItem>) -> Result<usize, PatternError> {
    let run = |from: usize| chars[from..].iter().take_while(|c| **c == chars[from]).count();
    let (mut from, mut pad) = (at, 0);
    if chars[at] == 'p' {
        pad = run(at);
        from = at + pad;
        if !chars.get(from).is_some_and(char::is_ascii_alphabetic) {
            return Err(PatternError { column: at + 1, fault: PatternFault::NothingToPad });
        }
    }
    let (letter, count) = (chars[from], run(from));
    let field = field(letter, count)
        .ok_or(PatternError { column: from + 1, fault: PatternFault::Letters { letter, count } })?;
    items.push(PatternItem::Field { field, pad });
    Ok(from + count)
}

/// Reads quoted text at `at`; returns where to go on.
fn quoted(chars: &[char], at: usize, items: &mut Vec<PatternItem>) -> Result<usize, PatternError> {
    let (before, mut next) = (items.len(), at + 1);
    loop {
        match (chars.get(next), chars.get(next + 1)) {
            (Some('\''), Some('\'')) => {
                items.push(PatternItem::Literal('\''));
                next += 2;
            }
            (Some('\''), _) => {
                if items.len() == before {
                    items.push(PatternItem::Literal('\''));
                }
                return Ok(next + 1);
            }
            (Some(c), _) => {
                items.push(PatternItem::Literal(*c));
                next += 1;
            }
            (None, _) => return Err(PatternError { column: at + 1, fault: PatternFault::OpenQuote }),
        }
    }
}

/// What `count` times `letter` means; none if Java 17 refuses it (or, for zone names in words, if we do).
fn field(letter: char, count: usize) -> Option<Field> {
    use Field::{Fraction, GmtOffset, Number, TwoDigits, Word};
    use Style::{Full, Narrow, Short, ShortAlone};
    let number = |unit| Some(Number(unit, count));
    let word = |unit, alone: bool| match count {
        1 | 2 => Some(Number(unit, count)),
        3 => Some(Word(unit, if alone { ShortAlone } else { Short })),
        4 => Some(Word(unit, Full)),
        5 => Some(Word(unit, Narrow)),
        _ => None,
    };
    match (letter, count) {
        ('y', 2) => Some(TwoDigits(Unit::YearOfEra)),
        ('u', 2) => Some(TwoDigits(Unit::Year)),
        ('Y', 2) => Some(TwoDigits(Unit::WeekYear)),
        ('y', 1..=19) => number(Unit::YearOfEra),
        ('u', 1..=19) => number(Unit::Year),
        ('Y', _) => number(Unit::WeekYear),
        ('g', 1..=19) => number(Unit::ModifiedJulianDay),
        ('n', 1..=19) => number(Unit::Nano),
        ('N', 1..=19) => number(Unit::NanoOfDay),
        ('A', 1..=19) => number(Unit::MilliOfDay),
        ('D', 1..=3) => number(Unit::DayOfYear),
        ('d', 1..=2) => number(Unit::DayOfMonth),
        ('H', 1..=2) => number(Unit::Hour),
        ('k', 1..=2) => number(Unit::ClockHour),
        ('K', 1..=2) => number(Unit::HalfHour),
        ('h', 1..=2) => number(Unit::HalfClockHour),
        ('m', 1..=2) => number(Unit::Minute),
        ('s', 1..=2) => number(Unit::Second),
        ('w', 1..=2) => number(Unit::WeekOfYear),
        ('W', 1) => number(Unit::WeekOfMonth),
        ('F', 1) => number(Unit::AlignedDay),
        ('S', 1..=9) => Some(Fraction(count)),
        ('M', _) => word(Unit::Month, false),
        ('L', _) => word(Unit::Month, true),
        ('Q', _) => word(Unit::Quarter, false),
        ('q', _) => word(Unit::Quarter, true),
        ('e', 1..=2) | ('c', 1) => number(Unit::Weekday),
        ('E', 1..=2) => Some(Word(Unit::IsoWeekday, Short)),
        ('E' | 'e', _) => word(Unit::IsoWeekday, false),
        ('c', 3..) => word(Unit::IsoWeekday, true),
        ('G', 1..=3) => Some(Word(Unit::Era, Short)),
        ('G', _) => word(Unit::Era, false),
        ('a', 1) | ('B', 1 | 4 | 5) => Some(Word(Unit::HalfDay, Short)),
        ('V', 2) => Some(Field::ZoneId),
        ('z', 1..=3) => Some(Field::ZoneAbbreviation),
        ('O', 1) => Some(GmtOffset { long: false }),
        ('O' | 'Z', 4) => Some(GmtOffset { long: true }),
        ('Z', 1..=3) => offset(2, "+0000"),
        ('Z', 5) => offset(5, "Z"),
        ('X', _) => offset(count, "Z"),
        ('x', 1) => offset(1, "+00"),
        ('x', 2 | 4) => offset(count, "+0000"),
        ('x', _) => offset(count, "+00:00"),
        _ => None,
    }
}

/// The offset as `count` letters `X` or `x` have it.
fn offset(count: usize, zero: &'static str) -> Option<Field> {
    let (colon, minutes, seconds) = match count {
        1 => (false, Show::IfNotZero, Show::Never),
        2 => (false, Show::Always, Show::Never),
        3 => (true, Show::Always, Show::Never),
        4 => (false, Show::Always, Show::IfNotZero),
        5 => (true, Show::Always, Show::IfNotZero),
        _ => return None,
    };
    Some(Field::Offset(Offset { colon, minutes, seconds, zero }))
}

/// A pattern that Java 17 refuses, or zone names in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    column: usize,
    fault: PatternFault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PatternFault {
    Letters { letter: char, count: usize },
    Reserved(char),
    OpenQuote,
    NoOpenSection,
    NothingToPad,
}

impl PatternError {
    /// Where in the pattern, in characters from 1.
    pub fn column(&self) -> usize {
        self.column
    }
}

/// How often a letter may stand in a row, in words; none for an unknown letter.
fn counts_allowed(letter: char) -> Option<&'static str> {
    Some(match letter {
        'a' | 'F' | 'W' => "1",
        'd' | 'h' | 'H' | 'k' | 'K' | 'm' | 's' | 'w' => "1 or 2",
        'D' | 'z' => "1 to 3",
        'G' | 'M' | 'L' | 'Q' | 'q' | 'E' | 'e' | 'X' | 'x' | 'Z' => "1 to 5",
        'B' => "1, 4 or 5",
        'c' => "1, 3, 4 or 5",
        'O' => "1 or 4",
        'V' => "2",
        'S' => "1 to 9",
        'A' | 'g' | 'n' | 'N' | 'u' | 'y' => "1 to 19",
        _ => return None,
    })
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "time pattern, column {}: ", self.column)?;
        match self.fault {
            PatternFault::Letters { letter: 'v', .. } | PatternFault::Letters { letter: 'z', count: 4 } => {
                write!(f, "zone names in words are not supported, expected `z`, `VV`, `O` or `xxx`")
            }
            PatternFault::Letters { letter, count } => match counts_allowed(letter) {
                Some(allowed) => write!(f, "letter `{letter}` {count} times in a row, expected {allowed}"),
                None => write!(
                    f,
                    "unknown letter `{letter}`, expected one of `aABcdDeEFgGhHkKLmMnNOpqQsSuVwWxXyYzZ` \
                     or quoted text such as `'{letter}'`"
                ),
            },
            PatternFault::Reserved(c) => write!(f, "`{c}` is reserved, expected it quoted: `'{c}'`"),
            PatternFault::OpenQuote => write!(f, "quoted text has no end, expected `'` (and `''` for a quote)"),
            PatternFault::NoOpenSection => write!(f, "`]` without `[`"),
            PatternFault::NothingToPad => write!(f, "padding `p` without a letter after it, expected such as `ppH`"),
        }
    }
}

impl std::error::Error for PatternError {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;
    use jiff::tz::{Offset, TimeZone};

    use super::TimePattern;

    #[test]
    fn every_line_that_java_wrote_is_what_we_write() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/time_patterns/golden.tsv");
        let golden = std::fs::read_to_string(path).expect("the golden file is in the checkout");
        let (mut lines, mut patterns, mut wrong) = (0, BTreeSet::new(), Vec::new());
        for line in golden.lines() {
            let [pattern, zone, ms, expected]: [&str; 4] =
                line.split('\t').collect::<Vec<_>>().try_into().expect("a line has four columns");
            let ms = ms.parse().expect("the third column is a number");
            let at = Timestamp::from_millisecond(ms).unwrap().in_tz(zone).expect("the system has a time zone database");
            let found = match TimePattern::parse(pattern) {
                Ok(parsed) => parsed.format(&at),
                Err(_) => "!error".to_owned(),
            };
            if found != expected {
                wrong.push(format!("`{pattern}` {zone} {ms}: found `{found}`, expected `{expected}`"));
            }
            lines += 1;
            patterns.insert(pattern);
        }
        assert!(
            wrong.is_empty(),
            "{} of {lines} lines differ:\n{}",
            wrong.len(),
            wrong[..wrong.len().min(20)].join("\n")
        );
        assert!(lines > 5_000 && patterns.len() > 150, "{lines} lines, {} patterns", patterns.len());
    }

    #[test]
    fn an_error_names_the_place_the_letter_and_what_is_allowed() {
        for (pattern, expected) in [
            ("yyyy-MMMMMM", "column 6: letter `M` 6 times in a row, expected 1 to 5"),
            ("é'x' V", "column 6: letter `V` 1 times in a row, expected 2"),
            ("ppddd", "column 3: letter `d` 3 times in a row, expected 1 or 2"),
            (
                "yyyyTHH",
                "column 5: unknown letter `T`, expected one of `aABcdDeEFgGhHkKLmMnNOpqQsSuVwWxXyYzZ` or quoted text such as `'T'`",
            ),
            ("HH zzzz", "column 4: zone names in words are not supported, expected `z`, `VV`, `O` or `xxx`"),
            ("v", "column 1: zone names in words are not supported, expected `z`, `VV`, `O` or `xxx`"),
            ("yy#", "column 3: `#` is reserved, expected it quoted: `'#'`"),
            ("yy 'at", "column 4: quoted text has no end, expected `'` (and `''` for a quote)"),
            ("[yy]]", "column 5: `]` without `[`"),
            ("yy pp/", "column 4: padding `p` without a letter after it, expected such as `ppH`"),
        ] {
            let error = TimePattern::parse(pattern).expect_err(pattern);
            assert_eq!(error.to_string(), format!("time pattern, {expected}"), "{pattern}");
        }
    }

    #[test]
    fn zones_without_a_name_and_abbreviations_that_are_numbers_print_offsets() {
        let at = Timestamp::from_second(1_709_600_000).unwrap();
        let pattern = TimePattern::parse("VV z").unwrap();
        let fixed = |seconds| TimeZone::fixed(Offset::from_seconds(seconds).unwrap());
        for (zone, expected) in [
            (TimeZone::get("Australia/Lord_Howe").unwrap(), "Australia/Lord_Howe GMT+11:00"),
            (TimeZone::get("Asia/Calcutta").unwrap(), "Asia/Calcutta IST"),
            (fixed(19_800), "+05:30 +05:30"),
            (fixed(-17_762), "-04:56:02 -04:56:02"),
        ] {
            assert_eq!(pattern.format(&at.to_zoned(zone)), expected);
        }
    }

    #[test]
    fn no_text_is_longer_than_the_widest_and_a_text_wider_than_its_padding_is_whole() {
        let golden = "y yy M MMM d D H k A N n S SSS g X XXXXX O OOOO z VV E e a G GGGG Q QQQ 'quoted' ppppH pN";
        let pattern = TimePattern::parse(golden).unwrap();
        for second in (0i64..200_000_000_000).step_by(1_234_567_891) {
            for zone in ["UTC", "America/New_York", "Australia/Lord_Howe"] {
                let text = pattern.format(&Timestamp::from_second(second).unwrap().in_tz(zone).unwrap());
                assert!(text.chars().count() <= pattern.widest().chars().count(), "{text}");
            }
        }
        let noon = Timestamp::UNIX_EPOCH.in_tz("UTC").unwrap().with().hour(12).build().unwrap();
        assert_eq!(TimePattern::parse("pH").unwrap().format(&noon), "12");
    }
}
