//! The long way for values: every kind of value for every type of column, by the rules of the SerDe. docs/columns.md has the
//! same as a table, which is made by running this.

use super::column::{Column, Elements, Members, Values};
use super::number::Number;
use super::refusal::{Reading, Refusal};
use super::rows::RowReader;
use super::time::{self, Day, Moment, Shape};
use super::{HiveTimestampFormat, SerdeRules};
use crate::format::schema::TimestampUnit;
use std::borrow::Cow;

/// A value that has no members, or the text of one that has.
enum Token<'a> {
    Boolean(bool),
    Number(Number<'a>),
    Text(Cow<'a, str>),
    Object,
    Array,
}

/// A value does not fit: what Firehose says of it, if that is known, and what was expected.
struct Unfit {
    detail: String,
    expected: String,
}

type Fit<T> = Result<T, Unfit>;

/// Reads the value at `at` into a column. The place behind it.
#[inline(never)]
pub(super) fn value(reader: &mut RowReader, at: usize, column: &mut Column) -> Reading<usize> {
    let text = reader.text;
    if text.starts_with(at, b"null") {
        if let Values::Struct(members) = &column.values {
            reader.take_values(members.width)?;
        }
        column.push_null();
        return Ok(at + 4);
    }
    let behind = match (&mut column.values, text.byte(at), reader.rules) {
        (Values::Struct(members), b'[', SerdeRules::OpenX(_)) => by_position(reader, at, members)?,
        (Values::Array(elements), first, SerdeRules::OpenX(_)) if first != b'[' => {
            let behind = reader.value(at, &mut elements.column)?;
            elements.end();
            behind
        }
        _ => {
            let (token, behind) = token(reader, at)?;
            let shown = || text.str(at, behind);
            let added = add(reader, &token, shown(), &mut column.values);
            added.map_err(|unfit| Refusal::value(unfit.detail, shown(), unfit.expected))?;
            behind
        }
    };
    column.added();
    Ok(behind)
}

fn token<'a>(reader: &RowReader<'a>, at: usize) -> Reading<(Token<'a>, usize)> {
    let text = reader.text;
    Ok(match text.byte(at) {
        b'"' => {
            let (meant, behind) = text.string(at)?;
            (Token::Text(meant), behind)
        }
        b'-' | b'0'..=b'9' => {
            let behind = text.skip_number(at)?;
            (Token::Number(Number::parse(text.str(at, behind)).expect("a number of JSON is one")), behind)
        }
        first => {
            let behind = text.skip(at)?;
            let token = match first {
                b'{' => Token::Object,
                b'[' => Token::Array,
                first => Token::Boolean(first == b't'),
            };
            (token, behind)
        }
    })
}

/// An array as a struct: the first element is the first member. What has no member would be lost.
fn by_position(reader: &mut RowReader, at: usize, members: &mut Members) -> Reading<usize> {
    reader.take_values(members.width)?;
    let text = reader.text;
    let (mut at, mut filled) = (text.space(at + 1), 0);
    if text.byte(at) == b']' {
        members.rows += 1;
        return Ok(at + 1);
    }
    loop {
        let Some(column) = members.columns.get_mut(filled) else {
            let shown = text.str(at, text.skip(at)?);
            let expected = format!("an array of at most {filled} elements, one for each member");
            return Err(Refusal::value(String::new(), shown, expected).in_element(filled));
        };
        if column.len < members.rows {
            column.push_nulls_to(members.rows);
        }
        let read = reader.value(at, column);
        at = text.space(read.map_err(|refusal| refusal.in_field(&members.names.names[filled]))?);
        filled += 1;
        match text.byte(at) {
            b',' => at = text.space(at + 1),
            b']' => break,
            _ => return Err(text.unexpected(at, "`,` or `]`")),
        }
    }
    members.rows += 1;
    Ok(at + 1)
}

