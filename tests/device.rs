//! Devices, this crate's and a caller's: refusals and their errors, kernels between a caller's own
//! passes, and reading without blocking.

mod common;
#[path = "device/lost.rs"]
mod lost;

use common::raw::Raw;
use common::{Form, noise, same_bits, with_gpu};
use std::sync::atomic::{AtomicBool, Ordering};
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::call::{DropoutCall, LinearForward, MaskBits};
use wgpu_dropout::cpu::reference;
use wgpu_dropout::gpu::{AdapterChoice, Gpu, Kernels, Planner, Tile, Tiles, View, adapters};
use wgpu_dropout::mask::{MAX_COLS, MAX_ROWS};
use wgpu_dropout::{Device, DeviceChoice, Dropout, Error, Key, Mask, Mode, Rate};

fn site() -> Dropout {
    Dropout::train(
        Mode::Inverted,
        Mask::new(Rate::keep(0.5).unwrap(), Key { seed: 8, layer: 1, step: 2 }).at(3, 5),
    )
}

fn dropped(x: &[f32], cols: usize) -> Vec<f32> {
    let mut y = vec![f32::NAN; x.len()];
    reference::dropout(x, &mut y, cols, &site());
    y
}

#[test]
fn an_adapter_that_is_not_there_is_an_error_that_lists_those_that_are() {
    for name in ["9999", "no such adapter"] {
        let choice: DeviceChoice = name.parse().unwrap();
        let Err(error) = Device::open(&choice) else { panic!("{name} opened") };
        assert!(matches!(error, Error::Adapter { .. }), "{error:?}");
        let Some(first) = adapters().unwrap().first().map(wgpu::Adapter::get_info) else {
            continue;
        };
        assert!(
            error.to_string().contains(name) && error.to_string().contains(&first.name),
            "{error}"
        );
    }
    assert!(matches!(Gpu::open(&AdapterChoice::Index(usize::MAX)), Err(Error::Adapter { .. })));
    assert!(matches!("cpu".parse().map(|choice| Device::open(&choice)), Ok(Ok(Device::Cpu(_)))));
}

/// Prepares a dropout call on two ranges of buffers.
fn prepare<'a>(kernels: &Kernels, x: View<'a>, y: View<'a>) -> wgpu_dropout::Result<()> {
    kernels.prepare(&DropoutCall { x, y, dropout: site() }).map(drop)
}

