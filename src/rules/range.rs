//! Ranges of settings. The check of a setting and its documentation come from the same entry.

use crate::{Error, Result};

/// A setting and the finite numbers that it can be.
pub(crate) struct Range {
    name: &'static str,
    text: &'static str,
    holds: fn(f32) -> bool,
}

impl Range {
    /// Refuses a value outside the range.
    ///
    /// # Errors
    /// [`Error::Invalid`], which names the setting, the value and the range.
    pub fn check(&self, value: f32) -> Result<()> {
        let Self { name, text, holds } = self;
        match value.is_finite() && holds(value) {
            true => Ok(()),
            false => Err(Error::invalid(format!("{name} {value}: must be {text}"))),
        }
    }
}

/// Declares each range as a constant, and the macro `range!`, which returns its text for use in
/// documentation.
macro_rules! ranges {
    ($($id:ident: $name:literal, $text:literal, $holds:expr;)*) => {
        $(pub(crate) const $id: Range = Range { name: $name, text: $text, holds: $holds };)*

        macro_rules! range {
            $(($id) => { $text };)*
        }
        pub(crate) use range;
    };
}

ranges! {
    LEARNING_RATE: "learning rate", "0 or a positive number", |x| x >= 0.0;
    MOMENTUM: "momentum", "0 or a positive number", |x| x >= 0.0;
    WEIGHT_DECAY: "weight decay", "0 or a positive number", |x| x >= 0.0;
    L1: "L1 penalty", "0 or a positive number", |x| x >= 0.0;
    MAX_NORM: "max-norm", "a positive number", |x| x > 0.0;
    BETA1: "momentum (β₁)", "0 to below 1", |x| (0.0..1.0).contains(&x);
    BETA2: "β₂", "0 to below 1", |x| (0.0..1.0).contains(&x);
    EPSILON: "ε", "a positive number", |x| x > 0.0;
    RUNNING: "momentum of the running statistics", "0 to 1", |x| (0.0..=1.0).contains(&x);
    TARGET: "sparsity target", "above 0 and below 1", |x| x > 0.0 && x < 1.0;
    PENALTY: "weight of the sparsity penalty", "0 or a positive number", |x| x >= 0.0;
    BEFORE: "weight of the networks before", "0 or a positive number", |x| x >= 0.0;
    SCALE: "scale", "a finite number", |_| true;
    UNIT: "unit", "a finite number", |_| true;
}
