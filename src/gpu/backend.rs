//! [`Gpu`] as a [`Backend`]: each call is planned and queued.

use super::owned::Gpu;
use super::readback;
use super::tensor::GpuTensor;
use crate::Result;
use crate::backend::{Backend, Counts, Element, check_len};
use crate::call::{
    ActivationGrad, AdamW, AlphaDropoutCall, BatchLoss, BatchNorm, BatchNormGrad, BatchStatistics,
    DropoutBits, DropoutBroadcast, DropoutCall, Features, Gather, GaussianDropoutCall, GradInput,
    GradWeight, GradWeightSgd, LinearActivation, LinearForward, MaskBits, MaskBytes, Moments,
    Patches, PatchesGrad, PoolCall, PoolGrad, Sgd, SoftmaxCrossEntropy, SparsityGrad, SquaredError,
    Subnetworks,
};

/// Bytes written to the device at a time: a staging area that cannot be had would lose the device.
const UPLOAD: usize = 16 << 20;

impl Backend for Gpu {
    type Tensor<T: Element> = GpuTensor<T>;

    fn name(&self) -> String {
        self.info.name.clone()
    }

    fn zeros<T: Element>(&mut self, rows: usize, cols: usize) -> Result<GpuTensor<T>> {
        self.check()?;
        self.counts.objects += 1;
        GpuTensor::zeros(&self.device, &self.retired, rows, cols)
    }

    fn write<T: Element>(&mut self, tensor: &mut GpuTensor<T>, values: &[T]) -> Result<()> {
        check_len(tensor, values.len())?;
        // A write takes effect before the next submit, so what is pending must go first.
        self.flush(None)?;
        let bytes: &[u8] = bytemuck::cast_slice(values);
        for (i, chunk) in bytes.chunks(UPLOAD).enumerate() {
            if i > 0 {
                self.queue.submit([]);
            }
            let offset = (i * UPLOAD) as u64;
            match chunk.len() % 4 {
                0 => self.queue.write_buffer(&tensor.buffer, offset, chunk),
                odd => {
                    let padded: Vec<u8> =
                        chunk.iter().copied().chain(std::iter::repeat_n(0, 4 - odd)).collect();
                    self.queue.write_buffer(&tensor.buffer, offset, &padded);
                }
            }
        }
        self.check()
    }

    fn read<T: Element>(&mut self, tensor: &GpuTensor<T>) -> Result<Vec<T>> {
        pollster::block_on(self.read_pieces(tensor, true))
    }

    async fn read_async<T: Element>(&mut self, tensor: &GpuTensor<T>) -> Result<Vec<T>> {
        self.read_pieces(tensor, false).await
    }

    fn read_all<T: Element>(&mut self, tensors: &[&GpuTensor<T>]) -> Result<Vec<Vec<T>>> {
        pollster::block_on(self.read_tensors(tensors, true))
    }

    async fn read_all_async<T: Element>(
        &mut self,
        tensors: &[&GpuTensor<T>],
    ) -> Result<Vec<Vec<T>>> {
        self.read_tensors(tensors, false).await
    }

    fn submit(&mut self) -> Result<()> {
        self.flush(None)?;
        while self.is_behind() {
            self.in_flight
                .pop_front()
                .map_or(Ok(()), |oldest| readback::wait(&self.device, oldest))?;
        }
        self.check()
    }

    async fn submit_async(&mut self) -> Result<()> {
        self.flush(None)?;
        if self.is_behind() { self.finish().await } else { Ok(()) }
    }

    async fn wait_async(&mut self) -> Result<()> {
        self.finish().await
    }

