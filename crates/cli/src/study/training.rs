//! One training: an arm's network with one seed, from its first update, or from the point where an
//! earlier run stopped, to its figures.

use super::draw::drawn;
use super::plan::{Measure, Recipe, Scene, Trained};
use super::record::{Found, Key, Partial, Record};
use crate::failure::Failure;
use crate::progress::Bar;
use crate::train::session::upload;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wgpu_dropout::data::DataSet;
use wgpu_dropout::mlp::{Mlp, Resident, Sharing};
use wgpu_dropout::{Backend, Error};

/// Longest stretch of work that a stopped run loses, to within an epoch.
const KEPT_EVERY: Duration = Duration::from_secs(30);

/// Number of operations that the progress bar counts as one.
const UNIT: u64 = 1_000_000;

/// Returns the number of units that the progress bar counts for a training.
pub fn parts(recipe: &Recipe, data: &DataSet) -> u64 {
    recipe.cost(data.train.cols, data.classes.len()) / UNIT
}

/// One training.
pub struct Run<'a> {
    pub scene: &'a Scene,
    pub recipe: &'a Recipe,
    pub measure: Option<Measure>,
    pub seed: u64,
    pub partial: &'a Partial,
    pub bar: &'a Bar,
    /// Set once another training has failed, which makes this one useless.
    pub stop: &'a AtomicBool,
}

/// Backend returned together with the result of the work on it, even if that failed.
pub type Back<B, T> = Result<(B, Result<T, Failure>), Failure>;

impl Run<'_> {
    /// Trains on a backend and returns it.
    ///
    /// # Errors
    ///
    /// If the network cannot be created or loaded; the backend is then lost. A failure of the
    /// training itself is the inner result.
    pub fn on<B: Backend>(&self, backend: B, key: Key) -> Back<B, Record> {
        let data = &self.scene.data;
        let architecture =
            self.recipe.architecture(data.train.cols, data.classes.len(), self.seed)?;
        let new = |backend| {
            let net = Mlp::new(backend, architecture.clone())?;
            match self.recipe.batch_norm {
                Some(place) => net.with_batch_norm(place),
                None => Ok(net),
            }
        };
        let (mut net, record) = match self.partial.of(&key) {
            Some((record, epoch)) => {
                let net = Mlp::load(backend, &self.partial.network(&key))?;
                if net.epoch() == epoch && *net.architecture() == architecture {
                    (net, record)
                } else {
                    // The earlier run was stopped after writing the network but not its figures.
                    (new(net.into_backend())?, fresh(key))
                }
            }
            None => (new(backend)?, fresh(key)),
        };
        let result = self.follow(&mut net, record);
        Ok((net.into_backend(), result))
    }

    fn follow<B: Backend>(&self, net: &mut Mlp<B>, mut record: Record) -> Result<Record, Failure> {
        let recipe = self.recipe;
        let data = &self.scene.data;
        let drawn = drawn(&data.train, recipe.rows, self.seed);
        let train = upload(net.backend_mut(), &drawn)?;
        let test = upload(net.backend_mut(), &data.test)?;
        let mut bench = Bench { net, test, labels: &data.test.labels };
        let epochs = recipe.epochs();
        let training = recipe.training();
        let cost = parts(recipe, data);
        let mut counted = 0;
        let all = u64::from(epochs) * u64::from(recipe.steps());
        let mut advance = |step: u64| {
            let now = cost * step / all;
            self.bar.advance(now - counted.min(now));
            counted = now;
        };
        // Most points of a learning curve: on a small training set, evaluating one takes as long
        // as several epochs.
        let points = self.scene.pick_of(10, 20, 20);
        let mut kept = Instant::now();
        for epoch in bench.net.epoch() + 1..=epochs {
            if self.stop.load(Ordering::Relaxed) {
                return Err(stopped());
            }
            let before = u64::from(epoch - 1) * u64::from(recipe.steps());
            let start = Instant::now();
            match bench
                .net
                .train_epoch_with(&train, &training, |step| advance(before + step as u64))
            {
                // Divergence is a result too, one without figures.
                Err(Error::Diverged { .. }) => {
                    return Ok(Record { found: Found::default(), ..record });
                }
                trained => trained?,
            };
            record.seconds += start.elapsed().as_secs_f64();
            if is_point(epoch, epochs, points) {
                record.found.epoch(
                    epoch,
                    bench.net.evaluate(&train)?,
                    bench.net.evaluate(&bench.test)?,
                );
            }
            if kept.elapsed() > KEPT_EVERY && epoch < epochs {
                self.partial.keep(&record, epoch, &bench.net.to_bytes()?)?;
                kept = Instant::now();
            }
        }
        advance(all);
        if let Some(measure) = self.measure {
            measure(&mut bench, &mut record.found)?;
        }
        Ok(record)
    }
}

/// Returns true if a learning curve of `points` points has one at this epoch. The last epoch always
/// is one.
pub fn is_point(epoch: u32, epochs: u32, points: u32) -> bool {
    epoch * points / epochs > (epoch - 1) * points / epochs || epoch == epochs
}

/// Returns the failure of a training that was stopped because another failed. It is never shown:
/// the first failure is the one reported.
fn stopped() -> Failure {
    Failure::Run("another training failed".to_owned())
}

fn fresh(key: Key) -> Record {
    Record { key, seconds: 0.0, found: Found::default() }
}

/// Network with the test set on its device.
struct Bench<'a, B: Backend> {
    net: &'a mut Mlp<B>,
    test: Resident<B>,
    labels: &'a [u32],
}

impl<B: Backend> Trained for Bench<'_, B> {
    fn labels(&self) -> &[u32] {
        self.labels
    }

    fn predict(&mut self) -> wgpu_dropout::Result<Vec<f32>> {
        self.net.predict_on(&self.test)
    }

    fn monte_carlo(&mut self, samples: u32) -> wgpu_dropout::Result<Vec<f32>> {
        Ok(self.net.predict_monte_carlo(&self.test, samples, Sharing::PerRow)?.mean)
    }
}
