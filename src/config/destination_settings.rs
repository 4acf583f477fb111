//! What the rest of the program asks of a destination's settings, whichever destination they are of.

use super::format::Compress;
use super::rules::Rules;
use super::store::Store;
use crate::destination::DestinationKind;
use crate::destination::retry::Patience;
use std::path::PathBuf;

/// Of all lanes of a stream, to a store that takes any number of them.
const SHIPMENTS_OF_LANES_MAX: usize = 32;

/// The settings of one destination. The implementation stands beside them, in the destination's folder; of those that are
/// nothing but stores, in [`super::store`].
pub trait DestinationSettings {
    /// What they are settings of.
    fn kind(&self) -> DestinationKind;

    /// Where its objects go, of a warehouse where they are staged; `None` if it takes none.
    fn store(&self) -> Option<Store<'_>> {
        None
    }

    /// The file of certificates that they name, if any.
    fn ca(&mut self) -> Option<&mut PathBuf> {
        None
    }

    /// Reports what is wrong with them, beside what is wrong with the store, and settles their files.
    fn check(&mut self, _rules: &mut Rules, _compress: &Compress) {}

    /// How shipments are given to it.
    fn delivery(&self) -> DeliverySettings;
}

/// How shipments are given to a destination. A change applies at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliverySettings {
    /// Shipments of one lane under way at once.
    pub shipments_max: usize,
    /// The same of all lanes of a stream together.
    pub shipments_of_lanes_max: usize,
    /// How many of them it is given follows from how it answers.
    pub is_adaptive: bool,
    /// It is given one after the other, in the order of their records.
    pub is_ordered: bool,
    /// Requests are compressed on their way.
    pub gzips_requests: bool,
    /// How long it is asked again when it refuses; `None`: for ever.
    pub patience: Option<Patience>,
}

impl DeliverySettings {
    /// Of a store of objects, to which a lane sends so many at once.
    pub fn of_store(shipments_max: usize) -> DeliverySettings {
        DeliverySettings {
            shipments_max,
            shipments_of_lanes_max: shipments_max.max(SHIPMENTS_OF_LANES_MAX),
            is_adaptive: false,
            is_ordered: false,
            gzips_requests: false,
            patience: None,
        }
    }

    /// Of a receiver that is to be spared: so many at once, whichever lanes they are of.
    pub fn of_receiver(shipments_max: usize, patience: Patience) -> DeliverySettings {
        DeliverySettings {
            shipments_of_lanes_max: shipments_max,
            patience: Some(patience),
            ..DeliverySettings::of_store(shipments_max)
        }
    }
}
