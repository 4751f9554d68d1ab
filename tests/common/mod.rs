//! What several test files share: the devices under test, and numbers to feed them.
#![allow(dead_code)]

use wgpu_dropout::DeviceChoice;
use wgpu_dropout::backend::Backend;
use wgpu_dropout::gpu::{AdapterChoice, Gpu, Planner, Tile};
use wgpu_dropout::philox::PhiloxRng;

/// The GPU under test: `WGPU_DROPOUT_DEVICE`, else the best adapter. `None`, said aloud, where there is none; a failure where
/// `WGPU_DROPOUT_REQUIRE_GPU=1`.
pub fn gpu() -> Option<Gpu> {
    gpu_with(|planner| planner)
}

/// As [`gpu`], with the plan changed.
pub fn gpu_with(change: impl FnOnce(Planner) -> Planner) -> Option<Gpu> {
    let choice = match std::env::var("WGPU_DROPOUT_DEVICE").unwrap_or_else(|_| "gpu".to_owned()).parse() {
        Ok(DeviceChoice::Cpu) => return None,
        Ok(DeviceChoice::Auto) => AdapterChoice::Hardware,
        Ok(DeviceChoice::Adapter(choice)) => choice,
        Err(error) => panic!("WGPU_DROPOUT_DEVICE: {error}"),
    };
    match Gpu::build(&choice, |limits, kind| change(Planner::new(limits, kind))) {
        Ok(gpu) => Some(gpu),
        Err(error) if std::env::var("WGPU_DROPOUT_REQUIRE_GPU").as_deref() == Ok("1") => panic!("a GPU is required: {error}"),
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

/// The GPU under test with each tile forced.
pub fn gpus_by_tile() -> Vec<Gpu> {
    Tile::ALL.into_iter().filter_map(|tile| gpu_with(|planner| Planner { tile, ..planner })).collect()
}

/// `len` numbers in -1..1, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<f32> {
    use rand::Rng;
    let mut rng = PhiloxRng::at(seed, 1 << 100);
    (0..len).map(|_| (rng.next_u32() >> 8) as f32 / 8_388_608.0 - 1.0).collect()
}

/// `len` whole numbers in -4..=4: sums of their products are exact in f32.
pub fn small_integers(seed: u64, len: usize) -> Vec<f32> {
    noise(seed, len).into_iter().map(|x| (x * 4.5).trunc()).collect()
}

/// A tensor poisoned with NaN, so that what a kernel leaves unwritten shows.
pub fn poisoned<B: Backend>(backend: &mut B, rows: usize, cols: usize) -> B::Tensor<f32> {
    backend.tensor(rows, cols, &vec![f32::NAN; rows * cols]).unwrap()
}
