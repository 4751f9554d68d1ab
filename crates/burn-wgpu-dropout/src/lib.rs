#![doc = include_str!("../README.md")]
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod autodiff;
mod dropout;
mod engine;
pub mod functional;
mod host;
mod linear;
mod ops;
mod steps;

pub use dropout::{Dropout, DropoutConfig};
pub use engine::{adopt, open};
pub use linear::{LinearReluDropout, LinearReluDropoutConfig};
pub use ops::{DropoutGradients, DropoutOps};
pub use steps::Steps;
pub use wgpu_dropout::{Error, Rate, Result};
pub use {burn, wgpu_dropout};
