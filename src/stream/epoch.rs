//! Epochs are facts on disk: every configuration that a record was or will be read under, by hash, durable before the
//! first record is read under it.

use super::route::Route;
use crate::error::{Error, Kind, Result};
use crate::fs::{Fs, read, write_atomically};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;

/// Contents kept by their SHA-256 in one directory: definitions of epochs, and the modules they name.
pub struct Blobs {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}

/// Builds a route from an epoch's definition.
pub trait Routes: Send {
    fn load(&self, definition: &[u8], blobs: &Blobs) -> Result<Route>;
}

pub fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A hash as text.
pub fn hex(hash: &[u8]) -> String {
    hash.iter().map(|b| format!("{b:02x}")).collect()
}

impl Blobs {
    pub fn open(fs: Arc<dyn Fs>, dir: PathBuf) -> Result<Blobs> {
        fs.create_dir_all(&dir).map_err(|e| Error::io(format!("create `{}`", dir.display()), e))?;
        Ok(Blobs { fs, dir })
    }

    /// Keeps `bytes`, durably, and returns their hash.
    pub fn put(&self, bytes: &[u8]) -> Result<[u8; 32]> {
        let hash = hash(bytes);
        let path = self.dir.join(hex(&hash));
        if self.get(&hash).is_ok() {
            return Ok(hash);
        }
        write_atomically(&*self.fs, &path, bytes).map_err(|e| Error::io(format!("keep `{}`", path.display()), e))?;
        Ok(hash)
    }

    /// The contents with this hash; an error if they are missing or damaged.
    pub fn get(&self, wanted: &[u8; 32]) -> Result<Vec<u8>> {
        let path = self.dir.join(hex(wanted));
        let bytes = read(&*self.fs, &path).map_err(|e| Error::io(format!("read `{}`", path.display()), e))?;
        if hash(&bytes) != *wanted {
            let message = format!("`{}` is damaged: its contents do not have the hash that names it", path.display());
            return Err(Error::new(Kind::Corrupt, message));
        }
        Ok(bytes)
    }

    /// Removes everything but the named contents.
    pub fn keep_only(&self, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
        let io = |e| Error::io(format!("tidy `{}`", self.dir.display()), e);
        for name in self.fs.list(&self.dir).map_err(io)? {
            if !wanted(&name) {
                self.fs.remove(&self.dir.join(&name)).map_err(io)?;
            }
        }
        Ok(())
    }
}