/// Checks that every refusal comes before wgpu sees the buffer, so that nothing reaches the
/// device's error handlers.
#[test]
fn buffers_that_a_kernel_cannot_use_are_typed_errors() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    let scope = raw.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let a = raw.buffer(&[0.0f32; 64]);
    let b = raw.buffer(&[0.0f32; 64]);
    let plain =
        raw.buffer_for(&[0.0f32; 64], wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::VERTEX);
    let view = |buffer, offset| View::new(buffer, 4, 8).at(offset);
    prepare(&kernels, view(&a, 0), view(&b, 128)).unwrap();
    let refused = [
        ("no STORAGE usage, input", view(&plain, 0), view(&b, 0), "STORAGE"),
        ("no STORAGE usage, output", view(&a, 0), view(&plain, 0), "STORAGE"),
        ("an offset inside a word", view(&a, 2), view(&b, 0), "multiple of 4"),
        ("an offset whose end is past the buffer", view(&a, 132), view(&b, 0), "do not fit"),
        ("an offset past the buffer", view(&a, 0), view(&b, 1 << 40), "do not fit"),
        ("an offset whose end overflows", view(&a, u64::MAX - 3), view(&b, 0), "do not fit"),
        ("a buffer that is too small", View::new(&a, 9, 8), View::new(&b, 9, 8), "do not fit"),
        ("output on a part of the input", view(&a, 0), view(&a, 64), "another tensor"),
    ];
    for (what, x, y, says) in refused {
        match prepare(&kernels, x, y) {
            Err(error @ Error::Buffer { kernel: "dropout", .. }) => {
                assert!(error.to_string().contains(says), "{what}: {error}")
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    let huge = View::new(&a, usize::MAX, 2);
    assert!(prepare(&kernels, huge, huge).is_err());
    assert!(matches!(
        prepare(&kernels, View::new(&a, 4, 8), View::new(&b, 8, 4)),
        Err(Error::Shape { kernel: "dropout", .. })
    ));

    // Coordinates past the contract's limits.
    for (row, col) in [(MAX_ROWS - 3, 0), (0, MAX_COLS - 7), (u64::MAX, 0), (0, u64::MAX)] {
        let mask = site().mask.at(row, col);
        assert!(matches!(
            kernels.prepare(&MaskBits { bits: View::new(&b, 4, 1), cols: 8, mask }),
            Err(Error::TooLarge { .. })
        ));
    }
    let error = pollster::block_on(scope.pop());
    assert!(error.is_none(), "{error:?}");
}

/// Checks that plans are validated against the device, so that no plan divides by zero or binds
/// past a limit.
#[test]
fn plans_beyond_the_device_are_refused() {
    let Some(raw) = Raw::open() else { return };
    let good = Planner::new(&raw.info, raw.device.features(), &raw.device.limits());
    assert!(Kernels::with_planner(&raw.device, |_| good).is_ok());
    let bad = [
        Planner { binding: 1 << 15, ..good },
        Planner { binding: good.binding + 4, ..good },
        Planner { binding: u64::MAX, ..good },
        Planner { grid: 0, ..good },
        Planner { grid: u32::MAX, ..good },
        Planner { align: 0, ..good },
        Planner { align: good.align / 2, ..good },
        Planner { align: good.align * 3 / 2, ..good },
        Planner { align: u64::MAX, ..good },
    ];
    for planner in bad {
        match Kernels::with_planner(&raw.device, |_| planner) {
            Err(Error::Adapter { what }) => {
                assert!(what.contains("max_") || what.contains("min_"), "{what}")
            }
            other => panic!("{planner:?}: {other:?}"),
        }
    }
    // A plan of no operations per dispatch is slow, not wrong.
    let kernels = Kernels::with_planner(&raw.device, |_| Planner { flops: 0, ..good }).unwrap();
    let (a, b, c) =
        (raw.buffer(&[1.0f32; 16]), raw.buffer(&[1.0f32; 16]), raw.buffer(&[0.0f32; 16]));
    let (x, weight, y) = (View::new(&a, 4, 4), View::new(&b, 4, 4), View::new(&c, 4, 4));
    let call = LinearForward { x, weight, bias: None, y, relu: true, dropout: Dropout::NONE };
    assert_eq!(kernels.prepare(&call).unwrap().dispatches(), 1);
}

#[test]
fn a_device_with_too_little_is_refused_and_one_with_webgpu_s_defaults_is_not() {
    if Raw::open().is_none() {
        return;
    }
    let Some(adapter) = adapters().unwrap().into_iter().next() else { return };
    if !wgpu::Limits::default().check_limits(&adapter.limits()) {
        return common::skipped("the adapter is below WebGPU's default limits");
    }
    let with = |required_limits: wgpu::Limits| {
        let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
        pollster::block_on(adapter.request_device(&descriptor)).unwrap().0
    };
    let defaults = wgpu::Limits::default();
    for tile in Tile::ALL {
        let device = with(defaults.clone());
        let kernels = Kernels::with_planner(&device, |planner| Planner {
            tiles: Tiles::all(tile),
            ..planner
        });
        // A tile that needs a feature, or more workgroup memory than the defaults provide, is
        // refused.
        let more = tile.is_matrix() || matches!(tile, Tile::Shuffle | Tile::Narrow | Tile::Large);
        assert_eq!(kernels.is_ok(), !more, "{tile}: {:?}", kernels.err());
    }
    // wgpu enforces only one of these two limits. A tile that exceeds either is refused before
    // anything is compiled.
    let small = [
        (wgpu::Limits { max_compute_invocations_per_workgroup: 128, ..defaults.clone() }, true),
        (wgpu::Limits { max_compute_workgroup_storage_size: 12_288, ..defaults.clone() }, false),
    ];
    for (limits, usual) in small {
        let device = with(limits);
        for (tile, fits) in [
            (Tile::Large, false),
            (Tile::Workgroup, usual),
            (Tile::Small, true),
            (Tile::Tall, true),
        ] {
            let kernels = Kernels::with_planner(&device, |planner| Planner {
                tiles: Tiles::all(tile),
                ..planner
            });
            assert_eq!(kernels.is_ok(), fits, "{tile}: {:?}", kernels.err());
        }
    }
    let lacking = [
        (
            "max_storage_buffers_per_shader_stage",
            wgpu::Limits { max_storage_buffers_per_shader_stage: 3, ..defaults.clone() },
        ),
        (
            "max_compute_invocations_per_workgroup",
            wgpu::Limits { max_compute_invocations_per_workgroup: 32, ..defaults.clone() },
        ),
        (
            "max_compute_workgroup_size_x",
            wgpu::Limits { max_compute_workgroup_size_x: 32, ..defaults.clone() },
        ),
        (
            "max_compute_workgroup_storage_size",
            wgpu::Limits { max_compute_workgroup_storage_size: 4096, ..defaults.clone() },
        ),
        (
            "max_storage_buffer_binding_size",
            wgpu::Limits { max_storage_buffer_binding_size: 1 << 15, ..defaults },
        ),
    ];
    for (name, limits) in lacking {
        match Kernels::with_planner(&with(limits), |planner| Planner {
            tiles: Tiles::all(Tile::Workgroup),
            ..planner
        }) {
            Err(Error::Adapter { what }) => assert!(what.contains(name), "{what}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// Checks a kernel recorded between a caller's own shaders in one encoder, `x[i] = i` before it and
/// `y[i] = 3·y[i]` after it: once in separate passes and once within one pass.
#[test]
fn kernels_run_between_a_caller_s_own_passes() {
    let Some(raw) = Raw::open() else { return };
    let scope = raw.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let (rows, cols) = (7, 37);
    let count = rows * cols;
    let x = raw.buffer(&vec![f32::NAN; count]);
    let y = raw.buffer(&vec![f32::NAN; count]);
    let shader = |statement: &str| {
        let head = "@group(0) @binding(0) var<storage, read_write> v: array<f32>;\n@compute @workgroup_size(64)\n";
        let main = "fn main(@builtin(global_invocation_id) id: vec3<u32>) {\n if id.x < arrayLength(&v) { ";
        raw.pipeline(&format!("{head}{main}{statement} }}\n}}\n"))
    };
    let fill = shader("v[id.x] = f32(id.x);");
    let triple = shader("v[id.x] = 3.0 * v[id.x];");
    let fill_group = raw.group(&fill, 0, &[&x]);
    let triple_group = raw.group(&triple, 0, &[&y]);
    let kernels = Kernels::new(&raw.device).unwrap();
    let (source, target) = (View::new(&x, rows, cols), View::new(&y, rows, cols));
    let ours = kernels.prepare(&DropoutCall { x: source, y: target, dropout: site() }).unwrap();
    assert!(ours.dispatches() == 1 && kernels.compiled().len() == 1, "{:?}", kernels.compiled());

    let right: Vec<f32> = dropped(&(0..count).map(|i| i as f32).collect::<Vec<_>>(), cols)
        .iter()
        .map(|y| 3.0 * y)
        .collect();
    for in_one_pass in [false, true] {
        let mut encoder = raw.device.create_command_encoder(&Default::default());
        let dispatch = |pass: &mut wgpu::ComputePass<'_>,
                        pipeline: &wgpu::ComputePipeline,
                        group: &wgpu::BindGroup| {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, group, &[]);
            pass.dispatch_workgroups(count.div_ceil(64) as u32, 1, 1);
        };
        if in_one_pass {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            dispatch(&mut pass, &fill, &fill_group);
            ours.record(&mut pass);
            dispatch(&mut pass, &triple, &triple_group);
        } else {
            dispatch(&mut encoder.begin_compute_pass(&Default::default()), &fill, &fill_group);
            ours.record(&mut encoder.begin_compute_pass(&Default::default()));
            dispatch(&mut encoder.begin_compute_pass(&Default::default()), &triple, &triple_group);
        }
        raw.queue.submit([encoder.finish()]);
        same_bits("between passes", &raw.read(&y), &right).unwrap();
    }
    let error = pollster::block_on(scope.pop());
    assert!(error.is_none(), "{error:?}");
}

/// Checks that tensors may start at any word of a buffer, and that the words around the output stay
/// as they were.
#[test]
fn tensors_are_ranges_of_buffers() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    for (rows, cols) in [(3, 12), (5, 7)] {
        for (from, to) in [(0, 4), (1, 64), (13, 2), (65, 67), (130, 128)] {
            let count = rows * cols;
            let values = noise(1, 300);
            let x = raw.buffer(&values);
            let y = raw.buffer(&[9.0f32; 300]);
            let source = View::new(&x, rows, cols).at(4 * from);
            let target = &mut View::new(&y, rows, cols).at(4 * to);
            let call =
                kernels.prepare(&DropoutCall { x: source, y: *target, dropout: site() }).unwrap();
            let mut encoder = raw.device.create_command_encoder(&Default::default());
            call.record(&mut encoder.begin_compute_pass(&Default::default()));
            raw.queue.submit([encoder.finish()]);
            let mut right = vec![9.0; 300];
            right[to as usize..][..count]
                .copy_from_slice(&dropped(&values[from as usize..][..count], cols));
            same_bits(
                &format!("{rows}×{cols} from word {from} to word {to}"),
                &raw.read(&y),
                &right,
            )
            .unwrap();
        }
    }
}

/// Checks a product of few rows and long sums. It needs a scratch buffer, which the prepared call
/// owns.
#[test]
fn a_product_in_parts_is_recorded_like_any_other_and_again() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    let (batch, inputs, outputs) = (3, 600, 21);
    let values = noise(5, inputs * (batch + outputs));
    let (x, weight) = values.split_at(batch * inputs);
    let mut right = vec![f32::NAN; batch * outputs];
    reference::linear_forward(x, weight, None, &mut right, [inputs, outputs], true, &site());
    let a = raw.buffer(x);
    let b = raw.buffer(weight);
    let c = raw.buffer(&vec![f32::NAN; batch * outputs]);
    let a = View::new(&a, batch, inputs);
    let b = View::new(&b, inputs, outputs);
    let y = View::new(&c, batch, outputs);
    let call = kernels.prepare(&LinearForward {
        x: a,
        weight: b,
        bias: None,
        y,
        relu: true,
        dropout: site(),
    });
    let call = call.unwrap();
    assert_eq!(call.dispatches(), 2);
    for _ in 0..2 {
        let mut encoder = raw.device.create_command_encoder(&Default::default());
        call.record(&mut encoder.begin_compute_pass(&Default::default()));
        raw.queue.submit([encoder.finish()]);
        let got = raw.read::<f32>(&c);
        assert!(got.iter().zip(&right).all(|(a, b)| (a - b).abs() <= 1e-4), "{got:?} {right:?}");
    }
}

/// Checks that the scratch buffer is allocated once, and again only if a call needs a larger one.
#[test]
fn products_in_parts_make_no_objects_again() {
    with_gpu(Form::Usual, |gpu| {
        let mut run = |inputs: usize, outputs: usize| {
            let x = gpu.zeros(4, inputs).unwrap();
            let weight = gpu.zeros(inputs, outputs).unwrap();
            let mut y = gpu.zeros(4, outputs).unwrap();
            let mut objects = Vec::new();
            for _ in 0..3 {
                let before = gpu.counts().objects;
                let dropout = Dropout::NONE;
                gpu.run(LinearForward {
                    x: &x,
                    weight: &weight,
                    bias: None,
                    y: &mut y,
                    relu: false,
                    dropout,
                })
                .unwrap();
                gpu.submit().unwrap();
                objects.push(gpu.counts().objects - before);
            }
            objects
        };
        let small = run(600, 64);
        let large = run(2048, 128);
        assert!(small[0] > 0 && small[1..] == [0, 0], "{small:?}");
        // The scratch buffer and two bind groups.
        assert_eq!(large, [3, 0, 0]);
    });
}

#[test]
fn reading_need_not_block_where_somebody_else_polls() {
    with_gpu(Form::Usual, |gpu| {
        let values = noise(4, 1000);
        let x = gpu.tensor(10, 100, &values).unwrap();
        let mut y = gpu.zeros(10, 100).unwrap();
        gpu.run(DropoutCall { x: &x, y: &mut y, dropout: site() }).unwrap();
        let device = gpu.device().clone();
        let done = AtomicBool::new(false);
        let read = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    device.poll(wgpu::PollType::Poll).unwrap();
                    std::thread::yield_now();
                }
            });
            let read = pollster::block_on(gpu.read_async(&y));
            done.store(true, Ordering::Relaxed);
            read.unwrap()
        });
        same_bits("read_async", &read, &dropped(&values, 100)).unwrap();
        assert_eq!(gpu.read(&y).unwrap(), read);
    });
}

#[test]
fn tensors_that_no_device_holds_are_typed_errors() {
    fn check<B: Backend>(backend: &mut B) {
        for (rows, cols) in [(usize::MAX, 2), (usize::MAX / 8, 1), (1 << 40, 1 << 20), (1 << 45, 1)]
        {
            let error = backend.zeros::<f32>(rows, cols).map(drop).unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::TooLarge { .. } | Error::Limit { .. } | Error::OutOfMemory { .. }
                ),
                "{} {rows}×{cols}: {error}",
                backend.name()
            );
        }
        let mut tensor = backend.zeros::<f32>(2, 3).unwrap();
        for length in [0, 5, 7] {
            assert!(matches!(
                backend.write(&mut tensor, &vec![0.0; length]),
                Err(Error::Shape { .. })
            ));
        }
        assert_eq!(backend.read(&tensor).unwrap(), [0.0; 6], "nothing was written");
    }
    check(&mut Cpu::new());
    with_gpu(Form::Usual, check);
}
