//! One integration binary: each module a theme. Tests that need a server or another program get it from `tests/run`.

#[cfg(feature = "sabotage")]
mod crash_states;
#[cfg(feature = "sabotage")]
mod model;
