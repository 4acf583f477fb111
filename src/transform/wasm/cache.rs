//! Reads compiled code back: the one unsafe call of this crate.
//!
//! An entry is the SHA-256 of its name and its code, 32 bytes, then the code as wasmtime serialises it.
#![allow(unsafe_code)]

use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Bits of a directory's mode by which others than its owner may write into it.
const OTHERS_WRITE: u32 = 0o022;

/// What stands before the code.
pub(super) fn seal(name: &str, code: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(name).chain_update([0]).chain_update(code).finalize().into()
}

/// Whether entries in this directory can only be ours: it belongs to the user we are, and nobody else may write there.
pub(super) fn is_ours(dir: &Path) -> bool {
    fs::metadata(dir).is_ok_and(|dir| {
        dir.is_dir() && dir.uid() == rustix::process::geteuid().as_raw() && dir.mode() & OTHERS_WRITE == 0
    })
}

/// The entry of this name, if it is there, whole, and made for this engine.
pub(super) fn read(engine: &Engine, dir: &Path, name: &str) -> Option<Component> {
    if !is_ours(dir) {
        return None;
    }
    let entry = fs::read(dir.join(name)).ok()?;
    let (sealed, code) = entry.split_first_chunk::<32>()?;
    if *sealed != seal(name, code) {
        tracing::debug!("compiled module `{name}` is damaged");
        return None;
    }
    // SAFETY: `deserialize` has to be given what `serialize` made, unchanged. Only this user can have put the entry
    // into the directory (`is_ours`), this program puts nothing there but `serialize`'s bytes under their seal
    // (`store::write`), and the seal has just shown that these very bytes, in memory, are what was sealed under this
    // name. wasmtime itself refuses code of another version, of other settings or for another processor.
    match unsafe { Component::deserialize(engine, code) } {
        Ok(component) => Some(component),
        Err(e) => {
            tracing::debug!("compiled module `{name}` does not fit: {e:#}");
            None
        }
    }
}
