//! Prediction: plain forward passes without randomness.

use super::network::Mlp;
use super::pass::{Input, forward, loss};
use super::resident::Resident;
use super::wait::{Wait, blocking};
use crate::backend::Backend;
use crate::{Dropout, Result};

/// Number of rows that a prediction takes at a time.
pub(super) const BATCH: usize = 256;

/// Loss and error on a whole data set, in predict mode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Mean cross-entropy per row, in nats.
    pub loss: f64,
    /// Rows whose largest logit is not the label's, in percent.
    pub error: f64,
}

impl<B: Backend> Mlp<B> {
    /// Returns the class probabilities `[rows, classes]` of `x [rows, inputs]`, row-major.
    /// Prediction takes no seed, because nothing in it is random: inverted dropout does nothing,
    /// and vanilla dropout multiplies by the keep rate wherever training dropped.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if `x` is not a whole number of rows.
    pub fn predict(&mut self, x: &[f32]) -> Result<Vec<f32>> {
        let labels = vec![0; x.len() / self.features()];
        self.workspaces.forget_given();
        let data = self.give(x, &labels)?;
        self.predict_on(&data)
    }

    /// [`predict`](Self::predict) without blocking, as [`Backend::read_async`].
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub async fn predict_async(&mut self, x: &[f32]) -> Result<Vec<f32>> {
        let labels = vec![0; x.len() / self.features()];
        self.workspaces.forget_given();
        let data = self.give(x, &labels)?;
        self.probabilities(&data, Wait::Yield).await
    }

    /// Returns the class probabilities of data on the device.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for data of another width.
    pub fn predict_on(&mut self, data: &Resident<B>) -> Result<Vec<f32>> {
        blocking(self.probabilities(data, Wait::Block))
    }

    /// [`predict_on`](Self::predict_on) without blocking, as [`Backend::read_async`].
    ///
    /// # Errors
    /// As [`predict_on`](Self::predict_on).
    pub async fn predict_on_async(&mut self, data: &Resident<B>) -> Result<Vec<f32>> {
        self.probabilities(data, Wait::Yield).await
    }

    async fn probabilities(&mut self, data: &Resident<B>, wait: Wait) -> Result<Vec<f32>> {
        let architecture = self.architecture.clone();
        let mut logits =
            self.logits(data, |layer| architecture.prediction_site(layer), wait).await?;
        softmax(&mut logits, architecture.classes);
        Ok(logits)
    }

    /// Returns the loss and the error on a whole data set, in predict mode; reads back once.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for data of another width.
    pub fn evaluate(&mut self, data: &Resident<B>) -> Result<Evaluation> {
        blocking(self.evaluation(data, Wait::Block))
    }

    /// [`evaluate`](Self::evaluate) without blocking, as [`Backend::read_async`].
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub async fn evaluate_async(&mut self, data: &Resident<B>) -> Result<Evaluation> {
        self.evaluation(data, Wait::Yield).await
    }

    async fn evaluation(&mut self, data: &Resident<B>, wait: Wait) -> Result<Evaluation> {
        self.check_data(data)?;
        let slots = data.rows().div_ceil(BATCH);
        let mut totals = self.totals(slots)?;
        self.workspaces.forget_given();
        let architecture = &self.architecture;
        let norm = self.batch_norm().is_some();
        let site = |layer: usize| architecture.prediction_site(layer);
        for (slot, first) in (0..data.rows()).step_by(BATCH).enumerate() {
            let rows = BATCH.min(data.rows() - first);
            let workspace = self.workspaces.get(
                &mut self.backend,
                rows,
                &architecture.widths(),
                self.front.as_ref(),
                norm,
                false,
            )?;
            let input =
                Input { data, order: None, first, front: self.front.as_ref(), training: false };
            forward(&mut self.backend, &mut self.layers, workspace, input, &site)?;
            loss(&mut self.backend, workspace, &mut totals, slot, rows)?;
            wait.submit(&mut self.backend).await?;
        }
        let sums = wait.read(&mut self.backend, &totals).await?;
        self.workspaces.totals = Some(totals);
        let sum = |column: usize| {
            sums.chunks(2).take(slots).map(|row| f64::from(row[column])).sum::<f64>()
                / data.rows() as f64
        };
        Ok(Evaluation { loss: sum(0), error: 100.0 * (1.0 - sum(1)) })
    }

    /// Returns the logits of all rows; `site` returns the dropout of each site.
    async fn logits(
        &mut self,
        data: &Resident<B>,
        site: impl Fn(usize) -> Dropout,
        wait: Wait,
    ) -> Result<Vec<f32>> {
        self.check_data(data)?;
        let norm = self.batch_norm().is_some();
        let mut logits = Vec::with_capacity(data.rows() * self.architecture.classes);
        for first in (0..data.rows()).step_by(BATCH) {
            let rows = BATCH.min(data.rows() - first);
            let workspace = self.workspaces.get(
                &mut self.backend,
                rows,
                &self.architecture.widths(),
                self.front.as_ref(),
                norm,
                false,
            )?;
            let input =
                Input { data, order: None, first, front: self.front.as_ref(), training: false };
            forward(&mut self.backend, &mut self.layers, workspace, input, &site)?;
            if let Some(last) = workspace.outputs.last() {
                logits.extend(wait.read(&mut self.backend, last).await?);
            }
        }
        Ok(logits)
    }
}

/// Applies softmax to each row in place. The largest logit is subtracted first, so that nothing
/// overflows.
fn softmax(logits: &mut [f32], classes: usize) {
    for row in logits.chunks_mut(classes) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps: Vec<f64> = row.iter().map(|&z| f64::from(z - largest).exp()).collect();
        let sum: f64 = exps.iter().sum();
        row.iter_mut().zip(exps).for_each(|(p, e)| *p = (e / sum) as f32);
    }
}
