//! Kernels on a caller's device: compiles them, prepares calls for their buffers, and records the
//! calls into the caller's pass.

use super::memory;
use super::pipelines::{Pipeline, Pipelines};
use super::recorder::{Blocks, Step, record};
use crate::call::{Call, Views};
use crate::plan::{HALF_BUFFERS, Params, Planner, Variant, scratch_bytes};
use crate::{Error, Result};
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
    device: wgpu::Device,
    planner: Planner,
    params: wgpu::BindGroupLayout,
    /// Buffer and offset from which rate, scale, step and seed are read.
    state: Option<(wgpu::Buffer, u64)>,
    /// The caller's cache of compiled pipelines.
    cache: Option<wgpu::PipelineCache>,
    /// Pairs of text and replacement, applied to every shader.
    edits: Vec<[String; 2]>,
    /// List that collects the variants of calls instead of preparing them; see
    /// [`warm_up`](Self::warm_up).
    ahead: Option<Noted>,
    pipelines: Pipelines,
}

impl Kernels {
    /// Creates the kernels on `device`, in the forms that suit it. Compiles nothing yet.
    ///
    /// # Errors
    /// [`Error::Adapter`] if the device's limits are below those that every kernel needs.
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
        let (info, features, limits) = (device.adapter_info(), device.features(), device.limits());
        let most = Planner::new(&info, features, &limits);
        let changed = change(most);
        let planner = Planner { half: changed.half && changed.buffers >= HALF_BUFFERS, ..changed };
        if planner.state {
            return Err(Error::invalid(
                "Planner::state: only Kernels::reading sets it, together with the buffer",
            ));
        }
        if planner.half && !most.half {
            return Err(Error::Adapter { what: "f16 tensors: they need SHADER_F16".to_owned() });
        }
        if planner.int64 && !most.int64 {
            return Err(Error::Adapter {
                what: "64-bit integers: they need SHADER_INT64".to_owned(),
            });
        }
        let needs = [
            ("max_storage_buffer_binding_size", planner.binding, 1 << 16, most.binding),
            (
                "max_compute_workgroups_per_dimension",
                u64::from(planner.grid),
                1,
                u64::from(most.grid),
            ),
            (
                "max_storage_buffers_per_shader_stage",
                u64::from(limits.max_storage_buffers_per_shader_stage),
                4,
                u64::MAX,
            ),
            (
                "max_bindings_per_bind_group",
                u64::from(limits.max_bindings_per_bind_group),
                4,
                u64::MAX,
            ),
            (
                "max_storage_buffers_per_shader_stage",
                u64::from(planner.buffers),
                4,
                u64::from(most.buffers),
            ),
            ("max_bind_groups", u64::from(limits.max_bind_groups), 2, u64::MAX),
            (
                "max_uniform_buffers_per_shader_stage",
                u64::from(limits.max_uniform_buffers_per_shader_stage),
                1,
                u64::MAX,
            ),
            (
                "max_uniform_buffer_binding_size",
                limits.max_uniform_buffer_binding_size,
                size_of::<Params>() as u64,
                u64::MAX,
            ),
            (
                "max_dynamic_uniform_buffers_per_pipeline_layout",
                u64::from(limits.max_dynamic_uniform_buffers_per_pipeline_layout),
                1,
                u64::MAX,
            ),
        ];
        for (name, value, least, most) in needs {
            if !(least..=most).contains(&value) {
                let what = format!(
                    "the device's {name} allows {value}: the kernels need {least} to {most}"
                );
                return Err(Error::Adapter { what });
            }
        }
        planner.tiles.used().try_for_each(|tile| tile.check(&info, features, &limits))?;
        // The alignment may be at most half of the smallest binding, so that there is room for data
        // wherever a tensor starts.
        if planner.align == 0
            || !planner.align.is_multiple_of(most.align)
            || planner.align > 1 << 15
        {
            let (value, least) = (planner.align, most.align);
            let what = format!(
                "an alignment of {value}: must be a multiple of {least}, min_storage_buffer_offset_alignment, up to 32768"
            );
            return Err(Error::Adapter { what });
        }
        let params = params_layout(device, false);
        Ok(Self {
            device: device.clone(),
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
    /// - [`Error::Adapter`] if the device binds only one uniform buffer per stage.
    pub fn reading(&self, buffer: &wgpu::Buffer, offset: u64) -> Result<Self> {
        super::state::check(&self.device, buffer, offset)?;
        let (planner, params) =
            (Planner { state: true, ..self.planner }, params_layout(&self.device, true));
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
        let Self { planner, .. } = Self::with_planner(&self.device, change)?;
        Ok(Self { planner: Planner { state: self.state.is_some(), ..planner }, ..self.clone() })
    }

    /// Returns the same kernels, whose calls only add the variants that they use to `noted`.
    pub(super) fn ahead(&self, noted: &Noted) -> Self {
        Self { ahead: Some(noted.clone()), ..self.clone() }
    }

    pub(super) fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// Returns true if several threads may use the device at once. On OpenGL they may not: wgpu
    /// panics there if a thread waits longer than a second for another thread to compile.
    pub(crate) fn is_shared(&self) -> bool {
        self.device.adapter_info().backend != wgpu::Backend::Gl
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
    /// - [`Error::TooLarge`] if a size exceeds the mask contract, 32 bits or the device's bindings.
    /// - [`Error::Adapter`] for f16 tensors on a device without f16.
    /// - [`Error::OutOfMemory`] if the call's parameters or the parts of its sums cannot be
    ///   allocated.
    /// - [`Error::Device`] if the device was lost, which may also be reported as
    ///   [`Error::OutOfMemory`].
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
            steps.push(self.step(dispatch, scratch.as_ref(), None).0);
        }
        let params = self.bind_params(&self.params_buffer(&blocks)?);
        Ok(Prepared { steps, params: Some(params), slot })
    }

    /// Creates a buffer that holds the parameter blocks.
    fn params_buffer(&self, blocks: &Blocks) -> Result<wgpu::Buffer> {
        let bytes = blocks.bytes(blocks.capacity());
        let descriptor = wgpu::BufferDescriptor {
            label: Some("wgpu-dropout params"),
            size: (bytes.len() as u64).max(self.slot()),
            usage: wgpu::BufferUsages::UNIFORM,
            mapped_at_creation: true,
        };
        let buffer = memory::buffer(&self.device, &descriptor)?;
        let lost = |_| Error::Device { what: "its buffers can no longer be mapped".to_owned() };
        buffer.get_mapped_range_mut(..).map_err(lost)?.slice(..bytes.len()).copy_from_slice(bytes);
        buffer.unmap();
        Ok(buffer)
    }

    /// Returns the distance in bytes between two parameter blocks of one buffer.
    pub(super) fn slot(&self) -> u64 {
        (size_of::<Params>() as u64).next_multiple_of(
            u64::from(self.device.limits().min_uniform_buffer_offset_alignment).max(4),
        )
    }

    /// Creates the bind group of the parameter blocks and, if one is read, of the state.
    pub(super) fn bind_params(&self, buffer: &wgpu::Buffer) -> wgpu::BindGroup {
        let entry = |binding, buffer, offset, size| wgpu::BindGroupEntry {
            binding,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset,
                size: wgpu::BufferSize::new(size),
            }),
        };
        let mut entries = vec![entry(0, buffer, 0, size_of::<Params>() as u64)];
        entries.extend(
            self.state.as_ref().map(|(state, offset)| entry(1, state, *offset, super::State::SIZE)),
        );
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("wgpu-dropout params"),
            layout: &self.params,
            entries: &entries,
        })
    }

    /// Creates a scratch buffer for the parts of sums. Its contents do not outlive a call.
    pub(super) fn scratch(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let descriptor = wgpu::BufferDescriptor {
            label: Some("wgpu-dropout scratch"),
            size: bytes.next_multiple_of(16),
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        };
        memory::buffer(&self.device, &descriptor)
    }

    /// Returns the compiled form of a variant, and true if this call compiled it.
    pub(super) fn pipeline(&self, variant: Variant) -> (Arc<Pipeline>, bool) {
        let variant = self.own_form(variant);
        self.pipelines.get(variant, || self.compile(variant))
    }

    /// Returns the form of a planned variant that these kernels compile.
    pub(super) fn own_form(&self, variant: Variant) -> Variant {
        Variant { int64: self.planner.int64, ..variant }
    }

    /// Returns the sorted names of the variants compiled so far.
    pub fn compiled(&self) -> Vec<String> {
        self.pipelines.names()
    }

    /// Returns a variant's WGSL text with these kernels' edits.
    pub(super) fn source(&self, variant: Variant) -> String {
        variant.edited_source(&self.edits)
    }

    pub(super) fn compile(&self, variant: Variant) -> Pipeline {
        let name = variant.name();
        let label = Some(name.as_str());
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(self.source(variant).into()),
        });
        let entries: Vec<wgpu::BindGroupLayoutEntry> = (0..)
            .zip(variant.bindings())
            .map(|(binding, (_, written))| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: !written && !variant.shared },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let tensors = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label,
            entries: &entries,
        });
        let layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&tensors), Some(&self.params)],
            immediate_size: 0,
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            // Every kernel writes its workgroup memory before it reads it.
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: self.cache.as_ref(),
        });
        Pipeline { pipeline, tensors }
    }
}

