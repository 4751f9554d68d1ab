//! Compilation of pipelines ahead of the calls that will use them.

use super::kernels::{Kernels, Noted};
#[cfg(doc)]
use crate::Error;
use crate::Result;
use crate::plan::Variant;
use std::sync::PoisonError;

impl Kernels {
    /// Compiles the pipelines that calls of some kinds and shapes will use, in parallel on all
    /// threads, so that those calls compile nothing when they are prepared. Returns the number of
    /// pipelines that this call compiled.
    ///
    /// `calls` makes the same calls as later, on kernels that only compile (what they prepare
    /// records nothing) and on six buffers that have the device's largest size but no memory.
    ///
    /// The pipeline of a call depends on its kind and its options (a bias, a residual, momentum),
    /// and on whether its keep rate is 1. It depends on which of its sizes, row strides and byte
    /// offsets are multiples of 4 and 8 elements, on whether its tensors lie in one buffer, and for
    /// large tensors on the sizes themselves. It does not depend on the values of rates, seeds and
    /// steps. Kernels that [read a state](Self::reading) or were [replanned](Self::replanned)
    /// require a warm-up of their own.
    ///
    /// ```no_run
    /// # use wgpu_dropout::gpu::{Kernels, View};
    /// # use wgpu_dropout::{Dropout, Key, Mask, Mode, Rate, call::DropoutCall, wgpu};
    /// # fn main() -> wgpu_dropout::Result<()> { let device: wgpu::Device = unimplemented!();
    /// # let key = Key { seed: 42, layer: 1, step: 0 };
    /// # let dropout = Dropout::train(Mode::Inverted, Mask::new(Rate::drop(0.5)?, key));
    /// let kernels = Kernels::new(&device)?;
    /// kernels.warm_up(|kernels, [x, y, ..]| {
    ///     let (x, y) = (View::new(x, 128, 1024), View::new(y, 128, 1024));
    ///     kernels.prepare(&DropoutCall { x, y, dropout })?;
    ///     Ok(())
    /// })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of the calls; [`Error::Device`] if the device was lost or the driver cannot compile a
    /// kernel.
    pub fn warm_up(
        &self,
        calls: impl FnOnce(&Self, [&wgpu::Buffer; 6]) -> Result<()>,
    ) -> Result<usize> {
        let device = self.device();
        // wgpu creates no buffer beyond the largest size. It returns an invalid one instead, which
        // knows its size and is never bound, and an error that is not one here.
        let descriptor = wgpu::BufferDescriptor {
            label: Some("wgpu-dropout warm-up"),
            size: device.limits().max_buffer_size.saturating_add(4),
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        };
        let (buffers, _) =
            self.guard.caught(|| [(); 6].map(|()| device.create_buffer(&descriptor)));
        self.guard.check()?;
        let noted = Noted::default();
        calls(&self.ahead(&noted), buffers.each_ref())?;
        let uses = std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner));
        let compiled = side_by_side(&uses)?;
        Ok(compiled.into_iter().filter(|&compiled| compiled).count())
    }
}

/// Compiles all variants in parallel; for each, returns true if this call compiled it. Without
/// threads if the device cannot be shared between them.
#[cfg(not(target_arch = "wasm32"))]
fn side_by_side(uses: &[(Kernels, Variant)]) -> Result<Vec<bool>> {
    use rayon::prelude::*;
    let one = |(kernels, variant): &(Kernels, Variant)| Ok(kernels.pipeline(*variant)?.1);
    if uses.iter().all(|(kernels, _)| kernels.is_shared()) {
        uses.par_iter().map(one).collect()
    } else {
        uses.iter().map(one).collect()
    }
}

#[cfg(target_arch = "wasm32")]
fn side_by_side(uses: &[(Kernels, Variant)]) -> Result<Vec<bool>> {
    uses.iter().map(|(kernels, variant)| Ok(kernels.pipeline(*variant)?.1)).collect()
}
