//! Activations and gradients of a mini-batch, allocated once for each number of rows and then
//! reused.

use super::convolution::{Convolutions, Spaces};
use super::resident::Resident;
use crate::Result;
use crate::backend::Backend;

/// Buffers that a pass over a mini-batch of a fixed number of rows writes.
#[derive(Debug)]
pub(super) struct Workspace<B: Backend> {
    rows: usize,
    /// `[rows, inputs]`, with the input dropout applied.
    pub x: B::Tensor<f32>,
    pub labels: B::Tensor<u32>,
    /// Output of each layer, `[rows, width]`; the last are the logits.
    pub outputs: Vec<B::Tensor<f32>>,
    /// Gradients of the outputs; the first training step allocates those of the hidden layers.
    pub grads: Vec<B::Tensor<f32>>,
    pub grad_logits: B::Tensor<f32>,
    /// Inputs of each hidden layer's normalization, and their gradients; empty without
    /// normalization.
    pub entering: Vec<B::Tensor<f32>>,
    pub entering_grads: Vec<B::Tensor<f32>>,
    /// `[rows, 2]`
    pub losses: B::Tensor<f32>,
    /// Buffers of a convolutional front, whose features are `x`; `None` without a front.
    pub front: Option<Spaces<B>>,
}

/// Buffers that a network keeps between passes, besides its parameters.
#[derive(Debug)]
pub(super) struct Workspaces<B: Backend> {
    made: Vec<Workspace<B>>,
    /// Loss and number of correct rows of each mini-batch.
    pub totals: Option<B::Tensor<f32>>,
    /// Order of the rows in an epoch.
    pub order: Option<B::Tensor<u32>>,
    /// A mini-batch from the host.
    pub given: Option<Resident<B>>,
}

impl<B: Backend> Default for Workspaces<B> {
    fn default() -> Self {
        Self { made: Vec::new(), totals: None, order: None, given: None }
    }
}

impl<B: Backend> Workspaces<B> {
    /// Number of workspaces kept: a full and a last mini-batch for training, and the same for the
    /// evaluation of two sets.
    const KEPT: usize = 6;

    /// Returns the workspace for mini-batches of `rows` rows of a network of `widths`. If it is
    /// missing, it is allocated and the oldest one is dropped.
    pub fn get(
        &mut self,
        backend: &mut B,
        rows: usize,
        widths: &[usize],
        front: Option<&Convolutions<B>>,
        norm: bool,
        training: bool,
    ) -> Result<&mut Workspace<B>> {
        let index = match self.made.iter().position(|workspace| workspace.rows == rows) {
            Some(index) => index,
            None => {
                if self.made.len() == Self::KEPT {
                    self.made.remove(0);
                }
                self.made.push(Workspace::new(backend, rows, widths)?);
                self.made.len() - 1
            }
        };
        let workspace = &mut self.made[index];
        let hidden = |backend: &mut B| -> Result<Vec<_>> {
            widths[1..widths.len() - 1].iter().map(|&width| backend.zeros(rows, width)).collect()
        };
        if training && workspace.grads.is_empty() {
            workspace.grads = hidden(backend)?;
        }
        if norm && workspace.entering.is_empty() {
            workspace.entering = hidden(backend)?;
        }
        if norm && training && workspace.entering_grads.is_empty() {
            workspace.entering_grads = hidden(backend)?;
        }
        if let Some(front) = front {
            if workspace.front.is_none() {
                workspace.front = Some(front.spaces(backend, rows)?);
            }
            if let (Some(spaces), true) = (&mut workspace.front, training) {
                front.make_grads(backend, spaces)?;
            }
        }
        Ok(workspace)
    }

    /// Forgets the mini-batch from the host, so that [`Mlp::loss`](super::Mlp::loss) does not
    /// report another one's loss.
    pub fn forget_given(&mut self) {
        self.given = None;
    }
}

impl<B: Backend> Workspace<B> {
    fn new(backend: &mut B, rows: usize, widths: &[usize]) -> Result<Self> {
        let classes = widths[widths.len() - 1];
        Ok(Self {
            rows,
            x: backend.zeros(rows, widths[0])?,
            labels: backend.zeros(rows, 1)?,
            outputs: widths[1..]
                .iter()
                .map(|&width| backend.zeros(rows, width))
                .collect::<Result<_>>()?,
            grads: Vec::new(),
            entering: Vec::new(),
            entering_grads: Vec::new(),
            grad_logits: backend.zeros(rows, classes)?,
            losses: backend.zeros(rows, 2)?,
            front: None,
        })
    }
}
