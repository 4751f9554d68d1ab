//! A wgpu device without a backend of this crate on it, as an engine that embeds the kernels has
//! one.

use wgpu::util::DeviceExt;

/// An engine's device.
pub struct Raw {
    pub info: wgpu::AdapterInfo,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
}

impl Raw {
    /// A device on the adapter under test; `None`, said aloud, where there is none.
    pub fn open() -> Option<Self> {
        let (info, device, queue) = super::required(wgpu_dropout::gpu::open(&super::adapter()?))?;
        Some(Self { info, device, queue })
    }

    /// A storage buffer with the given values.
    pub fn buffer<T: bytemuck::Pod>(&self, values: &[T]) -> wgpu::Buffer {
        self.buffer_for(values, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC)
    }

    /// A buffer of another usage.
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

    /// The pipeline of a WGSL text, its layout as the text says.
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

    /// Whole buffers as the bindings 0, 1, … of a group.
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

    /// The values of a buffer, once all that was submitted is done.
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
