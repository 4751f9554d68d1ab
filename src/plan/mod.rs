//! Turns a call into dispatches: chooses variants, ranges of buffers, parameters and numbers of
//! workgroups.
//!
//! Nothing here touches a device. A tensor larger than a binding is processed in windows of whole
//! rows. A long sum is computed in parts, each of which continues from the partial result of the
//! part before it. A large product is cut into dispatches short enough for a desktop's watchdog.
//! None of this changes a bit of a mask or the order of a sum.

mod forward;
mod group;
mod images;
mod loops;
mod params;
mod product;
mod shader;
mod source;
mod split;
mod stem;
mod strips;
mod tile;
mod tiles;
mod variant;
mod view;
mod window;

pub(crate) use forward::{
    ACTIVATION, FIRST, Forward, ForwardOwn, IN_PLACE, LAST, RELU, RESIDUAL, SAVE,
};
pub(crate) use images::Images;
pub(crate) use params::{Own, own};
pub use params::{Params, Place};
pub(crate) use product::{
    HALF_IS_UNCUT, ProductOwn, product_own, rows_and_bias, sum_part, windows_or_one,
};
pub use source::Width;
pub(crate) use split::scratch;
pub use stem::Stem;
pub(crate) use strips::{Beside, PlainStrips, Strips, StripsOwn, strips_own};
pub use tile::Tile;
pub use tiles::{Class, Shape, Tiles};
pub(crate) use variant::STACK;
pub use variant::{Choices, Division, Variant};
pub use view::View;
pub(crate) use window::{Window, windows};

use crate::mask::DRAWS;
use crate::{Dropout, Error, Lack, Result};

/// Largest binding in bytes, just under 2³¹: f32 bindings of 2²⁹ or more elements break on Vulkan.
pub(crate) const MAX_BINDING: u64 = (1 << 31) - (1 << 16);

/// Number of storage buffers that a dispatch must be able to bind for f16 tensors. Every device
/// with f16 offers this many.
pub(crate) const HALF_BUFFERS: u32 = 6;

/// Limits and preferences of a device that a plan depends on, besides the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planner {
    /// Largest size of a storage binding in bytes.
    pub binding: u64,
    /// Alignment of a storage binding's offset in bytes.
    pub align: u64,
    /// Number of storage buffers that a dispatch can bind, at least 4. With fewer than 6, some
    /// calls take more dispatches.
    pub buffers: u32,
    /// Largest number of workgroups in one dimension of a dispatch.
    pub grid: u32,
    /// Number of floating-point operations that a dispatch should not exceed.
    pub flops: u64,
    /// Largest total number of iterations of all loops of a thread.
    pub loops: u64,
    /// Tile chosen for each class of matrix products.
    pub tiles: Tiles,
    /// True if Philox multiplies in 64-bit integers, which the device must offer.
    pub int64: bool,
    /// True if tensors may be stored as f16, which the device must offer. Always false with fewer
    /// than six [`buffers`](Self::buffers).
    pub half: bool,
    /// True if each thread moves much data at a time, which is faster on adapters that run on a
    /// CPU: blocks of a matrix, and eight numbers as four 64-bit integers if the rows allow it and
    /// [`int64`](Self::int64) is set. If false, neighboring threads move neighboring quads.
    pub wide: bool,
    /// True if attention runs in its fused kernels, for which the device must offer 128 threads a
    /// workgroup and 16 KiB of workgroup memory.
    pub fused: bool,
    /// True if rate, scale, step and seed are read from a buffer. Only
    /// [`Kernels::reading`](crate::gpu::Kernels::reading) sets it.
    pub state: bool,
}

/// A range of a buffer bound to a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Binding<'a> {
    /// The buffer. `None` stands for the scratch buffer, which the recorder of the plan provides;
    /// [`scratch_bytes`] returns its size.
    pub buffer: Option<&'a wgpu::Buffer>,
    pub offset: u64,
    pub size: u64,
}

/// One dispatch.
#[derive(Debug, Clone)]
pub struct Dispatch<'a> {
    pub variant: Variant,
    pub bindings: Vec<Binding<'a>>,
    pub params: Params,
    pub grid: [u32; 2],
}

/// The dispatches of a call, in order.
pub type Plan<'a> = Vec<Dispatch<'a>>;

