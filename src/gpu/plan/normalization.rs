//! Plans of `batch_statistics`, `batch_norm`, `batch_norm_grad`, `sparsity_grad`, and of the update
//! `adamw`.

use super::split::scratch;
use super::{Dispatch, Planner, Window, check_operands, read, windows, write};
use crate::Result;
use crate::call::{AdamW, BatchNorm, BatchNormGrad, BatchStatistics, SparsityGrad};
use crate::gpu::params::{Params, RELU, SLOPES, SUMS, THROUGH};
use crate::gpu::source::Width;
use crate::gpu::stem::Stem;
use crate::gpu::variant::Variant;
use crate::gpu::view::View;

impl Planner {
    pub(in crate::gpu) fn batch_statistics<'a>(
        &self,
        call: &BatchStatistics<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (x, statistics, running) = (*call.x, *call.statistics, *call.running);
        let stem = Stem::BatchStatistics;
        let operands = [
            read("x", x),
            write("statistics", statistics).packed(),
            write("running", running).packed(),
        ];
        check_operands(stem.name(), 4, &operands)?;
        // The sums over a column need all of its rows in one dispatch.
        let bound = [
            self.whole("x", x)?,
            self.whole("statistics", statistics)?,
            self.whole("running", running)?,
        ];
        let params = Params {
            rows: x.rows as u32,
            cols: x.cols as u32,
            a_start: bound[0].start,
            a_stride: bound[0].stride,
            b_start: bound[1].start,
            c_start: bound[2].start,
            scale: (1.0 / x.rows as f64) as f32,
            shift: (x.rows as f64 / (x.rows.max(2) - 1) as f64) as f32,
            rate: call.momentum,
            ..Params::default()
        };
        Ok(self
            .dispatch(Variant::new(stem), &bound, params, (x.cols as u64).div_ceil(64))?
            .into_iter()
            .collect())
    }

    pub(in crate::gpu) fn batch_norm<'a>(
        &self,
        call: &BatchNorm<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (x, y) = (*call.x, *call.y);
        let stem = Stem::BatchNorm;
        let operands = [
            read("x", x),
            read("statistics", *call.statistics).packed(),
            read("affine", *call.affine).packed(),
            write("y", y),
        ];
        check_operands(stem.name(), 4, &operands)?;
        let (statistics, affine) =
            (self.whole("statistics", *call.statistics)?, self.whole("affine", *call.affine)?);
        let mut plan = Vec::new();
        for (from, rows) in
            windows(x.rows, self.common_rows(x.rows, &[("x", x.stride), ("y", y.stride)], 4)?)
        {
            let [x, y] = [x, y].map(|view| self.window(view, 4, from, rows));
            let params = Params {
                rows: rows as u32,
                cols: x.cols,
                flags: if call.relu { RELU } else { 0 },
                a_start: x.start,
                a_stride: x.stride,
                b_start: statistics.start,
                c_start: affine.start,
                d_start: y.start,
                d_stride: y.stride,
                shift: call.epsilon,
                ..Params::default()
            }
            .with_dropout(&call.dropout, from, 0);
            let strips = rows as u64 * u64::from(x.cols.div_ceil(8));
            plan.extend(self.dispatch(
                Variant::new(stem),
                &[x, statistics, affine, y],
                params,
                strips.div_ceil(64),
            )?);
        }
        Ok(plan)
    }

    pub(in crate::gpu) fn batch_norm_grad<'a>(
        &self,
        call: &BatchNormGrad<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let stem = Stem::BatchNormGrad;
        let operands = [
            read("x", *call.x),
            read("statistics", *call.statistics).packed(),
            read("affine", *call.affine).packed(),
            read("grad_y", *call.grad_y),
            write("grad_affine", *call.grad_affine).packed(),
            write("grad_x", *call.grad_x),
        ];
        check_operands(stem.name(), 4, &operands)?;
        let bound: Vec<Window<'a>> = operands
            .iter()
            .map(|operand| self.whole(operand.name, operand.view))
            .collect::<Result<_>>()?;
        let [x, statistics, affine, grad_y, grad_affine, grad_x] = bound[..] else {
            return Ok(Vec::new());
        };
        let slopes = scratch(5, call.x.cols.max(1));
        let through = if call.through.is_some() { THROUGH } else { 0 };
        let columns = u64::from(x.cols);
        let strips = call.x.rows as u64 * columns.div_ceil(8);
        // Three dispatches bind no more than four tensors each, wherever they run.
        let mut plan = Vec::new();
        for (flags, bound, threads) in [
            (SUMS, [x, grad_y, statistics, grad_affine], columns),
            (SLOPES, [affine, grad_affine, statistics, slopes], columns),
            (through, [x, grad_y, slopes, grad_x], strips),
        ] {
            let [a, b, c, d] = bound;
            let params = Params {
                rows: call.x.rows as u32,
                cols: x.cols,
                flags,
                a_start: a.start,
                a_stride: a.stride,
                b_start: b.start,
                b_stride: b.stride,
                c_start: c.start,
                d_start: d.start,
                d_stride: d.stride,
                scale: call.through.unwrap_or(1.0),
                shift: call.epsilon,
                rate: (1.0 / call.x.rows.max(1) as f64) as f32,
                ..Params::default()
            };
            plan.extend(self.dispatch(Variant::new(stem), &bound, params, threads.div_ceil(64))?);
        }
        Ok(plan)
    }

    pub(in crate::gpu) fn sparsity_grad<'a>(
        &self,
        call: &SparsityGrad<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (statistics, grad_y) = (*call.statistics, *call.grad_y);
        let stem = Stem::SparsityGrad;
        check_operands(
            stem.name(),
            4,
            &[read("statistics", statistics).packed(), write("grad_y", grad_y)],
        )?;
        let statistics = self.whole("statistics", statistics)?;
        let mut plan = Vec::new();
        for (from, rows) in windows(grad_y.rows, self.rows_per_binding("grad_y", grad_y.stride, 4)?)
        {
            let bound = [statistics, self.window(grad_y, 4, from, rows)];
            let params = Params {
                rows: rows as u32,
                cols: grad_y.cols as u32,
                a_start: statistics.start,
                b_start: bound[1].start,
                b_stride: bound[1].stride,
                rate: call.target,
                scale: (f64::from(call.weight) / grad_y.rows as f64) as f32,
                ..Params::default()
            };
            plan.extend(self.dispatch(
                Variant::new(stem),
                &bound,
                params,
                (grad_y.cols as u64).div_ceil(64),
            )?);
        }
        Ok(plan)
    }

    pub(in crate::gpu) fn adamw<'a>(
        &self,
        call: &AdamW<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (grad, weight) = (*call.grad, *call.weight);
        let (stem, views) = (Stem::Adamw, [grad, weight, *call.first, *call.second]);
        let written = [("weight", weight), ("first", *call.first), ("second", *call.second)];
        let written = written.map(|(name, view)| write(name, view).packed());
        check_operands(stem.name(), 4, &[&[read("grad", grad).packed()], &written[..]].concat())?;
        let [rate, shift] = call.rule.corrected(call.step);
        let mut plan = Vec::new();
        for (from, rows) in windows(weight.rows, self.rows_per_binding("weight", weight.cols, 4)?) {
            let bound = views.map(|view| self.window(view, 4, from, rows));
            let count = rows as u64 * weight.cols as u64;
            let wide = count.is_multiple_of(4)
                && bound.iter().all(|window| window.start.is_multiple_of(4));
            let width = if wide { Width::Vec4 } else { Width::Scalar };
            let params = Params {
                count: count as u32,
                a_start: bound[0].start,
                b_start: bound[1].start,
                c_start: bound[2].start,
                d_start: bound[3].start,
                rate,
                shift,
                decay: call.rule.lr * call.rule.weight_decay,
                momentum: call.rule.beta1,
                scale: call.rule.beta2,
                ..Params::default()
            };
            plan.extend(self.dispatch(
                Variant { width, ..Variant::new(stem) },
                &bound,
                params,
                count.div_ceil(4).div_ceil(64),
            )?);
        }
        Ok(plan)
    }
}
