//! A directory as the bucket: the same names, the same effectively-once rule.
//!
//! An object's bytes are synced under another name (its scratch file, or a temporary one where that lies on another file
//! system) and given their own by `link`, which fails if the name is taken; then the directory is synced. The name
//! carries the plan's id, so a taken name is this plan's own object, whole, from an attempt whose end was not seen.
//! Who else may look at objects is what the process's umask says.

pub mod settings;

use super::object::Failure;
use super::{Attempt, PIECE_BYTES, Shelf, Shipment, Sink, Spool};
use crate::fs::{File, Fs};
use crate::sabotage;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

const UUID_CHARS: usize = 36;

/// A directory that takes objects.
pub struct LocalSink {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    /// In the names of unfinished files, where somebody else may be at the same object.
    mine: String,
}

impl LocalSink {
    pub fn new(fs: Arc<dyn Fs>, root: PathBuf) -> Self {
        LocalSink { fs, root, mine: String::new() }
    }

    /// A directory to which other nodes may write the same objects.
    pub fn shared(fs: Arc<dyn Fs>, root: PathBuf) -> Self {
        LocalSink { fs, root, mine: format!("-{}", Uuid::new_v4()) }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the directory if it is not there.
    pub fn make(&self) -> io::Result<()> {
        self.fs.create_public_dir_all(&self.root)
    }

    /// An object's name as a path below the root: prefixes may begin with `/` or hold `//`, which mean nothing here.
    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name.split('/').filter(|s| !s.is_empty()).collect::<PathBuf>())
    }

    /// Whether the directory itself cannot be, since what should hold it is a file.
    fn is_nowhere(&self) -> bool {
        matches!(self.fs.open(&self.root), Err(e) if e.kind() == ErrorKind::NotADirectory)
    }

    /// Whether the name was free, and the tag of what now stands there.
    fn write(&self, shipment: &Shipment) -> io::Result<(bool, String)> {
        let path = self.path(&shipment.name);
        let dir = path.parent().expect("an object's path has a directory");
        self.fs.create_public_dir_all(dir)?;
        if let Some(scratch) = shipment.body.whole() {
            // Where modes cannot be set nobody goes by them.
            let _ = self.fs.make_public(scratch.path);
            scratch.file.sync()?;
            let linked = self.fs.link(scratch.path, &path);
            sabotage::point("upload.linked");
            if !matches!(&linked, Err(e) if e.kind() == ErrorKind::CrossesDevices) {
                return self.named(linked, &path, scratch.crc32c);
            }
        }
        let temporary = dir.join(format!(".{}{}.tmp", shipment.id, self.mine));
        self.remove_if_there(&temporary)?;
        let file = self.fs.create_public(&temporary)?;
        let written = copy(shipment, &*file)?;
        file.sync()?;
        let linked = self.fs.link(&temporary, &path);
        sabotage::point("upload.linked");
        self.remove_if_there(&temporary)?;
        self.named(linked, &path, written)
    }

    /// What came of giving an object its name, durable.
    fn named(&self, linked: io::Result<()>, path: &Path, crc32c: u32) -> io::Result<(bool, String)> {
        let free = match linked {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => false,
            other => other.map(|()| true)?,
        };
        // Also for a taken name: the attempt that linked it may have died before its directory was synced.
        self.fs.sync_dir(path.parent().expect("an object's path has a directory"))?;
        let tag = if free { tag(crc32c) } else { file_tag(&*self.fs.open(path)?)? };
        Ok((free, tag))
    }

    fn remove_if_there(&self, path: &Path) -> io::Result<()> {
        match self.fs.remove(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// Writes the body and returns its CRC32C.
fn copy(shipment: &Shipment, file: &dyn File) -> io::Result<u32> {
    let (mut at, mut crc) = (0, 0);
    while at < shipment.body.len() {
        let n = PIECE_BYTES.min((shipment.body.len() - at) as usize);
        let piece = shipment.body.read(at, n)?;
        crc = crc32c::crc32c_append(crc, &piece);
        file.write_all_at(&piece, at)?;
        at += n as u64;
    }
    Ok(crc)
}

fn tag(crc: u32) -> String {
    format!("crc32c:{crc:08x}")
}

/// The tag of a file's contents, to be compared with the one that its ledger line keeps.
pub fn file_tag(file: &dyn File) -> io::Result<String> {
    let (mut at, mut crc) = (0, 0);
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read_at(&mut piece, at)? {
            0 => return Ok(tag(crc)),
            n => {
                crc = crc32c::crc32c_append(crc, &piece[..n]);
                at += n as u64;
            }
        }
    }
}

/// Whether it is a file that is being written: an object's name may begin with a dot too, and end with any extension.
fn is_temporary(name: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
    inner.and_then(|inner| inner.get(..UUID_CHARS)).is_some_and(|id| Uuid::try_parse(id).is_ok())
}

fn failure(e: io::Error, what: &str, path: &Path) -> Failure {
    let (misconfigured, gone) = (e.kind() == ErrorKind::PermissionDenied, e.kind() == ErrorKind::NotFound);
    Failure { misconfigured, nowhere: false, gone, reason: format!("{what} `{}`: {e}", path.display()) }
}

impl Shelf for LocalSink {
    fn list(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        // A prefix may end within a name.
        let whole: String = prefix.split_inclusive('/').filter(|s| s.ends_with('/')).collect();
        let (mut found, mut dirs) = (Vec::new(), vec![whole]);
        while let Some(dir) = dirs.pop() {
            let path = self.path(&dir);
            let entries = match self.fs.list(&path) {
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
                entries => entries.map_err(|e| failure(e, "list", &path))?,
            };
            for entry in entries.into_iter().filter(|e| !is_temporary(e)) {
                let name = format!("{dir}{entry}");
                match path.join(&entry).is_dir() {
                    true => dirs.push(format!("{name}/")),
                    false => found.push(name),
                }
            }
        }
        found.retain(|name| name.starts_with(prefix));
        found.sort();
        Ok(found)
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        let path = self.path(name);
        match self.fs.remove(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            done => done.map_err(|e| failure(e, "remove", &path)),
        }
    }

    fn fetch(&self, name: &str, to: &mut Spool) -> Result<(), Failure> {
        let path = self.path(name);
        let file = self.fs.open(&path).map_err(|e| failure(e, "open", &path))?;
        let (mut at, mut piece) = (0, vec![0; 1 << 20]);
        loop {
            match file.read_at(&mut piece, at).map_err(|e| failure(e, "read", &path))? {
                0 => return Ok(()),
                n => {
                    to.tail().extend_from_slice(&piece[..n]);
                    at += n as u64;
                    // Without room for scratch it stays in memory.
                    let _ = to.settle();
                }
            }
        }
    }
}

impl Sink for LocalSink {
    fn attempt(&self, shipment: &Shipment) -> Attempt {
        let at = || format!("`{}`", self.path(&shipment.name).display());
        if shipment.only_look {
            return match self.fs.open(&self.path(&shipment.name)).and_then(|file| file_tag(&*file)) {
                Ok(tag) => Attempt::Stored { tag },
                Err(e) if e.kind() == ErrorKind::NotFound => Attempt::Absent,
                Err(e) => Attempt::Retry { reason: format!("look at {}: {e}", at()) },
            };
        }
        match self.write(shipment) {
            Ok((true, tag)) => Attempt::Stored { tag },
            Ok((false, tag)) if shipment.name.contains(&shipment.id.to_string()) => Attempt::Stored { tag },
            Ok((false, _)) => Attempt::Foreign,
            Err(e) if e.kind() == ErrorKind::NotADirectory && self.is_nowhere() => {
                Attempt::Nowhere { reason: format!("write {}: {e}", at()) }
            }
            Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::NotADirectory) => {
                Attempt::Misconfigured { reason: format!("write {}: {e}", at()) }
            }
            Err(e) => Attempt::Retry { reason: format!("write {}: {e}", at()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::real::RealFs;

    #[test]
    fn only_what_is_being_written_is_left_out_of_a_list() {
        let dir = tempfile::tempdir().unwrap();
        let local = LocalSink::new(Arc::new(RealFs), dir.path().to_owned());
        let unfinished = [format!(".{}.tmp", Uuid::new_v4()), format!(".{}-{}.tmp", Uuid::new_v4(), Uuid::new_v4())];
        let objects = [".clicks-1-2026-11-24.tmp", ".tmp", "clicks.tmp"];
        #[expect(clippy::disallowed_methods, reason = "a test")]
        for name in unfinished.iter().map(String::as_str).chain(objects) {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        assert_eq!(local.list("").unwrap(), objects);
    }
}
