//! What an epoch does to records, and the settings of a stream that apply at once.

mod columns;
pub mod known;
pub mod live;
pub mod load;
pub mod route;
pub mod settings;
pub mod workers;
