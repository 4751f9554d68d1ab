//! Update rule of stochastic gradient descent.

/// Update rule of stochastic gradient descent:
///
/// - `g = dW + λ·W + α·sign(W)`,
/// - `v = μ·v + g`,
/// - `W = W − lr·v`,
/// - then each column of `W` whose norm exceeds `c` is scaled to the norm `c`.
///
/// Sources: PyTorch's `torch.optim.SGD`; for L1, the subgradient of `α·Σ|W|` that is 0 at 0; for
/// max-norm, Srivastava et al., JMLR 15 (2014), section 5.1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdRule {
    /// Learning rate `lr`.
    pub lr: f32,
    /// Momentum `μ`; if it is 0, no velocity is kept.
    pub momentum: f32,
    /// Weight decay `λ` (L2), applied to weights but not to biases.
    pub weight_decay: f32,
    /// L1 penalty `α`, applied to weights but not to biases.
    pub l1: f32,
    /// Largest norm `c` of a unit's incoming weights.
    pub max_norm: Option<f32>,
}

impl SgdRule {
    /// Returns the plain rule `W = W − lr·dW`.
    pub const fn plain(lr: f32) -> Self {
        Self { lr, momentum: 0.0, weight_decay: 0.0, l1: 0.0, max_norm: None }
    }

    /// Returns the rule for a bias, without penalties and max-norm, which apply only to weights.
    pub fn for_bias(self) -> Self {
        Self { weight_decay: 0.0, l1: 0.0, max_norm: None, ..self }
    }
}
