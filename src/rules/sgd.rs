//! Update rule of stochastic gradient descent.

use super::range::{L1, LEARNING_RATE, MAX_NORM, MOMENTUM, WEIGHT_DECAY, range};
use crate::Result;

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
    #[doc = concat!("Learning rate `lr`: ", range!(LEARNING_RATE), ".")]
    pub lr: f32,
    #[doc = concat!("Momentum `μ`: ", range!(MOMENTUM), ". If it is 0, no velocity is kept.")]
    pub momentum: f32,
    #[doc = concat!("Weight decay `λ` (L2): ", range!(WEIGHT_DECAY), ".")]
    /// It applies to weights but not to biases.
    pub weight_decay: f32,
    #[doc = concat!("L1 penalty `α`: ", range!(L1), ".")]
    /// It applies to weights but not to biases.
    pub l1: f32,
    #[doc = concat!("Largest norm `c` of a unit's incoming weights: ", range!(MAX_NORM), ".")]
    pub max_norm: Option<f32>,
}

impl SgdRule {
    /// Returns the plain rule `W = W − lr·dW`.
    pub const fn plain(lr: f32) -> Self {
        Self { lr, momentum: 0.0, weight_decay: 0.0, l1: 0.0, max_norm: None }
    }

    /// Checks that each number is in its range.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid), which names the number and its range.
    pub fn check(&self) -> Result<()> {
        LEARNING_RATE.check(self.lr)?;
        MOMENTUM.check(self.momentum)?;
        WEIGHT_DECAY.check(self.weight_decay)?;
        L1.check(self.l1)?;
        self.max_norm.map_or(Ok(()), |norm| MAX_NORM.check(norm))
    }

    /// Returns the rule for a bias, without penalties and max-norm, which apply only to weights.
    pub fn for_bias(self) -> Self {
        Self { weight_decay: 0.0, l1: 0.0, max_norm: None, ..self }
    }
}
