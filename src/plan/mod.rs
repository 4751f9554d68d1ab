//! From a call to dispatches: which variant, which ranges of which buffers, which parameters, how
//! many workgroups.
//!
//! Nothing here touches a device. A tensor larger than a binding runs in windows of whole rows, a
//! sum in parts that take up one another's partial results in order, and a large product in
//! dispatches short enough for a desktop's watchdog; none of it changes a bit of a mask or the
//! order of a sum.

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

pub(crate) use forward::{ACTIVATION, FIRST, Forward, IN_PLACE, RELU, RESIDUAL, SAVE};
pub(crate) use images::Images;
pub(crate) use params::{Own, own};
pub use params::{Params, Place};
pub(crate) use product::{
    ProductOwn, product_own, rows_and_bias, sum_part, whole_in_half, windows_or_one,
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

use crate::rate::DRAWS;
use crate::{Dropout, Error, Result};

/// f32 bindings of 2^29 elements and more break on Vulkan.
const MAX_BINDING: u64 = (1 << 31) - (1 << 16);

/// Storage buffers that a dispatch must be able to bind for tensors of f16: a device that has f16
/// has these too.
pub(crate) const HALF_BUFFERS: u32 = 6;

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
pub struct Binding<'a> {
    /// `None` is the scratch buffer, which whoever records the plan has: [`scratch_bytes`] tells
    /// its size.
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
    /// All tensors of the kernel, by their binding, whether the form binds them or not.
    pub tensors: &'w [Window<'a>],
    /// The head of the parameters, without the tensors' places.
    pub params: Params,
    /// The kernel's own words.
    pub own: O,
    /// Iterations of all loops of a thread together, no fewer than there are; the one that ends a
    /// loop counts. Unrolled loops do not.
    pub loops: u64,
}

/// Rows of a tensor bound for one dispatch: the range, and the element of it at which they start.
#[derive(Clone, Copy)]
pub(crate) struct Window<'a> {
    pub binding: Binding<'a>,
    pub start: u32,
    pub stride: u32,
    pub cols: u32,
    /// Bytes of an element.
    pub element: u64,
}

/// A tensor of a call, and what the kernel does with it.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub name: &'static str,
    pub view: View<'a>,
    pub written: bool,
    /// Bytes of an element, if it is not a number of the view's kind.
    pub element: Option<u64>,
    /// True if rows must follow one another without a gap.
    pub packed: bool,
}

/// A tensor that is read.
pub(crate) fn read<'a>(name: &'static str, view: View<'a>) -> Operand<'a> {
    Operand { name, view, written: false, element: None, packed: false }
}

/// A tensor that is written.
pub(crate) fn write<'a>(name: &'static str, view: View<'a>) -> Operand<'a> {
    Operand { written: true, ..read(name, view) }
}

impl Operand<'_> {
    /// Requires that rows follow one another without a gap.
    pub fn packed(self) -> Self {
        Self { packed: true, ..self }
    }

    /// Sets the bytes of an element.
    pub fn of_bytes(self, element: u64) -> Self {
        Self { element: Some(element), ..self }
    }

    fn bytes(&self) -> u64 {
        self.element.unwrap_or_else(|| self.view.number())
    }
}

impl Window<'_> {
    /// The window from a column on.
    pub fn after_col(self, col: usize) -> Self {
        Self { start: self.start + col as u32, ..self }
    }

    /// Returns true if rows are whole vectors of so many elements.
    pub fn is_wide(&self, elements: u32) -> bool {
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
    pub(crate) fn rows_per_binding(
        &self,
        what: &'static str,
        stride: usize,
        element: u64,
    ) -> Result<usize> {
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

    pub(crate) fn window<'a>(
        &self,
        view: View<'a>,
        element: u64,
        from: usize,
        rows: usize,
    ) -> Window<'a> {
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
    pub(crate) fn whole<'a>(&self, what: &'static str, view: View<'a>) -> Result<Window<'a>> {
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

    /// Returns a dispatch of `workgroups` workgroups, folded into two dimensions; none if there is
    /// no work.
    pub(crate) fn dispatch<'a, O: Own>(
        &self,
        work: Work<'_, 'a, O>,
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
        self.dispatch_grid(work, [width as u32, height as u32])
    }

    /// Returns a dispatch of a grid that a device can take; none if the grid is empty.
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
        type Bound<'b> = (Binding<'b>, bool);
        let bound: Vec<Bound<'a>> =
            variant.bindings().map(|(index, written)| (tensors[index].binding, written)).collect();
        // wgpu binds no buffer for reading beside writing, whatever the ranges: then all is bound
        // for both.
        let (written, read): (Vec<Bound<'_>>, Vec<Bound<'_>>) =
            bound.iter().copied().partition(|(_, written)| *written);
        let shared = written.iter().any(|w| read.iter().any(|r| w.0.buffer == r.0.buffer));
        let params = Params { grid: grid[0], ..params }.with_places(tensors).with_own(&own);
        Ok(Some(Dispatch {
            variant: Variant { shared, state: self.state, ..variant },
            bindings: bound.into_iter().map(|(binding, _)| binding).collect(),
            params,
            grid,
        }))
    }

    /// Rows that every tensor of `tensors` can bind at once, each with its rows' distance in
    /// elements of `element` bytes; `total` where all fit whole.
    pub(crate) fn common_rows(
        &self,
        total: usize,
        tensors: &[(&'static str, usize)],
        element: u64,
    ) -> Result<usize> {
        tensors.iter().try_fold(total, |rows, &(name, stride)| {
            Ok(rows.min(self.rows_per_binding(name, stride, element)?))
        })
    }

    /// Returns the form that binds few tensors if the device cannot bind all that this one does.
    pub(crate) fn bindable(&self, variant: Variant) -> Variant {
        if variant.tensors() > self.buffers as usize {
            variant.with("BOUND", "few")
        } else {
            variant
        }
    }

    /// Chooses the source of `dZ`, a value of the choice `GATE`. If the rate is read on the device,
    /// it must come from a mask.
    pub(crate) fn gate(&self, relu: bool, dropout: &Dropout) -> &'static str {
        if relu {
            "relu"
        } else if !self.state && dropout.mask.rate.threshold() == DRAWS && dropout.scale == 1.0 {
            "none"
        } else {
            "mask"
        }
    }

    /// Refuses what cannot be bound, f16 that the device lacks or that goes with f32 in one call,
    /// and an output that shares an element with another tensor; bytes of a number.
    pub(crate) fn check_numbers(&self, stem: Stem, operands: &[Operand<'_>]) -> Result<u64> {
        let kernel = stem.name();
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

/// Refuses tensors that cannot be bound, f16 among them, and an output that shares an element with
/// another tensor.
pub(crate) fn check_tensors(stem: Stem, operands: &[Operand<'_>]) -> Result<()> {
    check_operands(stem.name(), 4, operands)
}

/// As [`check_tensors`], for numbers of `element` bytes.
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
pub(crate) fn scratch_bytes(plan: &[Dispatch<'_>]) -> u64 {
    let bindings = plan.iter().flat_map(|dispatch| &dispatch.bindings);
    bindings
        .filter(|binding| binding.buffer.is_none())
        .map(|binding| binding.offset + binding.size)
        .max()
        .unwrap_or(0)
}

/// Cuts `total` into windows of at most `most`; none where there is nothing.
pub(crate) fn windows(total: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..total).step_by(most.max(1)).map(move |from| (from, most.min(total - from)))
}
