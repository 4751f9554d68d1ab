//! Devices that are lost, and buffers and queues that are destroyed, were never created, or belong
//! to another device. Every call ends in a typed error within a second. The owner of the device
//! sets no handler, so that an error which reached wgpu's own would panic; or it sets one, which
//! hears of nothing.

mod networks;

use super::site;
use crate::common::{adapter, skipped};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wgpu_dropout::Backend;
use wgpu_dropout::call::{Attention, AttentionRule, DropoutCall, GradInput, LinearForward};
use wgpu_dropout::gpu::{Gpu, GpuTensor, Kernels, Planner, State, View};
use wgpu_dropout::{Dropout, Error, Result};

/// A device of an engine, and the number of errors that its own handler heard of, if it has one.
struct Owned {
    device: wgpu::Device,
    queue: wgpu::Queue,
    heard: Arc<AtomicUsize>,
}

impl Owned {
    fn new(adapter: &wgpu::Adapter, handler: bool) -> Self {
        let (device, queue) =
            pollster::block_on(adapter.request_device(&Default::default())).unwrap();
        let heard = Arc::new(AtomicUsize::new(0));
        if handler {
            let count = heard.clone();
            device.on_uncaptured_error(Arc::new(move |error| {
                eprintln!("the handler hears: {error}");
                count.fetch_add(1, Ordering::Relaxed);
            }));
        }
        Self { device, queue, heard }
    }

    fn buffer(&self, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("the engine's"),
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    fn storage(&self, size: u64) -> wgpu::Buffer {
        self.buffer(size, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC)
    }

    /// Returns a buffer that wgpu could not create.
    fn failed(&self) -> wgpu::Buffer {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let size = self.device.limits().max_buffer_size + 4;
        let buffer = self.buffer(size, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM);
        assert!(pollster::block_on(scope.pop()).is_some());
        buffer
    }

    fn gpu(&self) -> Gpu {
        Gpu::on(self.device.clone(), self.queue.clone()).unwrap()
    }
}

/// Runs a call, which must end in an error within a second, and returns the error.
fn error<T>(what: &str, call: impl FnOnce() -> Result<T>) -> Error {
    let start = Instant::now();
    let ended = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| panic!("{what} panics"));
    assert!(start.elapsed() < Duration::from_secs(1), "{what}: {:?}", start.elapsed());
    ended.map_or_else(|error| error, |_| panic!("{what} says Ok"))
}

/// Runs a call on a lost device.
fn lost<T>(what: &str, call: impl FnOnce() -> Result<T>) {
    let error = error(what, call);
    assert!(
        matches!(&error, Error::Device { what } if what.starts_with("it was lost")),
        "{what}: {error:?}"
    );
}

/// Runs a test with the adapter under test on devices with and without a handler of their owner's.
/// The tests take turns, since each call is timed, and others that compile meanwhile delay it.
fn on_owned_devices(run: impl Fn(&wgpu::Adapter, Owned)) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(choice) = adapter() else { return };
    let Ok((info, ..)) = wgpu_dropout::gpu::open(&choice) else { return skipped("no adapter") };
    let mut adapters = wgpu_dropout::gpu::adapters().unwrap().into_iter();
    let adapter = adapters.find(|adapter| adapter.get_info() == info).expect("it was opened");
    for handler in [false, true] {
        let owned = Owned::new(&adapter, handler);
        let heard = owned.heard.clone();
        run(&adapter, owned);
        assert_eq!(heard.load(Ordering::Relaxed), 0, "the owner's handler heard of errors");
    }
}

