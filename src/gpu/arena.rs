//! Small objects that a [`Gpu`](super::Gpu) keeps between submits: the parameter blocks and a
//! timer.

use super::guard::Guard;
use super::kernels::Kernels;
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
    /// Makes room for `slots` blocks.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), and those of
    /// [`Kernels::bind_params`].
    pub fn new(kernels: &Kernels, slots: usize) -> Result<Self> {
        let slot = kernels.slot();
        let descriptor = wgpu::BufferDescriptor {
            label: Some("wgpu-dropout params"),
            size: slots as u64 * slot,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        let buffer = kernels.guard.buffer(&descriptor)?;
        let group = kernels.bind_params(&buffer)?;
        Ok(Self { buffer, group, blocks: Blocks::new(slot, slots) })
    }
}

impl Timer {
    pub fn new(guard: &Guard) -> Result<Self> {
        let descriptor = wgpu::QuerySetDescriptor {
            label: Some("wgpu-dropout timer"),
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        };
        let queries = guard.run(|| guard.device().create_query_set(&descriptor))?;
        let descriptor = wgpu::BufferDescriptor {
            label: Some("wgpu-dropout timer"),
            size: 16,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        };
        Ok(Self { queries, resolved: guard.buffer(&descriptor)? })
    }
}
