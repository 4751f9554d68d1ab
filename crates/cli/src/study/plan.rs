//! The runs of a study: its scene, and the arms to train or compute.

use super::draw::divided;
use super::record::Found;
use wgpu_dropout::call::SgdRule;
use wgpu_dropout::data::DataSet;
use wgpu_dropout::mlp::{Architecture, BatchNormPlace, Schedule, Schedules, Training};
use wgpu_dropout::{Backend, Device, Mode, Rate, Result};

/// Size of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Small sizes: all studies together take minutes on two cores.
    Quick,
    /// More rows and updates for studies whose paper's sizes need a GPU: `ladder`, `regularizers`,
    /// `keep-rate` and `monte-carlo` take an hour or two on two cores. The other studies, and all
    /// claims, are as in the quick form.
    Medium,
    /// The papers' own sizes: a night on a GPU.
    Full,
}

/// Data and sizes shared by all studies of a run.
#[derive(Debug)]
pub struct Scene {
    /// Training and test rows.
    pub data: DataSet,
    /// True if the rows are divided differently than in the data set itself.
    pub divided: bool,
    /// Size of the run.
    pub extent: Extent,
    /// Largest number of updates of any training.
    pub most_updates: u32,
}

impl Scene {
    /// Creates a scene from the data, divided anew if they have too few test rows ([`divided`]).
    pub fn new(data: DataSet, extent: Extent, most_updates: u32) -> Self {
        match divided(&data) {
            Some(data) => Self { data, divided: true, extent, most_updates },
            None => Self { data, divided: false, extent, most_updates },
        }
    }

    /// Describes the data in words.
    pub fn describe(&self) -> String {
        let DataSet { name, train, test, .. } = &self.data;
        let anew = if self.divided { ", divided anew for enough test rows" } else { "" };
        format!("{name}: {} training rows, {} test rows{anew}", train.rows, test.rows)
    }

    /// Returns true if rows have features to spare, as images of 20×20 or more pixels do. The
    /// published results are for such images; on 8×8 pixels, dropping inputs raises the error.
    pub fn has_spare_inputs(&self) -> bool {
        self.data.train.cols >= 400
    }

    /// Returns the keep rate of the inputs in arms that drop them along with hidden units.
    pub fn input_keep(&self) -> f64 {
        if self.has_spare_inputs() { 0.8 } else { 1.0 }
    }

    /// Returns true if only claims of order and sign are tested.
    pub fn order_alone(&self) -> bool {
        self.extent != Extent::Full
    }

    /// Picks one of two values by extent; [`Extent::Medium`] takes the quick one.
    pub fn pick<T>(&self, quick: T, full: T) -> T {
        if self.order_alone() { quick } else { full }
    }

    /// Picks one of three values by extent.
    pub fn pick_of<T>(&self, quick: T, medium: T, full: T) -> T {
        match self.extent {
            Extent::Quick => quick,
            Extent::Medium => medium,
            Extent::Full => full,
        }
    }

    /// Limits a number of updates to the scene's maximum.
    pub fn updates(&self, wanted: u32) -> u32 {
        wanted.min(self.most_updates)
    }

    /// Returns the number of training rows, at most `most`.
    pub fn rows(&self, most: usize) -> usize {
        self.data.train.rows.min(most)
    }
}

/// One experiment of a study, run with every seed.
#[derive(Debug, Clone)]
pub struct Arm {
    /// Name within the study.
    pub name: String,
    /// Name of the line that this arm is a point of, and its x, if the study draws a line through
    /// several arms.
    pub point: Option<(&'static str, f64)>,
    /// Work to do.
    pub work: Work,
}

/// The work of an arm.
#[derive(Debug, Clone)]
pub enum Work {
    /// Trains a network, with an optional further measurement.
    Train(Recipe, Option<Measure>),
    /// Computes something else with a seed, at a setting.
    Compute(Compute, f64),
}

/// Function that computes something on a device with a seed and the arm's setting, and returns the
/// device.
pub type Compute = fn(&Scene, Device, u64, f64) -> Result<(Device, Found)>;

/// Computation on any backend.
pub trait Computation {
    /// Computes the figures and returns the backend.
    fn on<B: Backend>(&self, backend: B) -> Result<(B, Found)>;

