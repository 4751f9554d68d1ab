//! Rates and modes: the probability to keep a unit, and the scale that compensates for it.

use crate::mask::DRAWS;
use crate::{Error, Result};
use alloc::format;

/// Probability to keep, or to drop, a unit.
///
/// In papers `p` is mostly the probability to *keep* a unit, in frameworks the probability to
/// *drop* it. A rate states which one it is given as.
///
/// A draw has 16 bits and is kept if it is below the threshold `t = round_half_up(keep · 65536)`,
/// so the rate in effect is exactly `t / 65536`. The scale of inverted dropout is the inverse of
/// the rate in effect, not of the rate asked for; the expectation is therefore unbiased for any
/// rate.
///
/// ```
/// use dropout_contract::Rate;
/// let rate = Rate::drop(0.2)?;
/// assert_eq!(rate, Rate::keep(0.8)?);
/// assert_eq!(rate.threshold(), 52429);
/// assert_eq!(rate.keep_in_effect(), 52429.0 / 65536.0);
/// # Ok::<(), dropout_contract::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    keep: f64,
}

impl Rate {
    /// Rate that drops nothing.
    pub const KEEP_ALL: Self = Self { keep: 1.0 };
    /// Rate that drops half: the usual one of hidden layers (Srivastava et al., JMLR 15 (2014)).
    pub const HALF: Self = Self { keep: 0.5 };

    /// Creates a rate from the probability to drop a unit, `0.0 ..= 1.0`.
    ///
    /// # Errors
    /// [`Error::Rate`] for NaN and for values outside `0.0 ..= 1.0`.
    pub fn drop(probability: f64) -> Result<Self> {
        check("drop", probability).map(|p| Self { keep: 1.0 - p })
    }

    /// Creates a rate from the probability to keep a unit, `0.0 ..= 1.0`.
    ///
    /// # Errors
    /// [`Error::Rate`] for NaN and for values outside `0.0 ..= 1.0`.
    pub fn keep(probability: f64) -> Result<Self> {
        check("keep", probability).map(|keep| Self { keep })
    }

    /// Returns the probability to keep a unit, as asked for.
    pub fn keep_asked(self) -> f64 {
        self.keep
    }

    /// Returns the probability to drop a unit, as asked for.
    pub fn drop_asked(self) -> f64 {
        1.0 - self.keep
    }

    /// Returns the threshold below which a 16-bit draw is kept, `0 ..= 65536`.
    #[inline]
    pub fn threshold(self) -> u32 {
        // 65536 is a power of two, so the product is exact. The cast is the floor of the sum, which
        // is never negative.
        (self.keep * f64::from(DRAWS) + 0.5) as u32
    }

    /// Returns the probability with which a unit is actually kept: `t / 65536`, exact.
    #[inline]
    pub fn keep_in_effect(self) -> f64 {
        f64::from(self.threshold()) / f64::from(DRAWS)
    }

    /// Returns the probability with which a unit is actually dropped: `1 − t / 65536`, exact.
    pub fn drop_in_effect(self) -> f64 {
        1.0 - self.keep_in_effect()
    }

    /// Returns the scale of inverted dropout, `65536 / t` rounded once to f32; 0 if nothing is
    /// kept.
    pub fn inverse(self) -> f32 {
        match self.threshold() {
            0 => 0.0,
            t => (f64::from(DRAWS) / f64::from(t)) as f32,
        }
    }
}

fn check(what: &'static str, value: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(Error::Rate { what, value }) }
}

/// Time at which the scale of dropout is applied.
///
/// | mode | training | prediction |
/// |---|---|---|
/// | `None` | nothing is dropped | nothing |
/// | `Vanilla` | kept units as they are | activations times the keep rate |
/// | `Inverted` | kept units divided by the keep rate | nothing |
///
/// Vanilla: Srivastava et al., "Dropout", JMLR 15 (2014), section 4. Inverted: the form of the
/// CS231n course notes and of every framework.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// No dropout: rates are accepted and ignored.
    None,
    /// Scale in prediction.
    Vanilla,
    /// Scale in training.
    #[default]
    Inverted,
}

impl core::fmt::Display for Mode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Vanilla => "vanilla",
            Self::Inverted => "inverted",
        })
    }
}

impl core::str::FromStr for Mode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::None),
            "vanilla" => Ok(Self::Vanilla),
            "inverted" => Ok(Self::Inverted),
            _ => Err(Error::invalid(format!("mode `{text}`: must be none, vanilla or inverted"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn thresholds_round_half_up_and_scales_are_their_inverse() {
        let half_step = 0.5 / 65536.0;
        for (keep, threshold) in [
            (0.0, 0),
            (1.0, 65536),
            (0.5, 32768),
            (0.25, 16384),
            (half_step, 1),
            (half_step * 0.999, 0),
            (1.0 - half_step, 65536),
        ] {
            assert_eq!(Rate::keep(keep).unwrap().threshold(), threshold, "keep {keep}");
        }
        assert_eq!(Rate::drop(0.5).unwrap().inverse(), 2.0);
        assert_eq!(Rate::drop(1.0).unwrap().inverse(), 0.0);
        assert_eq!(Rate::KEEP_ALL.inverse(), 1.0);
    }

    #[test]
    fn what_was_asked_and_what_is_in_effect_are_told_apart() {
        let rate = Rate::drop(0.7).unwrap();
        assert_eq!((rate.keep_asked(), rate.drop_asked()), (1.0 - 0.7, 1.0 - (1.0 - 0.7)));
        // 0.3 · 65536 = 19660.8
        assert_eq!(
            (rate.keep_in_effect(), rate.drop_in_effect()),
            (19_661.0 / 65_536.0, 45_875.0 / 65_536.0)
        );
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        for bad in [f64::NAN, -0.1, 1.5, f64::INFINITY, -f64::INFINITY] {
            assert!(matches!(Rate::drop(bad), Err(Error::Rate { what: "drop", .. })), "{bad}");
            assert!(matches!(Rate::keep(bad), Err(Error::Rate { what: "keep", .. })), "{bad}");
        }
    }

    #[test]
    fn modes_read_back_from_their_names() {
        for mode in [Mode::None, Mode::Vanilla, Mode::Inverted] {
            assert_eq!(mode.to_string().parse::<Mode>().unwrap(), mode);
        }
        assert!("Inverse".parse::<Mode>().is_err());
    }
}
