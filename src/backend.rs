//! One interface to the GPU and the CPU: tensors, the kernels, and when their work is done.

use crate::call::{
    ActivationGrad, AdamW, AlphaDropoutCall, BatchLoss, BatchNorm, BatchNormGrad, BatchStatistics,
    DropoutBits, DropoutBroadcast, DropoutCall, Gather, GaussianDropoutCall, GradInput, GradWeight,
    GradWeightSgd, LinearActivation, LinearForward, MaskBits, MaskBytes, Moments, Patches,
    PatchesGrad, PoolCall, PoolGrad, Sgd, SoftmaxCrossEntropy, SparsityGrad, SquaredError,
    Subnetworks,
};
use crate::shape::Matrix;
use crate::{Error, Result};

/// What a tensor can hold: f32, u32, or bytes.
pub trait Element: bytemuck::Pod + Default + std::fmt::Debug + Send + Sync + 'static {}
impl Element for f32 {}
impl Element for u32 {}
impl Element for u8 {}

/// What a backend has done so far, counted where it is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Kernels run.
    pub dispatches: u64,
    /// Command buffers of kernels submitted; the copies that read back are counted by their bytes
    /// alone.
    pub submits: u64,
    /// Bytes read back to the host.
    pub bytes_read: u64,
    /// Bytes of masks written to the device's memory: by [`mask_bits`](Backend::mask_bits) and
    /// [`mask_bytes`](Backend::mask_bytes), the kernels that write any.
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

/// A device that runs the kernels: [`Cpu`](crate::cpu::Cpu) or [`Gpu`](crate::gpu::Gpu).
///
/// Kernels run in the order in which they are called. On a GPU they are recorded, and one
/// [`submit`](Self::submit) hands them all over; reading a tensor submits what is pending and waits
/// for it.
pub trait Backend {
    /// A row-major matrix on the device.
    type Tensor<T: Element>: Matrix + std::fmt::Debug;

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

