//! Training: each step is one command buffer and one submit, and nothing is read back within an
//! epoch.

use super::convolution::{Convolutions, Spaces};
use super::network::{Layer, Mlp};
use super::norm::{BatchNormPlace, MOMENTUM, Norm};
use super::optimizer::{Optimizer, Update};
use super::resident::{Resident, Source};
use super::schedule::Schedules;
use super::wait::{Wait, blocking};
use super::workspace::{Workspace, Workspaces};
use crate::backend::Backend;
use crate::call::{
    BatchLoss, BatchNorm, BatchNormGrad, BatchStatistics, EPSILON, Gather, GradInput, GradWeight,
    GradWeightSgd, LinearForward, SgdRule, SoftmaxCrossEntropy,
};
use crate::shape::Matrix;
use crate::{Dropout, Error, Result, init};

/// Settings of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training {
    /// Rows per mini-batch. The last one of an epoch may be smaller and is trained on too.
    pub batch: usize,
    /// True if each epoch visits the rows in an order of its own ([`init::shuffle`]); false if in
    /// the order of the data.
    pub shuffle: bool,
    /// Update rule.
    pub rule: SgdRule,
    /// Schedules of the learning rate, momentum and drop rates over the run.
    pub schedules: Schedules,
    /// Optimizer, which turns gradients into updates.
    pub optimizer: Optimizer,
}

impl Default for Training {
    fn default() -> Self {
        let rule = SgdRule { momentum: 0.9, ..SgdRule::plain(0.05) };
        Self {
            batch: 64,
            shuffle: true,
            rule,
            schedules: Schedules::default(),
            optimizer: Optimizer::Sgd,
        }
    }
}

impl Training {
    /// Checks that the settings are meaningful.
    ///
    /// # Errors
    /// [`Error::Invalid`], which names the setting and its range.
    pub fn check(&self) -> Result<()> {
        let SgdRule { lr, momentum, weight_decay, l1, max_norm } = self.rule;
        let fail = |what: String| Err(Error::invalid(what));
        if self.batch == 0 || self.batch > u32::MAX as usize {
            return fail(format!("batch {}: must be 1 to {}", self.batch, u32::MAX));
        }
        for (name, value) in [
            ("learning rate", lr),
            ("momentum", momentum),
            ("weight decay", weight_decay),
            ("L1 penalty", l1),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return fail(format!("{name} {value}: must be 0 or a positive number"));
            }
        }
        match max_norm {
            Some(norm) if !(norm.is_finite() && norm > 0.0) => {
                fail(format!("max-norm {norm}: must be a positive number"))
            }
            _ => self.optimizer.check(&self.rule).and_then(|()| self.schedules.check()),
        }
    }
}

/// Summary of one training epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Epoch {
    /// Mean loss of each mini-batch as trained, dropout included, in order.
    pub losses: Vec<f32>,
    /// Number of rows whose largest logit was the label's, as trained.
    pub right: u64,
    /// Mean of `losses`.
    pub running_loss: f64,
}

impl Epoch {
    /// Summarizes the mini-batches of epoch `epoch`; an error if one of them diverged.
    pub(super) fn of(epoch: u32, losses: Vec<f32>, right: u64) -> Result<Self> {
        if let Some(&loss) = losses.iter().find(|loss| !loss.is_finite()) {
            return Err(Error::Diverged { epoch, loss });
        }
        let running_loss =
            losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64;
        Ok(Self { losses, right, running_loss })
    }
}

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
        front.as_mut().map_or(Ok(()), |front| front.backward(backend, workspace, &update))?;
        *step = step.wrapping_add(1);
        Ok(())
    }
}

impl<B: Backend> Layer<B> {
    /// Allocates the memory that only training needs.
    fn prepare(&mut self, backend: &mut B, training: &Training) -> Result<()> {
        if training.stores_gradients() {
            self.prepare_gradient(backend)?;
        }
        self.prepare_moments(backend, training)
    }

    /// Allocates the gradients, if they are not there yet.
    pub(super) fn prepare_gradient(&mut self, backend: &mut B) -> Result<()> {
        if self.grad.is_none() {
            self.grad = Some(self.zeros(backend)?);
        }
        Ok(())
    }

    /// Allocates the velocities if the rule has momentum, or AdamW's moments.
    pub(super) fn prepare_moments(&mut self, backend: &mut B, training: &Training) -> Result<()> {
        let [first, second] = training.moments();
        if first && self.velocity.is_none() {
            self.velocity = Some(self.zeros(backend)?);
        }
        if second && self.second.is_none() {
            self.second = Some(self.zeros(backend)?);
        }
        self.norm.as_mut().map_or(Ok(()), |norm| norm.prepare(backend, training))
    }