#[test]
fn kernels_on_a_lost_device_say_so() {
    on_owned_devices(|_, owned| {
        let kernels = Kernels::new(&owned.device).unwrap();
        let (x, y) = (owned.storage(256), owned.storage(256));
        let state = owned.buffer(256, wgpu::BufferUsages::UNIFORM);
        let reading = kernels.reading(&state, 0).unwrap();
        let call = |rows| DropoutCall {
            x: View::new(&x, rows, 8),
            y: View::new(&y, rows, 8),
            dropout: site(),
        };
        // Compiled, and not.
        let prepared = kernels.prepare(&call(4)).unwrap();
        owned.device.destroy();
        lost("Kernels::new", || Kernels::new(&owned.device));
        lost("Kernels::with_planner", || {
            Kernels::with_planner(&owned.device, |planner| Planner { wide: false, ..planner })
        });
        lost("Kernels::reading", || kernels.reading(&state, 0));
        lost("Kernels::prepare", || kernels.prepare(&call(4)));
        lost("Kernels::prepare, no rows", || kernels.prepare(&call(0)));
        lost("Kernels::prepare, reading", || reading.prepare(&call(4)));
        lost("Kernels::prepare, not yet compiled", || {
            let view = View::new(&x, 3, 7);
            kernels.prepare(&DropoutCall { x: view, y: { view }, dropout: site() })
        });
        lost("Kernels::prepare, a product", || {
            let (x, y) = (View::new(&x, 1, 8), View::new(&y, 1, 8));
            let (grad_input, output) = (y, None);
            kernels.prepare(&GradInput {
                grad_output: x,
                output,
                weight: View::new(x.buffer, 8, 8),
                grad_input,
                dropout: site(),
                through: None,
            })
        });
        lost("Kernels::prepare, attention", || {
            let view = |buffer| View::new(buffer, 4, 8);
            kernels.prepare(&Attention {
                query: view(&x),
                key: view(&x),
                value: view(&x),
                bias: None,
                output: view(&y),
                logsumexp: View::new(&y, 4, 2).at(128),
                rule: AttentionRule::whole(1, 2, 4),
            })
        });
        lost("Kernels::warm_up", || {
            kernels.warm_up(|kernels, [x, y, ..]| {
                let (x, y) = (View::new(x, 9, 9), View::new(y, 9, 9));
                kernels.prepare(&DropoutCall { x, y, dropout: site() }).map(drop)
            })
        });
        lost("Kernels::warm_up, nothing", || kernels.warm_up(|_, _| Ok(())));
        // Recording says nothing; what is recorded is lost with the device.
        let mut encoder = owned.device.create_command_encoder(&Default::default());
        prepared.record(&mut encoder.begin_compute_pass(&Default::default()));
        owned.queue.submit([encoder.finish()]);
    });
}

#[test]
fn a_backend_on_a_lost_device_says_so() {
    on_owned_devices(|_, owned| {
        let mut gpu = owned.gpu();
        let x = gpu.tensor(4, 4, &[1.0; 16]).unwrap();
        let empty = gpu.zeros::<f32>(0, 4).unwrap();
        let [mut y, mut z] = [(); 2].map(|()| gpu.zeros(4, 4).unwrap());
        gpu.run(DropoutCall { x: &x, y: &mut y, dropout: site() }).unwrap();
        gpu.wait().unwrap();
        // Lost with a call that waits to be submitted.
        gpu.run(DropoutCall { x: &x, y: &mut y, dropout: site() }).unwrap();
        owned.device.destroy();
        lost("Gpu::on", || Gpu::on(owned.device.clone(), owned.queue.clone()));
        lost("Gpu::submit", || gpu.submit());
        lost("Gpu::submit again", || gpu.submit());
        lost("Gpu::submit_async", || pollster::block_on(gpu.submit_async()));
        lost("Gpu::submit_timed", || gpu.submit_timed());
        lost("Gpu::wait", || gpu.wait());
        lost("Gpu::wait_async", || pollster::block_on(gpu.wait_async()));
        lost("Gpu::zeros", || gpu.zeros::<f32>(4, 4));
        lost("Gpu::zeros, no rows", || gpu.zeros::<f32>(0, 4));
        lost("Gpu::tensor", || gpu.tensor(4, 4, &[1.0f32; 16]));
        lost("Gpu::write", || gpu.write(&mut z, &[1.0; 16]));
        lost("Gpu::run", || gpu.run(DropoutCall { x: &x, y: &mut z, dropout: site() }));
        lost("Gpu::run again", || gpu.run(DropoutCall { x: &x, y: &mut y, dropout: site() }));
        lost("Gpu::read", || gpu.read(&y));
        lost("Gpu::read, no rows", || gpu.read(&empty));
        lost("Gpu::read_all", || gpu.read_all(&[&x, &y]));
        lost("Gpu::read_all, no rows", || gpu.read_all(&[&empty]));
        lost("Gpu::read_async", || pollster::block_on(gpu.read_async(&y)));
        lost("Gpu::read_all_async", || pollster::block_on(gpu.read_all_async(&[&x, &y])));
        lost("Gpu::read_mask", || gpu.read_mask(site().mask, 4, 4));
    });
}

