//! One interface to the GPU and the CPU: tensors, the kernels, and when their work is done.

mod cpu;

pub use crate::call::Element;
pub use cpu::{Cpu, CpuTensor};

use crate::call::{Call, MaskBits, Place};
use crate::shape::Matrix;
use crate::{Error, Result};

/// Work that a backend has done so far, counted where it is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Kernels run.
    pub dispatches: u64,
    /// Command buffers of kernels submitted; the copies that read back are counted by their bytes
    /// alone.
    pub submits: u64,
    /// Bytes read back to the host.
    pub bytes_read: u64,
    /// Bytes of masks written to the device's memory: by [`MaskBits`] and
    /// [`MaskBytes`](crate::call::MaskBytes), the kernels that write any.
    pub mask_bytes: u64,
    /// `wgpu` objects made, besides a command encoder and its buffer a submit.
    pub objects: u64,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            dispatches: self.dispatches + other.dispatches,
            submits: self.submits + other.submits,
            bytes_read: self.bytes_read + other.bytes_read,
            mask_bytes: self.mask_bytes + other.mask_bytes,
            objects: self.objects + other.objects,
        }
    }
}

impl std::ops::Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            dispatches: self.dispatches - before.dispatches,
            submits: self.submits - before.submits,
            bytes_read: self.bytes_read - before.bytes_read,
            mask_bytes: self.mask_bytes - before.mask_bytes,
            objects: self.objects - before.objects,
        }
    }
}

/// Place of tensors on a backend: a call borrows them.
pub struct On<'a, B>(std::marker::PhantomData<(&'a (), B)>);

impl<'a, B: Backend> Place for On<'a, B> {
    type In<T: Element> = &'a B::Tensor<T>;
    type Out<T: Element> = &'a mut B::Tensor<T>;
}

/// Device that runs the kernels: [`Cpu`] or [`Gpu`](crate::gpu::Gpu).
///
/// Kernels run in the order in which they are called. On a GPU they are recorded, and one
/// [`submit`](Self::submit) hands them all over; reading a tensor submits what is pending and waits
/// for it.
///
/// ```
/// use wgpu_dropout::call::DropoutCall;
/// use wgpu_dropout::{Backend, Cpu, Dropout, Key, Mask, Mode, Rate};
///
/// let mut cpu = Cpu::new();
/// let x = cpu.tensor(128, 1024, &vec![1.0f32; 128 * 1024])?;
/// let mut y = cpu.zeros::<f32>(128, 1024)?;
/// let mask = Mask::new(Rate::drop(0.5)?, Key { seed: 42, layer: 1, step: 0 });
/// cpu.run(DropoutCall { x: &x, y: &mut y, dropout: Dropout::train(Mode::Inverted, mask) })?;
/// assert!(cpu.read(&y)?.iter().all(|&y| y == 0.0 || y == 2.0));
/// # Ok::<(), wgpu_dropout::Error>(())
/// ```
pub trait Backend: Sized {
    /// A row-major matrix on the device.
    type Tensor<T: Element>: Matrix + std::fmt::Debug + 'static;

    /// The device's name, for people.
    fn name(&self) -> String;

    /// A `rows × cols` tensor of zeros.
    ///
    /// # Errors
    /// [`Error::TooLarge`] or [`Error::OutOfMemory`].
    fn zeros<T: Element>(&mut self, rows: usize, cols: usize) -> Result<Self::Tensor<T>>;

    /// Overwrites a tensor with as many values as it has elements.
    ///
    /// # Errors
    /// [`Error::Shape`] where `values` has another length, [`Error::Device`] where the device was
    /// lost.
    fn write<T: Element>(&mut self, tensor: &mut Self::Tensor<T>, values: &[T]) -> Result<()>;

    /// The values of a tensor, once all work called so far is done.
    ///
    /// # Errors
    /// [`Error::Device`] where the device was lost, or whatever work called so far ended in.
    fn read<T: Element>(&mut self, tensor: &Self::Tensor<T>) -> Result<Vec<T>>;

    /// The values of several tensors, as [`read`](Self::read) gives each of them; a GPU is waited
    /// for once.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn read_all<T: Element>(&mut self, tensors: &[&Self::Tensor<T>]) -> Result<Vec<Vec<T>>> {
        tensors.iter().map(|tensor| self.read(tensor)).collect()
    }

    /// [`read`](Self::read) without blocking. A GPU is to be polled by somebody else meanwhile: a
    /// browser does so, elsewhere the executor or the engine's loop by
    /// [`poll`](wgpu::Device::poll) with [`PollType::Poll`](wgpu::PollType::Poll). The CPU backend
    /// is done when it is called.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn read_async<T: Element>(
        &mut self,
        tensor: &Self::Tensor<T>,
    ) -> impl Future<Output = Result<Vec<T>>> {
        async { self.read(tensor) }
    }

    /// [`read_all`](Self::read_all) without blocking, as [`read_async`](Self::read_async).
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn read_all_async<T: Element>(
        &mut self,
        tensors: &[&Self::Tensor<T>],
    ) -> impl Future<Output = Result<Vec<Vec<T>>>> {
        async { self.read_all(tensors) }
    }

    /// [`submit`](Self::submit) without blocking, where the device is behind, as
    /// [`read_async`](Self::read_async).
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn submit_async(&mut self) -> impl Future<Output = Result<()>> {
        async { self.submit() }
    }

    /// [`wait`](Self::wait) without blocking, as [`read_async`](Self::read_async).
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn wait_async(&mut self) -> impl Future<Output = Result<()>> {
        async { self.wait() }
    }

    /// Hands pending work to the device; waits where that is several submits behind.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn submit(&mut self) -> Result<()>;

    /// Waits until all work called so far is done.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn wait(&mut self) -> Result<()>;

    /// What was done so far.
    fn counts(&self) -> Counts;

    /// Runs a kernel: [`call`](crate::call) lists them.
    ///
    /// # Errors
    /// [`Error::Shape`] for sizes that do not fit one another, [`Error::Invalid`] for settings that
    /// a kernel refuses, [`Error::TooLarge`] past what the mask contract or the device holds,
    /// [`Error::OutOfMemory`], or [`Error::Device`] if it was lost.
    fn run<'a, C: Call<On<'a, Self>>>(&mut self, call: C) -> Result<()>
    where
        Self: 'a;

    /// A tensor with the given values.
    ///
    /// # Errors
    /// As [`zeros`](Self::zeros) and [`write`](Self::write).
    fn tensor<T: Element>(
        &mut self,
        rows: usize,
        cols: usize,
        values: &[T],
    ) -> Result<Self::Tensor<T>> {
        let mut tensor = self.zeros(rows, cols)?;
        self.write(&mut tensor, values)?;
        Ok(tensor)
    }

    /// The mask of `rows × cols` elements as bytes 0 and 1, drawn on the device and read back as
    /// bits.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    fn read_mask(&mut self, mask: crate::Mask, rows: usize, cols: usize) -> Result<Vec<u8>> {
        let mut bits = self.zeros::<u32>(rows, cols.div_ceil(32))?;
        self.run(MaskBits { bits: &mut bits, cols, mask })?;
        let words = self.read(&bits)?;
        Ok(crate::mask::bits_to_bytes(&words, rows, cols)?)
    }
}

/// Refuses a host slice of another length than the tensor's.
pub(crate) fn check_len(tensor: &impl Matrix, len: usize) -> Result<()> {
    let (rows, cols) = (tensor.rows(), tensor.cols());
    if rows * cols == len {
        return Ok(());
    }
    Err(Error::shape("write", format!("{len} values for a {rows}×{cols} tensor")))
}
