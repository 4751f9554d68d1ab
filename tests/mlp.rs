//! Networks: training, prediction and its averages, normalization, convolutions, shards.

#[path = "mlp/async_forms.rs"]
mod async_forms;
#[path = "mlp/batch_norm.rs"]
mod batch_norm;
mod common;
#[path = "mlp/convolution.rs"]
mod convolution;
#[path = "mlp/sampling.rs"]
mod sampling;
#[path = "mlp/shards.rs"]
mod shards;
