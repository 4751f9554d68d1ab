//! The CPU backend: the default where there is no adapter, and the reference that everything is
//! compared with.
//!
//! Both draw the same bits. [`fast`] uses all threads and the processor's vector units;
//! [`mod@reference`] is one readable twin a shader.

pub mod fast;
pub mod reference;

use crate::backend::{Backend, Counts, Element, check_len};
use crate::call::{
    ActivationGrad, AdamW, AlphaDropoutCall, BatchLoss, BatchNorm, BatchNormGrad, BatchStatistics,
    DropoutBits, DropoutBroadcast, DropoutCall, Features, Gather, GaussianDropoutCall, GradInput,
    GradWeight, GradWeightSgd, LinearActivation, LinearForward, MaskBits, MaskBytes, Moments,
    Patches, PatchesGrad, PoolCall, PoolGrad, Sgd, SoftmaxCrossEntropy, SparsityGrad, SquaredError,
    Subnetworks,
};
use crate::shape::{Matrix, elements, expect};
use crate::{Dropout, Error, Result};
use fast::{Gradient, Isa};
use std::borrow::Cow;

/// A row-major matrix in host memory.
#[derive(Debug, Clone, PartialEq)]
pub struct CpuTensor<T> {
    rows: usize,
    cols: usize,
    /// `rows · cols` values.
    pub(crate) values: Vec<T>,
}

impl<T> CpuTensor<T> {
    /// The values, row-major.
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

impl<T> Matrix for CpuTensor<T> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }
}

/// The CPU as a [`Backend`].
#[derive(Debug)]
pub struct Cpu {
    /// `None` for the reference.
    isa: Option<Isa>,
    counts: Counts,
}

impl Cpu {
    /// The fast path, on the best instruction set that the processor has.
    pub fn new() -> Self {
        Self::with_isa(Isa::best())
    }

    /// The fast path on another instruction set; one that the processor lacks falls back to
    /// [`Isa::Portable`]. The bits are the same.
    pub fn with_isa(isa: Isa) -> Self {
        Self { isa: Some(isa), counts: Counts::default() }
    }

    /// The readable twins of the shaders, on one thread and in the shaders' order of summation.
    pub fn reference() -> Self {
        Self { isa: None, counts: Counts::default() }
    }
}

/// dZ of the backward kernels, as the reference has it.
fn gradient<'a>(gradient: Gradient<'a>, cols: usize) -> Cow<'a, [f32]> {
    let Gradient { grad_output, output, dropout } = gradient;
    match output {
        None if *dropout == Dropout::NONE => Cow::Borrowed(grad_output),
        _ => Cow::Owned(reference::gradient(grad_output, output, cols, dropout)),
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}

impl Backend for Cpu {
    type Tensor<T: Element> = CpuTensor<T>;

    fn name(&self) -> String {
        "CPU".to_owned()
    }

    fn zeros<T: Element>(&mut self, rows: usize, cols: usize) -> Result<CpuTensor<T>> {
        let len = elements("tensor", rows, cols)?;
        // Zeroed by the system, page by page as they are used, and refused instead of aborting
        // where there is no room.
        let values = bytemuck::allocation::try_zeroed_vec(len)
            .map_err(|()| Error::OutOfMemory { bytes: (len * size_of::<T>()) as u64 })?;
        Ok(CpuTensor { rows, cols, values })
    }

    fn write<T: Element>(&mut self, tensor: &mut CpuTensor<T>, values: &[T]) -> Result<()> {
        check_len(tensor, values.len())?;
        tensor.values.copy_from_slice(values);
        Ok(())
    }

    fn read<T: Element>(&mut self, tensor: &CpuTensor<T>) -> Result<Vec<T>> {
        self.counts.bytes_read += size_of_val(tensor.values.as_slice()) as u64;
        Ok(tensor.values.clone())
    }

    fn submit(&mut self) -> Result<()> {
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        Ok(())
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn dropout(&mut self, call: DropoutCall<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let (x, y, cols) = (&call.x.values, &mut call.y.values, call.x.cols);
        match self.isa {
            Some(isa) => fast::dropout(isa, x, y, cols, &call.dropout),
            None => reference::dropout(x, y, cols, &call.dropout),
        }
        Ok(())
    }

    fn dropout_broadcast(&mut self, call: DropoutBroadcast<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let (x, y) = (&call.x.values, &mut call.y.values);
        match self.isa {
            Some(isa) => fast::dropout_broadcast(isa, x, y, call.axes, &call.dropout),
            None => reference::dropout_broadcast(x, y, call.axes, &call.dropout),
        }
        Ok(())
    }

    fn dropout_bits(
        &mut self,
        call: DropoutBits<'_, CpuTensor<f32>, CpuTensor<u32>>,
    ) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let (x, bits, y, cols) =
            (&call.x.values, &call.bits.values, &mut call.y.values, call.x.cols);
        match self.isa {
            Some(_) => fast::dropout_bits(x, bits, y, cols, call.scale),
            None => reference::dropout_bits(x, bits, y, cols, call.scale),
        }
        Ok(())
    }

