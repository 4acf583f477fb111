//! What became of each plan: one JSON line per mark, in the order of marks, from which conservation is proved without
//! the service.
//!
//! A file begins with a header line (format, the totals of everything before it) and holds a line per settled plan. A
//! closed file is sent to the destination's store (see `archive`) and leaves a stub here.
//! Files are written over blocks that already hold newlines, so that a line needs no room on a full disk, and a line
//! that was torn does not parse. At start the newest file is written anew, as the plan log is, before anything relies
//! on its lines being durable.

use super::plan::{Outlet, Plan};
use crate::error::{Error, Kind, Result};
use crate::fs::{File, Fs, read, write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FORMAT: u32 = 1;

/// A file's first line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub format: u32,
    /// Marks and sums of all earlier files.
    pub before: Sums,
}

/// The last line of an archived file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footer {
    pub totals: Sums,
}

/// Where an archived file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stub {
    pub store: String,
    pub name: String,
    pub tag: String,
}

/// Running sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// The last mark counted.
    pub mark: u64,
    pub outlets: BTreeMap<String, OutletSums>,
}

/// Sums of one outlet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutletSums {
    pub objects: u64,
    pub outputs: u64,
    pub records: u64,
    pub bytes: u64,
    /// Sum of the lists' digests, hexadecimal (see `list::position_hash`).
    pub digest: Digest,
}

/// A 128-bit sum as hexadecimal text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u128);

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&format!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        u128::from_str_radix(&text, 16).map(Digest).map_err(serde::de::Error::custom)
    }
}

/// One settled plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub mark: u64,
    pub plan: uuid::Uuid,
    pub outlet: String,
    pub epoch: u32,
    /// Records of which this mark settled the last output.
    pub records: u64,
    /// Further ones that count in `delivery-failed`, since another output of theirs was given up on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u64,
    pub outputs: u64,
    /// The listed offsets lie in `first..end`.
    pub first: u64,
    pub end: u64,
    pub digest: Digest,
    /// Of a backup (see `backed_up`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<Digest>,
    /// Bytes as buffered, and as stored.
    pub bytes: u64,
    pub object_bytes: u64,
    /// Where the object is; empty for outlets without a sink.
    pub store: String,
    pub name: String,
    pub tag: String,
    /// Milliseconds since the Unix epoch.
    pub settled_ms: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Line {
    /// Whether it names an object: not what was dropped, nor a request.
    pub fn is_of_object(&self) -> bool {
        self.store.contains("://")
    }

    /// Whether what it names holds failures.
    pub fn is_of_failures(&self) -> bool {
        self.is_of_object() && Outlet::ALL.iter().any(|o| o.is_failure() && o.name() == self.outlet)
    }

    pub fn is_of_backup(&self) -> bool {
        self.outlet == Outlet::Backup.name()
    }

    /// The line of a settled plan.
    pub fn of(plan: &Plan) -> Option<Line> {
        let mark = plan.mark.as_ref()?;
        let (store, name) = if plan.outlet.has_sink() { plan.place() } else { Default::default() };
        Some(Line {
            mark: mark.mark,
            plan: plan.id,
            outlet: plan.ends_in().name().to_owned(),
            epoch: plan.epoch,
            records: mark.completed,
            failed: mark.failed,
            outputs: plan.list.outputs(),
            first: plan.list.first(),
            end: plan.list.end(),
            digest: Digest(plan.list.digest()),
            lengths: plan.lengths.map(Digest),
            bytes: plan.bytes,
            object_bytes: mark.object_bytes,
            store: store.to_owned(),
            name: name.to_owned(),
            tag: mark.tag.clone(),
            settled_ms: mark.at_ms,
        })
    }
}

impl Sums {
    pub fn add(&mut self, line: &Line) {
        self.mark = line.mark;
        let sums = self.outlets.entry(line.outlet.clone()).or_default();
        sums.objects += !line.name.is_empty() as u64;
        sums.outputs += line.outputs;
        sums.records += line.records;
        sums.bytes += line.bytes;
        sums.digest.0 = sums.digest.0.wrapping_add(line.digest.0);
        if line.failed > 0 {
            self.outlets.entry(Outlet::DeliveryFailed.name().to_owned()).or_default().records += line.failed;
        }
    }

    pub fn outlet(&self, outlet: Outlet) -> OutletSums {
        self.outlets.get(outlet.name()).cloned().unwrap_or_default()
    }
}

