//! Memory that each thread keeps between products, since fresh pages cost as much as packing into
//! them, and matrices whose parts are written by several threads.
#![allow(unsafe_code)]

use bytemuck::{Pod, Zeroable};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

/// A cache line. A vector load from its start never touches a second line.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Buffer of floats that starts on a cache line.
#[derive(Default)]
pub(in crate::cpu::fast) struct Memory(Vec<Line>);

impl Memory {
    /// Returns `len` floats with unspecified values.
    pub fn floats(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(16);
        if self.0.len() < lines {
            self.0.resize(lines, Line::zeroed());
        }
        &mut bytemuck::cast_slice_mut(&mut self.0)[..len]
    }
}

/// Buffers that one thread needs for its share of a product.
#[derive(Default)]
pub(in crate::cpu::fast) struct Local {
    /// Packed block of B.
    pub block: Memory,
    /// Block of a factor with its gate applied.
    pub stage: Memory,
    /// Rows of a result without a matrix.
    pub rows: Memory,
}

thread_local! {
    static LOCAL: RefCell<Local> = RefCell::default();
    static PACKED: RefCell<Memory> = RefCell::default();
}

/// Calls `f` with this thread's buffers.
pub(in crate::cpu::fast) fn with_local<R>(f: impl FnOnce(&mut Local) -> R) -> R {
    take(&LOCAL, f)
}

/// Calls `f` with `len` floats for the packed A of a product called from this thread.
pub(in crate::cpu::fast) fn with_packed<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    take(&PACKED, |memory| f(memory.floats(len)))
}

/// Calls `f` with the cell's value, which is taken out for the duration. A thread that waits for
/// others may meanwhile be given a task of another product.
fn take<T: Default, R>(
    cell: &'static std::thread::LocalKey<RefCell<T>>,
    f: impl FnOnce(&mut T) -> R,
) -> R {
    let mut value = cell.take();
    let result = f(&mut value);
    cell.set(value);
    result
}

/// A slice whose parts are written by several threads, each its own part.
#[derive(Clone, Copy)]
pub(in crate::cpu::fast) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: this is a slice of floats, which any thread may write. Callers of `part` guarantee that
// no other thread uses an overlapping part at the same time.
unsafe impl Send for Shared<'_> {}
// SAFETY: as for `Send`. The only method that gives access to the elements is `part`, whose callers
// guarantee exclusive access; `at` returns a raw pointer.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Wraps the `len` values, which stay exclusively borrowed.
    pub fn new(values: &'a mut [f32], len: usize) -> Self {
        assert_eq!(values.len(), len);
        Self { start: values.as_mut_ptr(), len, slice: PhantomData }
    }

    /// Returns a pointer to an element, or to one past the end.
    pub(in crate::cpu::fast) fn at(&self, index: usize) -> *mut f32 {
        assert!(index <= self.len);
        self.start.wrapping_add(index)
    }

    /// Returns the part `range`.
    ///
    /// # Safety
    /// While the result is in use, no other thread may hold an overlapping part, unless all of them
    /// only read.
    pub unsafe fn part(&self, range: Range<usize>) -> &'a mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range lies within the slice, and the caller guarantees exclusive use.
        unsafe { std::slice::from_raw_parts_mut(self.start.wrapping_add(range.start), range.len()) }
    }
}
