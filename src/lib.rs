//! Dropout on the GPU whose mask is a specification. (front page to come)

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backend;
pub mod call;
pub mod cpu;
#[cfg(feature = "cli")]
pub mod data;
pub mod device;
pub mod error;
#[cfg(feature = "cli")]
pub mod file;
pub mod gpu;
pub mod init;
pub mod mask;
#[cfg(feature = "cli")]
pub mod oracle;
pub mod mlp;
#[cfg(feature = "cli")]
pub mod npy;
pub mod philox;
pub mod rate;
pub mod shape;

pub use backend::{Backend, Counts};
pub use device::{Device, DeviceChoice};
pub use error::{Error, Result};
pub use mask::{Dropout, Key, Mask};
pub use rate::{Mode, Rate};
pub use shape::Matrix;
pub use wgpu;
