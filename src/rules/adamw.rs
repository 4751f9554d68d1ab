//! Update rule of AdamW.

use super::range::{BETA1, BETA2, EPSILON, LEARNING_RATE, WEIGHT_DECAY, range};
use crate::Result;

/// Update rule of Adam with decoupled weight decay:
///
/// - `m = β₁·m + (1 − β₁)·g`,
/// - `v = β₂·v + (1 − β₂)·g²`,
/// - `W = W − lr·λ·W − lr·m̂/(√v̂ + ε)` with `m̂ = m/(1 − β₁ᵗ)` and `v̂ = v/(1 − β₂ᵗ)`.
///
/// Sources: Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2;
/// PyTorch's `torch.optim.AdamW`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWRule {
    #[doc = concat!("Learning rate `lr`: ", range!(LEARNING_RATE), ".")]
    pub lr: f32,
    #[doc = concat!("`β₁`: ", range!(BETA1), ".")]
    pub beta1: f32,
    #[doc = concat!("`β₂`: ", range!(BETA2), ".")]
    pub beta2: f32,
    #[doc = concat!("`ε`: ", range!(EPSILON), ".")]
    pub epsilon: f32,
    #[doc = concat!("Weight decay `λ`: ", range!(WEIGHT_DECAY), ".")]
    pub weight_decay: f32,
}

impl AdamWRule {
    /// Checks that each number is in its range.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid), which names the number and its range.
    pub fn check(&self) -> Result<()> {
        LEARNING_RATE.check(self.lr)?;
        BETA1.check(self.beta1)?;
        BETA2.check(self.beta2)?;
        EPSILON.check(self.epsilon)?;
        WEIGHT_DECAY.check(self.weight_decay)
    }

    /// Returns `lr·√(1 − β₂ᵗ)/(1 − β₁ᵗ)` and `ε·√(1 − β₂ᵗ)`, the learning rate and ε with both bias
    /// corrections folded in. The kernels then divide the uncorrected first moment by the root of
    /// the uncorrected second one.
    pub(crate) fn corrected(&self, step: u32) -> [f32; 2] {
        let power = |beta: f32| 1.0 - f64::from(beta).powf(f64::from(step) + 1.0);
        let root = power(self.beta2).sqrt();
        [
            (f64::from(self.lr) * root / power(self.beta1)) as f32,
            (f64::from(self.epsilon) * root) as f32,
        ]
    }
}
