//! Dropout on the GPU whose **mask is a specification**.
//!
//! The WGSL compute shaders run through [wgpu](https://docs.rs/wgpu) on Vulkan, Metal and DX12.
//! They compute the fused forward pass `Y = dropout(relu(X·W + b))`, the masked backward pass, the
//! loss and the update. A counter-based generator draws the masks inside the kernels: no mask is
//! ever stored, moved or read back. Every mask is a pure function of
//! `(seed, layer, step, row, col, rate)`, with the same bits on every vendor's GPU and on the CPU,
//! for any tiling, batch split, sharding or resume. The contract is [`mask`].
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
//! | backend | GPU and CPU behind one trait, tensors with shapes | [`Backend`], [`gpu::Gpu`], [`Cpu`], [`Device::best`] |
//! | network | training and prediction with dropout | `mlp::Mlp`; `mlp::ConvNet` behind convolutions |
//!
//! The arguments of a kernel are the same at every level: [`call`]. `wgpu` itself is re-exported.
//!
//! # What dropout means here
//!
//! The letter `p` is the probability to *keep* a unit in papers and to *drop* it in frameworks, so
//! a [`Rate`] states which one it is. [`Mode::Inverted`] scales the kept units in training and
//! leaves prediction alone; [`Mode::Vanilla`] multiplies by the keep rate in prediction. A dropped
//! element is 0 by selection: NaN and infinity do not survive being dropped.
//!
//! | to drop | use |
//! |---|---|
//! | elements | [`Dropout`] |
//! | channels, samples, the same elements at each time step | [`Dropout`] with an [`AxisMap`] |
//! | by a mask of your own | [`call::DropoutBits`] |
//! | in a network of SELUs | [`AlphaDropout`] |
//! | nothing, but multiply by noise of the same variance | [`GaussianDropout`] |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `vulkan`, `metal`, `dx12`, `gles` (default), `webgpu` | the wgpu backend of that name |
//! | `network` | networks with dropout (`mlp`) |
//! | `save` | `network`, and networks in files |
//! | `verify` | the conformance suite (`verify`) and the f64 `oracle` |
//! | `digits` | the bundled handwritten digits (`data`) |
//!
//! Without any feature, the crate provides the kernels for a device of your own and the CPU
//! backend. The command line is a separate package, `wgpu-dropout-cli`.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
pub mod call;
pub mod cpu;
#[cfg(feature = "digits")]
pub mod data;
mod device;
mod error;
#[cfg(feature = "save")]
pub mod file;
mod gaussian;
pub mod gpu;
#[cfg(feature = "network")]
pub mod mlp;
#[cfg(feature = "verify")]
pub mod oracle;
pub mod order;
mod plan;
mod rules;
mod shape;
#[cfg(any(feature = "digits", feature = "network"))]
mod unit;
#[cfg(feature = "verify")]
pub mod verify;

pub use backend::{Backend, Counts, Cpu, CpuTensor, Element, On, Slice, SliceMut, Slices};
pub use device::{Device, DeviceChoice};
pub use dropout_contract::{
    AlphaDropout, AttentionPlace, AxisMap, Dropout, Error as ContractError, Key, Mask, Mode, Rate,
    init, mask, philox,
};
pub use error::{Error, Lack, Result};
pub use gaussian::GaussianDropout;
pub use shape::{Matrix, elements};
#[cfg(any(feature = "digits", feature = "network"))]
pub use unit::Unit;
pub use wgpu;

/// The README's snippets, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The snippets of the page on networks.
#[cfg(all(doctest, feature = "save"))]
#[doc = include_str!("../docs/network.md")]
struct Network;

/// The snippets of the page on embedding.
#[cfg(doctest)]
#[doc = include_str!("../docs/embedding.md")]
struct Embedding;
