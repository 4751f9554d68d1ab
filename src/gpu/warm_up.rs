//! Pipelines compiled ahead of the calls that will use them.

use super::kernels::Kernels;
use crate::Result;

impl Kernels {
    /// Compiles ahead what calls of some kinds and shapes will use, so that none of them compiles anything when it is prepared; gives the
    /// number of pipelines that were compiled just now.
    ///
    /// `calls` describes them as they will be made, on kernels that only compile (what they prepare records nothing), and on six buffers that
    /// have a size but no memory: no larger than the device allows. Which pipeline a call takes depends on its kind and what it has (a bias,
    /// a residual, momentum), on rate 1 or less, on which of its sizes, row strides and byte offsets are multiples of 4 and 8 elements, on whether
    /// its tensors lie in one buffer, and for large tensors on their sizes themselves; it does not depend on the values of rates, seeds and
    /// steps. Kernels that [read a state](Self::reading) or were [replanned](Self::replanned) are warmed up for themselves.
    ///
    /// ```no_run
    /// # use wgpu_dropout::{Dropout, Key, Mask, Mode, Rate, call::DropoutCall, gpu::{Kernels, View}, wgpu};
    /// # fn main() -> wgpu_dropout::Result<()> { let device: wgpu::Device = unimplemented!();
    /// # let dropout = Dropout::train(Mode::Inverted, Mask::new(Rate::drop(0.5)?, Key { seed: 42, layer: 1, step: 0 }));
    /// let kernels = Kernels::new(&device)?;
    /// kernels.warm_up(|kernels, [x, y, ..]| {
    ///     kernels.dropout(&DropoutCall { x: &View::new(x, 128, 1024), y: &mut View::new(y, 128, 1024), dropout })?;
    ///     Ok(())
    /// })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of the calls.
    pub fn warm_up(&self, calls: impl FnOnce(&Self, [&wgpu::Buffer; 6]) -> Result<()>) -> Result<usize> {
        let device = self.device();
        // Past the largest size wgpu makes no buffer: what it gives instead knows its size, and is never bound.
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
        let before = self.compiled().len();
        calls(&self.ahead(), buffers.each_ref())?;
        Ok(self.compiled().len() - before)
    }
}
