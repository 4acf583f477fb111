//! Random values without members, in the ways in which they may be written.

use super::odd::{ODD, ODD_TIMES};
use super::records::RecordWriter;
use super::tables::leaf;
use crate::format::json::{HiveRules, SerdeRules};
use crate::format::schema::ColumnType;

impl RecordWriter<'_> {
    /// A value that may not fit.
    pub(super) fn odd(&mut self, of: &ColumnType) {
        let is_time = matches!(of, ColumnType::Date | ColumnType::Timestamp(_));
        match self.rng.below(if is_time { 20 } else { 8 }) {
            0 => {
                let other = leaf(self.rng);
                self.leaf(&other);
            }
            1 => self.junk(3),
            2..6 => {
                let odd = self.rng.pick(&ODD);
                self.out.push_str(odd);
            }
            6 if !is_time => {
                let odd = self.rng.pick(&ODD_TIMES);
                self.text(odd);
            }
            6..10 => self.fitting(of),
            _ => {
                let odd = self.rng.pick(&ODD_TIMES);
                self.text(odd);
            }
        }
    }

    /// A value without members that fits, mostly.
    pub(super) fn leaf(&mut self, of: &ColumnType) {
        let differs = self.rng.permille(self.style.respelled);
        match of {
            ColumnType::TinyInt => self.integer(i8::MIN.into(), i8::MAX.into(), differs),
            ColumnType::SmallInt => self.integer(i16::MIN.into(), i16::MAX.into(), differs),
            ColumnType::Int => self.integer(i32::MIN.into(), i32::MAX.into(), differs),
            ColumnType::BigInt => self.integer(i64::MIN, i64::MAX, differs),
            ColumnType::Float | ColumnType::Double => self.floating(differs),
            ColumnType::Decimal { precision, scale } => {
                self.decimal(usize::from(*precision), usize::from(*scale), differs)
            }
            ColumnType::Boolean => {
                let found = self.rng.pick(&["true", "false"]);
                match differs && self.is_openx() {
                    true => {
                        let upper = self.rng.permille(500);
                        self.text(&if upper { found.to_uppercase() } else { found.to_owned() });
                    }
                    false => self.out.push_str(found),
                }
            }
            ColumnType::String if differs && !matches!(self.rules, SerdeRules::Strict) => match self.rng.below(3) {
                0 => self.floating(true),
                1 if self.is_openx() => self.junk(4),
                _ => self.any_text(300),
            },
            ColumnType::String => self.any_text(40),
            ColumnType::Char(most) | ColumnType::Varchar(most) => self.any_text(*most as usize),
            ColumnType::Binary => self.base64(),
            ColumnType::Date => self.date(differs),
            ColumnType::Timestamp(unit) => {
                let is_nanos = unit.is_some_and(|unit| unit.digits() == 9);
                self.timestamp(is_nanos, unit.map_or(6, |unit| unit.digits() as usize), differs);
            }
            ColumnType::Array(_) | ColumnType::Map(..) | ColumnType::Struct(_) => unreachable!("it has members"),
        }
    }

    fn integer(&mut self, least: i64, most: i64, differs: bool) {
        let value = match self.rng.below(8) {
            0 => least,
            1 => most,
            2 => least + 1,
            3 | 4 => self.rng.between(-20, 20),
            5 => (self.rng.bits() as i64 >> self.rng.below(64)).clamp(least, most),
            _ => self.rng.between(least, most),
        };
        match differs {
            true => self.respelled(value < 0, &value.unsigned_abs().to_string(), 0),
            false => self.out.push_str(&value.to_string()),
        }
    }

    /// A number in a text, where that is the same.
    fn number(&mut self, spelled: &str, in_texts: bool) {
        if in_texts && self.rng.permille(250) {
            let plus = if !spelled.starts_with('-') && self.rng.permille(300) { "+" } else { "" };
            self.text(&format!("{plus}{spelled}"));
        } else {
            self.out.push_str(spelled);
        }
    }

    /// A number in some other way: with an exponent, with zeros before or behind it.
    fn respelled(&mut self, is_negative: bool, digits: &str, exponent: i64) {
        let mut digits = digits.to_owned();
        let mut exponent = exponent;
        if self.rng.permille(300) {
            let zeros = 1 + self.rng.below(30);
            digits += &"0".repeat(zeros);
            exponent -= zeros as i64;
        }
        // Digits behind the point.
        let behind = match self.rng.below(4) {
            0 if exponent < 0 && exponent > -60 => -exponent as usize,
            1 => self.rng.below(40),
            2 => 0,
            _ => self.rng.below(digits.len() + 1),
        };
        if digits.len() <= behind {
            digits = "0".repeat(behind + 1 - digits.len()) + &digits;
        }
        let (whole, fraction) = digits.split_at(digits.len() - behind);
        let whole = whole.trim_start_matches('0');
        let mut spelled = String::from(if is_negative { "-" } else { "" });
        spelled += if whole.is_empty() { "0" } else { whole };
        if behind > 0 {
            spelled += ".";
            spelled += fraction;
        }
        exponent += behind as i64;
        if exponent != 0 || self.rng.permille(100) {
            spelled.push_str(self.rng.pick(&["e", "E"]));
            spelled += if exponent < 0 { "-" } else { self.rng.pick(&["", "", "+"]) };
            spelled += self.rng.pick(&["", "", "", "0", "000"]);
            spelled += &exponent.unsigned_abs().to_string();
        }
        let in_texts = self.is_openx();
        self.number(&spelled, in_texts);
    }

    fn floating(&mut self, differs: bool) {
        let is_negative = self.rng.permille(300);
        let sign = if is_negative { "-" } else { "" };
        if !differs {
            let (whole, count) = (self.rng.between(0, 9999), self.rng.below(8));
            let fraction = self.rng.digits(count);
            let point = if fraction.is_empty() { "" } else { "." };
            self.out.push_str(&format!("{sign}{whole}{point}{fraction}"));
            return;
        }
        let in_texts = self.is_openx();
        match self.rng.below(7) {
            0 => {
                let found = f64::from_bits(self.rng.bits());
                let found = if found.is_finite() { found } else { 0.0 };
                self.number(&format!("{found:e}"), in_texts);
            }
            1 => {
                let found = f32::from_bits(self.rng.bits() as u32);
                let found = if found.is_finite() { found } else { 0.0 };
                let long = self.rng.permille(500);
                self.number(&if long { format!("{found}") } else { format!("{found:E}") }, in_texts);
            }
            2 => {
                let count = 1 + self.rng.below(60);
                let digits = self.rng.digits(count);
                let exponent = self.rng.between(-60, 10);
                self.respelled(is_negative, &digits, exponent);
            }
            3 => {
                // In the middle between two doubles, or beside it.
                let odd = (1u128 << 53) + 1 + 2 * u128::from(self.rng.bits() >> 13);
                let middle = (odd << self.rng.below(60)).to_string();
                let beside = self.rng.pick(&["", ".0", ".00000000000000000000000001"]);
                self.number(&format!("{sign}{middle}{beside}"), in_texts);
            }
            4 => {
                let count = 15 + self.rng.below(6);
                let (digits, exponent) = (self.rng.digits(count), self.rng.between(-345, 295));
                self.respelled(is_negative, &digits, exponent);
            }
            5 => {
                let found = f64::from_bits(self.rng.bits() >> (11 + self.rng.below(50)));
                self.number(&format!("{sign}{found:e}"), in_texts);
            }
            _ => {
                let digits = self.rng.between(0, 1 << 53).to_string();
                let exponent = self.rng.between(-22, 0);
                self.respelled(is_negative, &digits, exponent);
            }
        }
    }

    fn decimal(&mut self, precision: usize, scale: usize, differs: bool) {
        let is_negative = self.rng.permille(400);
        let mut count = precision - scale;
        if self.rng.permille(500) {
            count = self.rng.below(count + 1);
        }
        let mut digits = if self.rng.permille(200) { "9".repeat(count) } else { self.rng.digits(count) };
        let mut behind = if self.rng.permille(500) { scale } else { self.rng.below(scale + 1) };
        digits += &if self.rng.permille(200) { "9".repeat(behind) } else { self.rng.digits(behind) };
        if differs && behind == scale && !matches!(self.rules, SerdeRules::Strict) && self.rng.permille(400) {
            let rest = self.rng.pick(&[
                "5",
                "4",
                "49999999999999999999999999",
                "50000000000000000000",
                "9",
                "0",
                "51",
                "99999",
            ]);
            digits += rest;
            behind += rest.len();
        }
        if digits.is_empty() {
            digits.push('0');
        }
        if differs {
            return self.respelled(is_negative, &digits, -(behind as i64));
        }
        let digits = format!("{}{digits}", "0".repeat((behind + 1).saturating_sub(digits.len())));
        let (whole, fraction) = digits.split_at(digits.len() - behind);
        let whole = whole.trim_start_matches('0');
        let (sign, whole) = (if is_negative { "-" } else { "" }, if whole.is_empty() { "0" } else { whole });
        self.out.push_str(&format!("{sign}{whole}{}{fraction}", if behind > 0 { "." } else { "" }));
    }

    fn base64(&mut self) {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let len = self.rng.below(8) * self.rng.below(8);
        let mut text = String::new();
        for begin in (0..len).step_by(3) {
            let count = (len - begin).min(3);
            let bits = self.rng.bits() as u32 & [0, 0xff_0000, 0xff_ff00, 0xff_ffff][count];
            let digit =
                |i: usize| if i > count { '=' } else { char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63]) };
            text.extend((0..4).map(digit));
        }
        self.text(&text);
    }

    fn day(&mut self, is_short: bool) -> String {
        let (least, most) = if self.rng.permille(100) { (1, 9999) } else { (1960, 2040) };
        let (year, month, day) = (self.rng.between(least, most), self.rng.between(1, 12), self.rng.between(1, 28));
        match is_short {
            true => format!("{year:04}-{month}-{day}"),
            false => format!("{year:04}-{month:02}-{day:02}"),
        }
    }

    fn date(&mut self, differs: bool) {
        if differs && self.is_openx() && self.rng.permille(400) {
            let days = self.rng.between(-719_162, 2_932_896);
            return self.respelled(days < 0, &days.unsigned_abs().to_string(), 0);
        }
        let is_short = differs && !matches!(self.rules, SerdeRules::Strict);
        let day = self.day(is_short);
        self.text(&day);
    }

    fn timestamp(&mut self, is_nanos: bool, unit: usize, differs: bool) {
        let (least, most) = if is_nanos { (-9_223_372_036, 9_223_372_035) } else { (-62_135_596_800, 253_402_300_799) };
        let is_default_hive =
            matches!(self.rules, SerdeRules::Hive(HiveRules { timestamp_formats }) if timestamp_formats.is_empty());
        let is_millis = matches!(self.rules, SerdeRules::Hive(_)) && !is_default_hive;
        if is_millis || (differs && self.is_openx() && self.rng.permille(400)) {
            let seconds =
                if self.rng.permille(500) { self.rng.between(0, 2_000_000_000) } else { self.rng.between(least, most) };
            let count = self.rng.below(11);
            let fraction = if is_millis { self.rng.digits(3) } else { self.rng.digits(count) };
            let digits = format!("{}{fraction}", seconds.unsigned_abs());
            let exponent = if is_millis || fraction.len() == 3 { 0 } else { -(fraction.len() as i64) };
            return if differs { self.respelled(seconds < 0, &digits, exponent) } else { self.out.push_str(&digits) };
        }
        let is_short = is_default_hive || (differs && self.is_openx() && self.rng.permille(500));
        let mut day = self.day(is_short && differs);
        if is_nanos {
            day.replace_range(..4, &self.rng.between(1678, 2261).to_string());
        }
        let time = [24, 60, 60].map(|end| self.rng.below(end));
        let hour = if is_short && differs { format!("{}", time[0]) } else { format!("{:02}", time[0]) };
        let most = if matches!(self.rules, SerdeRules::Strict) { unit } else { 9 };
        let count =
            if self.rng.permille(500) { [0, 3.min(most), most][self.rng.below(3)] } else { self.rng.below(most + 1) };
        let point = if count > 0 { "." } else { "" };
        let zone = match (is_short, differs) {
            (true, _) => "",
            (false, false) => "Z",
            (false, true) => self.rng.pick(&["Z", "z", "+02:00", "-11:30", "+00:00", "-23:59"]),
        };
        let between = if is_short { " " } else { "T" };
        let text = format!("{day}{between}{hour}:{:02}:{:02}{point}{}{zone}", time[1], time[2], self.rng.digits(count));
        self.text(&text);
    }
}