/// The ledger of one stream, open for appending.
pub struct Ledger {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    number: u64,
    /// A file is closed when it holds this much.
    file_bytes: u64,
    /// Files that are closed and still here, oldest first.
    closed: VecDeque<u64>,
    file: Arc<dyn File>,
    at: u64,
    written: u64,
    sums: Sums,
}

impl Ledger {
    /// Opens or creates the ledger in `dir`, with files of about `file_bytes`.
    pub fn open(fs: Arc<dyn Fs>, dir: PathBuf, file_bytes: u64) -> Result<Ledger> {
        let act = format!("open ledger `{}`", dir.display());
        fs.create_dir_all(&dir).map_err(|e| Error::io(&act, e))?;
        let mut closed: VecDeque<u64> = files(&*fs, &dir)?.into_iter().map(|(number, _)| number).collect();
        let number = closed.pop_back().unwrap_or(0);
        let (mut text, mut sums) = (Vec::new(), Sums::default());
        match read(&*fs, &dir.join(file_name(number))) {
            Ok(bytes) => {
                let contents = Contents::parse(&bytes).map_err(|e| e.during(&act))?;
                (text, sums) = (bytes[..contents.valid_bytes].to_vec(), contents.header.before.clone());
                contents.lines.iter().for_each(|l| sums.add(l));
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(act, e)),
        }
        let (file, at, written) = start_file(&*fs, &dir, number, text, &sums).map_err(|e| e.during(&act))?;
        Ok(Ledger { fs, dir, number, file_bytes, closed, file, at, written, sums })
    }

    /// The last mark with a durable line.
    pub fn mark(&self) -> u64 {
        self.sums.mark
    }

    pub fn sums(&self) -> &Sums {
        &self.sums
    }

    /// Goes on behind `mark`, where lines of earlier marks are in the ledgers of other nodes: in a file of its own.
    pub fn pass_to(&mut self, mark: u64) -> Result<()> {
        if self.sums.mark >= mark {
            return Ok(());
        }
        self.sums.mark = mark;
        self.begin_file()
    }

    fn begin_file(&mut self) -> Result<()> {
        let next = start_file(&*self.fs, &self.dir, self.number + 1, Vec::new(), &self.sums)?;
        self.closed.push_back(self.number);
        self.number += 1;
        (self.file, self.at, self.written) = next;
        Ok(())
    }

    /// The oldest file that is closed and not archived.
    pub fn oldest_closed(&self) -> Option<u64> {
        self.closed.front().copied()
    }

    pub fn read_file(&self, number: u64) -> Result<Vec<u8>> {
        let path = self.dir.join(file_name(number));
        read(&*self.fs, &path).map_err(|e| Error::io(format!("read `{}`", path.display()), e))
    }

    /// Removes a closed file that is archived. The stub is durable before the file goes.
    pub fn replace_by_stub(&mut self, number: u64, stub: &Stub) -> Result<()> {
        let io = |e| Error::io(format!("archive ledger file {number}"), e);
        let text = serde_json::to_vec(stub).expect("plain values always serialise into memory");
        write_atomically(&*self.fs, &self.dir.join(stub_name(number)), &text).map_err(io)?;
        self.fs.remove(&self.dir.join(file_name(number))).map_err(io)?;
        self.closed.retain(|n| *n != number);
        Ok(())
    }

    /// Appends lines, whose marks follow the last one without a gap, and makes them durable.
    pub fn append(&mut self, lines: &[Line]) -> Result<()> {
        let Some(last) = lines.last() else { return Ok(()) };
        if self.at > self.file_bytes {
            self.begin_file()?;
        }
        let mut text = Vec::new();
        for line in lines {
            push_line(&mut text, line);
        }
        let bytes = text.len() as u64;
        let mut written = self.written;
        if self.at + bytes > written {
            written = (self.at + bytes).next_multiple_of(64 * 1024);
            text.resize((written - self.at) as usize, b'\n');
        }
        let done = self.file.write_all_at(&text, self.at).and_then(|()| self.file.sync());
        done.map_err(|e| Error::io(format!("append ledger line {}", last.mark), e))?;
        self.written = written;
        self.at += bytes;
        lines.iter().for_each(|l| self.sums.add(l));
        Ok(())
    }
}

