//! Tensors that are larger than a binding may be.

use super::{least, pretend, without_errors};
use wgpu_dropout::Backend;
use wgpu_dropout::call::{
    Activation, ActivationGrad, AdamW, AdamWRule, AlphaDropoutCall, BatchNorm, CopyCall,
    DropoutBits, DropoutBroadcast, DropoutCall, Features, Filter, Gather, GaussianDropoutCall,
    GradInput, GradWeight, GradWeightSgd, Image, LinearActivation, LinearForward, MaskBits,
    MaskBytes, Patches, PatchesGrad, Pool, PoolCall, PoolGrad, Pooling, Sgd, SgdRule,
    SoftmaxCrossEntropy, SparsityGrad, SquaredError,
};
use wgpu_dropout::gpu::{Gpu, Kernels, View};
use wgpu_dropout::wgpu::{self, Features as DeviceFeatures, Limits};
use wgpu_dropout::{
    AlphaDropout, AxisMap, Dropout, Error, GaussianDropout, Key, Mask, Mode, Rate, Result,
};

/// Checks tensors that no binding of the least device holds: each window is within its limits,
/// which the noop backend validates.
#[test]
fn large_tensors_are_bound_in_windows_that_the_least_device_takes() {
    let limits = Limits { max_compute_workgroups_per_dimension: 100, ..least() };
    let (device, queue) = pretend(DeviceFeatures::empty(), &limits);
    let windows =
        without_errors(&device, || large(&mut Gpu::on(device.clone(), queue).unwrap())).unwrap();
    let whole = Limits { max_storage_buffer_binding_size: 1 << 27, ..Limits::default() };
    let (device, queue) = pretend(DeviceFeatures::empty(), &whole);
    let whole =
        without_errors(&device, || large(&mut Gpu::on(device.clone(), queue).unwrap())).unwrap();
    assert!(windows > 3 * whole, "{windows} dispatches and {whole}");
}

/// Runs the kernels that can be divided, on tensors of more than 64 KiB. Returns the number of
/// dispatches.
fn large(gpu: &mut Gpu) -> Result<u64> {
    let mask = Mask::new(Rate::drop(0.5)?, Key { seed: 1, layer: 2, step: 3 });
    let dropout = Dropout::train(Mode::Inverted, mask);
    let activation = Activation::Gelu;
    for [batch, inputs, outputs] in
        [[200, 300, 200], [131, 301, 67], [400, 70, 300], [20, 500, 300]]
    {
        let [x, through] = [gpu.zeros(batch, inputs)?, gpu.zeros(batch, inputs)?];
        let mut weight = gpu.zeros(inputs, outputs)?;
        let mut bias = gpu.zeros(1, outputs)?;
        let mut grad_input = gpu.zeros(batch, inputs)?;
        let mut y = gpu.zeros(batch, outputs)?;
        let mut z = gpu.zeros(batch, outputs)?;
        let residual = gpu.zeros(batch, outputs)?;
        let mut grad_weight = gpu.zeros(inputs, outputs)?;
        let mut grad_bias = gpu.zeros(1, outputs)?;
        gpu.run(CopyCall { x: &x, y: &mut grad_input })?;
        gpu.run(DropoutCall { x: &x, y: &mut grad_input, dropout })?;
        let of_bias = Some(&bias);
        gpu.run(LinearForward {
            x: &x,
            weight: &weight,
            bias: of_bias,
            y: &mut y,
            relu: true,
            dropout,
        })?;
        for residual in [None, Some(&residual)] {
            gpu.run(LinearActivation {
                x: &x,
                weight: &weight,
                bias: of_bias,
                residual,
                z: Some(&mut z),
                y: &mut y,
                activation,
                dropout,
            })?;
        }
        gpu.run(ActivationGrad {
            grad_output: &residual,
            z: &z,
            grad_z: &mut y,
            activation,
            dropout,
        })?;
        for (output, through) in [(Some(&y), None), (None, Some((&through, 2.0)))] {
            gpu.run(GradInput {
                grad_output: &residual,
                output,
                weight: &weight,
                grad_input: &mut grad_input,
                dropout,
                through,
            })?;
        }
        for output in [None, Some(&y)] {
            gpu.run(GradWeight {
                x: &x,
                grad_output: &residual,
                output,
                grad_weight: &mut grad_weight,
                grad_bias: &mut grad_bias,
                dropout,
            })?;
        }
        for velocity in [None, Some((&mut grad_weight, &mut grad_bias))] {
            let rule = SgdRule::plain(0.1);
            gpu.run(GradWeightSgd {
                x: &x,
                grad_z: &residual,
                weight: &mut weight,
                bias: &mut bias,
                velocity,
                rule,
            })?;
        }
        let mut bytes = gpu.zeros(batch, inputs)?;
        gpu.run(MaskBytes { bytes: &mut bytes, mask })?;
        gpu.read_mask(mask, 32 * batch, inputs)?;
    }
    // One row exceeds a binding, although the grid is wide enough for it.
    let long = gpu.zeros(2, 20_000)?;
    let mut out = gpu.zeros(2, 20_000)?;
    gpu.run(DropoutCall { x: &long, y: &mut out, dropout })?;
    rowwise(gpu, mask)?;
    gpu.wait()?;
    Ok(gpu.counts().dispatches)
}

