//! Objects and arrays inside one another, without recursion.

/// Objects and arrays inside one another. Jackson's limit, too; whoever reads such a value recurses.
const DEPTH_MAX: usize = 1000;

/// Which objects and arrays are open.
pub(super) struct Nesting {
    is_object: [u64; DEPTH_MAX.div_ceil(64)],
    depth: usize,
}

impl Default for Nesting {
    fn default() -> Self {
        Nesting { is_object: [0; DEPTH_MAX.div_ceil(64)], depth: 0 }
    }
}

impl Nesting {
    /// `None`: there are too many.
    pub(super) fn enter(&mut self, is_object: bool) -> Option<()> {
        if self.depth == DEPTH_MAX {
            return None;
        }
        let (word, bit) = (&mut self.is_object[self.depth / 64], 1 << (self.depth % 64));
        *word = if is_object { *word | bit } else { *word & !bit };
        self.depth += 1;
        Some(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Whether the innermost is an object; `None`: nothing is open.
    pub(super) fn innermost(&self) -> Option<bool> {
        let last = self.depth.checked_sub(1)?;
        Some(self.is_object[last / 64] >> (last % 64) & 1 == 1)
    }
}
