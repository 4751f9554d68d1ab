//! The parameter block of a dispatch; its twin is `Params` in `shaders/mask.wgsl`.
//!
//! Every kernel shares the head. What a kernel needs beyond it, it names itself, in a struct `Own`
//! of its shader and in a struct of its call's file that [`own!`](crate::plan::own) declares. With
//! debug assertions, the planner refuses a dispatch whose two structs differ.

use super::Window;
use crate::{Dropout, Mask};
use bytemuck::Zeroable;

/// Most tensors of a kernel: bindings 0 to 7, which the shaders call `a` to `h`.
pub const TENSORS: usize = 8;

/// Most words of a kernel's own.
const WORDS: usize = 12;

/// Place of a tensor in its binding.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Place {
    /// First element of the tensor in its binding.
    pub start: u32,
    /// Elements from the start of a row to that of the next.
    pub stride: u32,
}

/// Parameters of one dispatch, as they lie in the uniform buffer: scalars only, so that every
/// language lays them out alike.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Params {
    /// Rows of the output in this dispatch.
    pub rows: u32,
    /// Columns of the output in this dispatch.
    pub cols: u32,
    /// Workgroups along x, since a large grid is folded into y.
    pub grid: u32,
    /// Low word of the mask's seed.
    pub seed_low: u32,
    /// High word of the mask's seed.
    pub seed_high: u32,
    /// Dropout site of the mask.
    pub layer: u32,
    /// Training step of the mask.
    pub step: u32,
    /// Global row of local row 0 of the mask.
    pub row_offset: u32,
    /// Global column of local column 0 of the mask, divided by 8.
    pub col_group: u32,
    /// Remainder of that division.
    pub col_lane: u32,
    /// Draws below the threshold keep an element: 0 ..= 65536.
    pub threshold: u32,
    /// Factor of a kept element, or of Gaussian noise.
    pub scale: f32,
    /// Places of the kernel's tensors, by their binding.
    pub tensors: [Place; TENSORS],
    /// The words of the kernel's own.
    pub own: [u32; WORDS],
}

impl Params {
    /// Names of the head's fields in the shader, in order.
    pub const HEAD: [&'static str; 28] = [
        "rows",
        "cols",
        "grid",
        "seed_low",
        "seed_high",
        "layer",
        "step",
        "row_offset",
        "col_group",
        "col_lane",
        "threshold",
        "scale",
        "a_start",
        "a_stride",
        "b_start",
        "b_stride",
        "c_start",
        "c_stride",
        "d_start",
        "d_stride",
        "e_start",
        "e_stride",
        "f_start",
        "f_stride",
        "g_start",
        "g_stride",
        "h_start",
        "h_stride",
    ];

    /// Parameters of a `rows × cols` output, without a mask.
    pub(crate) fn of(rows: usize, cols: usize) -> Self {
        Self { rows: rows as u32, cols: cols as u32, ..Self::zeroed() }
    }

    /// Sets the mask's part for a dispatch whose first element is local `(row, col)` of the masked
    /// tensor. The scale becomes 1.
    pub(crate) fn with_mask(self, mask: &Mask, row: usize, col: usize) -> Self {
        let col = mask.col_offset + col as u64;
        Self {
            seed_low: mask.key.seed as u32,
            seed_high: (mask.key.seed >> 32) as u32,
            layer: mask.key.layer,
            step: mask.key.step,
            row_offset: (mask.row_offset + row as u64) as u32,
            col_group: (col / 8) as u32,
            col_lane: (col % 8) as u32,
            threshold: mask.rate.threshold(),
            scale: 1.0,
            ..self
        }
    }

    /// Sets mask and scale; see [`with_mask`](Self::with_mask).
    pub(crate) fn with_dropout(self, dropout: &Dropout, row: usize, col: usize) -> Self {
        Self { scale: dropout.scale, ..self.with_mask(&dropout.mask, row, col) }
    }

    /// Sets the places of all tensors.
    pub(super) fn with_places(mut self, windows: &[Window<'_>]) -> Self {
        for (place, window) in self.tensors.iter_mut().zip(windows) {
            *place = Place { start: window.start, stride: window.stride };
        }
        self
    }

    /// Sets the words of the kernel's own.
    pub(super) fn with_own<O: Own>(mut self, own: &O) -> Self {
        const { assert!(size_of::<O>() <= 4 * WORDS, "a kernel has at most 12 words of its own") };
        bytemuck::bytes_of_mut(&mut self.own)[..size_of::<O>()]
            .copy_from_slice(bytemuck::bytes_of(own));
        self
    }
}

/// Words of a kernel's own, under the names that its shader's struct `Own` gives them.
pub(crate) trait Own: bytemuck::Pod {
    /// Name and WGSL type of each word, in order.
    const FIELDS: &'static [(&'static str, &'static str)];
}

/// The own words of a kernel that needs none.
impl Own for () {
    const FIELDS: &'static [(&'static str, &'static str)] = &[];
}

/// Declares the words of a kernel's own: a struct of `u32` and `f32` fields, in the order and under
/// the names of the shader's struct `Own`.
macro_rules! own {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $kind:ident,)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub(crate) struct $name {
            $(pub $field: $kind,)*
        }

        impl $crate::plan::Own for $name {
            const FIELDS: &'static [(&'static str, &'static str)] =
                &[$((stringify!($field), stringify!($kind))),*];
        }
    };
}
pub(crate) use own;
