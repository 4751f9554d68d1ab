//! Arguments of every kernel: one struct per kernel, shared by the CPU, a [`Gpu`](crate::gpu::Gpu)
//! and a caller's own device.
//!
//! Tensors are row-major. Unless a struct says otherwise, `X` is `[B, I]`, `W` is `[I, O]`, `b` is
//! `[1, O]`, and `Y` and `dY` are `[B, O]`. `M` is the mask of the call's [`Dropout`] and `s` its
//! scale. `T` holds f32, `U` holds u32 and `V` holds bytes; on a caller's device all of them are
//! [`View`](crate::gpu::View)s.
//!
//! Every call is checked before it reaches a device. A shape that does not fit is an
//! [`Error::Shape`] that names both sizes.

mod activation;
mod adamw;
mod convolution;
mod ensemble;
mod forms;
mod normalization;
mod sparsity;

pub use activation::{Activation, ActivationGrad, LinearActivation};
pub use adamw::{AdamW, AdamWRule};
pub use convolution::{Filter, Image, Patches, PatchesGrad, Pool, PoolCall, PoolGrad, Pooling};
pub use ensemble::{Moments, Subnetworks};
pub use forms::{AlphaDropoutCall, DropoutBits, DropoutBroadcast, GaussianDropoutCall, MaskBytes};
pub use normalization::{BatchNorm, BatchNormGrad, BatchStatistics, EPSILON};
pub use sparsity::SparsityGrad;

use crate::shape::{Matrix, expect};
use crate::{Dropout, Error, Mask, Result};

/// Dropout of any tensor: `y = M·s·x`. Applied to `dy`, the same call is its own backward pass.
///
/// Source: Srivastava et al., JMLR 15 (2014), section 4; scaling during training as in the CS231n
/// notes.
#[derive(Debug)]
pub struct DropoutCall<'a, T> {
    /// Input, any shape.
    pub x: &'a T,
    /// Output, the input's shape.
    pub y: &'a mut T,
    /// Mask and scale.
    pub dropout: Dropout,
}

impl<T: Matrix> DropoutCall<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        expect("dropout", "y", self.y, self.x.rows(), self.x.cols())?;
        self.dropout.mask.check(self.x.rows(), self.x.cols())
    }
}

/// The mask as packed bits: element (r, c) is bit `c % 32` of word `c / 32` of row r.
///
/// Bits past the last column are 0.
#[derive(Debug)]
pub struct MaskBits<'a, U> {
    /// Output `[rows, ⌈cols / 32⌉]`.
    pub bits: &'a mut U,
    /// Columns of the mask.
    pub cols: usize,
    /// Mask to draw.
    pub mask: Mask,
}

impl<U: Matrix> MaskBits<'_, U> {
    pub(crate) fn check(&self) -> Result<()> {
        expect("mask_bits", "bits", self.bits, self.bits.rows(), self.cols.div_ceil(32))?;
        self.mask.check(self.bits.rows(), self.cols)
    }
}

/// Fused forward pass of a layer: `Y = M·s·relu(X·W + b)`.
///
/// With [`Dropout::predict`] it computes the predict form `Y = a·relu(X·W + b)`. The fused epilogue
/// is this crate's own.
#[derive(Debug)]
pub struct LinearForward<'a, T> {
    /// `X [B, I]`
    pub x: &'a T,
    /// `W [I, O]`
    pub weight: &'a T,
    /// `b [1, O]`
    pub bias: Option<&'a T>,
    /// `Y [B, O]`, written.
    pub y: &'a mut T,
    /// True if ReLU precedes the dropout. `relu(NaN)` is NaN.
    pub relu: bool,
    /// Mask and scale.
    pub dropout: Dropout,
}

impl<T: Matrix> LinearForward<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let kernel = "linear_forward";
        let (batch, inputs, outputs) = (self.x.rows(), self.x.cols(), self.weight.cols());
        expect(kernel, "weight", self.weight, inputs, outputs)?;
        self.bias.map_or(Ok(()), |bias| expect(kernel, "bias", bias, 1, outputs))?;
        expect(kernel, "y", self.y, batch, outputs)?;
        self.dropout.mask.check(batch, outputs)
    }
}

