//! A compute pass of the benchmark's own: recorded from prepared calls, submitted, waited for, and
//! timed by the device's clock if it has one.

use std::time::Duration;
use wgpu_dropout::gpu::Gpu;
use wgpu_dropout::{Error, Result, wgpu};

/// Resources for timing passes on a device.
pub struct Pass(Option<Timestamps>);

struct Timestamps {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
}

impl Pass {
    /// Creates the queries and buffers if the device has a clock.
    pub fn new(device: &wgpu::Device) -> Self {
        let label = Some("bench timestamps");
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label,
                size: 16,
                usage,
                mapped_at_creation: false,
            })
        };
        Self(device.features().contains(wgpu::Features::TIMESTAMP_QUERY).then(|| Timestamps {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label,
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            staging: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
        }))
    }

    /// Runs the pass recorded by `record`, and returns its duration by the device's clock.
    pub fn run(
        &self,
        gpu: &Gpu,
        record: impl FnOnce(&mut wgpu::ComputePass<'_>),
    ) -> Result<Option<Duration>> {
        let failed = |what: String| Error::Device { what };
        let mut encoder =
            gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let timestamp_writes =
                self.0.as_ref().map(|timestamps| wgpu::ComputePassTimestampWrites {
                    query_set: &timestamps.queries,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                });
            record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes,
            }));
        }
        if let Some(Timestamps { queries, resolved, staging }) = &self.0 {
            encoder.resolve_query_set(queries, 0..2, resolved, 0);
            encoder.copy_buffer_to_buffer(resolved, 0, staging, 0, 16);
        }
        gpu.queue().submit([encoder.finish()]);
        if let Some(Timestamps { staging, .. }) = &self.0 {
            staging.map_async(wgpu::MapMode::Read, .., |_| {});
        }
        gpu.device()
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|error| failed(error.to_string()))?;
        let Some(Timestamps { staging, .. }) = &self.0 else { return Ok(None) };
        let nanoseconds = {
            let range = staging.get_mapped_range(..).map_err(|error| failed(error.to_string()))?;
            let tick = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| range[8 * at + i]));
            tick(1).saturating_sub(tick(0)) as f64 * f64::from(gpu.queue().get_timestamp_period())
        };
        staging.unmap();
        Ok(Some(Duration::from_secs_f64(nanoseconds * 1e-9)))
    }
}
