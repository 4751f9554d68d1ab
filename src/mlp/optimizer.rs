//! Optimizers, which turn a gradient into an update: SGD and AdamW.

use crate::backend::Backend;
use crate::call::{AdamW, AdamWRule, Sgd, SgdRule};
use crate::rules::range::{BETA1, BETA2, EPSILON, range};
use crate::{Error, Result};

/// Optimizer of a network. Its learning rate, weight decay, max-norm and momentum are those of
/// [`Training::rule`](super::Training::rule).
///
/// A network keeps the optimizer of its first update, because the moments of one mean nothing to
/// the other.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Optimizer {
    /// [`SgdRule`].
    #[default]
    Sgd,
    /// [`AdamWRule`], whose `β₁` is the rule's momentum. It takes no L1 penalty.
    AdamW {
        #[doc = concat!("`β₂`: ", range!(BETA2), "; .999 is usual.")]
        beta2: f32,
        #[doc = concat!("`ε`: ", range!(EPSILON), "; 10⁻⁸ is usual.")]
        epsilon: f32,
    },
}

impl Optimizer {
    /// AdamW with PyTorch's defaults, `β₂` = .999 and `ε` = 10⁻⁸.
    pub const ADAMW: Self = Self::AdamW { beta2: 0.999, epsilon: 1e-8 };

    /// Returns true if both optimizers keep the same moments.
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Returns true if gradients must be stored before they are applied. Max-norm requires whole
    /// columns, and AdamW has no kernel that computes the gradient itself.
    pub(super) fn stores_gradients(&self, rule: &SgdRule) -> bool {
        rule.max_norm.is_some() || !self.is_like(&Self::Sgd)
    }

    /// Checks that the settings are meaningful.
    pub(super) fn check(&self, rule: &SgdRule) -> Result<()> {
        let &Self::AdamW { beta2, epsilon } = self else { return Ok(()) };
        BETA1.check(rule.momentum)?;
        BETA2.check(beta2)?;
        EPSILON.check(epsilon)?;
        match rule.l1 {
            0.0 => Ok(()),
            l1 => Err(Error::invalid(format!(
                "L1 penalty {l1}: AdamW takes none, because its weight decay is decoupled from the gradient"
            ))),
        }
    }
}

impl std::fmt::Display for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sgd => "sgd",
            Self::AdamW { .. } => "adamw",
        })
    }
}

impl std::str::FromStr for Optimizer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "sgd" => Ok(Self::Sgd),
            "adamw" => Ok(Self::ADAMW),
            _ => Err(Error::invalid(format!("optimizer `{text}`: must be sgd or adamw"))),
        }
    }
}

/// The update of one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Update {
    pub rule: SgdRule,
    optimizer: Optimizer,
    step: u32,
}

impl Update {
    pub fn new(rule: SgdRule, optimizer: Optimizer, step: u32) -> Self {
        Self { rule, optimizer, step }
    }

    /// Returns the update for biases and other parameters without penalties.
    pub fn for_bias(self) -> Self {
        Self { rule: self.rule.for_bias(), ..self }
    }

    /// Returns true if [`apply`](Self::apply) must be used, on a stored gradient.
    pub fn stores_gradients(&self) -> bool {
        self.optimizer.stores_gradients(&self.rule)
    }

    /// Updates `W` and its moments from a stored gradient. A moment that is `None` is not kept.
    pub fn apply<B: Backend>(
        &self,
        backend: &mut B,
        grad: &B::Tensor<f32>,
        weight: &mut B::Tensor<f32>,
        first: Option<&mut B::Tensor<f32>>,
        second: Option<&mut B::Tensor<f32>>,
    ) -> Result<()> {
        let Self { rule, optimizer, step } = *self;
        let (beta2, epsilon, first, second) = match (optimizer, first, second) {
            (Optimizer::AdamW { beta2, epsilon }, Some(first), Some(second)) => {
                (beta2, epsilon, first, second)
            }
            (_, velocity, _) => return backend.run(Sgd { grad, weight, velocity, rule }),
        };
        let adamw = AdamWRule {
            lr: rule.lr,
            beta1: rule.momentum,
            beta2,
            epsilon,
            weight_decay: rule.weight_decay,
        };
        backend.run(AdamW { grad, weight: &mut *weight, first, second, rule: adamw, step })?;
        match rule.max_norm {
            // AdamW has no max-norm: an SGD step of length 0 applies it.
            Some(_) => backend.run(Sgd {
                grad,
                weight,
                velocity: None,
                rule: SgdRule { max_norm: rule.max_norm, ..SgdRule::plain(0.0) },
            }),
            None => Ok(()),
        }
    }
}
