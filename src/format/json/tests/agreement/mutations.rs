//! Bytes that are changed.

use super::rng::SplitMix;

/// What is put between the bytes of a record.
const PIECES: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"/",
    b" ",
    b"\n",
    b"\r",
    b"\t",
    b"\0",
    b"\x01",
    b"\x1f",
    b"\x7f",
    b"\x0c",
    b"0",
    b"9",
    b"-",
    b"+",
    b".",
    b"e",
    b"E",
    b"00",
    b"null",
    b"true",
    b"false",
    b"nul",
    b"NaN",
    b"{}",
    b"[]",
    b"\"\"",
    b"null,",
    b"\"a\":",
    b",1",
    b"\\u",
    b"\\u00",
    b"\\ud800",
    b"\\udc00",
    b"\\ud83d\\ude00",
    b"\\u0000",
    b"\\x",
    b"\\n",
    b"\\\"",
    b"\\\\",
    b"\x80",
    b"\xff",
    b"\xc0\x80",
    b"\xc3",
    b"\xc3\xa4",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\xf0\x9f\x98\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x80\xa8",
    b"\xc2\xa0",
    b"/*a*/",
    b"'",
    b"'a'",
    b"7",
    b" 7 ",
    b"\"x\"",
    b"{\"a\":1}",
    b"[1]",
];

/// Changes a record in one place or a few.
pub(super) fn mutate(rng: &mut SplitMix, record: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(8) / 5 {
        let at = rng.below(record.len() + 1);
        let end = (at + 1 + rng.below(4) * rng.below(4)).min(record.len());
        match rng.below(12) {
            0 | 1 if at < record.len() => record[at] ^= 1 << rng.below(8),
            2 if at < record.len() => record[at] = rng.bits() as u8,
            3 | 4 => drop(record.drain(at..end)),
            5 => record.truncate(at),
            6 => {
                let copied = record[at..end].to_vec();
                let to = rng.below(record.len() + 1);
                drop(record.splice(to..to, copied));
            }
            7 | 8 => drop(record.splice(at..end, rng.pick(PIECES).iter().copied())),
            _ => drop(record.splice(at..at, rng.pick(PIECES).iter().copied())),
        }
    }
}
