//! A layer: matrix product, bias, ReLU and dropout in one pass, and its gradients.

use crate::arrays::{Read, Written};
use crate::elementwise::run;
use crate::site::Site;
use numpy::PyArrayDyn;
use pyo3::prelude::*;
use wgpu_dropout::call::{GradInput, GradWeight, LinearForward};

type Floats<'py> = Bound<'py, PyArrayDyn<f32>>;

/// Computes `out = M·s·relu(x·weight + bias)`.
#[pyfunction]
pub fn linear<'py>(
    py: Python<'py>,
    x: &Floats<'py>,
    weight: &Floats<'py>,
    bias: Option<&Floats<'py>>,
    out: &Floats<'py>,
    relu: bool,
    site: &Site,
) -> PyResult<()> {
    let mut all = vec![("x", x), ("weight", weight)];
    all.extend(bias.map(|bias| ("bias", bias)));
    let mut written = Written::new("out", out, &all)?;
    let (x, weight) = (Read::new("x", x)?, Read::new("weight", weight)?);
    let bias = bias.map(|bias| Read::new("bias", bias)).transpose()?;
    let bias = bias.as_ref().map(Read::row).transpose()?;
    let (x, weight, y, dropout) =
        (x.matrix()?, weight.matrix()?, written.matrix()?, site.dropout());
    run(py, LinearForward { x, weight, bias, y, relu, dropout })
}

/// Computes the gradients of a layer. `output` is the layer's output if a ReLU precedes the
/// dropout.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn linear_grad<'py>(
    py: Python<'py>,
    grad_output: &Floats<'py>,
    x: &Floats<'py>,
    weight: &Floats<'py>,
    output: Option<&Floats<'py>>,
    grad_input: &Floats<'py>,
    grad_weight: &Floats<'py>,
    grad_bias: &Floats<'py>,
    site: &Site,
) -> PyResult<()> {
    let mut all = vec![("grad_output", grad_output), ("x", x), ("weight", weight)];
    all.extend(output.map(|output| ("output", output)));
    let mut dx = Written::new("grad_input", grad_input, &all)?;
    let mut dw = Written::new("grad_weight", grad_weight, &all)?;
    let mut db = Written::new("grad_bias", grad_bias, &all)?;
    let (dy, x) = (Read::new("grad_output", grad_output)?, Read::new("x", x)?);
    let weight = Read::new("weight", weight)?;
    let output = output.map(|output| Read::new("output", output)).transpose()?;
    let output = output.as_ref().map(Read::matrix).transpose()?;
    let (grad_output, dropout) = (dy.matrix()?, site.dropout());
    let (weight, grad_input) = (weight.matrix()?, dx.matrix()?);
    run(py, GradInput { grad_output, output, weight, grad_input, dropout, through: None })?;
    let (x, grad_weight, grad_bias) = (x.matrix()?, dw.matrix()?, db.row()?);
    run(py, GradWeight { x, grad_output, output, grad_weight, grad_bias, dropout })
}