/// Adds a value to a column's values, or says why it does not fit.
fn add(reader: &mut RowReader, token: &Token, raw: &str, values: &mut Values) -> Fit<()> {
    match values {
        Values::Boolean(values) => values.push(boolean(reader, token)?),
        Values::TinyInt(values) => values.push(integer(reader, token, "tinyint")?),
        Values::SmallInt(values) => values.push(integer(reader, token, "smallint")?),
        Values::Int(values) => values.push(integer(reader, token, "int")?),
        Values::BigInt(values) => values.push(integer(reader, token, "bigint")?),
        Values::Float(values) => values.push(float(reader, token, "float")?),
        Values::Double(values) => values.push(float(reader, token, "double")?),
        Values::Decimal { values, precision, scale } => values.push(decimal(reader, token, (*precision, *scale))?),
        Values::Date(values) => values.push(day(reader, token)?.0),
        Values::Timestamp { values, unit } => {
            let (value, rounded) = moment(reader, token)?.in_unit(*unit).ok_or_else(|| {
                Unfit::expected(match unit {
                    TimestampUnit::Nanos => "a time in the years 1677 to 2262, which nanoseconds can count",
                    _ => "a time in the years 1 to 9999, also when it is rounded",
                })
            })?;
            if reader.orc_times && !is_in_orc(value, *unit) {
                return Err(Unfit::expected(
                    "a time that ORC can hold, which has none with milliseconds in the last second before 1970",
                ));
            }
            reader.rounds(rounded, "a time of no more digits than the column has")?;
            values.push(value);
        }
        Values::Text { data, chars_max } => {
            let text = text(reader, token, raw)?;
            if let Some(max) = *chars_max
                && text.chars().count() > max as usize
            {
                return Err(Unfit::expected(format!("at most {max} characters")));
            }
            data.bytes.extend_from_slice(text.as_bytes());
            data.end();
        }
        Values::Binary(data) => {
            let Token::Text(text) = token else { return Err(Unfit::expected("bytes in base64")) };
            let bytes = base64_simd::STANDARD.decode_to_vec(text.as_bytes());
            data.bytes.extend_from_slice(&bytes.map_err(|_| Unfit::expected("bytes in base64"))?);
            data.end();
        }
        Values::Struct(_) => return Err(no_object(reader, token, raw)),
        Values::Array(_) => {
            return Err(Unfit::because("java.io.IOException: Start of Array expected", "an array"));
        }
        Values::Map { .. } => return Err(no_object(reader, token, raw)),
    }
    Ok(())
}

impl Unfit {
    fn expected(expected: impl Into<String>) -> Unfit {
        Unfit { detail: String::new(), expected: expected.into() }
    }

    fn because(detail: impl Into<String>, expected: impl Into<String>) -> Unfit {
        Unfit { detail: detail.into(), expected: expected.into() }
    }
}

impl RowReader<'_> {
    /// Whether strings stand for numbers and booleans, too.
    fn takes_text(&self) -> bool {
        matches!(self.rules, SerdeRules::OpenX(_))
    }

    /// Digits that a column has no room for are rounded, and counted.
    fn rounds(&mut self, rounded: bool, expected: &str) -> Fit<()> {
        if rounded && *self.rules == SerdeRules::Strict {
            return Err(Unfit::expected(expected));
        }
        self.rounded += u64::from(rounded);
        Ok(())
    }

    /// The number that a value stands for.
    fn number<'t>(&self, token: &'t Token) -> Fit<Number<'t>> {
        match token {
            Token::Number(number) => Ok(*number),
            Token::Text(text) if self.takes_text() => {
                Number::parse(text).ok_or_else(|| Unfit::because(format!("For input string: {text:?}"), "a number"))
            }
            Token::Text(_) => Err(Unfit::because(
                "Current token (VALUE_STRING) not numeric, can not use numeric value accessors",
                "a number",
            )),
            _ => Err(Unfit::expected("a number")),
        }
    }
}

fn boolean(reader: &RowReader, token: &Token) -> Fit<bool> {
    match token {
        Token::Boolean(value) => Ok(*value),
        Token::Text(text) if reader.takes_text() && text.eq_ignore_ascii_case("true") => Ok(true),
        Token::Text(text) if reader.takes_text() && text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(Unfit::expected("true or false")),
    }
}

