//! Gaussian dropout: every element is multiplied by noise of mean 1, computed from the contract's
//! draws.

use crate::mask::DRAWS;
use crate::{Error, Mask, Result};

/// One site of Gaussian dropout: `y = x·(1 + σ·n)`, with n standard normal and independent for each
/// element.
///
/// At a keep rate `k` in effect, `σ = √((1 − k) / k)`, so that the noise has mean 1 and the
/// variance of inverted dropout's. Nothing is dropped, and prediction leaves `x` unchanged. The
/// site is its own backward pass: `dx = dy·(1 + σ·n)` with the same n. At `k = 1` it is the
/// identity and draws nothing.
///
/// n is computed from the element's 16-bit draw d of the [mask contract](mod@crate::mask), so it
/// depends on `(seed, layer, step, row, col)` alone:
///
/// ```text
/// n = c·Φ⁻¹((d + ½) / 65536)        c = 1.0000101408279614
/// ```
///
/// Over the 65,536 draws, n has mean 0, by symmetry, and with this c variance 1, both exactly; no
/// |n| exceeds 4.4. `Φ⁻¹` is computed in f32, so backends agree within an error bound, not to the
/// bit: `|n − exact| ≤ 23·2⁻²³·|n|`.
///
/// Sources: Srivastava et al., JMLR 15 (2014), section 10; `Φ⁻¹` by Wichura, "Algorithm AS 241: the
/// percentage points of the normal distribution", Applied Statistics 37 (1988), `PPND7`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GaussianDropout {
    mask: Mask,
    scale: f32,
}

/// Constant `1/√v`, where v = 0.9999797186525824 is the variance of `Φ⁻¹((d + ½) / 65536)` over all
/// draws d.
pub(crate) const UNIT_VARIANCE: f64 = 1.000_010_140_827_961_4;

impl GaussianDropout {
    /// Returns the site in training. It uses the key, rate and offsets of `mask`; nothing is
    /// masked.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the keep rate in effect is 0, because the noise would have no finite
    /// variance.
    pub fn train(mask: Mask) -> Result<Self> {
        match mask.rate.keep_in_effect() {
            0.0 => Err(Error::invalid(format!(
                "Gaussian dropout at a keep rate of {}: its noise has the variance (1 - k)/k, so k must be at least 1/{DRAWS}",
                mask.rate.keep_asked()
            ))),
            k => Ok(Self { mask, scale: (UNIT_VARIANCE * ((1.0 - k) / k).sqrt()) as f32 }),
        }
    }

    /// Returns the key, rate and offsets from which the noise is drawn.
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Returns `σ`, the standard deviation of the noise.
    pub fn sigma(&self) -> f64 {
        let k = self.mask.rate.keep_in_effect();
        ((1.0 - k) / k).sqrt()
    }

    /// Returns `σ·c`, the factor of `Φ⁻¹`.
    pub(crate) fn scale(&self) -> f32 {
        self.scale
    }

    /// Returns true if the site changes nothing.
    pub(crate) fn is_identity(&self) -> bool {
        self.mask.rate.threshold() == DRAWS
    }
}

/// Returns `Φ⁻¹((draw + ½) / 65536)` in f32. Twin of `quantile4` in
/// `shaders/gaussian_dropout.wgsl`. The coefficients are as published.
#[allow(clippy::excessive_precision)]
pub(crate) fn quantile(draw: u16) -> f32 {
    // Both are exact: multiples of 2^-17.
    let u = (f32::from(draw) + 0.5) / 65536.0;
    let q = u - 0.5;
    let (numerator, denominator, factor) = if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        (
            ((5.910_937_472_0e1 * r + 1.592_911_320_2e2) * r + 5.043_427_193_8e1) * r
                + 3.387_132_717_9,
            ((6.718_756_360_0e1 * r + 7.875_775_766_4e1) * r + 1.789_516_946_9e1) * r + 1.0,
            q,
        )
    } else {
        let r = (-u.min(1.0 - u).ln()).sqrt() - 1.6;
        (
            ((1.702_382_110_3e-1 * r + 1.306_728_481_6) * r + 2.756_815_390_0) * r
                + 1.423_437_277_7,
            (1.202_113_297_5e-1 * r + 7.370_016_425_0e-1) * r + 1.0,
            1f32.copysign(q),
        )
    };
    numerator / denominator * factor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Rate};

    #[test]
    fn sigma_is_inverted_dropout_s() {
        let site =
            |keep| GaussianDropout::train(Mask::new(Rate::keep(keep).unwrap(), Key::default()));
        assert_eq!(site(0.5).unwrap().sigma(), 1.0);
        assert!(
            (site(0.2).unwrap().sigma() - ((65536.0 - 13107.0) / 13107.0f64).sqrt()).abs() < 1e-12
        );
        assert!(site(1.0).unwrap().is_identity() && site(1.0).unwrap().scale() == 0.0);
        for keep in [0.0, 0.4 / 65536.0] {
            assert!(matches!(site(keep), Err(Error::Invalid { .. })), "{keep}");
        }
    }

    #[test]
    fn its_scale_is_sigma_times_what_makes_the_variance_1() {
        for keep in [0.1, 0.5, 0.9] {
            let site = GaussianDropout::train(Mask::new(Rate::keep(keep).unwrap(), Key::default()))
                .unwrap();
            assert!(
                (f64::from(site.scale()) / site.sigma() - UNIT_VARIANCE).abs() < 1e-7,
                "{keep}"
            );
            assert!(!site.is_identity());
        }
    }

    /// Values of the standard normal distribution's quantile, in both halves and in both branches,
    /// on either side of their boundary.
    #[test]
    fn the_quantile_is_the_normal_distribution_s() {
        let right = [
            (0, -4.324919),
            (655, -2.326268),
            (4914, -1.439607),
            (4915, -1.439499),
            (19660, -0.524414),
            (32768, 0.000019),
        ];
        for (draw, z) in right {
            assert!(
                (f64::from(quantile(draw)) - z).abs() < 3e-6,
                "{draw}: {} is not {z}",
                quantile(draw)
            );
        }
    }

    #[test]
    fn the_quantile_is_odd_and_rises() {
        assert!((0..=u16::MAX).all(|draw| quantile(draw) == -quantile(!draw)));
        // Neighbors are at least 3.8e-5 apart: far more than the error.
        assert!((1..=u16::MAX).all(|draw| quantile(draw) > quantile(draw - 1)));
        assert!(quantile(u16::MAX) < 4.4);
    }
}
