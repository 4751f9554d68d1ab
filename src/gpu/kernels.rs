//! Kernels on a device of the caller's: compiles them, prepares a call for its buffers, and records it
//! into the caller's pass.

use super::memory;
use super::pipelines::{Pipeline, Pipelines};
use super::recorder::{Blocks, Step, record};
use crate::call::{Call, Views};
use crate::plan::{HALF_BUFFERS, Params, Planner, Variant, scratch_bytes};
use crate::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// The variants that calls will use, each with its kernels.
pub(super) type Noted = Arc<Mutex<Vec<(Kernels, Variant)>>>;

/// The kernels of this crate on a caller's device.
///
/// Nothing here submits, waits, reads back or sets an error handler. A call is *prepared* once for
/// its buffers and then recorded any number of times, in order with whatever else the caller
/// records:
///
/// ```no_run
/// use wgpu_dropout::{Dropout, Key, Mask, Mode, Rate, call::DropoutCall, gpu::{Kernels, View}, wgpu};
///
/// fn record(device: &wgpu::Device, x: &wgpu::Buffer, y: &wgpu::Buffer) -> wgpu_dropout::Result<wgpu::CommandBuffer> {
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
/// Equation, shapes and units of each call are at its struct in [`call`](crate::call); pipelines
/// are compiled when the first call of a kind is prepared, or [ahead](Self::warm_up).
///
/// A clone is the same kernels: what either compiles is compiled for both.
#[derive(Debug, Clone)]
pub struct Kernels {
    device: wgpu::Device,
    planner: Planner,
    params: wgpu::BindGroupLayout,
    /// Buffer and offset that rate, scale, step and seed are read from.
    state: Option<(wgpu::Buffer, u64)>,
    /// The caller's cache of compiled pipelines.
    cache: Option<wgpu::PipelineCache>,
    /// Text replaced in every shader.
    edits: Vec<[String; 2]>,
    /// Receives the variants of calls that are only noted; see [`warm_up`](Self::warm_up).
    ahead: Option<Noted>,
    pipelines: Pipelines,
}

impl Kernels {
    /// Creates the kernels on `device`, in the forms that suit it. Nothing is compiled yet.
    ///
    /// # Errors
    /// [`Error::Adapter`] if the device's limits are below those that every kernel needs.
    pub fn new(device: &wgpu::Device) -> Result<Self> {
        Self::with_planner(device, |planner| planner)
    }

    /// The kernels with the device's plan changed: another tile, smaller bindings, shorter
    /// dispatches.
    ///
    /// # Errors
    /// As [`new`](Self::new), and if the plan asks for more than the device can do.
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
                "Planner::state: a buffer to read from is named by Kernels::reading alone",
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
        // At most half of the smallest binding, so that there is room for data wherever a tensor
        // starts.
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

    /// Returns kernels that read rate, scale, step and seed of a call's dropout when they run, from
    /// a [`State`](super::State) at byte `offset` of `buffer`. They ignore the call's own values of
    /// these four; layer and offsets stay the call's. Both sets of kernels share their pipelines.
    ///
    /// [`AlphaDropoutCall`](crate::call::AlphaDropoutCall) and
    /// [`GaussianDropoutCall`](crate::call::GaussianDropoutCall) take the states that are made for
    /// them. The buffer needs the usage UNIFORM, and whatever usage its writer needs. A training
    /// loop prepares its calls once, writes the next state before each submit, and records the same
    /// calls again.
    ///
    /// # Errors
    /// [`Error::Buffer`] for a buffer without UNIFORM, a place outside it, or an offset that is no
    /// multiple of the device's `min_uniform_buffer_offset_alignment`; [`Error::Adapter`] if the
    /// device binds only one uniform buffer a stage.
    pub fn reading(&self, buffer: &wgpu::Buffer, offset: u64) -> Result<Self> {
        super::state::check(&self.device, buffer, offset)?;
        let (planner, params) =
            (Planner { state: true, ..self.planner }, params_layout(&self.device, true));
        Ok(Self { planner, params, state: Some((buffer.clone(), offset)), ..self.clone() })
    }

