//! Calls that average over sub-networks: a dropout site of many masks at once, and the moments of
//! what comes out.

use crate::shape::{Matrix, expect};
use crate::{Error, Result};

/// `y[m·R + r, c] = M[m, c]·s·x[r, c]`: a dropout site of many sub-networks at once, of which
/// network m has the mask whose bits are the number `first + m`.
#[derive(Debug)]
pub struct Subnetworks<'a, T> {
    /// `[R, C]`, what all networks share, or `[S·R, C]`, a network's rows of data together.
    pub x: &'a T,
    /// `[S·R, C]`, written.
    pub y: &'a mut T,
    /// Rows R of the data.
    pub rows: usize,
    /// The number of the first network's mask.
    pub first: u32,
    /// The bit of column 0: the site's units are bits `bit` to `bit + C` of a mask, below 32.
    pub bit: u32,
    /// What kept elements are multiplied by.
    pub scale: f32,
}

impl<T: Matrix> Subnetworks<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let (kernel, rows, cols) = ("subnetworks", self.y.rows(), self.y.cols());
        if self.rows == 0 || !rows.is_multiple_of(self.rows) {
            return Err(Error::shape(
                kernel,
                format!("{rows} rows of networks that have {} each", self.rows),
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

/// `p = softmax(z)`, and its weighted mean and squares over S networks, joined to those of the
/// networks before.
///
/// With `W = Σ_s w[s]`: `mean[r, c] = Σ_s w[s]·p[s, r, c] / W`, `squares[r, c] = Σ_s w[s]·(p[s, r,
/// c] − mean[r, c])²`, so that the variance is `squares / W`, and the mean of the entropies `−Σ_c
/// p·log p`, in nats.
#[derive(Debug)]
pub struct Moments<'a, T> {
    /// `z [S·R, C]`, a network's rows of data together; overwritten.
    pub logits: &'a mut T,
    /// `w [any, 1]`, none of them negative.
    pub weights: &'a T,
    /// Where in `weights` the first network's is.
    pub first: usize,
    /// The sum of the weights of all networks before; at 0 what `moments` holds is not looked at.
    pub before: f32,
    /// `[R, 2·C + 1]`, updated: means, squares, and the mean of the entropies.
    pub moments: &'a mut T,
}

impl<T: Matrix> Moments<'_, T> {
    /// Networks S, of R rows each.
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
                format!("{} logits of networks that have {rows} rows each", self.logits.rows()),
            ));
        }
        if classes == 0 {
            return Err(Error::shape(kernel, "logits of no classes"));
        }
        if self.before.is_nan() || self.before < 0.0 {
            return Err(Error::invalid(format!(
                "moments: {} as the weight of the networks before: must not be negative",
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
