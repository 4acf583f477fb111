//! What clients meet: the wire, connections, limits, the admin listener.

pub mod admin;
pub mod clients;
pub mod connections;
pub mod limits;
pub mod wire;
