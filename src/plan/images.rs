//! Kernels over images: as many whole images a dispatch as every tensor can bind.

use super::{
    Operand, Own, Params, Plan, Planner, Stem, Variant, View, Window, Work, check_tensors, windows,
};
use crate::Result;
use crate::rules::Image;

/// A call over images: tensors that hold equally many of them, and the size of one in each.
pub(crate) struct Images<'a, 'b, O> {
    pub stem: Stem,
    /// Number of images.
    pub count: usize,
    pub tensors: &'b [(Operand<'a>, Image)],
    /// Rows of an image and columns, as the kernel counts them.
    pub shape: [usize; 2],
    /// Threads of an image.
    pub threads: u64,
    /// Factor of a gradient that passes a dropout.
    pub scale: f32,
    pub own: O,
    /// Iterations of a thread's loops.
    pub loops: u64,
}

impl Planner {
    /// Plans a kernel over images.
    pub(crate) fn images<'a, O: Own>(&self, call: &Images<'a, '_, O>) -> Result<Plan<'a>> {
        let &Images { stem, count, tensors, shape, threads, scale, own, loops } = call;
        let operands: Vec<Operand<'a>> = tensors.iter().map(|&(operand, _)| operand).collect();
        check_tensors(stem, &operands)?;
        // However a tensor is divided into rows, its images follow one another: a row each.
        let view = |&(operand, image): &(Operand<'a>, Image)| {
            let cols = image.elements();
            View { rows: count, cols, stride: cols, ..operand.view }
        };
        let strides: Vec<(&'static str, usize)> =
            tensors.iter().map(|(operand, image)| (operand.name, image.elements())).collect();
        let variant = Variant::new(stem);
        let mut plan = Vec::new();
        for (from, images) in windows(count, self.common_rows(count, &strides, 4)?) {
            let bound: Vec<Window<'a>> =
                tensors.iter().map(|tensor| self.window(view(tensor), 4, from, images)).collect();
            let params = Params { scale, ..Params::of(shape[0] * images, shape[1]) };
            let work = Work { variant, tensors: &bound, params, own, loops };
            plan.extend(self.dispatch(work, (images as u64 * threads).div_ceil(64))?);
        }
        Ok(plan)
    }
}
