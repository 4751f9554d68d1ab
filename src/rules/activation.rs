//! Activation functions.

/// Activation function, applied between a layer's sum and its dropout.
///
/// | | act(z) | source |
/// |---|---|---|
/// | `None` | z | |
/// | `Relu` | z if z > 0, else 0; NaN stays NaN | |
/// | `Gelu` | z·Φ(z) with the standard normal CDF Φ, to within 10⁻⁷·\|z\| | Hendrycks and Gimpel, "Gaussian error linear units" (2016), the exact form |
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
