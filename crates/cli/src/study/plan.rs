//! What a study is made of: a claim with its source, arms to run, a judgement of their figures and
//! the pictures of them.

use super::draw::divided;
use super::record::Found;
use super::results::Results;
use super::verdict::Verdict;
use crate::failure::Failure;
use wgpu_dropout::call::SgdRule;
use wgpu_dropout::data::DataSet;
use wgpu_dropout::mlp::{Architecture, BatchNormPlace, Schedule, Schedules, Training};
use wgpu_dropout::{Backend, Device, Mode, Rate, Result};

/// One experiment: a file of its own in `studies/`.
#[derive(Debug)]
pub struct Study {
    /// As it is named on the command line.
    pub name: &'static str,
    /// What is claimed, in a sentence.
    pub claim: &'static str,
    /// The published figures.
    pub published: &'static str,
    /// Where they are published.
    pub source: &'static str,
    /// What is run.
    pub arms: fn(&Scene) -> Vec<Arm>,
    /// Whether the claim holds: of order and sign below [`Extent::Full`], there with the paper's
    /// figures at [`Extent::Full`].
    pub judge: fn(&Scene, &Results<'_>) -> Vec<Verdict>,
    /// What is printed of each arm besides its name: a figure's name among the record's, its
    /// heading, and digits.
    pub columns: &'static [(&'static str, &'static str, usize)],
    /// The pictures, as pieces of HTML.
    pub figures: fn(&Scene, &Results<'_>) -> std::result::Result<Vec<String>, Failure>,
}

impl Study {
    /// The arms, with every recipe changed.
    pub fn changed_arms(&self, scene: &Scene, change: &impl Fn(&mut Recipe)) -> Vec<Arm> {
        let mut arms = (self.arms)(scene);
        for arm in &mut arms {
            if let Work::Train(recipe, _) = &mut arm.work {
                recipe.updates = scene.updates(recipe.updates);
                change(recipe);
            }
        }
        arms
    }
}

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All studies together in minutes on two cores.
    Quick,
    /// More rows and updates, where the papers' sizes take a GPU: `ladder`, `regularizers`,
    /// `keep-rate` and `monte-carlo` in an hour or two on two cores. The others, and what is
    /// claimed, are as in the quick form.
    Medium,
    /// The paper's own sizes: a night on a GPU.
    Full,
}

/// What all studies of a run have in common.
#[derive(Debug)]
pub struct Scene {
    /// What is trained on and tested with.
    pub data: DataSet,
    /// Whether that is another division than the data set's own.
    pub divided: bool,
    /// How much.
    pub extent: Extent,
    /// No training is longer.
    pub most_updates: u32,
}

impl Scene {
    /// Data that a run sees as they are, or divided anew.
    pub fn new(data: DataSet, extent: Extent, most_updates: u32) -> Self {
        match divided(&data) {
            Some(data) => Self { data, divided: true, extent, most_updates },
            None => Self { data, divided: false, extent, most_updates },
        }
    }

    /// The data in words.
    pub fn describe(&self) -> String {
        let DataSet { name, train, test, .. } = &self.data;
        let anew = if self.divided { ", divided anew so that enough are tested" } else { "" };
        format!("{name}: {} training rows, {} test rows{anew}", train.rows, test.rows)
    }

    /// Whether rows have features to spare, as images of 20×20 pixels and more have: what is
    /// published is of such, and 8×8 pixels err more where some are dropped.
    pub fn has_spare_inputs(&self) -> bool {
        self.data.train.cols >= 400
    }

    /// Keep rate of inputs where they are dropped beside hidden units.
    pub fn input_keep(&self) -> f64 {
        if self.has_spare_inputs() { 0.8 } else { 1.0 }
    }

    /// Whether claims are of order and sign alone.
    pub fn order_alone(&self) -> bool {
        self.extent != Extent::Full
    }

    /// One of two sizes, by extent.
    pub fn pick<T>(&self, quick: T, full: T) -> T {
        if self.order_alone() { quick } else { full }
    }

    /// One of three.
    pub fn pick_of<T>(&self, quick: T, medium: T, full: T) -> T {
        match self.extent {
            Extent::Quick => quick,
            Extent::Medium => medium,
            Extent::Full => full,
        }
    }

    /// So many updates, or as many as there may be.
    pub fn updates(&self, wanted: u32) -> u32 {
        wanted.min(self.most_updates)
    }

