//! Devices with lower limits, simulated by wgpu's noop backend, which validates everything and
//! computes nothing. At each limit's bound every kernel is accepted. One past it, the refusal is a
//! typed error that names the limit, and nothing reaches the device's own error handlers.

#[path = "weak_devices/large.rs"]
mod large;
#[path = "common/noop.rs"]
mod noop;
#[path = "common/shaders.rs"]
mod shaders;

use shaders::variants;
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::call::{DropoutBroadcast, MaskBits, MaskBytes, SgdRule};
use wgpu_dropout::gpu::{Gpu, Kernels, Params, Planner, Tile, Tiles, View};
use wgpu_dropout::mlp::{Architecture, Mlp, Training};
use wgpu_dropout::wgpu::{self, Features, Limits};
use wgpu_dropout::{AxisMap, Dropout, Error, Key, Mask, Mode, Rate};

/// Opens a device of the noop backend with exactly these features and limits.
fn pretend(features: Features, limits: &Limits) -> (wgpu::Device, wgpu::Queue) {
    noop::pretend(features, limits, wgpu::DeviceType::DiscreteGpu)
}

/// Returns the lowest limits that the kernels' documentation requires of a device.
fn least() -> Limits {
    Limits {
        max_storage_buffer_binding_size: 1 << 16,
        max_buffer_size: 1 << 28,
        max_compute_workgroups_per_dimension: 17,
        max_storage_buffers_per_shader_stage: 4,
        max_compute_invocations_per_workgroup: 64,
        max_compute_workgroup_size_x: 64,
        max_compute_workgroup_size_y: 1,
        max_compute_workgroup_size_z: 1,
        max_compute_workgroup_storage_size: 512,
        min_storage_buffer_offset_alignment: 1 << 15,
        max_uniform_buffer_binding_size: size_of::<Params>() as u64,
        max_uniform_buffers_per_shader_stage: 1,
        max_dynamic_uniform_buffers_per_pipeline_layout: 1,
        max_dynamic_storage_buffers_per_pipeline_layout: 0,
        max_bind_groups: 2,
        max_bindings_per_bind_group: 4,
        ..Limits::downlevel_defaults()
    }
}

fn registers(planner: Planner) -> Planner {
    Planner { tiles: Tiles::all(Tile::Register), ..planner }
}

/// Runs a closure and panics if the device reports any error meanwhile.
fn without_errors<R>(device: &wgpu::Device, run: impl FnOnce() -> R) -> R {
    let scopes = [
        wgpu::ErrorFilter::Validation,
        wgpu::ErrorFilter::OutOfMemory,
        wgpu::ErrorFilter::Internal,
    ];
    let scopes = scopes.map(|filter| device.push_error_scope(filter));
    let result = run();
    for scope in scopes.into_iter().rev() {
        let error = pollster::block_on(scope.pop());
        assert!(error.is_none(), "{error:?}");
    }
    result
}

/// Runs every kernel that a network and the masks use, on shapes that take many windows and
/// dispatches on such a device. Returns the number of dispatches.
fn everything(gpu: Gpu) -> u64 {
    let rate = Rate::drop(0.5).unwrap();
    let architecture = Architecture {
        inputs: 37,
        hidden: vec![67, 20],
        classes: 5,
        mode: Mode::Inverted,
        rate,
        input_rate: Rate::drop(0.2).unwrap(),
        seed: 1,
    };
    let mut net = Mlp::new(gpu, architecture).unwrap();
    for max_norm in [None, Some(2.0)] {
        let rule = SgdRule { max_norm, ..Training::default().rule };
        let training = Training { rule, ..Training::default() };
        net.train_step(&[0.5; 33 * 37], &[1; 33], &training).unwrap();
    }
    net.predict(&[0.5; 3 * 37]).unwrap();
    let mut gpu = net.into_backend();
    gpu.read_mask(Mask::new(rate, Key { seed: 1, layer: 2, step: 3 }), 60, 99).unwrap();
    gpu.wait().unwrap();
    gpu.counts().dispatches
}

