//! The call of `mask_bytes`.

use super::{Call, DevicePlace, HostPlace, Place};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{
    Params, Plan, Planner, Stem, Variant, View, Work, check_tensors, own, windows, write,
};
use crate::shape::Matrix;
use crate::{Error, Mask, Result};

/// The mask as bytes: 1 for a kept element, else 0; row-major, without gaps.
pub struct MaskBytes<P: Place> {
    /// Output `[rows, cols]`.
    pub bytes: P::Out<u8>,
    /// Mask to draw.
    pub mask: Mask,
}

own! {
    /// Own words: the columns from the start of the first row to the first byte of the dispatch,
    /// and to the end of its last one.
    MaskBytesOwn {
        first: u32,
        end: u32,
    }
}

/// Most columns of a mask as bytes: they and the bytes of a binding are counted in one 32-bit
/// number.
const MOST_COLUMNS: usize = 1 << 30;

impl<P: Place> Call<P> for MaskBytes<P> {
    fn check(&self) -> Result<()> {
        Ok(self.mask.check(self.bytes.rows(), self.bytes.cols())?)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let (stem, bytes) = (Stem::MaskBytes, P::written_as::<u8>(&self.bytes));
        check_tensors(stem, &[write("bytes", bytes).packed().of_bytes(1)])?;
        if bytes.cols > MOST_COLUMNS {
            let what = "columns of a mask as bytes".to_owned();
            let (value, bound) = (bytes.cols as u64, MOST_COLUMNS as u64);
            return Err(Error::TooLarge { what, value, bound });
        }
        let mut plan = Vec::new();
        // Words reach over the ends of rows: windows are of so many elements, wherever rows end.
        let most = planner.rows_per_binding("bytes", 1, 1)? / 8 * 8;
        for (from, count) in windows(bytes.rows * bytes.cols, most) {
            let offset = bytes.offset + from as u64;
            let run = View { offset, rows: 1, cols: count, stride: count, ..bytes };
            let first = from % bytes.cols;
            let work = Work {
                variant: Variant::new(stem),
                tensors: &[planner.window(run, 1, 0, 1)],
                params: Params::of(0, bytes.cols).with_mask(&self.mask, from / bytes.cols, 0),
                own: MaskBytesOwn { first: first as u32, end: (first + count) as u32 },
                loops: 0,
            };
            plan.extend(planner.dispatch(work, count.div_ceil(8 * 64) as u64)?);
        }
        Ok(plan)
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let cols = self.bytes.cols();
        let bytes = P::values_mut_as::<u8>(&mut self.bytes);
        match isa {
            Some(isa) => fast::mask_bytes(isa, bytes, cols, &self.mask),
            None => reference::mask_bytes(bytes, cols, &self.mask),
        }
    }

    fn mask_bytes(&self) -> u64 {
        self.bytes.rows() as u64 * self.bytes.cols() as u64
    }
}
