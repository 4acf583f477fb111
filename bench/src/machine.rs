//! What this machine is worth at this moment: its two CPUs, its disk, the memory and CPU time of a process.

use std::collections::BTreeMap;
use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Enough to outlast the start of a thread by a hundred times.
const ALU_TURNS: u64 = 12_000_000;
/// Of a record in the loop that syncs each one.
const APPEND_BYTES: usize = 500;
const COMMIT_BYTES: usize = 4096;
const COMMITS: u64 = 400;
/// Linux shows CPU time to programs in these, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;
/// `statfs` of a file system in memory.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// Work of two busy threads over that of one: 2 on two cores of one's own, less where they are two halves of one core.
pub fn two_over_one() -> f64 {
    let one = busy(1);
    2.0 * one / busy(2)
}

/// Seconds that so many threads take for the same work each.
fn busy(threads: usize) -> f64 {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| black_box(spin(black_box(ALU_TURNS))));
        }
    });
    began.elapsed().as_secs_f64()
}

/// Work that keeps a core's arithmetic units full.
fn spin(turns: u64) -> u64 {
    let mut lanes = [1u64, 2, 3, 4, 5, 6, 7, 8];
    for i in 0..turns {
        for lane in &mut lanes {
            *lane = (*lane ^ i).wrapping_add(*lane << 3);
        }
    }
    lanes.iter().fold(0, |sum, lane| sum ^ lane)
}

/// Records a second of a loop that appends one and syncs it, for `time`.
pub fn synced_appends_per_second(dir: &Path, time: Duration) -> std::io::Result<f64> {
    let path = dir.join("appends");
    let mut file = File::create(&path)?;
    let record = [b'r'; APPEND_BYTES];
    let (began, mut records) = (Instant::now(), 0);
    while began.elapsed() < time {
        file.write_all(&record)?;
        file.sync_data()?;
        records += 1;
    }
    let rate = records as f64 / began.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// Seconds of bare commits: 4 KiB written over what has been written before, and synced.
pub fn commits_s(dir: &Path) -> std::io::Result<Vec<f64>> {
    let path = dir.join("commits");
    let file = File::create(&path)?;
    let block = [b'c'; COMMIT_BYTES];
    for i in 0..COMMITS {
        file.write_all_at(&block, i * COMMIT_BYTES as u64)?;
    }
    file.sync_all()?;
    let mut all = Vec::with_capacity(COMMITS as usize);
    for i in 0..COMMITS {
        let began = Instant::now();
        file.write_all_at(&block, i * COMMIT_BYTES as u64)?;
        file.sync_data()?;
        all.push(began.elapsed().as_secs_f64());
    }
    std::fs::remove_file(path)?;
    Ok(all)
}

/// Whether a directory is in memory, where a sync costs nothing.
pub fn is_in_memory(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|s| s.f_type == TMPFS)
}

/// Seconds that the calling thread has had a CPU.
pub fn thread_cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// Seconds of CPU that threads of this process have had, by their number and name. A thread that has ended is not among them.
pub struct ThreadTimes(BTreeMap<String, (String, f64)>);

impl ThreadTimes {
    pub fn now() -> ThreadTimes {
        let read = |task: std::fs::DirEntry| {
            let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
            let times = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let ns: f64 = times.split(' ').next()?.parse().ok()?;
            Some((task.file_name().to_string_lossy().into_owned(), (name.trim_end().to_owned(), ns / 1e9)))
        };
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        ThreadTimes(tasks.filter_map(read).collect())
    }

    /// What threads whose names begin with `name` have had since `before`.
    pub fn since(&self, before: &ThreadTimes, name: &str) -> f64 {
        let of_name = self.0.iter().filter(|(_, (own, _))| own.starts_with(name));
        of_name.map(|(id, (_, now))| now - before.0.get(id).map_or(0.0, |(_, then)| *then)).sum()
    }
}

/// Seconds of CPU that this process has had, to a hundredth.
pub fn process_cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in brackets, may hold anything; the times are the 12th and 13th field behind it.
    let behind = text.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = behind.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    ticks / TICKS_PER_SECOND
}

/// A line of `/proc/PID/status` in bytes, such as `VmRSS`.
pub fn memory_bytes(pid: u32, line: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rest = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'))?;
    Some(rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_memory_and_time() {
        assert!(super::memory_bytes(std::process::id(), "VmRSS").unwrap() > 1 << 20);
        // The kernel counts at its ticks.
        super::spin(30_000_000);
        assert!(super::thread_cpu_s() > 0.0);
        assert!(super::process_cpu_s() > 0.0);
        let before = super::ThreadTimes::now();
        let spinning = std::thread::Builder::new().name("spinning".into()).spawn(|| {
            super::spin(30_000_000);
            super::ThreadTimes::now()
        });
        let after = spinning.unwrap().join().unwrap();
        assert!(after.since(&before, "spin") > 0.0 && after.since(&before, "no such thread") == 0.0);
    }
}
