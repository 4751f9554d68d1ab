//! The shape of a network, and its dropout sites.

use super::schedule::Schedules;
use crate::{Dropout, Error, Key, Mask, Mode, Rate, Result};

/// Shape of a network and its dropout.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// Features per row.
    pub inputs: usize,
    /// Units of each hidden layer; an empty list gives softmax regression.
    pub hidden: Vec<usize>,
    /// Classes: the units of the last layer.
    pub classes: usize,
    /// When the scale of dropout is applied: in training or in prediction.
    pub mode: Mode,
    /// Rate of every hidden layer.
    pub rate: Rate,
    /// Rate of the input.
    pub input_rate: Rate,
    /// Seed of weights, shuffles and masks.
    pub seed: u64,
}

impl Architecture {
    /// Returns a network whose hidden units are dropped at rate ½ in training, with seed 0. Other
    /// fields are set as those of any struct:
    ///
    /// ```
    /// use wgpu_dropout::{Rate, mlp::Architecture};
    ///
    /// let architecture = Architecture {
    ///     input_rate: Rate::drop(0.2)?,
    ///     seed: 42,
    ///     ..Architecture::new(784, [1024, 1024], 10)
    /// };
    /// assert_eq!(architecture.widths(), [784, 1024, 1024, 10]);
    /// assert_eq!(architecture.rate.drop_asked(), 0.5);
    /// # Ok::<(), wgpu_dropout::Error>(())
    /// ```
    pub fn new(inputs: usize, hidden: impl Into<Vec<usize>>, classes: usize) -> Self {
        Self {
            inputs,
            hidden: hidden.into(),
            classes,
            mode: Mode::Inverted,
            rate: Rate::HALF,
            input_rate: Rate::KEEP_ALL,
            seed: 0,
        }
    }

    /// Returns the number of units of each layer, from the input to the classes.
    pub fn widths(&self) -> Vec<usize> {
        [&[self.inputs], self.hidden.as_slice(), &[self.classes]].concat()
    }

    /// Returns the rate of dropout site `layer`: site 0 is the input, site i is the i-th hidden
    /// layer, and any site after that drops nothing.
    pub fn rate_of(&self, layer: usize) -> Rate {
        match layer {
            0 => self.input_rate,
            layer if layer <= self.hidden.len() => self.rate,
            _ => Rate::KEEP_ALL,
        }
    }

    /// Returns the dropout of site `layer` in training step `step`. A shard that starts at a later
    /// row of the mini-batch takes its mask [`at`](Mask::at) that row.
    pub fn training_site(&self, layer: usize, step: u32, schedules: &Schedules) -> Dropout {
        let key = Key { seed: self.seed, layer: layer as u32, step };
        Dropout::train(self.mode, Mask::new(schedules.rate(self.rate_of(layer), step), key))
    }

    /// Returns the dropout of site `layer` in prediction, which draws no mask.
    pub(super) fn prediction_site(&self, layer: usize) -> Dropout {
        Dropout::predict(self.mode, self.rate_of(layer))
    }

    pub(super) fn check(&self) -> Result<()> {
        for (layer, &width) in self.widths().iter().enumerate() {
            // Widths are u32 on the device. The layer numbers reserved for other draws are far
            // above any network's.
            if width == 0 || width > u32::MAX as usize / 2 {
                let last = self.hidden.len() + 1;
                let what = match layer {
                    0 => "the input".to_owned(),
                    layer if layer == last => "the classes".to_owned(),
                    layer => format!("hidden layer {layer}"),
                };
                return Err(Error::invalid(format!(
                    "{what}: {width} units; must be 1 to {}",
                    u32::MAX / 2
                )));
            }
        }
        Ok(())
    }
}
