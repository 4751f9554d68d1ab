//! The call of `grad_weight_sgd`.

use super::{Call, DevicePlace, HostPlace, Place, SgdRule};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{
    Operand, Params, Plan, Planner, Stem, Variant, Work, check_tensors, own, product_own, read,
    rows_and_bias, windows_or_one, write,
};
use crate::shape::{Matrix, expect};
use crate::{Error, Result};

/// One update of a layer by [`SgdRule`], with gradients that are never stored: `dW = Xᵀ·dZ` and
/// `db = Σ_rows dZ` are computed and applied in one kernel.
///
/// A rule with max-norm is refused. The norm of a column requires the whole column at once, so it
/// takes [`GradWeight`](super::GradWeight) and then [`Sgd`](super::Sgd).
pub struct GradWeightSgd<P: Place> {
    /// `X [B, I]`
    pub x: P::In<f32>,
    /// `dZ [B, O]`, the gradient before the layer's activation and dropout.
    pub grad_z: P::In<f32>,
    /// `W [I, O]`, updated.
    pub weight: P::Out<f32>,
    /// `b [1, O]`, updated.
    pub bias: P::Out<f32>,
    /// `v` of `W` and of `b`, both updated; `None` without momentum.
    pub velocity: Option<(P::Out<f32>, P::Out<f32>)>,
    /// The rule; the bias is updated by [`SgdRule::for_bias`].
    pub rule: SgdRule,
}

own! {
    /// Own words of `grad_weight_sgd`; `bias_row` as in `grad_weight`.
    GradWeightSgdOwn {
        inner: u32,
        terms: u32,
        bias_row: u32,
        rate: f32,
        momentum: f32,
        decay: f32,
        l1: f32,
    }
}
product_own!(GradWeightSgdOwn);

impl<P: Place> Call<P> for GradWeightSgd<P> {
    fn check(&self) -> Result<()> {
        let kernel = "grad_weight_sgd";
        let (batch, inputs, outputs) = (self.x.rows(), self.x.cols(), self.grad_z.cols());
        expect(kernel, "grad_z", &self.grad_z, batch, outputs)?;
        expect(kernel, "weight", &self.weight, inputs, outputs)?;
        expect(kernel, "bias", &self.bias, 1, outputs)?;
        self.rule.check()?;
        if let Some(max_norm) = self.rule.max_norm {
            return Err(Error::invalid(format!(
                "max-norm {max_norm}: grad_weight_sgd has none, use grad_weight and sgd"
            )));
        }
        match &self.velocity {
            Some((weight, bias)) => {
                expect(kernel, "weight's velocity", weight, inputs, outputs)?;
                expect(kernel, "bias's velocity", bias, 1, outputs)
            }
            None if self.rule.momentum != 0.0 => {
                Err(Error::shape(kernel, "momentum needs velocity tensors".to_owned()))
            }
            None => Ok(()),
        }
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let stem = Stem::GradWeightSgd;
        let (x, dz) = (P::read(&self.x), P::read(&self.grad_z));
        let (weight, bias) = (P::written(&self.weight), P::written(&self.bias));
        let velocity =
            self.velocity.as_ref().map(|(weight, bias)| (P::written(weight), P::written(bias)));
        let mut operands: Vec<Operand<'_>> =
            vec![read("x", x), read("grad_z", dz), write("weight", weight), write("bias", bias)];
        if let Some((of_weight, of_bias)) = velocity {
            operands
                .extend([write("weight's velocity", of_weight), write("bias's velocity", of_bias)]);
            if of_weight.rows > 1 && of_weight.stride != weight.stride {
                let what = format!(
                    "its rows are {} elements apart, the weight's {}",
                    of_weight.stride, weight.stride
                );
                let (kernel, tensor) = (stem.name(), "weight's velocity");
                return Err(Error::Buffer { kernel, tensor, what });
            }
        }
        check_tensors(stem, &operands)?;
        let (inner, inputs, cols) = (x.rows, x.cols, dz.cols);
        let terms = planner.sum_part(inner, &[("x", x.stride), ("grad_z", dz.stride)], 4)?;
        let part = planner.weight_rows("weight", weight, terms)?;
        let bias = planner.whole("bias", bias)?;
        let bias_velocity =
            velocity.map(|(_, bias)| planner.whole("bias's velocity", bias)).transpose()?;
        let variant = Variant::new(stem).with_if("MOMENTUM", velocity.is_some());
        let variant = planner.bindable(variant);
        let few = variant.is("BOUND", "few");
        let mut plan = Vec::new();
        for (m, rows) in rows_and_bias(inputs, part, few) {
            let held = rows.min(inputs - m.min(inputs));
            let weight = planner.window(weight, 4, m.min(inputs), held);
            let velocity = velocity
                .map(|(velocity, _)| planner.window(velocity, 4, m.min(inputs), held))
                .zip(bias_velocity);
            for (k, terms) in windows_or_one(inner, terms) {
                let [x, dz] = [x, dz].map(|view| planner.window(view, 4, k, terms));
                let x = x.after_col(m);
                let (mut tensors, mut wide) = (vec![x, dz, bias, weight], vec![x, dz, weight]);
                if let Some((weight, bias)) = velocity {
                    tensors.extend([weight, bias]);
                    wide.push(weight);
                }
                if few && held == 0 {
                    (tensors[3], tensors[4]) = (tensors[2], tensors[5]);
                }
                // The first part of the batch changes the velocity and takes the penalties. If
                // there is a velocity, the last part moves the weights.
                let (first, last) = (k == 0, k + terms == inner);
                let own = GradWeightSgdOwn {
                    inner: terms as u32,
                    terms: 0,
                    bias_row: if held < rows { held as u32 } else { u32::MAX },
                    rate: if last || velocity.is_none() { self.rule.lr } else { 0.0 },
                    momentum: if first { self.rule.momentum } else { 1.0 },
                    decay: if first { self.rule.weight_decay } else { 0.0 },
                    l1: if first { self.rule.l1 } else { 0.0 },
                };
                let params = Params::of(rows, cols);
                let work = Work { variant, tensors: &tensors, params, own, loops: 0 };
                plan.extend(planner.product(work, &wide)?);
            }
        }
        Ok(plan)
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let shape = [self.weight.rows(), self.weight.cols()];
        let (x, dz) = (P::values(&self.x), P::values(&self.grad_z));
        let (weight, bias) = (P::values_mut(&mut self.weight), P::values_mut(&mut self.bias));
        let velocity = self.velocity.as_mut();
        let velocity = velocity.map(|(w, b)| (P::values_mut(w), P::values_mut(b)));
        match isa {
            Some(isa) => {
                fast::grad_weight_sgd(isa, x, dz, weight, bias, velocity, shape, &self.rule)
            }
            None => reference::grad_weight_sgd(x, dz, weight, bias, velocity, shape, &self.rule),
        }
    }
}
