//! The call of `grad_weight`.

use super::{Call, DevicePlace, HostPlace, Place, check_dropout};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{
    FIRST, HALF_IS_UNCUT, Params, Plan, Planner, Stem, Variant, Work, own, product_own, read,
    rows_and_bias,
    windows_or_one, write,
};
use crate::shape::{Matrix, expect};
use crate::{Dropout, Result};

/// Gradients of a layer's parameters: `dW = Xᵀ·dZ` and `db = Σ_rows dZ`, with `dZ` as in
/// [`GradInput`](super::GradInput).
///
/// Source: the chain rule; CS231n notes, "backprop".
pub struct GradWeight<P: Place> {
    /// `X [B, I]`
    pub x: P::In<f32>,
    /// `dY [B, O]`
    pub grad_output: P::In<f32>,
    /// `Y [B, O]`, as the forward pass wrote it, if ReLU preceded the dropout; `None` without
    /// ReLU.
    pub output: Option<P::In<f32>>,
    /// `dW [I, O]`, written.
    pub grad_weight: P::Out<f32>,
    /// `db [1, O]`, written.
    pub grad_bias: P::Out<f32>,
    /// Mask and scale of the forward pass.
    pub dropout: Dropout,
}

own! {
    /// Own words of `grad_weight`: `bias_row` is the local row of the product that is `db`, past
    /// the end if another dispatch has it.
    GradWeightOwn {
        inner: u32,
        terms: u32,
        flags: u32,
        bias_row: u32,
    }
}
product_own!(GradWeightOwn);

impl<P: Place> Call<P> for GradWeight<P> {
    fn check(&self) -> Result<()> {
        let kernel = "grad_weight";
        let (batch, inputs, outputs) = (self.x.rows(), self.x.cols(), self.grad_output.cols());
        expect(kernel, "grad_output", &self.grad_output, batch, outputs)?;
        self.output.as_ref().map_or(Ok(()), |y| expect(kernel, "output", y, batch, outputs))?;
        expect(kernel, "grad_weight", &self.grad_weight, inputs, outputs)?;
        expect(kernel, "grad_bias", &self.grad_bias, 1, outputs)?;
        check_dropout(&self.dropout, batch, outputs)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let stem = Stem::GradWeight;
        let (x, dy) = (P::read(&self.x), P::read(&self.grad_output));
        let (dw, db) = (P::written(&self.grad_weight), P::written(&self.grad_bias));
        // A tensor that the call lacks is never read, but needs something to be bound.
        let y = self.output.as_ref().map_or(dy, P::read);
        let element = planner.check_numbers(
            stem,
            &[
                read("x", x),
                read("grad_output", dy),
                read("output", y),
                write("grad_weight", dw),
                write("grad_bias", db),
            ],
        )?;
        let (inner, inputs, cols) = (x.rows, x.cols, dy.cols);
        let strides = [("x", x.stride), ("grad_output", dy.stride), ("output", y.stride)];
        let terms = planner.sum_part(inner, &strides, element)?;
        if element == 2 {
            let widest = strides.iter().max_by_key(|(_, stride)| stride).unwrap_or(&strides[0]);
            let row = (widest.0, widest.1 as u64 * element);
            planner.check_uncut(row, [inner, terms], HALF_IS_UNCUT)?;
        }
        let part = planner.weight_rows("grad_weight", dw, terms)?;
        let db = planner.whole("grad_bias", db)?;
        let gate = planner.gate(self.output.is_some(), &self.dropout);
        let variant = Variant { half: element == 2, ..Variant::new(stem) };
        let variant = planner.bindable(variant.with("GATE", gate));
        let few = variant.is("BOUND", "few");
        let mut plan = Vec::new();
        for (m, rows) in rows_and_bias(inputs, part, few) {
            let held = rows.min(inputs - m.min(inputs));
            for (k, terms) in windows_or_one(inner, terms) {
                let [x, dy, y] = [x, dy, y].map(|view| planner.window(view, element, k, terms));
                let x = x.after_col(m);
                let dw = planner.window(dw, element, m.min(inputs), held);
                let output = if few && held == 0 { db } else { dw };
                let work = Work {
                    variant: variant.with_if("PART", terms < inner),
                    tensors: &[x, dy, y, output, db],
                    params: Params::of(rows, cols).with_dropout(&self.dropout, k, 0),
                    own: GradWeightOwn {
                        inner: terms as u32,
                        terms: 0,
                        flags: if k == 0 { FIRST } else { 0 },
                        bias_row: if held < rows { held as u32 } else { u32::MAX },
                    },
                    loops: 0,
                };
                plan.extend(planner.product(work, &[x, dy, y, dw])?);
            }
        }
        Ok(plan)
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let shape = [self.grad_weight.rows(), self.grad_weight.cols()];
        let dz = fast::Gradient {
            grad_output: P::values(&self.grad_output),
            output: self.output.as_ref().map(P::values),
            dropout: &self.dropout,
        };
        let x = P::values(&self.x);
        let (dw, db) = (P::values_mut(&mut self.grad_weight), P::values_mut(&mut self.grad_bias));
        match isa {
            Some(isa) => fast::grad_weight(isa, x, dz, dw, db, shape),
            None => {
                let dz = reference::gradient(dz.grad_output, dz.output, shape[1], &self.dropout);
                reference::grad_weight(x, &dz, dw, db, shape);
            }
        }
    }
}
