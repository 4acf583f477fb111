//! Values as lines of JSON that end with a checksum, and small files that hold one such line and have a copy.
//!
//! A line ends with `,"crc":"…"}`, the CRC32C of what stands before it in hexadecimal; lines of earlier versions have
//! none, and are read as they are. In a file `,"written":N` stands before that, which counts the file's versions: file and copy
//! may each be whole, and one of them be older than what was written last.

use crate::error::{Error, Kind, Result};
use crate::fs::{self, Fs, copy_of, write_twice};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;

const CRC: &[u8] = b",\"crc\":\"";
/// What stands behind a value's own members: the above, eight digits, and the end.
const CRC_BYTES: usize = CRC.len() + 8 + 2;

/// How often a file has been written; 0 for those of earlier versions, which did not count.
#[derive(Deserialize)]
struct FileVersion {
    #[serde(default)]
    written: u64,
}

/// Appends a value, which is a JSON object with a member at least, its checksum and a newline.
pub fn push(text: &mut Vec<u8>, value: &impl Serialize) {
    seal(text, value, "");
}

/// The same with further members, each with a comma before it.
fn seal(text: &mut Vec<u8>, value: &impl Serialize, further: &str) {
    let start = text.len();
    serde_json::to_writer(&mut *text, value).expect("plain values always serialise into memory");
    debug_assert!(text.ends_with(b"}"));
    text.pop();
    text.extend_from_slice(further.as_bytes());
    let crc = crc32c::crc32c(&text[start..]);
    text.extend_from_slice(CRC);
    text.extend_from_slice(format!("{crc:08x}\"}}\n").as_bytes());
}

/// Reads a line that [`push`] wrote, its newline included or not. Errors: `Corrupt`.
pub fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let corrupt = |why: String| Error::new(Kind::Corrupt, why);
    let (own, crc) = line.split_at(line.len().saturating_sub(CRC_BYTES));
    let alike = CRC.iter().zip(crc).filter(|(expected, found)| expected == found).count();
    if alike + 1 == CRC.len() {
        // One damaged byte does not make a line one of an earlier version, none of which ends with a member of a name like it.
        return Err(corrupt("the name of its checksum is damaged".to_owned()));
    }
    if alike == CRC.len() {
        let (found, expected) = (crc32c::crc32c(own), crc.get(CRC.len()..CRC.len() + 8).unwrap_or_default());
        if format!("{found:08x}").as_bytes() != expected {
            let expected = String::from_utf8_lossy(expected);
            return Err(corrupt(format!("checksum {found:08x}, expected {expected}")));
        }
    }
    serde_json::from_slice(line).map_err(|e| corrupt(e.to_string()))
}

/// Writes a value as a file and a copy of it. Durable when it returns.
pub fn write(fs: &dyn Fs, path: &Path, value: &impl Serialize) -> Result<()> {
    write_version(fs, path, value, version(fs, path) + 1)
}

/// Writes again what is known already: the version stays the same.
pub fn mend(fs: &dyn Fs, path: &Path, value: &impl Serialize) -> Result<()> {
    write_version(fs, path, value, version(fs, path))
}

/// The newest version that can be read; 0 if there is none.
fn version(fs: &dyn Fs, path: &Path) -> u64 {
    let version = |path: &Path| Some(parse::<FileVersion>(&fs::read(fs, path).ok()?).ok()?.written);
    version(path).max(version(&copy_of(path))).unwrap_or(0)
}

fn write_version(fs: &dyn Fs, path: &Path, value: &impl Serialize, written: u64) -> Result<()> {
    let mut text = Vec::new();
    seal(&mut text, value, &format!(",\"written\":{written}"));
    write_twice(fs, path, &text).map_err(|e| Error::io(format!("write `{}`", path.display()), e))
}

/// Whether both the file and its copy can be read, and are the same.
pub fn is_kept_twice(fs: &dyn Fs, path: &Path) -> bool {
    let [file, copy] = [path, &copy_of(path)].map(|path| fs::read(fs, path).ok());
    file.is_some_and(|file| parse::<FileVersion>(&file).is_ok() && copy == Some(file))
}