/// Checks that an error names the tensor, and says in words of ours why it cannot be used.
fn unusable(what: &str, error: Error, name: &str) {
    match &error {
        Error::Buffer { tensor, what: why, .. } => assert!(
            *tensor == name && why.contains("destroyed") && why.contains("another device"),
            "{what}: {error}"
        ),
        _ => panic!("{what}: {error:?}"),
    }
}

#[test]
fn buffers_that_are_gone_or_another_device_s_are_named() {
    on_owned_devices(|adapter, owned| {
        let other = Owned::new(adapter, false);
        let kernels = Kernels::new(&owned.device).unwrap();
        let good = [(); 4].map(|()| owned.storage(1024));
        let destroyed = owned.storage(1024);
        destroyed.destroy();
        let bad =
            [("destroyed", destroyed), ("failed", owned.failed()), ("other", other.storage(1024))];
        let layer = |[x, weight, bias, y]: [&wgpu::Buffer; 4]| {
            kernels.prepare(&LinearForward {
                x: View::new(x, 4, 8),
                weight: View::new(weight, 8, 5),
                bias: Some(View::new(bias, 1, 5)),
                y: View::new(y, 4, 5),
                relu: true,
                dropout: site(),
            })
        };
        for (kind, buffer) in &bad {
            for (i, name) in ["x", "weight", "bias", "y"].into_iter().enumerate() {
                let mut buffers = good.each_ref();
                buffers[i] = buffer;
                let what = format!("prepare with a {kind} buffer as {name}");
                unusable(&what, error(&what, || layer(buffers)), name);
            }
            // The control: the same call on good buffers.
            layer(good.each_ref()).unwrap();
        }

        let uniform = |of: &Owned| of.buffer(256, wgpu::BufferUsages::UNIFORM);
        let [gone, later] = [(); 2].map(|()| uniform(&owned));
        gone.destroy();
        for (kind, state) in
            [("destroyed", gone), ("failed", owned.failed()), ("other", uniform(&other))]
        {
            let what = format!("reading a {kind} state");
            unusable(&what, error(&what, || kernels.reading(&state, 0)), "state");
        }
        // Destroyed between the calls.
        let reading = kernels.reading(&later, 0).unwrap();
        let view = View::new(&good[0], 4, 8);
        let call = DropoutCall { x: view, y: { view }, dropout: site() };
        reading.prepare(&call).unwrap();
        later.destroy();
        unusable("prepare", error("prepare", || reading.prepare(&call)), "state");
        let mut gpu = owned.gpu().with_kernels(reading);
        let x = gpu.zeros(4, 4).unwrap();
        let mut y = gpu.zeros(4, 4).unwrap();
        let run = |gpu: &mut Gpu, x: &_, y: &mut _| gpu.run(DropoutCall { x, y, dropout: site() });
        unusable("run", error("run", || run(&mut gpu, &x, &mut y)), "state");
    });
}

