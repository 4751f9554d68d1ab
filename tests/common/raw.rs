//! A wgpu device without a backend of this crate on it, such as an engine that embeds the kernels
//! has.

use wgpu::util::DeviceExt;

/// Device of an engine.
pub struct Raw {
    pub info: wgpu::AdapterInfo,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
}

impl Raw {
    /// Opens a device on the adapter under test. If there is none, prints why and returns `None`.
    pub fn open() -> Option<Self> {
        let (info, device, queue) = super::required(wgpu_dropout::gpu::open(&super::adapter()?))?;
        Some(Self { info, device, queue })
    }

    /// Makes a storage buffer with the given values.
    pub fn buffer<T: bytemuck::Pod>(&self, values: &[T]) -> wgpu::Buffer {
        self.buffer_for(values, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC)
    }

    /// Makes a buffer with the given values and usage.
    pub fn buffer_for<T: bytemuck::Pod>(
        &self,
        values: &[T],
        usage: wgpu::BufferUsages,
    ) -> wgpu::Buffer {
        let contents = bytemuck::cast_slice(values);
        self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some("test"),
            contents,
            usage,
        })
    }

    /// Makes the pipeline of a WGSL text, with the layout that the text implies.
    pub fn pipeline(&self, wgsl: &str) -> wgpu::ComputePipeline {
        let source = wgpu::ShaderSource::Wgsl(wgsl.into());
        let module = self
            .device
            .create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("test"), source });
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("test"),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        })
    }

    /// Makes a bind group of whole buffers, at the bindings 0, 1, ….
    pub fn group(
        &self,
        pipeline: &wgpu::ComputePipeline,
        group: u32,
        buffers: &[&wgpu::Buffer],
    ) -> wgpu::BindGroup {
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, b)| wgpu::BindGroupEntry { binding, resource: b.as_entire_binding() })
            .collect();
        let layout = &pipeline.get_bind_group_layout(group);
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("test"),
            layout,
            entries: &entries,
        })
    }

    /// Waits for all submitted work and returns the values of a buffer.
    pub fn read<T: bytemuck::Pod>(&self, buffer: &wgpu::Buffer) -> Vec<T> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let size = buffer.size();
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("test"),
            size,
            usage,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, size);
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
        self.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..).unwrap())
    }
}
