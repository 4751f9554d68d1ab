//! Data-parallel training: each process takes a shard of every mini-batch, the gradients are summed
//! over all processes, and each process updates its replica.
//!
//! A mask depends on the row's position in the whole mini-batch, so the shards together draw the
//! mask of the whole to the bit. The loss is the mean over the whole mini-batch. The only
//! difference from a single process is the order in which sums over rows are added. The caller
//! provides the sum over shards: over MPI, threads, or a loop.

use super::network::Mlp;
use super::pass::{Input, backward, forward, loss};
use super::resident::Resident;
use super::training::{Epoch, Training};
use super::wait::{Wait, blocking};
use crate::backend::Backend;
use crate::{Error, Result};
use std::ops::Range;

/// Position of a process among those that train together: `index` of `count`, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Index of this process.
    pub index: usize,
    /// Number of processes.
    pub count: usize,
}

impl Shard {
    /// Returns the rows of a mini-batch of `batch` rows that this process takes: a contiguous
    /// range. The lengths of any two processes' ranges differ by at most one; with fewer rows than
    /// processes, some are empty.
    pub fn rows(self, batch: usize) -> Range<usize> {
        // Computed in u128, so that no product overflows.
        let edge =
            |index: usize| (batch as u128 * index as u128 / self.count.max(1) as u128) as usize;
        edge(self.index)..edge(self.index + 1)
    }

    fn check(self) -> Result<()> {
        if self.index < self.count {
            Ok(())
        } else {
            Err(Error::invalid(format!(
                "shard {} of {}: the index must be smaller than the number of shards",
                self.index, self.count
            )))
        }
    }
}

/// One shard's share of a training step. The sum over all shards is that of the whole mini-batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// This shard's part of the derivative of the mini-batch's mean loss with respect to each
    /// parameter: `dW [in, out]` and `db [out]` of each layer, in order. Two sums follow: the
    /// losses of the shard's rows, divided by the number of rows of the mini-batch, and the number
    /// of correct rows.
    pub values: Vec<f32>,
}

impl Gradients {
    /// Returns the mean loss, as trained.
    pub fn loss(&self) -> f32 {
        self.values.iter().rev().nth(1).copied().unwrap_or(f32::NAN)
    }

    /// Returns the number of rows whose largest logit was the label's, as trained.
    pub fn right(&self) -> f32 {
        self.values.last().copied().unwrap_or(f32::NAN)
    }
}

impl<B: Backend> Mlp<B> {
    /// Runs the forward and backward pass of a shard, without an update. `x [rows, inputs]` and
    /// `labels` are the shard's rows; the first is row `first` of a mini-batch of `batch` rows in
    /// all. Of the settings, only the drop rates' schedule has an effect. Reads the gradients back.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` and `labels` do not match or the rows exceed the mini-batch;
    /// [`Error::Invalid`] for a label past the classes or for meaningless settings.
    pub fn gradients(
        &mut self,
        x: &[f32],
        labels: &[u32],
        first: usize,
        batch: usize,
        training: &Training,
    ) -> Result<Gradients> {
        blocking(self.gradients_on(x, labels, first, batch, training, Wait::Block))
    }

    /// [`gradients`](Self::gradients) without blocking, as [`Backend::read_async`].
    ///
    /// # Errors
    /// As [`gradients`](Self::gradients).
    pub async fn gradients_async(
        &mut self,
        x: &[f32],
        labels: &[u32],
        first: usize,
        batch: usize,
        training: &Training,
    ) -> Result<Gradients> {
        self.gradients_on(x, labels, first, batch, training, Wait::Yield).await
    }

