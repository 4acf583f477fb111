//! The journal alone and on a medium that fails.

#[cfg(feature = "sabotage")]
pub mod damage;
pub mod disk;
pub mod lost;
pub mod segments;
