//! Runs dropout and a fused layer between an engine's own passes, in one encoder, on a device with
//! WebGPU's default limits. Checks for the contract's bits, and that recording again creates
//! nothing.

use embedder::{Engine, Pass};
use sha2::{Digest, Sha256};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use wgpu_dropout::call::{DropoutCall, GradInput, LinearForward};
use wgpu_dropout::gpu::{Kernels, Prepared, View};
use wgpu_dropout::{Dropout, Key, Mask, Mode, Rate};

/// The system's allocator, which also counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // While a thread is being destroyed, its counter no longer exists.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

/// Returns an engine. Without an adapter, prints a message and returns `None`, or panics if
/// `WGPU_DROPOUT_REQUIRE_GPU=1`.
fn engine() -> Option<Engine> {
    let set = |name, value| std::env::var(name).as_deref() == Ok(value);
    let engine = Some(())
        .filter(|()| !set("WGPU_DROPOUT_DEVICE", "cpu"))
        .and_then(|()| Engine::new(wgpu::Limits::default()));
    if engine.is_none() {
        assert!(!set("WGPU_DROPOUT_REQUIRE_GPU", "1"), "a GPU is required");
        eprintln!(
            "SKIPPED: no adapter with WebGPU's default limits, or WGPU_DROPOUT_DEVICE is cpu"
        );
    }
    engine
}

/// Check vector of the contract.
const SIZE: usize = 1000;
const KEPT: &str = "399c7c7c2634229e7b2bd21740720c0cdc860fed903d3ba3891700bacff94091";
const OUTPUTS: usize = 33;

fn site(layer: u32) -> Dropout {
    Dropout::train(
        Mode::Inverted,
        Mask::new(Rate::keep(0.5).unwrap(), Key { seed: 42, layer, step: 0 }),
    )
}

/// A frame of an engine: two passes of its own, two prepared calls of the kernels, and the buffers
/// of their results.
struct Frame {
    kernels: Kernels,
    fill: Pass,
    dropout: Prepared,
    layer: Prepared,
    double: Pass,
    dropped: wgpu::Buffer,
    y: wgpu::Buffer,
}

impl Frame {
    fn new(engine: &Engine) -> Self {
        let nan = |count: usize| engine.buffer(&vec![f32::NAN; count]);
        let (x, dropped, y) = (nan(SIZE * SIZE), nan(SIZE * SIZE), nan(SIZE * OUTPUTS));
        let weight = engine.buffer(&[0.5; SIZE * OUTPUTS]);
        let kernels = Kernels::new(&engine.device).unwrap();
        let [source, target] = [&x, &dropped].map(|buffer| View::new(buffer, SIZE, SIZE));
        let dropout =
            kernels.prepare(&DropoutCall { x: source, y: target, dropout: site(0) }).unwrap();
        let layer = LinearForward {
            x: target,
            weight: View::new(&weight, SIZE, OUTPUTS),
            bias: None,
            y: View::new(&y, SIZE, OUTPUTS),
            relu: true,
            dropout: site(1),
        };
        let layer = kernels.prepare(&layer).unwrap();
        let fill = engine.pass("v[i] = 1.0;", &x);
        let double = engine.pass("v[i] = 2.0 * v[i];", &y);
        Self { kernels, fill, dropout, layer, double, dropped, y }
    }

    /// Submits dropout in a separate pass, and the layer in one pass with the engine's.
    fn submit(&self, engine: &Engine) {
        let mut encoder = engine.device.create_command_encoder(&Default::default());
        self.fill.record(&mut encoder.begin_compute_pass(&Default::default()));
        self.dropout.record(&mut encoder.begin_compute_pass(&Default::default()));
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            self.layer.record(&mut pass);
            self.double.record(&mut pass);
        }
        engine.queue.submit([encoder.finish()]);
    }

    /// Checks the contract's bits: those of the mask, and those of sums that are whole numbers.
    fn check(&self, engine: &Engine) {
        let dropped = engine.read(&self.dropped);
        assert!(dropped.iter().all(|&value| value == 0.0 || value == 2.0));
        let kept: Vec<u8> = dropped.iter().map(|&value| u8::from(value != 0.0)).collect();
        let digest: String =
            Sha256::digest(&kept).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, KEPT);
        for (row, outputs) in engine.read(&self.y).chunks(OUTPUTS).enumerate() {
            // Weight 0.5 times the value 2 for each kept element, times 2 for the layer's own
            // dropout, times 2 for the engine's last pass.
            let sum: f32 =
                kept[row * SIZE..][..SIZE].iter().map(|&kept| 4.0 * f32::from(kept)).sum();
            for (col, &value) in outputs.iter().enumerate() {
                assert_eq!(
                    value,
                    if site(1).mask.keeps(row, col) { sum } else { 0.0 },
                    "row {row}, output {col}"
                );
            }
        }
    }
}

/// Returns the number of live objects that wgpu has created, by its own counters.
fn objects(device: &wgpu::Device) -> [isize; 6] {
    let hal = device.get_internal_counters().hal;
    [
        &hal.buffers,
        &hal.bind_groups,
        &hal.bind_group_layouts,
        &hal.pipeline_layouts,
        &hal.shader_modules,
        &hal.compute_pipelines,
    ]
    .map(|counter| counter.read())
}

#[test]
fn dropout_and_a_layer_between_an_engines_own_passes_have_the_contracts_bits() {
    let Some(engine) = engine() else { return };
    let frame = Frame::new(&engine);
    frame.submit(&engine);
    frame.check(&engine);
    frame.submit(&engine);
    frame.check(&engine);
}

