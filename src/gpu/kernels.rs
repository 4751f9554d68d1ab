//! Kernels on a caller's device: compiles them, prepares calls for their buffers, and records the
//! calls into the caller's pass.

use super::guard::Guard;
use super::pipelines::{Pipelines, params_layout};
use super::recorder::{Blocks, Prepared};
use super::requirements;
#[cfg(doc)]
use crate::Error;
use crate::Result;
use crate::call::{Call, Views};
use crate::plan::{Planner, Variant, scratch_bytes};
use std::sync::{Arc, Mutex, PoisonError};

/// Variants that calls will use, each with its kernels.
pub(super) type Noted = Arc<Mutex<Vec<(Kernels, Variant)>>>;

/// The kernels of this crate on a caller's device.
///
/// Kernels never submit, wait, read back or set an error handler. A call is *prepared* once for its
/// buffers. It can then be recorded any number of times, in order with the caller's other commands:
///
/// ```no_run
/// use wgpu_dropout::call::DropoutCall;
/// use wgpu_dropout::gpu::{Kernels, View};
/// use wgpu_dropout::{Dropout, Key, Mask, Mode, Rate, Result, wgpu};
///
/// fn record(
///     device: &wgpu::Device,
///     x: &wgpu::Buffer,
///     y: &wgpu::Buffer,
/// ) -> Result<wgpu::CommandBuffer> {
///     let kernels = Kernels::new(device)?;
///     let mask = Mask::new(Rate::drop(0.5)?, Key { seed: 42, layer: 1, step: 0 });
///     let call = kernels.prepare(&DropoutCall {
///         x: View::new(x, 128, 1024),
///         y: View::new(y, 128, 1024),
///         dropout: Dropout::train(Mode::Inverted, mask),
///     })?;
///     let mut encoder = device.create_command_encoder(&Default::default());
///     call.record(&mut encoder.begin_compute_pass(&Default::default()));
///     Ok(encoder.finish())
/// }
/// ```
///
/// The structs in [`call`](crate::call) document the equation, shapes and units of each call.
/// Pipelines are compiled when the first call of a kind is prepared, or
/// [ahead of time](Self::warm_up).
///
/// Clones share their compiled pipelines.
#[derive(Debug, Clone)]
pub struct Kernels {
    /// The device, whose errors are caught.
    pub(super) guard: Guard,
    planner: Planner,
    /// Layout of the bind group of parameter blocks.
    pub(super) params: wgpu::BindGroupLayout,
    /// Buffer and offset from which rate, scale, step and seed are read.
    pub(super) state: Option<(wgpu::Buffer, u64)>,
    /// The caller's cache of compiled pipelines.
    pub(super) cache: Option<wgpu::PipelineCache>,
    /// Pairs of text and replacement, applied to every shader.
    edits: Vec<[String; 2]>,
    /// List that collects the variants of calls instead of preparing them; see
    /// [`warm_up`](Self::warm_up).
    ahead: Option<Noted>,
    pub(super) pipelines: Pipelines,
}

impl Kernels {
    /// Creates the kernels on `device`, in the forms that suit it. Compiles nothing yet.
    ///
    /// # Errors
    /// - [`Error::Adapter`] if the device's limits are below those that every kernel needs.
    /// - [`Error::Device`] if the device was lost.
    pub fn new(device: &wgpu::Device) -> Result<Self> {
        Self::with_planner(device, |planner| planner)
    }

    /// Creates the kernels on `device` with a changed planner, for example with another tile,
    /// smaller bindings or shorter dispatches. `change` receives the planner that suits the device.
    ///
    /// # Errors
    /// - The errors of [`new`](Self::new).
    /// - [`Error::Adapter`] if the planner asks for more than the device can do.
    /// - [`Error::Invalid`] if it sets [`Planner::state`]; see [`reading`](Self::reading).
    pub fn with_planner(
        device: &wgpu::Device,
        change: impl FnOnce(Planner) -> Planner,
    ) -> Result<Self> {
        let planner = requirements::planner(device, change)?;
        let guard = Guard::new(device)?;
        let params = guard.run(|| params_layout(device, false))?;
        Ok(Self {
            guard,
            planner,
            params,
            state: None,
            cache: None,
            edits: Vec::new(),
            ahead: None,
            pipelines: Pipelines::default(),
        })
    }

    /// Returns kernels that read a call's rate, scale, step and seed at run time, from a
    /// [`State`](super::State) at byte `offset` of `buffer`. They ignore the call's own values of
    /// these four, but use its layer and offsets. Both sets of kernels share their pipelines.
    ///
    /// A training loop prepares its calls once. It then writes the next state before each submit
    /// and records the same calls again.
    ///
    /// The buffer requires the usage UNIFORM, and whatever usage its writer requires.
    /// [`AlphaDropoutCall`](crate::call::AlphaDropoutCall) and
    /// [`GaussianDropoutCall`](crate::call::GaussianDropoutCall) require the states that are made
    /// for them.
    ///
    /// # Errors
    /// - [`Error::Buffer`] if the buffer lacks UNIFORM, if the state would lie outside it, or if
    ///   the offset is not a multiple of the device's `min_uniform_buffer_offset_alignment`.
    /// - [`Error::Buffer`] if the buffer was destroyed, could not be created, or belongs to another
    ///   device.
    /// - [`Error::Adapter`] if the device binds only one uniform buffer per stage.
    /// - [`Error::Device`] if the device was lost.
    pub fn reading(&self, buffer: &wgpu::Buffer, offset: u64) -> Result<Self> {
        super::state::check(self.device(), buffer, offset)?;
        let params = self.guard.run(|| params_layout(self.device(), true))?;
        self.usable("reading", "state", wgpu::BufferBindingType::Uniform, buffer)?;
        let planner = Planner { state: true, ..self.planner };
        Ok(Self { planner, params, state: Some((buffer.clone(), offset)), ..self.clone() })
    }

