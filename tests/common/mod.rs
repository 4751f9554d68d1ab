//! Helpers that several test files share: the devices under test, and numbers to feed them.
#![allow(dead_code)]

pub mod raw;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use wgpu_dropout::Backend;
use wgpu_dropout::DeviceChoice;
use wgpu_dropout::Error;
use wgpu_dropout::gpu::{AdapterChoice, Gpu, Planner, Tile, Tiles};
use wgpu_dropout::philox::PhiloxRng;

/// Returns the adapter under test: `WGPU_DROPOUT_DEVICE`, or the best one by default. If that names
/// the CPU, prints so and returns `None`.
pub fn adapter() -> Option<AdapterChoice> {
    match std::env::var("WGPU_DROPOUT_DEVICE").unwrap_or_else(|_| "gpu".to_owned()).parse() {
        Ok(DeviceChoice::Cpu) => {
            skipped("WGPU_DROPOUT_DEVICE is cpu");
            None
        }
        Ok(DeviceChoice::Auto) => Some(AdapterChoice::Hardware),
        Ok(DeviceChoice::Adapter(choice)) => Some(choice),
        Err(error) => panic!("WGPU_DROPOUT_DEVICE: {error}"),
    }
}

/// Returns the opened device. If there is none, prints why and returns `None`.
///
/// # Panics
///
/// If there is none and `WGPU_DROPOUT_REQUIRE_GPU=1`.
pub fn required<T>(opened: wgpu_dropout::Result<T>) -> Option<T> {
    match opened {
        Ok(device) => Some(device),
        Err(error) if std::env::var("WGPU_DROPOUT_REQUIRE_GPU").as_deref() == Ok("1") => {
            panic!("a GPU is required: {error}")
        }
        Err(error) => {
            skipped(&error.to_string());
            None
        }
    }
}