/// Gradient of a layer's input: `dX = dZ·Wᵀ`.
///
/// After ReLU, `dZ = dY·s` where `Y > 0`, else 0. Without ReLU, `dZ = M·s·dY`.
///
/// In a chain of layers, `X` is the output of the previous layer, whose own backward pass needs its
/// `dZ` rather than its `dY`. With [`through`](Self::through) the kernel writes that `dZ`: `dX·s`
/// where `X > 0`, else 0. The previous layer's calls then take `output: None` and
/// [`Dropout::NONE`].
///
/// Source: the chain rule; CS231n notes, "backprop".
#[derive(Debug)]
pub struct GradInput<'a, T> {
    /// `dY [B, O]`
    pub grad_output: &'a T,
    /// `Y [B, O]`, as the forward pass wrote it, if ReLU preceded the dropout; `None` without ReLU.
    pub output: Option<&'a T>,
    /// `W [I, O]`
    pub weight: &'a T,
    /// `dX [B, I]`, written.
    pub grad_input: &'a mut T,
    /// Mask and scale of the forward pass.
    pub dropout: Dropout,
    /// `X [B, I]` and its dropout's scale `s`, if `X` is the output of ReLU and dropout and the
    /// gradient is to pass back through both.
    pub through: Option<(&'a T, f32)>,
}

impl<T: Matrix> GradInput<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let kernel = "grad_input";
        let (batch, outputs, inputs) =
            (self.grad_output.rows(), self.grad_output.cols(), self.weight.rows());
        expect(kernel, "weight", self.weight, inputs, outputs)?;
        self.output.map_or(Ok(()), |y| expect(kernel, "output", y, batch, outputs))?;
        expect(kernel, "grad_input", self.grad_input, batch, inputs)?;
        self.through.map_or(Ok(()), |(x, _)| expect(kernel, "through", x, batch, inputs))?;
        self.dropout.mask.check(batch, outputs)
    }
}

/// Gradients of a layer's parameters: `dW = Xᵀ·dZ` and `db = Σ_rows dZ`, with `dZ` as in
/// [`GradInput`].
///
/// Source: the chain rule; CS231n notes, "backprop".
#[derive(Debug)]
pub struct GradWeight<'a, T> {
    /// `X [B, I]`
    pub x: &'a T,
    /// `dY [B, O]`
    pub grad_output: &'a T,
    /// `Y [B, O]`, as the forward pass wrote it, if ReLU preceded the dropout; `None` without ReLU.
    pub output: Option<&'a T>,
    /// `dW [I, O]`, written.
    pub grad_weight: &'a mut T,
    /// `db [1, O]`, written.
    pub grad_bias: &'a mut T,
    /// Mask and scale of the forward pass.
    pub dropout: Dropout,
}

impl<T: Matrix> GradWeight<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let kernel = "grad_weight";
        let (batch, inputs, outputs) = (self.x.rows(), self.x.cols(), self.grad_output.cols());
        expect(kernel, "grad_output", self.grad_output, batch, outputs)?;
        self.output.map_or(Ok(()), |y| expect(kernel, "output", y, batch, outputs))?;
        expect(kernel, "grad_weight", self.grad_weight, inputs, outputs)?;
        expect(kernel, "grad_bias", self.grad_bias, 1, outputs)?;
        self.dropout.mask.check(batch, outputs)
    }
}

/// Softmax cross-entropy of each row, and its gradient.
///
/// With `max` the largest logit of row r, the loss in nats is
/// `loss[r] = log Σ_c exp(z[r,c] − max) − (z[r,label] − max)`. The gradient, of the mean of N
/// losses, is `dz = (softmax(z) − onehot)/N`. The kernel also records whether each row is
/// classified correctly.
///
/// Source: CS231n notes, "linear classification".
#[derive(Debug)]
pub struct SoftmaxCrossEntropy<'a, T, U> {
    /// `z [B, C]`
    pub logits: &'a T,
    /// `[B, 1]`, each below C. A label of C or more gives a loss of NaN.
    pub labels: &'a U,
    /// `dz [B, C]`, written.
    pub grad_logits: &'a mut T,
    /// `[B, 2]`, written: a row's loss, and 1 if its largest logit (the first of equal ones) is the
    /// label's, else 0.
    pub losses: &'a mut T,
    /// Number of rows N over which the loss is averaged: B, or the rows of the whole mini-batch if
    /// these B are a shard of it.
    pub batch: usize,
}

impl<T: Matrix, U: Matrix> SoftmaxCrossEntropy<'_, T, U> {
    pub(crate) fn check(&self) -> Result<()> {
        let kernel = "softmax_cross_entropy";
        let (batch, classes) = (self.logits.rows(), self.logits.cols());
        expect(kernel, "labels", self.labels, batch, 1)?;
        expect(kernel, "grad_logits", self.grad_logits, batch, classes)?;
        expect(kernel, "losses", self.losses, batch, 2)?;
        match self.batch < batch {
            true => {
                Err(Error::shape(kernel, format!("{batch} rows of a mini-batch of {}", self.batch)))
            }
            false => Ok(()),
        }
    }
}