    fn alpha_dropout(&mut self, call: AlphaDropoutCall<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let (x, y, cols) = (&call.x.values, &mut call.y.values, call.x.cols);
        match self.isa {
            Some(isa) => fast::alpha_dropout(isa, x, y, cols, &call.dropout),
            None => reference::alpha_dropout(x, y, cols, &call.dropout),
        }
        Ok(())
    }

    fn gaussian_dropout(&mut self, call: GaussianDropoutCall<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let (x, y, cols) = (&call.x.values, &mut call.y.values, call.x.cols);
        match self.isa {
            Some(isa) => fast::gaussian_dropout(isa, x, y, cols, &call.dropout),
            None => reference::gaussian_dropout(x, y, cols, &call.dropout),
        }
        Ok(())
    }

    fn mask_bits(&mut self, call: MaskBits<'_, CpuTensor<u32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        self.counts.mask_bytes += size_of_val(call.bits.values()) as u64;
        match self.isa {
            Some(isa) => fast::mask_bits(isa, &mut call.bits.values, call.cols, &call.mask),
            None => reference::mask_bits(&mut call.bits.values, call.cols, &call.mask),
        }
        Ok(())
    }

    fn mask_bytes(&mut self, call: MaskBytes<'_, CpuTensor<u8>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        self.counts.mask_bytes += call.bytes.values.len() as u64;
        let cols = call.bytes.cols;
        match self.isa {
            Some(isa) => fast::mask_bytes(isa, &mut call.bytes.values, cols, &call.mask),
            None => reference::mask_bytes(&mut call.bytes.values, cols, &call.mask),
        }
        Ok(())
    }

    fn linear_forward(&mut self, call: LinearForward<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let shape = [call.weight.rows, call.weight.cols];
        let (x, weight, bias) =
            (&call.x.values, &call.weight.values, call.bias.map(CpuTensor::values));
        let (y, relu, dropout) = (&mut call.y.values, call.relu, &call.dropout);
        match self.isa {
            Some(isa) => fast::linear_forward(isa, x, weight, bias, y, shape, relu, dropout),
            None => reference::linear_forward(x, weight, bias, y, shape, relu, dropout),
        }
        Ok(())
    }

    fn linear_activation(&mut self, call: LinearActivation<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let shape = [call.weight.rows, call.weight.cols];
        let (x, weight, y) = (&call.x.values, &call.weight.values, &mut call.y.values);
        let (bias, residual) =
            (call.bias.map(CpuTensor::values), call.residual.map(CpuTensor::values));
        let z = call.z.map(|z| z.values.as_mut_slice());
        let (activation, dropout) = (call.activation, &call.dropout);
        match self.isa {
            Some(isa) => fast::linear_activation(
                isa, x, weight, bias, residual, z, y, shape, activation, dropout,
            ),
            None => reference::linear_activation(
                x, weight, bias, residual, z, y, shape, activation, dropout,
            ),
        }
        Ok(())
    }

    fn activation_grad(&mut self, call: ActivationGrad<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let (dy, z, dz, cols) =
            (&call.grad_output.values, &call.z.values, &mut call.grad_z.values, call.z.cols);
        match self.isa {
            Some(isa) => {
                fast::activation_grad(isa, dy, z, dz, cols, call.activation, &call.dropout)
            }
            None => reference::activation_grad(dy, z, dz, cols, call.activation, &call.dropout),
        }
        Ok(())
    }

    fn grad_input(&mut self, call: GradInput<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let shape = [call.weight.rows, call.weight.cols];
        let dz = Gradient {
            grad_output: &call.grad_output.values,
            output: call.output.map(CpuTensor::values),
            dropout: &call.dropout,
        };
        let (weight, dx) = (&call.weight.values, &mut call.grad_input.values);
        let through = call.through.map(|(x, scale)| (x.values(), scale));
        match self.isa {
            Some(isa) => fast::grad_input(isa, dz, weight, dx, shape, through),
            None => reference::grad_input(&gradient(dz, shape[1]), weight, dx, shape, through),
        }
        Ok(())
    }

