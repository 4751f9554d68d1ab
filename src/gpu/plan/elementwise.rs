//! Plans of the kernels that take a matrix strip by strip: `dropout`, `copy`, `mask_bits`,
//! `gather`.

use super::strips::Strips;
use super::{Dispatch, Operand, Planner, check_operands, read, windows, write};
use crate::call::{DropoutCall, Features, Gather, MaskBits};
use crate::gpu::bindings::Bound;
use crate::gpu::params::{LABELS, Params};
use crate::gpu::stem::Stem;
use crate::gpu::variant::Variant;
use crate::gpu::view::View;
use crate::{Error, Result};

impl Planner {
    pub(in crate::gpu) fn dropout<'a>(
        &self,
        call: &DropoutCall<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let params = |row, col| Params::default().with_dropout(&call.dropout, row, col);
        let variant = Variant { aligned: true, ..Variant::new(Stem::Dropout) };
        self.strips(&Strips { variant, x: *call.x, beside: None, y: *call.y, params: &params })
    }

    /// `y = x`: the ceiling that `dropout` is measured against.
    pub(in crate::gpu) fn copy<'a>(&self, x: View<'a>, y: View<'a>) -> Result<Vec<Dispatch<'a>>> {
        crate::shape::expect("copy", "y", &y, x.rows, x.cols)?;
        self.strips(&Strips {
            variant: Variant::new(Stem::Copy),
            x,
            beside: None,
            y,
            params: &|_, _| Params::default(),
        })
    }

    pub(in crate::gpu) fn mask_bits<'a>(
        &self,
        call: &MaskBits<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let bits = *call.bits;
        check_operands("mask_bits", 4, &[write("bits", bits)])?;
        // The shader counts columns in 32 bits, up to the end of the last word.
        let bound = u64::from(u32::MAX) - 31;
        if call.cols as u64 > bound {
            return Err(Error::TooLarge {
                what: "columns of a mask as bits".to_owned(),
                value: call.cols as u64,
                bound,
            });
        }
        let mut plan = Vec::new();
        for (from, rows) in windows(bits.rows, self.rows_per_binding("bits", bits.stride, 4)?) {
            let window = self.window(bits, 4, from, rows);
            let params = Params {
                rows: rows as u32,
                cols: call.cols as u32,
                a_start: window.start,
                a_stride: window.stride,
                ..Params::default()
            }
            .with_mask(&call.mask, from, 0);
            let words = rows as u64 * bits.cols as u64;
            plan.extend(self.dispatch(
                Variant::new(Stem::MaskBits),
                &[window],
                params,
                words.div_ceil(64),
            )?);
        }
        Ok(plan)
    }

    pub(in crate::gpu) fn gather<'a>(
        &self,
        call: &Gather<'_, View<'a>, View<'a>, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (data, element) = match call.data {
            Features::Bytes(bytes) => (*bytes, 1),
            Features::Floats(floats) => (*floats, 4),
        };
        let (order, all_labels, x, labels) = (*call.order, *call.all_labels, *call.x, *call.labels);
        let data_operand = Operand { element: Some(element), ..read("data", data).packed() };
        let read_operands =
            [data_operand, read("order", order).packed(), read("all_labels", all_labels).packed()];
        check_operands(
            "gather",
            4,
            &[&read_operands[..], &[write("x", x).packed(), write("labels", labels).packed()]]
                .concat(),
        )?;
        let (order, all_labels) =
            (self.whole("order", order)?, self.whole("all_labels", all_labels)?);
        let (labels, x) = (self.whole("labels", labels)?, self.whole("x", x)?);
        let mut plan = Vec::new();
        // Features and labels together bind one tensor more than some devices allow.
        let variant = self.bindable(Variant { bytes: element == 1, ..Variant::new(Stem::Gather) });
        let apart = variant.bound == Bound::Few;
        for (from, count) in windows(data.rows, self.rows_per_binding("data", data.cols, element)?)
        {
            let window = self.window(data, element, from, count);
            let params = Params {
                rows: call.x.rows as u32,
                cols: data.cols as u32,
                flags: if from == 0 { LABELS } else { 0 },
                a_start: window.start,
                a_stride: window.stride,
                b_stride: all_labels.start,
                c_start: order.start,
                c_stride: from as u32,
                d_start: x.start,
                d_stride: labels.start,
                first: call.first as u32,
                count: count as u32,
                rate: call.unit,
                ..Params::default()
            }
            .with_dropout(&call.dropout, 0, 0);
            // Rows without features still have labels.
            let strips = call.x.rows as u64 * data.cols.div_ceil(8).max(1) as u64;
            let bound = [window, order, all_labels, x, labels];
            if apart && from == 0 {
                let (labels, params) = (
                    Variant { bytes: true, bound: Bound::Labels, ..variant },
                    Params { cols: 0, count: 0, ..params },
                );
                plan.extend(self.dispatch(
                    labels,
                    &bound,
                    params,
                    (call.x.rows as u64).div_ceil(64),
                )?);
            }
            let params = Params { flags: if apart { 0 } else { params.flags }, ..params };
            plan.extend(self.dispatch(variant, &bound, params, strips.div_ceil(64))?);
        }
        Ok(plan)
    }
}
