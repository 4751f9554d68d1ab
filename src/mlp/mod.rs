//! A network of fully connected layers with dropout, trained and used on any
//! [`Backend`](crate::Backend).
//!
//! `affine – ReLU – dropout` for each hidden layer, `affine` for the last, softmax cross-entropy
//! over it; dropout on the input too where asked. A dropout site is layer 0 for the input and layer
//! i for the i-th hidden layer, `row` is the place in the mini-batch, `step` counts updates from 0:
//! together with the seed that is all the state a mask has. [`ConvNet`] sets convolutions before
//! it.

// First, so that the page of `Mlp` begins with how one is made and used.
mod network;
mod predict;
mod train;

#[cfg(feature = "cli")]
mod checkpoint;
#[cfg(feature = "cli")]
mod container;
mod convolution;
mod ensemble;
#[cfg(feature = "cli")]
mod interchange;
mod norm;
mod optimizer;
mod resident;
mod sampling;
mod schedule;
mod shard;
mod subnetworks;
mod wait;
mod workspace;

pub use convolution::{ConvNet, Front, Stage};
pub use ensemble::MAX_UNITS;
#[cfg(feature = "cli")]
pub use interchange::{ForeignLayer, Interchange, Layout};
pub use network::{Architecture, Mlp};
pub use norm::{BatchNormPlace, NormParameters};
pub use optimizer::Optimizer;
pub use predict::Evaluation;
pub use resident::{Resident, Source};
pub use sampling::Sharing;
pub use schedule::{Schedule, Schedules};
pub use shard::{Gradients, Shard};
pub use subnetworks::Predictive;
pub use train::{Epoch, Training};
