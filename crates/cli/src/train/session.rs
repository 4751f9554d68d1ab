//! Training of a network on a data set, and the summary of each epoch.

use crate::data::{self, Opened, Options};
use crate::failure::Failure;
use crate::output;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Instant;
use wgpu_dropout::data::{DataSet, Samples, Values};
use wgpu_dropout::mlp::{Evaluation, Mlp, Resident, Source, Training};
use wgpu_dropout::{Backend, Error};

/// Column heads for [`Report::row`].
pub const HEADS: &str =
    "epoch  running loss  train loss  train error  test loss  test error   seconds    images/s";

/// Opens a data set and says what is unusual about it.
pub fn open(source: &Path, options: &Options) -> Result<Opened, Failure> {
    let opened = data::open(source, options).map_err(failure)?;
    opened.remarks.iter().for_each(|remark| output::remark(remark));
    Ok(opened)
}

/// Returns the failure for an error of reading data. Options that do not fit the data are wrong
/// usage.
pub fn failure(error: Error) -> Failure {
    match error {
        Error::Invalid { what } => Failure::Usage(what),
        error => error.into(),
    }
}

/// Uploads samples in the type in which their file stores them.
pub fn upload<B: Backend>(backend: &mut B, samples: &Samples) -> wgpu_dropout::Result<Resident<B>> {
    let source = match &samples.values {
        Values::Bytes(bytes) => Source::Bytes(bytes),
        Values::Floats(floats) => Source::Floats(floats),
    };
    Resident::new(backend, source, samples.cols, samples.unit.factor(), &samples.labels)
}

/// A network, its data on the device, and its training settings.
pub struct Session<B: Backend> {
    /// The network.
    pub net: Mlp<B>,
    train: Resident<B>,
    test: Resident<B>,
    training: Training,
}

impl<B: Backend> Session<B> {
    /// Uploads the data for a network, which they must fit.
    pub fn new(mut net: Mlp<B>, data: &DataSet, training: Training) -> Result<Self, Failure> {
        let train = upload(net.backend_mut(), &data.train)?;
        let test = upload(net.backend_mut(), &data.test)?;
        Ok(Self { net, train, test, training })
    }

    /// Returns the number of mini-batches in an epoch.
    pub fn steps(&self) -> usize {
        self.train.rows().div_ceil(self.training.batch)
    }

    /// Trains an epoch, then evaluates both sets. Calls `progress` after each mini-batch.
    pub fn epoch(&mut self, mut progress: impl FnMut()) -> wgpu_dropout::Result<Report> {
        let start = Instant::now();
        let epoch = self.net.train_epoch_with(&self.train, &self.training, |_| progress())?;
        let seconds = start.elapsed().as_secs_f64();
        let number = self.net.epoch();
        let mut measure = |data| {
            let evaluation = self.net.evaluate(data)?;
            // The last update may diverge even if the loss of every batch was finite.
            if evaluation.loss.is_finite() {
                Ok(evaluation)
            } else {
                Err(Error::Diverged { epoch: number, loss: evaluation.loss as f32 })
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

/// Summary of one training epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Number of the epoch, from 1.
    pub epoch: u32,
    /// Mean loss over the mini-batches during training, with dropout.
    pub running_loss: f64,
    /// Evaluation of the training set in predict mode, after the epoch.
    pub train: Evaluation,
    /// Evaluation of the test set in predict mode, after the epoch.
    pub test: Evaluation,
    /// Seconds of training, without evaluation.
    pub seconds: f64,
    /// Number of rows trained on.
    pub images: usize,
}

impl Report {
    fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds
    }

    /// Returns the summary as JSON.
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

    /// Formats the summary as a row under [`HEADS`].
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