    async fn gradients_on(
        &mut self,
        x: &[f32],
        labels: &[u32],
        first: usize,
        batch: usize,
        training: &Training,
        wait: Wait,
    ) -> Result<Gradients> {
        self.check_training(training)?;
        self.check_shards()?;
        if labels.is_empty() && x.is_empty() {
            return Ok(self.no_gradients());
        }
        let given = self.give(x, labels)?;
        let rows = first..first.saturating_add(labels.len());
        let gradients = self.gradients_of(&given, None, 0, rows, batch, training, wait).await;
        // `loss` reports the loss of a whole mini-batch, which this is not.
        self.workspaces.forget_given();
        gradients
    }

    /// Makes the update of a step from the gradients of the whole mini-batch: the sum of all
    /// shards' gradients.
    ///
    /// # Errors
    /// [`Error::Shape`] for gradients of another network; [`Error::Invalid`] for meaningless
    /// settings.
    pub fn apply_gradients(&mut self, gradients: &Gradients, training: &Training) -> Result<()> {
        blocking(self.update_by(gradients, training, Wait::Block))
    }

    /// [`apply_gradients`](Self::apply_gradients) without blocking if the device lags behind, as
    /// [`Backend::read_async`].
    ///
    /// # Errors
    /// As [`apply_gradients`](Self::apply_gradients).
    pub async fn apply_gradients_async(
        &mut self,
        gradients: &Gradients,
        training: &Training,
    ) -> Result<()> {
        self.update_by(gradients, training, Wait::Yield).await
    }

    async fn update_by(
        &mut self,
        gradients: &Gradients,
        training: &Training,
        wait: Wait,
    ) -> Result<()> {
        self.check_training(training)?;
        self.check_shards()?;
        let expected = self.parameter_count() + 2;
        if gradients.values.len() != expected {
            return Err(Error::shape(
                "gradients",
                format!("{} values, but the network has {expected}", gradients.values.len()),
            ));
        }
        let mut rest = gradients.values.as_slice();
        for layer in &mut self.layers {
            layer.prepare_gradient(&mut self.backend)?;
            layer.prepare_moments(&mut self.backend, training)?;
            let Some((weight, bias)) = &mut layer.grad else { continue };
            for tensor in [weight, bias] {
                let (values, after) =
                    rest.split_at(crate::Matrix::rows(tensor) * crate::Matrix::cols(tensor));
                self.backend.write(tensor, values)?;
                rest = after;
            }
        }
        let update = training.update(self.step);
        for layer in &mut self.layers {
            layer.apply(&mut self.backend, &update)?;
        }
        wait.submit(&mut self.backend).await?;
        self.training = Some(*training);
        self.step = self.step.wrapping_add(1);
        Ok(())
    }

    /// Makes one pass over the data as process `shard.index` of `shard.count`. Every process must
    /// call this with the same network, data and settings. `all_reduce` must replace the given
    /// numbers with their sums over all processes. It is called once per mini-batch, with the same
    /// number of values in every process.
    ///
    /// # Errors
    /// As [`train_epoch`](Self::train_epoch); [`Error::Invalid`] for a shard index of `count` or
    /// more; any error of `all_reduce`.
    pub fn train_epoch_sharded(
        &mut self,
        data: &Resident<B>,
        training: &Training,
        shard: Shard,
        mut all_reduce: impl FnMut(&mut [f32]) -> Result<()>,
    ) -> Result<Epoch> {
        blocking(self.epoch_of_shard(
            data,
            training,
            shard,
            async |sums: &mut [f32]| all_reduce(sums),
            Wait::Block,
        ))
    }

    /// [`train_epoch_sharded`](Self::train_epoch_sharded) without blocking, as
    /// [`Backend::read_async`]; `all_reduce` is awaited.
    ///
    /// # Errors
    /// As [`train_epoch_sharded`](Self::train_epoch_sharded).
    pub async fn train_epoch_sharded_async(
        &mut self,
        data: &Resident<B>,
        training: &Training,
        shard: Shard,
        all_reduce: impl AsyncFnMut(&mut [f32]) -> Result<()>,
    ) -> Result<Epoch> {
        self.epoch_of_shard(data, training, shard, all_reduce, Wait::Yield).await
    }

