//! `--schedule`: the course of learning rate, momentum and drop rates over the epochs.
//! [`wgpu_dropout::mlp::Schedule`] is the same in steps.

use wgpu_dropout::mlp::{Schedule, Schedules};

/// Syntax of the option.
pub const FORM: &str = "lr|momentum|drop=SHAPE";

/// A setting with its schedule in epochs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Planned {
    setting: Setting,
    shape: Schedule,
    /// True if no epochs were given: `shape` is then one unit long and stands for the whole run.
    whole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    Lr,
    Momentum,
    Drop,
}

impl std::str::FromStr for Planned {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (setting, shape) =
            text.split_once('=').ok_or("must be lr, momentum or drop, then = and a shape")?;
        let setting = match setting.trim() {
            "lr" => Setting::Lr,
            "momentum" => Setting::Momentum,
            "drop" => Setting::Drop,
            _ => return Err("only lr, momentum and drop have a schedule".to_owned()),
        };
        let shape = shape.trim();
        if let Ok(shape) = shape.parse() {
            return Ok(Self { setting, shape, whole: false });
        }
        match format!("{shape}:1").parse() {
            Ok(shape @ (Schedule::Linear { .. } | Schedule::Exponential { .. })) => Ok(Self { setting, shape, whole: true }),
            _ => Err("its shape must be constant, linear:FROM..TO[:EPOCHS], exponential:TO[:EPOCHS], early:EPOCHS or late:EPOCHS"
                .to_owned()),
        }
    }
}

/// Returns the schedules of a run of `epochs` epochs of `steps` steps. A setting without a schedule
/// keeps that of `before`; the last of several for one setting counts.
pub fn schedules(before: Schedules, planned: &[Planned], epochs: u32, steps: usize) -> Schedules {
    // A run of more steps than the contract can count ends long before its schedule does.
    let steps = u32::try_from(steps).unwrap_or(u32::MAX);
    let mut schedules = before;
    for Planned { setting, shape, whole } in planned {
        let schedule = shape.stretched(if *whole { epochs.saturating_mul(steps) } else { steps });
        match setting {
            Setting::Lr => schedules.lr = schedule,
            Setting::Momentum => schedules.momentum = schedule,
            Setting::Drop => schedules.drop = schedule,
        }
    }
    schedules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Schedules, String> {
        text.parse().map(|planned| schedules(Schedules::default(), &[planned], 20, 10))
    }

    #[test]
    fn epochs_become_steps() {
        let linear = Schedule::Linear { from: 1.0, to: 0.1, steps: 200 };
        assert_eq!(
            read("lr=linear:1..0.1").unwrap(),
            Schedules { lr: linear, ..Schedules::default() }
        );
        let exponential = Schedule::Exponential { to: 0.01, steps: 30 };
        assert_eq!(
            read("momentum=exponential:0.01:3").unwrap(),
            Schedules { momentum: exponential, ..Schedules::default() }
        );
        assert_eq!(read("drop=early:5").unwrap().drop, Schedule::Early { steps: 50 });
        assert_eq!(read(" drop = late:5").unwrap().drop, Schedule::Late { steps: 50 });
        assert_eq!(read("drop=constant").unwrap(), Schedules::default());
        let two: Vec<Planned> =
            ["lr=early:1", "lr=late:2"].map(|text| text.parse().unwrap()).to_vec();
        let before = Schedules { drop: Schedule::Early { steps: 7 }, ..Schedules::default() };
        let after = schedules(before, &two, 20, 10);
        assert_eq!((after.lr, after.drop), (Schedule::Late { steps: 20 }, before.drop));
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for bad in [
            "",
            "lr",
            "lr=",
            "width=constant",
            "lr=linear:1",
            "lr=linear:1..x",
            "lr=early",
            "lr=early:-1",
            "lr=early:1:2",
            "lr=constant:1",
            "lr=linear:1..0:3:4",
        ] {
            assert!(bad.parse::<Planned>().is_err(), "{bad}");
        }
    }
}
