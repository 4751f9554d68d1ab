//! Masks as arrays.

use crate::arrays::Written;
use crate::elementwise::run;
use crate::site::Site;
use numpy::PyArrayDyn;
use pyo3::prelude::*;
use wgpu_dropout::call::{MaskBits, MaskBytes};

/// Writes the mask as bytes, 1 for a kept element.
#[pyfunction]
pub fn mask<'py>(py: Python<'py>, out: &Bound<'py, PyArrayDyn<u8>>, site: &Site) -> PyResult<()> {
    let mut written = Written::new("out", out, &[])?;
    run(py, MaskBytes { bytes: written.matrix()?, mask: site.mask })
}

/// Writes the mask as bits of 32-bit words, the lowest bit first.
#[pyfunction]
pub fn mask_bits<'py>(
    py: Python<'py>,
    out: &Bound<'py, PyArrayDyn<u32>>,
    cols: usize,
    site: &Site,
) -> PyResult<()> {
    let mut written = Written::new("out", out, &[])?;
    run(py, MaskBits { bits: written.matrix()?, cols, mask: site.mask })
}
