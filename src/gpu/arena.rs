//! Small objects that a [`Gpu`](super::Gpu) keeps between submits: the parameter blocks and a
//! timer.

use super::kernels::Kernels;
use super::memory::{buffer, buffer_or_error};
use super::recorder::Blocks;
use crate::Result;

/// Parameter blocks of one submit, in one buffer at dynamic offsets.
#[derive(Debug)]
pub(super) struct ParamsArena {
    pub buffer: wgpu::Buffer,
    pub group: wgpu::BindGroup,
    pub blocks: Blocks,
}

/// Two timestamps, at the start and the end of a pass.
#[derive(Debug)]
pub(super) struct Timer {
    pub queries: wgpu::QuerySet,
    pub resolved: wgpu::Buffer,
}

impl ParamsArena {
    /// Makes room for `slots` blocks. Without memory, it also returns an error, and the arena must
    /// not be used.
    pub fn new(device: &wgpu::Device, kernels: &Kernels, slots: usize) -> (Self, Result<()>) {
        let slot = kernels.slot();
        let descriptor = wgpu::BufferDescriptor {
            label: Some("wgpu-dropout params"),
            size: slots as u64 * slot,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        let (buffer, made) = buffer_or_error(device, &descriptor);
        // Binding an invalid buffer is a validation error of wgpu, too. `made` reports the cause,
        // so this scope drops it.
        let silent = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let group = kernels.bind_params(&buffer);
        drop(silent);
        (Self { buffer, group, blocks: Blocks::new(slot, slots) }, made)
    }
}

impl Timer {
    pub fn new(device: &wgpu::Device) -> Result<Self> {
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("wgpu-dropout timer"),
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        let descriptor = wgpu::BufferDescriptor {
            label: Some("wgpu-dropout timer"),
            size: 16,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        };
        Ok(Self { queries, resolved: buffer(device, &descriptor)? })
    }
}