    /// Training rows, at most so many.
    pub fn rows(&self, most: usize) -> usize {
        self.data.train.rows.min(most)
    }
}

/// One thing that is run with every seed.
#[derive(Debug, Clone)]
pub struct Arm {
    /// Its name within the study.
    pub name: String,
    /// What it is a point of, where the study draws a line through several arms, and where on that
    /// line.
    pub point: Option<(&'static str, f64)>,
    /// What is done.
    pub work: Work,
}

/// The work of an arm.
#[derive(Debug, Clone)]
pub enum Work {
    /// A network is trained, then perhaps measured further.
    Train(Recipe, Option<Measure>),
    /// Something else is computed with a seed, at a setting.
    Compute(Compute, f64),
}

/// What computes something on a device, and gives it back; it is called with a seed and the arm's
/// setting.
pub type Compute = fn(&Scene, Device, u64, f64) -> Result<(Device, Found)>;

/// A computation on any backend.
pub trait Computation {
    /// Computes, and gives the backend back.
    fn on<B: Backend>(&self, backend: B) -> Result<(B, Found)>;

    /// The same on a device.
    fn on_device(&self, device: Device) -> Result<(Device, Found)> {
        Ok(match device {
            Device::Gpu(gpu) => {
                let (gpu, found) = self.on(*gpu)?;
                (Device::Gpu(Box::new(gpu)), found)
            }
            Device::Cpu(cpu) => {
                let (cpu, found) = self.on(cpu)?;
                (Device::Cpu(cpu), found)
            }
        })
    }
}

/// What is measured on a trained network, besides loss and error.
pub type Measure = fn(&mut dyn Trained, &mut Found) -> Result<()>;

/// A network that was trained, and the test rows.
pub trait Trained {
    /// The classes of the test rows.
    fn labels(&self) -> &[u32];
    /// Class probabilities of the test rows by the weight-scaling rule.
    fn predict(&mut self) -> Result<Vec<f32>>;
    /// Class probabilities of the test rows, averaged over so many sampled masks.
    fn monte_carlo(&mut self, samples: u32) -> Result<Vec<f32>>;
}

impl Arm {
    /// A trained network.
    pub fn train(name: impl Into<String>, recipe: Recipe) -> Self {
        Self { name: name.into(), point: None, work: Work::Train(recipe, None) }
    }

    /// Something that is computed as the point at `x` of a line, where `x` is its setting.
    pub fn compute(line: &'static str, x: f64, compute: Compute) -> Self {
        Self {
            name: format!("{line} {x}"),
            point: Some((line, x)),
            work: Work::Compute(compute, x),
        }
    }

    /// A trained network as the point at `x` of a line.
    pub fn at(line: &'static str, x: f64, recipe: Recipe) -> Self {
        Self { point: Some((line, x)), ..Self::train(format!("{line} {x}"), recipe) }
    }
}

/// How a network is made and trained. All that its result depends on besides data, seed and device.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Rows of the training set, drawn by the seed.
    pub rows: usize,
    /// Units of the hidden layers.
    pub hidden: Vec<usize>,
    /// Keep rate of the hidden layers; 1 is no dropout.
    pub keep: f64,
    /// Keep rate of the input.
    pub input_keep: f64,
    /// Updates in all, rounded up to whole epochs.
    pub updates: u32,
    /// Rows of a mini-batch.
    pub batch: usize,
    /// The update; its learning rate is that of the first step.
    pub rule: SgdRule,
    /// The learning rate at the end, as a factor of that at the start; it falls exponentially.
    pub lr_end: f64,
    /// The momentum at the start, as a factor of that at the end of the first tenth; it grows
    /// linearly.
    pub momentum_start: f64,
    /// How the drop rates go over the run.
    pub drop: Dropping,
    /// Batch normalization of the hidden layers.
    pub batch_norm: Option<BatchNormPlace>,
    /// What is done in place of dropout: nothing, unless dropout is turned off to see whether a
    /// study notices.
    pub mode: Mode,
}

/// When dropout drops.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Dropping {
    /// All along.
    Always,
    /// In the first part of the run, falling linearly to nothing.
    Early(f64),
    /// After the first part of the run.
    Late(f64),
}

