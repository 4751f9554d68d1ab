//! The part of a dropout site that changes between steps, in a buffer that kernels read at run
//! time. The shader's twin is `shaders/state.wgsl`.

use crate::{AlphaDropout, Dropout, Error, GaussianDropout, Lack, Result};

/// Threshold, scale, step and seed of a dropout site of any kind, in the layout of a caller's
/// buffer.
///
/// [`Kernels::reading`](super::Kernels::reading) returns kernels that read them from the buffer at
/// run time. So a call is prepared once, and recorded and submitted again with the next step, the
/// next rate of a schedule or another seed. The caller writes the buffer by any means, such as
/// [`wgpu::Queue::write_buffer`] with [`bytes`](Self::bytes) or a kernel. Layer and offsets remain
/// values of the call.
///
/// | byte | field | type and value |
/// |---|---|---|
/// | 0 | threshold | u32, `t = round_half_up(keep · 65536)`, 0 ..= 65536 |
/// | 4 | scale | f32, 65536 / t for inverted dropout (0 if t is 0), 1 for vanilla; `a` of alpha dropout; `σ·c` of Gaussian dropout |
/// | 8 | step | u32 |
/// | 12, 16 | seed | u32 each, the low and the high word |
/// | 20 | shift | f32, `b` of alpha dropout, else 0 |
/// | 24 | dropped | f32, `a·α' + b` of alpha dropout, else 0 |
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct State {
    threshold: u32,
    scale: f32,
    step: u32,
    seed: [u32; 2],
    shift: f32,
    dropped: f32,
}

impl State {
    /// Size of a state in bytes.
    pub const SIZE: u64 = size_of::<Self>() as u64;

    /// Returns the state of a site. Its layer and offsets are not part of it.
    pub fn new(dropout: &Dropout) -> Self {
        let key = dropout.mask.key;
        Self {
            threshold: dropout.mask.rate.threshold(),
            scale: dropout.scale,
            step: key.step,
            seed: [key.seed as u32, (key.seed >> 32) as u32],
            shift: 0.0,
            dropped: 0.0,
        }
    }

    /// Returns the state of a site of alpha dropout. The backward pass is
    /// a [`DropoutCall`](crate::call::DropoutCall), which can read the same state.
    pub fn alpha(dropout: &AlphaDropout) -> Self {
        Self { shift: dropout.shift, dropped: dropout.dropped, ..Self::new(&dropout.backward()) }
    }

    /// Returns the state of a site of Gaussian dropout.
    pub fn gaussian(dropout: &GaussianDropout) -> Self {
        Self::new(&Dropout { mask: *dropout.mask(), scale: dropout.scale() })
    }

    /// Returns the bytes to write into the buffer.
    pub fn bytes(&self) -> &[u8] {
        bytemuck::bytes_of(self)
    }
}

/// Checks that kernels can read a state from a buffer at an offset.
///
/// # Errors
/// [`Error::Buffer`] for the buffer's usage, the offset's alignment or its range;
/// [`Error::Adapter`] if the device cannot bind two uniform buffers.
pub(super) fn check(device: &wgpu::Device, buffer: &wgpu::Buffer, offset: u64) -> Result<()> {
    let fail = |what: String| Err(Error::Buffer { kernel: "reading", tensor: "state", what });
    if !buffer.usage().contains(wgpu::BufferUsages::UNIFORM) {
        return fail("it lacks the usage UNIFORM".to_owned());
    }
    let has = device.limits().max_uniform_buffers_per_shader_stage.into();
    if has < 2 {
        let lack = Lack { limit: "max_uniform_buffers_per_shader_stage", has, needs: 2 };
        return Err(Error::lacks("kernels that read a state", lack));
    }
    let align = u64::from(device.limits().min_uniform_buffer_offset_alignment);
    if !offset.is_multiple_of(align) {
        return fail(format!(
            "offset {offset} is not a multiple of {align}, min_uniform_buffer_offset_alignment"
        ));
    }
    if offset.checked_add(State::SIZE).is_none_or(|end| end > buffer.size()) {
        return fail(format!(
            "{} bytes from {offset} on do not fit its size of {}",
            State::SIZE,
            buffer.size()
        ));
    }
    Ok(())
}
