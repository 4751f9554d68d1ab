//! Common interface to the GPU and the CPU: tensors, kernels, and synchronization.

mod cpu;
mod slices;

pub use crate::call::Element;
pub use cpu::{Cpu, CpuTensor};
pub use slices::{Slice, SliceMut, Slices};

use crate::call::{Call, MaskBits, Place};
use crate::shape::Matrix;
use crate::{Error, Result};

/// Counts of the work that a backend has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of kernels run.
    pub dispatches: u64,
    /// Number of command buffers of kernels submitted. Copies that read tensors back are not among
    /// them; they are only counted in [`bytes_read`](Self::bytes_read).
    pub submits: u64,
    /// Number of bytes read back to the host.
    pub bytes_read: u64,
    /// Number of bytes of masks written to the device's memory. Only [`MaskBits`] and
    /// [`MaskBytes`](crate::call::MaskBytes) write any.
    pub mask_bytes: u64,
    /// Number of `wgpu` objects created, without the command encoder and the command buffer of each
    /// submit.
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

/// Place of tensors on a backend, which a call borrows.
pub struct On<'a, B>(std::marker::PhantomData<(&'a (), B)>);

impl<'a, B: Backend> Place for On<'a, B> {
    type In<T: Element> = &'a B::Tensor<T>;
    type Out<T: Element> = &'a mut B::Tensor<T>;
}

/// Device that runs the kernels: [`Cpu`] or [`Gpu`](crate::gpu::Gpu).
///
/// Kernels run in the order of the calls. A GPU records them until [`submit`](Self::submit) hands
/// them all over. Reading a tensor submits the pending calls and waits for them.
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
    /// Row-major matrix on the device.
    type Tensor<T: Element>: Matrix + std::fmt::Debug + 'static;

    /// Returns the device's human-readable name.
    fn name(&self) -> String;

    /// Allocates a `rows × cols` tensor of zeros.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Limit`] or [`Error::OutOfMemory`] if the tensor is too large
    /// for the machine, the device or its free memory; [`Error::Device`] if the device was lost.
    fn zeros<T: Element>(&mut self, rows: usize, cols: usize) -> Result<Self::Tensor<T>>;

    /// Overwrites a tensor. `values` must have one value per element, in row-major order.
    ///
    /// # Errors
    /// [`Error::Shape`] if `values` has another length, or [`Error::Device`] if the device was
    /// lost.
    fn write<T: Element>(&mut self, tensor: &mut Self::Tensor<T>, values: &[T]) -> Result<()>;

    /// Waits until all calls so far are done, and returns a tensor's values in row-major order.
    ///
    /// # Errors
    /// [`Error::Device`] if the device was lost, or the error in which an earlier call ended.
    fn read<T: Element>(&mut self, tensor: &Self::Tensor<T>) -> Result<Vec<T>>;

    /// Returns the values of several tensors, each as [`read`](Self::read) returns them. On a GPU,
    /// tensors that are small enough are copied together, with a single wait.
    ///
    /// # Errors
    /// The errors of [`read`](Self::read).
    fn read_all<T: Element>(&mut self, tensors: &[&Self::Tensor<T>]) -> Result<Vec<Vec<T>>> {
        tensors.iter().map(|tensor| self.read(tensor)).collect()
    }

    /// Does what [`read`](Self::read) does, without blocking.
    ///
    /// A GPU must be polled in the meantime. A browser does so itself. Elsewhere, the executor or
    /// the engine's loop must call [`poll`](wgpu::Device::poll) with
    /// [`PollType::Poll`](wgpu::PollType::Poll). On the CPU, the future is ready at once.
    ///
    /// # Errors
    /// The errors of [`read`](Self::read).
    fn read_async<T: Element>(
        &mut self,
        tensor: &Self::Tensor<T>,
    ) -> impl Future<Output = Result<Vec<T>>> {
        async { self.read(tensor) }
    }

    /// Does what [`read_all`](Self::read_all) does, without blocking. A GPU must be polled as for
    /// [`read_async`](Self::read_async).
    ///
    /// # Errors
    /// The errors of [`read`](Self::read).
    fn read_all_async<T: Element>(
        &mut self,
        tensors: &[&Self::Tensor<T>],
    ) -> impl Future<Output = Result<Vec<Vec<T>>>> {
        async { self.read_all(tensors) }
    }

    /// Does what [`submit`](Self::submit) does, without blocking if the device is behind. A GPU
    /// must be polled as for [`read_async`](Self::read_async).
    ///
    /// # Errors
    /// The errors of [`read`](Self::read).
    fn submit_async(&mut self) -> impl Future<Output = Result<()>> {
        async { self.submit() }
    }

    /// Does what [`wait`](Self::wait) does, without blocking. A GPU must be polled as for
    /// [`read_async`](Self::read_async).
    ///
    /// # Errors
    /// The errors of [`read`](Self::read).
    fn wait_async(&mut self) -> impl Future<Output = Result<()>> {
        async { self.wait() }
    }

    /// Hands pending work to the device. If the device is several submits behind, it waits.
    ///
    /// # Errors
    /// The errors of [`read`](Self::read).
    fn submit(&mut self) -> Result<()>;

    /// Submits pending work and waits until all calls so far are done.
    ///
    /// # Errors
    /// The errors of [`read`](Self::read).
    fn wait(&mut self) -> Result<()>;

    /// Returns the counts of the work done so far.
    fn counts(&self) -> Counts;

    /// Runs a kernel. [`call`](crate::call) lists them.
    ///
    /// # Errors
    /// - [`Error::Shape`] if sizes do not fit one another.
    /// - [`Error::Invalid`] if the kernel refuses a setting.
    /// - [`Error::TooLarge`] if a size exceeds the mask contract or 32 bits.
    /// - [`Error::Limit`] if a tensor exceeds a limit of the device.
    /// - [`Error::Buffer`] if a tensor belongs to another device.
    /// - [`Error::OutOfMemory`] if a buffer cannot be allocated.
    /// - [`Error::Device`] if the device was lost.
    fn run<'a, C: Call<On<'a, Self>>>(&mut self, call: C) -> Result<()>
    where
        Self: 'a;

    /// Allocates a `rows × cols` tensor with the given values, in row-major order.
    ///
    /// # Errors
    /// The errors of [`zeros`](Self::zeros) and [`write`](Self::write).
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

    /// Draws the mask of `rows × cols` elements on the device, reads it back as bits, and returns
    /// it as bytes 0 and 1, one per element.
    ///
    /// # Errors
    /// The errors of [`zeros`](Self::zeros), [`run`](Self::run) and [`read`](Self::read).
    fn read_mask(&mut self, mask: crate::Mask, rows: usize, cols: usize) -> Result<Vec<u8>> {
        let mut bits = self.zeros::<u32>(rows, cols.div_ceil(32))?;
        self.run(MaskBits { bits: &mut bits, cols, mask })?;
        let words = self.read(&bits)?;
        Ok(crate::mask::bits_to_bytes(&words, rows, cols)?)
    }
}

/// Checks that a host slice of `len` values has one value per element of the tensor.
pub(crate) fn check_len(tensor: &impl Matrix, len: usize) -> Result<()> {
    let (rows, cols) = (tensor.rows(), tensor.cols());
    if rows * cols == len {
        return Ok(());
    }
    Err(Error::shape("write", format!("{len} values for a {rows}×{cols} tensor")))
}
