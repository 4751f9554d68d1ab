//! Runs arms on a device, one after the other, and keeps what they came to.

use super::draw::drawn;
use super::plan::{Arm, Measure, Recipe, Scene, Study, Trained, Work};
use super::record::{Found, Key, Partial, Record, Store};
use crate::engine;
use crate::failure::Failure;
use crate::progress::Bar;
use crate::train::session::upload;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use wgpu_dropout::data::{DataSet, Values};
use wgpu_dropout::mlp::{Mlp, Resident, Sharing};
use wgpu_dropout::{Backend, Device, Error};

/// How much work a run that is stopped may lose.
const KEPT_EVERY: Duration = Duration::from_secs(30);

/// A device at work on studies.
pub struct Runner<'a> {
    /// The device; none only while a network has it.
    device: Option<Device>,
    label: String,
    scene: &'a Scene,
    data: String,
    store: Store,
    partial: Partial,
    bar: Bar,
    seeds: Vec<u64>,
}

/// The device was lost on the way.
fn no_device() -> Failure {
    Failure::Run("the device is gone".to_owned())
}

impl<'a> Runner<'a> {
    /// Nothing is run yet.
    pub fn new(device: Device, scene: &'a Scene, store: Store, partial: Partial, seeds: Vec<u64>) -> Self {
        let label = engine::describe(&device);
        let data = identity(&scene.data);
        Self { device: Some(device), label, scene, data, store, partial, bar: Bar::new(0), seeds }
    }

    fn key(&self, study: &Study, arm: &Arm, seed: u64) -> Key {
        let of = match &arm.work {
            Work::Train(recipe, _) => format!("{recipe:?} on {}", self.data),
            Work::Compute(_, setting) => {
                format!("{setting}, {:?}, at most {} updates on {}", self.scene.extent, self.scene.most_updates, self.data)
            }
        };
        Key { study: study.name.to_owned(), arm: arm.name.clone(), seed, of, device: self.label.clone() }
    }

    /// Tells the progress bar how much there is to do for a study.
    pub fn announce(&self, study: &Study, arms: &[Arm]) {
        let data = &self.scene.data;
        for arm in arms {
            let left = self.seeds.iter().filter(|seed| self.store.get(&self.key(study, arm, **seed)).is_none()).count();
            if let Work::Train(recipe, _) = &arm.work {
                self.bar.lengthen(left as u64 * (recipe.cost(data.train.cols, data.classes) / UNIT));
            }
        }
    }

    /// Prints with the bar out of the way.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.aside(print)
    }

    /// Every arm with every seed, those from the store that are finished.
    pub fn run(&mut self, study: &Study, arms: &[Arm]) -> Result<Vec<Record>, Failure> {
        let mut records = Vec::new();
        // Seed by seed, so that a run that is stopped has something to compare.
        for seed in self.seeds.clone() {
            for arm in arms {
                let key = self.key(study, arm, seed);
                if let Some(finished) = self.store.get(&key) {
                    records.push(finished.clone());
                    continue;
                }
                self.bar.say(format!("{}: {}, seed {seed}", study.name, arm.name));
                let record = match &arm.work {
                    Work::Train(recipe, measure) => self.train(key, recipe, *measure, seed)?,
                    Work::Compute(compute, setting) => {
                        let start = Instant::now();
                        let (device, found) = compute(self.scene, self.device.take().ok_or_else(no_device)?, seed, *setting)?;
                        self.device = Some(device);
                        Record { key, seconds: start.elapsed().as_secs_f64(), found }
                    }
                };
                self.store.add(record.clone())?;
                self.partial.remove();
                records.push(record);
            }
        }
        Ok(records)
    }

    fn train(&mut self, key: Key, recipe: &Recipe, measure: Option<Measure>, seed: u64) -> Result<Record, Failure> {
        let run = Run { scene: self.scene, recipe, measure, seed, partial: &self.partial, bar: &self.bar };
        let (device, record) = match self.device.take().ok_or_else(no_device)? {
            Device::Gpu(gpu) => run.on(*gpu, key).map(|(gpu, record)| (Device::Gpu(Box::new(gpu)), record))?,
            Device::Cpu(cpu) => run.on(cpu, key).map(|(cpu, record)| (Device::Cpu(cpu), record))?,
        };
        self.device = Some(device);
        record
    }
}

/// Operations that the progress bar counts as one.
const UNIT: u64 = 1_000_000;

/// One training.
struct Run<'a> {
    scene: &'a Scene,
    recipe: &'a Recipe,
    measure: Option<Measure>,
    seed: u64,
    partial: &'a Partial,
    bar: &'a Bar,
}

/// A backend that comes back, whatever became of the work on it.
type Back<B, T> = Result<(B, Result<T, Failure>), Failure>;

