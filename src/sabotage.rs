//! Wrong builds and places to die, for tests only. Without the feature `sabotage` these functions are empty and the
//! compiler removes them.
//!
//! [`on`] asks whether a named rule of the protocol is broken on purpose. [`point`] marks a step of the path: a test
//! can have the process killed there, and can learn which step a random kill hit. [`fails`] asks whether the medium
//! shall fail at a step.

#![cfg_attr(
    feature = "sabotage",
    expect(clippy::disallowed_methods, reason = "a wrong build tells tests through files")
)]

#[cfg(not(feature = "sabotage"))]
mod switch {
    #[inline(always)]
    pub fn on(_rule: &str) -> bool {
        false
    }

    #[inline(always)]
    pub fn point(_step: &str) {}

    #[inline(always)]
    pub fn fails(_step: &str, _dir: &std::path::Path) -> bool {
        false
    }
}

#[cfg(feature = "sabotage")]
mod switch {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::os::unix::fs::FileExt;
    use std::sync::{LazyLock, Mutex};

    /// Rules broken for the whole process: `HYDRANT_SABOTAGE=rule,rule`.
    static BROKEN: LazyLock<Vec<String>> = LazyLock::new(|| {
        let rules = std::env::var("HYDRANT_SABOTAGE").unwrap_or_default();
        rules.split(',').filter(|r| !r.is_empty()).map(str::to_owned).collect()
    });

    /// `HYDRANT_KILL_AT=step:n`: SIGKILL at the n-th time the step is reached.
    static KILL_AT: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let text = std::env::var("HYDRANT_KILL_AT").ok()?;
        let (step, n) = text.split_once(':').expect("HYDRANT_KILL_AT is `step:count`");
        Some((step.to_owned(), n.parse().expect("HYDRANT_KILL_AT's count is a number")))
    });

    /// `HYDRANT_STEP_FILE=path`: the last step reached, padded to 32 bytes.
    static STEP_FILE: LazyLock<Option<std::fs::File>> = LazyLock::new(|| {
        let path = std::env::var_os("HYDRANT_STEP_FILE")?;
        Some(std::fs::File::create(path).expect("the step file can be written"))
    });

    static REACHED: LazyLock<Mutex<HashMap<String, u64>>> = LazyLock::new(Default::default);

    thread_local! {
        static BROKEN_HERE: RefCell<Option<String>> = const { RefCell::new(None) };
    }

    pub fn on(rule: &str) -> bool {
        BROKEN.iter().any(|r| r == rule) || BROKEN_HERE.with_borrow(|r| r.as_deref() == Some(rule))
    }

    /// Breaks one rule for this thread only.
    pub fn break_here(rule: Option<&str>) {
        BROKEN_HERE.set(rule.map(str::to_owned));
    }

    /// Whether the step fails this once: a test has put a file of its name into `dir`, which is taken away.
    pub fn fails(step: &str, dir: &std::path::Path) -> bool {
        std::fs::remove_file(dir.join(step)).is_ok()
    }

    pub fn point(step: &str) {
        if let Some(file) = &*STEP_FILE {
            let mut name = step.as_bytes().to_vec();
            name.resize(32, b' ');
            file.write_all_at(&name, 0).expect("the step file can be written");
        }
        let Some((wanted, n)) = &*KILL_AT else { return };
        if wanted == step {
            let mut reached = REACHED.lock().expect("nobody panics here");
            let count = reached.entry(step.to_owned()).or_default();
            *count += 1;
            if *count == *n {
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                    .expect("a process may kill itself");
            }
        }
    }
}

pub use switch::*;
