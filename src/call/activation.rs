//! Calls for layers with activations other than ReLU: the activation, the residual that is added
//! after it, and the backward pass.

use crate::shape::{Matrix, expect};
use crate::{Dropout, Result};

/// Activation between a layer's sum and its dropout.
///
/// | | act(z) | source |
/// |---|---|---|
/// | `None` | z | |
/// | `Relu` | z where z > 0, else 0; NaN stays NaN | |
/// | `Gelu` | z·Φ(z), Φ the standard normal CDF, within 10⁻⁷·\|z\| | Hendrycks and Gimpel, "Gaussian error linear units" (2016), the exact form |
/// | `Silu` | z/(1 + exp(−z)) | Elfwing et al., Neural Networks 107 (2018) |
/// | `Sigmoid` | 1/(1 + exp(−z)), the logistic function | Rumelhart, Hinton, Williams, Nature 323 (1986) |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Activation {
    #[default]
    None = 0,
    Relu = 1,
    Gelu = 2,
    Silu = 3,
    Sigmoid = 4,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Self; 5] = [Self::None, Self::Relu, Self::Gelu, Self::Silu, Self::Sigmoid];
}

/// Fused forward pass of a layer with any [`Activation`]: `Y = R + M·s·act(Z)` with `Z = X·W + b`.
///
/// `Z` is saved if [`z`](Self::z) is given, as [`ActivationGrad`] requires.
///
/// For the backward pass, [`ActivationGrad`] computes `dZ` from `dY` and `Z`. Then
/// [`GradInput`](super::GradInput) and [`GradWeight`](super::GradWeight) take `dZ` as their
/// `grad_output`, with `output: None` and [`Dropout::NONE`]. `dR` is `dY`.
///
/// This is the fused epilogue of a transformer's layer; the fusion is this crate's own.
#[derive(Debug)]
pub struct LinearActivation<'a, T> {
    /// `X [B, I]`
    pub x: &'a T,
    /// `W [I, O]`
    pub weight: &'a T,
    /// `b [1, O]`
    pub bias: Option<&'a T>,
    /// `R [B, O]`, added after the dropout. On a caller's device it may be the same memory as `Y`.
    pub residual: Option<&'a T>,
    /// `Z [B, O]`, written if given.
    pub z: Option<&'a mut T>,
    /// `Y [B, O]`, written.
    pub y: &'a mut T,
    /// The activation `act`.
    pub activation: Activation,
    /// Mask and scale.
    pub dropout: Dropout,
}

impl<T: Matrix> LinearActivation<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let kernel = "linear_activation";
        let (batch, inputs, outputs) = (self.x.rows(), self.x.cols(), self.weight.cols());
        expect(kernel, "weight", self.weight, inputs, outputs)?;
        self.bias.map_or(Ok(()), |bias| expect(kernel, "bias", bias, 1, outputs))?;
        self.residual
            .map_or(Ok(()), |residual| expect(kernel, "residual", residual, batch, outputs))?;
        self.z.as_deref().map_or(Ok(()), |z| expect(kernel, "z", z, batch, outputs))?;
        expect(kernel, "y", self.y, batch, outputs)?;
        self.dropout.mask.check(batch, outputs)
    }
}

/// Gradient before a layer's activation: `dZ = M·s·act'(Z)·dY`, of any shape.
///
/// On a caller's device `dZ` may be the same memory as `dY`. Source: the chain rule.
#[derive(Debug)]
pub struct ActivationGrad<'a, T> {
    /// `dY`
    pub grad_output: &'a T,
    /// `Z`, as [`LinearActivation`] saved it. After ReLU, the output `Y` serves as well, with the
    /// mask of [`Dropout::NONE`] and the site's scale: `Y` is above 0 exactly where `Z` was and the
    /// mask kept it.
    pub z: &'a T,
    /// `dZ`, written.
    pub grad_z: &'a mut T,
    /// Activation of the forward pass.
    pub activation: Activation,
    /// Mask and scale of the forward pass.
    pub dropout: Dropout,
}

impl<T: Matrix> ActivationGrad<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let (kernel, rows, cols) =
            ("activation_grad", self.grad_output.rows(), self.grad_output.cols());
        expect(kernel, "z", self.z, rows, cols)?;
        expect(kernel, "grad_z", self.grad_z, rows, cols)?;
        self.dropout.mask.check(rows, cols)
    }
}
