//! The passes over a mini-batch: forward, loss, backward.

use super::convolution::{Convolutions, Spaces};
use super::layer::Layer;
use super::norm::{BatchNormPlace, MOMENTUM, Norm};
use super::resident::Resident;
use super::workspace::Workspace;
use crate::backend::Backend;
use crate::call::{
    BatchLoss, BatchNorm, BatchNormGrad, BatchStatistics, EPSILON, Gather, GradInput,
    LinearForward, SoftmaxCrossEntropy,
};
use crate::{Dropout, Result};

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
    if let (Some(front), Some(spaces)) = (front, &mut workspace.front) {
        front.forward(backend, spaces, &mut workspace.x, site(0))?;
    }
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
