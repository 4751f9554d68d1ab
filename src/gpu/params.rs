//! The one parameter block that every kernel reads; its twin is `Params` in `shaders/mask.wgsl`.

use crate::{Dropout, Mask};

/// Flag of sums: they start in this dispatch.
pub(super) const FIRST: u32 = 1;
/// Flag of sums: they end in this dispatch.
pub(super) const LAST: u32 = 2;
/// Flag of `linear_forward`.
pub(super) const RELU: u32 = 4;
/// Flag of `linear_forward`.
pub(super) const BIAS: u32 = 8;
/// What an activation's number is multiplied by among the flags, where it takes three bits.
pub(super) const ACTIVATION: u32 = 16;
/// Flag of `linear_activation`.
pub(super) const SAVE: u32 = 128;
/// Flag of `linear_activation`.
pub(super) const RESIDUAL: u32 = 256;
/// Flag of `linear_activation`.
pub(super) const IN_PLACE: u32 = 512;
/// Flag of `grad_input`, `batch_norm_grad` and `pool_grad`.
pub(super) const THROUGH: u32 = 2;
/// Flag of `batch_norm_grad`.
pub(super) const SUMS: u32 = 4;
/// Flag of `batch_norm_grad`.
pub(super) const SLOPES: u32 = 8;
/// Flag of `sgd`.
pub(super) const MAX_NORM: u32 = 1;
/// Flag of `squared_error`.
pub(super) const LOGISTIC: u32 = 1;
/// Flag of `pool` and `pool_grad`.
pub(super) const AVERAGE: u32 = 1;
/// Flag of `gather`.
pub(super) const LABELS: u32 = 1;

/// Scalars only, so that every language lays it out alike; the names are explained in the shader.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[allow(missing_docs)]
pub struct Params {
    pub rows: u32,
    pub cols: u32,
    pub inner: u32,
    pub grid: u32,
    pub seed_low: u32,
    pub seed_high: u32,
    pub layer: u32,
    pub step: u32,
    pub row_offset: u32,
    pub col_group: u32,
    pub col_lane: u32,
    pub threshold: u32,
    pub scale: f32,
    pub flags: u32,
    pub a_start: u32,
    pub a_stride: u32,
    pub b_start: u32,
    pub b_stride: u32,
    pub c_start: u32,
    pub c_stride: u32,
    pub d_start: u32,
    pub d_stride: u32,
    pub e_start: u32,
    pub e_stride: u32,
    pub f_start: u32,
    pub f_stride: u32,
    pub first: u32,
    pub count: u32,
    pub rate: f32,
    pub momentum: f32,
    pub decay: f32,
    pub max_norm: f32,
    pub l1: f32,
    pub terms: u32,
    pub shift: f32,
    pub dropped: f32,
    pub size_1: u32,
    pub size_2: u32,
    pub row_0: u32,
    pub row_1: u32,
    pub row_2: u32,
    pub col_0: u32,
    pub col_1: u32,
    pub col_2: u32,
}

impl Params {
    /// Every field's name in order, for the test that holds this struct against the shader's.
    pub const FIELDS: [&'static str; 44] = [
        "rows",
        "cols",
        "inner",
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
        "flags",
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
        "first",
        "count",
        "rate",
        "momentum",
        "decay",
        "max_norm",
        "l1",
        "terms",
        "shift",
        "dropped",
        "size_1",
        "size_2",
        "row_0",
        "row_1",
        "row_2",
        "col_0",
        "col_1",
        "col_2",
    ];

    /// The mask's part, for a dispatch whose first element is local `(row, col)` of the masked
    /// tensor.
    pub(super) fn with_mask(self, mask: &Mask, row: usize, col: usize) -> Self {
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

    pub(super) fn with_dropout(self, dropout: &Dropout, row: usize, col: usize) -> Self {
        Self { scale: dropout.scale, ..self.with_mask(&dropout.mask, row, col) }
    }
}
