//! Redshift's COPY statement, taken apart.

/// A statement that can be carried out.
#[derive(Debug, PartialEq, Eq)]
pub struct Copy {
    /// Table and columns, as SQL.
    pub table: String,
    pub columns: Vec<String>,
    pub url: String,
    pub format: Format,
    pub gzip: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Format {
    JsonAuto,
    Csv,
    Delimited(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Name(String),
    Text(String),
    Sign(char),
}

/// Reads a statement, or says what Redshift says: an SQLSTATE and a message.
pub fn parse(sql: &str) -> Result<Copy, (&'static str, String)> {
    let tokens = tokens(sql).ok_or(("42601", "unterminated quoted string".to_owned()))?;
    let mut rest = tokens.iter().peekable();
    let near = |token: Option<&Token>| ("42601", format!("syntax error at or near \"{}\"", shown(token)));
    let word = |expected: &str, rest: &mut std::iter::Peekable<std::slice::Iter<'_, Token>>| match rest.next() {
        Some(Token::Word(word)) if word == expected => Ok(()),
        other => Err(near(other)),
    };
    word("COPY", &mut rest)?;
    let mut table = String::new();
    while let Some(token) = rest.next_if(|t| matches!(t, Token::Name(_) | Token::Sign('.'))) {
        table.push_str(&sql_of(token));
    }
    let mut columns = Vec::new();
    if rest.next_if_eq(&&Token::Sign('(')).is_some() {
        while let Some(token) = rest.next_if(|t| matches!(t, Token::Name(_) | Token::Sign(','))) {
            if matches!(token, Token::Name(_)) {
                columns.push(sql_of(token));
            }
        }
        rest.next_if_eq(&&Token::Sign(')')).ok_or_else(|| near(rest.peek().copied()))?;
    }
    word("FROM", &mut rest)?;
    let Some(Token::Text(url)) = rest.next() else { return Err(("42601", "no source".to_owned())) };
    match rest.next() {
        Some(Token::Word(word)) if word == "CREDENTIALS" => match rest.next() {
            Some(Token::Text(text)) if text.starts_with("aws_iam_role=arn:aws:iam::") => {}
            _ => {
                return Err((
                    "XX000",
                    "Invalid credentials. Must be of the format: credentials 'aws_iam_role=...'".into(),
                ));
            }
        },
        Some(Token::Word(word)) if word == "IAM_ROLE" => {
            rest.next_if_eq(&&Token::Word("DEFAULT".into())).ok_or_else(|| near(rest.peek().copied()))?;
        }
        other => return Err(near(other)),
    }
    word("MANIFEST", &mut rest)?;
    let (mut format, mut gzip) = (Format::Delimited("|".to_owned()), false);
    while let Some(token) = rest.next() {
        match token {
            Token::Sign(';') if rest.peek().is_none() => break,
            Token::Word(word) if word == "GZIP" => gzip = true,
            Token::Word(word) if word == "CSV" => format = Format::Csv,
            Token::Word(word) if matches!(word.as_str(), "JSON" | "DELIMITER") => {
                rest.next_if_eq(&&Token::Word("AS".into()));
                format = match (word.as_str(), rest.next()) {
                    ("JSON", Some(Token::Text(text))) if text == "auto" => Format::JsonAuto,
                    ("JSON", Some(Token::Text(_))) => {
                        return Err((
                            "XX000",
                            "Invalid JSONPath format. Supported notations are 'dot-notation' and \
                                              'bracket-notation'"
                                .into(),
                        ));
                    }
                    ("DELIMITER", Some(Token::Text(text))) => Format::Delimited(text.replace("\\t", "\t")),
                    (_, other) => return Err(near(other)),
                }
            }
            other => return Err(near(Some(other))),
        }
    }
    Ok(Copy { table, columns, url: url.clone(), format, gzip })
}

fn shown(token: Option<&Token>) -> String {
    token.map_or_else(
        || "end of input".to_owned(),
        |token| match token {
            Token::Word(text) | Token::Name(text) | Token::Text(text) => text.to_lowercase(),
            Token::Sign(sign) => sign.to_string(),
        },
    )
}

fn sql_of(token: &Token) -> String {
    match token {
        Token::Name(name) => format!("\"{}\"", name.replace('"', "\"\"")),
        other => shown(Some(other)),
    }
}

/// None if a quote has no end. In texts a backslash stands for what follows it.
fn tokens(sql: &str) -> Option<Vec<Token>> {
    let (mut tokens, mut chars) = (Vec::new(), sql.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            _ if c.is_whitespace() => {}
            '\'' | '"' => {
                let mut text = String::new();
                loop {
                    match chars.next()? {
                        '\\' if c == '\'' && chars.peek() == Some(&'\\') => text.push(chars.next()?),
                        end if end == c && chars.next_if_eq(&c).is_some() => text.push(c),
                        end if end == c => break,
                        other => text.push(other),
                    }
                }
                tokens.push(if c == '"' { Token::Name(text) } else { Token::Text(text) });
            }
            _ if c.is_alphanumeric() || c == '_' => {
                let mut word = c.to_string();
                while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                tokens.push(Token::Word(word.to_uppercase()));
            }
            sign => tokens.push(Token::Sign(sign)),
        }
    }
    Some(tokens)
}
