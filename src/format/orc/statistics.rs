//! What is said of a column's values: of those of a row group, of a stripe and of the file, so that readers may leave out what
//! cannot hold what they look for.
//!
//! Least and greatest values are whole: older readers take texts without them for none. Where one is long, nothing is said of
//! the texts, which every reader takes for any.

use super::proto::{
    BinaryStatistics, BucketStatistics, CollectionStatistics, ColumnStatistics, DateStatistics, DecimalStatistics,
    DoubleStatistics, IntegerStatistics, StringStatistics, TimestampStatistics,
};

/// A text that stands in statistics: those are held in memory, and written for every row group, stripe and file.
const TEXT_BYTES_MAX: usize = 1024;

/// Of some values of a column.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    /// Without nulls.
    pub(super) count: u64,
    pub(super) has_null: bool,
    pub(super) of: ValueStatistics,
}

#[derive(Clone, Debug)]
pub(super) enum ValueStatistics {
    /// Nothing but the count.
    Counted,
    Trues(u64),
    Integers {
        range: Option<(i64, i64)>,
        sum: Option<i64>,
    },
    Doubles {
        range: Option<(f64, f64)>,
        sum: f64,
    },
    Strings {
        range: Option<(String, String)>,
        bytes: i64,
    },
    /// Some of them are long.
    LongStrings,
    Binaries {
        bytes: i64,
    },
    Dates(Option<(i32, i32)>),
    /// Milliseconds, the greatest one rounded up.
    Timestamps(Option<(i64, i64)>),
    Decimals {
        range: Option<(i128, i128)>,
        sum: Option<i128>,
        scale: u8,
    },
    Collections {
        range: Option<(u64, u64)>,
        total: u64,
    },
}

fn widen<T: PartialOrd + Copy>(range: &mut Option<(T, T)>, least: T, greatest: T) {
    *range = Some(match *range {
        None => (least, greatest),
        Some((low, high)) => (if least < low { least } else { low }, if greatest > high { greatest } else { high }),
    });
}

impl ValueStatistics {
    pub(super) fn of_integers() -> ValueStatistics {
        ValueStatistics::Integers { range: None, sum: Some(0) }
    }

    /// The same, of no value.
    fn empty(&self) -> ValueStatistics {
        match self {
            ValueStatistics::Counted => ValueStatistics::Counted,
            ValueStatistics::Trues(_) => ValueStatistics::Trues(0),
            ValueStatistics::Integers { .. } => ValueStatistics::of_integers(),
            ValueStatistics::Doubles { .. } => ValueStatistics::Doubles { range: None, sum: 0.0 },
            ValueStatistics::Strings { .. } | ValueStatistics::LongStrings => {
                ValueStatistics::Strings { range: None, bytes: 0 }
            }
            ValueStatistics::Binaries { .. } => ValueStatistics::Binaries { bytes: 0 },
            ValueStatistics::Dates(_) => ValueStatistics::Dates(None),
            ValueStatistics::Timestamps(_) => ValueStatistics::Timestamps(None),
            ValueStatistics::Decimals { scale, .. } => {
                ValueStatistics::Decimals { range: None, sum: Some(0), scale: *scale }
            }
            ValueStatistics::Collections { .. } => ValueStatistics::Collections { range: None, total: 0 },
        }
    }

    pub(super) fn integer(&mut self, value: i64) {
        if let ValueStatistics::Integers { range, sum } = self {
            widen(range, value, value);
            *sum = sum.and_then(|sum| sum.checked_add(value));
        }
    }

    /// NaN is neither less nor greater than anything.
    pub(super) fn double(&mut self, value: f64) {
        if let ValueStatistics::Doubles { range, sum } = self {
            if !value.is_nan() {
                widen(range, value, value);
            }
            *sum += value;
        }
    }

    pub(super) fn string(&mut self, value: &str) {
        if value.len() > TEXT_BYTES_MAX {
            *self = ValueStatistics::LongStrings;
        }
        if let ValueStatistics::Strings { range, bytes } = self {
            *bytes += value.len() as i64;
            match range {
                None => *range = Some((value.to_owned(), value.to_owned())),
                Some((low, _)) if value < low.as_str() => value.clone_into(low),
                Some((_, high)) if value > high.as_str() => value.clone_into(high),
                Some(_) => {}
            }
        }
    }

