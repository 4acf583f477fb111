//! The run-length encodings, decoded again as the specification says. Whole files are read by others, in the tests of the
//! command `convert`.

use super::runs::{BitRuns, ByteRuns, IntRuns};
use super::stream::{OrcCodec, OrcStream};
use proptest::prelude::*;

const WIDTHS: [u32; 32] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26, 28, 30, 32, 40, 48, 56,
    64,
];

struct Bytes<'b>(&'b [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u64 {
        let (first, rest) = self.0.split_first().expect("a run is whole");
        self.0 = rest;
        (*first).into()
    }

    fn varint(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            value |= (byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }

    /// So many values of a width, up to a whole byte.
    fn packed(&mut self, count: usize, width: u32) -> Vec<u64> {
        let (mut held, mut bits) = (0u128, 0);
        let values = (0..count).map(|_| {
            while bits < width {
                held = held << 8 | self.byte() as u128;
                bits += 8;
            }
            bits -= width;
            let value = held >> bits;
            held &= (1 << bits) - 1;
            value as u64
        });
        values.collect()
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// RLE version 2, without patched base.
fn ints(encoded: &[u8], signed: bool) -> Vec<i64> {
    let (mut bytes, mut values) = (Bytes(encoded), Vec::new());
    let value = |raw: u64| if signed { unzigzag(raw) } else { raw as i64 };
    while !bytes.0.is_empty() {
        let first = bytes.byte();
        if first >> 6 == 0 {
            let raw = (0..=first >> 3 & 7).fold(0, |raw, _| raw << 8 | bytes.byte());
            values.extend(std::iter::repeat_n(value(raw), (first & 7) as usize + 3));
            continue;
        }
        let count = ((first & 1) << 8 | bytes.byte()) as usize + 1;
        let code = (first >> 1 & 31) as usize;
        match first >> 6 {
            1 => values.extend(bytes.packed(count, WIDTHS[code]).into_iter().map(value)),
            3 => {
                let (base, step) = (value(bytes.varint()), unzigzag(bytes.varint()));
                let mut last = base;
                values.push(base);
                if code == 0 {
                    (1..count).for_each(|i| values.push(base.wrapping_add(step.wrapping_mul(i as i64))));
                    continue;
                }
                last += step;
                values.push(last);
                for more in bytes.packed(count - 2, WIDTHS[code]) {
                    last = if step < 0 { last.wrapping_sub(more as i64) } else { last.wrapping_add(more as i64) };
                    values.push(last);
                }
            }
            form => panic!("form {form} is not written"),
        }
    }
    values
}

fn byte_runs(encoded: &[u8]) -> Vec<u8> {
    let (mut bytes, mut values) = (Bytes(encoded), Vec::new());
    while !bytes.0.is_empty() {
        match bytes.byte() as u8 as i8 {
            control @ 0.. => {
                let byte = bytes.byte() as u8;
                values.extend(std::iter::repeat_n(byte, control as usize + 3));
            }
            control => (0..-i32::from(control)).for_each(|_| values.push(bytes.byte() as u8)),
        }
    }
    values
}

fn encode(values: &[i64], signed: bool) -> Vec<u8> {
    let mut runs = IntRuns::new(signed, OrcStream::new(OrcCodec::None));
    values.iter().for_each(|value| runs.push(*value));
    runs.take()
}

/// Integers as columns have them: runs, steps, small and large ones, outliers.
fn columns() -> impl Strategy<Value = Vec<i64>> {
    let piece = prop_oneof![
        (any::<i64>(), 1usize..700).prop_map(|(value, count)| vec![value; count]),
        (-1_000_000i64..1_000_000, -50i64..50, 1usize..700)
            .prop_map(|(first, step, count)| (0..count as i64).map(|i| first + step * i).collect()),
        proptest::collection::vec(-100i64..100, 1..300),
        proptest::collection::vec(any::<i64>(), 1..100),
        proptest::collection::vec(0i64..1 << 40, 1..100).prop_map(|mut values| {
            values.sort();
            values
        }),
        proptest::collection::vec(prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), -2i64..3], 1..50),
    ];
    proptest::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn integers_come_back(values in columns()) {
        prop_assert_eq!(ints(&encode(&values, true), true), values.clone());
        let unsigned: Vec<i64> = values.iter().map(|value| value & i64::MAX).collect();
        prop_assert_eq!(ints(&encode(&unsigned, false), false), unsigned);
    }

    #[test]
    fn bytes_and_bits_come_back(pieces in proptest::collection::vec((any::<u8>(), 1usize..300, any::<bool>()), 1..40)) {
        let spread = |(byte, count, same): &(u8, usize, bool)| -> Vec<u8> {
            (0..*count).map(|i| if *same { *byte } else { byte.wrapping_add((i / 2) as u8) }).collect()
        };
        let bytes: Vec<u8> = pieces.iter().flat_map(spread).collect();
        let mut runs = ByteRuns::new(OrcStream::new(OrcCodec::None));
        bytes.iter().for_each(|byte| runs.push(*byte));
        prop_assert_eq!(byte_runs(&runs.take()), bytes.clone());
        let bits: Vec<bool> = bytes.iter().map(|byte| byte % 3 == 0).collect();
        let mut runs = BitRuns::new(OrcStream::new(OrcCodec::None));
        for ones in bits.chunk_by(|a, b| a == b) {
            if ones[0] { runs.push_ones(ones.len()) } else { ones.iter().for_each(|bit| runs.push(*bit)) }
        }
        let packed = byte_runs(&runs.take());
        let read: Vec<bool> = packed.iter().flat_map(|byte| (0..8).map(move |i| byte >> (7 - i) & 1 == 1)).collect();
        prop_assert_eq!(packed.len(), bits.len().div_ceil(8));
        prop_assert_eq!(&read[..bits.len()], bits.as_slice());
    }
}

#[test]
fn runs_are_as_short_as_the_specification_s_examples() {
    assert_eq!(encode(&[10_000; 8], false), [0x0d, 0x27, 0x10]);
    assert_eq!(
        encode(&[23713, 43806, 57005, 48879], false),
        [0x5e, 0x03, 0x5c, 0xa1, 0xab, 0x1e, 0xde, 0xad, 0xbe, 0xef]
    );
    // Steps of three bits, where the example takes four.
    assert_eq!(encode(&[2, 3, 5, 7, 11, 13, 17, 19, 23, 29], false), [0xc4, 0x09, 0x02, 0x02, 0x4a, 0x28, 0xa6]);
    assert!(encode(&[7; 500], true).len() <= 5 && encode(&(0..500).collect::<Vec<_>>(), true).len() <= 5);
}

#[test]
fn chunks_that_would_grow_are_kept_as_they_are() {
    for compression in [OrcCodec::Snappy, OrcCodec::Zlib, OrcCodec::Zstd] {
        let (mut small, mut raw) = (Vec::new(), Vec::new());
        compression.write(&[b'a'; 1000], &mut small);
        assert!(small.len() < 100 && small[0] & 1 == 0, "{compression:?}: {small:?}");
        let noise: Vec<u8> = (0..1000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        compression.write(&noise[..40], &mut raw);
        assert_eq!((raw.len(), &raw[..3], &raw[3..]), (43, &[81, 0, 0][..], &noise[..40]), "{compression:?}");
    }
}
