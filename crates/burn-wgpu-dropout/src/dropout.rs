//! The module that takes the place of `burn::nn::Dropout`.

use crate::functional;
use crate::steps::{Count, Steps};
use burn::config::{Config, config_to_json};
use burn::module::{Content, DisplaySettings, Flag, Module, ModuleDisplay, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};
use wgpu_dropout::mask::PREDICTION;
use wgpu_dropout::{Error, Key, Mask, Mode, Rate, Result};

/// What a [`Dropout`] is made from.
///
/// As Burn's other configurations it can be saved and be part of one of yours; in a file the rate
/// is the probability to keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct DropoutConfig {
    /// How often an element is kept or dropped.
    pub rate: Rate,
    /// The run's seed.
    pub seed: u64,
    /// The site of this dropout in its network, below 2^31: sites that share a seed need layers of
    /// their own to draw masks of their own.
    pub layer: u32,
}

impl Config for DropoutConfig {}

impl Display for DropoutConfig {
    /// As it stands in a file.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&config_to_json(self))
    }
}

/// The configuration as it stands in a file.
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
        Ok(Self { rate: Rate::keep(keep)?, seed, layer })
    }
}

impl DropoutConfig {
    /// Dropout at a rate, with seed 0 and layer 0.
    pub fn new(rate: Rate) -> Self {
        Self { rate, seed: 0, layer: 0 }
    }

    /// The same with a seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The same at a site.
    pub fn with_layer(self, layer: u32) -> Self {
        Self { layer, ..self }
    }

    /// The module, at step 0.
    pub fn init(&self, device: &Device) -> Dropout {
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

/// Inverted dropout `y = M·s·x` whose mask is the contract's: a function of seed, layer, step and
/// coordinates, and of nothing else.
///
/// As `burn::nn::Dropout` it acts on tensors of an autodiff device unless it was frozen, and is the
/// identity elsewhere. Beyond that it counts: each forward pass that drops is a step. The count is
/// part of a module's record, so that a run that resumes draws the masks that it would have drawn;
/// a copy of the module counts on its own from where it was copied.
///
/// For Monte-Carlo prediction see [`sampling`](Self::sampling).
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct Dropout {
    /// How often an element is kept or dropped.
    #[module(skip)]
    pub rate: Rate,
    /// The run's seed.
    #[module(skip)]
    pub seed: u64,
    /// The site of this dropout in its network.
    #[module(skip)]
    pub layer: u32,
    /// Row of the whole batch that is the first here, for a batch that is split over devices or
    /// machines: together they draw its mask.
    #[module(skip)]
    pub row_offset: u64,
    /// Whether it acts on an autodiff device; `freeze` and `valid` clear it.
    pub training: Param<Flag>,
    /// The step of the next forward pass that drops.
    pub steps: Steps,
    /// Where it samples, the next sample.
    #[module(skip)]
    samples: Option<Count>,
}

impl Dropout {
    /// `M·s·x` where dropout acts, else `x`.
    ///
    /// # Shapes
    /// - input, output: `[.., any]`; rows of the mask are the product of the leading dimensions.
    ///
    /// # Panics
    /// Where [`try_forward`](Self::try_forward) has an error.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.try_forward(x).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`forward`](Self::forward).
    ///
    /// # Errors
    /// As [`functional::dropout`].
    pub fn try_forward<const D: usize>(&self, x: Tensor<D>) -> Result<Tensor<D>> {
        match self.next(&x.device()) {
            Some(dropout) => functional::dropout(x, dropout),
            None => Ok(x),
        }
    }

    /// Mask and scale of the next forward pass on a device, counted; nothing where dropout doesn't
    /// act.
    ///
    /// This is what [`forward`](Self::forward) draws with, for operations of one's own.
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

    /// The module as one that draws at prediction time (Monte-Carlo dropout): on any device, frozen
    /// or not, a sample a forward pass.
    ///
    /// Samples count from `first` and are drawn with the top bit of the layer set, as the contract
    /// has it, so that they are no step's masks. The step stands still. Gal and Ghahramani,
    /// "Dropout as a Bayesian Approximation", ICML 2016.
    pub fn sampling(self, first: u32) -> Self {
        let samples = Count::default();
        samples.set(first);
        Self { samples: Some(samples), ..self }
    }

    /// The module as one that acts in training and not otherwise.
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