/// Runs the kernels that take rows, elements or images at a time.
fn rowwise(gpu: &mut Gpu, mask: Mask) -> Result<()> {
    let rows = 5000;
    let cols = 12;
    let dropout = Dropout::train(Mode::Inverted, mask);
    let [x, mut y, mut first, mut second] = [(); 4].map(|()| gpu.zeros(rows, cols).unwrap());
    let labels = gpu.zeros(rows, 1)?;
    let mut sums = gpu.zeros(rows, 2)?;
    let losses = &mut sums;
    gpu.run(SoftmaxCrossEntropy {
        logits: &x,
        labels: &labels,
        grad_logits: &mut y,
        losses: &mut *losses,
        batch: rows,
    })?;
    gpu.run(SquaredError { z: &x, targets: &first, grad_z: &mut y, losses, logistic: true })?;
    let statistics = &gpu.zeros(2, cols)?;
    let affine = &gpu.zeros(2, cols)?;
    gpu.run(BatchNorm {
        x: &x,
        statistics,
        affine,
        y: &mut y,
        epsilon: 1e-5,
        relu: true,
        dropout,
    })?;
    gpu.run(SparsityGrad { statistics, grad_y: &mut y, target: 0.1, weight: 1.0 })?;
    gpu.run(Sgd {
        grad: &x,
        weight: &mut y,
        velocity: Some(&mut first),
        rule: SgdRule::plain(0.1),
    })?;
    let rule = AdamWRule { lr: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1 };
    gpu.run(AdamW {
        grad: &x,
        weight: &mut y,
        first: &mut first,
        second: &mut second,
        rule,
        step: 0,
    })?;

    gpu.run(AlphaDropoutCall { x: &x, y: &mut y, dropout: AlphaDropout::train(mask) })?;
    gpu.run(GaussianDropoutCall { x: &x, y: &mut y, dropout: GaussianDropout::train(mask)? })?;
    gpu.run(DropoutBits { x: &x, bits: &labels, y: &mut y, scale: 2.0 })?;
    let axes = &AxisMap::channels(&[rows / 4, 4, cols])?;
    gpu.run(DropoutBroadcast { x: &x, y: &mut y, axes, dropout })?;
    let bytes = gpu.zeros(rows, cols)?;
    let order = gpu.zeros(rows, 1)?;
    let all_labels = &labels;
    let mut some = gpu.zeros(50, cols)?;
    let mut their_labels = gpu.zeros(50, 1)?;
    for data in [Features::Bytes(&bytes), Features::Floats(&x)] {
        gpu.run(Gather {
            data,
            all_labels,
            order: &order,
            first: 7,
            unit: 0.5,
            x: &mut some,
            labels: &mut their_labels,
            dropout,
        })?;
    }
    // One image per row.
    let image = Image { height: 3, width: 2, channels: 2 };
    let filter = Filter { side: 3, padding: 1 };
    let mut patches = gpu.zeros(6 * rows, 18)?;
    gpu.run(Patches { x: &x, image, filter, patches: &mut patches })?;
    gpu.run(PatchesGrad {
        grad_patches: &patches,
        image,
        filter,
        grad_x: &mut y,
        through: Some((&x, 2.0)),
    })?;
    let pool = Pool { pooling: Pooling::Max, height: 1, width: 2 };
    let mut pooled = gpu.zeros(rows, 6)?;
    gpu.run(PoolCall { x: &x, image, pool, y: &mut pooled })?;
    gpu.run(PoolGrad { x: &x, image, pool, grad_y: &pooled, grad_x: &mut y, through: Some(2.0) })
}

