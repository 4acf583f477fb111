//! How records end, and on which track of a lane.

/// One way a record ends. Numbers are on disk: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Outlet {
    Destination = 0,
    ProcessingFailed = 1,
    ConversionFailed = 2,
    /// Asked for by the transform. Has no sink: settled when its plan is persisted.
    Dropped = 3,
    /// Damaged on the medium. Has no sink either, and raises an alarm.
    Lost = 4,
    /// Source bytes, untouched, beside the others.
    Backup = 5,
    /// Given up on by the destination's plan. No plan begins in this outlet: one that the destination did not take
    /// ends in it.
    DeliveryFailed = 6,
}

impl Outlet {
    pub const ALL: [Outlet; 7] = [
        Outlet::Destination,
        Outlet::ProcessingFailed,
        Outlet::ConversionFailed,
        Outlet::Dropped,
        Outlet::Lost,
        Outlet::Backup,
        Outlet::DeliveryFailed,
    ];

    /// The outlet's name in metrics, ledger and logs.
    pub fn name(self) -> &'static str {
        match self {
            Outlet::Destination => "destination",
            Outlet::ProcessingFailed => "processing-failed",
            Outlet::ConversionFailed => "format-conversion-failed",
            Outlet::Dropped => "dropped",
            Outlet::Lost => "lost",
            Outlet::Backup => "backup",
            Outlet::DeliveryFailed => "delivery-failed",
        }
    }

    pub fn from_u8(n: u8) -> Option<Outlet> {
        Outlet::ALL.get(n as usize).copied()
    }

    pub fn track(self) -> Track {
        if self == Outlet::Backup { Track::Backup } else { Track::Main }
    }

    /// Whether a plan of this outlet becomes an object.
    pub fn has_sink(self) -> bool {
        !matches!(self, Outlet::Dropped | Outlet::Lost)
    }

    pub fn is_failure(self) -> bool {
        matches!(self, Outlet::ProcessingFailed | Outlet::ConversionFailed | Outlet::DeliveryFailed)
    }
}

/// A lane's two tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// Destination, failures, dropped: every record ends in exactly one of them.
    Main = 0,
    Backup = 1,
}
