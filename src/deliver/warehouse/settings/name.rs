//! Names of tables and columns.

use std::fmt;

/// A table, perhaps with its schema. Shown as SQL, in quotes: exactly this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    pub schema: Option<String>,
    pub table: String,
}

impl TableName {
    /// Reads `table`, `schema.table`, or either in double quotes, which may hold a dot.
    pub fn parse(text: &str) -> Result<TableName, String> {
        let wrong = || format!("found `{text}`, expected `table` or `schema.table`");
        let mut parts = parts(text).ok_or_else(wrong)?;
        if parts.len() > 2 || parts.iter().any(|part| part.is_empty() || part.contains('\0')) {
            return Err(wrong());
        }
        let table = parts.pop().ok_or_else(wrong)?;
        Ok(TableName { schema: parts.pop(), table })
    }

    /// Whether the database keeps names of this length.
    pub(super) fn fits(&self, bytes_max: usize) -> Result<(), String> {
        self.schema.iter().chain([&self.table]).try_for_each(|name| fits(name, bytes_max))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", quoted_name(schema))?;
        }
        f.write_str(&quoted_name(&self.table))
    }
}

/// A name as SQL takes it literally.
pub fn quoted_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The parts between dots; none if a quote has no end or something follows it.
fn parts(text: &str) -> Option<Vec<String>> {
    let (mut parts, mut rest) = (Vec::new(), text);
    loop {
        let Some(mut quoted) = rest.strip_prefix('"') else {
            let (part, behind) = rest.split_once('.').map_or((rest, None), |(part, behind)| (part, Some(behind)));
            if part.contains('"') {
                return None;
            }
            parts.push(part.to_owned());
            match behind {
                None => return Some(parts),
                Some(behind) => rest = behind,
            }
            continue;
        };
        let mut part = String::new();
        loop {
            let (inside, behind) = quoted.split_once('"')?;
            part.push_str(inside);
            quoted = behind;
            match quoted.strip_prefix('"') {
                None => break,
                Some(behind) => {
                    part.push('"');
                    quoted = behind;
                }
            }
        }
        parts.push(part);
        match quoted {
            "" => return Some(parts),
            _ => rest = quoted.strip_prefix('.')?,
        }
    }
}

fn fits(name: &str, bytes_max: usize) -> Result<(), String> {
    if name.len() <= bytes_max {
        return Ok(());
    }
    Err(format!("found `{name}` of {} bytes, expected a name of at most {bytes_max}", name.len()))
}

/// Whether columns have names, each of them once.
pub(super) fn columns(names: &[String], bytes_max: usize) -> Result<(), String> {
    for (i, name) in names.iter().enumerate() {
        if name.is_empty() || name.contains('\0') {
            return Err(format!("found an empty name at [{i}], expected a column's name"));
        }
        if names[..i].contains(name) {
            return Err(format!("found `{name}` twice, expected each column once"));
        }
        fits(name, bytes_max)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_so_that_sql_takes_them_literally() {
        for (text, shown) in [
            ("events", r#""events""#),
            ("public.Events", r#""public"."Events""#),
            (r#""a.b".c"#, r#""a.b"."c""#),
            (r#"a."say ""x""""#, r#""a"."say ""x""""#),
            ("select", r#""select""#),
            ("a; drop table b", r#""a; drop table b""#),
        ] {
            assert_eq!(TableName::parse(text).map(|name| name.to_string()), Ok(shown.to_owned()), "{text}");
        }
        for text in ["", ".", "a.", ".a", "a.b.c", "\"a", "\"a\"b", "a\"b"] {
            assert!(TableName::parse(text).is_err(), "{text}");
        }
    }
}