    async fn epoch_of_shard(
        &mut self,
        data: &Resident<B>,
        training: &Training,
        shard: Shard,
        mut all_reduce: impl AsyncFnMut(&mut [f32]) -> Result<()>,
        wait: Wait,
    ) -> Result<Epoch> {
        self.check_training(training)?;
        self.check_shards()?;
        shard.check()?;
        self.check_data(data)?;
        self.workspaces.forget_given();
        let order = training.shuffle.then(|| self.order(data.rows())).transpose()?;
        let mut losses = Vec::new();
        let mut right = 0;
        for start in (0..data.rows()).step_by(training.batch) {
            let batch = training.batch.min(data.rows() - start);
            let rows = shard.rows(batch);
            let mut gradients = if rows.is_empty() {
                self.no_gradients()
            } else {
                self.gradients_of(
                    data,
                    order.as_ref(),
                    start + rows.start,
                    rows,
                    batch,
                    training,
                    wait,
                )
                .await?
            };
            all_reduce(&mut gradients.values).await?;
            self.update_by(&gradients, training, wait).await?;
            losses.push(gradients.loss());
            right += gradients.right() as u64;
        }
        self.workspaces.order = order;
        self.epoch += 1;
        Epoch::of(self.epoch, losses, right)
    }

    /// Returns the gradients of `rows` of a mini-batch of `batch` rows, which start at position
    /// `first` of the order.
    #[allow(clippy::too_many_arguments)]
    async fn gradients_of(
        &mut self,
        data: &Resident<B>,
        order: Option<&B::Tensor<u32>>,
        first: usize,
        rows: Range<usize>,
        batch: usize,
        training: &Training,
        wait: Wait,
    ) -> Result<Gradients> {
        if rows.end > batch {
            return Err(Error::shape(
                "network",
                format!("rows {} to {} of a mini-batch of {batch}", rows.start, rows.end),
            ));
        }
        let mut totals = self.totals(1)?;
        let Self { backend, architecture, layers, step, workspaces, .. } = self;
        let site = |layer: usize| {
            let dropout = architecture.training_site(layer, *step, &training.schedules);
            crate::Dropout { mask: dropout.mask.at(rows.start as u64, 0), ..dropout }
        };
        for layer in layers.iter_mut() {
            layer.prepare_gradient(backend)?;
        }
        let workspace =
            workspaces.get(backend, rows.len(), &architecture.widths(), None, false, true)?;
        forward(
            backend,
            layers,
            workspace,
            Input { data, order, first, front: None, training: true },
            &site,
        )?;
        loss(backend, workspace, &mut totals, 0, batch)?;
        backward(backend, layers, workspace, &site, |backend, layer, x, grad_z| {
            layer.gradient(backend, x, grad_z)
        })?;
        let tensors =
            layers.iter().flat_map(|layer| &layer.grad).flat_map(|(weight, bias)| [weight, bias]);
        let mut parts =
            wait.read_all(backend, &tensors.chain([&totals]).collect::<Vec<_>>()).await?;
        let sums = parts.pop().unwrap_or_default();
        parts.push(sums.iter().zip([batch as f32, 1.0]).map(|(sum, over)| sum / over).collect());
        self.workspaces.totals = Some(totals);
        Ok(Gradients { values: parts.concat() })
    }

    /// Refuses a network with batch normalization, which requires the whole mini-batch in one
    /// place.
    fn check_shards(&self) -> Result<()> {
        match self.batch_norm() {
            Some(_) => Err(Error::invalid(
                "batch normalization requires the statistics of a whole mini-batch, which a shard does not have",
            )),
            None => Ok(()),
        }
    }

    fn no_gradients(&self) -> Gradients {
        Gradients { values: vec![0.0; self.parameter_count() + 2] }
    }

    fn parameter_count(&self) -> usize {
        self.architecture.widths().windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum()
    }
}
