//! Remarks on a run that would train less than it seems to, and the refusal of one that would learn
//! nothing.

use crate::failure::Failure;
use wgpu_dropout::mlp::{Architecture, BatchNormPlace, Schedule, Training};
use wgpu_dropout::{Mode, Rate};

/// A run that is about to start.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The network.
    pub architecture: &'a Architecture,
    /// Batch normalization of the network.
    pub batch_norm: Option<BatchNormPlace>,
    /// Settings.
    pub training: &'a Training,
    /// Rows of the training set.
    pub rows: usize,
    /// Updates before the run.
    pub step: u32,
    /// Epochs before the run, and after it.
    pub epochs: (u32, u32),
    /// Name of the file from which the run resumes.
    pub resumed: Option<&'a str>,
    /// True if the network is saved.
    pub saves: bool,
    /// True if the command line gives the rate of the hidden layers.
    pub rate_given: bool,
}

impl Run<'_> {
    /// Refuses batch normalization over mini-batches of one row.
    pub fn check(&self) -> Result<(), Failure> {
        let found = match (self.batch_norm, self.rows, self.training.batch) {
            (None, ..) => return Ok(()),
            (_, 1, _) => "the training set has 1 row",
            (_, _, 1) => "--batch is 1",
            _ => return Ok(()),
        };
        Err(Failure::Usage(format!(
            "batch normalization needs mini-batches of 2 rows or more, but {found}: a row is its own \
             mean, so nothing of it would remain"
        )))
    }

    /// Returns a line for each thing that the run does not do although it seems to.
    pub fn remarks(&self) -> Vec<String> {
        let lines = [self.nothing(), self.idle(), self.single_row(), self.undropped()];
        lines.into_iter().flatten().chain(self.over()).collect()
    }

    /// Returns the number of mini-batches of an epoch.
    fn steps_per_epoch(&self) -> u64 {
        self.rows.div_ceil(self.training.batch) as u64
    }

    /// Returns the number of updates of the run.
    fn steps(&self) -> u64 {
        u64::from(self.epochs.1 - self.epochs.0) * self.steps_per_epoch()
    }

    /// Returns the number that the schedules use for an update of the run, counted from 0.
    fn at(&self, step: u64) -> u32 {
        u32::try_from(u64::from(self.step) + step).unwrap_or(u32::MAX)
    }

    /// Remarks on a run without epochs.
    fn nothing(&self) -> Option<String> {
        let (before, total) = self.epochs;
        match self.resumed {
            _ if before < total => None,
            Some(file) => Some(format!(
                "nothing to train: {file} has completed {before} epochs, and --epochs {total} is the total"
            )),
            None if self.saves => None,
            None => Some("nothing to train: --epochs is 0, and there is no --save".to_owned()),
        }
    }

    /// Remarks on epochs in which the learning rate is 0.
    fn idle(&self) -> Option<String> {
        let (first, last) = self.idle_epochs()?;
        let epochs = if first == last {
            format!("epoch {first}")
        } else {
            format!("epochs {first} to {last}")
        };
        let Training { rule, schedules, .. } = self.training;
        let (why, instead) = if rule.lr == 0.0 {
            ("the learning rate is 0", "--lr")
        } else if schedules.lr.end() <= self.step {
            ("the schedule of the learning rate is over and leaves it at 0", "--schedule lr=SHAPE")
        } else {
            ("the schedule of the learning rate makes it 0", "--schedule lr=SHAPE")
        };
        Some(format!("nothing is learned in {epochs}: {why}; give another with {instead}"))
    }

    /// Returns the first and the last of the epochs in which the learning rate is 0 throughout. A
    /// schedule is 0 from some step on or up to some step.
    fn idle_epochs(&self) -> Option<(u32, u32)> {
        let (before, total) = self.epochs;
        let (steps, all) = (self.steps_per_epoch(), self.steps());
        let is_zero =
            |step: u64| self.training.schedules.rule(&self.training.rule, self.at(step)).lr == 0.0;
        if all == 0 {
            None
        } else if is_zero(all - 1) {
            let working = first_step(all, is_zero).div_ceil(steps) as u32;
            (before + working < total).then_some((before + working + 1, total))
        } else {
            let idle = (first_step(all, |step| !is_zero(step)) / steps) as u32;
            (idle > 0).then_some((before + 1, before + idle))
        }
    }

    /// Remarks on a last mini-batch of one row under batch normalization.
    fn single_row(&self) -> Option<String> {
        let (rows, batch) = (self.rows, self.training.batch);
        (self.batch_norm.is_some() && rows > batch && rows % batch == 1).then(|| {
            format!(
                "the last mini-batch of each epoch has one row, of which batch normalization leaves \
                 nothing: --batch {batch} leaves 1 of {rows} rows, so give another"
            )
        })
    }

    /// Remarks on rates that were given, or have a schedule, and drop nothing in this run.
    fn undropped(&self) -> Option<String> {
        let Architecture { mode, rate, input_rate, hidden, .. } = self.architecture;
        if self.rate_given && hidden.is_empty() && *mode != Mode::None {
            return Some("--drop and --keep have no effect: there is no hidden layer".to_owned());
        }
        let schedule = self.training.schedules.drop;
        let drops = |rate: &Rate| rate.drop_in_effect() > 0.0;
        let drops = drops(input_rate) || (drops(rate) && !hidden.is_empty());
        if schedule == Schedule::Constant || self.steps() == 0 {
            None
        } else if *mode == Mode::None || !drops {
            Some(
                "the schedule of the drop rate has no effect: the network drops nothing".to_owned(),
            )
        } else if [0, self.steps() - 1].iter().all(|&step| schedule.factor(self.at(step)) == 0.0) {
            // A factor rises, falls or stays, so it is 0 in between, too.
            Some(
                "nothing is dropped: the schedule of the drop rate makes it 0 throughout"
                    .to_owned(),
            )
        } else {
            None
        }
    }

    /// Remarks on the schedules that were over before a resumed run, unless they leave their
    /// setting at its value. Other remarks cover a learning rate and drop rates of 0.
    fn over(&self) -> impl Iterator<Item = String> {
        let schedules = self.training.schedules;
        let resumed = self.resumed.is_some() && self.epochs.0 < self.epochs.1;
        let step = self.step;
        [
            ("learning rate", schedules.lr),
            ("momentum", schedules.momentum),
            ("drop rate", schedules.drop),
        ]
        .into_iter()
        .filter(move |(_, schedule)| resumed && schedule.end() <= step)
        .map(move |(name, schedule)| (name, schedule.factor(step)))
        .filter(|&(name, factor)| factor != 1.0 && (factor != 0.0 || name == "momentum"))
        .map(|(name, factor)| {
            format!("the schedule of the {name} is over: it stays at {factor} times its value")
        })
    }
}

