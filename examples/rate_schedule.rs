//! A schedule of dropout rates with one prepared call. The call is recorded again for every step
//! and reads rate, scale and step from a small buffer. After the first step, no pipeline, bind
//! group or parameter block is created.
//!
//! ```sh
//! cargo run --example rate_schedule
//! ```

use std::error::Error;
use wgpu_dropout::call::MaskBits;
use wgpu_dropout::gpu::{Kernels, State, View};
use wgpu_dropout::mask::bits_to_bytes;
use wgpu_dropout::{Dropout, Key, Mask, Mode, Rate, wgpu};

const ROWS: usize = 64;
const COLS: usize = 96;
const STEPS: u32 = 6;

/// Returns the site of "early dropout", whose drop rate falls from 0.5 to 0 (Liu et al., "Dropout
/// Reduces Underfitting", 2023).
fn site(step: u32) -> wgpu_dropout::Result<Dropout> {
    let drop = 0.5 * (1.0 - f64::from(step) / f64::from(STEPS - 1));
    Ok(Dropout::train(
        Mode::Inverted,
        Mask::new(Rate::drop(drop)?, Key { seed: 42, layer: 1, step }),
    ))
}

fn main() -> Result<(), Box<dyn Error>> {
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
    let buffer = |size, usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation: false,
        })
    };
    let size = (4 * ROWS * COLS.div_ceil(32)) as u64;
    let bits = buffer(size, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC);
    let host = buffer(size, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let state = buffer(State::SIZE, wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST);

    // Prepare once. The site given here provides only the layer; the rest is read when it runs.
    let kernels = Kernels::new(&device)?.reading(&state, 0)?;
    let mask = site(0)?.mask;
    let call = kernels.prepare(&MaskBits {
        bits: View::new(&bits, ROWS, COLS.div_ceil(32)),
        cols: COLS,
        mask,
    })?;

    for step in 0..STEPS {
        let site = site(step)?;
        queue.write_buffer(&state, 0, State::new(&site).bytes());
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        call.record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
        encoder.copy_buffer_to_buffer(&bits, 0, &host, 0, size);
        queue.submit([encoder.finish()]);

        host.map_async(wgpu::MapMode::Read, .., |_| {});
        device.poll(wgpu::PollType::wait_indefinitely())?;
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&host.get_mapped_range(..)?);
        host.unmap();
        let kept = bits_to_bytes(&words, ROWS, COLS)?;
        assert_eq!(kept, site.mask.bytes(ROWS, COLS)?, "step {step}");
        let share = kept.iter().map(|&kept| f64::from(kept)).sum::<f64>() / kept.len() as f64;
        println!("step {step}: keep rate {:.3}, kept {share:.3}", site.mask.rate.keep_in_effect());
    }
    println!("{}: the contract's masks, from one prepared call", adapter.get_info().name);
    Ok(())
}
