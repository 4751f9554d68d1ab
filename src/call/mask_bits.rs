//! The call of `mask_bits`.

use super::{Call, DevicePlace, HostPlace, Place};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{Params, Plan, Planner, Stem, Variant, Work, check_tensors, windows, write};
use crate::shape::{Matrix, expect};
use crate::{Error, Mask, Result};

/// The mask as packed bits: element (r, c) is bit `c % 32` of word `c / 32` of row r.
///
/// Bits past the last column are 0.
pub struct MaskBits<P: Place> {
    /// Output `[rows, ⌈cols / 32⌉]`.
    pub bits: P::Out<u32>,
    /// Columns of the mask.
    pub cols: usize,
    /// Mask to draw.
    pub mask: Mask,
}

impl<P: Place> Call<P> for MaskBits<P> {
    fn check(&self) -> Result<()> {
        expect("mask_bits", "bits", &self.bits, self.bits.rows(), self.cols.div_ceil(32))?;
        Ok(self.mask.check(self.bits.rows(), self.cols)?)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let (stem, bits) = (Stem::MaskBits, P::written_as::<u32>(&self.bits));
        check_tensors(stem, &[write("bits", bits)])?;
        // The shader counts columns in 32 bits, up to the end of the last word.
        let bound = u64::from(u32::MAX) - 31;
        if self.cols as u64 > bound {
            let what = "columns of a mask as bits".to_owned();
            return Err(Error::TooLarge { what, value: self.cols as u64, bound });
        }
        let mut plan = Vec::new();
        for (from, rows) in windows(bits.rows, planner.rows_per_binding("bits", bits.stride, 4)?) {
            let work = Work {
                variant: Variant::new(stem),
                tensors: &[planner.window(bits, 4, from, rows)],
                params: Params::of(rows, self.cols).with_mask(&self.mask, from, 0),
                own: (),
                loops: 0,
            };
            let words = rows as u64 * bits.cols as u64;
            plan.extend(planner.dispatch(work, words.div_ceil(64))?);
        }
        Ok(plan)
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let bits = P::values_mut_as::<u32>(&mut self.bits);
        match isa {
            Some(isa) => fast::mask_bits(isa, bits, self.cols, &self.mask),
            None => reference::mask_bits(bits, self.cols, &self.mask),
        }
    }

    fn mask_bytes(&self) -> u64 {
        4 * self.bits.rows() as u64 * self.bits.cols() as u64
    }
}