#[test]
fn tensors_and_queues_of_another_device_are_refused_and_harm_nothing() {
    on_owned_devices(|adapter, owned| {
        let other = Owned::new(adapter, false);
        let mut gpu = owned.gpu();
        let mut others = other.gpu();
        let run = |gpu: &mut Gpu, x: &GpuTensor<f32>, y: &mut GpuTensor<f32>| {
            gpu.run(DropoutCall { x, y, dropout: site() })
        };
        let device = |what: &str, error: Error| {
            assert!(matches!(error, Error::Device { .. }), "{what}: {error:?}");
        };
        let [x, gone] = [(); 2].map(|()| gpu.tensor(4, 4, &[1.0; 16]).unwrap());
        let mut y = gpu.zeros(4, 4).unwrap();
        let mut foreign = others.tensor(4, 4, &[1.0; 16]).unwrap();

        device("queue", error("Gpu::on", || Gpu::on(owned.device.clone(), other.queue.clone())));
        unusable("run", error("run", || run(&mut gpu, &foreign, &mut y)), "x");
        unusable("run", error("run", || run(&mut gpu, &x, &mut foreign)), "y");
        device("write", error("write", || gpu.write(&mut foreign, &[0.0; 16])));
        device("read", error("read", || gpu.read(&foreign)));
        device("read_all", error("read_all", || gpu.read_all(&[&x, &foreign])));
        let mut swapped = owned.gpu().with_kernels(others.kernels().clone());
        error("kernels of another device", || {
            run(&mut swapped, &x, &mut y).and_then(|()| swapped.wait())
        });

        // Destroyed after a call on it, before the submit of the next.
        run(&mut gpu, &gone, &mut y).unwrap();
        gpu.wait().unwrap();
        run(&mut gpu, &gone, &mut y).unwrap();
        gone.view().buffer.destroy();
        device("submit", error("submit", || gpu.submit()));
        device("read", error("read", || gpu.read(&gone)));

        // None of this harms what is the backend's own.
        run(&mut gpu, &x, &mut y).unwrap();
        let dropped = super::dropped(&[1.0; 16], 4);
        assert_eq!(gpu.read(&y).unwrap(), dropped);
        assert_eq!(others.read(&foreign).unwrap(), [1.0; 16]);
    });
}

/// A buffer that is destroyed after a call was recorded is found by the caller's own submit alone.
/// Its error is the caller's, and no call afterwards panics.
#[test]
fn a_buffer_destroyed_after_recording_is_the_caller_s_to_find() {
    let Some(choice) = adapter() else { return };
    let Ok((_, device, queue)) = wgpu_dropout::gpu::open(&choice) else { return };
    let owned = Owned { device, queue, heard: Arc::default() };
    let kernels = Kernels::new(&owned.device).unwrap();
    let [x, y, state] = [(); 3]
        .map(|()| owned.buffer(256, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM));
    let reading = kernels.reading(&state, 0).unwrap();
    assert!(State::SIZE <= state.size());
    let call =
        |x| DropoutCall { x: View::new(x, 4, 8), y: View::new(&y, 4, 8), dropout: Dropout::NONE };
    let prepared = reading.prepare(&call(&x)).unwrap();
    for destroyed in [&x, &state] {
        let mut encoder = owned.device.create_command_encoder(&Default::default());
        prepared.record(&mut encoder.begin_compute_pass(&Default::default()));
        destroyed.destroy();
        let scope = owned.device.push_error_scope(wgpu::ErrorFilter::Validation);
        owned.queue.submit([encoder.finish()]);
        assert!(pollster::block_on(scope.pop()).is_some(), "wgpu accepts a destroyed buffer");
        error("prepare", || reading.prepare(&call(&x)));
        let mut encoder = owned.device.create_command_encoder(&Default::default());
        prepared.record(&mut encoder.begin_compute_pass(&Default::default()));
    }
    kernels.prepare(&call(&owned.storage(256))).unwrap();
}
