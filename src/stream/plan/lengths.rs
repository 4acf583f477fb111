//! A digest of the lengths of a backup object's records, which holds their bytes and nothing between them: with it, a guess
//! where each of them ends is certain or not.

use sha2::{Digest, Sha256};

/// A running digest of lengths.
#[derive(Clone, Default)]
pub struct Lengths(Sha256);

impl Lengths {
    pub fn push(&mut self, bytes: usize) {
        self.0.update((bytes as u64).to_le_bytes());
    }

    pub fn digest(&self) -> u128 {
        let hash = self.0.clone().finalize();
        u128::from_le_bytes(hash[..16].try_into().expect("sixteen bytes"))
    }
}
