//! The only door to the disk: journal, plan log, ledger, epochs and the local destination go through these two traits,
//! so that the same code runs on a real file system and on one that crashes, tears and fills on command.
//!
//! What the traits promise is what POSIX promises and no more: written bytes are durable after [`File::sync`], a name
//! (created, renamed, linked, removed) after [`Fs::sync_dir`] of its directory.

pub mod fake;
pub mod frontier;
pub mod real;
pub mod unsynced;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open file: positioned reads and writes only, from any thread.
pub trait File: Send + Sync {
    /// Writes all of `bytes` at `offset`, growing the file if it must. May be torn by a crash until synced.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset` over what was written and synced there before, and makes them durable. After an
    /// error the state on disk is unknown.
    fn write_synced_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)?;
        self.sync()
    }
    /// Reads up to `buf.len()` bytes; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes written bytes and the length durable (`fdatasync`). After an error the state on disk is unknown.
    fn sync(&self) -> io::Result<()>;
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
}

/// A file system. Paths are absolute or relative to the process, never built from user data.
pub trait Fs: Send + Sync + 'static {
    /// Creates the directory and its parents; durable when it returns.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Creates a file; `AlreadyExists` if the name is taken.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// The same two for what is delivered, which others may look at as far as the process's umask lets them.
    fn create_public_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.create_dir_all(dir)
    }
    fn create_public(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.create_new(path)
    }
    /// Lets others look at a file that was made by [`Fs::create_new`] as at one of [`Fs::create_public`].
    fn make_public(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file for writes that bypass the page cache: buffer, offset and length of every write are
    /// multiples of [`DIRECT_ALIGN`]. `None` where the file system cannot; such a file is opened as usual.
    fn open_direct(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>>;
    /// Replaces `to` atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// A second name for a file; `AlreadyExists` if `to` is taken.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names of the directory's entries, sorted; empty if there is no such directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes created, renamed and removed names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// What direct writes are aligned to, in bytes: the largest block that a disk in use asks for.
pub const DIRECT_ALIGN: usize = 4096;

/// Where a file's copy stands: see [`write_twice`].
pub fn copy_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(COPY);
    name.into()
}

/// What names of copies end with.
pub const COPY: &str = ".copy";

/// Writes a file as [`write_atomically`] does, and a copy of it: what the medium takes from one stands in the other.
pub fn write_twice(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_atomically(fs, path, bytes)?;
    write_copy(fs, path, bytes)
}

/// Writes the copy of a file that is durable. The copy is not synced: after a power cut it may be missing or torn, as if it
/// had never been made. One that cannot be written is counted as well as returned: most callers do without it.
pub fn write_copy(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let copy = copy_of(path);
    let written = match fs.remove(&copy) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => fs.create_new(&copy).and_then(|file| file.write_all_at(bytes, 0)),
    };
    written.inspect_err(|_| count_missing_copy())
}

/// Counts a copy of state that could not be written: until the next one is, damage to its file cannot be mended from it.
pub fn count_missing_copy() {
    metrics::counter!("hydrant_state_copies_failed").increment(1);
}

/// Opens a file for reading and writing, or makes it. Its name is not durable yet if it was made.
pub fn open_or_create(fs: &dyn Fs, path: &Path) -> io::Result<Arc<dyn File>> {
    match fs.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => fs.create_new(path),
        other => other,
    }
}

/// What there is of a file.
pub enum FileLook {
    Absent,
    /// The medium does not give back what was written.
    Unreadable(io::Error),
    Bytes(Vec<u8>),
}

/// Reads a whole file of which there is a copy. Errors: those that say nothing of the file, as a want of descriptors.
pub fn look(fs: &dyn Fs, path: &Path) -> io::Result<FileLook> {
    use rustix::io::Errno;
    let is_of_medium = |e: &io::Error| {
        let errno = Errno::from_io_error(e);
        [Errno::IO, Errno::UCLEAN, Errno::BADMSG].iter().any(|damaged| errno == Some(*damaged))
    };
    match read(fs, path) {
        Ok(bytes) => Ok(FileLook::Bytes(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(FileLook::Absent),
        Err(e) if is_of_medium(&e) => Ok(FileLook::Unreadable(e)),
        Err(e) => Err(e),
    }
}

/// Reads a whole file.
pub fn read(fs: &dyn Fs, path: &Path) -> io::Result<Vec<u8>> {
    read_file(&*fs.open(path)?)
}

/// Reads everything from an open file.
pub fn read_file(file: &dyn File) -> io::Result<Vec<u8>> {
    let mut out = vec![0; file.size()? as usize];
    let n = read_full_at(file, &mut out, 0)?;
    out.truncate(n);
    Ok(out)
}

/// Fills `buf` from `offset`; fewer bytes only at the end of the file.
pub fn read_full_at(file: &dyn File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset + done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}

/// Writes `bytes` as a new file under a temporary name, syncs it, and gives it its name: a reader sees all of it or
/// nothing, also after a crash. An existing file of that name is replaced.
pub fn write_atomically(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().expect("a file has a directory");
    let temporary = path.with_extension("tmp");
    match fs.remove(&temporary) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let file = fs.create_new(&temporary)?;
    file.write_all_at(bytes, 0)?;
    file.sync()?;
    fs.rename(&temporary, path)?;
    fs.sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_cannot_be_written_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let copies_of =
            |path: &Path| metrics::with_local_recorder(&recorder, || write_copy(&real::RealFs, path, b"state"));
        assert!(copies_of(&dir.path().join("META")).is_ok());
        assert!(!recorder.handle().render().contains("hydrant_state_copies_failed"));
        assert!(copies_of(&dir.path().join("missing").join("META")).is_err());
        assert!(recorder.handle().render().contains("hydrant_state_copies_failed 1"));
    }
}
