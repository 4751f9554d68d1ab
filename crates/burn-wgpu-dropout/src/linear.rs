//! The fused layer.

use crate::functional;
use crate::{Dropout, DropoutConfig};
use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

/// Configuration of a [`LinearReluDropout`].
#[derive(Config, Debug)]
pub struct LinearReluDropoutConfig {
    /// Number of input features.
    pub d_input: usize,
    /// Number of output features.
    pub d_output: usize,
    /// Configuration of the dropout.
    pub dropout: DropoutConfig,
    /// True if a bias is added.
    #[config(default = true)]
    pub bias: bool,
    /// Initializer of weights and biases. Default: that of [`Linear`].
    pub initializer: Option<Initializer>,
}

impl LinearReluDropoutConfig {
    /// Creates the layer on a device.
    pub fn init(&self, device: &Device) -> LinearReluDropout {
        let config = LinearConfig::new(self.d_input, self.d_output).with_bias(self.bias);
        let config = match &self.initializer {
            Some(initializer) => config.with_initializer(initializer.clone()),
            None => config,
        };
        LinearReluDropout::from_linear(config.init(device), self.dropout.init(device))
    }
}

/// `Y = M·s·relu(X·W + b)` in one kernel. If [`Dropout`] does not act, `Y = relu(X·W + b)`.
///
/// It replaces a `Linear`, a `Relu` and a `Dropout`. The backward pass reads `Y` to find where the
/// gradient passes, so neither a mask nor a value before ReLU or dropout is kept.
#[derive(Module, Debug)]
pub struct LinearReluDropout {
    /// Weights `W [d_input, d_output]`.
    pub weight: Param<Tensor<2>>,
    /// Bias `b [d_output]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// Dropout of the layer.
    pub dropout: Dropout,
}

impl LinearReluDropout {
    /// Returns the layer with the weights of a linear layer.
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
    /// Panics if [`try_forward`](Self::try_forward) returns an error.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.try_forward(x).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Does the same as [`forward`](Self::forward), but returns errors.
    ///
    /// # Errors
    /// Returns the errors of [`functional::linear_relu_dropout`].
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
