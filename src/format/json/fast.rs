//! The short way for values as they mostly are. What it takes, it takes as [`super::general`] does; it has no opinion on anything
//! else, and has touched nothing then.

use super::text::{BLOCK, Text};
use super::time::{Day, Moment, TimeOfDay};
use crate::format::schema::TimestampUnit;

/// Powers of ten that are doubles, so that a quotient is rounded once (Clinger).
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// A second of the finest unit.
const NEAR_1970: i64 = 1_000_000_000;

/// Picoseconds of the last one of so many digits behind a second.
const PICOS_OF: [u64; 10] =
    [0, 100_000_000_000, 10_000_000_000, 1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000];

/// ShortDigits with a point among them.
struct ShortNumber {
    negative: bool,
    digits: u64,
    /// How many of the digits stand behind the point.
    fraction: usize,
    behind: usize,
}

/// The beginning of a number.
#[derive(Clone, Copy)]
struct ShortDigits<'a> {
    block: &'a [u8; BLOCK],
    value: u64,
    /// Bytes that have been read.
    read: usize,
}

/// Eight digits, the first one lowest, as a number: pairs, then fours, then all.
#[inline(always)]
fn eight(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff
}

impl ShortDigits<'_> {
    /// Adds digits until something else follows, or the block is read.
    #[inline(always)]
    fn read(&mut self) {
        while self.read < BLOCK {
            let digit = self.block[self.read].wrapping_sub(b'0');
            if digit > 9 {
                return;
            }
            self.value = self.value * 10 + u64::from(digit);
            self.read += 1;
        }
    }

    /// The same where there are many, mostly.
    #[inline(always)]
    fn read_many(&mut self) {
        if let Some(word) = self.block[self.read..].first_chunk() {
            let digits = u64::from_le_bytes(*word) ^ 0x3030_3030_3030_3030;
            // The highest bit of each byte that is no digit: above 9, or negative before.
            if (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080 == 0 {
                self.value = eight(digits);
                self.read += 8;
            }
        }
        self.read();
    }

    /// What follows the digits; a digit if that is not in the block any more.
    #[inline(always)]
    fn next(&self) -> u8 {
        self.block.get(self.read).copied().unwrap_or(b'0')
    }
}

impl<'a> Text<'a> {
    /// The digits of a number, and whether a sign stands before them.
    #[inline(always)]
    fn short_digits(self, at: usize, many: bool) -> Option<(bool, ShortDigits<'a>)> {
        let block = self.block(at)?;
        let negative = block[0] == b'-';
        let first = usize::from(negative);
        let mut digits = ShortDigits { block, value: 0, read: first };
        if many {
            digits.read_many()
        } else {
            digits.read()
        }
        let count = digits.read - first;
        let is_number = count > 0 && (block[first] != b'0' || count == 1);
        is_number.then_some((negative, digits))
    }

    /// An integer of at most 14 digits, and the place behind it.
    #[inline(always)]
    pub(super) fn short_integer(self, at: usize) -> Option<(i64, usize)> {
        let (negative, digits) = self.short_digits(at, true)?;
        let behind = at + digits.read;
        if matches!(digits.next(), b'.' | b'e' | b'E' | b'0'..=b'9') {
            return None;
        }
        Some((if negative { -(digits.value as i64) } else { digits.value as i64 }, behind))
    }

    /// The same, if it fits.
    #[inline(always)]
    pub(super) fn short_narrow<T: TryFrom<i64>>(self, at: usize) -> Option<(T, usize)> {
        let (value, behind) = self.short_integer(at)?;
        Some((value.try_into().ok()?, behind))
    }

    /// A number of at most 15 characters, without an exponent.
    #[inline(always)]
    fn short_number(self, at: usize) -> Option<ShortNumber> {
        let (negative, mut digits) = self.short_digits(at, false)?;
        let mut fraction = 0;
        if digits.next() == b'.' {
            digits.read += 1;
            let point = digits.read;
            digits.read();
            fraction = digits.read - point;
            if fraction == 0 {
                return None;
            }
        }
        let behind = at + digits.read;
        if matches!(digits.next(), b'e' | b'E' | b'0'..=b'9') {
            return None;
        }
        Some(ShortNumber { negative, digits: digits.value, fraction, behind })
    }

    /// A double that is the nearest one at once, and the place behind it.
    #[inline(always)]
    pub(super) fn short_double(self, at: usize) -> Option<(f64, usize)> {
        let ShortNumber { negative, digits, fraction, behind } = self.short_number(at)?;
        // Fifteen digits are exact.
        let value = digits as f64 / POWERS[fraction];
        Some((if negative { -value } else { value }, behind))
    }

