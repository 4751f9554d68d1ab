//! The call of `adamw`.

use super::{AdamWRule, Call, DevicePlace, HostPlace, Place};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{
    Params, Plan, Planner, Stem, Variant, Width, Work, check_tensors, own, read, windows, write,
};
use crate::shape::{Matrix, expect};
use crate::Result;

/// One update of weights of any shape by [`AdamWRule`].
pub struct AdamW<P: Place> {
    /// `g`
    pub grad: P::In<f32>,
    /// `W`, updated.
    pub weight: P::Out<f32>,
    /// `m`, updated; 0 before the first update.
    pub first: P::Out<f32>,
    /// `v`, updated; 0 before the first update.
    pub second: P::Out<f32>,
    /// The rule.
    pub rule: AdamWRule,
    /// Updates before this one: `t = step + 1`.
    pub step: u32,
}

own! {
    /// Own words: the number of elements, and the rule with the step's size and ε corrected for
    /// the bias of the moments.
    AdamWOwn {
        count: u32,
        rate: f32,
        epsilon: f32,
        decay: f32,
        beta1: f32,
        beta2: f32,
    }
}

impl<P: Place> Call<P> for AdamW<P> {
    fn check(&self) -> Result<()> {
        let (rows, cols) = (self.weight.rows(), self.weight.cols());
        expect("adamw", "grad", &self.grad, rows, cols)?;
        expect("adamw", "first", &self.first, rows, cols)?;
        expect("adamw", "second", &self.second, rows, cols)?;
        self.rule.check()
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let (stem, rule) = (Stem::Adamw, self.rule);
        let (grad, weight) = (P::read(&self.grad), P::written(&self.weight));
        let (first, second) = (P::written(&self.first), P::written(&self.second));
        check_tensors(
            stem,
            &[
                read("grad", grad).packed(),
                write("weight", weight).packed(),
                write("first", first).packed(),
                write("second", second).packed(),
            ],
        )?;
        let [rate, epsilon] = rule.corrected(self.step);
        let most = planner.rows_per_binding("weight", weight.cols, 4)?;
        let mut plan = Vec::new();
        for (from, rows) in windows(weight.rows, most) {
            let tensors =
                [grad, weight, first, second].map(|view| planner.window(view, 4, from, rows));
            let count = rows as u64 * weight.cols as u64;
            let wide = count.is_multiple_of(4)
                && tensors.iter().all(|window| window.start.is_multiple_of(4));
            let width = if wide { Width::Vec4 } else { Width::Scalar };
            let work = Work {
                variant: Variant { width, ..Variant::new(stem) },
                tensors: &tensors,
                params: Params::default(),
                own: AdamWOwn {
                    count: count as u32,
                    rate,
                    epsilon,
                    decay: rule.lr * rule.weight_decay,
                    beta1: rule.beta1,
                    beta2: rule.beta2,
                },
                loops: 0,
            };
            plan.extend(planner.dispatch(work, count.div_ceil(4).div_ceil(64))?);
        }
        Ok(plan)
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let (grad, weight) = (P::values(&self.grad), P::values_mut(&mut self.weight));
        let (first, second) = (P::values_mut(&mut self.first), P::values_mut(&mut self.second));
        match isa {
            Some(_) => fast::adamw(grad, weight, first, second, &self.rule, self.step),
            None => reference::adamw(grad, weight, first, second, &self.rule, self.step),
        }
    }
}
