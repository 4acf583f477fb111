//! What records become, beside programs that we did not write.

pub mod serdes;
