//! The call of `sgd`.

use super::{Call, DevicePlace, HostPlace, Place, SgdRule};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{
    Params, Plan, Planner, Stem, Variant, Width, Window, Work, check_tensors, own, read, windows,
    write,
};
use crate::shape::{Matrix, expect};
use crate::{Error, Result};

/// One update of a weight matrix by [`SgdRule`]. A bias is a matrix of one row, updated without
/// penalties and max-norm.
pub struct Sgd<P: Place> {
    /// `dW`
    pub grad: P::In<f32>,
    /// `W`, updated.
    pub weight: P::Out<f32>,
    /// `v`, updated; `None` without momentum.
    pub velocity: Option<P::Out<f32>>,
    /// The rule.
    pub rule: SgdRule,
}

/// Flag: columns longer than the largest norm are shortened to it.
const MAX_NORM: u32 = 1;

own! {
    /// Own words: the number of elements, flags, and the rule.
    SgdOwn {
        count: u32,
        flags: u32,
        rate: f32,
        momentum: f32,
        decay: f32,
        l1: f32,
        max_norm: f32,
    }
}

impl<P: Place> Call<P> for Sgd<P> {
    fn check(&self) -> Result<()> {
        let (rows, cols) = (self.weight.rows(), self.weight.cols());
        expect("sgd", "grad", &self.grad, rows, cols)?;
        self.rule.check()?;
        match &self.velocity {
            Some(velocity) => expect("sgd", "velocity", velocity, rows, cols),
            None if self.rule.momentum != 0.0 => {
                Err(Error::shape("sgd", "momentum needs a velocity tensor".to_owned()))
            }
            None => Ok(()),
        }
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let (stem, rule) = (Stem::Sgd, self.rule);
        let (grad, weight) = (P::read(&self.grad), P::written(&self.weight));
        let velocity = self.velocity.as_ref().map(P::written);
        let mut operands = vec![read("grad", grad).packed(), write("weight", weight).packed()];
        operands.extend(velocity.map(|velocity| write("velocity", velocity).packed()));
        check_tensors(stem, &operands)?;
        // The norm of a column needs all of its rows in one dispatch.
        let (part, flags) = match rule.max_norm {
            Some(_) => {
                planner.whole("weight", weight)?;
                (weight.rows, MAX_NORM)
            }
            None => (planner.rows_per_binding("weight", weight.cols, 4)?, 0),
        };
        let mut plan = Vec::new();
        for (from, rows) in windows(weight.rows, part) {
            let views = [grad, weight].into_iter().chain(velocity);
            let tensors: Vec<Window<'p>> =
                views.map(|view| planner.window(view, 4, from, rows)).collect();
            let count = rows as u64 * weight.cols as u64;
            // Under max-norm a thread has four columns, else four elements wherever they lie.
            let (run, loops) = match rule.max_norm {
                Some(_) => (weight.cols as u64, 2 * (rows as u64 + 1)),
                None => (count, 0),
            };
            let wide = run.is_multiple_of(4)
                && tensors.iter().all(|window| window.start.is_multiple_of(4));
            let width = if wide { Width::Vec4 } else { Width::Scalar };
            let variant = Variant { width, ..Variant::new(stem) };
            let work = Work {
                variant: variant.with_if("MOMENTUM", velocity.is_some()),
                tensors: &tensors,
                params: Params::of(rows, weight.cols),
                own: SgdOwn {
                    count: count as u32,
                    flags,
                    rate: rule.lr,
                    momentum: rule.momentum,
                    decay: rule.weight_decay,
                    l1: rule.l1,
                    max_norm: rule.max_norm.unwrap_or(0.0),
                },
                loops,
            };
            plan.extend(planner.dispatch(work, run.div_ceil(4).div_ceil(64))?);
        }
        Ok(plan)
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let cols = self.weight.cols();
        let (grad, weight) = (P::values(&self.grad), P::values_mut(&mut self.weight));
        let velocity = self.velocity.as_mut().map(P::values_mut);
        match isa {
            Some(isa) => fast::sgd(isa, grad, weight, velocity, cols, &self.rule),
            None => reference::sgd(grad, weight, velocity, cols, &self.rule),
        }
    }
}
