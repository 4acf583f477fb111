//! The few encodings that everything a stream persists is made of: varints, and byte strings behind their length.

use crate::error::{Error, Kind, Result};

pub fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends several numbers.
pub fn put_varints(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = u64>) {
    numbers.into_iter().for_each(|n| put_varint(out, n));
}

pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes a varint off the front; `None` where there is none.
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= ((byte & 0x7F) as u64) << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

/// Reads what the `put_` functions wrote. Bytes behind a true checksum that cannot be read are `Corrupt`.
pub struct EntryReader<'a>(pub &'a [u8]);

impl<'a> EntryReader<'a> {
    fn short() -> Error {
        Error::new(Kind::Corrupt, "an entry ends too early")
    }

    pub fn varint(&mut self) -> Result<u64> {
        take_varint(&mut self.0).ok_or_else(Self::short)
    }

    pub fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n).ok_or_else(Self::short)?;
        self.0 = rest;
        Ok(head)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("exactly N bytes were taken"))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let n = self.varint()?;
        self.take(n as usize)
    }

    pub fn text(&mut self) -> Result<String> {
        let bytes = self.bytes()?.to_vec();
        String::from_utf8(bytes).map_err(|_| Error::new(Kind::Corrupt, "a persisted text is not UTF-8"))
    }
}