    pub(super) fn merge(&mut self, other: &ValueStatistics) {
        use ValueStatistics::*;
        match (self, other) {
            (Trues(own), Trues(more)) => *own += more,
            (Integers { range, sum }, Integers { range: Some((low, high)), sum: more }) => {
                widen(range, *low, *high);
                *sum = sum.zip(*more).and_then(|(sum, more)| sum.checked_add(more));
            }
            (Doubles { range, sum }, Doubles { range: other, sum: more }) => {
                other.iter().for_each(|(low, high)| widen(range, *low, *high));
                *sum += more;
            }
            (own @ Strings { .. }, LongStrings) => *own = LongStrings,
            (own @ Strings { range: None, .. }, Strings { .. }) => *own = other.clone(),
            (Strings { range: Some((low, high)), bytes }, Strings { range: Some((least, greatest)), bytes: more }) => {
                if *least < *low {
                    least.clone_into(low);
                }
                if *greatest > *high {
                    greatest.clone_into(high);
                }
                *bytes += more;
            }
            (Binaries { bytes }, Binaries { bytes: more }) => *bytes += more,
            (Dates(range), Dates(Some((low, high)))) => widen(range, *low, *high),
            (Timestamps(range), Timestamps(Some((low, high)))) => widen(range, *low, *high),
            (Decimals { range, sum, .. }, Decimals { range: Some((low, high)), sum: more, .. }) => {
                widen(range, *low, *high);
                *sum = sum.zip(*more).and_then(|(sum, more)| sum.checked_add(more));
            }
            (Collections { range, total }, Collections { range: Some((low, high)), total: more }) => {
                widen(range, *low, *high);
                *total += more;
            }
            _ => {}
        }
    }
}

impl Statistics {
    pub(super) fn new(of: ValueStatistics) -> Statistics {
        Statistics { count: 0, has_null: false, of }
    }

    /// These, which leaves those of no value behind.
    pub(super) fn take(&mut self) -> Statistics {
        let empty = Statistics::new(self.of.empty());
        std::mem::replace(self, empty)
    }

    pub(super) fn merge(&mut self, other: &Statistics) {
        self.count += other.count;
        self.has_null |= other.has_null;
        self.of.merge(&other.of);
    }

    pub(super) fn message(&self) -> ColumnStatistics {
        let mut message = ColumnStatistics {
            number_of_values: Some(self.count),
            has_null: Some(self.has_null),
            ..ColumnStatistics::default()
        };
        match &self.of {
            ValueStatistics::Counted | ValueStatistics::LongStrings => {}
            ValueStatistics::Trues(count) => message.buckets = Some(BucketStatistics { count: vec![*count] }),
            ValueStatistics::Integers { range, sum } => {
                let (minimum, maximum) = range.unzip();
                message.integers = Some(IntegerStatistics { minimum, maximum, sum: *sum });
            }
            ValueStatistics::Doubles { range, sum } => {
                let (minimum, maximum) = range.unzip();
                message.doubles = Some(DoubleStatistics { minimum, maximum, sum: Some(*sum) });
            }
            ValueStatistics::Strings { range, bytes } => {
                let (minimum, maximum) = range.clone().unzip();
                message.strings = Some(StringStatistics { minimum, maximum, sum: Some(*bytes) });
            }
            ValueStatistics::Binaries { bytes } => message.binaries = Some(BinaryStatistics { sum: Some(*bytes) }),
            ValueStatistics::Dates(range) => {
                let (minimum, maximum) = range.unzip();
                message.dates = Some(DateStatistics { minimum, maximum });
            }
            ValueStatistics::Timestamps(range) => {
                let (minimum, maximum) = range.unzip();
                let (minimum_utc, maximum_utc) = (minimum, maximum);
                message.timestamps = Some(TimestampStatistics { minimum, maximum, minimum_utc, maximum_utc });
            }
            ValueStatistics::Decimals { range, sum, scale } => {
                let text = |value: i128| decimal_text(value, *scale);
                let (minimum, maximum) = range.map(|(low, high)| (text(low), text(high))).unzip();
                message.decimals = Some(DecimalStatistics { minimum, maximum, sum: sum.map(text) });
            }
            ValueStatistics::Collections { range, total } => {
                let (minimum, maximum) = range.unzip();
                message.collections = Some(CollectionStatistics { minimum, maximum, total: Some(*total) });
            }
        }
        message
    }
}

/// A decimal as people write it.
fn decimal_text(value: i128, scale: u8) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    let (sign, point) = (if value < 0 { "-" } else { "" }, if scale > 0 { "." } else { "" });
    format!("{sign}{whole}{point}{fraction}")
}
