//! Records dispatches: into a caller's pass for [`Kernels`], into one of its own for
//! [`Gpu`](super::Gpu).

use super::kernels::Kernels;
use super::pipelines::Pipeline;
use crate::plan::{Binding, Dispatch, Params, Variant};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// A buffer, an offset in it and a size.
pub(super) type Range = (wgpu::Buffer, u64, u64);

/// Bind groups that are kept, by the kernel and each binding's range.
pub(super) type Groups = HashMap<(Variant, Vec<Range>), wgpu::BindGroup>;

/// A dispatch ready to be recorded; its parameter block has the same index.
#[derive(Debug)]
pub(super) struct Step {
    pipeline: Arc<Pipeline>,
    tensors: wgpu::BindGroup,
    grid: [u32; 2],
}

/// Parameter blocks on the host, at the distance that dynamic offsets need.
#[derive(Debug)]
pub(super) struct Blocks {
    bytes: Vec<u8>,
    slot: usize,
}

impl Blocks {
    /// Makes room for `count` blocks, `slot` bytes apart.
    pub fn new(slot: u64, count: usize) -> Self {
        let slot = slot as usize;
        Self { bytes: vec![0; slot * count], slot }
    }

    /// Writes block `index`.
    pub fn set(&mut self, index: usize, params: &Params) {
        let block = bytemuck::bytes_of(params);
        self.bytes[index * self.slot..][..block.len()].copy_from_slice(block);
    }

    /// Returns the bytes of the first `count` blocks.
    pub fn bytes(&self, count: usize) -> &[u8] {
        &self.bytes[..count * self.slot]
    }

    /// Returns the number of blocks that there is room for.
    pub fn capacity(&self) -> usize {
        self.bytes.len() / self.slot
    }
}

/// Records steps whose parameter blocks lie `slot` bytes apart in the buffer of `params`.
pub(super) fn record(
    pass: &mut wgpu::ComputePass<'_>,
    steps: &[Step],
    params: &wgpu::BindGroup,
    slot: u64,
) {
    for (index, step) in steps.iter().enumerate() {
        pass.set_pipeline(&step.pipeline.pipeline);
        pass.set_bind_group(0, &step.tensors, &[]);
        pass.set_bind_group(1, params, &[index as u32 * slot as u32]);
        pass.dispatch_workgroups(step.grid[0], step.grid[1], 1);
    }
}

/// The ranges that are bound, with the scratch buffer where a plan names no buffer.
pub(super) fn ranges(bindings: &[Binding<'_>], scratch: Option<&wgpu::Buffer>) -> Vec<Range> {
    let buffer = |binding: &Binding<'_>| binding.buffer.or(scratch).cloned();
    bindings
        .iter()
        .filter_map(|binding| Some((buffer(binding)?, binding.offset, binding.size)))
        .collect()
}

impl Kernels {
    /// Makes a dispatch ready, with a bind group of `kept` if there is one; returns the number of
    /// wgpu objects that were made too.
    pub(super) fn step(
        &self,
        dispatch: &Dispatch<'_>,
        scratch: Option<&wgpu::Buffer>,
        kept: Option<&mut Groups>,
    ) -> (Step, u64) {
        let (pipeline, compiled) = self.pipeline(dispatch.variant);
        // A shader module, two layouts and the pipeline.
        let mut made = if compiled { 4 } else { 0 };
        let ranges = ranges(&dispatch.bindings, scratch);
        let mut bind = |ranges: &[Range]| {
            made += 1;
            self.bind(&pipeline, ranges)
        };
        let tensors = match kept {
            None => bind(&ranges),
            Some(kept) => match kept.entry((dispatch.variant, ranges)) {
                Entry::Occupied(entry) => entry.get().clone(),
                Entry::Vacant(entry) => {
                    let group = bind(&entry.key().1);
                    entry.insert(group).clone()
                }
            },
        };
        (Step { pipeline, tensors, grid: dispatch.grid }, made)
    }

    fn bind(&self, pipeline: &Pipeline, ranges: &[Range]) -> wgpu::BindGroup {
        let entries: Vec<_> = (0..)
            .zip(ranges)
            .map(|(binding, (buffer, offset, size))| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset: *offset,
                    size: wgpu::BufferSize::new(*size),
                }),
            })
            .collect();
        self.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("wgpu-dropout tensors"),
            layout: &pipeline.tensors,
            entries: &entries,
        })
    }
}
