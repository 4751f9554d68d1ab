//! The call of `batch_norm_grad`.

use super::{Call, DevicePlace, HostPlace, Place, check_through, through_flag};
use crate::Result;
use crate::cpu::fast::Isa;
use crate::cpu::reference;
use crate::plan::{
    Params, Plan, Planner, Stem, Variant, Work, check_tensors, own, read, scratch, write,
};
use crate::rules::range::{EPSILON, range};
use crate::shape::{Matrix, expect};

/// Backward pass of [`BatchNorm`](super::BatchNorm) in training, without its ReLU and dropout: the
/// caller first runs the backward pass of those.
///
/// With `n = (X − mean)/√(variance + ε)`:
///
/// - `dγ = Σ_r dY·n`,
/// - `dβ = Σ_r dY`,
/// - `dX = γ/√(variance + ε)·(dY − dβ/B − n·dγ/B)`.
///
/// Source: Ioffe, Szegedy, "Batch normalization", ICML 2015, section 3.
pub struct BatchNormGrad<P: Place> {
    /// `X [B, C]` of the forward pass.
    pub x: P::In<f32>,
    /// `[2, C]`: the mini-batch's means, then variances.
    pub statistics: P::In<f32>,
    /// `[2, C]`: γ, then β.
    pub affine: P::In<f32>,
    /// `dY [B, C]`, the gradient of `γ·n + β`.
    pub grad_y: P::In<f32>,
    /// `[2, C]`, written: dγ, then dβ.
    pub grad_affine: P::Out<f32>,
    /// `dX [B, C]`, written.
    pub grad_x: P::Out<f32>,
    #[doc = concat!("`ε` of the forward pass: ", range!(EPSILON), ".")]
    pub epsilon: f32,
    /// Scale of the dropout that produced `X`, if `X` is the output of ReLU and dropout and the
    /// gradient is to pass back through both.
    #[doc = concat!("It is ", range!(SCALE), ".")]
    pub through: Option<f32>,
}

/// Flag of the first dispatch: the sums of each column.
const SUMS: u32 = 4;
/// Flag of the second dispatch: what all rows of a column share.
const SLOPES: u32 = 8;

own! {
    /// Own words: ε, 1/B, flags.
    BatchNormGradOwn {
        epsilon: f32,
        inverse_rows: f32,
        flags: u32,
    }
}

impl<P: Place> Call<P> for BatchNormGrad<P> {
    fn check(&self) -> Result<()> {
        let (kernel, rows, cols) = ("batch_norm_grad", self.x.rows(), self.x.cols());
        expect(kernel, "statistics", &self.statistics, 2, cols)?;
        expect(kernel, "affine", &self.affine, 2, cols)?;
        expect(kernel, "grad_y", &self.grad_y, rows, cols)?;
        expect(kernel, "grad_affine", &self.grad_affine, 2, cols)?;
        expect(kernel, "grad_x", &self.grad_x, rows, cols)?;
        EPSILON.check(self.epsilon)?;
        check_through(self.through)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let stem = Stem::BatchNormGrad;
        let operands = [
            read("x", P::read(&self.x)),
            read("statistics", P::read(&self.statistics)).packed(),
            read("affine", P::read(&self.affine)).packed(),
            read("grad_y", P::read(&self.grad_y)),
            write("grad_affine", P::written(&self.grad_affine)).packed(),
            write("grad_x", P::written(&self.grad_x)),
        ];
        check_tensors(stem, &operands)?;
        let [x, statistics, affine, grad_y, grad_affine, grad_x] =
            operands.map(|operand| planner.whole(operand.name, operand.view));
        let (x, statistics, affine) = (x?, statistics?, affine?);
        let (grad_y, grad_affine, grad_x) = (grad_y?, grad_affine?, grad_x?);
        let (rows, cols) = (self.x.rows(), self.x.cols());
        let slopes = scratch(5, cols.max(1));
        let through = through_flag(&self.through);
        let strips = rows as u64 * cols.div_ceil(8) as u64;
        // Three dispatches bind no more than four tensors each, wherever they run.
        let mut plan = Vec::new();
        for (flags, tensors, threads) in [
            (SUMS, [x, grad_y, statistics, grad_affine], cols as u64),
            (SLOPES, [affine, grad_affine, statistics, slopes], cols as u64),
            (through, [x, grad_y, slopes, grad_x], strips),
        ] {
            let work = Work {
                variant: Variant::new(stem),
                tensors: &tensors,
                params: Params { scale: self.through.unwrap_or(1.0), ..Params::of(rows, cols) },
                own: BatchNormGradOwn {
                    epsilon: self.epsilon,
                    inverse_rows: (1.0 / rows.max(1) as f64) as f32,
                    flags,
                },
                loops: (rows as u64 + 1).max(9),
            };
            plan.extend(planner.dispatch(work, threads.div_ceil(64))?);
        }
        Ok(plan)
    }

    fn compute(mut self, _: Option<Isa>)
    where
        P: HostPlace,
    {
        let cols = self.x.cols();
        reference::batch_norm_grad(
            P::values(&self.x),
            P::values(&self.statistics),
            P::values(&self.affine),
            P::values(&self.grad_y),
            P::values_mut(&mut self.grad_affine),
            P::values_mut(&mut self.grad_x),
            cols,
            self.epsilon,
            self.through,
        );
    }
}
