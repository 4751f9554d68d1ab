//! Plans of the kernels that take whole rows or whole tensors: `softmax_cross_entropy`,
//! `squared_error`, `batch_loss`, `sgd`, `philox_words`.

use super::{Dispatch, Planner, Window, check_operands, read, windows, write};
use crate::Result;
use crate::call::{BatchLoss, Sgd, SoftmaxCrossEntropy, SquaredError};
use crate::gpu::params::{LOGISTIC, MAX_NORM, Params};
use crate::gpu::source::Width;
use crate::gpu::stem::Stem;
use crate::gpu::variant::Variant;
use crate::gpu::view::View;

impl Planner {
    pub(in crate::gpu) fn softmax_cross_entropy<'a>(
        &self,
        call: &SoftmaxCrossEntropy<'_, View<'a>, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (z, labels, dz, losses) = (*call.logits, *call.labels, *call.grad_logits, *call.losses);
        let name = Stem::SoftmaxCrossEntropy.name();
        let operands = [
            read("logits", z),
            read("labels", labels).packed(),
            write("grad_logits", dz),
            write("losses", losses).packed(),
        ];
        check_operands(name, 4, &operands)?;
        let mut plan = Vec::new();
        for (from, rows) in windows(
            z.rows,
            self.common_rows(
                z.rows,
                &[("logits", z.stride), ("grad_logits", dz.stride), ("losses", 2)],
                4,
            )?,
        ) {
            let [z, labels, dz, losses] =
                [z, labels, dz, losses].map(|view| self.window(view, 4, from, rows));
            let params = Params {
                rows: rows as u32,
                cols: z.cols,
                a_start: z.start,
                a_stride: z.stride,
                b_start: labels.start,
                c_start: dz.start,
                c_stride: dz.stride,
                d_start: losses.start,
                scale: (1.0 / call.batch as f64) as f32,
                rate: f32::NAN,
                ..Params::default()
            };
            let variant = Variant::new(Stem::SoftmaxCrossEntropy);
            plan.extend(self.dispatch(
                variant,
                &[z, labels, dz, losses],
                params,
                (rows as u64).div_ceil(64),
            )?);
        }
        Ok(plan)
    }

    pub(in crate::gpu) fn squared_error<'a>(
        &self,
        call: &SquaredError<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (z, targets, dz, losses) = (*call.z, *call.targets, *call.grad_z, *call.losses);
        let operands = [
            read("z", z),
            read("targets", targets),
            write("grad_z", dz),
            write("losses", losses).packed(),
        ];
        check_operands(Stem::SquaredError.name(), 4, &operands)?;
        let strides =
            [("z", z.stride), ("targets", targets.stride), ("grad_z", dz.stride), ("losses", 2)];
        let mut plan = Vec::new();
        for (from, rows) in windows(z.rows, self.common_rows(z.rows, &strides, 4)?) {
            let [z, targets, dz, losses] =
                [z, targets, dz, losses].map(|view| self.window(view, 4, from, rows));
            let params = Params {
                rows: rows as u32,
                cols: z.cols,
                flags: if call.logistic { LOGISTIC } else { 0 },
                a_start: z.start,
                a_stride: z.stride,
                b_start: targets.start,
                b_stride: targets.stride,
                c_start: dz.start,
                c_stride: dz.stride,
                d_start: losses.start,
                scale: (1.0 / call.z.rows as f64) as f32,
                ..Params::default()
            };
            let variant = Variant::new(Stem::SquaredError);
            plan.extend(self.dispatch(
                variant,
                &[z, targets, dz, losses],
                params,
                (rows as u64).div_ceil(64),
            )?);
        }
        Ok(plan)
    }

    pub(in crate::gpu) fn batch_loss<'a>(
        &self,
        call: &BatchLoss<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (losses, totals) = (*call.losses, *call.totals);
        check_operands(
            "batch_loss",
            4,
            &[read("losses", losses).packed(), write("totals", totals).packed()],
        )?;
        let losses = self.whole("losses", losses)?;
        let totals = self.window(totals, 4, call.slot, 1);
        let params = Params {
            rows: call.losses.rows as u32,
            a_start: losses.start,
            b_start: totals.start,
            ..Params::default()
        };
        Ok(self
            .dispatch(Variant::new(Stem::BatchLoss), &[losses, totals], params, 1)?
            .into_iter()
            .collect())
    }

    pub(in crate::gpu) fn sgd<'a>(&self, call: &Sgd<'_, View<'a>>) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (grad, weight) = (*call.grad, *call.weight);
        let velocity = call.velocity.as_deref().copied();
        let mut operands = vec![read("grad", grad).packed(), write("weight", weight).packed()];
        operands.extend(velocity.map(|velocity| write("velocity", velocity).packed()));
        check_operands("sgd", 4, &operands)?;
        // The norm of a column needs all of its rows in one dispatch.
        let part = match call.rule.max_norm {
            Some(_) => self.whole("weight under max-norm", weight).map(|_| weight.rows)?,
            None => self.rows_per_binding("weight", weight.cols, 4)?,
        };
        let mut plan = Vec::new();
        for (from, rows) in windows(weight.rows, part) {
            let mut bound: Vec<Window<'a>> =
                [grad, weight].iter().map(|&view| self.window(view, 4, from, rows)).collect();
            bound.extend(velocity.map(|view| self.window(view, 4, from, rows)));
            let count = rows as u64 * weight.cols as u64;
            // Under max-norm a thread has four columns, else four elements wherever they lie.
            let run = if call.rule.max_norm.is_some() { weight.cols as u64 } else { count };
            let wide =
                run.is_multiple_of(4) && bound.iter().all(|window| window.start.is_multiple_of(4));
            let width = if wide { Width::Vec4 } else { Width::Scalar };
            let variant =
                Variant { width, momentum: velocity.is_some(), ..Variant::new(Stem::Sgd) };
            let params = Params {
                rows: rows as u32,
                cols: weight.cols as u32,
                count: count as u32,
                flags: if call.rule.max_norm.is_some() { MAX_NORM } else { 0 },
                a_start: bound[0].start,
                b_start: bound[1].start,
                c_start: bound.get(2).map_or(0, |velocity| velocity.start),
                rate: call.rule.lr,
                momentum: call.rule.momentum,
                decay: call.rule.weight_decay,
                l1: call.rule.l1,
                max_norm: call.rule.max_norm.unwrap_or(0.0),
                ..Params::default()
            };
            plan.extend(self.dispatch(variant, &bound, params, run.div_ceil(4).div_ceil(64))?);
        }
        Ok(plan)
    }

    /// Philox over rows of counter and key, for checking a device against the published answers.
    pub(in crate::gpu) fn philox_words<'a>(
        &self,
        inputs: View<'a>,
        words: View<'a>,
    ) -> Result<Vec<Dispatch<'a>>> {
        crate::shape::expect("philox_words", "inputs", &inputs, words.rows, 6)?;
        crate::shape::expect("philox_words", "words", &words, inputs.rows, 4)?;
        check_operands(
            "philox_words",
            4,
            &[read("inputs", inputs).packed(), write("words", words).packed()],
        )?;
        let pair = [self.whole("inputs", inputs)?, self.whole("words", words)?];
        let params = Params {
            rows: inputs.rows as u32,
            a_start: pair[0].start,
            b_start: pair[1].start,
            ..Params::default()
        };
        let variant = Variant::new(Stem::PhiloxWords);
        Ok(self
            .dispatch(variant, &pair, params, (inputs.rows as u64).div_ceil(64))?
            .into_iter()
            .collect())
    }
}