    /// Calls [`on`](Self::on) with the backend of a device.
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

/// Function that measures more of a trained network than loss and error.
pub type Measure = fn(&mut dyn Trained, &mut Found) -> Result<()>;

/// Trained network with the test rows.
pub trait Trained {
    /// Returns the classes of the test rows.
    fn labels(&self) -> &[u32];
    /// Predicts class probabilities of the test rows by the weight-scaling rule.
    fn predict(&mut self) -> Result<Vec<f32>>;
    /// Predicts class probabilities of the test rows, averaged over `samples` sampled masks.
    fn monte_carlo(&mut self, samples: u32) -> Result<Vec<f32>>;
}

impl Arm {
    /// Creates an arm that trains a network.
    pub fn train(name: impl Into<String>, recipe: Recipe) -> Self {
        Self { name: name.into(), point: None, work: Work::Train(recipe, None) }
    }

    /// Creates an arm that computes the point at `x` of a line, with `x` as its setting.
    pub fn compute(line: &'static str, x: f64, compute: Compute) -> Self {
        Self {
            name: format!("{line} {x}"),
            point: Some((line, x)),
            work: Work::Compute(compute, x),
        }
    }

    /// Creates an arm that trains a network as the point at `x` of a line.
    pub fn at(line: &'static str, x: f64, recipe: Recipe) -> Self {
        Self { point: Some((line, x)), ..Self::train(format!("{line} {x}"), recipe) }
    }
}

/// Recipe for a network and its training: everything that the result depends on besides data, seed
/// and device.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Number of training rows, which the seed draws.
    pub rows: usize,
    /// Number of units of each hidden layer.
    pub hidden: Vec<usize>,
    /// Keep rate of the hidden layers; 1 means no dropout.
    pub keep: f64,
    /// Keep rate of the input.
    pub input_keep: f64,
    /// Total number of updates, rounded up to whole epochs.
    pub updates: u32,
    /// Number of rows of a mini-batch.
    pub batch: usize,
    /// Update rule; its learning rate is that of the first step.
    pub rule: SgdRule,
    /// Final learning rate as a fraction of the first; the rate falls exponentially.
    pub lr_end: f64,
    /// First momentum as a fraction of the final one; it grows linearly over the first tenth of the
    /// run.
    pub momentum_start: f64,
    /// Schedule of the drop rates.
    pub drop: Dropping,
    /// Batch normalization of the hidden layers.
    pub batch_norm: Option<BatchNormPlace>,
    /// Form of dropout. [`Mode::None`] turns it off, to check that the study's claims then fail.
    pub mode: Mode,
}

/// Part of the run in which dropout is active.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Dropping {
    /// The whole run.
    Always,
    /// The first part of the run, as a fraction; the rates fall linearly to 0.
    Early(f64),
    /// All but the first part of the run, given as a fraction.
    Late(f64),
}

impl Recipe {
    /// Returns the recipe of a network without dropout, trained with momentum and a learning rate
    /// that falls to a hundredth.
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

    /// Adds batch normalization.
    pub fn normalized(self, place: BatchNormPlace) -> Self {
        Self { batch_norm: Some(place), ..self }
    }

    /// Sets the keep rates of the hidden layers and of the input.
    pub fn keep(self, keep: f64, input_keep: f64) -> Self {
        Self { keep, input_keep, ..self }
    }

    /// Adds max-norm with a bound as a paper states it, for vanilla dropout. Weights under vanilla
    /// dropout are larger by the keep rate's inverse, so the bound here is the paper's times the
    /// keep rate.
    pub fn max_norm(self, norm: f64) -> Self {
        let max_norm = Some((norm * self.keep) as f32);
        Self { rule: SgdRule { max_norm, ..self.rule }, ..self }
    }

    /// Adds penalties on the weights: L2 weight decay, and L1.
    pub fn penalties(self, weight_decay: f32, l1: f32) -> Self {
        Self { rule: SgdRule { weight_decay, l1, ..self.rule }, ..self }
    }

    /// Returns the network for data with `inputs` features and `classes` classes.
    pub fn architecture(&self, inputs: usize, classes: usize, seed: u64) -> Result<Architecture> {
        Ok(Architecture {
            inputs,
            hidden: self.hidden.clone(),
            classes,
            mode: self.mode,
            rate: Rate::keep(self.keep)?,
            input_rate: Rate::keep(self.input_keep)?,
            seed,
        })
    }

    /// Returns the number of mini-batches of an epoch.
    pub fn steps(&self) -> u32 {
        self.rows.div_ceil(self.batch).max(1) as u32
    }

    /// Returns the number of whole epochs that contain the updates.
    pub fn epochs(&self) -> u32 {
        self.updates.div_ceil(self.steps()).max(1)
    }

    /// Returns the settings of the training, whose schedules span the run.
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

    /// Estimates the number of operations, for the progress bar.
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
