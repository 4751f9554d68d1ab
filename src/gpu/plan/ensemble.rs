//! Plans of the kernels that average over sub-networks: `subnetworks`, `moments`.

use super::{Dispatch, Planner, check_operands, read, write};
use crate::Result;
use crate::call::{Moments, Subnetworks};
use crate::gpu::params::{FIRST, Params};
use crate::gpu::stem::Stem;
use crate::gpu::variant::Variant;
use crate::gpu::view::View;
use crate::order;

impl Planner {
    pub(in crate::gpu) fn subnetworks<'a>(
        &self,
        call: &Subnetworks<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (x, y) = (*call.x, *call.y);
        check_operands(Stem::Subnetworks.name(), 4, &[read("x", x), write("y", y)])?;
        let pair = [self.whole("x", x)?, self.whole("y", y)?];
        let params = Params {
            rows: y.rows as u32,
            cols: y.cols as u32,
            inner: call.rows as u32,
            a_start: pair[0].start,
            a_stride: pair[0].stride,
            b_start: pair[1].start,
            b_stride: pair[1].stride,
            first: call.first,
            count: call.bit,
            terms: x.rows as u32,
            scale: call.scale,
            ..Params::default()
        };
        let strips = y.rows as u64 * y.cols.div_ceil(8) as u64;
        Ok(self
            .dispatch(Variant::new(Stem::Subnetworks), &pair, params, strips.div_ceil(64))?
            .into_iter()
            .collect())
    }

    pub(in crate::gpu) fn moments<'a>(
        &self,
        call: &Moments<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (logits, weights, moments) = (*call.logits, *call.weights, *call.moments);
        let operands =
            [read("weights", weights), write("logits", logits), write("moments", moments)];
        check_operands(Stem::Moments.name(), 4, &operands)?;
        let bound = [
            self.whole("weights", weights)?,
            self.whole("logits", logits)?,
            self.whole("moments", moments)?,
        ];
        let chains = order::chains(call.networks());
        let params = Params {
            rows: moments.rows as u32,
            cols: logits.cols as u32,
            flags: if call.before == 0.0 { FIRST } else { 0 },
            a_start: bound[0].start,
            a_stride: bound[0].stride,
            b_start: bound[1].start,
            b_stride: bound[1].stride,
            c_start: bound[2].start,
            c_stride: bound[2].stride,
            first: call.first as u32,
            count: call.networks() as u32,
            terms: chains as u32,
            rate: call.before,
            ..Params::default()
        };
        let workgroups = (moments.rows as u64).div_ceil(64 / chains as u64);
        Ok(self
            .dispatch(Variant::new(Stem::Moments), &bound, params, workgroups)?
            .into_iter()
            .collect())
    }
}
