//! Thread-local memory that products keep between calls, because fresh pages cost as much as
//! packing into them; and matrices whose parts several threads write.
#![allow(unsafe_code)]

use bytemuck::{Pod, Zeroable};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

/// Cache line. Aligned to 64 bytes so that no vector load straddles two lines.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Buffer of floats that starts on a cache line.
#[derive(Default)]
pub(super) struct Memory(Vec<Line>);

impl Memory {
    /// Returns `len` floats of unspecified value.
    pub fn floats(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(16);
        if self.0.len() < lines {
            self.0.resize(lines, Line::zeroed());
        }
        &mut bytemuck::cast_slice_mut(&mut self.0)[..len]
    }
}

/// Memory of one thread for its part of a product.
#[derive(Default)]
pub(super) struct Local {
    /// Packed block of B.
    pub block: Memory,
    /// Block of a factor after its gate.
    pub stage: Memory,
    /// Rows of a result that is not stored in a matrix.
    pub rows: Memory,
}

thread_local! {
    static LOCAL: RefCell<Local> = RefCell::default();
    static PACKED: RefCell<Memory> = RefCell::default();
}

/// Runs `f` with this thread's memory.
pub(super) fn with_local<R>(f: impl FnOnce(&mut Local) -> R) -> R {
    take(&LOCAL, f)
}

/// Runs `f` with `len` floats for the packed A of the product that this thread called.
pub(super) fn with_packed<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    take(&PACKED, |memory| f(memory.floats(len)))
}

/// Runs `f` with the value of `cell`, which is taken out of the cell meanwhile: while a thread
/// waits for others, the pool may give it a part of another product.
fn take<T: Default, R>(
    cell: &'static std::thread::LocalKey<RefCell<T>>,
    f: impl FnOnce(&mut T) -> R,
) -> R {
    let mut value = cell.take();
    let result = f(&mut value);
    cell.set(value);
    result
}

/// Slice whose disjoint parts are written by several threads.
#[derive(Clone, Copy)]
pub(in crate::cpu::fast) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for a mutable slice of floats, which is `Send`. Callers of `part` guarantee
// that parts in use do not overlap.
unsafe impl Send for Shared<'_> {}
// SAFETY: as for `Send`. The only method that gives access to the elements is `part`, whose callers
// guarantee exclusive access; `at` returns a raw pointer.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Shares `values` for as long as they are borrowed.
    ///
    /// # Panics
    /// If the length of `values` is not `len`.
    pub fn new(values: &'a mut [f32], len: usize) -> Self {
        assert_eq!(values.len(), len);
        Self { start: values.as_mut_ptr(), len, slice: PhantomData }
    }

    /// Returns a pointer to an element, or to one past the end.
    ///
    /// # Panics
    /// If `index` is greater than the length.
    pub(super) fn at(&self, index: usize) -> *mut f32 {
        assert!(index <= self.len);
        self.start.wrapping_add(index)
    }

    /// Returns a part of the slice.
    ///
    /// # Panics
    /// If `range` is not within the slice.
    ///
    /// # Safety
    /// While the result is in use, no other part in use may overlap it, unless all of them are only
    /// read.
    pub unsafe fn part(&self, range: Range<usize>) -> &'a mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range is within the slice, and the caller guarantees exclusive access.
        unsafe { std::slice::from_raw_parts_mut(self.start.wrapping_add(range.start), range.len()) }
    }
}
