//! Where the C library's larger allocations lie.

use std::alloc::{GlobalAlloc, Layout, System};

/// Of the shared object and the archive alone, whose symbols are their own: a Rust program has one allocator, which is
/// not a library's to choose.
#[cfg(c_library)]
#[global_allocator]
static ALLOCATOR: Spaced = Spaced;

/// The system's allocator, with a gap behind allocations of a page and more.
///
/// Neighbours of whole pages are otherwise 16 bytes more than whole pages apart. What rustls copies out of each TLS record
/// goes from 5 bytes behind the start of one to the start of the other then: 11 bytes ahead modulo 4096, where glibc's
/// bug 30994 strikes on AMD (as in [`crate::slab`]; 16 KiB at 3.5 instead of 85 GB/s on Zen 4).
struct Spaced;

/// The smallest allocation that is followed by a gap: a page.
const LARGE: usize = 4096;

/// Bytes of the gap: one line of the cache.
const GAP: usize = 64;

fn spaced(layout: Layout) -> Layout {
    if layout.size() < LARGE {
        return layout;
    }
    // What is too large with a gap is too large without, too; the system says so.
    Layout::from_size_align(layout.size() + GAP, layout.align()).unwrap_or(layout)
}

// SAFETY: the system's allocator, which keeps the contract, gets every call, and for one allocation always the layout
// that is made of the caller's: at least as large and aligned as that.
unsafe impl GlobalAlloc for Spaced {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise; a layout that is not empty does not become so.
        unsafe { System.alloc(spaced(layout)) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(spaced(layout)) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size makes a layout.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the allocation was made with this layout; the size is not 0, and makes a layout with a gap, too.
        unsafe { System.realloc(pointer, spaced(layout), spaced(new).size()) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the allocation was made with this layout.
        unsafe { System.dealloc(pointer, spaced(layout)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_allocations_have_a_gap_and_keep_what_is_in_them() {
        let layout = |size| Layout::from_size_align(size, 1).unwrap();
        // SAFETY: each call is for an allocation of the layout given, within its bounds.
        unsafe {
            let mut pointer = Spaced.alloc_zeroed(layout(LARGE - 1));
            pointer.write(7);
            let mut before = LARGE - 1;
            for size in [LARGE, 4 * LARGE, LARGE, 100 << 20, 1] {
                pointer = Spaced.realloc(pointer, layout(before), size);
                assert!(!pointer.is_null());
                assert_eq!(pointer.read(), 7);
                let gap = if size < LARGE { 0 } else { GAP };
                assert!(libc::malloc_usable_size(pointer.cast()) >= size + gap);
                before = size;
            }
            Spaced.dealloc(pointer, layout(before));
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let layout = Layout::from_size_align(isize::MAX as usize, 1).unwrap();
        assert_eq!(spaced(layout), layout);
        // SAFETY: the layout is not empty.
        let pointer = unsafe { Spaced.alloc(std::hint::black_box(layout)) };
        assert!(pointer.is_null());
    }
}