    /// The same of a float.
    #[inline(always)]
    pub(super) fn short_float(self, at: usize) -> Option<(f32, usize)> {
        let ShortNumber { negative, digits, fraction, behind } = self.short_number(at)?;
        if digits >= 1 << 24 || fraction > 10 {
            return None;
        }
        let value = digits as f32 / POWERS[fraction] as f32;
        Some((if negative { -value } else { value }, behind))
    }

    /// A number in units of `10^-scale`, if it has at most `precision` digits then and none beyond, and the place behind it.
    #[inline(always)]
    pub(super) fn short_decimal(self, at: usize, (precision, scale): (u8, u8)) -> Option<(i128, usize)> {
        let ShortNumber { negative, digits, fraction, behind } = self.short_number(at)?;
        let zeros = usize::from(scale).checked_sub(fraction)?;
        if zeros > 18 {
            return None;
        }
        let value = i128::from(digits) * 10i128.pow(zeros as u32);
        (value < 10i128.pow(precision.into())).then_some((if negative { -value } else { value }, behind))
    }

    /// `true` or `false`, and the place behind it.
    #[inline(always)]
    pub(super) fn short_boolean(self, at: usize) -> Option<(bool, usize)> {
        if self.starts_with(at, b"true") {
            return Some((true, at + 4));
        }
        self.starts_with(at, b"false").then_some((false, at + 5))
    }

    /// `"2026-11-20"`, and the place behind it.
    #[inline(always)]
    pub(super) fn short_day(self, at: usize) -> Option<(i32, usize)> {
        let block = self.block(at)?;
        let is_string = block[0] == b'"' && block[11] == b'"';
        is_string.then_some((day(block[1..11].first_chunk()?)?.0, at + 12))
    }

    /// `"2026-11-20T12:30:00.123Z"` with up to nine digits, in a unit that has them all, and the place behind
    /// it.
    #[inline(always)]
    pub(super) fn short_moment(self, at: usize, unit: TimestampUnit) -> Option<(i64, usize)> {
        let (date, time) = (self.block(at)?, self.block(at + 11)?);
        let day = day(date[1..11].first_chunk()?)?;
        if date[0] != b'"' || time[0] != b'T' || time[3] != b':' || time[6] != b':' {
            return None;
        }
        let two = |i: usize| {
            let (tens, ones) = (time[i].wrapping_sub(b'0'), time[i + 1].wrapping_sub(b'0'));
            (tens <= 9 && ones <= 9).then_some(u32::from(tens) * 10 + u32::from(ones))
        };
        let (hour, minute, second) = (two(1)?, two(4)?, two(7)?);
        let (mut picos, mut behind) = (0, at + 20);
        if time[9] == b'.' {
            let mut fraction = ShortDigits { block: self.block(at + 21)?, value: 0, read: 0 };
            fraction.read();
            if !(1..=9).contains(&fraction.read) {
                return None;
            }
            picos = fraction.value * PICOS_OF[fraction.read];
            behind = at + 21 + fraction.read;
        }
        if self.byte(behind) != b'Z' || self.byte(behind + 1) != b'"' {
            return None;
        }
        let moment = Moment::of_parts(day, TimeOfDay { hour, minute, second, picos, has_more: false }, 0)?;
        let (value, rounded) = moment.in_unit(unit)?;
        // The long way knows what stands just before 1970.
        let is_plain = !rounded && !(-NEAR_1970..0).contains(&value);
        is_plain.then_some((value, behind + 2))
    }
}

/// `2026-11-20`
#[inline(always)]
fn day(text: &[u8; 10]) -> Option<Day> {
    let (Some(year_and_month), Some(day)) = (text.first_chunk(), text.last_chunk()) else { unreachable!("ten bytes") };
    // What differs from `0000-00-`, and from `00`: a digit leaves itself.
    let first = u64::from_le_bytes(*year_and_month) ^ u64::from_le_bytes(*b"0000-00-");
    let last = u16::from_le_bytes(*day) ^ u16::from_le_bytes(*b"00");
    // The highest bit of each byte that does not fit: above 9, or above 0 where there is a hyphen, or negative before.
    let above = first.wrapping_add(0x7f76_767f_7676_7676) | first;
    let above_last = last.wrapping_add(0x7676) | last;
    if above & 0x8080_8080_8080_8080 != 0 || above_last & 0x8080 != 0 {
        return None;
    }
    let digit = |i: u32| (first >> (8 * i)) as u32 & 0xff;
    let year = digit(0) * 1000 + digit(1) * 100 + digit(2) * 10 + digit(3);
    Day::of(year, digit(5) * 10 + digit(6), u32::from(last & 0xff) * 10 + u32::from(last >> 8))
}
