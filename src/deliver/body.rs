//! The bytes of an object before it is delivered: in memory while they are few, in an unsynced scratch file beyond.
//! Scratch is never needed after a restart: an open plan is rebuilt from its lane.

use crate::error::{Error, Result};
use crate::fs::real::RealFs;
use crate::fs::{File, Fs};
use crate::record::index::Index;
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// An object being filled.
pub struct Spool {
    scratch: Arc<Scratch>,
    memory: Vec<u8>,
    memory_bytes_max: usize,
    file: Option<(PathBuf, Arc<dyn File>)>,
    in_file: u64,
    /// CRC32C of what is in the file.
    crc: u32,
}

/// Where scratch files live, and when a spool goes there.
pub struct Scratch {
    pub fs: Arc<dyn Fs>,
    pub dir: PathBuf,
    pub memory_bytes_max: usize,
}

/// A finished object.
pub struct Body {
    scratch: Arc<Scratch>,
    memory: Bytes,
    /// What `memory` takes.
    memory_bytes: usize,
    file: Option<(PathBuf, Arc<dyn File>)>,
    len: u64,
    crc: u32,
    /// Where its records stand, if that is known.
    index: Option<Index>,
}

/// The scratch file that holds all of a body.
pub struct WholeBody<'a> {
    pub path: &'a Path,
    pub file: &'a dyn File,
    pub crc32c: u32,
}

impl Scratch {
    /// Makes the directory and empties it.
    pub fn open(fs: Arc<dyn Fs>, dir: PathBuf, memory_bytes_max: usize) -> Result<Arc<Scratch>> {
        let io = |e| Error::io(format!("empty scratch directory `{}`", dir.display()), e);
        fs.create_dir_all(&dir).map_err(io)?;
        for name in fs.list(&dir).map_err(io)? {
            fs.remove(&dir.join(name)).map_err(io)?;
        }
        Ok(Arc::new(Scratch { fs, dir, memory_bytes_max }))
    }
}

impl Spool {
    pub fn new(scratch: &Arc<Scratch>) -> Spool {
        Spool::holding(scratch, scratch.memory_bytes_max)
    }

    /// The same with another bound of what is held in memory.
    pub fn holding(scratch: &Arc<Scratch>, memory_bytes_max: usize) -> Spool {
        Spool { scratch: scratch.clone(), memory: Vec::new(), memory_bytes_max, file: None, in_file: 0, crc: 0 }
    }

    /// Bytes held in memory.
    pub fn memory_bytes(&self) -> usize {
        self.memory.capacity()
    }

    pub fn len(&self) -> u64 {
        self.in_file + self.memory.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer to append to. Call [`Spool::settle`] after a piece.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.memory
    }

    /// Moves what is in memory to the scratch file if it has become too much. `NoSpace`: it stays in memory.
    pub fn settle(&mut self) -> Result<()> {
        if self.memory.len() > self.memory_bytes_max { self.spill() } else { Ok(()) }
    }

    /// Moves what is in memory to the scratch file, and gives the memory back. `NoSpace`: it stays in memory.
    pub fn yield_memory(&mut self) -> Result<()> {
        if !self.memory.is_empty() {
            self.spill()?;
        }
        self.memory = Vec::new();
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        let io = |e| Error::io("write scratch file", e);
        if self.file.is_none() {
            let path = self.scratch.dir.join(Uuid::new_v4().to_string());
            let file = self.scratch.fs.create_new(&path).map_err(io)?;
            self.file = Some((path, file));
        }
        let (_, file) = self.file.as_ref().expect("made above");
        file.write_all_at(&self.memory, self.in_file).map_err(io)?;
        self.crc = crc32c::crc32c_append(self.crc, &self.memory);
        self.in_file += self.memory.len() as u64;
        // What was needed once is needed again soon: the buffer is kept.
        self.memory.clear();
        Ok(())
    }

    /// The object. What has a file, or should not stay in memory, goes there to the end; without room for that, the end
    /// stays in memory.
    pub fn finish(mut self, to_scratch: bool) -> Body {
        if (self.file.is_some() || to_scratch) && !self.is_empty() && self.spill().is_ok() {
            self.memory = Vec::new();
        }
        // A copy of it all is worth no less than a quarter.
        if self.memory.len() < self.memory.capacity() / 4 * 3 {
            self.memory.shrink_to_fit();
        }
        let (len, crc) = (self.len(), self.crc);
        let (memory, file) = (std::mem::take(&mut self.memory), self.file.take());
        let (memory_bytes, scratch) = (memory.capacity(), self.scratch.clone());
        Body { scratch, memory_bytes, memory: memory.into(), file, len, crc, index: None }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        discard(&self.scratch, &self.file);
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        discard(&self.scratch, &self.file);
    }
}