/// Checks that a residual in place of the output is accepted only if the sums are not split: the
/// first part of a split sum would overwrite it.
#[test]
fn a_residual_in_place_is_refused_where_its_sum_is_cut() {
    let limits = Limits {
        max_storage_buffers_per_shader_stage: 6,
        max_bindings_per_bind_group: 6,
        ..least()
    };
    let (device, _queue) = pretend(DeviceFeatures::empty(), &limits);
    let kernels = Kernels::new(&device).unwrap();
    let usage = wgpu::BufferUsages::STORAGE;
    let buffers = [(); 3].map(|()| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 1 << 20,
            usage,
            mapped_at_creation: false,
        })
    });
    let layer = |inputs: usize, in_place: bool| {
        let (x, weight) = (View::new(&buffers[0], 64, inputs), View::new(&buffers[1], inputs, 64));
        let (y, dropout, activation) =
            (View::new(&buffers[2], 64, 64), Dropout::NONE, Activation::Relu);
        let residual = in_place.then_some(y);
        let (bias, z) = (None, None);
        kernels.prepare(&LinearActivation { x, weight, bias, residual, z, y, activation, dropout })
    };
    // The least device binds 127 rows of 64 weights, so a part of a sum has 112 terms.
    layer(112, true).unwrap();
    layer(500, false).unwrap();
    let cut = layer(500, true);
    let Err(Error::Limit { lack, .. }) = cut else { panic!("{cut:?}") };
    // All 500 rows, wherever they start, and the limit that the device has.
    assert_eq!((lack.needs, lack.has), (500 * 64 * 4 + (1 << 15) + 4, 1 << 16));
}

/// Checks that a tensor that must lie in one binding is accepted up to its last byte, and that the
/// refusal gives its size and the bound in bytes.
#[test]
fn a_tensor_that_must_be_whole_fits_to_the_byte() {
    let (device, _queue) = pretend(DeviceFeatures::empty(), &least());
    let kernels = Kernels::new(&device).unwrap();
    let usage = wgpu::BufferUsages::STORAGE;
    let buffers = [(); 2].map(|()| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 1 << 17,
            usage,
            mapped_at_creation: false,
        })
    });
    // The largest size that fits wherever a tensor starts: the binding less the alignment and a
    // word.
    let most = (1 << 16) - (1 << 15) - 4;
    let updated = |cols: usize, max_norm: Option<f32>| {
        let grad = View::new(&buffers[0], 1, cols);
        let weight = View::new(&buffers[1], 1, cols);
        kernels.prepare(&Sgd {
            grad,
            weight,
            velocity: None,
            rule: SgdRule { max_norm, ..SgdRule::plain(0.1) },
        })
    };
    for max_norm in [None, Some(1.0)] {
        updated(most as usize / 4, max_norm).unwrap();
        let more = updated(most as usize / 4 + 1, max_norm);
        assert!(
            matches!(more, Err(Error::Limit { lack, .. }) if (lack.needs, lack.has) == ((1 << 16) + 4, 1 << 16)),
            "{more:?}"
        );
    }
}