/// Squared error of each row, and its gradient: for regression, or for an autoencoder, whose
/// targets are its inputs.
///
/// `y` is the logistic function of `z`, or `z` itself. The loss is
/// `loss[r] = ½·Σ_c (y[r,c] − t[r,c])²`. The gradient, of the mean over the rows, is
/// `dz = (y − t)/B`, times `y·(1 − y)` for the logistic function.
///
/// Source: Hinton, Salakhutdinov, "Reducing the dimensionality of data with neural networks",
/// Science 313 (2006).
#[derive(Debug)]
pub struct SquaredError<'a, T> {
    /// `z [B, C]`, the last layer's output.
    pub z: &'a T,
    /// `t [B, C]`
    pub targets: &'a T,
    /// `dz [B, C]`, written.
    pub grad_z: &'a mut T,
    /// `[B, 2]`, written: a row's loss, and 0.
    pub losses: &'a mut T,
    /// True for `y = 1 / (1 + exp(−z))`, false for `y = z`.
    pub logistic: bool,
}

impl<T: Matrix> SquaredError<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let kernel = "squared_error";
        let (batch, cols) = (self.z.rows(), self.z.cols());
        expect(kernel, "targets", self.targets, batch, cols)?;
        expect(kernel, "grad_z", self.grad_z, batch, cols)?;
        expect(kernel, "losses", self.losses, batch, 2)
    }
}

/// Totals of a mini-batch, `totals[slot] = Σ_r losses[r]`: the sum of its losses and the number of
/// rows classified correctly.
#[derive(Debug)]
pub struct BatchLoss<'a, T> {
    /// `[B, 2]`, from [`SoftmaxCrossEntropy`] or [`SquaredError`].
    pub losses: &'a T,
    /// `[any, 2]`, one row written.
    pub totals: &'a mut T,
    /// The row of `totals` to write.
    pub slot: usize,
}

impl<T: Matrix> BatchLoss<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let kernel = "batch_loss";
        expect(kernel, "losses", self.losses, self.losses.rows(), 2)?;
        expect(kernel, "totals", self.totals, self.totals.rows(), 2)?;
        if self.slot >= self.totals.rows() {
            return Err(Error::shape(
                kernel,
                format!("slot {} of totals with {} rows", self.slot, self.totals.rows()),
            ));
        }
        Ok(())
    }
}

/// Update rule of stochastic gradient descent: `g = dW + λ·W + α·sign(W)`, `v = μ·v + g`,
/// `W = W − lr·v`. Then each column of `W` whose norm exceeds c is shortened to c.
///
/// Sources: PyTorch's `torch.optim.SGD`; L1 as the subgradient of `α·Σ|W|` that is 0 at 0; max-norm
/// from Srivastava et al., JMLR 15 (2014), section 5.1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdRule {
    /// Learning rate `lr`.
    pub lr: f32,
    /// Momentum `μ`; with 0, no velocity is kept.
    pub momentum: f32,
    /// Weight decay `λ` (L2), of weights but not of biases.
    pub weight_decay: f32,
    /// L1 penalty `α`, of weights but not of biases.
    pub l1: f32,
    /// Largest norm `c` of a unit's incoming weights.
    pub max_norm: Option<f32>,
}

impl SgdRule {
    /// Returns the rule `W = W − lr·dW` and nothing else.
    pub const fn plain(lr: f32) -> Self {
        Self { lr, momentum: 0.0, weight_decay: 0.0, l1: 0.0, max_norm: None }
    }

    /// Returns the rule for a bias, without penalties and without max-norm: those apply to weights,
    /// and max-norm does not bound a bias.
    pub fn for_bias(self) -> Self {
        Self { weight_decay: 0.0, l1: 0.0, max_norm: None, ..self }
    }
}

/// One update of a weight matrix by [`SgdRule`]. A bias is a matrix of one row, updated without
/// penalties and max-norm.
#[derive(Debug)]
pub struct Sgd<'a, T> {
    /// `dW`
    pub grad: &'a T,
    /// `W`, updated.
    pub weight: &'a mut T,
    /// `v`, updated; `None` without momentum.
    pub velocity: Option<&'a mut T>,
    /// The rule.
    pub rule: SgdRule,
}

impl<T: Matrix> Sgd<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let (rows, cols) = (self.weight.rows(), self.weight.cols());
        expect("sgd", "grad", self.grad, rows, cols)?;
        match &self.velocity {
            Some(velocity) => expect("sgd", "velocity", *velocity, rows, cols),
            None if self.rule.momentum != 0.0 => {
                Err(Error::shape("sgd", "momentum requires a velocity tensor".to_owned()))
            }
            None => Ok(()),
        }
    }
}