/// The work of one dispatch, before it is divided among workgroups.
pub(crate) struct Work<'w, 'a, O> {
    /// The kernel's form.
    pub variant: Variant,
    /// All tensors of the kernel in the order of its bindings, including those that this form does
    /// not bind.
    pub tensors: &'w [Window<'a>],
    /// The head of the parameters, without the tensors' places.
    pub params: Params,
    /// The kernel's own parameter words.
    pub own: O,
    /// Upper bound on the total number of iterations of all loops of a thread. The iteration that
    /// ends a loop counts; unrolled loops do not.
    pub loops: u64,
}

/// A tensor of a call, and the way in which the kernel uses it.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub name: &'static str,
    pub view: View<'a>,
    pub written: bool,
    /// Size of an element in bytes, if it is not a number of the view's kind.
    pub element: Option<u64>,
    /// True if rows must follow one another without a gap.
    pub packed: bool,
}

/// Returns the operand for a tensor that the kernel reads.
pub(crate) fn read<'a>(name: &'static str, view: View<'a>) -> Operand<'a> {
    Operand { name, view, written: false, element: None, packed: false }
}

/// Returns the operand for a tensor that the kernel writes.
pub(crate) fn write<'a>(name: &'static str, view: View<'a>) -> Operand<'a> {
    Operand { written: true, ..read(name, view) }
}

impl Operand<'_> {
    /// Requires that rows follow one another without a gap.
    pub fn packed(self) -> Self {
        Self { packed: true, ..self }
    }

    /// Sets the size of an element in bytes.
    pub fn of_bytes(self, element: u64) -> Self {
        Self { element: Some(element), ..self }
    }

    fn bytes(&self) -> u64 {
        self.element.unwrap_or_else(|| self.view.number())
    }
}

impl Planner {
    /// Returns the planner for an adapter, or for a device on it with these features and limits.
    pub fn new(info: &wgpu::AdapterInfo, features: wgpu::Features, limits: &wgpu::Limits) -> Self {
        let buffers =
            limits.max_storage_buffers_per_shader_stage.min(limits.max_bindings_per_bind_group);
        Self {
            binding: limits
                .max_storage_buffer_binding_size
                .min(limits.max_buffer_size)
                .min(MAX_BINDING),
            align: u64::from(limits.min_storage_buffer_offset_alignment).max(4),
            buffers,
            grid: limits.max_compute_workgroups_per_dimension,
            // About 0.1 s on a slow device of each kind.
            flops: if info.device_type == wgpu::DeviceType::Cpu { 1 << 31 } else { 1 << 35 },
            loops: loops::of_adapter(info),
            tiles: Tiles::for_device(info, features, limits),
            int64: features.contains(wgpu::Features::SHADER_INT64),
            half: features.contains(wgpu::Features::SHADER_F16) && buffers >= HALF_BUFFERS,
            wide: info.device_type == wgpu::DeviceType::Cpu,
            fused: info.device_type != wgpu::DeviceType::Cpu && Self::can_fuse(limits),
            state: false,
        }
    }

    /// Returns true if a device of these limits can run the fused kernels of attention.
    pub(crate) fn can_fuse(limits: &wgpu::Limits) -> bool {
        let threads = limits.max_compute_invocations_per_workgroup;
        threads.min(limits.max_compute_workgroup_size_x) >= 128
            && limits.max_compute_workgroup_storage_size >= 16 << 10
    }

    /// Returns true if f32 tensors are loaded eight numbers at a time when their rows allow it.
    pub(crate) fn wide_loads(&self) -> bool {
        self.int64 && self.wide
    }