#[test]
fn the_least_device_is_enough_for_everything() {
    let limits = least();
    let (device, queue) = pretend(Features::empty(), &limits);
    without_errors(&device, || {
        let gpu = Gpu::on(device.clone(), queue.clone()).unwrap();
        assert_eq!(Tiles::all(Tile::Register), gpu.kernels().planner().tiles);
        assert!(everything(gpu) > 30);
    });
    // The text of every form whose tile such a device can run must compile.
    let (device, _queue) = pretend(Features::empty(), &limits);
    let mut compiled = 0;
    // A site's state needs a second uniform buffer, which exceeds the limit; the error must say so.
    let usage = wgpu::BufferUsages::UNIFORM;
    let state = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 256,
        usage,
        mapped_at_creation: false,
    });
    match Kernels::with_planner(&device, registers).unwrap().reading(&state, 0) {
        Err(Error::Adapter { what }) => {
            assert!(what.contains("max_uniform_buffers_per_shader_stage"), "{what}")
        }
        other => panic!("{other:?}"),
    }
    for variant in variants().filter(|variant| variant.features().is_empty() && !variant.state) {
        // Forms that bind more tensors than such a device allows have another form for it.
        let few = variant.tensors() <= 4;
        let fused = variant.stem.is_fused_attention();
        if variant.tile().is_some_and(|tile| tile != Tile::Register) || !few || fused {
            continue;
        }
        without_errors(&device, || {
            let source = wgpu::ShaderSource::Wgsl(variant.source().into());
            let module =
                device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
            drop(device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&variant.name()),
                layout: None,
                module: &module,
                entry_point: None,
                compilation_options: Default::default(),
                cache: None,
            }));
        });
        compiled += 1;
    }
    assert!(compiled > 40, "{compiled}");
}

/// Returns each limit's name, and the least device's limits with that one made one step worse.
fn one_past_each() -> Vec<(&'static str, Limits)> {
    let mut past = Vec::new();
    macro_rules! less {
        ($($name:ident)*) => { $( past.push((stringify!($name), Limits { $name: least().$name - 1, ..least() })); )* };
    }
    less! {
        max_storage_buffers_per_shader_stage max_compute_invocations_per_workgroup max_compute_workgroup_size_x
        max_compute_workgroup_storage_size max_uniform_buffer_binding_size
        max_uniform_buffers_per_shader_stage max_dynamic_uniform_buffers_per_pipeline_layout max_bind_groups
        max_bindings_per_bind_group
    }
    // One workgroup is enough to open; a tensor that needs more is refused when it is used.
    past.push((
        "max_compute_workgroups_per_dimension",
        Limits { max_compute_workgroups_per_dimension: 0, ..least() },
    ));
    // These are sizes in bytes, multiples of four.
    past.push((
        "max_storage_buffer_binding_size",
        Limits { max_storage_buffer_binding_size: (1 << 16) - 4, ..least() },
    ));
    past.push(("max_buffer_size", Limits { max_buffer_size: (1 << 16) - 4, ..least() }));
    past.push((
        "min_storage_buffer_offset_alignment",
        Limits { min_storage_buffer_offset_alignment: 1 << 16, ..least() },
    ));
    past
}

/// Returns the value of a limit, by its name.
fn printed(limits: &Limits, name: &str) -> u64 {
    let printed = format!("{limits:?}");
    let (_, rest) = printed.split_once(&format!(" {name}: ")).expect("a limit's name");
    rest.split([',', ' ']).next().unwrap().parse().unwrap()
}

#[test]
fn one_past_each_limit_is_refused_by_name_before_the_device_hears_of_it() {
    for (name, limits) in one_past_each() {
        let (device, queue) = pretend(Features::empty(), &limits);
        without_errors(&device, || {
            for error in [
                Kernels::with_planner(&device, registers).err(),
                Gpu::on(device.clone(), queue).err(),
            ] {
                let text = error.as_ref().map_or_else(String::new, Error::to_string);
                // The message names the limit, and gives what there is and what is needed.
                // One workgroup is enough to open, and a buffer as large as a binding.
                let needs = match name {
                    "max_compute_workgroups_per_dimension" => 1,
                    "max_buffer_size" => 1 << 16,
                    _ => printed(&least(), name),
                };
                let has = printed(&limits, name);
                assert!(
                    matches!(error, Some(Error::Adapter { .. }))
                        && text.contains(&format!("the device's {name} is {has}"))
                        && text.contains(&needs.to_string())
                        && !text.contains(&u64::MAX.to_string()),
                    "{name}: {text}"
                );
            }
        });
    }
}

