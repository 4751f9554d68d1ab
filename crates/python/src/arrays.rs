//! Arrays of NumPy as matrices.

use crate::site::python;
use numpy::{
    Element, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyReadwriteArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::prelude::*;
use wgpu_dropout::{Slice, SliceMut};

/// Returns the rows and columns of a shape: the product of the leading axes, and the last one. An
/// array of one axis is one row; a number is one row of one column.
pub fn matrix(shape: &[usize]) -> (usize, usize) {
    match shape.split_last() {
        None => (1, 1),
        Some((&cols, leading)) => (leading.iter().product(), cols),
    }
}

/// Refuses an array whose elements do not lie in C order without gaps.
///
/// NumPy calls an array in Fortran order contiguous, too. Its elements would be taken in the wrong
/// order.
fn check_order<T: Element>(name: &str, array: &Bound<'_, PyArrayDyn<T>>) -> PyResult<()> {
    match array.is_c_contiguous() {
        true => Ok(()),
        false => Err(PyValueError::new_err(format!("{name} is not contiguous in C order"))),
    }
}

/// Returns the first byte of an array and the one past its last.
fn range<T: Element>(array: &Bound<'_, PyArrayDyn<T>>) -> (usize, usize) {
    let first = array.data() as usize;
    (first, first + array.len() * size_of::<T>())
}

/// Array that a call reads.
pub struct Read<'py, T: Element>(PyReadonlyArrayDyn<'py, T>);

/// Array that a call writes.
pub struct Written<'py, T: Element>(PyReadwriteArrayDyn<'py, T>);

impl<'py, T: Element + Copy> Read<'py, T> {
    pub fn new(name: &str, array: &Bound<'py, PyArrayDyn<T>>) -> PyResult<Self> {
        check_order(name, array)?;
        array.try_readonly().map(Self).map_err(|error| borrowed(name, error))
    }

    /// Returns the array as a matrix.
    pub fn matrix(&self) -> PyResult<Slice<'_, T>> {
        let (rows, cols) = matrix(self.0.shape());
        Slice::new(self.0.as_slice()?, rows, cols).map_err(python)
    }

    /// Returns the array as one row.
    pub fn row(&self) -> PyResult<Slice<'_, T>> {
        Slice::new(self.0.as_slice()?, 1, self.0.len()).map_err(python)
    }
}

impl<'py, T: Element + Copy> Written<'py, T> {
    /// Takes an array for writing, unless it shares memory with one that the call reads.
    ///
    /// NumPy's arrays may be views of one memory without having the same base, as those that
    /// PyTorch hands out. Their addresses tell.
    pub fn new(
        name: &str,
        array: &Bound<'py, PyArrayDyn<T>>,
        read: &[(&str, &Bound<'py, PyArrayDyn<f32>>)],
    ) -> PyResult<Self> {
        check_order(name, array)?;
        let (first, end) = range(array);
        for (other, array) in read {
            let (others_first, others_end) = range(array);
            if first < others_end && others_first < end {
                let what = format!("{name} shares memory with {other}");
                return Err(PyValueError::new_err(what));
            }
        }
        array.try_readwrite().map(Self).map_err(|error| borrowed(name, error))
    }

    /// Returns the array as a matrix.
    pub fn matrix(&mut self) -> PyResult<SliceMut<'_, T>> {
        let (rows, cols) = matrix(self.0.shape());
        SliceMut::new(self.0.as_slice_mut()?, rows, cols).map_err(python)
    }

    /// Returns the array as one row.
    pub fn row(&mut self) -> PyResult<SliceMut<'_, T>> {
        let len = self.0.len();
        SliceMut::new(self.0.as_slice_mut()?, 1, len).map_err(python)
    }

    /// Returns the elements, and their number in a row.
    pub fn rows(&mut self) -> PyResult<(&mut [T], usize)> {
        let (_, cols) = matrix(self.0.shape());
        Ok((self.0.as_slice_mut()?, cols))
    }
}

fn borrowed(name: &str, error: numpy::BorrowError) -> PyErr {
    match error {
        numpy::BorrowError::NotWriteable => PyValueError::new_err(format!("{name} is read-only")),
        error => PyBufferError::new_err(format!("{name}: {error}")),
    }
}
