//! Epochs are facts on disk: every configuration that a record was or will be read under, by hash, durable before the
//! first record is read under it.

use super::objects::StateObjects;
use crate::error::{Error, Kind, Result};
use crate::fs::{COPY, Fs, copy_of, read, write_atomically, write_copy, write_twice};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Contents kept by their SHA-256 in one directory: definitions of epochs, and the modules they name.
pub struct Blobs {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// Where other nodes find them too.
    objects: Option<Arc<StateObjects>>,
}

/// Contents up to this size have a copy beside them, in bytes; modules that are larger stand in a file of the user's too.
const COPIED_BYTES_MAX: usize = 1 << 20;

/// Among objects.
const KIND: &str = "epochs";

pub fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A hash as text.
pub fn hex(hash: &[u8]) -> String {
    hash.iter().map(|b| format!("{b:02x}")).collect()
}

/// The hash that [`hex`] wrote.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

impl Blobs {
    pub fn open(fs: Arc<dyn Fs>, dir: PathBuf, objects: Option<Arc<StateObjects>>) -> Result<Blobs> {
        fs.create_dir_all(&dir).map_err(|e| Error::io(format!("create `{}`", dir.display()), e))?;
        Ok(Blobs { fs, dir, objects })
    }

    /// Keeps `bytes`, and returns their hash. They are durable when [`Blobs::settle`] has returned: what a life before has put
    /// here may have been named and not been synced when that ended.
    pub fn put(&self, bytes: &[u8]) -> Result<[u8; 32]> {
        let hash = hash(bytes);
        let path = self.dir.join(hex(&hash));
        let stands = |path: &Path| read(&*self.fs, path).is_ok_and(|found| found == bytes);
        if stands(&path) {
            if bytes.len() <= COPIED_BYTES_MAX && !stands(&copy_of(&path)) {
                // A copy is worth having, and no reason to fail on a full disk.
                let _ = write_copy(&*self.fs, &path, bytes);
            }
            return Ok(hash);
        }
        if let Some(objects) = &self.objects {
            objects.put(KIND, bytes)?;
        }
        // Last: what is here is there too.
        let io = |e| Error::io(format!("keep `{}`", path.display()), e);
        match bytes.len() <= COPIED_BYTES_MAX {
            true => write_twice(&*self.fs, &path, bytes).map_err(io)?,
            false => write_atomically(&*self.fs, &path, bytes).map_err(io)?,
        }
        Ok(hash)
    }

    /// Makes everything that was put durable.
    pub fn settle(&self) -> Result<()> {
        self.fs.sync_dir(&self.dir).map_err(|e| Error::io(format!("sync `{}`", self.dir.display()), e))
    }

    /// The contents with this hash; an error if they are missing or damaged.
    pub fn get(&self, wanted: &[u8; 32]) -> Result<Vec<u8>> {
        match (self.get_here(wanted), &self.objects) {
            (Err(_), Some(objects)) => objects.get(&objects.name(KIND, wanted)),
            (here, _) => here,
        }
    }

    fn get_here(&self, wanted: &[u8; 32]) -> Result<Vec<u8>> {
        let path = self.dir.join(hex(wanted));
        let look = |path: &Path| {
            let bytes = read(&*self.fs, path).map_err(|e| Error::io(format!("read `{}`", path.display()), e))?;
            match hash(&bytes) == *wanted {
                true => Ok(bytes),
                false => {
                    let message =
                        format!("`{}` is damaged: its contents do not have the hash that names it", path.display());
                    Err(Error::new(Kind::Corrupt, message))
                }
            }
        };
        look(&path).or_else(|why| look(&copy_of(&path)).map_err(|_| why))
    }

    /// Removes everything but the named contents.
    pub fn keep_only(&self, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
        let io = |e| Error::io(format!("tidy `{}`", self.dir.display()), e);
        for name in self.fs.list(&self.dir).map_err(io)? {
            if !wanted(name.strip_suffix(COPY).unwrap_or(&name)) {
                self.fs.remove(&self.dir.join(&name)).map_err(io)?;
            }
        }
        Ok(())
    }
}
