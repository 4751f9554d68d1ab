//! Dropout of an array, in its forms.

use crate::arrays::{Read, Written};
use crate::pool::on_pool;
use crate::site::{Axes, Site, no_threads, python};
use numpy::PyArrayDyn;
use pyo3::prelude::*;
use wgpu_dropout::call::{
    AlphaDropoutCall, Call, CopyCall, DropoutBroadcast, DropoutCall, GaussianDropoutCall,
};
use wgpu_dropout::{AlphaDropout, Cpu, GaussianDropout, Slices};

type Floats<'py> = Bound<'py, PyArrayDyn<f32>>;

/// Runs a call on the pool without the GIL.
pub fn run<'a>(py: Python<'_>, call: impl Call<Slices<'a>> + Send) -> PyResult<()> {
    py.detach(|| on_pool(|| Cpu::new().run_on_slices(call))).map_err(no_threads)?.map_err(python)
}

/// Computes `out = M·s·x`, with a mask of broadcast axes if there are any.
#[pyfunction]
pub fn dropout<'py>(
    py: Python<'py>,
    x: &Floats<'py>,
    out: &Floats<'py>,
    site: &Site,
    axes: Option<&Axes>,
) -> PyResult<()> {
    let (read, mut written) = (Read::new("x", x)?, Written::new("out", out, &[("x", x)])?);
    let (x, y, dropout) = (read.matrix()?, written.matrix()?, site.dropout());
    match axes {
        None => run(py, DropoutCall { x, y, dropout }),
        Some(Axes(axes)) => run(py, DropoutBroadcast { x, y, axes, dropout }),
    }
}

/// Computes `x = M·s·x` in place.
#[pyfunction]
pub fn dropout_in_place<'py>(py: Python<'py>, x: &Floats<'py>, site: &Site) -> PyResult<()> {
    let mut written = Written::new("x", x, &[])?;
    let ((x, cols), dropout) = (written.rows()?, site.dropout());
    if x.is_empty() {
        return Ok(());
    }
    py.detach(|| on_pool(|| Cpu::new().dropout_in_place(x, cols, &dropout)))
        .map_err(no_threads)?
        .map_err(python)
}

/// Computes alpha dropout of `x`; with `backward`, of a gradient.
#[pyfunction]
pub fn alpha_dropout<'py>(
    py: Python<'py>,
    x: &Floats<'py>,
    out: &Floats<'py>,
    site: &Site,
    backward: bool,
) -> PyResult<()> {
    let (read, mut written) = (Read::new("x", x)?, Written::new("out", out, &[("x", x)])?);
    let (x, y) = (read.matrix()?, written.matrix()?);
    match site.drawn().map(AlphaDropout::train) {
        None => run(py, CopyCall { x, y }),
        Some(dropout) if backward => run(py, DropoutCall { x, y, dropout: dropout.backward() }),
        Some(dropout) => run(py, AlphaDropoutCall { x, y, dropout }),
    }
}

/// Computes Gaussian dropout of `x`, which is its own backward pass.
#[pyfunction]
pub fn gaussian_dropout<'py>(
    py: Python<'py>,
    x: &Floats<'py>,
    out: &Floats<'py>,
    site: &Site,
) -> PyResult<()> {
    let (read, mut written) = (Read::new("x", x)?, Written::new("out", out, &[("x", x)])?);
    let (x, y) = (read.matrix()?, written.matrix()?);
    match site.drawn() {
        None => run(py, CopyCall { x, y }),
        Some(mask) => {
            let dropout = GaussianDropout::train(mask).map_err(python)?;
            run(py, GaussianDropoutCall { x, y, dropout })
        }
    }
}
