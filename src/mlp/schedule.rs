//! Schedules of the learning rate, the momentum and the drop rates over a run. Each is a factor of
//! the setting's value, and a function of the step alone.
//!
//! A schedule has no state besides the step, so a resumed run follows it as if it had not stopped.

use crate::call::SgdRule;
use crate::{Error, Rate, Result};

/// Factor of a setting at step `t`, counted in updates from 0.
///
/// | shape | factor |
/// |---|---|
/// | `Constant` | 1 |
/// | `Linear` | `from + (to − from)·min(t / steps, 1)` |
/// | `Exponential` | `to^min(t / steps, 1)`: the same ratio from each step to the next |
/// | `Early` | 1 while `t < steps`, then 0 |
/// | `Late` | 0 while `t < steps`, then 1 |
///
/// Sources. Early and late dropout: Liu et al., "Dropout reduces underfitting", ICML 2023, section
/// 4; their early dropout falls linearly, which is `Linear` from 1 to 0. Growing dropout: Morerio
/// et al., "Curriculum dropout", ICCV 2017. Under dropout, learning rates that fall exponentially
/// and a momentum that grows linearly: Hinton et al., "Improving neural networks by preventing
/// co-adaptation of feature detectors", 2012, appendix A.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Schedule {
    /// The same factor throughout.
    #[default]
    Constant,
    /// Linear from one factor to another, then constant.
    Linear {
        /// Factor at step 0.
        from: f64,
        /// Factor from step `steps` on.
        to: f64,
        /// Number of steps over which it changes.
        steps: u32,
    },
    /// Exponential from 1 to a factor, then constant.
    Exponential {
        /// Factor from step `steps` on.
        to: f64,
        /// Number of steps over which it changes.
        steps: u32,
    },
    /// Only in the first steps.
    Early {
        /// Number of steps.
        steps: u32,
    },
    /// Only after the first steps.
    Late {
        /// Number of steps.
        steps: u32,
    },
}

impl Schedule {
    /// Returns the factor at step `step`.
    pub fn factor(self, step: u32) -> f64 {
        let way = |steps: u32| if step < steps { f64::from(step) / f64::from(steps) } else { 1.0 };
        match self {
            Self::Constant => 1.0,
            Self::Linear { from, to, steps } => from + (to - from) * way(steps),
            Self::Exponential { to, steps } => to.powf(way(steps)),
            Self::Early { steps } => f64::from(step < steps),
            Self::Late { steps } => f64::from(step >= steps),
        }
    }

    /// Returns the step from which the factor no longer changes.
    pub fn end(self) -> u32 {
        match self {
            Self::Constant => 0,
            Self::Linear { steps, .. }
            | Self::Exponential { steps, .. }
            | Self::Early { steps }
            | Self::Late { steps } => steps,
        }
    }

    /// Returns the same schedule over `times` as many steps.
    pub fn stretched(self, times: u32) -> Self {
        let long = |steps: u32| steps.saturating_mul(times);
        match self {
            Self::Constant => self,
            Self::Linear { from, to, steps } => Self::Linear { from, to, steps: long(steps) },
            Self::Exponential { to, steps } => Self::Exponential { to, steps: long(steps) },
            Self::Early { steps } => Self::Early { steps: long(steps) },
            Self::Late { steps } => Self::Late { steps: long(steps) },
        }
    }

    /// Checks that the factors are from 0 to `most`.
    fn check(self, what: &str, most: f64) -> Result<()> {
        let factors = match self {
            Self::Linear { from, to, .. } => vec![from, to],
            Self::Exponential { to, .. } => vec![to],
            Self::Constant | Self::Early { .. } | Self::Late { .. } => Vec::new(),
        };
        match factors.into_iter().find(|factor| !(*factor >= 0.0 && *factor <= most)) {
            Some(factor) => Err(Error::invalid(format!(
                "schedule of the {what}: factor {factor}: must be 0 to {most}"
            ))),
            None => Ok(()),
        }
    }
}

/// Writes `constant`, `linear:FROM..TO:STEPS`, `exponential:TO:STEPS`, `early:STEPS` or
/// `late:STEPS`, the forms that `FromStr` parses.
impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Constant => f.write_str("constant"),
            Self::Linear { from, to, steps } => write!(f, "linear:{from}..{to}:{steps}"),
            Self::Exponential { to, steps } => write!(f, "exponential:{to}:{steps}"),
            Self::Early { steps } => write!(f, "early:{steps}"),
            Self::Late { steps } => write!(f, "late:{steps}"),
        }
    }
}

impl std::str::FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
            let (value, steps) = rest.rsplit_once(':').unwrap_or(("", rest));
            let number = |text: &str| text.parse::<f64>().ok();
            let steps = steps.parse::<u32>().ok();
            match (kind, value) {
                ("constant", "") if rest.is_empty() => Some(Self::Constant),
                ("linear", value) => {
                    let (from, to) = value.split_once("..")?;
                    Some(Self::Linear { from: number(from)?, to: number(to)?, steps: steps? })
                }
                ("exponential", value) => {
                    Some(Self::Exponential { to: number(value)?, steps: steps? })
                }
                ("early", "") => Some(Self::Early { steps: steps? }),
                ("late", "") => Some(Self::Late { steps: steps? }),
                _ => None,
            }
        };
        let forms =
            "constant, linear:FROM..TO:STEPS, exponential:TO:STEPS, early:STEPS or late:STEPS";
        read().ok_or_else(|| Error::invalid(format!("schedule `{text}`: must be {forms}")))
    }
}

