//! Training: each step is one command buffer and one submit, and nothing is read back within an
//! epoch.

use super::network::Mlp;
use super::pass::{Input, backward, forward, loss};
use super::resident::{Resident, Source};
use super::training::{Epoch, Training};
use super::wait::{Wait, blocking};
use crate::backend::Backend;
use crate::shape::Matrix;
use crate::{Error, Result, init};

impl<B: Backend> Mlp<B> {
    /// Makes one update on a mini-batch from the host: `x [rows, inputs]`, row-major,
    /// `labels [rows]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` and `labels` do not match; [`Error::Invalid`] for a label past the
    /// classes or for meaningless settings.
    pub fn train_step(&mut self, x: &[f32], labels: &[u32], training: &Training) -> Result<()> {
        self.step_on_given(x, labels, training)?;
        self.backend.submit()
    }

    /// [`train_step`](Self::train_step) without blocking if the device lags behind, as
    /// [`Backend::read_async`].
    ///
    /// # Errors
    /// As [`train_step`](Self::train_step).
    pub async fn train_step_async(
        &mut self,
        x: &[f32],
        labels: &[u32],
        training: &Training,
    ) -> Result<()> {
        self.step_on_given(x, labels, training)?;
        self.backend.submit_async().await
    }

    fn step_on_given(&mut self, x: &[f32], labels: &[u32], training: &Training) -> Result<()> {
        self.check_training(training)?;
        let given = self.give(x, labels)?;
        self.training = Some(*training);
        let result = self.totals(1).and_then(|mut totals| {
            let result = self.step_on(&given, None, 0, labels.len(), training, &mut totals, 0);
            self.workspaces.totals = Some(totals);
            result
        });
        self.workspaces.given = Some(given);
        result
    }

    /// Returns the mean loss of the latest [`train_step`](Self::train_step), as trained; reads one
    /// number back. `None` before the first step.
    ///
    /// # Errors
    /// [`Error::Device`] if the device was lost.
    pub fn loss(&mut self) -> Result<Option<f32>> {
        blocking(self.loss_of_step(Wait::Block))
    }

    /// [`loss`](Self::loss) without blocking, as [`Backend::read_async`].
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    pub async fn loss_async(&mut self) -> Result<Option<f32>> {
        self.loss_of_step(Wait::Yield).await
    }

    async fn loss_of_step(&mut self, wait: Wait) -> Result<Option<f32>> {
        let (Some(totals), Some(given)) = (&self.workspaces.totals, &self.workspaces.given) else {
            return Ok(None);
        };
        let totals = wait.read(&mut self.backend, totals).await?;
        Ok(Some(totals[0] / given.rows() as f32))
    }

    /// Makes one pass over the data in mini-batches, with an update for each.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a loss is not finite; [`Error::Shape`] for data of another width;
    /// [`Error::Invalid`] for meaningless settings.
    pub fn train_epoch(&mut self, data: &Resident<B>, training: &Training) -> Result<Epoch> {
        self.train_epoch_with(data, training, |_| {})
    }

    /// As [`train_epoch`](Self::train_epoch); calls `progress` after each mini-batch with the
    /// number submitted so far.
    ///
    /// # Errors
    /// As [`train_epoch`](Self::train_epoch).
    pub fn train_epoch_with(
        &mut self,
        data: &Resident<B>,
        training: &Training,
        progress: impl FnMut(usize),
    ) -> Result<Epoch> {
        blocking(self.epoch_on(data, training, progress, Wait::Block))
    }

    /// [`train_epoch`](Self::train_epoch) without blocking, as [`Backend::read_async`].
    ///
    /// # Errors
    /// As [`train_epoch`](Self::train_epoch).
    pub async fn train_epoch_async(
        &mut self,
        data: &Resident<B>,
        training: &Training,
    ) -> Result<Epoch> {
        self.epoch_on(data, training, |_| {}, Wait::Yield).await
    }

    async fn epoch_on(
        &mut self,
        data: &Resident<B>,
        training: &Training,
        mut progress: impl FnMut(usize),
        wait: Wait,
    ) -> Result<Epoch> {
        self.check_training(training)?;
        self.check_data(data)?;
        self.training = Some(*training);
        self.workspaces.forget_given();
        let steps = data.rows().div_ceil(training.batch);
        let mut totals = self.totals(steps)?;
        let order = training.shuffle.then(|| self.order(data.rows())).transpose()?;
        for step in 0..steps {
            let first = step * training.batch;
            let rows = training.batch.min(data.rows() - first);
            self.step_on(data, order.as_ref(), first, rows, training, &mut totals, step)?;
            wait.submit(&mut self.backend).await?;
            progress(step + 1);
        }
        let sums = wait.read(&mut self.backend, &totals).await?;
        self.workspaces.totals = Some(totals);
        self.workspaces.order = order;
        self.epoch += 1;
        let rows_of = |step: usize| training.batch.min(data.rows() - step * training.batch) as f32;
        let sums = &sums[..2 * steps];
        let losses = sums.chunks(2).enumerate().map(|(step, sum)| sum[0] / rows_of(step)).collect();
        Epoch::of(
            self.epoch,
            losses,
            sums.chunks(2).map(|sum| f64::from(sum[1])).sum::<f64>() as u64,
        )
    }