/// Reads what [`fn@write`] wrote, and writes it again if the file was damaged and read from its copy: what was wrong comes with
/// it, to be shown.
pub fn read_and_mend<T: DeserializeOwned + Serialize>(fs: &dyn Fs, path: &Path) -> Result<Option<(T, Option<String>)>> {
    let found = read(fs, path)?;
    if let Some((value, Some(damage))) = &found
        && let Err(e) = mend(fs, path, value)
    {
        // What can be read is enough; a full disk is no reason not to go on.
        tracing::warn!(damage, error = %e, "a damaged file cannot be written again yet");
    }
    Ok(found)
}

/// Reads what [`fn@write`] wrote, and what of it was damaged. `None`: there is neither file nor copy.
pub fn read<T: DeserializeOwned>(fs: &dyn Fs, path: &Path) -> Result<Option<(T, Option<String>)>> {
    let look = |path: &Path| match fs::read(fs, path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        bytes => Some(
            bytes
                .map_err(|e| Error::io("read it", e))
                .and_then(|bytes| Ok((parse::<T>(&bytes)?, parse::<FileVersion>(&bytes)?.written))),
        ),
    };
    let damaged = |why: &dyn std::fmt::Display| {
        Some(format!("`{}` is damaged, and was read from its copy: {why}", path.display()))
    };
    let found = match (look(path), look(&copy_of(path))) {
        (None, None) => return Ok(None),
        (Some(Ok((_, written))), Some(Ok((value, expected)))) if written < expected => {
            (value, damaged(&format!("it is version {written}, expected {expected}")))
        }
        (Some(Ok((value, _))), _) => (value, None),
        (Some(Err(why)), Some(Ok((value, _)))) => (value, damaged(&why)),
        (None, Some(Ok((value, _)))) => (value, damaged(&"it is not there")),
        (Some(Err(why)), _) | (None, Some(Err(why))) => return Err(why.during(format!("read `{}`", path.display()))),
    };
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::fake::FakeFs;

    #[derive(Serialize, Deserialize)]
    struct Value {
        n: u64,
    }

    #[test]
    fn a_line_whose_checksum_cannot_be_found_is_not_one_of_an_earlier_version() {
        let mut text = Vec::new();
        push(&mut text, &Value { n: 5 });
        for bit in 0..8 * text.len() - 8 {
            let mut flipped = text.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let found = parse::<Value>(&flipped);
            assert!(found.is_err(), "bit {bit}: {}", String::from_utf8_lossy(&flipped));
        }
        for bytes in 0..text.len() {
            assert!(parse::<Value>(&text[bytes..]).is_err() || bytes == 0, "without its first {bytes} bytes");
            assert!(parse::<Value>(&text[..bytes]).is_err() || bytes + 1 == text.len(), "its first {bytes} bytes");
        }
        assert!(parse::<Value>(CRC).is_err());
        assert_eq!(parse::<Value>(b"{\"n\":5}\n").unwrap().n, 5);
    }

    #[test]
    fn an_older_version_of_a_file_is_not_believed_beside_its_copy() {
        let (fs, path) = (FakeFs::new(), Path::new("/FILE"));
        let found = || read::<Value>(&fs, path).unwrap().map(|(value, damage)| (value.n, damage));
        write(&fs, path, &Value { n: 1 }).unwrap();
        let older = fs::read(&fs, path).unwrap();
        write(&fs, path, &Value { n: 2 }).unwrap();
        assert_eq!(found(), Some((2, None)));
        fs.alter(&copy_of(path), |bytes| bytes.clone_from(&older));
        assert_eq!((found(), is_kept_twice(&fs, path)), (Some((2, None)), false));
        write(&fs, path, &Value { n: 3 }).unwrap();
        fs.alter(path, |bytes| bytes.clone_from(&older));
        let (n, damage) = found().unwrap();
        assert!(n == 3 && damage.is_some_and(|damage| damage.contains("version 1, expected 3")));
        read_and_mend::<Value>(&fs, path).unwrap();
        assert_eq!(found(), Some((3, None)));
    }
}
