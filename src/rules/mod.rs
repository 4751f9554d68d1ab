//! Parameters of kernels: activation functions, update rules, and the sizes of images.
//!
//! The calls contain and re-export them. The CPU's functions and the planner use them too.

mod activation;
mod adamw;
mod image;
mod sgd;

pub use activation::Activation;
pub use adamw::AdamWRule;
pub use image::{Filter, Image, Pool, Pooling};
pub use sgd::SgdRule;