impl Recipe {
    /// A network without dropout, trained by momentum and a learning rate that falls to a
    /// hundredth.
    pub fn plain(rows: usize, hidden: &[usize], updates: u32) -> Self {
        let rule = SgdRule { momentum: 0.9, ..SgdRule::plain(0.1) };
        Self {
            rows,
            hidden: hidden.to_vec(),
            keep: 1.0,
            input_keep: 1.0,
            updates,
            batch: 100,
            rule,
            lr_end: 0.01,
            momentum_start: 1.0,
            drop: Dropping::Always,
            batch_norm: None,
            mode: Mode::Inverted,
        }
    }

    /// With batch normalization.
    pub fn normalized(self, place: BatchNormPlace) -> Self {
        Self { batch_norm: Some(place), ..self }
    }

    /// With dropout of the hidden layers and of the input.
    pub fn keep(self, keep: f64, input_keep: f64) -> Self {
        Self { keep, input_keep, ..self }
    }

    /// With max-norm as a paper states it, for vanilla dropout: its weights are larger by the keep
    /// rate's inverse, so that the bound is the paper's times the keep rate.
    pub fn max_norm(self, norm: f64) -> Self {
        let max_norm = Some((norm * self.keep) as f32);
        Self { rule: SgdRule { max_norm, ..self.rule }, ..self }
    }

    /// With penalties on the weights: L2 weight decay, and L1.
    pub fn penalties(self, weight_decay: f32, l1: f32) -> Self {
        Self { rule: SgdRule { weight_decay, l1, ..self.rule }, ..self }
    }

    /// The network for data of so many features and classes.
    pub fn architecture(&self, inputs: usize, classes: usize, seed: u64) -> Result<Architecture> {
        let (rate, input_rate) = (Rate::keep(self.keep)?, Rate::keep(self.input_keep)?);
        Ok(Architecture {
            inputs,
            hidden: self.hidden.clone(),
            classes,
            mode: self.mode,
            rate,
            input_rate,
            seed,
        })
    }

    /// Mini-batches of an epoch.
    pub fn steps(&self) -> u32 {
        self.rows.div_ceil(self.batch).max(1) as u32
    }

    /// Whole epochs that make the updates.
    pub fn epochs(&self) -> u32 {
        self.updates.div_ceil(self.steps()).max(1)
    }

    /// How it is trained.
    pub fn training(&self) -> Training {
        let steps = self.epochs() * self.steps();
        let part = |fraction: f64| (f64::from(steps) * fraction) as u32;
        let drop = match self.drop {
            Dropping::Always => Schedule::Constant,
            Dropping::Early(fraction) => {
                Schedule::Linear { from: 1.0, to: 0.0, steps: part(fraction) }
            }
            Dropping::Late(fraction) => Schedule::Late { steps: part(fraction) },
        };
        let lr = Schedule::Exponential { to: self.lr_end, steps };
        let momentum = match self.momentum_start {
            1.0 => Schedule::Constant,
            from => Schedule::Linear { from, to: 1.0, steps: part(0.1) },
        };
        Training {
            batch: self.batch,
            shuffle: true,
            rule: self.rule,
            schedules: Schedules { lr, momentum, drop },
            ..Training::default()
        }
    }

    /// About how many operations it takes, for the progress bar.
    pub fn cost(&self, inputs: usize, classes: usize) -> u64 {
        let widths = [&[inputs], self.hidden.as_slice(), &[classes]].concat();
        let parameters: usize = widths.windows(2).map(|pair| pair[0] * pair[1]).sum();
        u64::from(self.epochs()) * self.rows as u64 * parameters as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_become_whole_epochs_and_schedules_span_them() {
        let recipe = Recipe {
            drop: Dropping::Early(0.5),
            momentum_start: 0.5,
            ..Recipe::plain(1438, &[8], 100)
        };
        assert_eq!((recipe.steps(), recipe.epochs()), (15, 7));
        let Schedules { lr, momentum, drop } = recipe.training().schedules;
        assert_eq!(lr, Schedule::Exponential { to: 0.01, steps: 105 });
        assert_eq!(momentum, Schedule::Linear { from: 0.5, to: 1.0, steps: 10 });
        assert_eq!(drop, Schedule::Linear { from: 1.0, to: 0.0, steps: 52 });
    }

    #[test]
    fn a_paper_s_max_norm_is_taken_times_the_keep_rate() {
        assert_eq!(
            Recipe::plain(10, &[8], 1).keep(0.5, 0.8).max_norm(3.0).rule.max_norm,
            Some(1.5)
        );
        assert_eq!(Recipe::plain(10, &[8], 1).max_norm(3.0).rule.max_norm, Some(3.0));
    }
}
