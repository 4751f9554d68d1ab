//! Binds dispatches to their buffers and records them: into a caller's pass for [`Kernels`], into
//! one of its own for [`Gpu`](super::Gpu).

use super::kernels::Kernels;
use super::pipelines::Pipeline;
use crate::plan::{Binding, Dispatch, Params, Variant};
use crate::{Error, Result};
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
    ///
    /// # Errors
    /// [`Error::Buffer`] for a buffer that was destroyed, could not be created, or belongs to
    /// another device; [`Error::Device`] if the device was lost or cannot compile the kernel.
    pub(super) fn step(
        &self,
        dispatch: &Dispatch<'_>,
        scratch: Option<&wgpu::Buffer>,
        kept: Option<&mut Groups>,
    ) -> Result<(Step, u64)> {
        let variant = dispatch.variant;
        let (pipeline, compiled) = self.pipeline(variant)?;
        // A shader module, two layouts and the pipeline.
        let mut made = if compiled { 4 } else { 0 };
        let ranges = ranges(&dispatch.bindings, scratch);
        let mut bind = |ranges: &[Range]| {
            made += 1;
            self.bind(variant, &pipeline, ranges)
        };
        let tensors = match kept {
            None => bind(&ranges)?,
            Some(kept) => match kept.entry((variant, ranges)) {
                Entry::Occupied(entry) => entry.get().clone(),
                Entry::Vacant(entry) => {
                    let group = bind(&entry.key().1)?;
                    entry.insert(group).clone()
                }
            },
        };
        Ok((Step { pipeline, tensors, grid: dispatch.grid }, made))
    }

    fn bind(
        &self,
        variant: Variant,
        pipeline: &Pipeline,
        ranges: &[Range],
    ) -> Result<wgpu::BindGroup> {
        let entries: Vec<_> =
            (0..).zip(ranges).map(|(i, (buffer, at, size))| entry(i, buffer, *at, *size)).collect();
        let descriptor = wgpu::BindGroupDescriptor {
            label: Some("wgpu-dropout tensors"),
            layout: &pipeline.tensors,
            entries: &entries,
        };
        self.guard.run(|| self.device().create_bind_group(&descriptor)).map_err(|error| {
            // One of the buffers is to blame, unless the device was lost.
            let storage = wgpu::BufferBindingType::Storage { read_only: false };
            let mut tensors = variant.tensor_names().zip(ranges);
            let kernel = variant.stem.name();
            let blamed = tensors
                .find_map(|(name, range)| self.usable(kernel, name, storage, &range.0).err());
            blamed.unwrap_or(error)
        })
    }

    /// Checks that a buffer exists on the device, by binding its first bytes.
    ///
    /// # Errors
    /// [`Error::Buffer`]; [`Error::Device`] if the device was lost.
    pub(super) fn usable(
        &self,
        kernel: &'static str,
        tensor: &'static str,
        ty: wgpu::BufferBindingType,
        buffer: &wgpu::Buffer,
    ) -> Result<()> {
        let layout_entry = wgpu::BindGroupLayoutEntry {
            binding: 0,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let bound = self.guard.run(|| {
            let layout =
                &self.device().create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                    label: None,
                    entries: &[layout_entry],
                });
            let entries = &[entry(0, buffer, 0, 4)];
            let descriptor = wgpu::BindGroupDescriptor { label: None, layout, entries };
            drop(self.device().create_bind_group(&descriptor));
        });
        self.guard.check()?;
        bound.map_err(|error| {
            let what = format!(
                "it was destroyed, could not be created, or belongs to another device ({error})"
            );
            Error::Buffer { kernel, tensor, what }
        })
    }

    /// Creates a buffer that holds the parameter blocks.
    pub(super) fn params_buffer(&self, blocks: &Blocks) -> Result<wgpu::Buffer> {
        let bytes = blocks.bytes(blocks.capacity());
        let descriptor = wgpu::BufferDescriptor {
            label: Some("wgpu-dropout params"),
            size: (bytes.len() as u64).max(self.slot()),
            usage: wgpu::BufferUsages::UNIFORM,
            mapped_at_creation: true,
        };
        let buffer = self.guard.buffer(&descriptor)?;
        self.guard.run(|| {
            let lost = |_| Error::lost("");
            let mut mapped = buffer.get_mapped_range_mut(..).map_err(lost)?;
            mapped.slice(..bytes.len()).copy_from_slice(bytes);
            drop(mapped);
            buffer.unmap();
            Ok::<(), Error>(())
        })??;
        Ok(buffer)
    }

    /// Returns the distance in bytes between two parameter blocks of one buffer.
    pub(super) fn slot(&self) -> u64 {
        (size_of::<Params>() as u64).next_multiple_of(
            u64::from(self.device().limits().min_uniform_buffer_offset_alignment).max(4),
        )
    }

    /// Creates the bind group of the parameter blocks and, if one is read, of the state.
    ///
    /// # Errors
    /// [`Error::Buffer`] if the buffer of the state was destroyed; [`Error::Device`] if the device
    /// was lost.
    pub(super) fn bind_params(&self, buffer: &wgpu::Buffer) -> Result<wgpu::BindGroup> {
        let mut entries = vec![entry(0, buffer, 0, size_of::<Params>() as u64)];
        entries.extend(
            self.state.as_ref().map(|(state, offset)| entry(1, state, *offset, super::State::SIZE)),
        );
        let descriptor = wgpu::BindGroupDescriptor {
            label: Some("wgpu-dropout params"),
            layout: &self.params,
            entries: &entries,
        };
        self.guard.run(|| self.device().create_bind_group(&descriptor)).map_err(|error| {
            let uniform = wgpu::BufferBindingType::Uniform;
            let state = self.state.as_ref();
            state
                .and_then(|(state, _)| self.usable("reading", "state", uniform, state).err())
                .unwrap_or(error)
        })
    }

    /// Creates a scratch buffer for the parts of sums. Its contents do not outlive a call.
    pub(super) fn scratch(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let descriptor = wgpu::BufferDescriptor {
            label: Some("wgpu-dropout scratch"),
            size: bytes.next_multiple_of(16),
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        };
        self.guard.buffer(&descriptor)
    }
}

/// Returns the entry of a bind group for a range of a buffer.
fn entry(binding: u32, buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BindGroupEntry<'_> {
    let size = wgpu::BufferSize::new(size);
    let range = wgpu::BufferBinding { buffer, offset, size };
    wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(range) }
}

/// Call that is ready to be recorded. Its pipelines, bind groups and parameters exist already, so
/// recording creates nothing.
#[derive(Debug)]
pub struct Prepared {
    pub(super) steps: Vec<Step>,
    /// The parameter blocks; `None` if there are no steps.
    pub(super) params: Option<wgpu::BindGroup>,
    /// Distance from one block to the next in bytes.
    pub(super) slot: u64,
}

impl Prepared {
    /// Records the call's dispatches into the caller's pass.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        if let Some(params) = &self.params {
            record(pass, &self.steps, params, self.slot);
        }
    }

    /// Returns the number of dispatches that [`record`](Self::record) records.
    pub fn dispatches(&self) -> usize {
        self.steps.len()
    }
}
