//! `--schedule`: how learning rate, momentum and drop rates go over the epochs, as [`wgpu_dropout::mlp::Schedule`] has it in steps.

use wgpu_dropout::mlp::{Schedule, Schedules};

/// What the option takes.
pub const FORM: &str = "lr|momentum|drop=SHAPE";

/// A setting with its schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Planned {
    setting: Setting,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    Lr,
    Momentum,
    Drop,
}

/// A schedule in epochs; where their number is left out, all epochs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Constant,
    Linear { from: f64, to: f64, epochs: Option<u32> },
    Exponential { to: f64, epochs: Option<u32> },
    Early { epochs: u32 },
    Late { epochs: u32 },
}

impl std::str::FromStr for Planned {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (setting, shape) = text.split_once('=').ok_or("must be lr, momentum or drop, then = and a shape")?;
        let setting = match setting.trim() {
            "lr" => Setting::Lr,
            "momentum" => Setting::Momentum,
            "drop" => Setting::Drop,
            _ => return Err("has a schedule of lr, momentum or drop alone".to_owned()),
        };
        shape_of(shape.trim()).map(|shape| Self { setting, shape }).ok_or_else(|| {
            "its shape must be constant, linear:FROM..TO[:EPOCHS], exponential:TO[:EPOCHS], early:EPOCHS or late:EPOCHS".to_owned()
        })
    }
}

fn shape_of(text: &str) -> Option<Shape> {
    let mut parts = text.split(':');
    let (kind, value, epochs) = (parts.next()?, parts.next(), parts.next());
    if parts.next().is_some() {
        return None;
    }
    let epochs = epochs.map(|epochs| epochs.parse().ok()).map_or(Some(None), |epochs| epochs.map(Some));
    Some(match (kind, value, epochs?) {
        ("constant", None, None) => Shape::Constant,
        ("linear", Some(value), epochs) => {
            let (from, to) = value.split_once("..")?;
            Shape::Linear { from: from.parse().ok()?, to: to.parse().ok()?, epochs }
        }
        ("exponential", Some(value), epochs) => Shape::Exponential { to: value.parse().ok()?, epochs },
        ("early", Some(value), None) => Shape::Early { epochs: value.parse().ok()? },
        ("late", Some(value), None) => Shape::Late { epochs: value.parse().ok()? },
        _ => return None,
    })
}

/// The schedules of a run of so many epochs of so many steps; of two for one setting the later counts.
pub fn schedules(planned: &[Planned], all: u32, steps: usize) -> Schedules {
    // A run of more steps than the contract counts ends long before its schedule.
    let steps_of = |epochs: u32| u32::try_from(u64::from(epochs) * steps as u64).unwrap_or(u32::MAX);
    let mut schedules = Schedules::default();
    for Planned { setting, shape } in planned {
        let schedule = match *shape {
            Shape::Constant => Schedule::Constant,
            Shape::Linear { from, to, epochs } => Schedule::Linear { from, to, steps: steps_of(epochs.unwrap_or(all)) },
            Shape::Exponential { to, epochs } => Schedule::Exponential { to, steps: steps_of(epochs.unwrap_or(all)) },
            Shape::Early { epochs } => Schedule::Early { steps: steps_of(epochs) },
            Shape::Late { epochs } => Schedule::Late { steps: steps_of(epochs) },
        };
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
        text.parse().map(|planned| schedules(&[planned], 20, 10))
    }

    #[test]
    fn epochs_become_steps() {
        let linear = Schedule::Linear { from: 1.0, to: 0.1, steps: 200 };
        assert_eq!(read("lr=linear:1..0.1").unwrap(), Schedules { lr: linear, ..Schedules::default() });
        let exponential = Schedule::Exponential { to: 0.01, steps: 30 };
        assert_eq!(read("momentum=exponential:0.01:3").unwrap(), Schedules { momentum: exponential, ..Schedules::default() });
        assert_eq!(read("drop=early:5").unwrap().drop, Schedule::Early { steps: 50 });
        assert_eq!(read(" drop = late:5").unwrap().drop, Schedule::Late { steps: 50 });
        assert_eq!(read("drop=constant").unwrap(), Schedules::default());
        let two: Vec<Planned> = ["lr=early:1", "lr=late:2"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(schedules(&two, 20, 10).lr, Schedule::Late { steps: 20 });
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
