//! Values that say how a kernel computes: activations, updates, and the sizes of images.
//!
//! They are part of the calls, which re-export them; the CPU's functions and the planner take them
//! too.

mod activation;
mod adamw;
mod image;
mod sgd;

pub use activation::Activation;
pub use adamw::AdamWRule;
pub use image::{Filter, Image, Pool, Pooling};
pub use sgd::SgdRule;