/// Checks each kind of call that needs more than a limit of the device: the message names the
/// limit, its value and the value needed, and a device with exactly that value takes the call.
#[test]
fn a_limit_s_message_gives_the_value_that_suffices() {
    type Attempt = fn(&mut Gpu) -> Result<()>;
    fn row(gpu: &mut Gpu) -> Result<()> {
        let (x, weight) = (gpu.zeros(2, 3)?, gpu.zeros(3, 9000)?);
        let mut y = gpu.zeros(2, 9000)?;
        let (bias, relu, dropout) = (None, false, Dropout::NONE);
        gpu.run(LinearForward { x: &x, weight: &weight, bias, y: &mut y, relu, dropout })
    }
    fn whole(gpu: &mut Gpu) -> Result<()> {
        let (grad, mut weight) = (gpu.zeros(100, 100)?, gpu.zeros(100, 100)?);
        let rule = SgdRule { max_norm: Some(1.0), ..SgdRule::plain(0.1) };
        gpu.run(Sgd { grad: &grad, weight: &mut weight, velocity: None, rule })
    }
    fn in_place(gpu: &mut Gpu) -> Result<()> {
        let buffer = |size| {
            gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        };
        let [x, weight, y] = [64 * 500 * 4, 500 * 64 * 4, 64 * 64 * 4].map(buffer);
        let y = View::new(&y, 64, 64);
        let call = LinearActivation {
            x: View::new(&x, 64, 500),
            weight: View::new(&weight, 500, 64),
            bias: None,
            residual: Some(y),
            z: None,
            y,
            activation: Activation::Relu,
            dropout: Dropout::NONE,
        };
        gpu.kernels().prepare(&call).map(drop)
    }
    fn grid(gpu: &mut Gpu) -> Result<()> {
        let mask = Mask::new(Rate::drop(0.5)?, Key { seed: 1, layer: 2, step: 3 });
        let mut bits = gpu.zeros(1, 64 * 290)?;
        let cols = 32 * 64 * 290;
        gpu.run(MaskBits { bits: &mut bits, cols, mask })
    }
    fn buffer(gpu: &mut Gpu) -> Result<()> {
        gpu.zeros::<f32>(1, (1 << 18) + 4).map(drop)
    }
    let buffers = 6;
    let base = Limits {
        max_storage_buffers_per_shader_stage: buffers,
        max_bindings_per_bind_group: buffers,
        ..least()
    };
    let wide = Limits { max_storage_buffer_binding_size: 1 << 20, ..base.clone() };
    let small = Limits { max_buffer_size: 1 << 20, ..base.clone() };
    let binding = "max_storage_buffer_binding_size";
    let cases: [(&str, &Limits, &str, &str, Attempt); 5] = [
        ("a row", &base, binding, "a row of `weight` in one binding", row),
        ("whole", &base, binding, "all of `weight` in one binding", whole),
        ("in place", &base, binding, "all of `weight` (a sum over a residual in place", in_place),
        (
            "grid",
            &wide,
            "max_compute_workgroups_per_dimension",
            "290 workgroups of mask_bits",
            grid,
        ),
        ("buffer", &small, "max_buffer_size", "a 1×262148 tensor", buffer),
    ];
    for (name, limits, limit, what, attempt) in cases {
        let on = |limits: &Limits| {
            let (device, queue) = pretend(DeviceFeatures::empty(), limits);
            without_errors(&device, || attempt(&mut Gpu::on(device.clone(), queue).unwrap()))
        };
        let error = on(limits).unwrap_err();
        let Error::Limit { lack, .. } = &error else { panic!("{name}: {error:?}") };
        let has = super::printed(limits, limit);
        assert_eq!((lack.limit, lack.has), (limit, has), "{name}");
        let text = error.to_string();
        let right = format!("the device's {limit} is {has}, {} needed; request it", lack.needs);
        assert!(text.starts_with(what) && text.contains(&right), "{name}: {text}");
        let mut more = limits.clone();
        match limit {
            "max_buffer_size" => more.max_buffer_size = lack.needs,
            "max_compute_workgroups_per_dimension" => {
                more.max_compute_workgroups_per_dimension = lack.needs as u32;
            }
            _ => more.max_storage_buffer_binding_size = lack.needs as _,
        }
        on(&more).unwrap_or_else(|error| panic!("{name} with {}: {error}", lack.needs));
    }
    // No device binds so much.
    let limits = Limits {
        max_storage_buffer_binding_size: (1 << 31) - 4,
        max_buffer_size: (1 << 32) - 4,
        ..least()
    };
    let (device, _queue) = pretend(DeviceFeatures::empty(), &limits);
    let rule = SgdRule { max_norm: Some(1.0), ..SgdRule::plain(0.1) };
    let refused = Kernels::new(&device).unwrap().warm_up(|kernels, [grad, weight, ..]| {
        let [grad, weight] = [grad, weight].map(|buffer| View::new(buffer, 1, 1 << 29));
        kernels.prepare(&Sgd { grad, weight, velocity: None, rule }).map(drop)
    });
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("no device binds so much"), "{text}");
}
