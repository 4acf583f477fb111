//! Values as lines of JSON that end with a checksum, and small files that hold one such line and have a copy.
//!
//! A line ends with `,"crc":"…"}`, the CRC32C of what stands before it in hexadecimal; lines of earlier versions have
//! none, and are read as they are.

use crate::error::{Error, Kind, Result};
use crate::fs::{Fs, copy_of, read_either, write_twice};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

const CRC: &[u8] = b",\"crc\":\"";
/// What stands behind a value's own members: the above, eight digits, and the end.
const CRC_BYTES: usize = CRC.len() + 8 + 2;

/// Appends a value, which is a JSON object with a member at least, its checksum and a newline.
pub fn push(text: &mut Vec<u8>, value: &impl Serialize) {
    let start = text.len();
    serde_json::to_writer(&mut *text, value).expect("plain values always serialise into memory");
    debug_assert!(text.ends_with(b"}"));
    text.pop();
    let crc = crc32c::crc32c(&text[start..]);
    text.extend_from_slice(CRC);
    text.extend_from_slice(format!("{crc:08x}\"}}\n").as_bytes());
}

/// Reads a line that [`push`] wrote, its newline included or not. Errors: `Corrupt`.
pub fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let corrupt = |why: String| Error::new(Kind::Corrupt, why);
    if let Some((own, crc)) = line.split_at_checked(line.len().saturating_sub(CRC_BYTES))
        && crc.starts_with(CRC)
    {
        let (found, expected) = (crc32c::crc32c(own), &crc[CRC.len()..CRC.len() + 8]);
        if format!("{found:08x}").as_bytes() != expected {
            let expected = String::from_utf8_lossy(expected);
            return Err(corrupt(format!("checksum {found:08x}, expected {expected}")));
        }
    }
    serde_json::from_slice(line).map_err(|e| corrupt(e.to_string()))
}

/// Writes a value as a file and a copy of it. Durable when it returns.
pub fn write(fs: &dyn Fs, path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = Vec::new();
    push(&mut text, value);
    write_twice(fs, path, &text).map_err(|e| Error::io(format!("write `{}`", path.display()), e))
}

/// Reads what [`write`] wrote, and writes it again if the file was damaged and read from its copy: what was wrong comes with
/// it, to be shown.
pub fn read_and_mend<T: DeserializeOwned + Serialize>(fs: &dyn Fs, path: &Path) -> Result<Option<(T, Option<String>)>> {
    let found = read(fs, path)?;
    if let Some((value, Some(damage))) = &found
        && let Err(e) = write(fs, path, value)
    {
        // What can be read is enough; a full disk is no reason not to go on.
        tracing::warn!(damage, error = %e, "a damaged file cannot be written again yet");
    }
    Ok(found)
}

/// Reads what [`write`] wrote, and what of it was damaged. `None`: there is neither file nor copy.
pub fn read<T: DeserializeOwned>(fs: &dyn Fs, path: &Path) -> Result<Option<(T, Option<String>)>> {
    let act = || format!("read `{}`", path.display());
    let is_there = |path: &Path| match fs.open(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(act(), e)),
    };
    if !is_there(path)? && !is_there(&copy_of(path))? {
        return Ok(None);
    }
    let parse = |bytes: &[u8]| parse(bytes).map_err(|e| e.during(act()));
    read_either(fs, path, |e| Error::io(act(), e), parse).map(Some)
}
