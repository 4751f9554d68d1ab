//! The GPU: [`Kernels`] prepare calls on a caller's device, which the caller records and submits.
//! [`Gpu`] is a [`Backend`](crate::Backend), which also submits, waits and reads back.
//!
//! A call passes through three stages: `plan` turns it into dispatches without touching a device,
//! `kernels` provides pipelines and bind groups, and a compute pass records the dispatches.

// First, so that the documentation of `Kernels` begins with its constructors.
mod kernels;

mod arena;
mod backend;
mod device;
mod experimental;
mod guard;
mod owned;
mod pipelines;
mod readback;
mod recorder;
mod requirements;
mod runner;
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
pub use kernels::Kernels;
pub use owned::Gpu;
pub use recorder::Prepared;
#[doc(hidden)]
pub use runner::{Job, Runner};
pub use state::State;
pub use tensor::GpuTensor;
pub use trial::{Timing, Trial};
pub use tuning::{Chosen, Tuning};
