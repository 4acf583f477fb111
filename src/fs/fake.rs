//! A disk in memory that keeps apart what was written and what was synced, and can stop at any operation.
//!
//! A life ends when the operation counter reaches [`FakeFs::crash_at`]: from then on every call fails, as it does for
//! a process that is no more. [`FakeFs::after_kill`] is the disk the next process finds after `kill -9` (the page
//! cache survives, still unsynced), [`FakeFs::after_power_cut`] what it finds after the power went: of every unsynced
//! write any subset of its 512-byte sectors, of unsynced names any prefix.

use super::{File, Fs};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Inode {
    synced: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<(u64, Vec<u8>)>,
    /// Reads fail, as of a sector that the medium cannot read, until it is written again.
    is_unreadable: bool,
}

/// A change of names that reaches the disk whole or not at all (a rename sets one name and clears another).
type NameChange = Vec<(PathBuf, Option<usize>)>;

#[derive(Clone, Default)]
struct Disk {
    inodes: Vec<Inode>,
    synced: BTreeMap<PathBuf, usize>,
    current: BTreeMap<PathBuf, usize>,
    unsynced: Vec<NameChange>,
    operations: u64,
    crash_at: Option<u64>,
    capacity: Option<u64>,
    failing_syncs: u32,
}

/// A disk in memory that can stop, tear, fill and be damaged. Clones share the disk.
#[derive(Clone, Default)]
pub struct FakeFs(Arc<Mutex<Disk>>);

struct FakeFile {
    disk: Arc<Mutex<Disk>>,
    inode: usize,
}

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().expect("no holder of the disk panics")
}

impl FakeFs {
    pub fn new() -> Self {
        FakeFs::default()
    }

    /// Changes so far (writes, syncs, names); reads do not count.
    pub fn operations(&self) -> u64 {
        lock(&self.0).operations
    }

    /// Ends this life at the operation with this number (counted from 1).
    pub fn crash_at(&self, operation: u64) {
        lock(&self.0).crash_at = Some(operation);
    }

    /// Files ever created.
    pub fn files_created(&self) -> usize {
        lock(&self.0).inodes.len()
    }

    pub fn crashed(&self) -> bool {
        lock(&self.0).is_over()
    }

    /// Bytes that all files together hold.
    pub fn used(&self) -> u64 {
        lock(&self.0).used()
    }

    /// Bytes all files together may hold; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.0).capacity = bytes;
    }

    /// The next `n` syncs fail and, as on Linux, leave the pages looking clean although they were not written.
    pub fn fail_syncs(&self, n: u32) {
        lock(&self.0).failing_syncs = n;
    }

    /// The disk after `kill -9`.
    pub fn after_kill(&self) -> FakeFs {
        let mut disk = lock(&self.0).clone();
        disk.crash_at = None;
        disk.operations = 0;
        FakeFs(Arc::new(Mutex::new(disk)))
    }

    /// The disk after a power cut. `keep` is asked for each unsynced sector and answers whether it had reached the
    /// medium; names survive up to the first refusal.
    pub fn after_power_cut(&self, keep: &mut dyn FnMut() -> bool) -> FakeFs {
        let old = lock(&self.0);
        let mut disk = Disk { synced: old.synced.clone(), capacity: old.capacity, ..Disk::default() };
        for inode in &old.inodes {
            let mut bytes = inode.synced.clone();
            for (offset, written) in &inode.unsynced {
                for (i, sector) in written.chunks(SECTOR).enumerate() {
                    if keep() {
                        put(&mut bytes, *offset as usize + i * SECTOR, sector);
                    }
                }
            }
            let is_unreadable = inode.is_unreadable;
            disk.inodes.push(Inode { synced: bytes.clone(), current: bytes, unsynced: Vec::new(), is_unreadable });
        }
        for names in &old.unsynced {
            if !keep() {
                break;
            }
            apply(&mut disk.synced, names);
        }
        disk.current = disk.synced.clone();
        FakeFs(Arc::new(Mutex::new(disk)))
    }

    /// Takes everything below `dir` away, as if that disk had been replaced by an empty one.
    pub fn replace(&self, dir: &Path) {
        let mut disk = lock(&self.0);
        disk.current.retain(|path, _| !path.starts_with(dir));
        disk.synced.retain(|path, _| !path.starts_with(dir));
        disk.unsynced.retain(|names| names.iter().all(|(path, _)| !path.starts_with(dir)));
    }

    /// Flips one bit of a file, synced and all.
    pub fn flip_bit(&self, path: &Path, offset: usize) {
        self.alter(path, |bytes| bytes.get_mut(offset).into_iter().for_each(|byte| *byte ^= 1));
    }

    /// Has reads of a file fail as those of a sector that cannot be read, until something is written to it.
    pub fn stop_reading(&self, path: &Path) {
        let mut disk = lock(&self.0);
        let inode = disk.current[path];
        disk.inodes[inode].is_unreadable = true;
    }

    /// Changes what a file holds, synced and all, as a medium does that does not keep what was written.
    pub fn alter(&self, path: &Path, change: impl Fn(&mut Vec<u8>)) {
        let mut disk = lock(&self.0);
        let inode = disk.current[path];
        change(&mut disk.inodes[inode].current);
        change(&mut disk.inodes[inode].synced);
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
    if bytes.len() < at + written.len() {
        bytes.resize(at + written.len(), 0);
    }
    bytes[at..at + written.len()].copy_from_slice(written);
}

