//! Settings of training, and the summary of an epoch.

use super::architecture::Architecture;
use super::optimizer::{Optimizer, Update};
use super::schedule::{Schedule, Schedules};
use crate::call::SgdRule;
use crate::{Error, Mode, Result};

/// Settings of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training {
    /// Rows per mini-batch. The last one of an epoch may be smaller and is trained on too.
    pub batch: usize,
    /// True if each epoch visits the rows in an order of its own
    /// ([`init::shuffle`](crate::init::shuffle)); false if in the order of the data.
    pub shuffle: bool,
    /// Update rule.
    pub rule: SgdRule,
    /// Schedules of the learning rate, momentum and drop rates over the run.
    pub schedules: Schedules,
    /// Optimizer, which turns gradients into updates.
    pub optimizer: Optimizer,
}

impl Default for Training {
    fn default() -> Self {
        let rule = SgdRule { momentum: 0.9, ..SgdRule::plain(0.05) };
        Self {
            batch: 64,
            shuffle: true,
            rule,
            schedules: Schedules::default(),
            optimizer: Optimizer::Sgd,
        }
    }
}

impl Training {
    /// Checks that the settings are meaningful.
    ///
    /// # Errors
    /// [`Error::Invalid`], which names the setting and its range.
    pub fn check(&self) -> Result<()> {
        if self.batch == 0 || self.batch > u32::MAX as usize {
            let what = format!("batch {}: must be 1 to {}", self.batch, u32::MAX);
            return Err(Error::invalid(what));
        }
        self.rule.check()?;
        self.optimizer.check(&self.rule)?;
        self.schedules.check()
    }

    /// Checks that the settings are meaningful and fit the network.
    ///
    /// # Errors
    /// [`Error::Invalid`] as [`check`](Self::check), and for a drop-rate schedule with vanilla
    /// dropout.
    pub fn check_for(&self, architecture: &Architecture) -> Result<()> {
        self.check()?;
        match (architecture.mode, self.schedules.drop) {
            (Mode::Vanilla, drop) if drop != Schedule::Constant => Err(Error::invalid(
                "a schedule of the drop rate needs inverted dropout: vanilla's prediction scales by one rate",
            )),
            _ => Ok(()),
        }
    }

    /// Returns the update of step `step`.
    pub(super) fn update(&self, step: u32) -> Update {
        Update::new(self.schedules.rule(&self.rule, step), self.optimizer, step)
    }

    /// Returns true if gradients must be stored before they are applied.
    pub(super) fn stores_gradients(&self) -> bool {
        self.optimizer.stores_gradients(&self.rule)
    }

    /// Returns whether a first moment (a velocity, under SGD) and whether a second one is kept.
    pub(super) fn moments(&self) -> [bool; 2] {
        let adamw = !self.optimizer.is_like(&Optimizer::Sgd);
        [adamw || self.rule.momentum != 0.0, adamw]
    }
}

/// Summary of one training epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Epoch {
    /// Mean loss of each mini-batch as trained, dropout included, in order.
    pub losses: Vec<f32>,
    /// Number of rows whose largest logit was the label's, as trained.
    pub right: u64,
    /// Mean of `losses`.
    pub running_loss: f64,
}

impl Epoch {
    /// Summarizes the mini-batches of epoch `epoch`; an error if one of them diverged.
    pub(super) fn of(epoch: u32, losses: Vec<f32>, right: u64) -> Result<Self> {
        if let Some(&loss) = losses.iter().find(|loss| !loss.is_finite()) {
            return Err(Error::Diverged { epoch, loss });
        }
        let running_loss =
            losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64;
        Ok(Self { losses, right, running_loss })
    }
}