    /// Uploads a mini-batch from the host, reusing the device's memory if the size allows.
    pub(super) fn give(&mut self, x: &[f32], labels: &[u32]) -> Result<Resident<B>> {
        let inputs = self.features();
        if x.len() != labels.len() * inputs || labels.is_empty() {
            return Err(Error::shape(
                "network",
                format!("{} features for {} rows of {inputs}", x.len(), labels.len()),
            ));
        }
        if let Some(label) =
            labels.iter().find(|&&label| label as usize >= self.architecture.classes)
        {
            return Err(Error::invalid(format!(
                "label {label}: the network has classes 0 to {}",
                self.architecture.classes - 1
            )));
        }
        match self.workspaces.given.take() {
            Some(mut given) if given.rows() == labels.len() => {
                given.rewrite(&mut self.backend, x, labels)?;
                Ok(given)
            }
            _ => Resident::new(&mut self.backend, Source::Floats(x), inputs, 1.0, labels),
        }
    }

    /// Returns the number of features per row of the data.
    pub(super) fn features(&self) -> usize {
        self.front
            .as_ref()
            .map_or(self.architecture.inputs, |convolutions| convolutions.front.image.elements())
    }

    /// Checks that the network can take the data.
    pub(super) fn check_data(&self, data: &Resident<B>) -> Result<()> {
        if data.cols() != self.features() {
            let what = format!(
                "the data has {} features per row, the network {} inputs",
                data.cols(),
                self.features()
            );
            return Err(Error::shape("network", what));
        }
        if data.rows() == 0 {
            return Err(Error::shape("network", "the data has no rows".to_owned()));
        }
        Ok(())
    }

    /// Returns a tensor for the sums of `slots` or more mini-batches.
    pub(super) fn totals(&mut self, slots: usize) -> Result<B::Tensor<f32>> {
        match self.workspaces.totals.take() {
            Some(totals) if totals.rows() >= slots => Ok(totals),
            _ => self.backend.zeros(slots, 2),
        }
    }

    pub(super) fn order(&mut self, rows: usize) -> Result<B::Tensor<u32>> {
        let order = init::shuffle(self.architecture.seed, self.epoch, rows as u32);
        match self.workspaces.order.take() {
            Some(mut tensor) if tensor.rows() == rows => {
                self.backend.write(&mut tensor, &order)?;
                Ok(tensor)
            }
            _ => self.backend.tensor(rows, 1, &order),
        }
    }

    /// Records a whole step for one submit: gather, forward pass, loss, backward pass, update.
    #[allow(clippy::too_many_arguments)]
    fn step_on(
        &mut self,
        data: &Resident<B>,
        order: Option<&B::Tensor<u32>>,
        first: usize,
        rows: usize,
        training: &Training,
        totals: &mut B::Tensor<f32>,
        slot: usize,
    ) -> Result<()> {
        let norm = self.batch_norm().is_some();
        let Self { backend, architecture, layers, front, step, workspaces, .. } = self;
        let update = training.update(*step);
        let site = |layer: usize| architecture.training_site(layer, *step, &training.schedules);
        let filters = front.iter_mut().flat_map(|front| front.layers.iter_mut().flatten());
        for layer in filters.chain(layers.iter_mut()) {
            layer.prepare(backend, training)?;
        }
        let workspace =
            workspaces.get(backend, rows, &architecture.widths(), front.as_ref(), norm, true)?;
        forward(
            backend,
            layers,
            workspace,
            Input { data, order, first, front: front.as_ref(), training: true },
            &site,
        )?;
        loss(backend, workspace, totals, slot, rows)?;
        backward(backend, layers, workspace, &site, |backend, layer, x, grad_z| {
            layer.update(backend, x, grad_z, &update)
        })?;
        if let (Some(front), Some(spaces)) = (front, &mut workspace.front) {
            front.backward(backend, spaces, &update)?;
        }
        *step = step.wrapping_add(1);
        Ok(())
    }
}