/// Reads a body.
pub struct BodyReader<'b> {
    body: &'b Body,
    at: u64,
}

impl std::io::Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = (self.body.len() - self.at).min(buffer.len() as u64) as usize;
        self.body.read_into(self.at, &mut buffer[..n])?;
        self.at += n as u64;
        Ok(n)
    }
}

fn discard(scratch: &Scratch, file: &Option<(PathBuf, Arc<dyn File>)>) {
    if let Some((path, _)) = file {
        // A leftover is removed at the next start.
        let _ = scratch.fs.remove(path);
    }
}

impl Body {
    /// Bytes that are known to be few, all in memory.
    pub fn of(bytes: Vec<u8>) -> Body {
        // Without a file the scratch directory is never looked at.
        let scratch = Scratch { fs: Arc::new(RealFs), dir: PathBuf::new(), memory_bytes_max: usize::MAX };
        let (len, memory_bytes) = (bytes.len() as u64, bytes.capacity());
        let (scratch, memory) = (Arc::new(scratch), bytes.into());
        Body { scratch, len, memory, memory_bytes, file: None, crc: 0, index: None }
    }

    /// Says where records stand in it.
    pub fn of_records(mut self, index: Index) -> Body {
        self.memory_bytes += index.memory_bytes();
        self.index = Some(index);
        self
    }

    /// Where its records stand, if that is known.
    pub fn index(&self) -> Option<&Index> {
        self.index.as_ref()
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// All of it, from its beginning.
    pub fn reader(&self) -> BodyReader<'_> {
        BodyReader { body: self, at: 0 }
    }

    pub fn is_gzip(&self) -> std::io::Result<bool> {
        const MAGIC: [u8; 2] = [0x1f, 0x8b];
        Ok(self.len >= MAGIC.len() as u64 && self.read(0, MAGIC.len())? == MAGIC)
    }

    /// The same, decompressed if it is gzip.
    pub fn plain(&self) -> std::io::Result<Box<dyn BufRead + '_>> {
        let reader = BufReader::with_capacity(256 << 10, self.reader());
        let is_gzip = match &self.index {
            Some(index) => index.gzip,
            None => self.is_gzip()?,
        };
        Ok(if is_gzip {
            Box::new(BufReader::with_capacity(256 << 10, MultiGzDecoder::new(reader)))
        } else {
            Box::new(reader)
        })
    }

    /// An empty spool where this body is.
    pub fn spool(&self) -> Spool {
        Spool::new(&self.scratch)
    }

    /// The file that holds all of it, if one does.
    pub fn whole(&self) -> Option<WholeBody<'_>> {
        let (path, file) = self.file.as_ref().filter(|_| self.memory.is_empty())?;
        Some(WholeBody { path, file: &**file, crc32c: self.crc })
    }

    /// Reads exactly `bytes` bytes from `offset`; both lie within the body.
    pub fn read(&self, offset: u64, bytes: usize) -> std::io::Result<Vec<u8>> {
        let mut out = vec![0; bytes];
        self.read_into(offset, &mut out)?;
        Ok(out)
    }

    /// Exactly `bytes` bytes from `offset`, which are not copied if they are in memory.
    pub fn piece(&self, offset: u64, bytes: usize) -> std::io::Result<Bytes> {
        let in_file = self.len - self.memory.len() as u64;
        match offset.checked_sub(in_file) {
            Some(at) => Ok(self.memory.slice(at as usize..at as usize + bytes)),
            None => self.read(offset, bytes).map(Bytes::from),
        }
    }

    /// Fills `out` with the bytes from `offset`; all of them lie within the body.
    pub fn read_into(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let in_file = self.len - self.memory.len() as u64;
        let from_file = (in_file.saturating_sub(offset) as usize).min(out.len());
        let (front, behind) = out.split_at_mut(from_file);
        if !front.is_empty() {
            let (_, file) = self.file.as_ref().expect("bytes before the memory part are in a file");
            let n = crate::fs::read_full_at(&**file, front, offset)?;
            if n < front.len() {
                return Err(std::io::Error::other("a scratch file is shorter than what was written to it"));
            }
        }
        if !behind.is_empty() {
            let at = (offset + from_file as u64 - in_file) as usize;
            behind.copy_from_slice(&self.memory[at..at + behind.len()]);
        }
        Ok(())
    }
}
