//! Memory that products keep from call to call, a thread each, since fresh pages cost as much as
//! packing into them; and matrices whose parts several threads write.
#![allow(unsafe_code)]

use bytemuck::{Pod, Zeroable};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

/// A cache line: loads of a vector from its start never touch two.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Floats that start on a cache line.
#[derive(Default)]
pub(super) struct Memory(Vec<Line>);

impl Memory {
    /// `len` floats of any value.
    pub fn floats(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(16);
        if self.0.len() < lines {
            self.0.resize(lines, Line::zeroed());
        }
        &mut bytemuck::cast_slice_mut(&mut self.0)[..len]
    }
}

/// What one thread needs for its part of a product.
#[derive(Default)]
pub(super) struct Local {
    /// A block of B, packed.
    pub block: Memory,
    /// A block of a factor behind its gate.
    pub stage: Memory,
    /// Rows of a result that goes nowhere else.
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

/// Runs `f` with `len` floats for the packed A of the product that this thread has called.
pub(super) fn with_packed<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    take(&PACKED, |memory| f(memory.floats(len)))
}

/// Memory is taken out while it is used: a thread that waits for others may be given another
/// product's part meanwhile.
fn take<T: Default, R>(
    cell: &'static std::thread::LocalKey<RefCell<T>>,
    f: impl FnOnce(&mut T) -> R,
) -> R {
    let mut value = cell.take();
    let result = f(&mut value);
    cell.set(value);
    result
}

/// A slice whose parts are written by several threads, each its own.
#[derive(Clone, Copy)]
pub(in crate::cpu::fast) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a slice of floats, which any thread may write; who takes a part promises that no
// other does at the same time.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// The `len` values, which nobody else reaches meanwhile.
    pub fn new(values: &'a mut [f32], len: usize) -> Self {
        assert_eq!(values.len(), len);
        Self { start: values.as_mut_ptr(), len, slice: PhantomData }
    }

    /// Where an element lies, at most one past the end.
    pub(super) fn at(&self, index: usize) -> *mut f32 {
        assert!(index <= self.len);
        self.start.wrapping_add(index)
    }

    /// A part.
    ///
    /// # Safety
    /// While the result is used, no other thread has a part that overlaps it, unless all only read.
    pub unsafe fn part(&self, range: Range<usize>) -> &'a mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: within the slice, and nobody else's by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.wrapping_add(range.start), range.len()) }
    }
}