/// Checks that each tile, which may require more than other kernels, is accepted at its bound and
/// refused one past it.
#[test]
fn each_tile_is_accepted_at_its_bound_and_refused_one_past_it() {
    let generous = Limits { max_compute_workgroup_storage_size: 32_768, ..Limits::default() };
    for tile in Tile::ALL
        .into_iter()
        .filter(|&tile| !tile.is_matrix() && !matches!(tile, Tile::Shuffle | Tile::Narrow))
    {
        let at = |threads: u32, memory: u32| Limits {
            max_compute_invocations_per_workgroup: threads,
            max_compute_workgroup_size_x: threads,
            max_compute_workgroup_storage_size: memory,
            ..generous.clone()
        };
        let runs = |limits: Limits| {
            let (device, queue) = pretend(Features::empty(), &limits);
            let kernels = Kernels::with_planner(&device, |planner| Planner {
                tiles: Tiles::all(tile),
                ..planner
            })
            .ok()?;
            without_errors(&device, || {
                let gpu = Gpu::on(device.clone(), queue).unwrap();
                Some(everything(gpu.with_kernels(kernels)))
            })
        };
        // Finds the smallest accepted value by bisection.
        let bound = |accepted: &dyn Fn(u32) -> bool, most: u32| {
            let (mut low, mut high) = (0, most);
            while high - low > 1 {
                let middle = low.midpoint(high);
                if accepted(middle) { high = middle } else { low = middle }
            }
            high
        };
        let accepts = |limits: Limits| {
            let (device, _queue) = pretend(Features::empty(), &limits);
            Kernels::with_planner(&device, |planner| Planner { tiles: Tiles::all(tile), ..planner })
                .is_ok()
        };
        let threads = bound(&|threads| accepts(at(threads, 32_768)), 1024);
        let memory = bound(&|memory| accepts(at(1024, memory)), 32_768);
        assert!(
            runs(at(threads, memory)).is_some_and(|dispatches| dispatches > 10),
            "{tile}: {threads} threads, {memory} bytes"
        );
        assert!(
            !accepts(at(threads - 1, memory)) && !accepts(at(threads, memory - 1)),
            "{tile}: {threads} threads, {memory} bytes"
        );
    }
}

/// The control: checks that the noop backend refuses what a device cannot do. It also computes
/// nothing, so none of its output can be mistaken for a result.
#[test]
fn the_pretended_device_refuses_and_computes_nothing() {
    let (device, queue) = pretend(Features::empty(), &least());
    assert!(noop::refuses(&device, "@compute @workgroup_size(65) fn main() {}"));
    let mut gpu = Gpu::on(device, queue).unwrap();
    let mask = Mask::new(Rate::keep(0.5).unwrap(), Key { seed: 1, layer: 2, step: 3 });
    assert_ne!(gpu.read_mask(mask, 9, 99).unwrap(), Cpu::new().read_mask(mask, 9, 99).unwrap());
}

