//! The timed trial. It finds the fastest tile on a device for each class of products, and whether
//! Philox is faster in 64-bit integers or in 16-bit limbs.
//!
//! It never changes what is computed: every choice gives the same masks and sums in the same order
//! (see [`crate::order`]).

use super::kernels::Kernels;
use super::owned::Gpu;
use super::tensor::GpuTensor;
use crate::backend::Backend;
use crate::call::{DropoutCall, GradInput, GradWeight, LinearForward};
use crate::plan::Planner;
use crate::plan::Stem;
use crate::plan::Tile;
use crate::plan::{Class, Shape, Tiles};
use crate::{Dropout, Key, Mask, Mode, Rate, Result};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Calls of a measurement.
const CALLS: usize = 3;
/// Measurements of a choice; the fastest counts.
const ROUNDS: usize = 2;
/// Factor by which another choice must beat the rule's, so that noise does not decide.
const GAIN: f64 = 1.03;

/// Result of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The tile of each class.
    pub tiles: Tiles,
    /// True if Philox multiplies in 64-bit integers.
    pub int64: bool,
    /// All measurements.
    pub timings: Vec<Timing>,
}

/// Measurement of one choice.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// A [`Class`] in its displayed form, or `philox`.
    pub what: String,
    /// The name of a tile, `int64` or `limbs`.
    pub choice: String,
    /// Seconds per call.
    pub seconds: f64,
}

impl Trial {
    /// Returns how long a trial may take, compilation included. Classes that it does not reach keep
    /// the rule's tile. On an adapter that runs on a CPU the budget is larger, since compilation is
    /// slow there.
    pub fn budget(info: &wgpu::AdapterInfo) -> Duration {
        Duration::from_millis(if info.device_type == wgpu::DeviceType::Cpu { 120_000 } else { 450 })
    }

    /// Returns the plan with the trial's choices.
    pub fn apply(&self, planner: Planner) -> Planner {
        Planner { tiles: self.tiles, int64: self.int64, ..planner }
    }

    /// Times the choices on a device. It starts from the plan of `kernels`; whatever is not decided
    /// when `budget` ends stays as in that plan.
    ///
    /// # Errors
    /// Those of [`Backend::read`], and [`Error::OutOfMemory`](crate::Error::OutOfMemory) if the
    /// device has no memory for the tensors: some 50 MiB.
    pub fn run(gpu: &Gpu, kernels: &Kernels, budget: Duration) -> Result<Self> {
        let own = *kernels.planner();
        let mut bench = Bench {
            gpu,
            kernels,
            forms: HashMap::new(),
            until: Instant::now() + budget,
            timings: Vec::new(),
        };
        let mut trial = Self { tiles: own.tiles, int64: own.int64, timings: Vec::new() };
        for class in Class::all() {
            if let Some(tile) = bench.fastest_tile(class, own.tiles.get(class))? {
                trial.tiles.set(class, tile);
            }
            // After the classes that matter most: the layers of a large network.
            if class == (Class { stem: Stem::GradWeight, shape: Shape::Large }) && own.int64 {
                trial.int64 = bench.int64_is_faster()?.unwrap_or(own.int64);
            }
        }
        trial.timings = bench.timings;
        Ok(trial)
    }

    /// Does what [`run`](Self::run) does, but only once in a process for all devices on the same
    /// adapter with the same driver and plan.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn of(gpu: &Gpu, budget: Duration) -> Result<Self> {
        static DONE: Mutex<Vec<(wgpu::AdapterInfo, Planner, Trial)>> = Mutex::new(Vec::new());
        let info = gpu.info();
        let planner = gpu.kernels().planner();
        // A panic elsewhere cannot leave half an entry, so a poisoned list is still valid.
        let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., trial)) = done.iter().find(|(of, from, _)| of == info && from == planner) {
            return Ok(trial.clone());
        }
        let trial = Self::run(gpu, gpu.kernels(), budget)?;
        done.push((info.clone(), *planner, trial.clone()));
        Ok(trial)
    }
}

/// State of a trial in progress.
struct Bench<'a> {
    gpu: &'a Gpu,
    kernels: &'a Kernels,
    /// The device with each form of its kernels that was tried.
    forms: HashMap<(Tile, bool), Gpu>,
    until: Instant,
    timings: Vec<Timing>,
}

