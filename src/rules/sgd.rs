//! The update by stochastic gradient descent.

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
