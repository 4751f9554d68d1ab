//! Native part of the Python package `wgpu_dropout`: the kernels of the CPU on NumPy's memory.
//!
//! The functions take C-contiguous arrays of f32, and refuse any other. The package's Python part
//! converts what its users pass, and documents it.

mod arrays;
mod elementwise;
mod layer;
mod masks;
mod pool;
mod site;
mod xla;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::elementwise::{alpha_dropout, dropout, dropout_in_place, gaussian_dropout};
    #[pymodule_export]
    use super::layer::{linear, linear_grad};
    #[pymodule_export]
    use super::masks::{mask, mask_bits};
    #[pymodule_export]
    use super::pool::{set_threads, threads};
    #[pymodule_export]
    use super::site::{Axes, Site, affine, rate_in_effect, threshold};
}
