//! Runs the arms of studies and stores their results. On the CPU, trainings run in parallel, one
//! per thread. For small networks this is faster than giving all threads to one training, and the
//! bits are the same. On a GPU they run one after another.

use super::experiment::Study;
use super::plan::{Arm, Measure, Recipe, Scene, Work};
use super::record::{Key, Partial, Record, Store};
use super::training::{Run, parts};
use crate::engine;
use crate::failure::Failure;
use crate::progress::Bar;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;
use wgpu_dropout::Cpu;
use wgpu_dropout::Device;
use wgpu_dropout::data::{DataSet, Values};

/// Runner of studies on a device.
pub struct Runner<'a> {
    /// Device; `None` only while a computation owns it.
    device: Option<Device>,
    label: String,
    scene: &'a Scene,
    data: String,
    store: Store,
    partial: Partial,
    bar: Arc<Bar>,
    seeds: Vec<u64>,
}

/// Training that remains to be done.
struct Job<'a> {
    key: Key,
    recipe: &'a Recipe,
    measure: Option<Measure>,
}

/// Callback that receives a study's number and its records once they are complete.
type Finish<'a> = &'a mut dyn FnMut(usize, Vec<Record>, &Bar) -> Result<(), Failure>;

/// Returns the failure for a device that a computation has not returned.
fn no_device() -> Failure {
    Failure::Run("the device is gone".to_owned())
}

impl<'a> Runner<'a> {
    /// Creates a runner; it runs nothing yet.
    pub fn new(
        device: Device,
        scene: &'a Scene,
        store: Store,
        partial: Partial,
        seeds: Vec<u64>,
    ) -> Self {
        let label = engine::describe(&device);
        let data = identity(&scene.data);
        Self {
            device: Some(device),
            label,
            scene,
            data,
            store,
            partial,
            bar: Arc::new(Bar::new(0)),
            seeds,
        }
    }

    fn key(&self, study: &Study, arm: &Arm, seed: u64) -> Key {
        let of = match &arm.work {
            Work::Train(recipe, _) => format!("{recipe:?} on {}", self.data),
            Work::Compute(_, setting) => {
                format!(
                    "{setting}, {:?}, at most {} updates on {}",
                    self.scene.extent, self.scene.most_updates, self.data
                )
            }
        };
        Key {
            study: study.name.to_owned(),
            arm: arm.name.clone(),
            seed,
            of,
            device: self.label.clone(),
        }
    }

