//! Numbers, to the last digit: as integers of a scale, or as floats.

/// A decimal number in its parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<'a> {
    text: &'a str,
    negative: bool,
    integer: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

/// A number as an integer of units of `10^-scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scaled {
    pub value: i128,
    /// There were digits beyond the scale.
    pub rounded: bool,
}

/// Digits that fit an `i128`, whatever they are.
const DIGITS_MAX: i64 = 38;

impl<'a> Number<'a> {
    /// A number as JSON has it, or as people write it in a string: with a sign, with leading zeros, without digits on one side
    /// of the point.
    pub(super) fn parse(text: &'a str) -> Option<Number<'a>> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
            Some(at) => (&unsigned[..at], exponent(&unsigned[at + 1..])?),
            None => (unsigned, 0),
        };
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
        let is_number = is_digits(integer) && is_digits(fraction) && integer.len() + fraction.len() > 0;
        let (integer, fraction) = (integer.as_bytes(), fraction.as_bytes());
        let negative = text.starts_with('-');
        is_number.then_some(Number { text, negative, integer, fraction, exponent })
    }

    /// All its digits, without leading zeros, and how many of them stand before the point: negative if zeros follow it.
    fn digits(&self) -> (impl Iterator<Item = u8> + Clone, i64) {
        let all = self.integer.iter().chain(self.fraction).map(|digit| digit - b'0');
        let zeros = all.clone().take_while(|digit| *digit == 0).count();
        let point = (self.integer.len() as i64).saturating_sub(zeros as i64).saturating_add(self.exponent);
        (all.skip(zeros), point)
    }

    /// How many digits the integer part has: 0 and less for what is below one.
    pub(super) fn magnitude(&self) -> i64 {
        let (mut digits, point) = self.digits();
        if digits.next().is_none() { 0 } else { point }
    }

    /// The number in units of `10^-scale`, rounded half up: away from zero. `None`: it has more than 38 digits then.
    pub(super) fn scaled(&self, scale: u32) -> Option<Scaled> {
        let (value, next, rounded) = self.cut(scale)?;
        let value = value + i128::from(next >= 5);
        Some(Scaled { value: if self.negative { -value } else { value }, rounded })
    }

    /// The same, but the next lower one if digits are left over.
    pub(super) fn floored(&self, scale: u32) -> Option<Scaled> {
        let (value, _, rounded) = self.cut(scale)?;
        let value = if self.negative { -value - i128::from(rounded) } else { value };
        Some(Scaled { value, rounded })
    }

    /// The digits up to the scale as a number, the next one, and whether any behind them is not 0.
    fn cut(&self, scale: u32) -> Option<(i128, u8, bool)> {
        let (mut digits, point) = self.digits();
        if digits.clone().next().is_none() {
            return Some((0, 0, false));
        }
        let count = point.saturating_add(i64::from(scale));
        if count > DIGITS_MAX {
            return None;
        }
        let mut value: i128 = 0;
        for _ in 0..count {
            value = value * 10 + i128::from(digits.next().unwrap_or(0));
        }
        // Of 0.0004 the first digit is not the first one behind the scale.
        let next = if count < 0 { 0 } else { digits.clone().next().unwrap_or(0) };
        let rounded = digits.any(|digit| digit != 0);
        Some((value, next, rounded))
    }

    /// The nearest float, which may be infinite.
    pub(super) fn float<F: std::str::FromStr>(&self) -> Option<F> {
        self.text.parse().ok()
    }

    /// Whether it is nought, however written.
    pub(super) fn is_zero(&self) -> bool {
        self.digits().0.next().is_none()
    }

    /// The digits before the point, without leading zeros.
    pub(super) fn integer_digits(&self) -> &'a [u8] {
        let zeros = self.integer.iter().take_while(|digit| **digit == b'0').count();
        &self.integer[zeros..]
    }

    /// Whether it has no point and no exponent.
    pub(super) fn is_integer(&self) -> bool {
        self.integer.len() + usize::from(self.text.starts_with(['-', '+'])) == self.text.len()
    }
}

/// An exponent; one beyond all digits of a record is as good as another.
fn exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value =
        digits.bytes().fold(0i64, |value, digit| value.saturating_mul(10).saturating_add((digit - b'0').into()));
    let value = value.min(i64::MAX / 4);
    Some(if text.starts_with('-') { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(text: &str, scale: u32) -> Option<(i128, bool)> {
        Number::parse(text).unwrap().scaled(scale).map(|s| (s.value, s.rounded))
    }

    #[test]
    fn digits_beyond_the_scale_are_rounded_half_up_and_told() {
        for (text, scale, expected) in [
            ("19.999", 2, Some((2000, true))),
            ("1.995", 2, Some((200, true))),
            ("-0.009", 2, Some((-1, true))),
            ("-0.004", 2, Some((0, true))),
            ("0.0004", 2, Some((0, true))),
            ("0.05", 1, Some((1, true))),
            ("0.5", 0, Some((1, true))),
            ("9007199254740993.0", 0, Some((9007199254740993, false))),
            ("1e3", 0, Some((1000, false))),
            ("1500e-3", 1, Some((15, false))),
            ("-0", 0, Some((0, false))),
            ("0e99999999999999999999", 4, Some((0, false))),
            ("1e99999999999999999999", 4, None),
            ("1e-99999999999999999999", 4, Some((0, true))),
            ("12345678901234567890123456789012345678", 0, Some((12345678901234567890123456789012345678, false))),
            ("123456789012345678901234567890123456789", 0, None),
            ("00000000000000000000000000000000000000000000001", 0, Some((1, false))),
        ] {
            assert_eq!(scaled(text, scale), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "-", ".", "1e", "1e+", "1.2.3", "0x1", "NaN", "Infinity", " 1", "1 ", "--1", "1_0"] {
            assert!(Number::parse(text).is_none(), "{text}");
        }
    }
}
