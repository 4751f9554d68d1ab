//! `linear_forward`, `grad_input` and `grad_weight` on all threads: a matrix product whose
//! epilogue, the rest of the layer, is applied to each row while it is in the first-level cache.
//! Neither the mask nor `dZ` is stored.
//!
//! Each sum is one ascending chain. The reference splits long sums if there are few rows or columns
//! ([`crate::order`]), and rounds twice where a fused multiply-add here rounds once. Results
//! therefore agree within rounding; masks are identical bit for bit.

use super::product::{Factor, Gate, Lanes, Output, activate, descend, product, through_relu};
use super::row::Site;
use super::{Isa, segment};
use crate::Dropout;
use crate::rules::SgdRule;
use rayon::prelude::*;

/// Columns per job of the bias gradient, and the number of terms below which there is only one job.
const BIAS: (usize, usize) = (256, 1 << 16);

/// Computes `Y = M·s·relu(X·W + b)`; `X [B, I]`, `W [I, O]`, `b [O]`, `Y [B, O]`, and `shape` is
/// `[I, O]`.
#[allow(clippy::too_many_arguments)]
pub fn linear_forward(
    isa: Isa,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    shape: [usize; 2],
    relu: bool,
    dropout: &Dropout,
) {
    let [inputs, outputs] = shape;
    let shape = [y.len() / outputs.max(1), inputs, outputs];
    let x = Factor::new(x, inputs, Lanes::Rows);
    let weight = Factor::new(weight, outputs, Lanes::Cols);
    let site = Site::new(dropout);
    product(isa, shape, x, weight, Output::Matrix(y), [], |row, col, y, []| {
        if bias.is_some() || relu {
            activate(isa, y, bias.map(|bias| &bias[col..col + y.len()]), relu);
        }
        segment(isa, None, y, row, col, &site, false);
    });
}

/// The gradient before a layer's activation, computed from `dY` while a product packs it; see
/// [`crate::cpu::reference::gradient`].
#[derive(Clone, Copy)]
pub struct Gradient<'a> {
    /// `dY [B, O]`
    pub grad_output: &'a [f32],
    /// `Y [B, O]` if a ReLU preceded the dropout.
    pub output: Option<&'a [f32]>,
    /// Mask and scale of the forward pass.
    pub dropout: &'a Dropout,
}

impl<'a> Gradient<'a> {
    fn gate(&self) -> Gate<'a> {
        match self.output {
            Some(output) => Gate::Relu { output, scale: self.dropout.scale },
            None if *self.dropout == Dropout::NONE => Gate::None,
            None => Gate::Mask(Site::new(self.dropout)),
        }
    }

    fn factor(&self, cols: usize, along: Lanes) -> Factor<'a> {
        Factor::new(self.grad_output, cols, along).gated(self.gate())
    }
}

/// Computes `dX = dZ·Wᵀ`; with `through` (`X` and its scale), `dX·s` if `X > 0`, else 0. `shape` is
/// `[I, O]`.
pub fn grad_input(
    isa: Isa,
    gradient: Gradient<'_>,
    weight: &[f32],
    grad_input: &mut [f32],
    shape: [usize; 2],
    through: Option<(&[f32], f32)>,
) {
    let [inputs, outputs] = shape;
    let shape = [grad_input.len() / inputs.max(1), outputs, inputs];
    let dz = gradient.factor(outputs, Lanes::Rows);
    let weight = Factor::new(weight, outputs, Lanes::Rows);
    product(isa, shape, dz, weight, Output::Matrix(grad_input), [], |row, col, dx, []| {
        if let Some((x, scale)) = through {
            through_relu(isa, dx, &x[row * inputs + col..][..dx.len()], scale);
        }
    });
}

/// Computes `dW = Xᵀ·dZ` and `db = Σ_rows dZ`; `shape` is `[I, O]`.
pub fn grad_weight(
    isa: Isa,
    x: &[f32],
    gradient: Gradient<'_>,
    grad_weight: &mut [f32],
    grad_bias: &mut [f32],
    shape: [usize; 2],
) {
    let [inputs, outputs] = shape;
    let shape = [inputs, gradient.grad_output.len() / outputs.max(1), outputs];
    let (x, dz) = (Factor::new(x, inputs, Lanes::Cols), gradient.factor(outputs, Lanes::Cols));
    product(isa, shape, x, dz, Output::Matrix(grad_weight), [], |_, _, _, []| {});
    bias_gradient(isa, gradient, grad_bias);
}

/// Applies one update by `rule` with `dW = Xᵀ·dZ`, of which only a few rows are ever stored, and
/// `db = Σ_rows dZ`; `shape` is `[I, O]`.
#[allow(clippy::too_many_arguments)]
pub fn grad_weight_sgd(
    isa: Isa,
    x: &[f32],
    grad_z: &[f32],
    weight: &mut [f32],
    bias: &mut [f32],
    velocity: Option<(&mut [f32], &mut [f32])>,
    shape: [usize; 2],
    rule: &SgdRule,
) {
    let [inputs, outputs] = shape;
    let shape = [inputs, grad_z.len() / outputs.max(1), outputs];
    let gradient = Gradient { grad_output: grad_z, output: None, dropout: &Dropout::NONE };
    let (x, dz) = (Factor::new(x, inputs, Lanes::Cols), gradient.factor(outputs, Lanes::Cols));
    let mut db = vec![0.0; outputs];
    bias_gradient(isa, gradient, &mut db);
    let (weight_velocity, bias_velocity) = velocity.unzip();
    descend(isa, &db, bias, bias_velocity, &rule.for_bias());
    match weight_velocity {
        Some(v) => product(isa, shape, x, dz, Output::Rows, [weight, v], |_, _, dw, [w, v]| {
            descend(isa, dw, w, Some(v), rule)
        }),
        None => product(isa, shape, x, dz, Output::Rows, [weight], |_, _, dw, [w]| {
            descend(isa, dw, w, None, rule)
        }),
    }
}

/// Computes `db = Σ_rows dZ`, each sum in ascending order.
fn bias_gradient(isa: Isa, gradient: Gradient<'_>, grad_bias: &mut [f32]) {
    let gate = gradient.gate();
    let cols = grad_bias.len();
    let (width, work) = BIAS;
    let width = if gradient.grad_output.len() < work { cols } else { width };
    grad_bias.par_chunks_mut(width.max(1)).enumerate().for_each(|(job, db)| {
        let mut dz = vec![0.0; db.len()];
        db.fill(0.0);
        for (row, dy) in gradient.grad_output.chunks(cols).enumerate() {
            let col = job * width;
            dz.copy_from_slice(&dy[col..col + db.len()]);
            gate.pass(isa, &mut dz, row, col, cols);
            db.iter_mut().zip(&dz).for_each(|(db, &dz)| *db += dz);
        }
    });
}