    fn grad_weight(&mut self, call: GradWeight<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let shape = [call.grad_weight.rows, call.grad_weight.cols];
        let dz = Gradient {
            grad_output: &call.grad_output.values,
            output: call.output.map(CpuTensor::values),
            dropout: &call.dropout,
        };
        let (x, dw, db) =
            (&call.x.values, &mut call.grad_weight.values, &mut call.grad_bias.values);
        match self.isa {
            Some(isa) => fast::grad_weight(isa, x, dz, dw, db, shape),
            None => reference::grad_weight(x, &gradient(dz, shape[1]), dw, db, shape),
        }
        Ok(())
    }

    fn grad_weight_sgd(&mut self, call: GradWeightSgd<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let shape = [call.weight.rows, call.weight.cols];
        let (x, grad_z, weight, bias) =
            (&call.x.values, &call.grad_z.values, &mut call.weight.values, &mut call.bias.values);
        let velocity = call
            .velocity
            .map(|(weight, bias)| (weight.values.as_mut_slice(), bias.values.as_mut_slice()));
        match self.isa {
            Some(isa) => {
                fast::grad_weight_sgd(isa, x, grad_z, weight, bias, velocity, shape, &call.rule)
            }
            None => {
                reference::grad_weight_sgd(x, grad_z, weight, bias, velocity, shape, &call.rule)
            }
        }
        Ok(())
    }