impl Bench<'_> {
    /// Returns the device with its kernels in a form, which it makes on first use.
    fn form(&mut self, tile: Tile, int64: bool) -> Result<&mut Gpu> {
        if !self.forms.contains_key(&(tile, int64)) {
            let change = |_| Planner { tiles: Tiles::all(tile), int64, ..*self.kernels.planner() };
            let form = self.gpu.with_kernels(self.kernels.replanned(change)?);
            self.forms.insert((tile, int64), form);
        }
        let gpu = self.forms.get_mut(&(tile, int64));
        gpu.ok_or_else(|| crate::Error::invalid(format!("tile {tile} has no form")))
    }

    /// Returns the fastest tile of a class, or `usual` if none is clearly faster; `None` if time
    /// ran out.
    fn fastest_tile(&mut self, class: Class, usual: Tile) -> Result<Option<Tile>> {
        let info = self.gpu.info().clone();
        let device = self.gpu.device().clone();
        let features = device.features();
        let limits = device.limits();
        let int64 = self.kernels.planner().int64;
        let mut work = None;
        let mut found = Vec::new();
        for &tile in class.candidates(info.device_type) {
            if !tile.runs_on(&info, features, &limits) {
                continue;
            }
            let until = self.until;
            let gpu = self.form(tile, int64)?;
            let work = match &mut work {
                Some(work) => work,
                None => work.insert(Product::new(
                    gpu,
                    class,
                    info.device_type == wgpu::DeviceType::Cpu,
                )?),
            };
            let Some(seconds) = measure(gpu, until, |gpu| work.call(gpu))? else { return Ok(None) };
            self.timings.push(Timing {
                what: class.to_string(),
                choice: tile.to_string(),
                seconds,
            });
            found.push((tile, seconds));
        }
        Ok(fastest(&found, usual))
    }

    /// Returns true if limbs are not clearly faster than 64-bit integers for Philox; `None` if time
    /// ran out.
    fn int64_is_faster(&mut self) -> Result<Option<bool>> {
        let tile = self.kernels.planner().tiles.used().next().unwrap_or(Tile::Register);
        let rows =
            if self.gpu.info().device_type == wgpu::DeviceType::Cpu { 1 << 10 } else { 1 << 12 };
        let dropout = Dropout::train(Mode::Inverted, Mask::new(Rate::keep(0.5)?, Key::default()));
        let mut found = Vec::new();
        for (int64, choice) in [(true, "int64"), (false, "limbs")] {
            let until = self.until;
            let gpu = self.form(tile, int64)?;
            let x = gpu.zeros(rows, 1024)?;
            let mut y = gpu.zeros(rows, 1024)?;
            let call = |gpu: &mut Gpu| gpu.run(DropoutCall { x: &x, y: &mut y, dropout });
            let Some(seconds) = measure(gpu, until, call)? else { return Ok(None) };
            self.timings.push(Timing {
                what: "philox".to_owned(),
                choice: choice.to_owned(),
                seconds,
            });
            found.push((int64, seconds));
        }
        Ok(fastest(&found, true))
    }
}

/// Returns the fastest choice, or `usual` if none is clearly faster; `None` if there are no
/// choices.
fn fastest<T: Copy + PartialEq>(found: &[(T, f64)], usual: T) -> Option<T> {
    let best = found.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    let kept = found.iter().find(|(choice, seconds)| *choice == usual && *seconds <= best.1 * GAIN);
    Some(kept.unwrap_or(best).0)
}

/// Measures the seconds per call, after a first call that compiles; `None` if time ran out.
fn measure(
    gpu: &mut Gpu,
    until: Instant,
    mut call: impl FnMut(&mut Gpu) -> Result<()>,
) -> Result<Option<f64>> {
    if Instant::now() >= until {
        return Ok(None);
    }
    call(gpu)?;
    gpu.wait()?;
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        if Instant::now() >= until {
            return Ok(None);
        }
        (0..CALLS).try_for_each(|_| call(gpu))?;
        let start = Instant::now();
        // Uses the device's own clock if it has one: the queue is slower than a small kernel.
        let took =
            gpu.submit_timed()?.filter(|took| !took.is_zero()).unwrap_or_else(|| start.elapsed());
        best = best.min(took.as_secs_f64() / CALLS as f64);
    }
    Ok(Some(best))
}

/// Product of a class, on zeros: its time does not depend on the values.
struct Product {
    stem: Stem,
    x: GpuTensor<f32>,
    weight: GpuTensor<f32>,
    bias: GpuTensor<f32>,
    y: GpuTensor<f32>,
}

impl Product {
    /// Makes a product that takes some milliseconds on a slow device of its kind.
    fn new(gpu: &mut Gpu, class: Class, software: bool) -> Result<Self> {
        let share = if software { 4 } else { 1 };
        let [rows, cols, terms] = match class.shape {
            Shape::FewRows => [16, 2048 / share, 2048 / share],
            Shape::FewCols => [2048 / share, 16, 1024 / share],
            Shape::Medium => [512 / share, 1024 / share, 512],
            // Many tiles for every unit of a large device, so that the remainder of the last round
            // does not decide.
            Shape::Large if software => [512, 512, 512],
            Shape::Large => [4096, 4096, 512],
        };
        // Each kernel assigns rows, columns and terms to other dimensions of the layer.
        let [batch, inputs, outputs] = match class.stem {
            Stem::GradInput => [rows, cols, terms],
            Stem::GradWeight => [terms, rows, cols],
            _ => [rows, terms, cols],
        };
        Ok(Self {
            stem: class.stem,
            x: gpu.zeros(batch, inputs)?,
            weight: gpu.zeros(inputs, outputs)?,
            bias: gpu.zeros(1, outputs)?,
            y: gpu.zeros(batch, outputs)?,
        })
    }

    fn call(&mut self, gpu: &mut Gpu) -> Result<()> {
        let Self { stem, x, weight, bias, y } = self;
        let dropout = Dropout::NONE;
        match stem {
            Stem::GradInput => gpu.run(GradInput {
                grad_output: &*y,
                output: None,
                weight: &*weight,
                grad_input: x,
                dropout,
                through: None,
            }),
            Stem::GradWeight => gpu.run(GradWeight {
                x: &*x,
                grad_output: &*y,
                output: None,
                grad_weight: weight,
                grad_bias: bias,
                dropout,
            }),
            _ => gpu.run(LinearForward {
                x: &*x,
                weight: &*weight,
                bias: Some(&*bias),
                y,
                relu: true,
                dropout,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fastest;

    #[test]
    fn the_usual_choice_stays_where_none_is_clearly_faster() {
        assert_eq!(fastest(&[("a", 1.0), ("b", 0.98)], "a"), Some("a"));
        assert_eq!(fastest(&[("a", 1.0), ("b", 0.9)], "a"), Some("b"));
        assert_eq!(fastest(&[("a", 1.0), ("b", 2.0), ("c", 0.5)], "b"), Some("c"));
        assert_eq!(fastest(&[("a", f64::INFINITY), ("b", 2.0)], "c"), Some("b"));
        assert_eq!(fastest(&[], "a"), None);
    }
}
