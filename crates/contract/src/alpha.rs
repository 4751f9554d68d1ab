//! Alpha dropout: dropout for self-normalizing networks, which preserves mean and variance.

use crate::{Dropout, Mask};

/// Limit of SELU at −∞, `−λ·α`, from which alpha dropout computes the value of dropped elements.
const SATURATION: f64 = -1.758_099_340_847_376_6;

/// One site of alpha dropout: `y = a·x + b` where the mask keeps, `y = a·α' + b` where it drops.
///
/// With the keep rate `k` in effect and `α' = −λα ≈ −1.7581`, the value at which SELU saturates,
///
/// ```text
/// a = 1 / √(k + α'²·k·(1 − k))        b = −a·α'·(1 − k)
/// ```
///
/// so that an `x` of mean 0 and variance 1 gives a `y` of mean 0 and variance 1. Both factors are
/// computed in f64 and rounded once. At `k = 1` the site is the identity. At `k = 0` every `y` is
/// 0, the limit of `a·α' + b`. Prediction leaves `x` unchanged. The mask is that of the contract,
/// and dropped elements are replaced by selection: NaN and infinity do not survive being dropped.
///
/// Source: Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017, section "New dropout
/// technique".
///
/// ```
/// use dropout_contract::{AlphaDropout, Key, Mask, Rate};
/// let site = AlphaDropout::train(Mask::new(Rate::keep(0.5)?, Key::default()));
/// let (kept, dropped) = (site.scale * 1.0 + site.shift, site.dropped);
/// assert!((kept - 1.665_599).abs() < 1e-6 && (dropped + 0.779_194).abs() < 1e-6);
/// # Ok::<(), dropout_contract::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlphaDropout {
    /// Mask of the elements that are kept.
    pub mask: Mask,
    /// Factor `a`: a finite number.
    pub scale: f32,
    /// Summand `b`: a finite number.
    pub shift: f32,
    /// Value `a·α' + b` of a dropped element: a finite number.
    pub dropped: f32,
}

impl AlphaDropout {
    /// Returns the site in training.
    pub fn train(mask: Mask) -> Self {
        let k = mask.rate.keep_in_effect();
        if k == 0.0 {
            return Self { mask, scale: 0.0, shift: 0.0, dropped: 0.0 };
        }
        let a = 1.0 / libm::sqrt(k + SATURATION * SATURATION * k * (1.0 - k));
        let b = -a * SATURATION * (1.0 - k);
        Self { mask, scale: a as f32, shift: b as f32, dropped: (a * SATURATION + b) as f32 }
    }

    /// Returns the backward pass, `dx = M·a·dy`: plain dropout of the same mask.
    pub fn backward(&self) -> Dropout {
        Dropout { mask: self.mask, scale: self.scale }
    }

    /// Returns true if the site changes nothing.
    #[inline]
    pub fn is_identity(&self) -> bool {
        self.mask.rate.threshold() == crate::mask::DRAWS
    }

    /// Returns `y` of one element.
    #[inline]
    pub fn apply(&self, x: f32, kept: bool) -> f32 {
        if kept { x * self.scale + self.shift } else { self.dropped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Rate};

    fn site(keep: f64) -> AlphaDropout {
        AlphaDropout::train(Mask::new(Rate::keep(keep).unwrap(), Key::default()))
    }

    /// Returns mean and variance, over the mask, for an input of mean 0 and variance 1:
    /// `k·b + (1 − k)·d`, and `k·(a² + b²) + (1 − k)·d²` minus the square of the mean.
    fn moments(site: &AlphaDropout) -> [f64; 2] {
        let k = site.mask.rate.keep_in_effect();
        let [a, b, d] = [site.scale, site.shift, site.dropped].map(f64::from);
        let mean = k * b + (1.0 - k) * d;
        [mean, k * (a * a + b * b) + (1.0 - k) * d * d - mean * mean]
    }

    #[test]
    fn mean_and_variance_are_kept() {
        for keep in [0.001, 0.05, 0.5, 0.9, 0.95, 0.999, 1.0] {
            let [mean, variance] = moments(&site(keep));
            assert!(
                mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5,
                "keep {keep}: mean {mean}, variance {variance}"
            );
        }
        // The control: the drop rate in the place of the keep rate.
        let wrong = AlphaDropout { mask: site(0.1).mask, ..site(0.9) };
        let [mean, variance] = moments(&wrong);
        assert!(mean.abs() > 0.1 || (variance - 1.0).abs() > 0.1, "{mean} {variance}");
    }

    #[test]
    fn an_element_is_scaled_and_shifted_or_saturated() {
        let half = site(0.5);
        assert_eq!(
            (half.apply(3.0, true), half.apply(f32::NAN, false)),
            (3.0 * half.scale + half.shift, half.dropped)
        );
        assert!(half.scale > 0.8 && half.shift > 0.7, "neither is lost in these figures");
        assert_eq!([0.0, 0.5, 1.0].map(|keep| site(keep).is_identity()), [false, false, true]);
    }

    #[test]
    fn the_saturation_is_selu_s() {
        let (lambda, alpha) = (1.050_700_987_355_480_5, 1.673_263_242_354_377_2);
        assert!((SATURATION + lambda * alpha).abs() < 1e-15);
    }

    #[test]
    fn the_ends_are_the_identity_and_zero() {
        let all = site(1.0);
        assert!(all.is_identity());
        assert_eq!((all.scale, all.shift), (1.0, 0.0));
        let none = site(0.0);
        assert_eq!([none.scale, none.shift, none.dropped], [0.0; 3]);
        // 0 is the limit for small keep rates.
        assert!(site(1.0 / 65536.0).dropped.abs() < 0.01);
    }

    /// The factors were first computed with a power; the root gives the same bits for every rate.
    #[test]
    fn factors_by_a_root_and_by_a_power_are_the_same_bits() {
        let mut differ = 0;
        for threshold in 1..=crate::mask::DRAWS {
            let k = f64::from(threshold) / f64::from(crate::mask::DRAWS);
            let site = site(k);
            let a = (k + SATURATION * SATURATION * k * (1.0 - k)).powf(-0.5);
            let b = -a * SATURATION * (1.0 - k);
            let by_power = [a as f32, b as f32, (a * SATURATION + b) as f32];
            assert_eq!([site.scale, site.shift, site.dropped], by_power, "t = {threshold}");
            // The control: a factor that is off by the smallest difference.
            differ += u32::from(site.scale != f32::from_bits(by_power[0].to_bits() + 1));
        }
        assert_eq!(differ, crate::mask::DRAWS);
    }
}
