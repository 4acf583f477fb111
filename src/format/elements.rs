//! Records for whoever takes records: no object, but the elements that requests are made of.

use crate::record::Records;
use crate::record::elements;
use crate::record::index::{Index, Series, Stand};

/// One plan's records; their text goes out, when they arrived is kept.
#[derive(Default)]
pub struct ElementsEncoder {
    arrivals: Series,
}

impl ElementsEncoder {
    pub fn push(&mut self, records: &Records, picked: &[u32], arrivals: &[u64], out: &mut Vec<u8>) {
        for (&i, &at) in picked.iter().zip(arrivals) {
            elements::push(out, self.arrivals.is_empty(), records.get(i as usize));
            self.arrivals.push(at);
        }
    }

    pub fn index(self) -> Index {
        Index { arrivals: self.arrivals, stand: Stand::Elements, gzip: false }
    }

    pub fn memory_bytes(&self) -> usize {
        self.arrivals.memory_bytes()
    }
}
