//! A stream's life: plans, transforms, kills, damage, outages, redrive.

pub mod abandon;
pub mod columns;
#[cfg(feature = "sabotage")]
pub mod crash_states;
pub mod earlier;
#[cfg(feature = "sabotage")]
pub mod flips;
#[cfg(feature = "sabotage")]
pub mod http_kill;
#[cfg(feature = "sabotage")]
pub mod kill;
pub mod lives;
pub mod many;
#[cfg(feature = "sabotage")]
pub mod model;
pub mod object_size;
pub mod outage;
#[cfg(feature = "sabotage")]
pub mod redrive;
pub mod repair;
pub mod streams;
pub mod transform;
#[cfg(feature = "sabotage")]
pub mod wrong;
