//! A hook for tests that run plans elsewhere than on the device.

use super::owned::Gpu;
use crate::Result;
use crate::plan::{Binding, Dispatch, scratch_bytes};
use std::fmt::Debug;

/// Stand-in for a device that computes nothing: it runs the dispatches of a [`Gpu`]'s calls.
#[doc(hidden)]
pub trait Runner: Debug + Send + Sync {
    /// Runs one dispatch on the contents of its buffers. The last buffer is the scratch buffer, in
    /// which nothing outlives a plan.
    ///
    /// # Errors
    /// Whatever the stand-in finds wrong.
    fn run(&self, job: &Job<'_>, contents: &mut Vec<Vec<u8>>) -> Result<()>;
}

/// One dispatch, as a [`Runner`] receives it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Job<'a> {
    /// Name of the kernel's form.
    pub name: String,
    /// Its WGSL.
    pub wgsl: String,
    /// Parameter block.
    pub params: &'a [u8],
    /// Workgroups.
    pub grid: [u32; 2],
    /// Buffer, offset and size of each binding. The offset and the size are in bytes.
    pub bindings: Vec<[u32; 3]>,
}

impl Gpu {
    /// Runs a plan on a stand-in: reads the plan's buffers, and writes the results to them.
    pub(super) fn run_elsewhere(&self, runner: &dyn Runner, plan: &[Dispatch<'_>]) -> Result<()> {
        let mut buffers: Vec<wgpu::Buffer> = Vec::new();
        for binding in plan.iter().flat_map(|dispatch| &dispatch.bindings) {
            buffers.extend(binding.buffer.filter(|buffer| !buffers.contains(buffer)).cloned());
        }
        let mut contents: Vec<Vec<u8>> =
            buffers.iter().map(|buffer| self.download_whole(buffer)).collect::<Result<_>>()?;
        contents.push(vec![0xFF; scratch_bytes(plan) as usize]);
        let place = |binding: &Binding<'_>| {
            let buffer = buffers.iter().position(|other| Some(other) == binding.buffer);
            [buffer.unwrap_or(buffers.len()) as u32, binding.offset as u32, binding.size as u32]
        };
        for dispatch in plan {
            // The device compiles the kernel too, so that it counts among those that were run.
            self.kernels.pipeline(dispatch.variant)?;
            let variant = self.kernels.own_form(dispatch.variant);
            let job = Job {
                name: variant.name(),
                wgsl: self.kernels.source(variant),
                params: bytemuck::bytes_of(&dispatch.params),
                grid: dispatch.grid,
                bindings: dispatch.bindings.iter().map(place).collect(),
            };
            runner.run(&job, &mut contents)?;
        }
        self.guard().run(|| {
            for (buffer, bytes) in buffers.iter().zip(&contents) {
                self.queue.write_buffer(buffer, 0, bytes);
            }
            self.queue.submit([]);
        })
    }

    /// Reads all bytes of a buffer.
    fn download_whole(&self, buffer: &wgpu::Buffer) -> Result<Vec<u8>> {
        let staging = self.guard().buffer(&wgpu::BufferDescriptor {
            label: None,
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })?;
        let parts = [(buffer, 0, buffer.size())];
        let download = super::readback::download(&self.device, &self.queue, &parts, &staging);
        download.poll(&self.device)?;
        let mut bytes = Vec::new();
        pollster::block_on(download.finish(&mut bytes))?;
        Ok(bytes)
    }
}
