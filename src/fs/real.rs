//! The machine's file system.

#![expect(clippy::disallowed_methods, reason = "this is the door to the disk")]

use super::{File, Fs};
use rustix::fs::Mode;
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// Files 0600, directories 0700: records are nobody else's business. What is delivered is others' too, as the umask says.
pub struct RealFs;

const FILE: u32 = 0o600;
const DIR: u32 = 0o700;
const PUBLIC_FILE: u32 = 0o666;
const PUBLIC_DIR: u32 = 0o777;

/// What new files do not allow. Linux tells; elsewhere it has to be set to be known, for a moment to the strictest.
static UMASK: LazyLock<u32> = LazyLock::new(|| {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let told = status.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok());
    told.unwrap_or_else(|| {
        let umask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
        rustix::process::umask(umask);
        umask.bits() as u32
    })
});

fn create_dirs(dir: &Path, mode: u32) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        create_dirs(parent, mode)?;
    }
    match fs::DirBuilder::new().mode(mode).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => RealFs.sync_dir(parent),
        _ => RealFs.sync_dir(Path::new(".")),
    }
}

fn create(path: &Path, mode: u32) -> io::Result<Arc<dyn File>> {
    let file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)?;
    Ok(Arc::new(RealFile(file)))
}

struct RealFile(fs::File);

/// Makes directories with their parents.
pub(super) fn directories() -> fs::DirBuilder {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(DIR);
    builder
}

impl File for RealFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    /// One call instead of two where the kernel has it (`RWF_DSYNC`), a fifth faster for a small write.
    fn write_synced_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let rest = [IoSlice::new(&bytes[done..])];
            match pwritev2(&self.0, &rest, offset + done as u64, ReadWriteFlags::DSYNC) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(Errno::NOSYS | Errno::OPNOTSUPP) => {
                    self.write_all_at(&bytes[done..], offset + done as u64)?;
                    return self.sync();
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buf, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl Fs for RealFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        create_dirs(dir, DIR)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        create(path, FILE)
    }

    fn create_public_dir_all(&self, dir: &Path) -> io::Result<()> {
        create_dirs(dir, PUBLIC_DIR)
    }

    fn create_public(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        create(path, PUBLIC_FILE)
    }

    fn make_public(&self, path: &Path) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(PUBLIC_FILE & !*UMASK))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(fs::OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn open_direct(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        let flags = rustix::fs::OFlags::DIRECT.bits() as i32;
        match fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
            Ok(file) => Ok(Some(Arc::new(RealFile(file)))),
            // tmpfs, for one, has no direct writes.
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut names =
            entries.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }
}
