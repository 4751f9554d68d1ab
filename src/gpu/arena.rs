//! Small things that a [`Gpu`](super::Gpu) keeps from submit to submit: the parameter blocks, and a timer.

use super::kernels::Kernels;

/// The parameter blocks of one submit, in one buffer at dynamic offsets.
#[derive(Debug)]
pub(super) struct ParamsArena {
    pub buffer: wgpu::Buffer,
    pub group: wgpu::BindGroup,
    pub host: Vec<u8>,
    pub slot: usize,
}

/// Two timestamps around a pass.
#[derive(Debug)]
pub(super) struct Timer {
    pub queries: wgpu::QuerySet,
    pub resolved: wgpu::Buffer,
}

impl ParamsArena {
    pub fn new(device: &wgpu::Device, kernels: &Kernels, slots: usize) -> Self {
        let slot = kernels.slot() as usize;
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgpu-dropout params"),
            size: (slots * slot) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let group = kernels.bind_params(&buffer);
        Self { buffer, group, host: vec![0; slots * slot], slot }
    }

    pub fn slots(&self) -> usize {
        self.host.len() / self.slot
    }
}

impl Timer {
    pub fn new(device: &wgpu::Device) -> Self {
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("wgpu-dropout timer"),
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        let resolved = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgpu-dropout timer"),
            size: 16,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        Self { queries, resolved }
    }
}
