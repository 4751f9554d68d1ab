//! A network of fully connected layers with dropout, trained and used on any
//! [`Backend`](crate::Backend).
//!
//! Each hidden layer is `affine – ReLU – dropout`; the last layer is `affine`, followed by softmax
//! cross-entropy. The input may have dropout, too. [`ConvNet`] puts convolutions before such a
//! network.
//!
//! Dropout site 0 is the input, and site i is the i-th hidden layer. A mask's `layer` is its site's
//! number, its `row` is the position in the mini-batch, and its `step` counts updates from 0.
//! Together with the seed, that is all the state a mask has.

// Declared first, so that the page of `Mlp` begins with its construction and use.
mod network;
mod predict;
mod train;

mod architecture;
mod batch_norm;
#[cfg(feature = "save")]
mod checkpoint;
#[cfg(feature = "save")]
mod container;
mod conv_net;
mod convolution;
#[cfg(feature = "save")]
mod description;
mod ensemble;
#[cfg(feature = "save")]
mod interchange;
mod layer;
#[cfg(feature = "save")]
mod layer_order;
mod norm;
mod optimizer;
mod pass;
mod resident;
mod sampling;
mod schedule;
mod shard;
mod subnetworks;
mod trained_on;
mod training;
mod wait;
mod workspace;

pub use architecture::Architecture;
pub use conv_net::ConvNet;
pub use convolution::{Front, Stage};
pub use ensemble::MAX_UNITS;
#[cfg(feature = "save")]
pub use interchange::{ForeignLayer, Interchange, Layout};
pub use network::Mlp;
pub use norm::{BatchNormPlace, NormParameters};
pub use optimizer::Optimizer;
pub use predict::Evaluation;
pub use resident::{Resident, Source};
pub use sampling::Sharing;
pub use schedule::{Schedule, Schedules};
pub use shard::{Gradients, Shard};
pub use subnetworks::Predictive;
pub use trained_on::TrainedOn;
pub use training::{Epoch, Training};