#[test]
fn a_second_recording_makes_no_object() {
    let Some(engine) = engine() else { return };
    let frame = Frame::new(&engine);
    let submitted = || {
        frame.submit(&engine);
        engine.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        objects(&engine.device)
    };
    let first = submitted();
    assert!(first.iter().all(|&count| count > 0), "wgpu counts nothing: {first:?}");
    assert_eq!(submitted(), first);
    // The control: preparing a call again creates another parameter block and other bind groups.
    let buffer = View::new(&frame.y, SIZE, OUTPUTS);
    let again =
        frame.kernels.prepare(&DropoutCall { x: buffer, y: { buffer }, dropout: site(2) }).unwrap();
    let then = submitted();
    assert!(then[0] > first[0] && then[1] > first[1], "{first:?} {then:?}");
    drop(again);
}

/// Records something `times` times into one pass, and returns the number of recordings that
/// allocated.
fn recordings_that_allocate(
    engine: &Engine,
    times: usize,
    record: impl Fn(&mut wgpu::ComputePass<'_>),
) -> usize {
    let mut encoder = engine.device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    (0..times).filter(|_| allocations(|| record(&mut pass)) > 0).count()
}

/// The pass's list of commands belongs to wgpu and occasionally doubles its capacity. Between these
/// times, no recording allocates anything.
#[test]
fn recording_allocates_nothing_of_our_own() {
    let Some(engine) = engine() else { return };
    let frame = Frame::new(&engine);
    let times: usize = 256;
    let ours = recordings_that_allocate(&engine, times, |pass| {
        frame.dropout.record(pass);
        frame.layer.record(pass);
    });
    let engines = recordings_that_allocate(&engine, times, |pass| frame.fill.record(pass));
    println!("of {times} recordings {ours} allocated, of an engine's own {engines}");
    assert!(
        ours <= 2 * times.ilog2() as usize,
        "{ours} of {times} recordings allocated, of an engine's own {engines}"
    );
    // The control: a recording that allocates one byte is detected every time, and so is preparing
    // a call again.
    let seen = |extra: &dyn Fn()| {
        recordings_that_allocate(&engine, times, |pass| {
            frame.dropout.record(pass);
            extra();
        })
    };
    assert_eq!(seen(&|| drop(std::hint::black_box(Box::new(1u8)))), times);
    let buffer = View::new(&frame.y, SIZE, OUTPUTS);
    let prepare = || {
        frame
            .kernels
            .prepare(&DropoutCall { x: buffer, y: { buffer }, dropout: site(2) })
            .map(drop)
            .unwrap()
    };
    assert_eq!(seen(&prepare), times);
}

/// An engine's threads may share the kernels and prepared calls.
#[test]
fn kernels_and_calls_are_send_and_sync() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Kernels>();
    check::<Prepared>();
    check::<wgpu_dropout::gpu::State>();
}

/// A warm-up with the shapes of later calls avoids compilation in the engine's first frame.
#[test]
fn calls_that_were_warmed_up_compile_nothing() {
    let Some(engine) = engine() else { return };
    let kernels = Kernels::new(&engine.device).unwrap();
    let (batch, inputs, outputs) = (24, 40, 36);
    // The engine's later calls on some buffers: a layer, its backward pass, and a dropout in place.
    let calls = |kernels: &Kernels, [x, weight, bias, y, grad, more]: [&wgpu::Buffer; 6]| {
        let [x, weight, bias] = [(x, batch, inputs), (weight, inputs, outputs), (bias, 1, outputs)]
            .map(|(b, r, c)| View::new(b, r, c));
        let [y, grad_output] = [y, grad].map(|buffer| View::new(buffer, batch, outputs));
        let (grad_input, relu, dropout) = (View::new(more, batch, inputs), true, site(1));
        let forward =
            kernels.prepare(&LinearForward { x, weight, bias: Some(bias), y, relu, dropout })?;
        let output = Some(y);
        let back = GradInput { grad_output, output, weight, grad_input, dropout, through: None };
        Ok::<_, wgpu_dropout::Error>([
            forward,
            kernels.prepare(&back)?,
            kernels.prepare(&DropoutCall { x: y, y, dropout })?,
        ])
    };
    let [_, before, .., modules, pipelines] = objects(&engine.device);
    assert_eq!(kernels.warm_up(|kernels, buffers| calls(kernels, buffers).map(drop)).unwrap(), 3);
    let compiled = kernels.compiled();
    let [_, groups, .., more_modules, more_pipelines] = objects(&engine.device);
    assert_eq!((groups, more_pipelines, more_modules), (before, pipelines + 3, modules + 3));
    let buffers = [
        batch * inputs,
        inputs * outputs,
        outputs,
        batch * outputs,
        batch * outputs,
        batch * inputs,
    ];
    let buffers = buffers.map(|count| engine.buffer(&vec![0.0; count]));
    let prepared = calls(&kernels, buffers.each_ref()).unwrap();
    let mut encoder = engine.device.create_command_encoder(&Default::default());
    prepared
        .iter()
        .for_each(|call| call.record(&mut encoder.begin_compute_pass(&Default::default())));
    engine.queue.submit([encoder.finish()]);
    assert_eq!(
        (kernels.compiled(), objects(&engine.device)[5]),
        (compiled.clone(), more_pipelines)
    );
    // A second warm-up has nothing to compile. The control: another shape, whose rows are not whole
    // vectors, needs another form.
    assert_eq!(kernels.warm_up(|kernels, buffers| calls(kernels, buffers).map(drop)).unwrap(), 0);
    let odd = View::new(&buffers[0], 9, 9);
    kernels.prepare(&DropoutCall { x: odd, y: { odd }, dropout: site(1) }).unwrap();
    assert_eq!(
        (kernels.compiled().len(), objects(&engine.device)[5]),
        (compiled.len() + 1, more_pipelines + 1)
    );
}
