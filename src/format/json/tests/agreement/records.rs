//! Random records of a table.

use super::rng::SplitMix;
use super::tables::key_of;
use crate::format::json::SerdeRules;
use crate::format::schema::{ColumnType, NamedType};

/// How records are spelled: in how many of 1,000 cases something is done.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordStyle {
    /// Blanks between tokens.
    pub(super) blanks: usize,
    /// A character of a text is an escape.
    pub(super) escapes: usize,
    /// A key is in another case.
    pub(super) cases: usize,
    /// Members are in another order.
    pub(super) shuffles: usize,
    pub(super) missing: usize,
    /// A member stands there twice.
    pub(super) twice: usize,
    /// A key that names nothing.
    pub(super) unknown: usize,
    pub(super) nulls: usize,
    /// A value is written in another way than the common one.
    pub(super) respelled: usize,
    /// A value that may not fit.
    pub(super) odd: usize,
    /// A further document.
    pub(super) documents: usize,
}

impl RecordStyle {
    pub(super) fn random(rng: &mut SplitMix) -> RecordStyle {
        let mut some = |most: usize| [0, 0, 0, most / 20, most / 4, most][rng.below(6)];
        RecordStyle {
            blanks: some(400),
            escapes: some(300),
            cases: some(500),
            shuffles: some(800),
            missing: some(500),
            twice: some(80),
            unknown: some(700),
            nulls: some(300),
            respelled: some(800),
            odd: 0,
            documents: some(600),
        }
    }
}

/// Writes a record.
pub(super) struct RecordWriter<'a> {
    pub(super) rng: &'a mut SplitMix,
    pub(super) rules: &'a SerdeRules,
    pub(super) style: RecordStyle,
    pub(super) out: String,
}