impl Run<'_> {
    fn on<B: Backend>(&self, backend: B, key: Key) -> Back<B, Record> {
        let data = &self.scene.data;
        let architecture = self.recipe.architecture(data.train.cols, data.classes, self.seed)?;
        let new = |backend| {
            let net = Mlp::new(backend, architecture.clone())?;
            match self.recipe.batch_norm {
                Some(place) => net.with_batch_norm(place),
                None => Ok(net),
            }
        };
        let (net, record) = match self.partial.of(&key) {
            Some((record, epoch)) => {
                let net = Mlp::load(backend, &self.partial.network())?;
                match net.epoch() == epoch && *net.architecture() == architecture {
                    true => (net, record),
                    // The run was stopped between the two files.
                    false => (new(net.into_backend())?, fresh(key)),
                }
            }
            None => (new(backend)?, fresh(key)),
        };
        let mut bench = Bench { net, test: None, labels: &data.test.labels };
        let result = self.follow(&mut bench, record);
        Ok((bench.net.into_backend(), result))
    }

    fn follow<B: Backend>(&self, bench: &mut Bench<'_, B>, mut record: Record) -> Result<Record, Failure> {
        let (recipe, data) = (self.recipe, &self.scene.data);
        let drawn = drawn(&data.train, recipe.rows, self.seed);
        let train = upload(bench.net.backend_mut(), &drawn)?;
        bench.test = Some(upload(bench.net.backend_mut(), &data.test)?);
        let (epochs, training) = (recipe.epochs(), recipe.training());
        let cost = recipe.cost(data.train.cols, data.classes) / UNIT;
        let (mut counted, all) = (0, u64::from(epochs) * u64::from(recipe.steps()));
        let mut advance = |step: u64| {
            let now = cost * step / all;
            self.bar.advance(now - counted.min(now));
            counted = now;
        };
        // Of a learning curve, at most: each takes as long as some epochs on a small training set.
        let points = self.scene.pick_of(10, 20, 20);
        let mut kept = Instant::now();
        for epoch in bench.net.epoch() + 1..=epochs {
            let before = u64::from(epoch - 1) * u64::from(recipe.steps());
            let start = Instant::now();
            match bench.net.train_epoch_with(&train, &training, |step| advance(before + step as u64)) {
                // An arm that diverges is a result, one without figures.
                Err(Error::Diverged { .. }) => return Ok(Record { found: Found::default(), ..record }),
                trained => trained?,
            };
            record.seconds += start.elapsed().as_secs_f64();
            if epoch * points / epochs > (epoch - 1) * points / epochs || epoch == epochs {
                self.evaluate(bench, &train, epoch, &mut record.found)?;
            }
            if kept.elapsed() > KEPT_EVERY && epoch < epochs {
                bench.net.save(&self.partial.network())?;
                self.partial.keep(&record, epoch)?;
                kept = Instant::now();
            }
        }
        advance(all);
        if let Some(measure) = self.measure {
            measure(bench, &mut record.found)?;
        }
        Ok(record)
    }

    /// Errors and losses of both sets: a point of the curves and, of the last epoch, the figures of the arm. The best epoch is not looked
    /// for: chosen on the test set, it would flatter every arm.
    fn evaluate<B: Backend>(
        &self,
        bench: &mut Bench<'_, B>,
        train: &Resident<B>,
        epoch: u32,
        found: &mut Found,
    ) -> Result<(), Failure> {
        let seen = bench.net.evaluate(train)?;
        let unseen = bench.net.evaluate(bench.test.as_ref().ok_or_else(no_device)?)?;
        found.push("epoch", f64::from(epoch));
        for (name, value) in
            [("train_error", seen.error), ("train_loss", seen.loss), ("test_error", unseen.error), ("test_loss", unseen.loss)]
        {
            found.push(name, value);
            found.value(name, value);
        }
        Ok(())
    }
}

fn fresh(key: Key) -> Record {
    Record { key, seconds: 0.0, found: Found::default() }
}

/// A network with the test set on its device.
struct Bench<'a, B: Backend> {
    net: Mlp<B>,
    test: Option<Resident<B>>,
    labels: &'a [u32],
}

impl<B: Backend> Trained for Bench<'_, B> {
    fn labels(&self) -> &[u32] {
        self.labels
    }

    fn predict(&mut self) -> wgpu_dropout::Result<Vec<f32>> {
        let Self { net, test, .. } = self;
        test.as_ref().map_or(Ok(Vec::new()), |test| net.predict_on(test))
    }

    fn monte_carlo(&mut self, samples: u32) -> wgpu_dropout::Result<Vec<f32>> {
        let Self { net, test, .. } = self;
        test.as_ref().map_or(Ok(Vec::new()), |test| Ok(net.predict_monte_carlo(test, samples, Sharing::PerRow)?.mean))
    }
}

/// A data set in words, with a digest of its contents.
fn identity(data: &DataSet) -> String {
    let mut digest = Sha256::new();
    for samples in [&data.train, &data.test] {
        match &samples.values {
            Values::Bytes(bytes) => digest.update(bytes),
            Values::Floats(floats) => floats.iter().for_each(|value| digest.update(value.to_le_bytes())),
        }
        samples.labels.iter().for_each(|label| digest.update(label.to_le_bytes()));
    }
    let digest: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{} {digest}", data.name)
}