/// Checks each field of a plan against the device's properties.
#[test]
fn a_planner_takes_from_a_device_what_it_offers_and_no_more() {
    let info = |kind| wgpu::AdapterInfo::new(kind, wgpu::Backend::Vulkan);
    let gpu = info(wgpu::DeviceType::DiscreteGpu);
    let cpu = info(wgpu::DeviceType::Cpu);
    let limits = Limits {
        max_storage_buffers_per_shader_stage: 6,
        max_bindings_per_bind_group: 7,
        ..Limits::default()
    };
    let usual = Planner::new(&gpu, Features::empty(), &limits);
    assert_eq!((usual.flops, usual.wide, usual.int64, usual.half), (1 << 35, false, false, false));
    assert_eq!(
        (usual.binding, usual.align, usual.buffers, usual.grid, usual.loops),
        (128 << 20, 256, 6, 65_535, u64::MAX)
    );
    assert!(!usual.state && Planner::new(&gpu, Features::SHADER_INT64, &limits).int64);
    let on_cpu = Planner::new(&cpu, Features::empty(), &limits);
    assert_eq!((on_cpu.flops, on_cpu.wide), (1 << 31, true));

    // Tensors of f16 need as many buffers as their kernels bind.
    for (per_stage, per_group, half) in [(6, 6, true), (5, 9, false), (9, 5, false)] {
        let limits = Limits {
            max_storage_buffers_per_shader_stage: per_stage,
            max_bindings_per_bind_group: per_group,
            ..limits.clone()
        };
        let planner = Planner::new(&gpu, Features::SHADER_F16, &limits);
        assert_eq!((planner.half, planner.buffers), (half, per_stage.min(per_group)));
    }
    // A binding takes the smallest of three bounds, and the larger of two alignments.
    let binding = |max_storage_buffer_binding_size, max_buffer_size| {
        let limits = Limits { max_storage_buffer_binding_size, max_buffer_size, ..limits.clone() };
        Planner::new(&gpu, Features::empty(), &limits).binding
    };
    assert_eq!(
        (binding(1 << 20, 1 << 30), binding(1 << 30, 1 << 20), binding(1 << 32, 1 << 33)),
        (1 << 20, 1 << 20, (1 << 31) - (1 << 16))
    );
    let align = |min_storage_buffer_offset_alignment| {
        Planner::new(
            &gpu,
            Features::empty(),
            &Limits { min_storage_buffer_offset_alignment, ..limits.clone() },
        )
        .align
    };
    assert_eq!((align(1), align(32)), (4, 32));
}

/// Checks 32-bit counts in shaders: the largest count that fits is planned, and one more is refused
/// before a buffer is checked or bound.
#[test]
#[cfg(target_pointer_width = "64")]
fn columns_and_strips_that_32_bits_do_not_count_are_refused() {
    let limits = Limits {
        max_storage_buffer_binding_size: (1 << 31) - 4,
        max_buffer_size: 1 << 31,
        ..Limits::default()
    };
    let (device, _queue) = pretend(Features::empty(), &limits);
    let kernels = Kernels::with_planner(&device, registers).unwrap();
    let usage = wgpu::BufferUsages::STORAGE;
    let buffer = |size| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation: false,
        })
    };
    let rate = Rate::drop(0.5).unwrap();
    let mask = Mask::new(rate, Key { seed: 1, layer: 2, step: 3 });
    fn refused<T: std::fmt::Debug>(planned: wgpu_dropout::Result<T>) -> Option<u64> {
        match planned {
            Ok(_) | Err(Error::Buffer { .. }) => None,
            Err(Error::TooLarge { value, bound, .. }) if value == bound + 1 => Some(value),
            Err(error) => panic!("{error:?}"),
        }
    }
    let large = buffer((1 << 30) + 4);
    let bits = |cols: usize| {
        kernels.prepare(&MaskBits { bits: View::new(&large, 1, cols.div_ceil(32)), cols, mask })
    };
    assert_eq!(
        (refused(bits((1 << 32) - 32)), refused(bits((1 << 32) - 31))),
        (None, Some((1 << 32) - 31))
    );
    let bytes =
        |cols: usize| kernels.prepare(&MaskBytes { bytes: View::new(&large, 1, cols), mask });
    assert_eq!(
        (refused(bytes(1 << 30)), refused(bytes((1 << 30) + 1))),
        (None, Some((1 << 30) + 1))
    );
    // 2^32 - 1 strips and 2^32, of two elements each. No buffer is large enough for either.
    let strips = |rows: usize, cols: usize| {
        let axes = &AxisMap::channels(&[rows, cols, 2]).unwrap();
        let dropout = Dropout::train(Mode::Inverted, mask);
        let tensor = View::new(&large, rows, 2 * cols);
        kernels.prepare(&DropoutBroadcast { x: tensor, y: { tensor }, axes, dropout })
    };
    assert_eq!(
        (refused(strips(65_535, 65_537)), refused(strips(1 << 16, 1 << 16))),
        (None, Some(1 << 32))
    );
}
