//! The CPU as a backend: the default if there is no adapter, and the reference with which all
//! results are compared.
//!
//! It has two implementations, which draw the same bits. [`fast`](crate::cpu::fast) uses all
//! threads and the processor's vector units. [`reference`](crate::cpu::reference) has one readable
//! twin per shader.

use super::{Backend, Counts, Element, On, check_len};
use crate::call::{Call, HostPlace};
use crate::cpu::{fast, fast::Isa, reference};
use crate::shape::{Matrix, elements};
use crate::{Dropout, Error, Result};

/// Row-major matrix in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct CpuTensor<T> {
    rows: usize,
    cols: usize,
    /// `rows · cols` values.
    pub(crate) values: Vec<T>,
}

impl<T> CpuTensor<T> {
    /// Returns the values in row-major order.
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

impl<T> Matrix for CpuTensor<T> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }
}

/// The CPU as a [`Backend`].
#[derive(Debug)]
pub struct Cpu {
    /// Instruction set of the fast path; `None` selects the reference.
    isa: Option<Isa>,
    counts: Counts,
}

impl Cpu {
    /// Creates a backend on the fast path with the best instruction set that the processor has.
    pub fn new() -> Self {
        Self::with_isa(Isa::best())
    }

    /// Creates a backend on the fast path with the given instruction set. If the processor lacks
    /// it, the fast path falls back to [`Isa::Portable`]. The bits are the same on all of them.
    pub fn with_isa(isa: Isa) -> Self {
        Self { isa: Some(isa), counts: Counts::default() }
    }

    /// Creates a backend on the readable twins of the shaders, which run on one thread and sum in
    /// the shaders' order.
    pub fn reference() -> Self {
        Self { isa: None, counts: Counts::default() }
    }
}

impl Cpu {
    /// Checks and computes a call whose tensors lie in host memory.
    pub(super) fn compute<P: HostPlace>(&mut self, call: impl Call<P>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        self.counts.mask_bytes += call.mask_bytes();
        call.compute(self.isa);
        Ok(())
    }

    /// Computes dropout of a checked site in place.
    pub(super) fn dropout_there(&mut self, x: &mut [f32], cols: usize, dropout: &Dropout) {
        self.counts.dispatches += 1;
        match self.isa {
            Some(isa) => fast::dropout_in_place(isa, x, cols, dropout),
            None => reference::dropout_in_place(x, cols, dropout),
        }
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for Cpu {
    type Tensor<T: Element> = CpuTensor<T>;

    fn name(&self) -> String {
        "CPU".to_owned()
    }

    fn zeros<T: Element>(&mut self, rows: usize, cols: usize) -> Result<CpuTensor<T>> {
        let len = elements("tensor", rows, cols)?;
        // The system zeroes each page on first use. If there is no memory, the allocation returns
        // an error instead of aborting.
        let values = bytemuck::allocation::try_zeroed_vec(len)
            .map_err(|()| Error::OutOfMemory { bytes: (len * size_of::<T>()) as u64 })?;
        Ok(CpuTensor { rows, cols, values })
    }

    fn write<T: Element>(&mut self, tensor: &mut CpuTensor<T>, values: &[T]) -> Result<()> {
        check_len(tensor, values.len())?;
        tensor.values.copy_from_slice(values);
        Ok(())
    }

    fn read<T: Element>(&mut self, tensor: &CpuTensor<T>) -> Result<Vec<T>> {
        self.counts.bytes_read += size_of_val(tensor.values.as_slice()) as u64;
        Ok(tensor.values.clone())
    }

    fn submit(&mut self) -> Result<()> {
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        Ok(())
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn run<'a, C: Call<On<'a, Self>>>(&mut self, call: C) -> Result<()>
    where
        Self: 'a,
    {
        self.compute(call)
    }
}

impl HostPlace for On<'_, Cpu> {
    fn values_as<T: Element>(tensor: &Self::In<T>) -> &[T] {
        &tensor.values
    }

    fn values_mut_as<T: Element>(tensor: &mut Self::Out<T>) -> &mut [T] {
        &mut tensor.values
    }
}
