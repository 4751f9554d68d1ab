//! The GPU: kernels on a caller's device ([`Kernels`]), and a device of our own behind
//! [`Backend`](crate::Backend) ([`Gpu`]).
//!
//! A call goes `call` → `plan` (which dispatches, without touching a device) → `kernels`
//! (pipelines, bind groups) → a pass.

// First, so that the page of `Kernels` begins with how they are made.
mod kernels;

mod arena;
mod backend;
mod device;
mod experimental;
mod memory;
#[cfg(all(test, feature = "verify"))]
mod metal;
mod owned;
mod pipelines;
mod readback;
mod recorder;
mod state;
mod tensor;
mod trial;
mod tuning;
mod warm_up;

pub use crate::plan::{
    Choices, Class, Division, Params, Place, Planner, Shape, Stem, Tile, Tiles, Variant, View,
    Width,
};
pub use device::{
    AdapterChoice, adapters, adapters_async, open, open_async, required_features, required_limits,
};
pub use kernels::{Kernels, Prepared};
pub use owned::Gpu;
pub use state::State;
pub use tensor::GpuTensor;
pub use trial::{Timing, Trial};
pub use tuning::{Chosen, Tuning};
