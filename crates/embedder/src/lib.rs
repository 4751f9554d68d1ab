//! An engine on wgpu that embeds `wgpu-dropout` as another project would: by path, without the
//! crate's features, on a device of its own with WebGPU's default limits. `tests/engine.rs` uses
//! it.

/// Device of an engine: no features, and only the limits that it requested.
#[derive(Debug)]
pub struct Engine {
    /// The device.
    pub device: wgpu::Device,
    /// The queue.
    pub queue: wgpu::Queue,
}

/// A pass of the engine over one buffer.
#[derive(Debug)]
pub struct Pass {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    workgroups: u32,
}

impl Engine {
    /// Opens the adapter that wgpu prefers; `None` if it lacks the required limits.
    pub fn new(required_limits: wgpu::Limits) -> Option<Self> {
        let instance =
            wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapter =
            pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
                .ok()?;
        let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).ok()?;
        Some(Self { device, queue })
    }

    /// Creates a storage buffer with these values.
    pub fn buffer(&self, values: &[f32]) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let size = size_of_val(values) as u64;
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(values));
        buffer
    }

    /// Reads the values of a buffer.
    pub fn read(&self, buffer: &wgpu::Buffer) -> Vec<f32> {
        let size = buffer.size();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let host = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &host, 0, size);
        self.queue.submit([encoder.finish()]);
        host.map_async(wgpu::MapMode::Read, .., |_| {});
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device answers");
        bytemuck::pod_collect_to_vec(&host.get_mapped_range(..).expect("it is mapped"))
    }

    /// Creates a pass that executes `statement` for each element `v[i]` of a buffer.
    pub fn pass(&self, statement: &str, v: &wgpu::Buffer) -> Pass {
        let wgsl = format!(
            "@group(0) @binding(0) var<storage, read_write> v: array<f32>;
             @compute @workgroup_size(64)
             fn main(@builtin(global_invocation_id) id: vec3<u32>) {{ let i = id.x; if i < arrayLength(&v) {{ {statement} }} }}"
        );
        let source = wgpu::ShaderSource::Wgsl(wgsl.into());
        let module =
            self.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let entries = [wgpu::BindGroupEntry { binding: 0, resource: v.as_entire_binding() }];
        let layout = &pipeline.get_bind_group_layout(0);
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout,
            entries: &entries,
        });
        Pass { pipeline, group, workgroups: (v.size() / 4).div_ceil(64) as u32 }
    }
}

impl Pass {
    /// Records the pass.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(self.workgroups, 1, 1);
    }
}
