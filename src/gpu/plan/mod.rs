//! From a call to dispatches: which variant, which ranges of which buffers, which parameters, how
//! many workgroups.
//!
//! Nothing here touches a device. A tensor larger than a binding runs in windows of whole rows, a
//! sum in parts that take up one another's partial results in order, and a large product in
//! dispatches short enough for a desktop's watchdog; none of it changes a bit of a mask or the
//! order of a sum.

mod convolution;
mod elementwise;
mod ensemble;
mod forms;
mod forward;
mod loops;
mod normalization;
mod product;
mod rowwise;
mod split;
mod strips;

use super::bindings::Bound;
use super::params::Params;
use super::tiles::Tiles;
use super::variant::{Gate, Variant};
use super::view::View;
use crate::rate::DRAWS;
use crate::{Dropout, Error, Result};

/// f32 bindings of 2^29 elements and more break on Vulkan.
const MAX_BINDING: u64 = (1 << 31) - (1 << 16);

/// Storage buffers that a dispatch must be able to bind for tensors of f16: a device that has f16
/// has these too.
pub(super) const HALF_BUFFERS: u32 = 6;

/// What a plan depends on besides the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planner {
    /// Bytes that a storage binding can span.
    pub binding: u64,
    /// Alignment of a storage binding's offset in bytes.
    pub align: u64,
    /// Storage buffers that a dispatch binds: 4 at the least; with less than 6 some calls take
    /// more dispatches.
    pub buffers: u32,
    /// Workgroups in a dimension.
    pub grid: u32,
    /// Floating-point operations that a dispatch should not exceed.
    pub flops: u64,
    /// Iterations to which all loops of a thread may come together.
    pub loops: u64,
    /// Division of matrix products, a class of them at a time.
    pub tiles: Tiles,
    /// Whether Philox multiplies in 64-bit integers, which the device must have.
    pub int64: bool,
    /// Whether tensors may be stored as f16, which the device must have; never with less than six
    /// [`buffers`](Self::buffers).
    pub half: bool,
    /// Whether a thread moves much at a time, as adapters that run on a CPU like it: eight numbers
    /// as four 64-bit integers, where rows allow it and [`int64`](Self::int64) holds, and
    /// blocks of a matrix. Elsewhere neighbouring threads move neighbouring quads.
    pub wide: bool,
    /// Whether rate, scale, step and seed are read from a buffer, which
    /// [`Kernels::reading`](crate::gpu::Kernels::reading) alone can say.
    pub state: bool,
}

/// A range of a buffer bound to a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::gpu) struct Binding<'a> {
    /// `None` is the scratch buffer, which whoever records the plan has: [`scratch_bytes`] tells
    /// its size.
    pub buffer: Option<&'a wgpu::Buffer>,
    pub offset: u64,
    pub size: u64,
}

/// One dispatch.
#[derive(Debug, Clone)]
pub(in crate::gpu) struct Dispatch<'a> {
    pub variant: Variant,
    pub bindings: Vec<Binding<'a>>,
    pub params: Params,
    pub grid: [u32; 2],
}

/// Rows of a tensor bound for one dispatch: the range, and the element of it at which they start.
#[derive(Clone, Copy)]
struct Window<'a> {
    binding: Binding<'a>,
    start: u32,
    stride: u32,
    cols: u32,
    /// Bytes of an element.
    element: u64,
}

/// A tensor of a call, and what the kernel does with it.
#[derive(Clone, Copy)]
struct Operand<'a> {
    name: &'static str,
    view: View<'a>,
    written: bool,
    /// Bytes of an element, where it is not a number of the view's kind.
    element: Option<u64>,
    /// Whether rows must follow one another without a gap.
    packed: bool,
}

fn read<'a>(name: &'static str, view: View<'a>) -> Operand<'a> {
    Operand { name, view, written: false, element: None, packed: false }
}