    fn wait(&mut self) -> Result<()> {
        self.flush(None)?;
        if let Some(latest) = self.in_flight.pop_back() {
            readback::wait(&self.device, latest)?;
            self.in_flight.clear();
        }
        self.check()
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn dropout(&mut self, call: DropoutCall<'_, GpuTensor<f32>>) -> Result<()> {
        let views = DropoutCall { x: &call.x.view(), y: &mut call.y.view(), dropout: call.dropout };
        self.enqueue(self.kernels.planner().dropout(&views)?)
    }

    fn dropout_broadcast(&mut self, call: DropoutBroadcast<'_, GpuTensor<f32>>) -> Result<()> {
        let views = DropoutBroadcast {
            x: &call.x.view(),
            y: &mut call.y.view(),
            axes: call.axes,
            dropout: call.dropout,
        };
        self.enqueue(self.kernels.planner().dropout_broadcast(&views)?)
    }

    fn dropout_bits(
        &mut self,
        call: DropoutBits<'_, GpuTensor<f32>, GpuTensor<u32>>,
    ) -> Result<()> {
        let views = DropoutBits {
            x: &call.x.view(),
            bits: &call.bits.view(),
            y: &mut call.y.view(),
            scale: call.scale,
        };
        self.enqueue(self.kernels.planner().dropout_bits(&views)?)
    }

    fn alpha_dropout(&mut self, call: AlphaDropoutCall<'_, GpuTensor<f32>>) -> Result<()> {
        let views =
            AlphaDropoutCall { x: &call.x.view(), y: &mut call.y.view(), dropout: call.dropout };
        self.enqueue(self.kernels.planner().alpha_dropout(&views)?)
    }

    fn gaussian_dropout(&mut self, call: GaussianDropoutCall<'_, GpuTensor<f32>>) -> Result<()> {
        let views =
            GaussianDropoutCall { x: &call.x.view(), y: &mut call.y.view(), dropout: call.dropout };
        self.enqueue(self.kernels.planner().gaussian_dropout(&views)?)
    }

    fn mask_bits(&mut self, call: MaskBits<'_, GpuTensor<u32>>) -> Result<()> {
        let views = MaskBits { bits: &mut call.bits.view(), cols: call.cols, mask: call.mask };
        self.enqueue(self.kernels.planner().mask_bits(&views)?)?;
        self.counts.mask_bytes += call.bits.bytes();
        Ok(())
    }

    fn mask_bytes(&mut self, call: MaskBytes<'_, GpuTensor<u8>>) -> Result<()> {
        let views = MaskBytes { bytes: &mut call.bytes.view(), mask: call.mask };
        self.enqueue(self.kernels.planner().mask_bytes(&views)?)?;
        self.counts.mask_bytes += call.bytes.bytes();
        Ok(())
    }

    fn linear_forward(&mut self, call: LinearForward<'_, GpuTensor<f32>>) -> Result<()> {
        let bias = call.bias.map(GpuTensor::view);
        let views = LinearForward {
            x: &call.x.view(),
            weight: &call.weight.view(),
            bias: bias.as_ref(),
            y: &mut call.y.view(),
            relu: call.relu,
            dropout: call.dropout,
        };
        self.enqueue(self.kernels.planner().linear_forward(&views)?)
    }

    fn linear_activation(&mut self, call: LinearActivation<'_, GpuTensor<f32>>) -> Result<()> {
        let (bias, residual) = (call.bias.map(GpuTensor::view), call.residual.map(GpuTensor::view));
        let mut z = call.z.map(|z| z.view());
        let views = LinearActivation {
            x: &call.x.view(),
            weight: &call.weight.view(),
            bias: bias.as_ref(),
            residual: residual.as_ref(),
            z: z.as_mut(),
            y: &mut call.y.view(),
            activation: call.activation,
            dropout: call.dropout,
        };
        self.enqueue(self.kernels.planner().linear_activation(&views)?)
    }

    fn activation_grad(&mut self, call: ActivationGrad<'_, GpuTensor<f32>>) -> Result<()> {
        let (grad_output, z, mut grad_z) =
            (call.grad_output.view(), call.z.view(), call.grad_z.view());
        let (activation, dropout) = (call.activation, call.dropout);
        let views = ActivationGrad {
            grad_output: &grad_output,
            z: &z,
            grad_z: &mut grad_z,
            activation,
            dropout,
        };
        self.enqueue(self.kernels.planner().activation_grad(&views)?)
    }

    fn grad_input(&mut self, call: GradInput<'_, GpuTensor<f32>>) -> Result<()> {
        let output = call.output.map(GpuTensor::view);
        let through = call.through.map(|(x, scale)| (x.view(), scale));
        let views = GradInput {
            grad_output: &call.grad_output.view(),
            output: output.as_ref(),
            weight: &call.weight.view(),
            grad_input: &mut call.grad_input.view(),
            dropout: call.dropout,
            through: through.as_ref().map(|(x, scale)| (x, *scale)),
        };
        self.enqueue(self.kernels.planner().grad_input(&views)?)
    }

    fn grad_weight(&mut self, call: GradWeight<'_, GpuTensor<f32>>) -> Result<()> {
        let output = call.output.map(GpuTensor::view);
        let views = GradWeight {
            x: &call.x.view(),
            grad_output: &call.grad_output.view(),
            output: output.as_ref(),
            grad_weight: &mut call.grad_weight.view(),
            grad_bias: &mut call.grad_bias.view(),
            dropout: call.dropout,
        };
        self.enqueue(self.kernels.planner().grad_weight(&views)?)
    }

    fn grad_weight_sgd(&mut self, call: GradWeightSgd<'_, GpuTensor<f32>>) -> Result<()> {
        let mut velocity = call.velocity.map(|(weight, bias)| (weight.view(), bias.view()));
        let views = GradWeightSgd {
            x: &call.x.view(),
            grad_z: &call.grad_z.view(),
            weight: &mut call.weight.view(),
            bias: &mut call.bias.view(),
            velocity: velocity.as_mut().map(|(weight, bias)| (weight, bias)),
            rule: call.rule,
        };
        self.enqueue(self.kernels.planner().grad_weight_sgd(&views)?)
    }

    fn softmax_cross_entropy(
        &mut self,
        call: SoftmaxCrossEntropy<'_, GpuTensor<f32>, GpuTensor<u32>>,
    ) -> Result<()> {
        let views = SoftmaxCrossEntropy {
            logits: &call.logits.view(),
            labels: &call.labels.view(),
            grad_logits: &mut call.grad_logits.view(),
            losses: &mut call.losses.view(),
            batch: call.batch,
        };
        self.enqueue(self.kernels.planner().softmax_cross_entropy(&views)?)
    }

    fn squared_error(&mut self, call: SquaredError<'_, GpuTensor<f32>>) -> Result<()> {
        let views = SquaredError {
            z: &call.z.view(),
            targets: &call.targets.view(),
            grad_z: &mut call.grad_z.view(),
            losses: &mut call.losses.view(),
            logistic: call.logistic,
        };
        self.enqueue(self.kernels.planner().squared_error(&views)?)
    }

    fn batch_loss(&mut self, call: BatchLoss<'_, GpuTensor<f32>>) -> Result<()> {
        let views = BatchLoss {
            losses: &call.losses.view(),
            totals: &mut call.totals.view(),
            slot: call.slot,
        };
        self.enqueue(self.kernels.planner().batch_loss(&views)?)
    }

    fn subnetworks(&mut self, call: Subnetworks<'_, GpuTensor<f32>>) -> Result<()> {
        let Subnetworks { x, y, rows, first, bit, scale } = call;
        let views = Subnetworks { x: &x.view(), y: &mut y.view(), rows, first, bit, scale };
        self.enqueue(self.kernels.planner().subnetworks(&views)?)
    }

    fn moments(&mut self, call: Moments<'_, GpuTensor<f32>>) -> Result<()> {
        let Moments { logits, weights, first, before, moments } = call;
        let views = Moments {
            logits: &mut logits.view(),
            weights: &weights.view(),
            first,
            before,
            moments: &mut moments.view(),
        };
        self.enqueue(self.kernels.planner().moments(&views)?)
    }

    fn sgd(&mut self, call: Sgd<'_, GpuTensor<f32>>) -> Result<()> {
        let mut velocity = call.velocity.map(|velocity| velocity.view());
        let views = Sgd {
            grad: &call.grad.view(),
            weight: &mut call.weight.view(),
            velocity: velocity.as_mut(),
            rule: call.rule,
        };
        self.enqueue(self.kernels.planner().sgd(&views)?)
    }

    fn adamw(&mut self, call: AdamW<'_, GpuTensor<f32>>) -> Result<()> {
        let views = AdamW {
            grad: &call.grad.view(),
            weight: &mut call.weight.view(),
            first: &mut call.first.view(),
            second: &mut call.second.view(),
            rule: call.rule,
            step: call.step,
        };
        self.enqueue(self.kernels.planner().adamw(&views)?)
    }

    fn batch_statistics(&mut self, call: BatchStatistics<'_, GpuTensor<f32>>) -> Result<()> {
        let (mut statistics, mut running) = (call.statistics.view(), call.running.view());
        let (x, momentum) = (&call.x.view(), call.momentum);
        let views =
            BatchStatistics { x, statistics: &mut statistics, running: &mut running, momentum };
        self.enqueue(self.kernels.planner().batch_statistics(&views)?)
    }

    fn sparsity_grad(&mut self, call: SparsityGrad<'_, GpuTensor<f32>>) -> Result<()> {
        let (statistics, grad_y) = (&call.statistics.view(), &mut call.grad_y.view());
        let views = SparsityGrad { statistics, grad_y, target: call.target, weight: call.weight };
        self.enqueue(self.kernels.planner().sparsity_grad(&views)?)
    }

    fn batch_norm(&mut self, call: BatchNorm<'_, GpuTensor<f32>>) -> Result<()> {
        let views = BatchNorm {
            x: &call.x.view(),
            statistics: &call.statistics.view(),
            affine: &call.affine.view(),
            y: &mut call.y.view(),
            epsilon: call.epsilon,
            relu: call.relu,
            dropout: call.dropout,
        };
        self.enqueue(self.kernels.planner().batch_norm(&views)?)
    }

    fn batch_norm_grad(&mut self, call: BatchNormGrad<'_, GpuTensor<f32>>) -> Result<()> {
        let views = BatchNormGrad {
            x: &call.x.view(),
            statistics: &call.statistics.view(),
            affine: &call.affine.view(),
            grad_y: &call.grad_y.view(),
            grad_affine: &mut call.grad_affine.view(),
            grad_x: &mut call.grad_x.view(),
            epsilon: call.epsilon,
            through: call.through,
        };
        self.enqueue(self.kernels.planner().batch_norm_grad(&views)?)
    }

    fn patches(&mut self, call: Patches<'_, GpuTensor<f32>>) -> Result<()> {
        let Patches { x, image, filter, patches } = call;
        let views = Patches { x: &x.view(), image, filter, patches: &mut patches.view() };
        self.enqueue(self.kernels.planner().patches(&views)?)
    }

    fn patches_grad(&mut self, call: PatchesGrad<'_, GpuTensor<f32>>) -> Result<()> {
        let PatchesGrad { grad_patches, image, filter, grad_x, through } = call;
        let through = through.map(|(x, scale)| (x.view(), scale));
        let through = through.as_ref().map(|(x, scale)| (x, *scale));
        let views = PatchesGrad {
            grad_patches: &grad_patches.view(),
            image,
            filter,
            grad_x: &mut grad_x.view(),
            through,
        };
        self.enqueue(self.kernels.planner().patches_grad(&views)?)
    }

    fn pool(&mut self, call: PoolCall<'_, GpuTensor<f32>>) -> Result<()> {
        let PoolCall { x, image, pool, y } = call;
        self.enqueue(self.kernels.planner().pool(&PoolCall {
            x: &x.view(),
            image,
            pool,
            y: &mut y.view(),
        })?)
    }

    fn pool_grad(&mut self, call: PoolGrad<'_, GpuTensor<f32>>) -> Result<()> {
        let PoolGrad { x, image, pool, grad_y, grad_x, through } = call;
        let (x, grad_y, mut grad_x) = (x.view(), grad_y.view(), grad_x.view());
        let views = PoolGrad { x: &x, image, pool, grad_y: &grad_y, grad_x: &mut grad_x, through };
        self.enqueue(self.kernels.planner().pool_grad(&views)?)
    }

    fn gather(
        &mut self,
        call: Gather<'_, GpuTensor<f32>, GpuTensor<u32>, GpuTensor<u8>>,
    ) -> Result<()> {
        let (bytes, floats);
        let data = match call.data {
            Features::Bytes(tensor) => {
                bytes = tensor.view();
                Features::Bytes(&bytes)
            }
            Features::Floats(tensor) => {
                floats = tensor.view();
                Features::Floats(&floats)
            }
        };
        let views = Gather {
            data,
            all_labels: &call.all_labels.view(),
            order: &call.order.view(),
            first: call.first,
            unit: call.unit,
            x: &mut call.x.view(),
            labels: &mut call.labels.view(),
            dropout: call.dropout,
        };
        self.enqueue(self.kernels.planner().gather(&views)?)
    }

    fn copy(&mut self, x: &GpuTensor<f32>, y: &mut GpuTensor<f32>) -> Result<()> {
        self.enqueue(self.kernels.planner().copy(x.view(), y.view())?)
    }
}