    fn zeros(&self, backend: &mut B) -> Result<(B::Tensor<f32>, B::Tensor<f32>)> {
        Ok((
            backend.zeros(self.weight.rows(), self.weight.cols())?,
            backend.zeros(1, self.weight.cols())?,
        ))
    }

    /// Updates `W`, `b` and their moments by the gradients of `X` and `dZ`, and γ and β by their
    /// own stored gradients.
    pub(super) fn update(
        &mut self,
        backend: &mut B,
        x: &B::Tensor<f32>,
        grad_z: &B::Tensor<f32>,
        update: &Update,
    ) -> Result<()> {
        if update.stores_gradients() {
            self.gradient(backend, x, grad_z)?;
            return self.apply(backend, update);
        }
        let Self { weight, bias, velocity, norm, .. } = self;
        let velocity = velocity.as_mut().map(|(weight, bias)| (weight, bias));
        backend.run(GradWeightSgd { x, grad_z, weight, bias, velocity, rule: update.rule })?;
        norm.as_mut().map_or(Ok(()), |norm| norm.apply(backend, update))
    }

    /// Computes and stores the gradients of `X` and `dZ`.
    pub(super) fn gradient(
        &mut self,
        backend: &mut B,
        x: &B::Tensor<f32>,
        grad_z: &B::Tensor<f32>,
    ) -> Result<()> {
        let Some((grad_weight, grad_bias)) = &mut self.grad else { return Ok(()) };
        backend.run(GradWeight {
            x,
            grad_output: grad_z,
            output: None,
            grad_weight,
            grad_bias,
            dropout: Dropout::NONE,
        })
    }

    /// Updates `W`, `b` and their moments by the stored gradients.
    pub(super) fn apply(&mut self, backend: &mut B, update: &Update) -> Result<()> {
        let Self { weight, bias, grad: Some((grad_weight, grad_bias)), velocity, second, norm } =
            self
        else {
            return Ok(());
        };
        let (weight_first, bias_first) =
            velocity.as_mut().map(|(weight, bias)| (weight, bias)).unzip();
        let (weight_second, bias_second) =
            second.as_mut().map(|(weight, bias)| (weight, bias)).unzip();
        update.apply(backend, grad_weight, weight, weight_first, weight_second)?;
        update.for_bias().apply(backend, grad_bias, bias, bias_first, bias_second)?;
        norm.as_mut().map_or(Ok(()), |norm| norm.apply(backend, update))
    }
}

/// Rows that a pass takes.
pub(super) struct Input<'a, B: Backend> {
    pub data: &'a Resident<B>,
    /// Order in which they are visited; `None` for the order of the data.
    pub order: Option<&'a B::Tensor<u32>>,
    /// Position in the order at which they start.
    pub first: usize,
    /// Front before the layers.
    pub front: Option<&'a Convolutions<B>>,
    /// True if batch normalization uses the statistics of these rows, false for the running ones.
    pub training: bool,
}

/// Gathers a mini-batch and runs the forward pass; `site` returns the dropout of each site.
pub(super) fn forward<B: Backend>(
    backend: &mut B,
    layers: &mut [Layer<B>],
    workspace: &mut Workspace<B>,
    input: Input<'_, B>,
    site: &impl Fn(usize) -> Dropout,
) -> Result<()> {
    let Input { data, order, first, front, training } = input;
    // Behind a front, the input dropout applies to its features, not to the images.
    let (x, dropout) = match &mut workspace.front {
        Some(spaces) => (&mut spaces.images, Dropout::NONE),
        None => (&mut workspace.x, site(0)),
    };
    backend.run(Gather {
        data: data.features(),
        all_labels: &data.labels,
        order: order.unwrap_or(&data.order),
        first,
        unit: data.unit,
        x,
        labels: &mut workspace.labels,
        dropout,
    })?;
    front.map_or(Ok(()), |front| front.forward(backend, workspace, site(0)))?;
    let last = layers.len() - 1;
    for (index, layer) in layers.iter_mut().enumerate() {
        let (before, after) = workspace.outputs.split_at_mut(index);
        let weight = &layer.weight;
        let bias = Some(&layer.bias);
        let output = &mut after[0];
        let x = before.last().unwrap_or(&workspace.x);
        let dropout = if index == last { Dropout::NONE } else { site(index + 1) };
        let Some(norm) = &mut layer.norm else {
            backend.run(LinearForward {
                x,
                weight,
                bias,
                y: output,
                relu: index < last,
                dropout,
            })?;
            continue;
        };
        // ReLU and dropout follow whichever of the product and the normalization comes last.
        let normalized_first = norm.place == BatchNormPlace::Before;
        let entering = &mut workspace.entering[index];
        let (here, there) =
            if normalized_first { (Dropout::NONE, dropout) } else { (dropout, Dropout::NONE) };
        backend.run(LinearForward {
            x,
            weight,
            bias,
            y: &mut *entering,
            relu: !normalized_first,
            dropout: here,
        })?;
        if training {
            let Norm { statistics, running, .. } = norm;
            backend.run(BatchStatistics {
                x: &*entering,
                statistics,
                running,
                momentum: MOMENTUM,
            })?;
        }
        backend.run(BatchNorm {
            x: &*entering,
            statistics: if training { &norm.statistics } else { &norm.running },
            affine: &norm.affine,
            y: output,
            epsilon: EPSILON,
            relu: normalized_first,
            dropout: there,
        })?;
    }
    Ok(())
}