/// Schedules of the settings that can have one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Schedules {
    /// Schedule of the learning rate.
    pub lr: Schedule,
    /// Schedule of the momentum.
    pub momentum: Schedule,
    /// Schedule of the drop rates, of the hidden layers and of the input. Must be constant for
    /// vanilla dropout, whose prediction scales by one rate.
    pub drop: Schedule,
}

impl Schedules {
    /// Returns the update rule at step `step`.
    pub fn rule(&self, rule: &SgdRule, step: u32) -> SgdRule {
        let times = |value: f32, schedule: Schedule| match schedule {
            Schedule::Constant => value,
            schedule => (f64::from(value) * schedule.factor(step)) as f32,
        };
        SgdRule {
            lr: times(rule.lr, self.lr),
            momentum: times(rule.momentum, self.momentum),
            ..*rule
        }
    }

    /// Returns a dropout site's rate at step `step`.
    pub fn rate(&self, rate: Rate, step: u32) -> Rate {
        match self.drop {
            Schedule::Constant => rate,
            // A probability times a factor from 0 to 1 is still a probability.
            schedule => Rate::drop(rate.drop_asked() * schedule.factor(step)).unwrap_or(rate),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        // This bound is far above any useful factor, and finite in f32.
        self.lr.check("learning rate", 1e6)?;
        self.momentum.check("momentum", 1e6)?;
        self.drop.check("drop rate", 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: Schedule) -> [f64; 5] {
        [0, 1, 2, 4, 9].map(|step| schedule.factor(step))
    }

    #[test]
    fn factors_are_those_of_the_table() {
        assert_eq!(factors(Schedule::Constant), [1.0; 5]);
        assert_eq!(
            factors(Schedule::Linear { from: 0.5, to: 1.0, steps: 4 }),
            [0.5, 0.625, 0.75, 1.0, 1.0]
        );
        assert_eq!(
            factors(Schedule::Exponential { to: 0.0625, steps: 4 }),
            [1.0, 0.5, 0.25, 0.0625, 0.0625]
        );
        assert_eq!(factors(Schedule::Early { steps: 2 }), [1.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(factors(Schedule::Late { steps: 2 }), [0.0, 0.0, 1.0, 1.0, 1.0]);
        for schedule in [
            Schedule::Linear { from: 0.5, to: 1.0, steps: 4 },
            Schedule::Exponential { to: 0.0625, steps: 4 },
            Schedule::Early { steps: 4 },
            Schedule::Late { steps: 4 },
        ] {
            assert_eq!(schedule.end(), 4);
            let [before, at, after] = [3, 4, u32::MAX].map(|step| schedule.factor(step));
            assert!(before != at && at == after, "{schedule}");
        }
        assert_eq!(Schedule::Constant.end(), 0);
        // Over 0 steps only the final factor applies.
        assert_eq!(factors(Schedule::Linear { from: 0.5, to: 2.0, steps: 0 }), [2.0; 5]);
    }

    #[test]
    fn a_schedule_reads_back_as_it_is_written() {
        let shapes = [
            Schedule::Constant,
            Schedule::Linear { from: 0.1, to: 1e-30, steps: u32::MAX },
            Schedule::Exponential { to: 0.01, steps: 0 },
            Schedule::Early { steps: 3 },
            Schedule::Late { steps: 4 },
        ];
        for shape in shapes {
            assert_eq!(shape.to_string().parse::<Schedule>().unwrap(), shape);
        }
        for bad in [
            "",
            "constant:1",
            "linear:1..0",
            "linear:1:5",
            "exponential:5",
            "early",
            "late:-1",
            "late:1:2",
            "cosine:1:5",
        ] {
            assert!(bad.parse::<Schedule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_constant_changes_no_bit_and_the_others_their_own_setting_alone() {
        let rule = SgdRule {
            momentum: 0.7,
            weight_decay: 0.1,
            max_norm: Some(2.0),
            ..SgdRule::plain(0.3)
        };
        let rate = Rate::drop(0.3).unwrap();
        let none = Schedules::default();
        assert_eq!((none.rule(&rule, 5), none.rate(rate, 5)), (rule, rate));
        let all = Schedules {
            lr: Schedule::Early { steps: 5 },
            momentum: Schedule::Linear { from: 0.0, to: 1.0, steps: 10 },
            drop: Schedule::Linear { from: 1.0, to: 0.0, steps: 6 },
        };
        assert_eq!(all.rule(&rule, 5), SgdRule { lr: 0.0, momentum: 0.35, ..rule });
        assert!((all.rate(rate, 3).drop_asked() - 0.15).abs() < 1e-9);
        assert_eq!(all.rate(rate, 6), Rate::KEEP_ALL);
    }

    #[test]
    fn factors_that_mean_nothing_are_refused() {
        let with = |drop| Schedules { drop, ..Schedules::default() };
        let linear = |to| Schedule::Linear { from: 1.0, to, steps: 3 };
        assert!(with(linear(0.0)).check().is_ok());
        for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(with(linear(bad)).check().is_err(), "{bad}");
            assert!(with(Schedule::Exponential { to: bad, steps: 1 }).check().is_err(), "{bad}");
        }
    }
}
