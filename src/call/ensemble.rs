//! Calls that average over sub-networks: a dropout site with many masks at once, and the moments of
//! the networks' outputs.

use crate::shape::{Matrix, expect};
use crate::{Error, Result};

/// Dropout site of S sub-networks at once: `y[m·R + r, c] = M[m, c]·s·x[r, c]`.
///
/// The bits of the number `first + m` are the mask of network m: `M[m, c]` is bit `bit + c`. A
/// dropped element is 0 by selection.
///
/// Source: Srivastava et al., JMLR 15 (2014), section 1: the 2ⁿ thinned networks.
#[derive(Debug)]
pub struct Subnetworks<'a, T> {
    /// `[R, C]`, shared by all networks; or `[S·R, C]`, each network's rows of data together.
    pub x: &'a T,
    /// `[S·R, C]`, written.
    pub y: &'a mut T,
    /// Rows of data R.
    pub rows: usize,
    /// Number of the first network's mask.
    pub first: u32,
    /// Bit of column 0. The site's units are bits `bit` to `bit + C` of a mask, which has 32.
    pub bit: u32,
    /// Factor of the kept elements.
    pub scale: f32,
}

impl<T: Matrix> Subnetworks<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let (kernel, rows, cols) = ("subnetworks", self.y.rows(), self.y.cols());
        if self.rows == 0 || !rows.is_multiple_of(self.rows) {
            return Err(Error::shape(
                kernel,
                format!("{rows} rows for networks with {} rows each", self.rows),
            ));
        }
        let shared = self.x.rows() == self.rows;
        expect(kernel, "x", self.x, if shared { self.rows } else { rows }, cols)?;
        let (bound, end) = (32, (self.bit as usize).saturating_add(cols));
        if end > bound {
            return Err(Error::TooLarge {
                what: "units of a mask".to_owned(),
                value: end as u64,
                bound: bound as u64,
            });
        }
        let last = u64::from(self.first) + (rows / self.rows) as u64;
        if last > 1 << 32 {
            return Err(Error::TooLarge {
                what: "masks of 32 bits".to_owned(),
                value: last,
                bound: 1 << 32,
            });
        }
        Ok(())
    }
}

/// Weighted moments of the class probabilities `p = softmax(z)` of S networks, joined to those of
/// the networks before.
///
/// With `W = Σ_s w[s]`:
///
/// - the mean, `mean[r, c] = Σ_s w[s]·p[s, r, c] / W`,
/// - the squares, `squares[r, c] = Σ_s w[s]·(p[s, r, c] − mean[r, c])²`, so that the variance is
///   `squares / W`,
/// - the weighted mean over the networks of the entropies `−Σ_c p·log p`, in nats.
///
/// Sources: West, CACM 22 (1979), for adding weighted values one at a time; Chan, Golub, LeVeque,
/// The American Statistician 37 (1983), for joining.
#[derive(Debug)]
pub struct Moments<'a, T> {
    /// `z [S·R, C]`, each network's rows of data together; overwritten.
    pub logits: &'a mut T,
    /// `w [any, 1]`, none negative.
    pub weights: &'a T,
    /// Position in `weights` of the first network's weight.
    pub first: usize,
    /// Sum of the weights of all networks before. If it is 0, the previous contents of `moments`
    /// are ignored.
    pub before: f32,
    /// `[R, 2·C + 1]`, updated: means, squares, and the mean of the entropies.
    pub moments: &'a mut T,
}

impl<T: Matrix> Moments<'_, T> {
    /// Returns S, the number of networks of R rows each.
    pub(crate) fn networks(&self) -> usize {
        self.logits.rows() / self.moments.rows().max(1)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let (kernel, rows, classes) = ("moments", self.moments.rows(), self.logits.cols());
        if rows == 0 && self.logits.rows() > 0
            || rows > 0 && !self.logits.rows().is_multiple_of(rows)
        {
            return Err(Error::shape(
                kernel,
                format!("{} rows of logits for networks with {rows} rows each", self.logits.rows()),
            ));
        }
        if classes == 0 {
            return Err(Error::shape(kernel, "logits without classes"));
        }
        if self.before.is_nan() || self.before < 0.0 {
            return Err(Error::invalid(format!(
                "moments: the weight of the networks before is {}: must not be negative",
                self.before
            )));
        }
        expect(kernel, "moments", self.moments, rows, 2 * classes + 1)?;
        expect(kernel, "weights", self.weights, self.weights.rows(), 1)?;
        if self.first.checked_add(self.networks()).is_none_or(|end| end > self.weights.rows()) {
            let what =
                format!("weights {}..+{} of {}", self.first, self.networks(), self.weights.rows());
            return Err(Error::shape(kernel, what));
        }
        Ok(())
    }
}