    /// `y = M·s·x`.
    ///
    /// # Errors
    /// As every kernel here: [`Error::Shape`] for sizes that do not fit one another,
    /// [`Error::TooLarge`] past what the mask contract or the device
    /// holds, [`Error::OutOfMemory`], or [`Error::Device`] where it was lost.
    fn dropout(&mut self, call: DropoutCall<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `y = M·s·x` with a mask that is broadcast: the element at `(row, col)` of an
    /// [`AxisMap`](crate::AxisMap).
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn dropout_broadcast(&mut self, call: DropoutBroadcast<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `y = M·s·x` with a mask that is given, a bit an element.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn dropout_bits(
        &mut self,
        call: DropoutBits<'_, Self::Tensor<f32>, Self::Tensor<u32>>,
    ) -> Result<()>;

    /// `y = a·x + b` where the mask keeps, else `a·α' + b`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn alpha_dropout(&mut self, call: AlphaDropoutCall<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `y = x·(1 + σ·n)`, n standard normal.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn gaussian_dropout(&mut self, call: GaussianDropoutCall<'_, Self::Tensor<f32>>) -> Result<()>;

    /// The mask as bits: element (r, c), `1` where `draw < t`, is bit c % 32 of word c / 32 of row
    /// r.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn mask_bits(&mut self, call: MaskBits<'_, Self::Tensor<u32>>) -> Result<()>;

    /// The mask as bytes: `1` where `draw < t`, else `0`, row-major.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn mask_bytes(&mut self, call: MaskBytes<'_, Self::Tensor<u8>>) -> Result<()>;

    /// `Y = M·s·relu(X·W + b)`, or its predict form.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn linear_forward(&mut self, call: LinearForward<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `Y = R + M·s·act(Z)` with `Z = X·W + b`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn linear_activation(&mut self, call: LinearActivation<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `dZ = M·s·act'(Z)·dY`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn activation_grad(&mut self, call: ActivationGrad<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `dX = dZ·Wᵀ`, with `dZ = dY·s` where `Y > 0` after ReLU, else `dZ = M·s·dY`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn grad_input(&mut self, call: GradInput<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `dW = Xᵀ·dZ` and `db = Σ_rows dZ`, with `dZ` as in [`grad_input`](Self::grad_input).
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn grad_weight(&mut self, call: GradWeight<'_, Self::Tensor<f32>>) -> Result<()>;

    /// One update of a layer, `sgd` of `dW = Xᵀ·dZ` and `db = Σ_rows dZ`, which are not stored.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout); [`Error::Invalid`] for a rule with max-norm.
    fn grad_weight_sgd(&mut self, call: GradWeightSgd<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `loss[r] = −log softmax(z[r])[label]` in nats, whether row r is right, and `dz = (softmax(z)
    /// − onehot)/N`, the gradient of the mean.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn softmax_cross_entropy(
        &mut self,
        call: SoftmaxCrossEntropy<'_, Self::Tensor<f32>, Self::Tensor<u32>>,
    ) -> Result<()>;

    /// `loss[r] = ½·Σ_c (y − t)²` with `y = z` or the logistic of z, and `dz = (y − t)/B`, times
    /// `y·(1 − y)` of the logistic.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn squared_error(&mut self, call: SquaredError<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `totals[slot] = Σ_r losses[r]`: the sums of a mini-batch's losses and right answers.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn batch_loss(&mut self, call: BatchLoss<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `y[m·R + r, c] = M[m, c]·s·x[r, c]`: a dropout site of many sub-networks m at once.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn subnetworks(&mut self, call: Subnetworks<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `p = softmax(z)`, and over sub-networks its weighted mean and squares, and its mean entropy
    /// in nats.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn moments(&mut self, call: Moments<'_, Self::Tensor<f32>>) -> Result<()>;

    /// One update of a weight matrix or bias: `v = μ·v + dW + λ·W + α·sign(W)`, `W = W − lr·v`,
    /// then max-norm.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn sgd(&mut self, call: Sgd<'_, Self::Tensor<f32>>) -> Result<()>;

    /// One update by AdamW: `m = β₁·m + (1 − β₁)·g`, `v = β₂·v + (1 − β₂)·g²`, `W = W − lr·λ·W −
    /// lr·m̂/(√v̂ + ε)`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout); [`Error::Invalid`] for a β that is not 0 to below 1.
    fn adamw(&mut self, call: AdamW<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `mean = Σ_r x/B` and `variance = Σ_r (x − mean)²/B` of each column, and the running ones.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn batch_statistics(&mut self, call: BatchStatistics<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `Y = M·s·relu(γ·(X − mean)/√(variance + ε) + β)`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn batch_norm(&mut self, call: BatchNorm<'_, Self::Tensor<f32>>) -> Result<()>;

    /// The way back through [`batch_norm`](Self::batch_norm): `dγ = Σ_r dY·n`, `dβ = Σ_r dY`, `dX =
    /// γ/√(variance + ε)·(dY − dβ/B − n·dγ/B)`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn batch_norm_grad(&mut self, call: BatchNormGrad<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `dY += λ/B·((1 − ρ)/(1 − mean) − ρ/mean)`, the gradient of the sparsity penalty `λ·Σ KL(ρ ‖
    /// mean of each column)`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout); [`Error::Invalid`] for a target that is not above 0 and below
    /// 1.
    fn sparsity_grad(&mut self, call: SparsityGrad<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `Y[(b, i, j), (u, v, c)] = X[b, i + u − P, j + v − P, c]`: the windows of images, a row
    /// each.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn patches(&mut self, call: Patches<'_, Self::Tensor<f32>>) -> Result<()>;

    /// The way back through [`patches`](Self::patches): `dX[b, h, w, c] = Σ_uv dY[(b, h + P − u, w
    /// + P − v), (u, v, c)]`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn patches_grad(&mut self, call: PatchesGrad<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `Y[b, i, j, c] = max or mean over u, v of X[b, i·U + u, j·V + v, c]`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn pool(&mut self, call: PoolCall<'_, Self::Tensor<f32>>) -> Result<()>;

    /// The way back through [`pool`](Self::pool): a mean's `dY` in equal shares, a maximum's to the
    /// first of the largest elements.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn pool_grad(&mut self, call: PoolGrad<'_, Self::Tensor<f32>>) -> Result<()>;

    /// `X[r] = M·s·(unit·data[order[first + r]])` with its labels: a mini-batch of a data set that
    /// lies on the device.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn gather(
        &mut self,
        call: Gather<'_, Self::Tensor<f32>, Self::Tensor<u32>, Self::Tensor<u8>>,
    ) -> Result<()>;

    /// `y = x`: the ceiling that [`dropout`](Self::dropout) is measured against.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    fn copy(&mut self, x: &Self::Tensor<f32>, y: &mut Self::Tensor<f32>) -> Result<()>;

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
    /// As [`dropout`](Self::dropout).
    fn read_mask(&mut self, mask: crate::Mask, rows: usize, cols: usize) -> Result<Vec<u8>> {
        let mut bits = self.zeros::<u32>(rows, cols.div_ceil(32))?;
        self.mask_bits(MaskBits { bits: &mut bits, cols, mask })?;
        let words = self.read(&bits)?;
        crate::mask::bits_to_bytes(&words, rows, cols)
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