fn integer<T: TryFrom<i128>>(reader: &RowReader, token: &Token, name: &str) -> Fit<T> {
    let number = reader.number(token)?;
    let unfit = |expected: &str| Unfit::expected(format!("{expected} {name}"));
    let scaled = number.scaled(0).ok_or_else(|| unfit("a number in the range of"))?;
    if scaled.rounded {
        return Err(unfit("a whole number, for"));
    }
    T::try_from(scaled.value).map_err(|_| unfit("a number in the range of"))
}

fn float<F: std::str::FromStr + Copy + Into<f64>>(reader: &mut RowReader, token: &Token, name: &str) -> Fit<F> {
    let number = reader.number(token)?;
    let value: F = number.float().ok_or_else(|| Unfit::expected("a number"))?;
    let near: f64 = value.into();
    if !near.is_finite() {
        return Err(Unfit::expected(format!("a number in the range of {name}")));
    }
    let vanished = near == 0.0 && !number.is_zero();
    // All digits of a float that is an integer are shown.
    let is_exactly = || number.is_zero() || format!("{:.0}", near.abs()).as_bytes() == number.integer_digits();
    let moved = number.is_integer() && !is_exactly();
    reader.rounds(vanished || moved, &format!("a number that a {name} holds"))?;
    Ok(value)
}

fn decimal(reader: &mut RowReader, token: &Token, (precision, scale): (u8, u8)) -> Fit<i128> {
    let number = match token {
        // Digits in a text are how exact numbers travel in JSON; Hive reads them so, too.
        Token::Text(text) if matches!(reader.rules, SerdeRules::Hive(_)) => {
            Number::parse(text).ok_or_else(|| Unfit::because(format!("For input string: {text:?}"), "a number"))?
        }
        token => reader.number(token)?,
    };
    let room = i32::from(precision) - i32::from(scale);
    let unfit = || Unfit::expected(format!("a number with at most {room} digits before the point"));
    let scaled = number.scaled(scale.into()).ok_or_else(unfit)?;
    if scaled.value.unsigned_abs() >= 10u128.pow(precision.into()) {
        return Err(unfit());
    }
    reader.rounds(scaled.rounded, &format!("a number with at most {scale} digits behind the point"))?;
    Ok(scaled.value)
}

fn day(reader: &RowReader, token: &Token) -> Fit<Day> {
    let strict = *reader.rules == SerdeRules::Strict;
    let unfit = || Unfit::expected("a day in the years 1 to 9999, such as 2026-11-20");
    match token {
        Token::Text(text) => time::day(text, strict).ok_or_else(unfit),
        Token::Number(number) if reader.takes_text() => Day::of_number(number).ok_or_else(unfit),
        _ => Err(unfit()),
    }
}

/// Whether readers of ORC find the same moment. They take one from the seconds of what is before 1970 and has a millisecond or
/// more, which tells the last of those seconds from none behind it.
fn is_in_orc(value: i64, unit: TimestampUnit) -> bool {
    let per_second = 10i64.pow(unit.digits());
    let millis = value.rem_euclid(per_second) / 10i64.pow(unit.digits() - 3);
    !(-per_second..0).contains(&value) || millis == 0
}