/// One update of a layer by [`SgdRule`], with gradients that are never stored: `dW = Xᵀ·dZ` and
/// `db = Σ_rows dZ` are computed and applied in one kernel.
///
/// A rule with max-norm is refused. The norm of a column requires the whole column at once, so it
/// takes [`GradWeight`] and then [`Sgd`].
#[derive(Debug)]
pub struct GradWeightSgd<'a, T> {
    /// `X [B, I]`
    pub x: &'a T,
    /// `dZ [B, O]`, the gradient before the layer's activation and dropout.
    pub grad_z: &'a T,
    /// `W [I, O]`, updated.
    pub weight: &'a mut T,
    /// `b [1, O]`, updated.
    pub bias: &'a mut T,
    /// `v` of `W` and of `b`, both updated; `None` without momentum.
    pub velocity: Option<(&'a mut T, &'a mut T)>,
    /// The rule; the bias is updated by [`SgdRule::for_bias`].
    pub rule: SgdRule,
}

impl<T: Matrix> GradWeightSgd<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let kernel = "grad_weight_sgd";
        let (batch, inputs, outputs) = (self.x.rows(), self.x.cols(), self.grad_z.cols());
        expect(kernel, "grad_z", self.grad_z, batch, outputs)?;
        expect(kernel, "weight", self.weight, inputs, outputs)?;
        expect(kernel, "bias", self.bias, 1, outputs)?;
        if let Some(max_norm) = self.rule.max_norm {
            return Err(Error::invalid(format!(
                "max-norm {max_norm}: grad_weight_sgd does not support it; use grad_weight and then sgd"
            )));
        }
        match &self.velocity {
            Some((weight, bias)) => {
                expect(kernel, "weight's velocity", *weight, inputs, outputs)?;
                expect(kernel, "bias's velocity", *bias, 1, outputs)
            }
            None if self.rule.momentum != 0.0 => {
                Err(Error::shape(kernel, "momentum requires velocity tensors".to_owned()))
            }
            None => Ok(()),
        }
    }
}

/// Features of a data set on a device. Bytes stay bytes until a mini-batch is gathered.
#[derive(Debug)]
pub enum Features<'a, T, V> {
    /// `[N, I]` bytes, such as pixels.
    Bytes(&'a V),
    /// `[N, I]` floats.
    Floats(&'a T),
}

// A derived impl would require the tensors themselves to be `Copy`.
impl<T, V> Clone for Features<'_, T, V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T, V> Copy for Features<'_, T, V> {}

impl<T: Matrix, V: Matrix> Matrix for Features<'_, T, V> {
    fn rows(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.rows(),
            Self::Floats(floats) => floats.rows(),
        }
    }

    fn cols(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.cols(),
            Self::Floats(floats) => floats.cols(),
        }
    }
}

/// Gathers a mini-batch with its labels: `X[r] = M·s·(unit·data[order[first + r]])` and
/// `labels[r] = all_labels[order[first + r]]`.
///
/// Every entry of `order` must be the number of a row of the data. Any other entry gives a row of
/// unspecified values, never an access out of bounds.
#[derive(Debug)]
pub struct Gather<'a, T, U, V> {
    /// Data, `[N, I]`.
    pub data: Features<'a, T, V>,
    /// Labels of all rows of the data, `[N, 1]`.
    pub all_labels: &'a U,
    /// `[any, 1]`: rows of the data in the order in which they are visited.
    pub order: &'a U,
    /// Position in `order` at which this mini-batch starts.
    pub first: usize,
    /// Factor of every feature: 1/255 for image bytes.
    pub unit: f32,
    /// `X [B, I]`, written.
    pub x: &'a mut T,
    /// Labels of the mini-batch, `[B, 1]`, written.
    pub labels: &'a mut U,
    /// Dropout of the input.
    pub dropout: Dropout,
}

impl<T: Matrix, U: Matrix, V: Matrix> Gather<'_, T, U, V> {
    pub(crate) fn check(&self) -> Result<()> {
        let (rows, cols) = (self.x.rows(), self.data.cols());
        expect("gather", "x", self.x, rows, cols)?;
        expect("gather", "labels", self.labels, rows, 1)?;
        expect("gather", "all_labels", self.all_labels, self.data.rows(), 1)?;
        if self.first.checked_add(rows).is_none_or(|end| end > self.order.rows()) {
            let what = format!("rows {}..+{rows} of an order of {}", self.first, self.order.rows());
            return Err(Error::shape("gather", what));
        }
        self.dropout.mask.check(rows, cols)
    }
}
