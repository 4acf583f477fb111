//! The machine's file system without its syncs, for what is made aside, and becomes durable as a whole with
//! [`sync_all`] before anything relies on it.

use super::real::RealFs;
use super::{File, Fs};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The machine's file system without its syncs.
pub struct UnsyncedFs;

struct UnsyncedFile(Arc<dyn File>);

/// Makes everything durable that was written to the file system that `dir` is on.
pub fn sync_all(dir: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(std::fs::File::open(dir)?)?)
}

impl File for UnsyncedFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

fn unsynced(file: Arc<dyn File>) -> Arc<dyn File> {
    Arc::new(UnsyncedFile(file))
}

impl Fs for UnsyncedFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        super::real::directories().create(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        RealFs.create_new(path).map(unsynced)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        RealFs.open(path).map(unsynced)
    }

    fn open_direct(&self, _path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        Ok(None)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFs.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFs.list(dir)
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
}
