//! Dropout masks as a specification.
//!
//! A mask is a pure function of `(seed, layer, step, row, col, rate)`. It does not depend on the
//! device, the tile, the batch split, the number of threads or the order of execution, so that any
//! engine that follows the rules in [`mask`] draws the same bits. This crate is those rules in
//! Rust: masks, the generator below them ([`philox`]), rates, axis maps for broadcast masks, alpha
//! dropout's factors, and initial weights, shuffles and test rows ([`init`]).
//!
//! ```
//! use dropout_contract::{Key, Mask, Rate};
//!
//! let mask = Mask::new(Rate::keep(0.5)?, Key { seed: 42, layer: 0, step: 0 });
//! let kept = mask.bytes(1000, 1000)?;
//! assert_eq!(kept.iter().filter(|&&kept| kept == 1).count(), 500_239); // here and everywhere
//! # Ok::<(), dropout_contract::Error>(())
//! ```
//!
//! The crate needs `alloc` and no standard library. `wgpu-dropout` computes with these masks on
//! GPUs and on the CPU. The crate's major version is the contract's: version 1 draws these bits for
//! ever, and a change would be a version 2 beside it.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod alpha;
mod attention;
mod axes;
mod dropout;
mod error;
pub mod init;
pub mod mask;
pub mod philox;
mod rate;
pub mod vectors;

pub use alpha::AlphaDropout;
pub use attention::AttentionPlace;
pub use axes::{AxisMap, Run, Strips};
pub use dropout::{Dropout, Key, Mask};
pub use error::{Error, Result};
pub use rate::{Mode, Rate};