    /// Returns the same kernels, which compile their pipelines through the caller's cache.
    /// Pipelines that an earlier run compiled are then not compiled again. Creating a cache
    /// requires the feature [`PIPELINE_CACHE`](wgpu::Features::PIPELINE_CACHE); see
    /// [`wgpu::Device::create_pipeline_cache`].
    pub fn with_cache(self, cache: wgpu::PipelineCache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// Returns the kernels with every occurrence of `from` in a shader replaced by `to`. Their
    /// results are no longer those that this crate promises. This is meant for negative controls,
    /// which must fail, such as Philox with too few rounds.
    pub fn edited(mut self, from: &str, to: &str) -> Self {
        self.edits.push([from.to_owned(), to.to_owned()]);
        Self { pipelines: Pipelines::default(), ..self }
    }

    /// Returns the same kernels with another planner. `change` receives the planner that suits
    /// the device. Both sets of kernels share their pipelines.
    ///
    /// # Errors
    /// The errors of [`with_planner`](Self::with_planner).
    pub fn replanned(&self, change: impl FnOnce(Planner) -> Planner) -> Result<Self> {
        let planner = requirements::planner(self.device(), change)?;
        Ok(Self { planner: Planner { state: self.state.is_some(), ..planner }, ..self.clone() })
    }

    /// Returns the same kernels, whose calls only add the variants that they use to `noted`.
    pub(super) fn ahead(&self, noted: &Noted) -> Self {
        Self { ahead: Some(noted.clone()), ..self.clone() }
    }

    pub(super) fn device(&self) -> &wgpu::Device {
        self.guard.device()
    }

    /// Returns true if several threads may use the device at once. On OpenGL they may not: wgpu
    /// panics there if a thread waits longer than a second for another thread to compile.
    pub(crate) fn is_shared(&self) -> bool {
        self.device().adapter_info().backend != wgpu::Backend::Gl
    }

    /// Returns the planner, which divides calls into dispatches.
    pub fn planner(&self) -> &Planner {
        &self.planner
    }

    /// Prepares a call for its buffers. [`call`](crate::call) lists the kernels.
    ///
    /// # Errors
    /// - [`Error::Shape`] if sizes do not fit one another.
    /// - [`Error::Buffer`] if a buffer lacks STORAGE, if a range lies outside its buffer, if an
    ///   offset is not a multiple of 4, or if an output shares an element with another tensor.
    /// - [`Error::Buffer`] if a buffer was destroyed, could not be created, or belongs to another
    ///   device.
    /// - [`Error::Invalid`] for a setting outside its range.
    /// - [`Error::TooLarge`] if a size exceeds the mask contract or 32 bits.
    /// - [`Error::Limit`] if a row, or a tensor that is not divided, exceeds a binding.
    /// - [`Error::Adapter`] for f16 tensors on a device without f16.
    /// - [`Error::OutOfMemory`] if the call's parameters or the parts of its sums cannot be
    ///   allocated.
    /// - [`Error::Device`] if the device was lost.
    pub fn prepare<'a, C: Call<Views<'a>>>(&self, call: &C) -> Result<Prepared> {
        let plan = call.plan(&self.planner)?;
        if let Some(noted) = &self.ahead {
            let kernels = Self { ahead: None, ..self.clone() };
            let uses = plan.iter().map(|dispatch| (kernels.clone(), dispatch.variant));
            noted.lock().unwrap_or_else(PoisonError::into_inner).extend(uses);
            return Ok(Prepared { steps: Vec::new(), params: None, slot: 0 });
        }
        let slot = self.slot();
        let scratch = match scratch_bytes(&plan) {
            0 => None,
            bytes => Some(self.scratch(bytes)?),
        };
        let mut blocks = Blocks::new(slot, plan.len());
        let mut steps = Vec::with_capacity(plan.len());
        for (i, dispatch) in plan.iter().enumerate() {
            blocks.set(i, &dispatch.params);
            steps.push(self.step(dispatch, scratch.as_ref(), None)?.0);
        }
        let params = self.bind_params(&self.params_buffer(&blocks)?)?;
        Ok(Prepared { steps, params: Some(params), slot })
    }

    /// Returns the sorted names of the variants compiled so far.
    pub fn compiled(&self) -> Vec<String> {
        self.pipelines.names()
    }

    /// Returns a variant's WGSL text with these kernels' edits.
    pub(super) fn source(&self, variant: Variant) -> String {
        variant.edited_source(&self.edits)
    }
}