    /// Returns a dispatch of `workgroups` workgroups, folded into two dimensions, or `None` if
    /// there is no work.
    pub(crate) fn dispatch<'a, O: Own>(
        &self,
        work: Work<'_, 'a, O>,
        workgroups: u64,
    ) -> Result<Option<Dispatch<'a>>> {
        let has = u64::from(self.grid);
        let width = workgroups.clamp(1, has);
        let height = workgroups.div_ceil(width);
        if height > has {
            // A grid is square at best.
            let root = workgroups.isqrt();
            let needs = root + u64::from(root * root < workgroups);
            let what = format!("{workgroups} workgroups of {}", work.variant.stem.name());
            let lack = Lack { limit: "max_compute_workgroups_per_dimension", has, needs };
            return Err(Error::Limit { what, lack });
        }
        self.dispatch_grid(work, [width as u32, height as u32])
    }

    /// Returns a dispatch of `grid`, which must be within the device's limits, or `None` if the
    /// grid is empty.
    pub(crate) fn dispatch_grid<'a, O: Own>(
        &self,
        work: Work<'_, 'a, O>,
        grid: [u32; 2],
    ) -> Result<Option<Dispatch<'a>>> {
        let Work { variant, tensors, params, own, loops } = work;
        debug_assert_eq!(variant.stem.own_words(), O::FIELDS, "{}", variant.stem.name());
        if grid.contains(&0) {
            return Ok(None);
        }
        self.check_loops(variant.stem, loops)?;
        let bound: Vec<(Binding<'a>, bool)> =
            variant.bindings().map(|(index, written)| (tensors[index].binding, written)).collect();
        // wgpu refuses a buffer that one dispatch binds both read-only and for writing, even if
        // the ranges are disjoint. All tensors are then bound for reading and writing.
        let is_read =
            |buffer| bound.iter().any(|(binding, written)| !written && binding.buffer == buffer);
        let shared = bound.iter().any(|(binding, written)| *written && is_read(binding.buffer));
        let params = Params { grid: grid[0], ..params }.with_places(tensors).with_own(&own);
        Ok(Some(Dispatch {
            variant: Variant { shared, state: self.state, ..variant },
            bindings: bound.into_iter().map(|(binding, _)| binding).collect(),
            params,
            grid,
        }))
    }

    /// Returns the form with few bindings if the device cannot bind all tensors of this one.
    pub(crate) fn bindable(&self, variant: Variant) -> Variant {
        if variant.tensors() > self.buffers as usize {
            variant.with("BOUND", "few")
        } else {
            variant
        }
    }

    /// Chooses the source of `dZ`, a value of the choice `GATE`. If the rate is read on the device,
    /// `dZ` must come from a mask.
    pub(crate) fn gate(&self, relu: bool, dropout: &Dropout) -> &'static str {
        if relu {
            "relu"
        } else if !self.state && dropout.mask.rate.threshold() == DRAWS && dropout.scale == 1.0 {
            "none"
        } else {
            "mask"
        }
    }

    /// Checks the operands of a call and returns the size of a number in bytes.
    ///
    /// Refuses tensors that cannot be bound, f16 if the device lacks it, f16 mixed with f32 in one
    /// call, and an output that shares an element with another tensor.
    pub(crate) fn check_numbers(&self, stem: Stem, operands: &[Operand<'_>]) -> Result<u64> {
        let kernel = stem.name();
        let element = operands.first().map_or(4, |operand| operand.view.number());
        if element == 2 && !self.half {
            return Err(Error::Adapter {
                what: format!(
                    "{kernel} of f16 tensors: the device lacks SHADER_F16 or {HALF_BUFFERS} storage buffers; request them with the device"
                ),
            });
        }
        check_operands(kernel, element, operands)?;
        Ok(element)
    }
}

/// Checks the operands of a kernel without an f16 form. Refuses tensors that cannot be bound, f16
/// tensors, and an output that shares an element with another tensor.
pub(crate) fn check_tensors(stem: Stem, operands: &[Operand<'_>]) -> Result<()> {
    check_operands(stem.name(), 4, operands)
}

/// Performs the checks of [`check_tensors`] for numbers of `element` bytes.
fn check_operands(kernel: &'static str, element: u64, operands: &[Operand<'_>]) -> Result<()> {
    for operand in operands {
        operand.view.check(kernel, operand.name, operand.element.unwrap_or(element))?;
        if operand.packed {
            operand.view.check_packed(kernel, operand.name)?;
        }
    }
    for (i, a) in operands.iter().enumerate().filter(|(_, operand)| operand.written) {
        let met = operands
            .iter()
            .enumerate()
            .find(|&(j, b)| i != j && a.view.overlaps(a.bytes(), &b.view, b.bytes()));
        if let Some((_, b)) = met {
            let what =
                format!("it has elements in common with `{}`, another tensor of the call", b.name);
            return Err(Error::Buffer { kernel, tensor: a.name, what });
        }
    }
    Ok(())
}

/// Returns the size in bytes of the scratch buffer that a plan needs, or 0 if it needs none.
pub(crate) fn scratch_bytes(plan: &[Dispatch<'_>]) -> u64 {
    let bindings = plan.iter().flat_map(|dispatch| &dispatch.bindings);
    bindings
        .filter(|binding| binding.buffer.is_none())
        .map(|binding| binding.offset + binding.size)
        .max()
        .unwrap_or(0)
}
