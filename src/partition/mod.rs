//! Records to keys: which records may share an object, and what the object is called.

pub mod key;
pub mod object_name;
pub mod prefix;
pub mod time_pattern;
