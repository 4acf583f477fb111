//! Where the steps meet: a stream reads its lane, decides what becomes of each record, persists the decision, sends the
//! object, and accounts for it.

mod account;
mod ahead;
mod archive;
mod ask;
pub mod audit;
pub mod backed_up;
pub mod buffer;
pub mod codec;
mod cut;
mod damage;
pub mod engine;
mod entry;
pub mod epoch;
pub mod fill;
mod give_up;
pub mod ledger;
pub mod list;
pub mod live;
pub mod load;
pub mod marks;
pub mod memory;
pub mod node;
pub mod open;
pub mod plan;
pub mod plan_log;
pub mod redrive;
pub mod replay;
pub mod route;
mod settle;
pub mod ship;
pub mod sinks;
mod status;
pub mod supervise;
pub mod take;
mod window;
pub mod workers;
