//! The call of `layer_norm`.

use super::{Call, DevicePlace, HostPlace, Place};
use crate::cpu::fast::Isa;
use crate::cpu::reference;
use crate::plan::{
    Params, Plan, Planner, Stem, Variant, Work, check_tensors, own, read, windows, write,
};
use crate::rules::range::{EPSILON, range};
use crate::shape::{Matrix, expect};
use crate::{Error, Result};

/// Layer normalization: `Y = γ·(X − mean)/√(variance + ε) + β`, with the mean and the variance of
/// each row of `X [B, C]`.
///
/// Source: Ba, Kiros, Hinton, "Layer normalization" (2016), equation 4.
pub struct LayerNorm<P: Place> {
    /// `X [B, C]`, C at least 1.
    pub x: P::In<f32>,
    /// `[2, C]`: γ, then β.
    pub affine: P::In<f32>,
    /// `Y [B, C]`, written.
    pub y: P::Out<f32>,
    /// `[B, 2]`, written: mean and `1/√(variance + ε)` of each row.
    pub statistics: P::Out<f32>,
    #[doc = concat!("`ε`: ", range!(EPSILON), "; [`EPSILON`](super::EPSILON) is usual.")]
    pub epsilon: f32,
}

own! {
    /// Own words: ε, and 1/C.
    LayerNormOwn {
        epsilon: f32,
        inverse_cols: f32,
    }
}

impl<P: Place> Call<P> for LayerNorm<P> {
    fn check(&self) -> Result<()> {
        let (kernel, rows, cols) = ("layer_norm", self.x.rows(), self.x.cols());
        expect(kernel, "affine", &self.affine, 2, cols)?;
        expect(kernel, "y", &self.y, rows, cols)?;
        expect(kernel, "statistics", &self.statistics, rows, 2)?;
        EPSILON.check(self.epsilon)?;
        match cols {
            0 => Err(Error::shape(kernel, "rows of no columns have no statistics")),
            _ => Ok(()),
        }
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let stem = Stem::LayerNorm;
        let (x, affine) = (P::read(&self.x), P::read(&self.affine));
        let (y, statistics) = (P::written(&self.y), P::written(&self.statistics));
        check_tensors(
            stem,
            &[
                read("x", x),
                read("affine", affine).packed(),
                write("y", y),
                write("statistics", statistics).packed(),
            ],
        )?;
        let affine = planner.whole("affine", affine)?;
        let strides = [("x", x.stride), ("y", y.stride), ("statistics", 2)];
        let mut plan = Vec::new();
        for (from, rows) in windows(x.rows, planner.common_rows(x.rows, &strides, 4)?) {
            let [x, y, statistics] =
                [x, y, statistics].map(|view| planner.window(view, 4, from, rows));
            let work = Work {
                variant: Variant::new(stem),
                tensors: &[x, affine, y, statistics],
                params: Params::of(rows, self.x.cols()),
                own: LayerNormOwn {
                    epsilon: self.epsilon,
                    inverse_cols: (1.0 / self.x.cols() as f64) as f32,
                },
                loops: 3 * (self.x.cols() as u64 + 1),
            };
            plan.extend(planner.dispatch(work, (rows as u64).div_ceil(64))?);
        }
        Ok(plan)
    }

    fn compute(mut self, _: Option<Isa>)
    where
        P: HostPlace,
    {
        let (cols, epsilon) = (self.x.cols(), self.epsilon);
        let (x, affine) = (P::values(&self.x), P::values(&self.affine));
        let (y, statistics) = (P::values_mut(&mut self.y), P::values_mut(&mut self.statistics));
        reference::layer_norm(x, affine, y, statistics, cols, epsilon);
    }
}
