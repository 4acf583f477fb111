//! The allocator: mimalloc's, and for large blocks the system itself.
//!
//! What one thread frees for another comes back to mimalloc's second version only when that one allocates again. Of small
//! blocks that is little. A request's body and its records are megabytes, taken by a thread that answers and given back by
//! one that delivers, so that a burst of them took twice the memory that `memory` allows. The third version has no such
//! delay, and takes a fifth more where a thousand lanes are.

#![allow(unsafe_code)]

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::null_mut;

/// Blocks from this size on, in bytes, are mapped one by one: mapping costs little beside filling them. Pages of Parquet columns are
/// smaller, of which there are thousands.
const LARGE: usize = 2 << 20;
/// What mappings are aligned to at least.
const PAGE: usize = 4096;

/// The allocator of the process.
pub struct Allocator;

fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= PAGE
}

/// Maps zeroed memory. Null if there is none.
fn map(bytes: usize) -> *mut u8 {
    let (read_write, private) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: nothing that is there is replaced.
    let mapped = unsafe { libc::mmap(null_mut(), bytes, read_write, private, -1, 0) };
    if mapped == libc::MAP_FAILED { null_mut() } else { mapped.cast() }
}

// SAFETY: a block is given back to whom it is from, since its layout says which that is; mappings are aligned to pages, are
// as long as was asked for at least, and are nobody else's.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match is_large(layout) {
            true => map(layout.size()),
            // SAFETY: as of the caller.
            false => unsafe { MiMalloc.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match is_large(layout) {
            true => map(layout.size()),
            // SAFETY: as of the caller.
            false => unsafe { MiMalloc.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match is_large(layout) {
            // SAFETY: it was mapped with this length.
            true => drop(unsafe { libc::munmap(block.cast(), layout.size()) }),
            // SAFETY: as of the caller.
            false => unsafe { MiMalloc.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller sees to it that the size, rounded up to the alignment, fits.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_large(layout), is_large(wanted)) {
            // SAFETY: as of the caller.
            (false, false) => unsafe { MiMalloc.realloc(block, layout, size) },
            (true, true) => {
                // SAFETY: it was mapped with this length, and may move.
                let moved = unsafe { libc::mremap(block.cast(), layout.size(), size, libc::MREMAP_MAYMOVE) };
                if moved == libc::MAP_FAILED { null_mut() } else { moved.cast() }
            }
            _ => {
                // SAFETY: the new block is another one, and both hold the smaller size.
                unsafe {
                    let moved = self.alloc(wanted);
                    if !moved.is_null() {
                        moved.copy_from_nonoverlapping(block, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    moved
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks that grow into a mapping, within it and out of it keep what they hold.
    #[test]
    fn a_block_keeps_its_contents_whichever_way_it_grows_or_shrinks() {
        let layout = |size| Layout::from_size_align(size, 16).expect("a layout");
        let sizes = [100, LARGE - 1, LARGE, 5 * LARGE + 3, 3 * LARGE, LARGE - 1, 10];
        // SAFETY: every block is used within its size and given back once.
        unsafe {
            let mut block = Allocator.alloc(layout(sizes[0]));
            (0..10).for_each(|i| block.add(i).write(i as u8));
            for pair in sizes.windows(2) {
                block = Allocator.realloc(block, layout(pair[0]), pair[1]);
                assert!(!block.is_null() && block.align_offset(16) == 0, "{pair:?}");
                assert!((0..10).all(|i| block.add(i).read() == i as u8), "{pair:?}");
                block.add(pair[1] - 1).write(9);
            }
            Allocator.dealloc(block, layout(10));
            let zeroed = Allocator.alloc_zeroed(layout(2 * LARGE));
            assert!((0..2 * LARGE).step_by(PAGE).all(|i| zeroed.add(i).read() == 0));
            Allocator.dealloc(zeroed, layout(2 * LARGE));
        }
    }
}