fn moment(reader: &RowReader, token: &Token) -> Fit<Moment> {
    let unfit = |what: &str| Unfit::expected(format!("a time in the years 1 to 9999, {what}"));
    let text_as = |text: &str, shape, what| time::moment(text, shape).ok_or_else(|| unfit(what));
    match (reader.rules, token) {
        (SerdeRules::Strict, Token::Text(text)) => text_as(text, Shape::Rfc3339, "as RFC 3339 has it"),
        (SerdeRules::OpenX(_), Token::Text(text)) => match Number::parse(text) {
            Some(number) => Moment::of_number(&number),
            None => time::moment(text, Shape::Any),
        }
        .ok_or_else(|| unfit("such as 2026-11-20 12:30:00.123 or 2026-11-20T12:30:00Z")),
        (SerdeRules::OpenX(_), Token::Number(number)) => {
            Moment::of_number(number).ok_or_else(|| unfit("in seconds or milliseconds since 1970"))
        }
        (SerdeRules::Hive(rules), Token::Text(text)) if rules.timestamp_formats.is_empty() => {
            text_as(text, Shape::Sql, "such as 2026-11-20 12:30:00.123")
        }
        (SerdeRules::Hive(rules), token) => {
            let read = |format: &HiveTimestampFormat| match (format, token) {
                (HiveTimestampFormat::Millis, Token::Number(number)) => Moment::of_millis(number),
                (HiveTimestampFormat::Millis, Token::Text(text)) => Moment::of_millis(&Number::parse(text)?),
                (HiveTimestampFormat::Pattern(pattern), Token::Text(text)) => pattern.read(text),
                _ => None,
            };
            rules.timestamp_formats.iter().find_map(read).ok_or_else(|| unfit("in one of `timestamp_formats`"))
        }
        _ => Err(unfit("as a string")),
    }
}

/// A value's text. Numbers keep all their digits, objects and arrays are their JSON as it came.
fn text<'t>(reader: &RowReader, token: &'t Token, raw: &'t str) -> Fit<&'t str> {
    match (token, reader.rules) {
        (Token::Text(text), _) => Ok(text),
        (Token::Number(_) | Token::Boolean(_), SerdeRules::OpenX(_) | SerdeRules::Hive(_)) => Ok(raw),
        (Token::Object | Token::Array, SerdeRules::OpenX(_)) => Ok(raw),
        _ => Err(Unfit::expected("a string")),
    }
}

/// A value where members are expected.
fn no_object(reader: &RowReader, token: &Token, raw: &str) -> Unfit {
    let class = match token {
        Token::Boolean(_) => "java.lang.Boolean",
        Token::Text(_) => "java.lang.String",
        Token::Number(number) if number.is_integer() => "java.lang.Long",
        Token::Number(_) => "java.lang.Double",
        Token::Object | Token::Array => return Unfit::because("Start of Object expected", "an object"),
    };
    match reader.rules {
        SerdeRules::OpenX(_) => {
            let shown: String = raw.trim_matches('"').chars().take(60).collect();
            Unfit::because(format!("Data is not JSONObject  but {class} with value {shown}"), "an object")
        }
        _ => Unfit::because("Start of Object expected", "an object"),
    }
}

/// Adds a map's key.
pub(super) fn map_key(reader: &mut RowReader, key: &str, column: &mut Column) -> Reading<()> {
    match &mut column.values {
        Values::Text { data, chars_max: None } => {
            data.bytes.extend_from_slice(key.as_bytes());
            data.end();
        }
        values => {
            // A key is a text, whatever it stands for.
            let token = match (&values, Number::parse(key)) {
                (Values::Boolean(_), _) if key == "true" || key == "false" => Token::Boolean(key == "true"),
                (Values::Text { .. } | Values::Binary(_) | Values::Date(_) | Values::Timestamp { .. }, _) => {
                    Token::Text(key.into())
                }
                (_, Some(number)) => Token::Number(number),
                (_, None) => Token::Text(key.into()),
            };
            add(reader, &token, key, values).map_err(|unfit| Refusal::map_key(key, unfit.expected))?;
        }
    }
    column.added();
    Ok(())
}

/// Entries of the map that has not been ended which a later one with the same key takes the place of.
pub(super) fn overwritten(keys: &Elements) -> Vec<usize> {
    let entries = keys.begin()..keys.column.len;
    let mut last = std::collections::HashMap::new();
    let mut found = Vec::new();
    if entries.len() > 1 {
        for (entry, place) in entries.enumerate() {
            found.extend(last.insert(keys.column.key(place), entry));
        }
    }
    found.sort_unstable();
    found
}
