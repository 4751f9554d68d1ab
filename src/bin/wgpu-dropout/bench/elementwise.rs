//! `dropout` beside `copy`: the same 8 bytes an element.

use super::work::{Bound, Entry, Timed, Work, numbers};
use std::time::Duration;
use wgpu_dropout::call::DropoutCall;
use wgpu_dropout::{Backend, Dropout, Key, Mask, Mode, Rate, Result};

/// Columns of the tensors.
pub const COLS: usize = 1024;

/// Input and output of the two kernels.
pub struct Elementwise<'a, B: Backend> {
    backend: &'a mut B,
    elements: usize,
    x: B::Tensor<f32>,
    y: B::Tensor<f32>,
    dropout: Dropout,
}

impl<'a, B: Backend> Elementwise<'a, B> {
    /// Tensors of `elements` elements, a multiple of [`COLS`], and inverted dropout that keeps half of them.
    pub fn new(backend: &'a mut B, elements: usize, key: Key) -> Result<Self> {
        let rows = elements / COLS;
        Ok(Self {
            elements,
            x: backend.tensor(rows, COLS, &numbers(0, rows, COLS))?,
            y: backend.zeros(rows, COLS)?,
            dropout: Dropout::train(Mode::Inverted, Mask::new(Rate::drop(0.5)?, key)),
            backend,
        })
    }
}

/// A copy of `elements` elements: the ceiling of every kernel that moves bytes.
pub fn copy(elements: usize) -> Entry {
    Entry {
        kernel: "copy",
        shape: vec![elements / COLS, COLS],
        bytes: 8 * elements as u64,
        flops: 0,
        bound: Bound::Bytes,
        per_call: 1,
    }
}

impl<B: Timed> Work for Elementwise<'_, B> {
    fn entries(&self) -> Vec<Entry> {
        let copy = copy(self.elements);
        let dropout = Entry { kernel: "dropout", flops: self.elements as u64, ..copy.clone() };
        vec![copy, dropout]
    }

    fn call(&mut self, entry: usize) -> Result<()> {
        let backend = &mut *self.backend;
        let (x, y) = (&self.x, &mut self.y);
        match entry {
            0 => backend.copy(x, y),
            _ => backend.dropout(DropoutCall { x, y, dropout: self.dropout }),
        }
    }

    fn finish(&mut self) -> Result<Option<Duration>> {
        self.backend.finish()
    }
}
