//! Threads on the way from a put to its answer go ahead of those that compute: a put that sleeps while the disk syncs would
//! else wait, once it is awake, until somebody's time slice has ended, and milliseconds stand for a tenth of one.
//!
//! Where the system permits it (`CAP_SYS_NICE`, or a limit on real-time priority) they run in `SCHED_FIFO`. Threads in that class
//! could keep the others from running, so that nothing would be delivered: they are watched, and when together they have taken
//! more than an eighth of the CPUs between two looks, they are ordinary threads until they take less than a sixteenth: who has
//! that much to do is awake anyway, and to interrupt encoding for each put costs throughput. Where it is not permitted they
//! always are ordinary, and nothing else is different.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Between two looks at what the threads have taken. Until the first one a burst of puts keeps encoding from its CPUs.
const LOOK: Duration = Duration::from_millis(20);

/// The threads that are ahead, by their number in the system, and what each had taken at the last look.
#[derive(Default)]
struct ThreadsAhead {
    threads: BTreeMap<libc::pid_t, Duration>,
    /// Somebody watches them.
    is_watched: bool,
    /// They have taken too much, and are ordinary threads.
    is_ordinary: bool,
    /// The system does not permit it.
    is_refused: bool,
}

static AHEAD: Mutex<ThreadsAhead> =
    Mutex::new(ThreadsAhead { threads: BTreeMap::new(), is_watched: false, is_ordinary: false, is_refused: false });

fn ahead() -> MutexGuard<'static, ThreadsAhead> {
    AHEAD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This thread is one of those that go ahead, until [`leave`]. Its children are not.
pub fn enter() {
    let mut ahead = ahead();
    if ahead.is_refused {
        return;
    }
    let thread = this_thread();
    // Nobody goes ahead whose share nobody can see.
    let Some(so_far) = taken(thread) else {
        ahead.is_refused = true;
        tracing::info!("threads that answer are not put ahead of others: what they take cannot be read");
        return;
    };
    if !ahead.is_ordinary && !set(thread, libc::SCHED_FIFO) {
        ahead.is_refused = true;
        tracing::info!("threads that answer are not put ahead of others: the system does not permit it");
        return;
    }
    ahead.threads.insert(thread, so_far);
    if !ahead.is_watched {
        let watch = std::thread::Builder::new().name("priority".to_owned()).spawn(watch);
        ahead.is_watched = watch.is_ok();
        if watch.is_err() {
            // Without a watch nobody goes ahead.
            ahead.threads.remove(&thread);
            set(thread, libc::SCHED_OTHER);
        }
    }
}

/// This thread is an ordinary one again, or ends.
pub fn leave() {
    let thread = this_thread();
    if ahead().threads.remove(&thread).is_some() {
        set(thread, libc::SCHED_OTHER);
    }
}

/// Looks at what the threads take, for as long as there are any.
fn watch() {
    // It must not wait for those that it watches.
    set_priority(this_thread(), libc::SCHED_FIFO, 2);
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    loop {
        let began = std::time::Instant::now();
        std::thread::sleep(LOOK);
        let mut ahead = ahead();
        if ahead.threads.is_empty() {
            ahead.is_watched = false;
            return;
        }
        let mut sum = Duration::ZERO;
        for (thread, before) in &mut ahead.threads {
            if let Some(now) = taken(*thread) {
                sum += now.saturating_sub(*before);
                *before = now;
            }
        }
        let all = began.elapsed() * cpus;
        let is_ordinary = if ahead.is_ordinary { sum > all / 16 } else { sum > all / 8 };
        if is_ordinary != ahead.is_ordinary {
            let class = if is_ordinary { libc::SCHED_OTHER } else { libc::SCHED_FIFO };
            for thread in ahead.threads.keys() {
                set(*thread, class);
            }
            ahead.is_ordinary = is_ordinary;
        }
    }
}

/// What a thread of this process has taken of the CPUs so far. It needs no descriptor, of which there may be none left.
fn taken(thread: libc::pid_t) -> Option<Duration> {
    // As the kernel numbers the clocks of threads, and `pthread_getcpuclockid` does; the last three bits: of a thread, exact.
    let clock = (!thread << 3) | 0b110;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time lives through the call; a thread that is gone is an error like any other.
    let is_known = unsafe { libc::clock_gettime(clock, &mut time) == 0 };
    is_known.then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

fn this_thread() -> libc::pid_t {
    // SAFETY: it takes nothing and always succeeds.
    unsafe { libc::gettid() }
}

/// Puts a thread of this process into a class of the scheduler, with its lowest priority. Whether that was permitted.
fn set(thread: libc::pid_t, class: libc::c_int) -> bool {
    set_priority(thread, class, libc::c_int::from(class == libc::SCHED_FIFO))
}

fn set_priority(thread: libc::pid_t, class: libc::c_int, priority: libc::c_int) -> bool {
    let parameter = libc::sched_param { sched_priority: priority };
    // SAFETY: the parameter lives through the call; a thread that is gone is an error like any other.
    unsafe { libc::sched_setscheduler(thread, class | libc::SCHED_RESET_ON_FORK, &parameter) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn class_of(thread: libc::pid_t) -> libc::c_int {
        // SAFETY: it takes a number.
        unsafe { libc::sched_getscheduler(thread) & !libc::SCHED_RESET_ON_FORK }
    }

    #[test]
    fn what_another_thread_takes_is_known_while_it_runs() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            tell.send(this_thread()).expect("it is waited for");
            while ends.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {}
        });
        let thread = told.recv().expect("it runs");
        let (before, began) = (taken(thread).expect("it runs"), Instant::now());
        while taken(thread).expect("it runs") < before + Duration::from_millis(20) {
            assert!(began.elapsed() < Duration::from_secs(60), "it computes all the time");
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(end);
        other.join().expect("it ends");
    }

    /// Where nothing is permitted there is nothing to see but that nothing is different.
    #[test]
    fn a_thread_that_computes_all_the_time_is_ordinary_soon_and_its_children_always_are() {
        std::thread::spawn(|| {
            enter();
            let (thread, began) = (this_thread(), Instant::now());
            let is_permitted = class_of(thread) == libc::SCHED_FIFO;
            let child = std::thread::spawn(|| class_of(this_thread())).join().expect("it ends");
            assert_eq!(child, libc::SCHED_OTHER);
            // Alone it cannot take an eighth of many CPUs.
            let cpus = std::thread::available_parallelism().map_or(1, usize::from);
            let others: Vec<_> = (1..cpus)
                .map(|_| {
                    std::thread::spawn(move || {
                        enter();
                        while class_of(thread) == libc::SCHED_FIFO && began.elapsed() < Duration::from_secs(20) {}
                        leave();
                    })
                })
                .collect();
            while class_of(thread) == libc::SCHED_FIFO && began.elapsed() < Duration::from_secs(20) {}
            assert_eq!(class_of(thread), libc::SCHED_OTHER, "it keeps the CPU (permitted: {is_permitted})");
            others.into_iter().for_each(|other| other.join().expect("it ends"));
            leave();
            assert_eq!(class_of(thread), libc::SCHED_OTHER);
        })
        .join()
        .expect("it ends");
    }
}
