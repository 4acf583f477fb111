//! Records to keys: which records may share an object, and what the object is called.

pub mod key;
pub mod prefix;
pub mod time_pattern;
