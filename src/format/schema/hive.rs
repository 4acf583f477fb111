//! The text of types, as Hive and Glue write them.

use super::{ColumnType, NamedType, TimestampUnit, TypeError};

/// Types inside one another. Reading them, and every reader and writer of such a column, recurses; tables have a few.
pub(super) const DEPTH_MAX: usize = 32;

const TYPES: &str = "tinyint, smallint, int, bigint, float, double, boolean, string, char(n), varchar(n), binary, date, \
                     timestamp, timestamp(3, 6 or 9), decimal(precision,scale), array<type>, map<type,type> or \
                     struct<name:type,…>";

/// Reads types from a text, one after the other.
pub(super) struct HiveParser<'a> {
    text: &'a str,
    rest: &'a str,
    /// Types that are open around `rest`.
    depth: usize,
}

impl<'a> HiveParser<'a> {
    pub(super) fn new(text: &'a str) -> HiveParser<'a> {
        HiveParser { text, rest: text, depth: 0 }
    }

    /// Whether nothing but white space is left.
    pub(super) fn is_end(&self) -> bool {
        self.rest.trim().is_empty()
    }

    /// Where in the text it stands.
    pub(super) fn at(&self) -> usize {
        self.text.len() - self.rest.trim_start().len()
    }

    pub(super) fn error(&self, expected: impl Into<String>) -> TypeError {
        let found = if self.rest.trim().is_empty() { self.text } else { self.rest.trim() };
        TypeError { found: found.to_owned(), expected: expected.into() }
    }

    /// A name, in backticks if it has other characters than letters, digits and `_`; a backtick in it stands twice.
    pub(super) fn name(&mut self) -> String {
        let Some(quoted) = self.rest.trim_start().strip_prefix('`') else { return self.word().to_owned() };
        let (mut name, mut rest) = (String::new(), quoted);
        while let Some((part, behind)) = rest.split_once('`') {
            name.push_str(part);
            rest = behind;
            match rest.strip_prefix('`') {
                Some(behind) => rest = behind,
                None => {
                    self.rest = rest;
                    return name;
                }
            }
            name.push('`');
        }
        String::new()
    }

    /// Steps over a word, in any case, if it is the next one.
    pub(super) fn skip_word(&mut self, word: &str) -> bool {
        let before = self.rest;
        let found = self.word().eq_ignore_ascii_case(word);
        if !found {
            self.rest = before;
        }
        found
    }

    /// Steps over a text in quotation marks or apostrophes; behind a backslash and doubled they are part of it.
    pub(super) fn literal(&mut self) -> Result<(), TypeError> {
        let rest = self.rest.trim_start();
        let end = literal_end(rest).ok_or_else(|| self.error("a text in quotation marks"))?;
        self.rest = &rest[end..];
        Ok(())
    }

    pub(super) fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    pub(super) fn symbol(&mut self, symbol: char) -> Result<(), TypeError> {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.error(format!("`{symbol}`"))),
        }
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, TypeError> {
        let before = self.rest;
        let word = self.word();
        word.parse().map_err(|_| TypeError { found: before.to_owned(), expected: "a number".into() })
    }

    pub(super) fn column_type(&mut self) -> Result<ColumnType, TypeError> {
        if self.depth == DEPTH_MAX {
            return Err(self.error(format!("at most {DEPTH_MAX} types inside one another")));
        }
        self.depth += 1;
        let found = self.one_type();
        self.depth -= 1;
        found
    }

