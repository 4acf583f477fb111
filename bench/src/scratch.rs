//! The directory that a run writes to, and removes.

use super::memory;
use std::path::PathBuf;

/// A directory that goes when this does.
pub struct Removed(pub PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // It may be gone already; what cannot be removed is the system's temporary directory's matter.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An interrupt ends the process before any `drop`.
pub fn remove_when_interrupted(dir: PathBuf) {
    let wait = move || {
        if let Ok(runtime) = hydrant::cli::small_runtime()
            && runtime.block_on(tokio::signal::ctrl_c()).is_ok()
        {
            memory::kill_running();
            drop(Removed(dir));
            std::process::exit(130);
        }
    };
    // Without the thread an interrupt leaves the directory behind.
    let _ = std::thread::Builder::new().name("bench interrupt".into()).spawn(wait);
}