    fn softmax_cross_entropy(
        &mut self,
        call: SoftmaxCrossEntropy<'_, CpuTensor<f32>, CpuTensor<u32>>,
    ) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let (logits, labels, classes) =
            (&call.logits.values, &call.labels.values, call.logits.cols);
        let (grad_logits, losses) = (&mut call.grad_logits.values, &mut call.losses.values);
        match self.isa {
            Some(_) => fast::softmax_cross_entropy(
                logits,
                labels,
                grad_logits,
                losses,
                classes,
                call.batch,
            ),
            None => reference::softmax_cross_entropy(
                logits,
                labels,
                grad_logits,
                losses,
                classes,
                call.batch,
            ),
        }
        Ok(())
    }

    fn squared_error(&mut self, call: SquaredError<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let (z, targets, cols) = (&call.z.values, &call.targets.values, call.z.cols);
        reference::squared_error(
            z,
            targets,
            &mut call.grad_z.values,
            &mut call.losses.values,
            cols,
            call.logistic,
        );
        Ok(())
    }

    fn batch_loss(&mut self, call: BatchLoss<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let total = reference::batch_loss(&call.losses.values);
        call.totals.values[2 * call.slot..2 * call.slot + 2].copy_from_slice(&total);
        Ok(())
    }

    fn subnetworks(&mut self, call: Subnetworks<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let (x, cols) = (&call.x.values, call.x.cols);
        reference::subnetworks(
            x,
            &mut call.y.values,
            cols,
            call.rows,
            call.first,
            call.bit,
            call.scale,
        );
        Ok(())
    }

    fn moments(&mut self, call: Moments<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let weights = &call.weights.values[call.first..call.first + call.networks()];
        let classes = call.logits.cols;
        let (logits, moments) = (&mut call.logits.values, &mut call.moments.values);
        match self.isa {
            Some(_) => fast::moments(logits, weights, call.before, moments, classes),
            None => reference::moments(logits, weights, call.before, moments, classes),
        }
        Ok(())
    }

    fn sgd(&mut self, call: Sgd<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let velocity = call.velocity.map(|velocity| velocity.values.as_mut_slice());
        let (grad, weight, cols) = (&call.grad.values, &mut call.weight.values, call.grad.cols);
        match self.isa {
            Some(isa) => fast::sgd(isa, grad, weight, velocity, cols, &call.rule),
            None => reference::sgd(grad, weight, velocity, cols, &call.rule),
        }
        Ok(())
    }

    fn adamw(&mut self, call: AdamW<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let (grad, weight) = (&call.grad.values, &mut call.weight.values);
        let (first, second) = (&mut call.first.values, &mut call.second.values);
        match self.isa {
            Some(_) => fast::adamw(grad, weight, first, second, &call.rule, call.step),
            None => reference::adamw(grad, weight, first, second, &call.rule, call.step),
        }
        Ok(())
    }

    fn batch_statistics(&mut self, call: BatchStatistics<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let (statistics, running) = (&mut call.statistics.values, &mut call.running.values);
        reference::batch_statistics(
            &call.x.values,
            statistics,
            running,
            call.x.cols,
            call.momentum,
        );
        Ok(())
    }

    fn sparsity_grad(&mut self, call: SparsityGrad<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let (statistics, cols) = (&call.statistics.values, call.grad_y.cols);
        reference::sparsity_grad(
            statistics,
            &mut call.grad_y.values,
            cols,
            call.target,
            call.weight,
        );
        Ok(())
    }

    fn batch_norm(&mut self, call: BatchNorm<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let (x, statistics, affine) =
            (&call.x.values, &call.statistics.values, &call.affine.values);
        let (y, cols, epsilon, relu, dropout) =
            (&mut call.y.values, call.x.cols, call.epsilon, call.relu, &call.dropout);
        match self.isa {
            Some(isa) => {
                fast::batch_norm(isa, x, statistics, affine, y, cols, epsilon, relu, dropout)
            }
            None => reference::batch_norm(x, statistics, affine, y, cols, epsilon, relu, dropout),
        }
        Ok(())
    }

    fn batch_norm_grad(&mut self, call: BatchNormGrad<'_, CpuTensor<f32>>) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        reference::batch_norm_grad(
            &call.x.values,
            &call.statistics.values,
            &call.affine.values,
            &call.grad_y.values,
            &mut call.grad_affine.values,
            &mut call.grad_x.values,
            call.x.cols,
            call.epsilon,
            call.through,
        );
        Ok(())
    }

    fn patches(&mut self, call: Patches<'_, CpuTensor<f32>>) -> Result<()> {
        let (_, made) = call.check()?;
        self.counts.dispatches += 1;
        let Patches { x, image, filter, patches } = call;
        match self.isa {
            Some(_) => fast::patches(&x.values, &mut patches.values, image, filter, made),
            None => reference::patches(&x.values, &mut patches.values, image, filter, made),
        }
        Ok(())
    }

    fn patches_grad(&mut self, call: PatchesGrad<'_, CpuTensor<f32>>) -> Result<()> {
        let (_, made) = call.check()?;
        self.counts.dispatches += 1;
        let PatchesGrad { grad_patches, image, filter, grad_x, through } = call;
        let through = through.map(|(x, scale)| (x.values(), scale));
        match self.isa {
            Some(_) => fast::patches_grad(
                &grad_patches.values,
                &mut grad_x.values,
                image,
                filter,
                made,
                through,
            ),
            None => reference::patches_grad(
                &grad_patches.values,
                &mut grad_x.values,
                image,
                filter,
                made,
                through,
            ),
        }
        Ok(())
    }

    fn pool(&mut self, call: PoolCall<'_, CpuTensor<f32>>) -> Result<()> {
        let (_, made) = call.check()?;
        self.counts.dispatches += 1;
        let PoolCall { x, image, pool, y } = call;
        match self.isa {
            Some(_) => fast::pool(&x.values, &mut y.values, image, pool, made),
            None => reference::pool(&x.values, &mut y.values, image, pool, made),
        }
        Ok(())
    }

    fn pool_grad(&mut self, call: PoolGrad<'_, CpuTensor<f32>>) -> Result<()> {
        let (_, made) = call.check()?;
        self.counts.dispatches += 1;
        let PoolGrad { x, image, pool, grad_y, grad_x, through } = call;
        match self.isa {
            Some(_) => fast::pool_grad(
                &x.values,
                &grad_y.values,
                &mut grad_x.values,
                image,
                pool,
                made,
                through,
            ),
            None => reference::pool_grad(
                &x.values,
                &grad_y.values,
                &mut grad_x.values,
                image,
                pool,
                made,
                through,
            ),
        }
        Ok(())
    }

    fn gather(
        &mut self,
        call: Gather<'_, CpuTensor<f32>, CpuTensor<u32>, CpuTensor<u8>>,
    ) -> Result<()> {
        call.check()?;
        self.counts.dispatches += 1;
        let order = &call.order.values[call.first..call.first + call.x.rows];
        let (x, labels) = (&mut call.x.values, &mut call.labels.values);
        let all_labels = &call.all_labels.values;
        let cols = call.data.cols();
        let dropout = &call.dropout;
        let (byte, float) =
            (|byte: u8| f32::from(byte) * call.unit, |float: f32| float * call.unit);
        match (call.data, self.isa) {
            (Features::Bytes(data), Some(isa)) => {
                fast::gather(isa, &data.values, byte, all_labels, order, x, labels, cols, dropout)
            }
            (Features::Floats(data), Some(isa)) => {
                fast::gather(isa, &data.values, float, all_labels, order, x, labels, cols, dropout)
            }
            (Features::Bytes(data), None) => {
                reference::gather(&data.values, byte, all_labels, order, x, labels, cols, dropout)
            }
            (Features::Floats(data), None) => {
                reference::gather(&data.values, float, all_labels, order, x, labels, cols, dropout)
            }
        }
        Ok(())
    }

    fn copy(&mut self, x: &CpuTensor<f32>, y: &mut CpuTensor<f32>) -> Result<()> {
        expect("copy", "y", y, x.rows, x.cols)?;
        self.counts.dispatches += 1;
        match self.isa {
            Some(_) => fast::copy(&x.values, &mut y.values),
            None => y.values.copy_from_slice(&x.values),
        }
        Ok(())
    }
}