    fn one_type(&mut self) -> Result<ColumnType, TypeError> {
        let before = self.rest;
        let word = self.word().to_ascii_lowercase();
        Ok(match word.as_str() {
            "tinyint" => ColumnType::TinyInt,
            "smallint" => ColumnType::SmallInt,
            "int" | "integer" => ColumnType::Int,
            "bigint" => ColumnType::BigInt,
            "float" => ColumnType::Float,
            "double" => {
                self.skip_word("precision");
                ColumnType::Double
            }
            "boolean" => ColumnType::Boolean,
            "string" => ColumnType::String,
            "binary" => ColumnType::Binary,
            "date" => ColumnType::Date,
            "timestamp" => ColumnType::Timestamp(self.unit()?),
            "char" => ColumnType::Char(self.length()?),
            "varchar" => ColumnType::Varchar(self.length()?),
            "decimal" | "dec" | "numeric" => self.decimal()?,
            "array" => {
                self.symbol('<')?;
                let element = self.column_type()?;
                self.symbol('>')?;
                ColumnType::Array(Box::new(element))
            }
            "map" => self.map()?,
            "struct" => self.structure()?,
            _ => {
                self.rest = before;
                return Err(TypeError { found: before.trim().to_owned(), expected: TYPES.into() });
            }
        })
    }

    pub(super) fn follows(&self, symbol: char) -> bool {
        self.rest.trim_start().starts_with(symbol)
    }

    fn unit(&mut self) -> Result<Option<TimestampUnit>, TypeError> {
        if !self.follows('(') {
            return Ok(None);
        }
        self.symbol('(')?;
        let digits = self.number::<u32>()?;
        self.symbol(')')?;
        let error = || TypeError { found: format!("timestamp({digits})"), expected: "3, 6 or 9 digits".into() };
        TimestampUnit::of_digits(digits).ok_or_else(error).map(Some)
    }

    fn length(&mut self) -> Result<u32, TypeError> {
        self.symbol('(')?;
        let length = self.number::<u32>()?;
        self.symbol(')')?;
        Ok(length)
    }

    fn decimal(&mut self) -> Result<ColumnType, TypeError> {
        if !self.follows('(') {
            return Ok(ColumnType::Decimal { precision: 10, scale: 0 });
        }
        self.symbol('(')?;
        let precision = self.number::<u8>()?;
        let mut scale = 0;
        if self.follows(',') {
            self.symbol(',')?;
            scale = self.number::<u8>()?;
        }
        self.symbol(')')?;
        if !(1..=38).contains(&precision) || scale > precision {
            let found = format!("decimal({precision},{scale})");
            return Err(TypeError { found, expected: "a precision from 1 to 38 and a scale up to it".into() });
        }
        Ok(ColumnType::Decimal { precision, scale })
    }

    fn map(&mut self) -> Result<ColumnType, TypeError> {
        self.symbol('<')?;
        let before = self.rest;
        let key = self.column_type()?;
        if key.has_members() {
            let expected = "a map's key of a type without members".into();
            return Err(TypeError { found: before.to_owned(), expected });
        }
        self.symbol(',')?;
        let value = self.column_type()?;
        self.symbol('>')?;
        Ok(ColumnType::Map(Box::new(key), Box::new(value)))
    }

    fn structure(&mut self) -> Result<ColumnType, TypeError> {
        self.symbol('<')?;
        let mut members: Vec<NamedType> = Vec::new();
        loop {
            let name = self.name();
            if name.is_empty() {
                return Err(self.error("a field's name"));
            }
            // As for columns: catalogues fold case.
            if members.iter().any(|member| member.name.to_lowercase() == name.to_lowercase()) {
                return Err(TypeError { found: name, expected: "every name in a struct once".into() });
            }
            self.symbol(':')?;
            members.push(NamedType { name, of: self.column_type()?, key: None });
            if self.skip_word("comment") {
                self.literal()?;
            }
            self.rest = self.rest.trim_start();
            match self.rest.strip_prefix(',') {
                Some(rest) => self.rest = rest,
                None => break,
            }
        }
        self.symbol('>')?;
        Ok(ColumnType::Struct(members))
    }
}

/// Where a text in quotation marks, apostrophes or backticks ends that the rest begins with.
pub(super) fn literal_end(rest: &str) -> Option<usize> {
    let quote = rest.chars().next().filter(|c| ['\'', '"', '`'].contains(c))?;
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote != '`' {
            chars.next();
        } else if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return Some(at + 1);
        }
    }
    None
}
