//! Dropout in an engine that owns its wgpu device: two of the engine's buffers, and one recorded
//! call between the engine's own commands.
//!
//! ```sh
//! cargo run --example embed
//! ```

use std::error::Error;
use wgpu_dropout::call::DropoutCall;
use wgpu_dropout::gpu::{Kernels, View};
use wgpu_dropout::{Dropout, Key, Mask, Mode, Rate, wgpu};

const ROWS: usize = 3;
const COLS: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    // The engine's part: instance, adapter, device, buffers.
    let instance =
        wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let Ok(adapter) =
        pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
    else {
        println!("no adapter here");
        return Ok(());
    };
    let (device, queue) =
        pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default()))?;
    let buffer = |usage| {
        let size = (4 * ROWS * COLS) as u64;
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation: false,
        })
    };
    let x = buffer(wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST);
    let y = buffer(wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC);
    let host = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    queue.write_buffer(&x, 0, &1f32.to_le_bytes().repeat(ROWS * COLS));

    // This crate's part: create the kernels once, prepare the call once for its buffers, then
    // record it as often as needed.
    let kernels = Kernels::new(&device)?;
    let mask = Mask::new(Rate::drop(0.5)?, Key { seed: 42, layer: 1, step: 0 });
    let call = kernels.prepare(&DropoutCall {
        x: View::new(&x, ROWS, COLS),
        y: View::new(&y, ROWS, COLS),
        dropout: Dropout::train(Mode::Inverted, mask),
    })?;
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    call.record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
    encoder.copy_buffer_to_buffer(&y, 0, &host, 0, host.size());

    // The engine's part again: submit, wait, read.
    queue.submit([encoder.finish()]);
    host.map_async(wgpu::MapMode::Read, .., |_| {});
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let bytes = host.get_mapped_range(..)?;
    let values: Vec<f32> =
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    for (row, values) in values.chunks(COLS).enumerate() {
        println!("{values:?}");
        for (col, &value) in values.iter().enumerate() {
            assert_eq!(
                value,
                if mask.keeps(row, col) { 2.0 } else { 0.0 },
                "row {row} column {col}"
            );
        }
    }
    println!("{}: the contract's bits", adapter.get_info().name);
    Ok(())
}