/// Reports a skipped test directly to stderr, because the test harness captures the output of tests
/// that pass.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Builds something other than this crate's own tests. Returns the folder of its programs, or
/// cargo's error output.
pub fn build(args: &[&str]) -> Result<PathBuf, String> {
    // A test program lies in `deps`, beside the folder's programs.
    let this = std::env::current_exe().unwrap();
    let programs = this.parent().and_then(Path::parent).unwrap();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["build", "--quiet", "--locked"])
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command.arg("--target-dir").arg(programs.parent().unwrap());
    if programs.ends_with("release") {
        command.arg("--release");
    }
    // The variables that cargo set for this test must not reach the other package.
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_"))
    {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    if output.status.success() {
        Ok(programs.to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Opens the GPU under test: `WGPU_DROPOUT_DEVICE`, or the best adapter by default. If there is
/// none, prints why and returns `None`.
///
/// # Panics
///
/// If there is none and `WGPU_DROPOUT_REQUIRE_GPU=1`.
pub fn gpu() -> Option<Gpu> {
    gpu_with(|planner| planner)
}

/// Opens a GPU as [`gpu`] does, with its plan changed.
pub fn gpu_with(change: impl FnOnce(Planner) -> Planner) -> Option<Gpu> {
    match Gpu::build(&adapter()?, change) {
        Err(Error::Adapter { what }) if what.starts_with("tile ") => {
            skipped(&what);
            None
        }
        built => required(built),
    }
}

/// Settings that can be forced on the GPU under test.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// The GPU's own plan.
    Usual,
    /// A tile of matrix products.
    Tile(Tile),
    /// Philox in 16-bit limbs, even if the device has 64-bit integers.
    Limbs,
    /// A device of wgpu's downlevel limits: four storage buffers and no features.
    Downlevel,
    /// Attention in its fused kernels, as on real GPUs.
    Fused,
}

/// Opens the adapter under test as a device with wgpu's `downlevel_defaults` and no features.
pub fn downlevel() -> Option<Gpu> {
    let (info, ..) = required(wgpu_dropout::gpu::open(&adapter()?))?;
    let same = |adapter: &wgpu::Adapter| {
        (adapter.get_info().name, adapter.get_info().backend) == (info.name.clone(), info.backend)
    };
    let adapter =
        wgpu_dropout::gpu::adapters().unwrap().into_iter().find(same).expect("it was opened");
    let required_limits = wgpu::Limits::downlevel_defaults();
    let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
    match pollster::block_on(adapter.request_device(&descriptor)) {
        Ok((device, queue)) => Some(Gpu::on(device, queue).unwrap()),
        Err(error) => {
            skipped(&format!("no device of the downlevel limits: {error}"));
            None
        }
    }
}

/// Lends the GPU of a form, which all tests of a file share in turn, so that each kernel is
/// compiled once. A test that panics drops it, and the next one opens another.
pub fn lend(form: Form, run: impl FnOnce(Gpu) -> Gpu) {
    static SLOTS: [Mutex<Option<Gpu>>; 4 + Tile::ALL.len()] =
        [const { Mutex::new(None) }; 4 + Tile::ALL.len()];
    let (slot, change): (usize, &dyn Fn(Planner) -> Planner) = match form {
        Form::Usual => (0, &|planner| planner),
        Form::Limbs => (1, &|planner| Planner { int64: false, ..planner }),
        Form::Downlevel => (2, &|planner| planner),
        Form::Fused => (3, &|planner| Planner { fused: true, ..planner }),
        Form::Tile(tile) => (4 + tile as usize, &move |planner| Planner {
            tiles: Tiles::all(tile),
            wide: !tile.is_shared(),
            ..planner
        }),
    };
    let mut slot = SLOTS[slot].lock().unwrap_or_else(PoisonError::into_inner);
    let opened = slot
        .take()
        .or_else(|| if matches!(form, Form::Downlevel) { downlevel() } else { gpu_with(change) });
    *slot = opened.map(run);
}

/// Runs a closure on the shared GPU of a form, if there is one.
pub fn with_gpu(form: Form, run: impl FnOnce(&mut Gpu)) {
    lend(form, |mut gpu| {
        run(&mut gpu);
        gpu
    });
}

/// Calls a function that is generic over the backend with the CPU's reference and fast paths and
/// with the GPU under test, either as it is or in each form named.
#[macro_export]
macro_rules! on_backends {
    ($run:ident) => {
        $crate::on_backends!($run, [$crate::common::Form::Usual])
    };
    ($run:ident, $forms:expr) => {{
        $run(&mut wgpu_dropout::Cpu::reference());
        $run(&mut wgpu_dropout::Cpu::new());
        for form in $forms {
            $crate::common::with_gpu(form, |gpu| $run(gpu));
        }
    }};
}

/// Returns every tile of matrix products, and the device that can bind few tensors.
pub fn tiles_and_downlevel() -> impl Iterator<Item = Form> {
    TILES.into_iter().chain([Form::Downlevel])
}

/// Every tile of matrix products.
pub const TILES: [Form; Tile::ALL.len()] = {
    let mut tiles = [Form::Usual; Tile::ALL.len()];
    let mut i = 0;
    while i < tiles.len() {
        tiles[i] = Form::Tile(Tile::ALL[i]);
        i += 1;
    }
    tiles
};
/// Both ways to multiply in Philox. The first falls back to the second if the device has no 64-bit
/// integers.
pub const MULTIPLICATIONS: [Form; 2] = [Form::Usual, Form::Limbs];

/// Returns `len` numbers in -1..1 that depend only on the seed.
pub fn noise(seed: u64, len: usize) -> Vec<f32> {
    use rand::Rng;
    let mut rng = PhiloxRng::at(seed, 1 << 100);
    (0..len).map(|_| (rng.next_u32() >> 8) as f32 / 8_388_608.0 - 1.0).collect()
}

/// Returns `len` whole numbers in -4..=4, whose sums of products are exact in f32.
pub fn small_integers(seed: u64, len: usize) -> Vec<f32> {
    noise(seed, len).into_iter().map(|x| (x * 4.5).trunc()).collect()
}

/// Returns a tensor filled with NaN, so that elements a kernel leaves unwritten show.
pub fn poisoned<B: Backend>(backend: &mut B, rows: usize, cols: usize) -> B::Tensor<f32> {
    backend.tensor(rows, cols, &vec![f32::NAN; rows * cols]).unwrap()
}

/// Checks that floats are equal to the bit; all NaNs count as equal.
///
/// # Errors
///
/// If they differ; the message names the first element that does.
pub fn same_bits(what: &str, a: &[f32], b: &[f32]) -> Result<(), String> {
    let bits = |x: f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
    match (a.len() == b.len()).then(|| a.iter().zip(b).position(|(&a, &b)| bits(a) != bits(b))) {
        Some(None) => Ok(()),
        Some(Some(i)) => Err(format!("{what}: element {i} is {} and {}", a[i], b[i])),
        None => Err(format!("{what}: {} and {} elements", a.len(), b.len())),
    }
}
