//! Plans of `patches`, `pool` and their ways back: windows of whole images.

use super::{Dispatch, Operand, Planner, Window, check_operands, read, windows, write};
use crate::Result;
use crate::call::{Image, Patches, PatchesGrad, Pool, PoolCall, PoolGrad, Pooling};
use crate::gpu::params::{AVERAGE, Params, THROUGH};
use crate::gpu::stem::Stem;
use crate::gpu::variant::Variant;
use crate::gpu::view::View;

/// A plan over images: tensors that hold as many of them, and what one of each is.
struct Images<'a, 'b> {
    stem: Stem,
    count: usize,
    tensors: &'b [(Operand<'a>, Image)],
    /// Rows of an image, as the kernel counts them.
    rows: usize,
    /// Threads of an image.
    threads: u64,
    params: Params,
}

impl Planner {
    pub(in crate::gpu) fn patches<'a>(
        &self,
        call: &Patches<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        let (count, patches) = call.check()?;
        let params = Params {
            cols: patches.channels as u32,
            inner: (call.filter.side * call.image.channels) as u32,
            first: call.filter.padding as u32,
            ..sizes(call.image, patches)
        };
        let (from, to) = (read("x", *call.x).packed(), write("patches", *call.patches).packed());
        let tensors = [(from, call.image), (to, patches)];
        // Rows are those of the patches.
        let (rows, threads) =
            (patches.pixels(), patches.pixels() as u64 * patches.channels.div_ceil(8) as u64);
        self.images(&Images {
            stem: Stem::Patches,
            count,
            tensors: &tensors,
            rows,
            threads,
            params,
        })
    }

    pub(in crate::gpu) fn patches_grad<'a>(
        &self,
        call: &PatchesGrad<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        let (count, patches) = call.check()?;
        let side = call.filter.side;
        let params = Params {
            inner: (side * side) as u32,
            flags: if call.through.is_some() { THROUGH } else { 0 },
            scale: call.through.map_or(1.0, |(_, scale)| scale),
            first: call.filter.padding as u32,
            col_0: side as u32,
            ..sizes(call.image, patches)
        };
        let (from, to) = (
            read("grad_patches", *call.grad_patches).packed(),
            write("grad_x", *call.grad_x).packed(),
        );
        // Something must be bound where nothing is gone back through.
        let through = call
            .through
            .map_or((from, patches), |(x, _)| (read("through", *x).packed(), call.image));
        let tensors = [(from, patches), through, (to, call.image)];
        let threads = call.image.elements() as u64;
        self.images(&Images {
            stem: Stem::PatchesGrad,
            count,
            tensors: &tensors,
            rows: 1,
            threads,
            params,
        })
    }

    pub(in crate::gpu) fn pool<'a>(
        &self,
        call: &PoolCall<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        let (count, pooled) = call.check()?;
        let params = windowed(call.pool, sizes(call.image, pooled));
        let tensors =
            [(read("x", *call.x).packed(), call.image), (write("y", *call.y).packed(), pooled)];
        let threads = pooled.elements() as u64;
        self.images(&Images {
            stem: Stem::Pool,
            count,
            tensors: &tensors,
            rows: 1,
            threads,
            params,
        })
    }

    pub(in crate::gpu) fn pool_grad<'a>(
        &self,
        call: &PoolGrad<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        let (count, pooled) = call.check()?;
        let mut params = windowed(call.pool, sizes(call.image, pooled));
        if let Some(scale) = call.through {
            params = Params { flags: params.flags | THROUGH, scale, ..params };
        }
        let tensors = [
            (read("x", *call.x).packed(), call.image),
            (read("grad_y", *call.grad_y).packed(), pooled),
            (write("grad_x", *call.grad_x).packed(), call.image),
        ];
        // A thread a window, of those too that the end of the image cuts.
        let Image { height, width, channels } = call.image;
        let threads =
            (height.div_ceil(call.pool.height) * width.div_ceil(call.pool.width) * channels) as u64;
        self.images(&Images {
            stem: Stem::PoolGrad,
            count,
            tensors: &tensors,
            rows: 1,
            threads,
            params,
        })
    }

    /// As many images at a time as every tensor can bind.
    fn images<'a>(&self, plan: &Images<'a, '_>) -> Result<Vec<Dispatch<'a>>> {
        let &Images { stem, count, tensors, rows, threads, params } = plan;
        let operands: Vec<Operand<'a>> = tensors.iter().map(|&(operand, _)| operand).collect();
        check_operands(stem.name(), 4, &operands)?;
        // However a tensor is divided into rows, its images follow one another: a row each.
        let view = |&(operand, image): &(Operand<'a>, Image)| {
            let cols = image.elements();
            View { rows: count, cols, stride: cols, ..operand.view }
        };
        let strides: Vec<(&'static str, usize)> =
            tensors.iter().map(|(operand, image)| (operand.name, image.elements())).collect();
        let mut dispatches = Vec::new();
        for (from, images) in windows(count, self.common_rows(count, &strides, 4)?) {
            let bound: Vec<Window<'a>> =
                tensors.iter().map(|tensor| self.window(view(tensor), 4, from, images)).collect();
            let start = |index: usize| bound.get(index).map_or(0, |window| window.start);
            let params = Params {
                rows: (rows * images) as u32,
                a_start: start(0),
                b_start: start(1),
                c_start: start(2),
                ..params
            };
            let workgroups = (images as u64 * threads).div_ceil(64);
            dispatches.extend(self.dispatch(Variant::new(stem), &bound, params, workgroups)?);
        }
        Ok(dispatches)
    }
}

/// What all of these kernels are told of an image and of what becomes of it. Sizes that are no u32
/// are those of no tensor.
fn sizes(image: Image, made: Image) -> Params {
    let Image { height, width, channels } = image;
    Params {
        count: channels as u32,
        size_1: height as u32,
        size_2: width as u32,
        row_0: made.height as u32,
        row_1: made.width as u32,
        ..Params::default()
    }
}

/// The same of windows.
fn windowed(pool: Pool, params: Params) -> Params {
    let area = pool.height * pool.width;
    Params {
        inner: area as u32,
        flags: if pool.pooling == Pooling::Average { AVERAGE } else { 0 },
        col_0: pool.height as u32,
        col_1: pool.width as u32,
        rate: (1.0 / area as f64) as f32,
        ..params
    }
}