fn write<'a>(name: &'static str, view: View<'a>) -> Operand<'a> {
    Operand { written: true, ..read(name, view) }
}

impl Operand<'_> {
    fn packed(self) -> Self {
        Self { packed: true, ..self }
    }

    fn bytes(&self) -> u64 {
        self.element.unwrap_or_else(|| self.view.number())
    }
}

impl Window<'_> {
    /// Whether rows are whole vectors of so many elements.
    fn is_wide(&self, elements: u32) -> bool {
        let bytes = self.element * u64::from(elements);
        [self.start, self.stride, self.cols].iter().all(|n| n.is_multiple_of(elements))
            && self.binding.size.is_multiple_of(bytes)
    }
}

impl Planner {
    /// The plan for an adapter, or for a device on it with these features and limits.
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
            // About a tenth of a second on a slow device of each kind.
            flops: if info.device_type == wgpu::DeviceType::Cpu { 1 << 31 } else { 1 << 35 },
            loops: loops::of_adapter(info),
            tiles: Tiles::for_device(info, features, limits),
            int64: features.contains(wgpu::Features::SHADER_INT64),
            half: features.contains(wgpu::Features::SHADER_F16) && buffers >= HALF_BUFFERS,
            wide: info.device_type == wgpu::DeviceType::Cpu,
            state: false,
        }
    }

    /// Whether eight numbers are loaded at once where rows allow it.
    pub(crate) fn wide_loads(&self) -> bool {
        self.int64 && self.wide
    }

    /// Rows, `stride` elements of `element` bytes apart, that one binding holds, wherever they
    /// start.
    fn rows_per_binding(&self, what: &'static str, stride: usize, element: u64) -> Result<usize> {
        let row = (stride as u64 * element).max(1);
        match self.binding.saturating_sub(self.align + 4) / row {
            0 => Err(Error::TooLarge {
                what: format!("a row of {what} in bytes"),
                value: row,
                bound: self.binding - self.align - 4,
            }),
            rows => Ok(usize::try_from(rows).unwrap_or(usize::MAX)),
        }
    }

    fn window<'a>(&self, view: View<'a>, element: u64, from: usize, rows: usize) -> Window<'a> {
        let row = view.stride as u64 * element;
        // No rows at the tensor's end would start past its buffer: an empty window is bound at the
        // tensor's start.
        let from = if rows == 0 { 0 } else { from };
        let (whole_from, whole_rows) = match row * view.rows as u64 + self.align + 4 <= self.binding
        {
            true => (0, view.rows),
            false => (from, rows),
        };
        let begin = view.offset + whole_from as u64 * row;
        let offset = begin - begin % self.align;
        let end = begin + View { rows: whole_rows, ..view }.extent(element).max(4);
        Window {
            binding: Binding {
                buffer: Some(view.buffer),
                offset,
                size: end.next_multiple_of(4) - offset,
            },
            start: ((view.offset + from as u64 * row - offset) / element) as u32,
            stride: view.stride as u32,
            cols: view.cols as u32,
            element,
        }
    }

    /// Words of a whole tensor that must fit one binding.
    fn whole<'a>(&self, what: &'static str, view: View<'a>) -> Result<Window<'a>> {
        let bytes = view.extent(view.number());
        if bytes + self.align + 4 > self.binding {
            return Err(Error::TooLarge {
                what: format!("{what} in bytes"),
                value: bytes,
                bound: self.binding - self.align - 4,
            });
        }
        Ok(self.window(view, view.number(), 0, view.rows))
    }

    /// A dispatch of `workgroups` workgroups, folded into two dimensions.
    fn dispatch<'a>(
        &self,
        variant: Variant,
        windows: &[Window<'a>],
        params: Params,
        workgroups: u64,
    ) -> Result<Option<Dispatch<'a>>> {
        let width = workgroups.clamp(1, u64::from(self.grid));
        let height = workgroups.div_ceil(width);
        if height > u64::from(self.grid) {
            let bound = u64::from(self.grid).pow(2);
            return Err(Error::TooLarge {
                what: "workgroups of a dispatch".to_owned(),
                value: workgroups,
                bound,
            });
        }
        self.dispatch_grid(variant, windows, params, [width as u32, height as u32])
    }

    /// A dispatch of a grid that a device can take, unless it is empty.
    fn dispatch_grid<'a>(
        &self,
        variant: Variant,
        windows: &[Window<'a>],
        params: Params,
        grid: [u32; 2],
    ) -> Result<Option<Dispatch<'a>>> {
        if grid.contains(&0) {
            return Ok(None);
        }
        self.check_loops(&variant, &params)?;
        let bindings: Vec<Binding<'a>> =
            variant.bound_of(windows).iter().map(|window| window.binding).collect();
        // wgpu binds no buffer for reading beside writing, whatever the ranges: then all is bound
        // for both.
        let writes = variant.writes();
        let meets = |i: usize, j: usize| {
            i != j && bindings[i].buffer == bindings[j].buffer && writes[i] && !writes[j]
        };
        let shared = (0..bindings.len()).any(|i| (0..bindings.len()).any(|j| meets(i, j)));
        let variant = Variant { shared, state: self.state, ..variant };
        let params = Params { grid: grid[0], ..params };
        Ok(Some(Dispatch { variant, bindings, params, grid }))
    }

    /// Rows that every tensor of `tensors` can bind at once, each with its rows' distance in
    /// elements of `element` bytes; `total` where all fit whole.
    fn common_rows(
        &self,
        total: usize,
        tensors: &[(&'static str, usize)],
        element: u64,
    ) -> Result<usize> {
        tensors.iter().try_fold(total, |rows, &(name, stride)| {
            Ok(rows.min(self.rows_per_binding(name, stride, element)?))
        })
    }

    /// The variant as the device binds it: all of its tensors, or few where it cannot bind them
    /// all.
    fn bindable(&self, variant: Variant) -> Variant {
        let all = Variant { bound: Bound::All, ..variant };
        if all.tensors() > self.buffers as usize {
            Variant { bound: Bound::Few, ..variant }
        } else {
            all
        }
    }

    /// Where `dZ` comes from: where a rate is yet to be read, from a mask.
    fn gate(&self, relu: bool, dropout: &Dropout) -> Gate {
        if relu {
            Gate::Relu
        } else if !self.state && dropout.mask.rate.threshold() == DRAWS && dropout.scale == 1.0 {
            Gate::None
        } else {
            Gate::Mask
        }
    }

    /// Refuses what cannot be bound, f16 that the device lacks or that goes with f32 in one call,
    /// and an output that shares an element with another tensor; bytes of a number.
    fn check_numbers(&self, kernel: &'static str, operands: &[Operand<'_>]) -> Result<u64> {
        let element = operands.first().map_or(4, |operand| operand.view.number());
        if element == 2 && !self.half {
            return Err(Error::Adapter {
                what: format!("{kernel} of f16 tensors: the device lacks SHADER_F16"),
            });
        }
        check_operands(kernel, element, operands)?;
        Ok(element)
    }
}

/// Refuses what cannot be bound, where a number has `element` bytes, and an output that shares an
/// element with another tensor.
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

/// Bytes of the scratch buffer that a plan takes; 0 where it takes none.
pub(in crate::gpu) fn scratch_bytes(plan: &[Dispatch<'_>]) -> u64 {
    let bindings = plan.iter().flat_map(|dispatch| &dispatch.bindings);
    bindings
        .filter(|binding| binding.buffer.is_none())
        .map(|binding| binding.offset + binding.size)
        .max()
        .unwrap_or(0)
}

/// Cuts `total` into windows of at most `most`; none where there is nothing.
fn windows(total: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..total).step_by(most.max(1)).map(move |from| (from, most.min(total - from)))
}
