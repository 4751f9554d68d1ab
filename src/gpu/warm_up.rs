//! Pipelines compiled ahead of the calls that will use them.

use super::kernels::{Kernels, Noted};
use super::memory::error_of;
use crate::plan::Variant;
use crate::{Error, Result};
use std::sync::PoisonError;

impl Kernels {
    /// Compiles ahead what calls of some kinds and shapes will use, side by side on as many threads
    /// as there are, so that none of them compiles anything when it is prepared; gives the
    /// number of pipelines that were compiled just now.
    ///
    /// `calls` describes them as they will be made, on kernels that only compile (what they prepare
    /// records nothing), and on six buffers that have a size but no memory: no larger than the
    /// device allows. Which pipeline a call takes depends on its kind and what it has (a bias,
    /// a residual, momentum), on rate 1 or less, on which of its sizes, row strides and byte
    /// offsets are multiples of 4 and 8 elements, on whether its tensors lie in one buffer, and
    /// for large tensors on their sizes themselves; it does not depend on the values of rates,
    /// seeds and steps. Kernels that [read a state](Self::reading) or were
    /// [replanned](Self::replanned) are warmed up for themselves.
    ///
    /// ```no_run
    /// # use wgpu_dropout::{Dropout, Key, Mask, Mode, Rate, call::DropoutCall, gpu::{Kernels, View}, wgpu};
    /// # fn main() -> wgpu_dropout::Result<()> { let device: wgpu::Device = unimplemented!();
    /// # let dropout = Dropout::train(Mode::Inverted, Mask::new(Rate::drop(0.5)?, Key { seed: 42, layer: 1, step: 0 }));
    /// let kernels = Kernels::new(&device)?;
    /// kernels.warm_up(|kernels, [x, y, ..]| {
    ///     kernels.prepare(&DropoutCall { x: View::new(x, 128, 1024), y: View::new(y, 128, 1024), dropout })?;
    ///     Ok(())
    /// })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of the calls; [`Error::Device`] where the driver refuses a kernel.
    pub fn warm_up(
        &self,
        calls: impl FnOnce(&Self, [&wgpu::Buffer; 6]) -> Result<()>,
    ) -> Result<usize> {
        let device = self.device();
        // Past the largest size wgpu makes no buffer: what it gives instead knows its size, and is
        // never bound.
        let error = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let buffers = [(); 6].map(|()| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("wgpu-dropout warm-up"),
                size: device.limits().max_buffer_size.saturating_add(4),
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        });
        drop(error);
        let noted = Noted::default();
        calls(&self.ahead(&noted), buffers.each_ref())?;
        let uses = std::mem::take(&mut *noted.lock().unwrap_or_else(PoisonError::into_inner));
        let compiled = side_by_side(&uses)?;
        Ok(compiled.into_iter().filter(|&compiled| compiled).count())
    }
}

/// Compiles all of it, on as many threads as there are; whether each was compiled just now.
#[cfg(not(target_arch = "wasm32"))]
fn side_by_side(uses: &[(Kernels, Variant)]) -> Result<Vec<bool>> {
    use rayon::prelude::*;
    let one = |(kernels, variant): &(Kernels, Variant)| compiled_now(kernels, *variant);
    match uses.iter().all(|(kernels, _)| kernels.is_shared()) {
        true => uses.par_iter().map(one).collect(),
        false => uses.iter().map(one).collect(),
    }
}

#[cfg(target_arch = "wasm32")]
fn side_by_side(uses: &[(Kernels, Variant)]) -> Result<Vec<bool>> {
    uses.iter().map(|(kernels, variant)| compiled_now(kernels, *variant)).collect()
}

/// Error scopes belong to a thread, so that those of the caller see nothing of this one.
fn compiled_now(kernels: &Kernels, variant: Variant) -> Result<bool> {
    let filters = [
        wgpu::ErrorFilter::Internal,
        wgpu::ErrorFilter::OutOfMemory,
        wgpu::ErrorFilter::Validation,
    ];
    let scopes = filters.map(|filter| kernels.device().push_error_scope(filter));
    let (_, now) = kernels.pipeline(variant);
    // The scope that was opened last closes first. A browser tells only later: there the first use
    // of the pipeline fails instead.
    let errors: Vec<wgpu::Error> = scopes.into_iter().rev().filter_map(error_of).collect();
    match errors.first() {
        Some(error) => {
            Err(Error::Device { what: format!("{} does not compile: {error}", variant.name()) })
        }
        None => Ok(now),
    }
}
