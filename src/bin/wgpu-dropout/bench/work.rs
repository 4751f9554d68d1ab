//! What is timed together: kernels over the same tensors, the first of them the ceiling of the
//! others.

use std::time::Duration;
use wgpu_dropout::Cpu;
use wgpu_dropout::gpu::Gpu;
use wgpu_dropout::{Backend, Result};

/// One kernel of a race, and how much a call of it does.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its stem, or `copy`, `dropout_grad` (dropout with its backward pass), `matmul`,
    /// `linear_forward_plain`, `multiply_add`.
    pub kernel: &'static str,
    /// Rows and columns, or batch, inputs and outputs.
    pub shape: Vec<usize>,
    /// What tensors are stored as.
    pub dtype: &'static str,
    /// Bytes that must be read and written at least once.
    pub bytes: u64,
    /// Floating-point operations, a multiply-add counted as two.
    pub flops: u64,
    /// Which of the two the time is spent on.
    pub bound: Bound,
    /// How often [`Work::call`] runs the kernel.
    pub per_call: usize,
}

/// What limits a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Moving bytes: the ceiling is a copy.
    Bytes,
    /// Arithmetic: the ceiling is a plain matrix product.
    Flops,
}

impl Entry {
    /// How much of what limits it a call of the kernel does.
    pub fn amount(&self) -> u64 {
        match self.bound {
            Bound::Bytes => self.bytes,
            Bound::Flops => self.flops,
        }
    }

    /// The shape as people write it.
    pub fn shape(&self) -> String {
        self.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
    }
}

/// Kernels over the same tensors.
pub trait Work {
    /// Calls one of them.
    fn call(&mut self, entry: usize) -> Result<()>;

    /// Waits for all work called so far, and tells what the device's own clock says of it, where it
    /// has one.
    fn finish(&mut self) -> Result<Option<Duration>>;
}

/// A backend whose work can be timed.
pub trait Timed: Backend {
    /// As [`Work::finish`], for work that nothing has submitted yet.
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

/// A tensor of [`numbers`].
pub fn filled<B: Backend>(
    backend: &mut B,
    tensor: u32,
    rows: usize,
    cols: usize,
) -> Result<B::Tensor<f32>> {
    // The tensor first: where it cannot be had, its numbers cannot either.
    let mut filled = backend.zeros(rows, cols)?;
    backend.write(&mut filled, &numbers(tensor, rows, cols))?;
    Ok(filled)
}

/// `rows × cols` numbers around 0, the same on every machine; `tensor` tells one array of them from
/// another.
pub fn numbers(tensor: u32, rows: usize, cols: usize) -> Vec<f32> {
    // As many different ones as no cache holds twice.
    let different =
        wgpu_dropout::init::he_uniform(0, tensor, (rows * cols).div_ceil(1024).min(1024), 1024);
    different.into_iter().cycle().take(rows * cols).collect()
}
