//! Whether a claim holds: a figure beside its bound, and by how much it falls short.

use super::spread::{Spread, short};
use serde_json::{Value, json};

/// A claim beside what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What is claimed, in words.
    pub claim: String,
    /// What was found, in words.
    pub found: String,
    /// How far the figure lies on the right side of its bound, in `unit`; not above 0, or NaN,
    /// where the claim does not hold.
    pub margin: f64,
    /// Of the margin.
    pub unit: &'static str,
}

impl Verdict {
    /// That a difference, paired seed by seed, is above `least` by more than its standard error.
    /// Equal arms do not pass.
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

    /// That a figure's mean is at most `most`.
    pub fn at_most(
        claim: impl Into<String>,
        figure: Spread,
        most: f64,
        unit: &'static str,
    ) -> Self {
        let found = format!("{} {unit}, at most {most}", figure.shown(3));
        // A figure that meets its bound holds.
        let margin = if figure.mean == most { f64::MIN_POSITIVE } else { most - figure.mean };
        Self { claim: claim.into(), found, margin, unit }
    }

    /// That an error, the largest of several, is at most `most`.
    pub fn error(claim: impl Into<String>, error: f64, most: f64) -> Self {
        let margin = if error == most { f64::MIN_POSITIVE } else { most - error };
        Self {
            claim: claim.into(),
            found: format!("{}, at most {}", short(error), short(most)),
            margin,
            unit: "",
        }
    }

    /// Whether the claim holds. Written so that NaN does not.
    pub fn holds(&self) -> bool {
        self.margin > 0.0
    }

    /// By how much it does not hold, in words; nothing where it does.
    pub fn shortfall(&self) -> Option<String> {
        let words = match self.margin {
            margin if margin.is_nan() => "no figure".to_owned(),
            margin => format!("short by {} {}", short(-margin), self.unit),
        };
        (!self.holds()).then(|| words.trim_end().to_owned())
    }

    /// For machines.
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
        // In the mean above 0, but not by more than chance.
        let chance = judge([-1.0, 0.1, 1.2]);
        assert!(
            !chance.holds() && chance.shortfall().unwrap().contains("short by 0.535 points"),
            "{chance:?}"
        );
        // Equal arms, as with dropout turned off.
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
