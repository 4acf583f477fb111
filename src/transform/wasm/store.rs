//! Compiles modules and keeps the result: large ones take seconds to compile and less than a millisecond to read back.
//!
//! An entry is named by what it was made from, the module's SHA-256 and wasmtime's settings, and so never changes. It
//! comes into being by a rename. Nothing depends on it: one that is missing or damaged is made again.

#![expect(clippy::disallowed_methods, reason = "what is kept here is made again if it is lost")]

use super::cache;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Entries kept; the oldest go when there are more.
const ENTRIES_MAX: usize = 64;

/// Compiles a module, or reads it back; `true` if it was read back.
pub(super) fn component(
    engine: &Engine,
    bytes: &[u8],
    sha256: &str,
    dir: Option<&Path>,
) -> wasmtime::Result<(Component, bool)> {
    let Some(dir) = dir else { return Ok((Component::from_binary(engine, bytes)?, false)) };
    let name = format!("{sha256}-{:016x}.cwasm", compatibility(engine));
    if let Some(component) = cache::read(engine, dir, &name) {
        return Ok((component, true));
    }
    let component = Component::from_binary(engine, bytes)?;
    let code = component.serialize()?;
    if let Err(e) = write(dir, &name, &code) {
        tracing::info!("compiled module `{name}` is not kept, it will be compiled again: {e}");
    }
    Ok((component, false))
}

/// Changes whenever compiled code would not fit: version, settings, processor.
fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

fn write(dir: &Path, name: &str, code: &[u8]) -> io::Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    if !cache::is_ours(dir) {
        return Err(io::Error::other(format!("`{}` is another user's, or others may write there", dir.display())));
    }
    let unique = WRITES.fetch_add(1, Ordering::Relaxed);
    let temporary = dir.join(format!(".{}-{unique}.tmp", std::process::id()));
    let written = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&cache::seal(name, code))?;
        file.write_all(code)?;
        fs::rename(&temporary, dir.join(name))
    };
    let done = written();
    match done {
        Ok(()) => prune(dir),
        Err(_) => drop(fs::remove_file(&temporary)),
    }
    done
}

/// Removes the oldest entries, and what writers that died left behind, beyond [`ENTRIES_MAX`].
fn prune(dir: &Path) {
    let Ok(listed) = fs::read_dir(dir) else { return };
    let mut entries: Vec<(SystemTime, PathBuf)> = listed
        .filter_map(|entry| entry.ok())
        .filter(|entry| entry.path().extension().is_some_and(|e| e == "cwasm" || e == "tmp"))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    entries.sort();
    let surplus = entries.len().saturating_sub(ENTRIES_MAX);
    for (_, path) in entries.drain(..surplus) {
        tracing::debug!("compiled module `{}` makes room", path.display());
        drop(fs::remove_file(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_make_room() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..ENTRIES_MAX + 3 {
            write(dir.path(), &format!("{n:03}.cwasm"), b"code").unwrap();
            let file = fs::File::options().write(true).open(dir.path().join(format!("{n:03}.cwasm"))).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n as u64)).unwrap();
        }
        write(dir.path(), "new.cwasm", b"code").unwrap();
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left.len(), ENTRIES_MAX);
        assert_eq!(left[0], "004.cwasm");
    }
}
