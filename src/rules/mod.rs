//! Parameters of kernels: activation functions, update rules, and the sizes of images.
//!
//! [`range`] has the ranges of numbers. The calls contain and re-export the others. The CPU's
//! functions and the planner use them too.

mod activation;
mod adamw;
mod attention;
mod image;
pub(crate) mod range;
mod sgd;

pub use activation::Activation;
pub use adamw::AdamWRule;
pub(crate) use attention::score_factor;
pub use attention::{AttentionRule, Dropped, Reach, Sequence, Sequences};
pub use image::{Filter, Image, Pool, Pooling};
pub use sgd::SgdRule;
