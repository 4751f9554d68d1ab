//! Verdict on a claim: a figure beside its bound, and the shortfall if the claim does not hold.

use super::spread::{Spread, short};
use serde_json::{Value, json};

/// Claim beside the figure found for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Claim, in words.
    pub claim: String,
    /// Figure found, in words.
    pub found: String,
    /// Distance of the figure from its bound, in `unit`. Positive if the claim holds; otherwise 0,
    /// negative or NaN.
    pub margin: f64,
    /// Unit of the margin.
    pub unit: &'static str,
}

impl Verdict {
    /// Judges the claim that a difference, paired seed by seed, is above `least` by more than its
    /// standard error. Equal arms do not pass.
    pub fn more(
        claim: impl Into<String>,
        difference: Spread,
        least: f64,
        unit: &'static str,
    ) -> Self {
        let error = difference.standard_error();
        let words = match difference.count {
            0 | 1 => format!("{} {unit}", short(difference.mean)).trim_end().to_owned(),
            count => format!(
                "{} {unit}, standard error {} over {count} seeds",
                short(difference.mean),
                short(error)
            ),
        };
        Self { claim: claim.into(), found: words, margin: difference.mean - error - least, unit }
    }

    /// Judges the claim that a figure's mean is at most `most`.
    pub fn at_most(
        claim: impl Into<String>,
        figure: Spread,
        most: f64,
        unit: &'static str,
    ) -> Self {
        let found = format!("{} {unit}, at most {most}", figure.shown(3));
        // A figure equal to its bound passes.
        let margin = if figure.mean == most { f64::MIN_POSITIVE } else { most - figure.mean };
        Self { claim: claim.into(), found, margin, unit }
    }

    /// Judges the claim that an error, the largest of several, is at most `most`.
    pub fn error(claim: impl Into<String>, error: f64, most: f64) -> Self {
        let margin = if error == most { f64::MIN_POSITIVE } else { most - error };
        Self {
            claim: claim.into(),
            found: format!("{}, at most {}", short(error), short(most)),
            margin,
            unit: "",
        }
    }

    /// Returns true if the claim holds. A NaN margin does not.
    pub fn holds(&self) -> bool {
        self.margin > 0.0
    }

    /// Returns the shortfall in words; `None` if the claim holds.
    pub fn shortfall(&self) -> Option<String> {
        let words = match self.margin {
            margin if margin.is_nan() => "no figure".to_owned(),
            margin => format!("short by {} {}", short(-margin), self.unit),
        };
        (!self.holds()).then(|| words.trim_end().to_owned())
    }

    /// Returns the verdict as JSON.
    pub fn json(&self) -> Value {
        json!({"claim": self.claim, "found": self.found, "holds": self.holds(), "margin": self.margin, "unit": self.unit})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_must_exceed_its_standard_error() {
        let judge = |differences: [f64; 3]| {
            Verdict::more("a errs less than b", Spread::of(differences), 0.0, "points")
        };
        assert!(judge([0.3, 0.4, 0.5]).holds());
        assert!(judge([0.3, 0.4, 0.5]).shortfall().is_none());
        // The mean is above 0, but by less than its standard error.
        let chance = judge([-1.0, 0.1, 1.2]);
        assert!(
            !chance.holds() && chance.shortfall().unwrap().contains("short by 0.535 points"),
            "{chance:?}"
        );
        // Arms are equal if dropout is turned off.
        assert!(!judge([0.0; 3]).holds());
        assert!(!judge([-0.3, -0.4, -0.5]).holds());
    }

    #[test]
    fn a_bound_may_be_met_and_nan_meets_none() {
        let at_most = |value| Verdict::at_most("error", Spread::of([value]), 1.35, "%");
        assert!(at_most(1.35).holds() && at_most(1.2).holds());
        assert_eq!(at_most(1.45).shortfall().as_deref(), Some("short by 0.1 %"));
        assert_eq!(at_most(f64::NAN).shortfall().as_deref(), Some("no figure"));
        assert!(!Verdict::at_most("nothing ran", Spread::of([]), 1.0, "%").holds());
        assert!(!Verdict::more("nothing ran", Spread::of([]), 0.0, "%").holds());
        assert!(
            Verdict::error("equal", 1e-7, 1e-6).holds()
                && !Verdict::error("equal", 2e-6, 1e-6).holds()
        );
        assert!(!Verdict::error("equal", f64::NAN, 1e-6).holds());
    }
}