    /// Runs every arm of every study with every seed, except those that the store has. Passes each
    /// study's records to `finish`, in the order of the studies.
    pub fn run(
        &mut self,
        studies: &[(&Study, Vec<Arm>)],
        finish: Finish<'_>,
    ) -> Result<(), Failure> {
        let mut jobs = Vec::new();
        for (study, arms) in studies {
            // Seed by seed, so that a stopped run already has arms to compare.
            for &seed in &self.seeds {
                for arm in arms {
                    let key = self.key(study, arm, seed);
                    if let (Work::Train(recipe, measure), None) = (&arm.work, self.store.get(&key))
                    {
                        self.bar.lengthen(parts(recipe, &self.scene.data));
                        jobs.push(Job { key, recipe, measure: *measure });
                    }
                }
            }
        }
        let threads = match &self.device {
            Some(Device::Cpu(_)) => rayon::current_num_threads().min(jobs.len()),
            _ => 0,
        };
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let (sender, trained) = channel();
        let scene = self.scene;
        let partial = self.partial.clone();
        let bar = self.bar.clone();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let sender = sender.clone();
                let work = Shared {
                    jobs: &jobs,
                    next: &next,
                    stop: &stop,
                    scene,
                    partial: &partial,
                    bar: &bar,
                };
                scope.spawn(move || work.on_one_thread(&sender));
            }
            drop(sender);
            let result = self.follow(studies, &stop, (threads > 0).then_some(&trained), finish);
            // After a failure, the trainings that still run are of no use.
            stop.store(true, Ordering::Relaxed);
            result
        })
    }

    /// Goes through the studies in order. For each, waits for its trainings (or runs them itself if
    /// there are no worker threads), runs its other computations, and passes its records to
    /// `finish`.
    fn follow(
        &mut self,
        studies: &[(&Study, Vec<Arm>)],
        stop: &AtomicBool,
        trained: Option<&Receiver<Result<Record, Failure>>>,
        finish: Finish<'_>,
    ) -> Result<(), Failure> {
        for (number, (study, arms)) in studies.iter().enumerate() {
            let mut records = Vec::new();
            for seed in self.seeds.clone() {
                for arm in arms {
                    let key = self.key(study, arm, seed);
                    while self.store.get(&key).is_none() {
                        let record = match (&arm.work, trained) {
                            // The record is of this arm, or of one that is needed later.
                            (Work::Train(..), Some(trained)) => {
                                trained.recv().map_err(|_| no_device())??
                            }
                            (Work::Train(recipe, measure), None) => self.train(
                                &Job { key: key.clone(), recipe, measure: *measure },
                                stop,
                            )?,
                            (Work::Compute(compute, setting), _) => {
                                self.bar.say(format!("{}: {}, seed {seed}", study.name, arm.name));
                                let start = Instant::now();
                                let (device, found) = compute(
                                    self.scene,
                                    self.device.take().ok_or_else(no_device)?,
                                    seed,
                                    *setting,
                                )?;
                                self.device = Some(device);
                                Record {
                                    key: key.clone(),
                                    seconds: start.elapsed().as_secs_f64(),
                                    found,
                                }
                            }
                        };
                        self.partial.remove(&record.key);
                        self.store.add(record)?;
                    }
                    records.extend(self.store.get(&key).cloned());
                }
            }
            finish(number, records, &self.bar)?;
        }
        Ok(())
    }

    /// Runs one training on the device.
    fn train(&mut self, job: &Job<'_>, stop: &AtomicBool) -> Result<Record, Failure> {
        let run = job.run(self.scene, &self.partial, &self.bar, stop);
        let (device, record) = match self.device.take().ok_or_else(no_device)? {
            Device::Gpu(gpu) => run
                .on(*gpu, job.key.clone())
                .map(|(gpu, record)| (Device::Gpu(Box::new(gpu)), record))?,
            Device::Cpu(cpu) => {
                run.on(cpu, job.key.clone()).map(|(cpu, record)| (Device::Cpu(cpu), record))?
            }
        };
        self.device = Some(device);
        record
    }
}

impl<'a> Job<'a> {
    fn run<'b>(
        &self,
        scene: &'b Scene,
        partial: &'b Partial,
        bar: &'b Bar,
        stop: &'b AtomicBool,
    ) -> Run<'b>
    where
        'a: 'b,
    {
        let Self { key, recipe, measure } = self;
        bar.say(format!("{}: {}, seed {}", key.study, key.arm, key.seed));
        Run { scene, recipe, measure: *measure, seed: key.seed, partial, bar, stop }
    }
}

/// State shared by the worker threads.
struct Shared<'a> {
    jobs: &'a [Job<'a>],
    /// Index of the first job that no thread has taken.
    next: &'a AtomicUsize,
    stop: &'a AtomicBool,
    scene: &'a Scene,
    partial: &'a Partial,
    bar: &'a Bar,
}

impl Shared<'_> {
    /// Takes one job after another and sends each result.
    fn on_one_thread(&self, sender: &Sender<Result<Record, Failure>>) {
        let Ok(alone) = rayon::ThreadPoolBuilder::new().num_threads(1).build() else { return };
        while !self.stop.load(Ordering::Relaxed) {
            let Some(job) = self.jobs.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            let run = job.run(self.scene, self.partial, self.bar, self.stop);
            let record = alone
                .install(|| run.on(Cpu::new(), job.key.clone()).and_then(|(_, record)| record));
            if sender.send(record).is_err() {
                return;
            }
        }
    }
}

/// Returns a data set's name with a digest of its contents.
fn identity(data: &DataSet) -> String {
    let mut digest = Sha256::new();
    for samples in [&data.train, &data.test] {
        match &samples.values {
            Values::Bytes(bytes) => digest.update(bytes),
            Values::Floats(floats) => {
                floats.iter().for_each(|value| digest.update(value.to_le_bytes()))
            }
        }
        samples.labels.iter().for_each(|label| digest.update(label.to_le_bytes()));
    }
    let digest: String =
        digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{} {digest}", data.name)
}