/// Creates the layout of bind group 1: the parameter block at a dynamic offset and, if `state` is
/// true, a [`State`](super::State).
fn params_layout(device: &wgpu::Device, state: bool) -> wgpu::BindGroupLayout {
    let entry = |binding, has_dynamic_offset, size| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Uniform,
            has_dynamic_offset,
            min_binding_size: wgpu::BufferSize::new(size),
        },
        count: None,
    };
    let entries = [entry(0, true, size_of::<Params>() as u64), entry(1, false, super::State::SIZE)];
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("wgpu-dropout params"),
        entries: &entries[..if state { 2 } else { 1 }],
    })
}

/// Call that is ready to be recorded. Its pipelines, bind groups and parameters exist already, so
/// recording creates nothing.
#[derive(Debug)]
pub struct Prepared {
    steps: Vec<Step>,
    /// The parameter blocks; `None` if there are no steps.
    params: Option<wgpu::BindGroup>,
    /// Distance from one block to the next in bytes.
    slot: u64,
}

impl Prepared {
    /// Records the call's dispatches into the caller's pass.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        if let Some(params) = &self.params {
            record(pass, &self.steps, params, self.slot);
        }
    }

    /// Returns the number of dispatches that [`record`](Self::record) records.
    pub fn dispatches(&self) -> usize {
        self.steps.len()
    }
}
