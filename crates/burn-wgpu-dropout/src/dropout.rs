//! The module that replaces `burn::nn::Dropout`.

use crate::functional;
use crate::steps::{Count, Steps};
use burn::config::{Config, config_to_json};
use burn::module::{Content, DisplaySettings, Flag, Module, ModuleDisplay, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};
use wgpu_dropout::mask::PREDICTION;
use wgpu_dropout::{Error, Key, Mask, Mode, Rate, Result};

/// Configuration of a [`Dropout`].
///
/// Like Burn's other configurations, it can be saved, and can be a part of another configuration. A
/// file stores the rate as the probability to keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct DropoutConfig {
    /// Rate at which elements are kept or dropped.
    pub rate: Rate,
    /// Seed of the run.
    pub seed: u64,
    /// Number of the dropout site in its network, below 2^31. Sites with the same seed must have
    /// different layers to draw different masks.
    pub layer: u32,
}

impl Config for DropoutConfig {}

impl Display for DropoutConfig {
    /// Formats the configuration as in a file.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&config_to_json(self))
    }
}

/// The configuration as stored in a file.
#[derive(Serialize, Deserialize)]
struct Stored {
    keep: f64,
    seed: u64,
    layer: u32,
}

impl From<DropoutConfig> for Stored {
    fn from(DropoutConfig { rate, seed, layer }: DropoutConfig) -> Self {
        Self { keep: rate.keep_asked(), seed, layer }
    }
}

impl TryFrom<Stored> for DropoutConfig {
    type Error = Error;

    fn try_from(Stored { keep, seed, layer }: Stored) -> Result<Self> {
        let config = Self { rate: Rate::keep(keep)?, seed, layer };
        config.check()?;
        Ok(config)
    }
}

impl DropoutConfig {
    /// Returns a configuration with this rate, seed 0 and layer 0.
    pub fn new(rate: Rate) -> Self {
        Self { rate, seed: 0, layer: 0 }
    }

    /// Returns the configuration with another seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Returns the configuration with another layer.
    ///
    /// # Panics
    /// If the layer is 2^31 or more. Those layers draw the masks of prediction.
    pub fn with_layer(self, layer: u32) -> Self {
        let config = Self { layer, ..self };
        config.check().unwrap_or_else(|error| panic!("{error}"));
        config
    }

    /// Refuses a layer whose masks are those of prediction.
    fn check(&self) -> Result<()> {
        match self.layer & PREDICTION {
            0 => Ok(()),
            _ => Err(Error::Invalid {
                what: format!("layer {}: must be below 2147483648", self.layer),
            }),
        }
    }

    /// Creates the module, at step 0.
    ///
    /// # Panics
    /// If the layer is 2^31 or more.
    pub fn init(&self, device: &Device) -> Dropout {
        self.check().unwrap_or_else(|error| panic!("{error}"));
        let Self { rate, seed, layer } = *self;
        Dropout {
            rate,
            seed,
            layer,
            row_offset: 0,
            training: Param::from_bool(true),
            steps: Steps::new(device),
            samples: None,
        }
    }
}

/// Inverted dropout `y = M·s·x` with the contract's mask: a function of seed, layer, step and
/// coordinates, and of nothing else.
///
/// Like `burn::nn::Dropout`, it acts on tensors of an autodiff device unless it was frozen, and is
/// the identity otherwise. In addition, it counts steps: each forward pass that drops is a step.
/// The count is part of a module's record, so that a resumed run draws the masks that the
/// uninterrupted run would have drawn. A copy of the module continues with a count of its own.
///
/// For Monte-Carlo prediction, see [`sampling`](Self::sampling).
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Dropout {
    /// Rate at which elements are kept or dropped.
    #[module(skip)]
    pub rate: Rate,
    /// Seed of the run.
    #[module(skip)]
    pub seed: u64,
    /// Number of the dropout site in its network.
    #[module(skip)]
    pub layer: u32,
    /// Row of the whole batch at which this module's part starts, if the batch is split over
    /// devices or machines. Together they draw the mask of the whole batch.
    #[module(skip)]
    pub row_offset: u64,
    /// True if dropout acts on an autodiff device; `freeze` and `valid` clear it.
    pub training: Param<Flag>,
    /// Step of the next forward pass that drops.
    pub steps: Steps,
    /// Number of the next sample, if the module samples.
    #[module(skip)]
    samples: Option<Count>,
}

impl Dropout {
    /// Computes `M·s·x` if dropout acts, and returns `x` otherwise.
    ///
    /// # Shapes
    /// - input, output: `[.., any]`; the rows of the mask are the product of the leading
    ///   dimensions.
    ///
    /// # Panics
    /// Panics if [`try_forward`](Self::try_forward) returns an error.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.try_forward(x).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Does the same as [`forward`](Self::forward), but returns errors.
    ///
    /// # Errors
    /// Returns the errors of [`functional::dropout`].
    pub fn try_forward<const D: usize>(&self, x: Tensor<D>) -> Result<Tensor<D>> {
        match self.next(&x.device()) {
            Some(dropout) => functional::dropout(x, dropout),
            None => Ok(x),
        }
    }

    /// Returns the mask and scale of the next forward pass on a device, and counts the pass.
    /// Returns `None` if dropout does not act.
    ///
    /// [`forward`](Self::forward) uses these; call this for operations of your own.
    pub fn next(&self, device: &Device) -> Option<wgpu_dropout::Dropout> {
        if let Some(samples) = &self.samples {
            return Some(self.at(self.layer | PREDICTION, samples.next()));
        }
        let acts = self.training.is_enabled() && device.is_autodiff();
        acts.then(|| self.at(self.layer, self.steps.next()))
    }

    fn at(&self, layer: u32, step: u32) -> wgpu_dropout::Dropout {
        let mask =
            Mask::new(self.rate, Key { seed: self.seed, layer, step }).at(self.row_offset, 0);
        wgpu_dropout::Dropout::train(Mode::Inverted, mask)
    }

    /// Returns the module in sampling mode, in which it draws at prediction time (Monte-Carlo
    /// dropout): on any device, frozen or not, with one sample per forward pass.
    ///
    /// Samples are counted from `first`. They are drawn with the top bit of the layer set, as the
    /// contract specifies, so that they differ from the masks of every step. The step does not
    /// advance. Source: Gal and Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016.
    pub fn sampling(self, first: u32) -> Self {
        let samples = Count::default();
        samples.set(first);
        Self { samples: Some(samples), ..self }
    }

    /// Returns the module in its normal mode, in which it acts only in training.
    pub fn not_sampling(self) -> Self {
        Self { samples: None, ..self }
    }
}

impl ModuleDisplay for Dropout {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let content = content
            .add("drop", &self.rate.drop_asked())
            .add("seed", &self.seed)
            .add("layer", &self.layer);
        let content = if self.training.is_enabled() {
            content
        } else {
            content.add("training", &self.training)
        };
        content.add("step", &self.steps).optional()
    }
}