impl RecordWriter<'_> {
    /// Objects with those members.
    pub(super) fn record(&mut self, members: &[NamedType]) {
        self.blanks();
        self.object(members);
        self.blanks();
        while self.out.len() < 4000 && self.rng.permille(self.style.documents) {
            self.object(members);
            self.blanks();
        }
    }

    pub(super) fn is_openx(&self) -> bool {
        matches!(self.rules, SerdeRules::OpenX(_))
    }

    pub(super) fn blanks(&mut self) {
        while self.rng.permille(self.style.blanks) {
            let blanks = self.rng.pick(&[" ", " ", "  ", "\n", "\r\n", "\t", "                "]);
            self.out.push_str(blanks);
        }
    }

    fn token(&mut self, token: char) {
        self.blanks();
        self.out.push(token);
        self.blanks();
    }

    fn object(&mut self, members: &[NamedType]) {
        let mut order: Vec<Option<&NamedType>> = Vec::new();
        for member in members {
            if !self.rng.permille(self.style.missing) {
                order.push(Some(member));
            }
            if self.rng.permille(self.style.twice) {
                order.push(Some(member));
            }
            while order.len() < 40 && self.rng.permille(self.style.unknown) {
                order.push(None);
            }
        }
        if self.rng.permille(self.style.shuffles) {
            self.rng.shuffle(&mut order);
        }
        self.out.push('{');
        self.blanks();
        for (i, member) in order.into_iter().enumerate() {
            if i > 0 {
                self.token(',');
            }
            match member {
                Some(member) => self.member(member),
                None => self.unknown(members),
            }
        }
        self.blanks();
        self.out.push('}');
    }

    fn member(&mut self, member: &NamedType) {
        let mut key = key_of(member, self.rules).to_owned();
        if self.rng.permille(self.style.cases) {
            key = match self.rng.below(4) {
                0 => key.to_uppercase(),
                1 => key.to_lowercase(),
                2 => key.replace('_', "."),
                _ => {
                    let case = self.rng.bits();
                    let is_upper = |i: usize| case >> (i % 64) & 1 == 1;
                    let c = |(i, c): (usize, char)| {
                        if is_upper(i) { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
                    };
                    key.chars().enumerate().map(c).collect()
                }
            };
        }
        self.text(&key);
        self.token(':');
        self.value(&member.of);
    }

    /// A key that names no member, or one that is almost a member's.
    fn unknown(&mut self, members: &[NamedType]) {
        let near = self.rng.below(members.len());
        let near = &members[near].name;
        let key = match self.rng.below(10) {
            0 => format!("{near} "),
            1 => near.to_uppercase(),
            2 => near.chars().skip(1).collect(),
            3 => near.replace('.', "_"),
            6..9 => self.rng.bits().to_string(),
            4 => near.clone() + near,
            5 => "x".repeat(self.rng.below(400)),
            _ => self.rng.pick(&["x", "extra", "Id", "user.Name", "ts", "ÄÖ", "meta_data_of_the_record"]).to_owned(),
        };
        self.text(&key);
        if self.rng.permille(4) {
            self.out.pop();
            self.out.push_str("\\ud800\"");
        }
        self.token(':');
        self.junk(0);
    }

    pub(super) fn value(&mut self, of: &ColumnType) {
        if self.rng.permille(self.style.nulls) {
            self.out.push_str("null");
        } else if self.rng.permille(self.style.odd) {
            self.odd(of);
        } else {
            self.fitting(of);
        }
    }

    /// A value that fits, mostly.
    pub(super) fn fitting(&mut self, of: &ColumnType) {
        let differs = self.rng.permille(self.style.respelled);
        match of {
            ColumnType::Array(element) if differs && self.is_openx() && self.rng.permille(300) => self.value(element),
            ColumnType::Array(element) => {
                let elements = self.elements();
                self.array(elements, |writer, _| writer.value(element));
            }
            ColumnType::Struct(members) if differs && self.is_openx() && self.rng.permille(300) => {
                let elements = self.rng.below(members.len() + 1);
                self.array(elements, |writer, i| writer.value(&members[i].of));
            }
            ColumnType::Struct(members) => self.object(members),
            ColumnType::Map(key, value) => self.map(key, value),
            leaf => self.leaf(leaf),
        }
    }

    fn elements(&mut self) -> usize {
        if self.out.len() > 2000 { 0 } else { self.rng.below(4) * self.rng.below(3) }
    }

    fn array(&mut self, elements: usize, mut element: impl FnMut(&mut Self, usize)) {
        self.out.push('[');
        self.blanks();
        for i in 0..elements {
            if i > 0 {
                self.token(',');
            }
            element(self, i);
        }
        self.blanks();
        self.out.push(']');
    }

    fn map(&mut self, key: &ColumnType, value: &ColumnType) {
        let mut last = String::from("\"a\"");
        self.out.push('{');
        self.blanks();
        for i in 0..self.elements() {
            if i > 0 {
                self.token(',');
            }
            if self.rng.permille(self.style.twice) {
                self.out.push_str(&last);
            } else {
                let begin = self.out.len();
                if self.rng.permille(self.style.odd) {
                    self.odd_key()
                } else {
                    self.key(key)
                }
                last = self.out[begin..].to_owned();
            }
            self.token(':');
            self.value(value);
        }
        self.blanks();
        self.out.push('}');
    }

    /// A key of a map that fits: what fits as a value, as a text.
    fn key(&mut self, of: &ColumnType) {
        let begin = self.out.len();
        let odd = std::mem::take(&mut self.style.odd);
        self.leaf(of);
        self.style.odd = odd;
        if !self.out[begin..].starts_with('"') {
            let spelled = self.out.split_off(begin);
            self.text(&spelled);
        }
    }

    fn odd_key(&mut self) {
        let begin = self.out.len();
        self.odd(&ColumnType::String);
        if !self.out[begin..].starts_with('"') {
            let spelled = self.out.split_off(begin);
            self.text(&spelled);
        }
    }

    /// A text, with some of its characters as escapes.
    pub(super) fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            let short = match c {
                '"' => "\\\"",
                '\\' => "\\\\",
                '/' => "\\/",
                '\u{8}' => "\\b",
                '\u{c}' => "\\f",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                _ => "",
            };
            let must = c < ' ' || c == '"' || c == '\\';
            if !must && !self.rng.permille(self.style.escapes) {
                self.out.push(c);
            } else if !short.is_empty() && self.rng.permille(700) {
                self.out.push_str(short);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let escape = format!("\\u{unit:04x}");
                    let upper = self.rng.permille(300);
                    self.out.push_str(&if upper { escape.to_uppercase().replace("\\U", "\\u") } else { escape });
                }
            }
        }
        self.out.push('"');
    }

    /// Any value.
    pub(super) fn junk(&mut self, depth: usize) {
        match self.rng.below(if depth > 6 { 8 } else { 11 }) {
            0 => self.out.push_str("null"),
            1 => self.out.push_str("true"),
            2 => self.out.push_str("false"),
            3..5 => {
                let number =
                    self.rng.pick(&["0", "-0", "1", "-1.5", "1e5", "1E-5", "1.25e+300", "12345678901234567890", "0.1"]);
                self.out.push_str(number);
            }
            5 => self.out.push_str("\"\\ud800 \\udc00\""),
            6 | 7 => self.any_text(30),
            8 | 9 => {
                let elements = self.elements();
                self.array(elements, |writer, _| writer.junk(depth + 1));
            }
            _ => {
                self.out.push('{');
                for i in 0..self.elements() {
                    if i > 0 {
                        self.token(',');
                    }
                    self.any_text(8);
                    self.token(':');
                    self.junk(depth + 1);
                }
                self.out.push('}');
            }
        }
    }

    /// A text of at most so many random characters.
    pub(super) fn any_text(&mut self, most: usize) {
        const OTHERS: &[&str] =
            &["\"", "\\", "/", "\n", "\t", "\0", "\u{1f}", "\u{7f}", "ä", "ß", "€", "名", "😀", "\u{ffff}", "\u{2028}"];
        let plain = self.rng.permille(600);
        let len = self.rng.below(most + 1);
        let mut text = String::new();
        for _ in 0..len {
            match plain || self.rng.permille(700) {
                true => text.push(char::from(b'a' + self.rng.below(26) as u8)),
                false => text.push_str(self.rng.pick(OTHERS)),
            }
        }
        self.text(&text);
    }
}
