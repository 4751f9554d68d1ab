//! The GPU: kernels on a caller's device ([`Kernels`]), and a device of our own behind
//! [`Backend`](crate::Backend) ([`Gpu`]).
//!
//! A call goes `call` → `plan` (which dispatches, without touching a device) → `kernels`
//! (pipelines, bind groups) → a pass.

// First, so that the page of `Kernels` begins with how they are made.
mod kernels;

mod arena;
mod backend;
mod bindings;
mod convolution;
mod device;
mod ensemble;
mod experimental;
mod forms;
mod group;
mod memory;
#[cfg(all(test, feature = "cli"))]
mod metal;
mod normalization;
mod owned;
mod params;
mod pipelines;
mod plan;
mod readback;
mod source;
mod state;
mod stem;
mod tensor;
mod tile;
mod tiles;
mod trial;
mod tuning;
mod variant;
mod view;
mod warm_up;

pub use bindings::Bound;
pub use device::{
    AdapterChoice, adapters, adapters_async, open, open_async, required_features, required_limits,
};
pub use kernels::{Kernels, Prepared};
pub use owned::Gpu;
pub use params::Params;
pub use plan::Planner;
pub use source::Width;
pub use state::State;
pub use stem::Stem;
pub use tensor::GpuTensor;
pub use tile::Tile;
pub use tiles::{Class, Shape, Tiles};
pub use trial::{Timing, Trial};
pub use tuning::{Chosen, Tuning};
pub use variant::{Gate, Variant};
pub use view::View;
