//! What every sink promises ([`Sink`]), said once and held against each of them: directory, S3, HTTP endpoint, and either
//! warehouse. In what they legitimately differ each declares itself ([`Nature`]). What only one of them promises is in
//! tests of its own.
//!
//! `contract` has the clauses, `places` the sinks with somebody who looks at what they did.

mod contract;
mod places;

use hydrant::deliver::{Attempt, Shipment, Sink};
use std::net::SocketAddr;
use std::time::Duration;

/// By what a repeated attempt finds what an earlier one left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Once {
    /// Its object stands at its name.
    Name,
    /// The receiver knows the request by its id, and it comes with the same body.
    RequestId,
    /// A row that was written with its data says so; its object stands at its name as well.
    Claim,
}

/// In what sinks differ.
#[derive(Clone, Copy, Debug)]
struct Nature {
    once: Once,
    /// It can be asked whether a plan is there.
    looks: bool,
    /// It sees that what stands under its plan was made of other outputs.
    compares: bool,
    /// It takes a plan without records, of which none is ever made.
    empty: bool,
    /// It may be used by several processes at once. One process has a data directory, and with it a local one.
    shared: bool,
}

/// A sink, and somebody who sees what it did.
trait Place {
    fn nature(&self) -> Nature;
    /// A body of these records as the stream would make it.
    fn shipment(&self, name: &str, records: &[Vec<u8>]) -> Shipment;
    /// As a process that has just started has it, which remembers nothing.
    fn sink(&self) -> Box<dyn Sink>;
    /// One to which something is wrong that a person has to mend: the code and what else it has to say about a shipment.
    fn refusing(&self, shipment: &Shipment) -> (Box<dyn Sink>, String, String);
    /// The records that are there of a plan, in order, each as often as it is there. A receiver that goes by ids counts an
    /// id once.
    fn found(&self, shipment: &Shipment) -> Vec<Vec<u8>>;
    /// How many things it left, of whatever plan.
    fn things(&self) -> usize;
    /// Somebody else's object at a name. Only where there are names.
    fn put_foreign(&self, name: &str, bytes: &[u8]);
    /// What stands at a name.
    fn bytes_at(&self, name: &str) -> Vec<u8>;
    /// Where it goes over a network.
    fn network(&self) -> Option<&dyn Network>;
    /// Attempts until the process is killed, or the power goes, at the n-th operation on the disk, or else after the
    /// attempt; whether it was amid it. `None`: there is no such disk.
    fn attempt_until(&self, _shipment: &Shipment, _operation: u64, _power: bool) -> Option<(Attempt, bool)> {
        None
    }
}

/// What is reached over a network.
trait Network {
    fn server(&self) -> SocketAddr;
    /// A sink that finds it at another address.
    fn sink_at(&self, address: SocketAddr, timeout: Duration) -> Box<dyn Sink>;
    /// What it says when nobody listens there, and when nobody answers: the code, and what else has to be in its words.
    fn nobody(&self, address: SocketAddr, shipment: &Shipment) -> (String, String);
    fn silent(&self, address: SocketAddr, shipment: &Shipment) -> (String, String);
    /// What must not be in its words.
    fn secret(&self) -> String;
}

#[test]
fn a_directory_keeps_the_contract() {
    contract::hold(|| Box::new(places::Directory::real()));
}

#[test]
fn a_directory_on_a_disk_that_stops_keeps_the_contract() {
    contract::hold(|| Box::new(places::Directory::fake()));
}

#[test]
fn s3_keeps_the_contract() {
    contract::hold(|| Box::new(places::Bucket::new()));
}

#[test]
fn an_http_endpoint_keeps_the_contract() {
    contract::hold(|| Box::new(places::Receiver::new()));
}

#[test]
fn postgres_keeps_the_contract() {
    contract::hold(|| Box::new(places::Table::new(crate::deliver::warehouse::Dialect::Postgres)));
}

#[test]
fn redshift_keeps_the_contract() {
    contract::hold(|| Box::new(places::Table::new(crate::deliver::warehouse::Dialect::Redshift)));
}

#[cfg(feature = "sabotage")]
#[test]
fn a_sink_that_breaks_the_contract_is_noticed() {
    let bucket: fn() -> Box<dyn Place> = || Box::new(places::Bucket::new());
    let table: fn() -> Box<dyn Place> = || Box::new(places::Table::new(crate::deliver::warehouse::Dialect::Postgres));
    let rules =
        [("taken_is_success", bucket), ("upload_without_condition", bucket), ("claimed_is_loaded_again", table)];
    for (rule, place) in rules {
        hydrant::sabotage::break_here(Some(rule));
        let held = std::panic::catch_unwind(|| contract::hold(place));
        hydrant::sabotage::break_here(None);
        assert!(held.is_err(), "`{rule}` was not noticed");
    }
}
