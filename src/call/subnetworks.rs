//! The call of `subnetworks`.

use super::{Call, DevicePlace, HostPlace, Place};
use crate::cpu::fast::Isa;
use crate::cpu::reference;
use crate::plan::{Params, Plan, Planner, Stem, Variant, Work, check_tensors, own, read, write};
use crate::rules::range::{SCALE, range};
use crate::shape::{Matrix, expect};
use crate::{Error, Result};

/// Dropout site of S sub-networks at once: `y[m·R + r, c] = M[m, c]·s·x[r, c]`.
///
/// The bits of the number `first + m` are the mask of network m: `M[m, c]` is bit `bit + c`. A
/// dropped element is 0 by selection.
///
/// Source: Srivastava et al., JMLR 15 (2014), section 1: the 2ⁿ thinned networks.
pub struct Subnetworks<P: Place> {
    /// `[R, C]`, shared by all networks; or `[S·R, C]`, each network's rows of data together.
    pub x: P::In<f32>,
    /// `[S·R, C]`, written.
    pub y: P::Out<f32>,
    /// Rows of data R.
    pub rows: usize,
    /// Number of the first network's mask.
    pub first: u32,
    /// Bit of column 0. The site's units are bits `bit` to `bit + C` of a mask, which has 32.
    pub bit: u32,
    #[doc = concat!("Factor of the kept elements: ", range!(SCALE), ".")]
    pub scale: f32,
}

own! {
    /// Own words: the first network's mask and the bit of column 0, the rows of a network, and the
    /// rows of `x`.
    SubnetworksOwn {
        first: u32,
        bit: u32,
        network_rows: u32,
        input_rows: u32,
    }
}

impl<P: Place> Call<P> for Subnetworks<P> {
    fn check(&self) -> Result<()> {
        let (kernel, rows, cols) = ("subnetworks", self.y.rows(), self.y.cols());
        if self.rows == 0 || !rows.is_multiple_of(self.rows) {
            let what = format!("{rows} rows of networks that have {} each", self.rows);
            return Err(Error::shape(kernel, what));
        }
        SCALE.check(self.scale)?;
        let shared = self.x.rows() == self.rows;
        expect(kernel, "x", &self.x, if shared { self.rows } else { rows }, cols)?;
        let (bound, end) = (32, (self.bit as usize).saturating_add(cols));
        if end > bound {
            let what = "units of a mask".to_owned();
            return Err(Error::TooLarge { what, value: end as u64, bound: bound as u64 });
        }
        let last = u64::from(self.first) + (rows / self.rows) as u64;
        if last > 1 << 32 {
            let what = "masks of 32 bits".to_owned();
            return Err(Error::TooLarge { what, value: last, bound: 1 << 32 });
        }
        Ok(())
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let (stem, x, y) = (Stem::Subnetworks, P::read(&self.x), P::written(&self.y));
        check_tensors(stem, &[read("x", x), write("y", y)])?;
        let work = Work {
            variant: Variant::new(stem),
            tensors: &[planner.whole("x", x)?, planner.whole("y", y)?],
            params: Params { scale: self.scale, ..Params::of(y.rows, y.cols) },
            own: SubnetworksOwn {
                first: self.first,
                bit: self.bit,
                network_rows: self.rows as u32,
                input_rows: x.rows as u32,
            },
            loops: 0,
        };
        let strips = y.rows as u64 * y.cols.div_ceil(8) as u64;
        Ok(planner.dispatch(work, strips.div_ceil(64))?.into_iter().collect())
    }

    fn compute(mut self, _: Option<Isa>)
    where
        P: HostPlace,
    {
        let Self { rows, first, bit, scale, .. } = self;
        let cols = self.x.cols();
        let (x, y) = (P::values(&self.x), P::values_mut(&mut self.y));
        reference::subnetworks(x, y, cols, rows, first, bit, scale);
    }
}