/// Returns the first of the steps `0..all` at which a condition holds that holds from some step on;
/// `all` if it never does.
fn first_step(all: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut from, mut to) = (0, all);
    while from < to {
        let middle = from + (to - from) / 2;
        if holds(middle) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;
    use wgpu_dropout::call::SgdRule;
    use wgpu_dropout::mlp::Schedules;

    static ARCHITECTURE: LazyLock<Architecture> = LazyLock::new(|| Architecture {
        inputs: 4,
        hidden: vec![3],
        classes: 2,
        mode: Mode::Inverted,
        rate: Rate::drop(0.5).unwrap(),
        input_rate: Rate::KEEP_ALL,
        seed: 0,
    });

    /// Returns a run of 10 steps an epoch.
    fn run(training: &Training, epochs: (u32, u32)) -> Run<'_> {
        Run {
            architecture: &ARCHITECTURE,
            batch_norm: None,
            training,
            rows: 10 * training.batch,
            step: 10 * epochs.0,
            epochs,
            resumed: (epochs.0 > 0).then_some("net"),
            saves: false,
            rate_given: false,
        }
    }

    fn scheduled(schedules: Schedules) -> Training {
        Training { schedules, ..Training::default() }
    }

    #[test]
    fn epochs_in_which_nothing_is_learned_are_told() {
        let linear = |from, to, steps| Schedule::Linear { from, to, steps };
        for (lr, epochs, told) in [
            (Schedule::Constant, (0, 4), None),
            (linear(1.0, 0.0, 40), (0, 4), None),
            (linear(1.0, 0.0, 40), (4, 8), Some("in epochs 5 to 8: ")),
            (linear(1.0, 0.0, 40), (2, 8), Some("in epochs 5 to 8: ")),
            (linear(1.0, 0.0, 35), (2, 5), Some("in epoch 5: ")),
            (linear(0.0, 1.0, 40), (0, 4), None),
            (linear(0.0, 0.0, 40), (0, 4), Some("in epochs 1 to 4: ")),
            (Schedule::Exponential { to: 0.0, steps: 20 }, (0, 3), Some("in epochs 2 to 3: ")),
            (Schedule::Early { steps: 20 }, (0, 2), None),
            (Schedule::Early { steps: 21 }, (0, 3), None),
            (Schedule::Early { steps: 20 }, (0, 3), Some("in epoch 3: ")),
            (Schedule::Late { steps: 20 }, (0, 3), Some("in epochs 1 to 2: ")),
            (Schedule::Late { steps: 20 }, (2, 3), None),
            (Schedule::Late { steps: 9 }, (0, 3), None),
        ] {
            let lines = run(&scheduled(Schedules { lr, ..Schedules::default() }), epochs).remarks();
            assert_eq!(lines.len(), usize::from(told.is_some()), "{lr} {epochs:?}: {lines:?}");
            assert!(
                lines.iter().all(|line| told.is_some_and(|told| line.contains(told))),
                "{lr} {epochs:?}: {lines:?}"
            );
        }
        let zero = Training { rule: SgdRule::plain(0.0), ..Training::default() };
        assert!(run(&zero, (0, u32::MAX)).remarks()[0].contains("in epochs 1 to 4294967295: "));
    }

    #[test]
    fn a_schedule_that_is_over_is_told_where_a_run_resumes() {
        let training = scheduled(Schedules {
            lr: Schedule::Exponential { to: 0.25, steps: 20 },
            momentum: Schedule::Linear { from: 0.5, to: 1.0, steps: 20 },
            drop: Schedule::Linear { from: 1.0, to: 0.5, steps: 20 },
        });
        let lines = run(&training, (2, 3)).remarks();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("learning rate") && lines[0].contains("0.25 times"), "{lines:?}");
        assert!(lines[1].contains("drop rate") && lines[1].contains("0.5 times"), "{lines:?}");
        for epochs in [(0, 3), (1, 3)] {
            assert_eq!(run(&training, epochs).remarks(), [""; 0], "{epochs:?}");
        }
    }

    #[test]
    fn a_run_without_epochs_is_told_unless_it_saves_the_start() {
        let training = Training::default();
        let told = |epochs, saves| Run { saves, ..run(&training, epochs) }.remarks();
        for saves in [false, true] {
            assert!(told((3, 3), saves)[0].contains("net has completed 3 epochs"));
            assert_eq!(told((0, 1), saves), [""; 0]);
        }
        assert!(told((0, 0), false)[0].contains("--epochs is 0"));
        assert_eq!(told((0, 0), true), [""; 0]);
    }

    #[test]
    fn batch_normalization_of_one_row_is_refused_or_told() {
        let outcome = |batch_norm, rows, batch| {
            let training = Training { batch, ..Training::default() };
            let run = Run { batch_norm, rows, ..run(&training, (0, 1)) };
            (run.check().is_err(), run.remarks().len())
        };
        for (rows, batch, refused, told) in [
            (9, 1, true, 0),
            (1, 8, true, 0),
            (1, 1, true, 0),
            (9, 8, false, 1),
            (9, 2, false, 1),
            (8, 8, false, 0),
            (8, 3, false, 0),
            (2, 64, false, 0),
        ] {
            let place = Some(BatchNormPlace::Before);
            assert_eq!(outcome(place, rows, batch), (refused, told), "{rows} rows by {batch}");
            assert_eq!(outcome(None, rows, batch), (false, 0), "{rows} rows by {batch}");
        }
    }

    #[test]
    fn rates_that_drop_nothing_are_told() {
        let falling = Schedule::Linear { from: 1.0, to: 0.5, steps: 90 };
        let told = |drop, epochs, rate_given, change: &dyn Fn(&mut Architecture)| {
            let training = scheduled(Schedules { drop, ..Schedules::default() });
            let mut architecture = ARCHITECTURE.clone();
            change(&mut architecture);
            let run = Run { architecture: &architecture, rate_given, ..run(&training, epochs) };
            run.remarks().len()
        };
        let input_alone = |net: &mut Architecture| {
            net.hidden.clear();
            net.input_rate = net.rate;
        };
        for (drop, epochs, lines) in [
            (Schedule::Constant, (0, 3), 0),
            (falling, (0, 3), 0),
            (falling, (0, 0), 1),
            (Schedule::Early { steps: 20 }, (0, 3), 0),
            (Schedule::Early { steps: 20 }, (2, 3), 1),
            (Schedule::Late { steps: 20 }, (0, 2), 1),
            (Schedule::Late { steps: 20 }, (0, 3), 0),
            (Schedule::Linear { from: 1.0, to: 0.0, steps: 20 }, (1, 3), 0),
            (Schedule::Linear { from: 0.0, to: 0.0, steps: 20 }, (0, 3), 1),
        ] {
            assert_eq!(told(drop, epochs, false, &|_| {}), lines, "{drop} {epochs:?}");
        }
        for scheduled in [Schedule::Constant, falling] {
            let lines = usize::from(scheduled != Schedule::Constant);
            let told =
                |given, change: &dyn Fn(&mut Architecture)| told(scheduled, (0, 1), given, change);
            assert_eq!(told(false, &|net| net.mode = Mode::None), lines);
            assert_eq!(told(false, &|net| net.rate = Rate::KEEP_ALL), lines);
            assert_eq!(told(false, &|net| net.hidden.clear()), lines);
            assert_eq!(told(true, &|net| net.hidden.clear()), 1);
            assert_eq!(told(false, &input_alone), 0);
            assert_eq!(told(true, &input_alone), 1);
            assert_eq!(told(true, &|_| {}), 0);
        }
    }
}
