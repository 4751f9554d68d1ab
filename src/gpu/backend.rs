//! Implementation of [`Backend`] for [`Gpu`]: each call is planned and queued.

use super::owned::Gpu;
use super::readback;
use super::tensor::GpuTensor;
use crate::Result;
use crate::backend::{Backend, Counts, Element, On, check_len};
use crate::call::{Call, DevicePlace};
use crate::plan::View;

/// Number of bytes written to the device at a time. A failed allocation of wgpu's staging memory
/// would lose the device, so pieces are small.
const UPLOAD: usize = 16 << 20;

impl Backend for Gpu {
    type Tensor<T: Element> = GpuTensor<T>;

    fn name(&self) -> String {
        self.info.name.clone()
    }

    fn zeros<T: Element>(&mut self, rows: usize, cols: usize) -> Result<GpuTensor<T>> {
        self.fault()?;
        self.counts.objects += 1;
        GpuTensor::zeros(self.guard(), &self.retired, rows, cols)
    }

    fn write<T: Element>(&mut self, tensor: &mut GpuTensor<T>, values: &[T]) -> Result<()> {
        check_len(tensor, values.len())?;
        // A write takes effect before the next submit, so pending dispatches must go first.
        self.flush(None)?;
        let bytes: &[u8] = bytemuck::cast_slice(values);
        for (i, chunk) in bytes.chunks(UPLOAD).enumerate() {
            let offset = (i * UPLOAD) as u64;
            self.guard().run_of(chunk.len() as u64, || {
                if i > 0 {
                    self.queue.submit([]);
                }
                match chunk.len() % 4 {
                    0 => self.queue.write_buffer(&tensor.buffer, offset, chunk),
                    odd => {
                        let padded: Vec<u8> =
                            chunk.iter().copied().chain(std::iter::repeat_n(0, 4 - odd)).collect();
                        self.queue.write_buffer(&tensor.buffer, offset, &padded);
                    }
                }
            })?;
        }
        self.fault()
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
            let oldest = self.in_flight.pop_front();
            let waited = oldest.map_or(Ok(()), |oldest| readback::wait(&self.device, oldest));
            self.explained(waited)?;
        }
        self.fault()
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
            self.explained(readback::wait(&self.device, latest))?;
            self.in_flight.clear();
        }
        self.check()
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn run<'a, C: Call<On<'a, Self>>>(&mut self, call: C) -> Result<()>
    where
        Self: 'a,
    {
        self.enqueue(call.plan(self.kernels.planner())?)?;
        self.counts.mask_bytes += call.mask_bytes();
        Ok(())
    }
}

impl DevicePlace for On<'_, Gpu> {
    fn read_as<T: Element>(tensor: &Self::In<T>) -> View<'_> {
        tensor.view()
    }

    fn written_as<T: Element>(tensor: &Self::Out<T>) -> View<'_> {
        tensor.view()
    }
}
