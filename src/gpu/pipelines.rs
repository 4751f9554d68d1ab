//! Compiled kernels and their cache. Each variant is compiled once, however many threads ask for
//! it; different variants compile in parallel.

use super::kernels::Kernels;
use crate::plan::{Params, Variant};
use crate::{Error, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Compiled variant of a kernel.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    /// Layout of the tensors, group 0.
    pub tensors: wgpu::BindGroupLayout,
}

/// Map from variants to cells. The first caller compiles; concurrent callers wait on the cell, not
/// on the map's lock.
type Cells = HashMap<Variant, Arc<OnceLock<Result<Arc<Pipeline>>>>>;

/// Cache of pipelines, which clones share.
#[derive(Debug, Clone, Default)]
pub(super) struct Pipelines(Arc<Mutex<Cells>>);

impl Pipelines {
    /// Returns the compiled form of a variant, and true if this call compiled it. If it does not
    /// compile, the next call tries again.
    ///
    /// # Errors
    /// Those of `compile`.
    pub fn get(
        &self,
        variant: Variant,
        compile: impl FnOnce() -> Result<Pipeline>,
    ) -> Result<(Arc<Pipeline>, bool)> {
        let cell = self.cells().entry(variant).or_default().clone();
        let mut now = false;
        let pipeline = cell.get_or_init(|| {
            now = true;
            compile().map(Arc::new)
        });
        if now && pipeline.is_err() {
            self.cells().remove(&variant);
        }
        pipeline.clone().map(|pipeline| (pipeline, now))
    }

    /// Returns the sorted names of the variants compiled so far.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .cells()
            .iter()
            .filter(|(_, cell)| cell.get().is_some_and(Result::is_ok))
            .map(|(variant, _)| variant.name())
            .collect();
        names.sort();
        names
    }

    /// Locks the map.
    fn cells(&self) -> MutexGuard<'_, Cells> {
        // A panic elsewhere cannot leave half an entry, so a poisoned map is still valid.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernels {
    /// Returns the compiled form of a variant, and true if this call compiled it.
    ///
    /// # Errors
    /// Those of [`compile`](Self::compile).
    pub(super) fn pipeline(&self, variant: Variant) -> Result<(Arc<Pipeline>, bool)> {
        let variant = self.own_form(variant);
        self.pipelines.get(variant, || self.compile(variant))
    }

    /// Returns the form of a planned variant that these kernels compile.
    pub(super) fn own_form(&self, variant: Variant) -> Variant {
        Variant { int64: self.planner().int64, ..variant }
    }

    /// Compiles a variant. Error scopes belong to a thread, so this opens its own on the thread
    /// that it runs on.
    ///
    /// # Errors
    /// [`Error::Device`] if the device was lost or the driver cannot compile the kernel.
    pub(super) fn compile(&self, variant: Variant) -> Result<Pipeline> {
        self.guard.run(|| self.create(variant)).map_err(|error| match error {
            Error::Device { what } if self.guard.check().is_ok() => {
                Error::Device { what: format!("compiling {}: {what}", variant.name()) }
            }
            other => other,
        })
    }

    /// Creates the pipeline of a variant.
    fn create(&self, variant: Variant) -> Pipeline {
        let device = self.device();
        let name = variant.name();
        let label = Some(name.as_str());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
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
        let tensors = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label,
            entries: &entries,
        });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&tensors), Some(&self.params)],
            immediate_size: 0,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
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
pub(super) fn params_layout(device: &wgpu::Device, state: bool) -> wgpu::BindGroupLayout {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{AdapterChoice, Gpu, Stem};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn different_variants_compile_side_by_side_and_one_compiles_once() {
        let Ok(gpu) = Gpu::open(&AdapterChoice::Best) else {
            return eprintln!("SKIPPED: no adapter");
        };
        let kernels = gpu.kernels();
        let pipelines = Pipelines::default();
        let [first, second] = [Stem::Copy, Stem::Dropout].map(Variant::new);
        let (tell_second, first_is_at_it) = channel();
        let (tell_first, second_is_at_it) = channel();
        std::thread::scope(|scope| {
            // Each continues only after the other has begun.
            let meet = |variant,
                        tell: std::sync::mpsc::Sender<()>,
                        other: std::sync::mpsc::Receiver<()>| {
                let pipelines = pipelines.clone();
                move || {
                    let compile = || {
                        tell.send(()).unwrap();
                        other.recv_timeout(Duration::from_secs(30)).unwrap();
                        kernels.compile(variant)
                    };
                    assert!(pipelines.get(variant, compile).unwrap().1);
                }
            };
            scope.spawn(meet(first, tell_second, second_is_at_it));
            scope.spawn(meet(second, tell_first, first_is_at_it));
        });
        assert!(!pipelines.get(first, || panic!("compiled again")).unwrap().1);
        assert_eq!(pipelines.names(), [first.name(), second.name()]);
    }
    #[test]
    fn what_does_not_compile_is_tried_again() {
        let pipelines = Pipelines::default();
        let variant = Variant::new(Stem::Copy);
        for _ in 0..2 {
            let mut tried = false;
            let failed = pipelines.get(variant, || {
                tried = true;
                Err(Error::lost(""))
            });
            assert!(tried && failed.is_err());
        }
        assert!(pipelines.names().is_empty());
    }
}
