//! Kernels that are timed in turns over the same tensors. The first is the ceiling of the others.

use std::time::Duration;
use wgpu_dropout::Cpu;
use wgpu_dropout::gpu::Gpu;
use wgpu_dropout::{Backend, Result};

/// One kernel of a race, and the work done by a call of it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The kernel's stem, or `copy`, `dropout_grad` (dropout with its backward pass), `matmul`,
    /// `linear_forward_plain`, `multiply_add`.
    pub kernel: &'static str,
    /// Rows and columns, or batch, inputs and outputs.
    pub shape: Vec<usize>,
    /// Type in which the tensors are stored.
    pub dtype: &'static str,
    /// Bytes that must be read and written at least once.
    pub bytes: u64,
    /// Floating-point operations; a multiply-add counts as two.
    pub flops: u64,
    /// Which of the two limits the time.
    pub bound: Bound,
    /// Number of times that [`Work::call`] runs the kernel.
    pub per_call: usize,
}

/// Resource that limits a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Moving bytes: the ceiling is a copy.
    Bytes,
    /// Arithmetic: the ceiling is a plain matrix product.
    Flops,
}

impl Entry {
    /// Returns the amount of the limiting resource that a call of the kernel uses.
    pub fn amount(&self) -> u64 {
        match self.bound {
            Bound::Bytes => self.bytes,
            Bound::Flops => self.flops,
        }
    }

    /// Formats the shape with `×` between the sizes.
    pub fn shape(&self) -> String {
        self.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
    }
}

/// Kernels over the same tensors.
pub trait Work {
    /// Calls one of them.
    fn call(&mut self, entry: usize) -> Result<()>;

    /// Waits for all calls so far, and returns their duration by the device's own clock, if it has
    /// one.
    fn finish(&mut self) -> Result<Option<Duration>>;
}

/// A backend whose work can be timed.
pub trait Timed: Backend {
    /// Does the same as [`Work::finish`] for work that has not been submitted yet.
    fn finish(&mut self) -> Result<Option<Duration>>;
}

impl Timed for Gpu {
    fn finish(&mut self) -> Result<Option<Duration>> {
        self.submit_timed()
    }
}

impl Timed for Cpu {
    fn finish(&mut self) -> Result<Option<Duration>> {
        self.wait()?;
        Ok(None)
    }
}

/// Creates a tensor of [`numbers`].
pub fn filled<B: Backend>(
    backend: &mut B,
    tensor: u32,
    rows: usize,
    cols: usize,
) -> Result<B::Tensor<f32>> {
    // The tensor comes first: if it cannot be allocated, the numbers must not be either.
    let mut filled = backend.zeros(rows, cols)?;
    backend.write(&mut filled, &numbers(tensor, rows, cols))?;
    Ok(filled)
}

/// Returns `rows × cols` numbers around 0, the same on every machine. `tensor` selects the
/// sequence.
pub fn numbers(tensor: u32, rows: usize, cols: usize) -> Vec<f32> {
    // Up to 2²⁰ different numbers (4 MiB), more than a cache is expected to hold twice.
    let different =
        wgpu_dropout::init::he_uniform(0, tensor, (rows * cols).div_ceil(1024).min(1024), 1024);
    different.into_iter().cycle().take(rows * cols).collect()
}
