//! `dropout`, alone and with its backward pass, against `copy`: 8 bytes per element in each
//! direction.

use super::work::{Bound, Entry, Timed, Work, filled};
use std::time::Duration;
use wgpu_dropout::call::{CopyCall, DropoutCall};
use wgpu_dropout::{Backend, Dropout, Key, Mask, Mode, Rate, Result};

/// Columns of the tensors.
pub const COLS: usize = 1024;

/// Returns a copy of `elements` elements: the ceiling of every kernel that moves bytes.
pub fn copy(elements: usize) -> Entry {
    Entry {
        kernel: "copy",
        shape: vec![elements / COLS, COLS],
        dtype: "f32",
        bytes: 8 * elements as u64,
        flops: 0,
        bound: Bound::Bytes,
        per_call: 1,
    }
}

/// Returns the kernels over `elements` elements, a multiple of [`COLS`].
pub fn entries(elements: usize) -> Vec<Entry> {
    let copy = copy(elements);
    let dropout = Entry { kernel: "dropout", flops: elements as u64, ..copy.clone() };
    let both = Entry {
        kernel: "dropout_grad",
        bytes: 2 * dropout.bytes,
        flops: 2 * dropout.flops,
        ..copy.clone()
    };
    vec![copy, dropout, both]
}

/// Input and output, and their gradients.
pub struct Elementwise<'a, B: Backend> {
    backend: &'a mut B,
    x: B::Tensor<f32>,
    y: B::Tensor<f32>,
    dy: B::Tensor<f32>,
    dx: B::Tensor<f32>,
    dropout: Dropout,
}

impl<'a, B: Backend> Elementwise<'a, B> {
    /// Creates tensors of `elements` elements, and inverted dropout that keeps half of them.
    pub fn new(backend: &'a mut B, elements: usize, key: Key) -> Result<Self> {
        let rows = elements / COLS;
        Ok(Self {
            x: filled(backend, 0, rows, COLS)?,
            y: backend.zeros(rows, COLS)?,
            dy: filled(backend, 1, rows, COLS)?,
            dx: backend.zeros(rows, COLS)?,
            dropout: Dropout::train(Mode::Inverted, Mask::new(Rate::drop(0.5)?, key)),
            backend,
        })
    }
}

impl<B: Timed> Work for Elementwise<'_, B> {
    fn call(&mut self, entry: usize) -> Result<()> {
        let (backend, dropout) = (&mut *self.backend, self.dropout);
        match entry {
            0 => backend.run(CopyCall { x: &self.x, y: &mut self.y }),
            1 => backend.run(DropoutCall { x: &self.x, y: &mut self.y, dropout }),
            _ => {
                backend.run(DropoutCall { x: &self.x, y: &mut self.y, dropout })?;
                backend.run(DropoutCall { x: &self.dy, y: &mut self.dx, dropout })
            }
        }
    }

    fn finish(&mut self) -> Result<Option<Duration>> {
        self.backend.finish()
    }
}
