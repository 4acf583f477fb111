//! What of a lane is on disk, or in a lease table, besides its records: its state and how it changes, the ledger, and what
//! both refer to by hash.

pub mod blobs;
pub mod ledger;
pub mod log;
pub mod objects;
pub mod plan_log;
pub mod sealed;
pub mod shared_log;