/// Computes the losses and the numbers of correct rows, sums them into row `slot` of `totals`, and
/// computes the gradient of the mean of `batch` losses with respect to the logits.
pub(super) fn loss<B: Backend>(
    backend: &mut B,
    workspace: &mut Workspace<B>,
    totals: &mut B::Tensor<f32>,
    slot: usize,
    batch: usize,
) -> Result<()> {
    let Some(logits) = workspace.outputs.last() else { return Ok(()) };
    backend.run(SoftmaxCrossEntropy {
        logits,
        labels: &workspace.labels,
        grad_logits: &mut workspace.grad_logits,
        losses: &mut workspace.losses,
        batch,
    })?;
    backend.run(BatchLoss { losses: &workspace.losses, totals, slot })
}

/// Runs the backward pass from the last layer to the first, through the masks of the forward pass.
/// Once the gradient of a layer's input is computed, `then` receives the layer with its `X` and
/// `dZ`, to update it or to keep its gradients.
pub(super) fn backward<B: Backend>(
    backend: &mut B,
    layers: &mut [Layer<B>],
    workspace: &mut Workspace<B>,
    site: &impl Fn(usize) -> Dropout,
    mut then: impl FnMut(&mut B, &mut Layer<B>, &B::Tensor<f32>, &B::Tensor<f32>) -> Result<()>,
) -> Result<()> {
    for index in (0..layers.len()).rev() {
        let (below, above) = layers.split_at_mut(index);
        let layer = &mut above[0];
        // The gradient that arrives here is that of the layer's sum or, with normalization, of the
        // normalization's output. The last layer has neither ReLU nor dropout, and for any other
        // the next layer's `grad_input` has already passed back through this layer's ReLU and
        // dropout.
        let (before, after) = workspace.grads.split_at_mut(index);
        let mut grad_z = after.first().unwrap_or(&workspace.grad_logits);
        if let Some(norm) = &mut layer.norm {
            let x = &workspace.entering[index];
            let grad_x = &mut workspace.entering_grads[index];
            let Norm { statistics, affine, grad: grad_affine, .. } = norm;
            let through = (norm.place == BatchNormPlace::After).then(|| site(index + 1).scale);
            backend.run(BatchNormGrad {
                x,
                statistics: &*statistics,
                affine: &*affine,
                grad_y: grad_z,
                grad_affine,
                grad_x,
                epsilon: EPSILON,
                through,
            })?;
            grad_z = &workspace.entering_grads[index];
        }
        let x = if index == 0 { &workspace.x } else { &workspace.outputs[index - 1] };
        let of_features = workspace.front.as_mut().and_then(Spaces::grad_features);
        if let Some(grad_input) = before.last_mut().or(of_features) {
            // A normalization comes after its layer's ReLU, so there is none to pass back through
            // here.
            let after_norm = below
                .last()
                .and_then(|layer| layer.norm.as_ref())
                .is_some_and(|norm| norm.place == BatchNormPlace::After);
            let through = (!after_norm).then(|| (x, site(index).scale));
            backend.run(GradInput {
                grad_output: grad_z,
                output: None,
                weight: &layer.weight,
                grad_input,
                dropout: Dropout::NONE,
                through,
            })?;
        }
        then(backend, layer, x, grad_z)?;
    }
    Ok(())
}

impl<B: Backend> Workspaces<B> {
    /// Forgets the mini-batch from the host, so that [`Mlp::loss`] does not report another one's
    /// loss.
    pub(super) fn forget_given(&mut self) {
        self.given = None;
    }
}
