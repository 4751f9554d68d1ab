//! A network at work on a data set: epochs, and what each of them came to.

use crate::failure::Failure;
use serde_json::{Value, json};
use std::time::Instant;
use wgpu_dropout::data::{DataSet, Samples, Values};
use wgpu_dropout::mlp::{Evaluation, Mlp, Resident, Source, Training};
use wgpu_dropout::{Backend, Error};

/// The columns of [`Report::row`].
pub const HEADS: &str =
    "epoch  running loss  train loss  train error  test loss  test error   seconds    images/s";

/// Opens a data set; a source of no known kind is wrong usage.
pub fn open(source: &str) -> Result<DataSet, Failure> {
    DataSet::open(source).map_err(|error| match error {
        Error::Invalid { what } => Failure::Usage(what),
        error => error.into(),
    })
}

/// Samples on a device, as their file holds them.
pub fn upload<B: Backend>(backend: &mut B, samples: &Samples) -> wgpu_dropout::Result<Resident<B>> {
    let source = match &samples.values {
        Values::Bytes(bytes) => Source::Bytes(bytes),
        Values::Floats(floats) => Source::Floats(floats),
    };
    Resident::new(backend, source, samples.cols, samples.unit, &samples.labels)
}

/// Refuses data that a network cannot take.
pub fn check_fit(
    data: &str,
    cols: usize,
    classes: usize,
    network: &wgpu_dropout::mlp::Architecture,
) -> Result<(), Failure> {
    if cols != network.inputs {
        let what = format!("{data}: {cols} features a row, the network takes {}", network.inputs);
        return Err(Failure::Run(what));
    }
    if classes > network.classes {
        let what = format!(
            "{data}: labels up to {}, the network has classes 0 to {}",
            classes - 1,
            network.classes - 1
        );
        return Err(Failure::Run(what));
    }
    Ok(())
}

/// A network, its data on the device, and how it is trained.
pub struct Session<B: Backend> {
    /// The network.
    pub net: Mlp<B>,
    train: Resident<B>,
    test: Resident<B>,
    training: Training,
}

impl<B: Backend> Session<B> {
    /// Uploads the data.
    pub fn new(mut net: Mlp<B>, data: &DataSet, training: Training) -> Result<Self, Failure> {
        check_fit(&data.name, data.train.cols, data.classes, net.architecture())?;
        let train = upload(net.backend_mut(), &data.train)?;
        let test = upload(net.backend_mut(), &data.test)?;
        Ok(Self { net, train, test, training })
    }

    /// Mini-batches of an epoch.
    pub fn steps(&self) -> usize {
        self.train.rows().div_ceil(self.training.batch)
    }

    /// Trains an epoch, then measures on both sets; `progress` is told of each mini-batch.
    pub fn epoch(&mut self, mut progress: impl FnMut()) -> wgpu_dropout::Result<Report> {
        let start = Instant::now();
        let epoch = self.net.train_epoch_with(&self.train, &self.training, |_| progress())?;
        let seconds = start.elapsed().as_secs_f64();
        let number = self.net.epoch();
        let mut measure = |data| {
            let evaluation = self.net.evaluate(data)?;
            // The batches may have gone well up to the very last update.
            match evaluation.loss.is_finite() {
                true => Ok(evaluation),
                false => Err(Error::Diverged { epoch: number, loss: evaluation.loss as f32 }),
            }
        };
        let (train, test) = (measure(&self.train)?, measure(&self.test)?);
        Ok(Report {
            epoch: number,
            running_loss: epoch.running_loss,
            train,
            test,
            seconds,
            images: self.train.rows(),
        })
    }
}

/// What an epoch came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Counted from 1.
    pub epoch: u32,
    /// The mean over the mini-batches as trained, dropout included.
    pub running_loss: f64,
    /// The training set in predict mode, after the epoch.
    pub train: Evaluation,
    /// The test set in predict mode, after the epoch.
    pub test: Evaluation,
    /// Of training alone.
    pub seconds: f64,
    /// Rows trained on.
    pub images: usize,
}

impl Report {
    fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds
    }

    /// The epoch for machines.
    pub fn json(&self) -> Value {
        json!({
            "epoch": self.epoch,
            "running_loss": self.running_loss,
            "train_loss": self.train.loss,
            "train_error": self.train.error,
            "test_loss": self.test.loss,
            "test_error": self.test.error,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second(),
        })
    }

    /// The epoch for people, under [`HEADS`].
    pub fn row(&self) -> String {
        let Self { epoch, running_loss, train, test, seconds, .. } = self;
        format!(
            "{epoch:>5}  {running_loss:>12.4}  {:>10.4}  {:>9.2} %  {:>9.4}  {:>8.2} %  {seconds:>8.2}  {:>10.0}",
            train.loss,
            train.error,
            test.loss,
            test.error,
            self.images_per_second()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_under_their_heads() {
        let evaluation = Evaluation { loss: 0.25, error: 12.5 };
        let report = Report {
            epoch: 3,
            running_loss: 1.5,
            train: evaluation,
            test: evaluation,
            seconds: 2.0,
            images: 1000,
        };
        assert_eq!(report.row().len(), HEADS.len());
        assert_eq!(report.json()["images_per_second"], 500.0);
    }
}
