//! The fused layer.

use crate::functional;
use crate::{Dropout, DropoutConfig};
use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

/// What a [`LinearReluDropout`] is made from.
#[derive(Config, Debug)]
pub struct LinearReluDropoutConfig {
    /// Size of the input features.
    pub d_input: usize,
    /// Size of the output features.
    pub d_output: usize,
    /// Its dropout.
    pub dropout: DropoutConfig,
    /// Whether a bias is added.
    #[config(default = true)]
    pub bias: bool,
    /// How weights and biases begin. Default: as [`Linear`]'s.
    pub initializer: Option<Initializer>,
}

impl LinearReluDropoutConfig {
    /// The layer on a device.
    pub fn init(&self, device: &Device) -> LinearReluDropout {
        let config = LinearConfig::new(self.d_input, self.d_output).with_bias(self.bias);
        let config = match &self.initializer {
            Some(initializer) => config.with_initializer(initializer.clone()),
            None => config,
        };
        LinearReluDropout::from_linear(config.init(device), self.dropout.init(device))
    }
}

/// `Y = M·s·relu(X·W + b)` in one kernel; without its dropout where [`Dropout`] doesn't act.
///
/// It takes the place of a `Linear`, a `Relu` and a `Dropout`. The backward pass reads `Y` to tell
/// where the gradient passes, so that neither a mask nor the layer's value before ReLU or dropout
/// is kept.
#[derive(Module, Debug)]
pub struct LinearReluDropout {
    /// `W [d_input, d_output]`
    pub weight: Param<Tensor<2>>,
    /// `b [d_output]`
    pub bias: Option<Param<Tensor<1>>>,
    /// When and what it drops.
    pub dropout: Dropout,
}

impl LinearReluDropout {
    /// The layer with the weights of a linear one.
    pub fn from_linear(Linear { weight, bias }: Linear, dropout: Dropout) -> Self {
        Self { weight, bias, dropout }
    }

    /// Applies the layer.
    ///
    /// # Shapes
    /// - input: `[.., d_input]`
    /// - output: `[.., d_output]`
    ///
    /// # Panics
    /// Where [`try_forward`](Self::try_forward) has an error.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.try_forward(x).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`forward`](Self::forward).
    ///
    /// # Errors
    /// As [`functional::linear_relu_dropout`].
    pub fn try_forward<const D: usize>(&self, x: Tensor<D>) -> wgpu_dropout::Result<Tensor<D>> {
        let dropout = self.dropout.next(&x.device()).unwrap_or(wgpu_dropout::Dropout::NONE);
        functional::linear_relu_dropout(
            x,
            self.weight.val(),
            self.bias.as_ref().map(Param::val),
            dropout,
        )
    }
}