/// Writes file `number` with its first contents: `text`, or a header. The file, where its next line goes, and its
/// written length.
fn start_file(
    fs: &dyn Fs,
    dir: &Path,
    number: u64,
    mut text: Vec<u8>,
    sums: &Sums,
) -> Result<(Arc<dyn File>, u64, u64)> {
    if text.is_empty() {
        push_line(&mut text, &Header { format: FORMAT, before: sums.clone() });
    }
    let at = text.len() as u64;
    let written = (at + 64 * 1024).next_multiple_of(64 * 1024);
    text.resize(written as usize, b'\n');
    let path = dir.join(file_name(number));
    write_atomically(fs, &path, &text).map_err(|e| Error::io("write a ledger file", e))?;
    let file = fs.open(&path).map_err(|e| Error::io("open a ledger file", e))?;
    Ok((file, at, written))
}

/// Appends a line of JSON.
pub fn push_line(text: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *text, line).expect("plain values always serialise into memory");
    text.push(b'\n');
}

fn file_name(number: u64) -> String {
    format!("{number:08}.jsonl")
}

fn stub_name(number: u64) -> String {
    format!("{number:08}.archived")
}

/// Where the archived files of the ledger in `dir` are, oldest first.
pub fn stubs(fs: &dyn Fs, dir: &Path) -> Result<Vec<Stub>> {
    let act = || format!("list ledger `{}`", dir.display());
    let mut stubs = Vec::new();
    for name in fs.list(dir).map_err(|e| Error::io(act(), e))?.iter().filter(|n| n.ends_with(".archived")) {
        let bytes = read(fs, &dir.join(name)).map_err(|e| Error::io(act(), e))?;
        let stub = serde_json::from_slice(&bytes);
        stubs.push(stub.map_err(|e| Error::new(Kind::Corrupt, format!("{}: `{name}`: {e}", act())))?);
    }
    Ok(stubs)
}

/// The ledger files in `dir`, oldest first.
pub fn files(fs: &dyn Fs, dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let names = fs.list(dir).map_err(|e| Error::io(format!("list ledger `{}`", dir.display()), e))?;
    let number = |n: &str| n.strip_suffix(".jsonl")?.parse().ok();
    Ok(names.iter().filter_map(|n| Some((number(n)?, dir.join(n)))).collect())
}

/// A ledger file's contents, as far as they are whole.
pub struct Contents {
    pub header: Header,
    pub lines: Vec<Line>,
    pub valid_bytes: usize,
}

impl Contents {
    pub fn parse(bytes: &[u8]) -> Result<Contents> {
        let mut header = None;
        let mut contents = Contents { header: Header::default(), lines: Vec::new(), valid_bytes: 0 };
        for text in bytes.split_inclusive(|&b| b == b'\n') {
            if text == b"\n" {
                break;
            }
            if header.is_none() {
                let found: Header = serde_json::from_slice(text)
                    .map_err(|e| Error::new(Kind::Corrupt, format!("a ledger file's header: {e}")))?;
                if found.format != FORMAT {
                    let message = format!("a ledger file has format {}, expected {FORMAT}", found.format);
                    return Err(Error::new(Kind::Invalid, message));
                }
                contents.header = found.clone();
                header = Some(found);
            } else {
                let next = contents.lines.last().map_or(contents.header.before.mark, |l: &Line| l.mark) + 1;
                match serde_json::from_slice::<Line>(text) {
                    Ok(line) if line.mark == next && text.ends_with(b"\n") => contents.lines.push(line),
                    _ => break,
                }
            }
            contents.valid_bytes += text.len();
        }
        Ok(contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::fake::FakeFs;

    fn line(mark: u64) -> Line {
        Line { mark, outlet: "destination".into(), records: 1, ..Line::default() }
    }

    #[test]
    fn marks_that_are_in_other_ledgers_are_passed_and_no_line_behind_them_is_lost() {
        let fs: Arc<dyn Fs> = Arc::new(FakeFs::new());
        let open = || Ledger::open(fs.clone(), "/ledger".into(), 1 << 20).unwrap();
        let mut ledger = open();
        ledger.append(&[line(1), line(2)]).unwrap();
        ledger.pass_to(1).unwrap();
        ledger.pass_to(44).unwrap();
        ledger.append(&[line(45)]).unwrap();
        ledger.pass_to(69).unwrap();
        ledger.append(&[line(70), line(71)]).unwrap();
        assert_eq!((open().mark(), open().sums().outlet(Outlet::Destination).records), (71, 5));
        let marks = files(&*fs, Path::new("/ledger")).unwrap().into_iter().flat_map(|(_, path)| {
            Contents::parse(&read(&*fs, &path).unwrap()).unwrap().lines.into_iter().map(|l| l.mark)
        });
        assert_eq!(marks.collect::<Vec<_>>(), [1, 2, 45, 70, 71]);
    }
}
