//! Dropout on the GPU whose **mask is a specification**.
//!
//! WGSL compute shaders run through [wgpu](https://docs.rs/wgpu) on Vulkan, Metal and DX12: the fused forward pass
//! `Y = dropout(relu(X·W + b))`, the masked backward pass, loss and update, with masks drawn inside
//! the kernels by a counter-based generator. No mask is ever stored, moved or read back, and every
//! mask is a pure function of `(seed, layer, step, row, col, rate)`: the same bits on every vendor,
//! on the CPU, under any tiling, batch split, sharding or resume. The contract is [`mask`].
//!
//! ```
//! use wgpu_dropout::{Key, Mask, Rate};
//!
//! let mask = Mask::new(Rate::keep(0.5)?, Key { seed: 42, layer: 0, step: 0 });
//! let kept = mask.bytes(1000, 1000)?;
//! assert_eq!(kept.iter().filter(|&&kept| kept == 1).count(), 500_239); // here and everywhere
//! # Ok::<(), wgpu_dropout::Error>(())
//! ```
//!
//! # Three levels
//!
//! | level | for whom | where to start |
//! |---|---|---|
//! | kernels | an engine with a `wgpu::Device` of its own: prepare a call for its buffers, record it into its own pass | [`gpu::Kernels`] |
//! | backend | GPU and CPU behind one trait, tensors with shapes | [`Backend`], [`gpu::Gpu`], [`cpu::Cpu`], [`Device::best`] |
//! | network | training and prediction with dropout | [`mlp::Mlp`]; [`mlp::ConvNet`] behind convolutions |
//!
//! What a kernel is called with is the same on every level: [`call`]. `wgpu` itself is re-exported.
//!
//! # What dropout means here
//!
//! The letter `p` is the probability to *keep* a unit in papers and to *drop* it in frameworks, so
//! a [`Rate`] says which it is. [`Mode::Inverted`] scales kept units while training and leaves
//! prediction alone; [`Mode::Vanilla`] multiplies by the keep rate at prediction. A dropped element
//! is 0 by selection: NaN and infinity do not survive being dropped.
//!
//! | to drop | take |
//! |---|---|
//! | elements | [`Dropout`] |
//! | channels, samples, the same elements at each step of time | [`Dropout`] with an [`AxisMap`] |
//! | by a mask of your own | [`call::DropoutBits`] |
//! | in a network of SELUs | [`AlphaDropout`] |
//! | nothing, but add noise of the same variance | [`GaussianDropout`] |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `verify` | the conformance suite ([`verify`]) and the f64 `oracle` |
//! | `cli` (default) | `verify`, the command line, readers of data sets (`data`), arrays (`npy`), saved networks |
//! | `vulkan`, `metal`, `dx12`, `gles` (default) | that backend of wgpu |
//!
//! With `default-features = false` there remain the kernels for a device of your own, the CPU
//! backend and the network.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod alpha;
mod axes;
pub mod backend;
pub mod call;
pub mod cpu;
#[cfg(feature = "cli")]
pub mod data;
pub mod device;
pub mod error;
#[cfg(feature = "cli")]
pub mod file;
mod gaussian;
pub mod gpu;
pub mod init;
pub mod mask;
pub mod mlp;
#[cfg(feature = "cli")]
pub mod npy;
#[cfg(feature = "verify")]
pub mod oracle;
pub mod order;
pub mod philox;
pub mod rate;
pub mod shape;
#[cfg(feature = "verify")]
pub mod verify;

pub use alpha::AlphaDropout;
pub use axes::AxisMap;
pub use backend::{Backend, Counts};
pub use device::{Device, DeviceChoice};
pub use error::{Error, Result};
pub use gaussian::GaussianDropout;
pub use mask::{Dropout, Key, Mask};
pub use rate::{Mode, Rate};
pub use shape::Matrix;
pub use wgpu;

/// The README's snippets, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
