//! Settings of a stream that apply at once, and the ways out that they bound.

use crate::destination::retry::Patience;
use crate::stream::plan::{Outlet, Plan};
use std::time::Duration;

/// Settings that are not part of an epoch: a change applies at once.
#[derive(Clone, Debug)]
pub struct Live {
    pub size_bytes: u64,
    /// Of the destination's objects when they are encoded, if one is asked for.
    pub object_bytes: Option<u64>,
    pub interval: Duration,
    pub backup_size_bytes: u64,
    pub backup_interval: Duration,
    /// Failures are buffered as the backup is.
    pub failures_with_backup: bool,
    /// What the destination takes in one plan.
    pub limits: PlanLimits,
    /// Shipments under way at once, by [`Gate`].
    pub shipments_max: [usize; Gate::ALL.len()],
    /// The same of all lanes of a stream together.
    pub shipments_of_lanes_max: [usize; Gate::ALL.len()],
    /// How many of them the destination is given follows from how it answers.
    pub adaptive: bool,
    /// The destination is given one plan after the other, in the order of their records.
    pub ordered: bool,
    /// Requests to an endpoint are compressed.
    pub gzip_requests: bool,
    /// How long a destination that refuses is asked again; `None`: for ever.
    pub patience: Option<Patience>,
}

/// The most of a plan, in outputs and in bytes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanLimits {
    pub outputs_max: u64,
    pub bytes_max: u64,
}

impl PlanLimits {
    pub const NONE: PlanLimits = PlanLimits { outputs_max: u64::MAX, bytes_max: u64::MAX };
}

/// Ways out that must not wait for each other: a store that does not answer keeps only its own from being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Destination,
    Failures,
    Backup,
}

impl Gate {
    pub const ALL: [Gate; 3] = [Gate::Destination, Gate::Failures, Gate::Backup];

    pub(in crate::stream) fn of(plan: &Plan) -> Gate {
        Gate::to(plan.ends_in())
    }

    pub(in crate::stream) fn to(outlet: Outlet) -> Gate {
        match outlet {
            Outlet::Destination => Gate::Destination,
            Outlet::Backup => Gate::Backup,
            _ => Gate::Failures,
        }
    }
}

impl Live {
    fn is_with_backup(&self, outlet: Outlet) -> bool {
        outlet == Outlet::Backup || self.failures_with_backup && outlet.is_failure()
    }

    pub(in crate::stream) fn interval_of(&self, outlet: Outlet) -> Duration {
        if self.is_with_backup(outlet) { self.backup_interval } else { self.interval }
    }

    pub(in crate::stream) fn object_size_of(&self, outlet: Outlet) -> Option<u64> {
        self.object_bytes.filter(|_| outlet == Outlet::Destination)
    }

    pub(in crate::stream) fn size_of(&self, outlet: Outlet) -> u64 {
        if self.is_with_backup(outlet) { self.backup_size_bytes } else { self.size_bytes }
    }
}