fn apply(map: &mut BTreeMap<PathBuf, usize>, names: &NameChange) {
    for (path, inode) in names {
        match inode {
            Some(i) => map.insert(path.clone(), *i),
            None => map.remove(path),
        };
    }
}

impl Disk {
    fn is_over(&self) -> bool {
        self.crash_at.is_some_and(|at| self.operations >= at)
    }

    fn alive(&self) -> io::Result<()> {
        if self.is_over() { Err(io::Error::other("the process is no more")) } else { Ok(()) }
    }

    /// Counts a change. The change that hits the limit still happens, unsynced; the process sees an error.
    fn change(&mut self) -> io::Result<bool> {
        self.alive()?;
        self.operations += 1;
        Ok(self.is_over())
    }

    fn rename_all(&mut self, names: NameChange) -> io::Result<()> {
        let last = self.change()?;
        apply(&mut self.current, &names);
        self.unsynced.push(names);
        if last { self.alive() } else { Ok(()) }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.current
            .get(path)
            .copied()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, path.display().to_string()))
    }

    fn absent(&self, path: &Path) -> io::Result<()> {
        match self.current.contains_key(path) {
            true => Err(io::Error::new(io::ErrorKind::AlreadyExists, path.display().to_string())),
            false => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        self.current.values().map(|&i| self.inodes[i].current.len() as u64).sum()
    }
}

impl File for FakeFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        let last = disk.change()?;
        let grows = (offset + bytes.len() as u64).saturating_sub(disk.inodes[self.inode].current.len() as u64);
        if grows > 0 && disk.capacity.is_some_and(|c| disk.used() + grows > c) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on the fake disk"));
        }
        let inode = &mut disk.inodes[self.inode];
        put(&mut inode.current, offset as usize, bytes);
        inode.is_unreadable = false;
        inode.unsynced.push((offset, bytes.to_vec()));
        if last { disk.alive() } else { Ok(()) }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = lock(&self.disk);
        disk.alive()?;
        let inode = &disk.inodes[self.inode];
        if inode.is_unreadable {
            return Err(rustix::io::Errno::IO.into());
        }
        let bytes = &inode.current;
        let from = (offset as usize).min(bytes.len());
        let n = buf.len().min(bytes.len() - from);
        buf[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        if disk.change()? {
            return disk.alive();
        }
        let failing = disk.failing_syncs > 0;
        if failing {
            disk.failing_syncs -= 1;
        }
        let inode = &mut disk.inodes[self.inode];
        inode.unsynced.clear();
        if failing {
            return Err(io::Error::other("the fake disk refused to sync"));
        }
        inode.synced = inode.current.clone();
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let disk = lock(&self.disk);
        disk.alive()?;
        Ok(disk.inodes[self.inode].current.len() as u64)
    }
}

impl Fs for FakeFs {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        lock(&self.0).alive()
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut disk = lock(&self.0);
        disk.absent(path)?;
        let inode = disk.inodes.len();
        disk.inodes.push(Inode::default());
        disk.rename_all(vec![(path.to_path_buf(), Some(inode))])?;
        Ok(Arc::new(FakeFile { disk: self.0.clone(), inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let disk = lock(&self.0);
        disk.alive()?;
        Ok(Arc::new(FakeFile { disk: self.0.clone(), inode: disk.find(path)? }))
    }

    fn open_direct(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        self.open(path).map(Some)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = lock(&self.0);
        let inode = disk.find(from)?;
        disk.rename_all(vec![(from.to_path_buf(), None), (to.to_path_buf(), Some(inode))])
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = lock(&self.0);
        let inode = disk.find(from)?;
        disk.absent(to)?;
        disk.rename_all(vec![(to.to_path_buf(), Some(inode))])
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = lock(&self.0);
        disk.find(path)?;
        disk.rename_all(vec![(path.to_path_buf(), None)])
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = lock(&self.0);
        disk.alive()?;
        let names = disk.current.keys().filter(|p| p.parent() == Some(dir));
        Ok(names.filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = lock(&self.0);
        if disk.change()? {
            return disk.alive();
        }
        // A journaling file system commits names in order: what came before in other directories goes along.
        if let Some(last) = disk.unsynced.iter().rposition(|names| names.iter().any(|(p, _)| p.parent() == Some(dir))) {
            let done: Vec<NameChange> = disk.unsynced.drain(..=last).collect();
            for names in &done {
                apply(&mut disk.synced, names);
            }
        }
        Ok(())
    }
}