    /// The same kernels, whose pipelines are compiled through a cache of the caller's, where the
    /// device has [`PIPELINE_CACHE`](wgpu::Features::PIPELINE_CACHE): what a run before
    /// compiled is then not compiled again. See [`wgpu::Device::create_pipeline_cache`].
    pub fn with_cache(self, cache: wgpu::PipelineCache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// The kernels with `from` replaced by `to` wherever it stands in a shader: what they compute
    /// is then no longer what this crate promises. For controls that must fail, such as Philox
    /// with too few rounds.
    pub fn edited(mut self, from: &str, to: &str) -> Self {
        self.edits.push([from.to_owned(), to.to_owned()]);
        Self { pipelines: Pipelines::default(), ..self }
    }

    /// The same kernels under another plan, made from the device's. What either compiles is
    /// compiled for both.
    ///
    /// # Errors
    /// As [`with_planner`](Self::with_planner).
    pub fn replanned(&self, change: impl FnOnce(Planner) -> Planner) -> Result<Self> {
        let Self { planner, .. } = Self::with_planner(&self.device, change)?;
        Ok(Self { planner: Planner { state: self.state.is_some(), ..planner }, ..self.clone() })
    }

    /// The same kernels, whose calls only note what they will use.
    pub(super) fn ahead(&self, noted: &Noted) -> Self {
        Self { ahead: Some(noted.clone()), ..self.clone() }
    }

    pub(super) fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// Whether several threads may use the device at once: not on OpenGL, where wgpu panics if a
    /// thread waits for another's compiling for a second.
    pub(crate) fn is_shared(&self) -> bool {
        self.device.adapter_info().backend != wgpu::Backend::Gl
    }

    /// How calls are divided into dispatches.
    pub fn planner(&self) -> &Planner {
        &self.planner
    }

    /// Prepares a call for its buffers: [`call`](crate::call) lists the kernels.
    ///
    /// # Errors
    /// [`Error::Shape`] for sizes that do not fit one another; [`Error::Buffer`] for a buffer
    /// without STORAGE, a range outside it, an offset that is no multiple of 4, or an output that
    /// shares an element with another tensor; [`Error::TooLarge`] past what the mask contract, 32
    /// bits or the device's bindings hold; [`Error::Adapter`] for f16 on a device without it;
    /// [`Error::OutOfMemory`] if there is none for the parameters of the call or the parts of its
    /// sums; [`Error::Device`] if the device was lost, which may also be reported as the former.
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

    /// A buffer that holds parameter blocks.
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

    /// Distance between two parameter blocks of one buffer.
    pub(super) fn slot(&self) -> u64 {
        (size_of::<Params>() as u64).next_multiple_of(
            u64::from(self.device.limits().min_uniform_buffer_offset_alignment).max(4),
        )
    }

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

    /// A buffer for the parts of sums, in which nothing outlives a call.
    pub(super) fn scratch(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let descriptor = wgpu::BufferDescriptor {
            label: Some("wgpu-dropout scratch"),
            size: bytes.next_multiple_of(16),
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        };
        memory::buffer(&self.device, &descriptor)
    }

    /// The compiled form of a variant, and whether it was compiled just now.
    pub(super) fn pipeline(&self, variant: Variant) -> (Arc<Pipeline>, bool) {
        let variant = Variant { int64: self.planner.int64, ..variant };
        self.pipelines.get(variant, || self.compile(variant))
    }

    /// Names of the variants compiled so far.
    pub fn compiled(&self) -> Vec<String> {
        self.pipelines.names()
    }

    /// A variant's text here.
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

/// The layout of group 1: the parameter block at a dynamic offset, and a site's state where one is
/// read.
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

/// A call ready to be recorded: pipelines, bind groups and parameters are made, so that recording
/// makes nothing.
#[derive(Debug)]
pub struct Prepared {
    steps: Vec<Step>,
    /// The parameter blocks; none if there are no steps.
    params: Option<wgpu::BindGroup>,
    /// Bytes from one block to the next.
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
