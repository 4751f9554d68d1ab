//! Arguments that say where a mask is drawn: rate, key, offsets, axes.

use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use wgpu_dropout::{AlphaDropout, AxisMap, Dropout, Error, Key, Mask, Mode, Rate};

/// Turns an error of the crate into Python's.
pub fn python(error: impl Into<Error>) -> PyErr {
    match error.into() {
        error @ Error::OutOfMemory { .. } => PyMemoryError::new_err(error.to_string()),
        error => PyValueError::new_err(error.to_string()),
    }
}

/// Turns a failure to start threads into Python's error.
pub fn no_threads(error: rayon::ThreadPoolBuildError) -> PyErr {
    PyRuntimeError::new_err(format!("no threads: {error}"))
}

/// Dropout site: a rate to drop, a key, and the place of the array in the whole tensor.
#[pyclass(frozen)]
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// Mask.
    pub mask: Mask,
    mode: Mode,
    training: bool,
}

#[pymethods]
impl Site {
    #[new]
    #[pyo3(signature = (rate, seed, layer, step, row, col, mode="inverted", training=true))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        rate: f64,
        seed: u64,
        layer: u32,
        step: u32,
        row: u64,
        col: u64,
        mode: &str,
        training: bool,
    ) -> PyResult<Self> {
        let mode = match mode {
            "inverted" => Mode::Inverted,
            "vanilla" => Mode::Vanilla,
            other => {
                let what = format!("mode is '{other}': must be 'inverted' or 'vanilla'");
                return Err(PyValueError::new_err(what));
            }
        };
        let rate = Rate::drop(rate).map_err(python)?;
        Ok(Self { mask: Mask::new(rate, Key { seed, layer, step }).at(row, col), mode, training })
    }
}

impl Site {
    /// Returns the mask and scale of plain dropout.
    pub fn dropout(&self) -> Dropout {
        match self.training {
            true => Dropout::train(self.mode, self.mask),
            false => Dropout::predict(self.mode, self.mask.rate),
        }
    }

    /// Returns the mask if the site draws one.
    pub fn drawn(&self) -> Option<Mask> {
        self.training.then_some(self.mask)
    }
}

/// Map of the axes of an array to rows and columns of the mask.
#[pyclass(frozen)]
#[derive(Debug, Clone)]
pub struct Axes(pub AxisMap);

#[pymethods]
impl Axes {
    #[new]
    fn new(shape: Vec<usize>, rows: Vec<usize>, cols: Vec<usize>) -> PyResult<Self> {
        AxisMap::new(&shape, &rows, &cols).map(Self).map_err(python)
    }
}

/// Returns the drop rate in effect: the multiple of 1/65536 that is drawn for a rate.
#[pyfunction]
pub fn rate_in_effect(rate: f64) -> PyResult<f64> {
    Rate::drop(rate).map(Rate::drop_in_effect).map_err(python)
}

/// Returns the number below which a draw keeps its element.
#[pyfunction]
pub fn threshold(rate: f64) -> PyResult<u32> {
    Rate::drop(rate).map(Rate::threshold).map_err(python)
}

/// Returns scale and shift of kept elements, and the value of dropped ones, for a form of the
/// frameworks' modules.
#[pyfunction]
pub fn affine(form: &str, rate: f64) -> PyResult<(f32, f32, f32)> {
    let rate = Rate::drop(rate).map_err(python)?;
    let alpha = AlphaDropout::train(Mask::new(rate, Key::default()));
    Ok(match form {
        "alpha" => (alpha.scale, alpha.shift, alpha.dropped),
        "alpha gradient" => (alpha.scale, 0.0, 0.0),
        _ => (rate.inverse(), 0.0, 0.0),
    })
}
