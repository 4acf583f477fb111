//! Columns of a `CREATE EXTERNAL TABLE` statement, as Athena and Hive show and take it. Partition columns are not in the files and
//! are left out; so is everything behind them.

use super::hive::{HiveParser, literal_end};
use super::{NamedType, TypeError};

/// A statement's columns. On errors, where in the text.
pub(super) fn columns(text: &str) -> Result<Vec<NamedType>, (usize, TypeError)> {
    let text = &without_comments(text);
    let mut parser = HiveParser::new(text);
    let mut read = || {
        for word in ["create", "temporary", "external", "table", "if", "not", "exists"] {
            let is_optional = !["create", "table"].contains(&word);
            if !parser.skip_word(word) && !is_optional {
                return Err(parser.error(format!("`{}`", word.to_uppercase())));
            }
        }
        parser.name();
        while parser.follows('.') {
            parser.symbol('.')?;
            parser.name();
        }
        parser.symbol('(')?;
        let mut columns = Vec::new();
        loop {
            let name = parser.name();
            if name.is_empty() {
                return Err(parser.error("a column's name"));
            }
            columns.push(NamedType { name, of: parser.column_type()?, key: None });
            if parser.skip_word("not") && !parser.skip_word("null") {
                return Err(parser.error("`NULL`"));
            }
            if parser.skip_word("comment") {
                parser.literal()?;
            }
            if !parser.follows(',') {
                break;
            }
            parser.symbol(',')?;
        }
        parser.symbol(')')?;
        Ok(columns)
    };
    read().map_err(|e| (parser.at(), e))
}

/// The text with comments made blank, so that places stay what they are.
fn without_comments(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '\'' | '`' | '"' => {
                let quoted = literal_end(rest).unwrap_or(rest.len());
                out.push_str(&rest[..quoted]);
                rest = &rest[quoted..];
                continue;
            }
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
        };
        out.extend(rest[..len].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }));
        rest = &rest[len..];
    }
    out
}
