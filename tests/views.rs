//! Placement of a caller's tensors: ranges of one buffer, rows with gaps, side by side, in place.
//! Wherever they lie, a kernel gives the bits that it gives on separate buffers, and writes nothing
//! else.

mod common;
#[path = "views/places.rs"]
mod places;

use common::raw::Raw;
use common::{noise, same_bits};
use places::{Place, everywhere, run, tensor};
use wgpu_dropout::call::{
    Activation, ActivationGrad, AdamW, AdamWRule, AlphaDropoutCall, Attention, AttentionGrad,
    AttentionRule, BatchLoss, BatchNorm, BatchNormGrad, BatchStatistics, DropoutBits,
    DropoutBroadcast, DropoutCall, Features, Filter, Gather, GaussianDropoutCall, GradInput,
    GradWeight, GradWeightSgd, Image, LayerNorm, LinearActivation, LinearForward, MaskBits,
    Moments, Patches, PatchesGrad, Pool, PoolCall, PoolGrad, Pooling, Reach, Sgd, SgdRule,
    SoftmaxCrossEntropy, SparsityGrad, SquaredError, Subnetworks,
};
use wgpu_dropout::gpu::{Kernels, View};
use wgpu_dropout::{AlphaDropout, AxisMap, Dropout, Error, GaussianDropout, Key, Mask, Mode, Rate};

/// The batch, inputs and outputs of a layer: ragged, whole vectors, and split sums.
const LAYERS: [[usize; 3]; 4] = [[9, 13, 29], [32, 64, 136], [3, 520, 24], [2, 16, 531]];

fn site() -> Dropout {
    Dropout::train(
        Mode::Inverted,
        Mask::new(Rate::keep(0.6).unwrap(), Key { seed: 8, layer: 1, step: 2 }).at(3, 8),
    )
}

#[test]
fn elementwise_kernels_take_tensors_wherever_they_lie() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    for shape in [[1, 7], [5, 37], [8, 64], [33, 8], [3, 1]] {
        let rows = shape[0];
        let cols = shape[1];
        let pair = [tensor(1, rows, cols), (rows, cols, vec![f32::NAN; rows * cols])];
        everywhere(&raw, &format!("dropout {shape:?}"), &pair, false, |t| {
            kernels.prepare(&DropoutCall { x: t[0], y: t[1], dropout: site() })
        });
        everywhere(&raw, &format!("dropout in place {shape:?}"), &pair[..1], false, |t| {
            kernels.prepare(&DropoutCall { x: t[0], y: t[0], dropout: site() })
        });
        let bits = (rows, cols.div_ceil(32), vec![f32::NAN; rows * cols.div_ceil(32)]);
        everywhere(&raw, &format!("mask_bits {shape:?}"), &[bits], false, |t| {
            kernels.prepare(&MaskBits { bits: t[0], cols, mask: site().mask })
        });
    }
    let compiled = kernels.compiled().join(" ");
    for form in [".vec4", ".shared", ".in_place", ".stacked"] {
        assert!(compiled.contains(form), "{form} was never run: {compiled}");
    }
}

#[test]
fn forms_of_dropout_take_tensors_wherever_they_lie() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    let mask = site().mask;
    for [rows, cols] in [[1, 7], [5, 37], [8, 64], [33, 8], [3, 1]] {
        let x = tensor(1, rows, cols);
        let y = (rows, cols, vec![f32::NAN; rows * cols]);
        let words = noise(2, rows * cols.div_ceil(32));
        let bits = (rows, cols.div_ceil(32), words);
        for in_place in [false, true] {
            let place = format!("{rows}×{cols}{}", if in_place { " in place" } else { "" });
            let last = if in_place { 0 } else { 1 };
            let pair = &[x.clone(), y.clone()][..=last];
            everywhere(&raw, &format!("alpha_dropout {place}"), pair, false, |t| {
                kernels.prepare(&AlphaDropoutCall {
                    x: t[0],
                    y: t[last],
                    dropout: AlphaDropout::train(mask),
                })
            });
            everywhere(&raw, &format!("gaussian_dropout {place}"), pair, false, |t| {
                let dropout = GaussianDropout::train(mask)?;
                kernels.prepare(&GaussianDropoutCall { x: t[0], y: t[last], dropout })
            });
            let axes = AxisMap::over_time(&[1, rows, cols]).unwrap();
            everywhere(&raw, &format!("dropout_broadcast {place}"), pair, false, |t| {
                kernels.prepare(&DropoutBroadcast {
                    x: t[0],
                    y: t[last],
                    axes: &axes,
                    dropout: site(),
                })
            });
            let three = &[bits.clone(), x.clone(), y.clone()][..=last + 1];
            everywhere(&raw, &format!("dropout_bits {place}"), three, false, |t| {
                kernels.prepare(&DropoutBits {
                    bits: t[0],
                    x: t[1],
                    y: { t[last + 1] },
                    scale: 2.0,
                })
            });
        }
    }
    let compiled = kernels.compiled().join(" ");
    for stem in ["alpha_dropout", "gaussian_dropout", "dropout_broadcast", "dropout_bits"] {
        for form in [".in_place", ".shared"] {
            let ran = compiled.split(' ').any(|name| name.starts_with(stem) && name.contains(form));
            assert!(ran, "{stem}{form} was never run: {compiled}");
        }
    }
    // Nothing is drawn and nothing is moved, so nothing is dispatched.
    let buffer = raw.buffer(&[0.0f32; 8]);
    let (view, all) = (View::new(&buffer, 1, 8), AlphaDropout::train(Mask::KEEP_ALL));
    let call = AlphaDropoutCall { x: view, y: { view }, dropout: all };
    assert_eq!(kernels.prepare(&call).unwrap().dispatches(), 0);
    let half = View::new(&buffer, 1, 8).half();
    let call =
        GaussianDropoutCall { x: half, y: half, dropout: GaussianDropout::train(mask).unwrap() };
    assert!(matches!(
        kernels.prepare(&call),
        Err(Error::Buffer { kernel: "gaussian_dropout", .. })
    ));
}

/// Checks a broadcast mask over any division of a tensor into rows, with and without gaps: the
/// columns are the map's last run of axes, a part of it, several runs, or neither.
#[test]
fn a_broadcast_mask_takes_any_matrix_with_gaps() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    let shape = [2, 3, 4, 5];
    let maps = [
        AxisMap::channels(&shape),
        AxisMap::channels_last(&shape),
        AxisMap::drop_path(&shape),
        AxisMap::over_time(&[2, 12, 5]),
        AxisMap::new(&shape, &[0, 2], &[1, 3]),
        AxisMap::new(&shape, &[], &[0, 1, 2, 3]),
    ];
    for axes in maps.map(Result::unwrap) {
        for rows in [1, 2, 3, 6, 8, 15, 24, 40, 120] {
            let (cols, x) = (120 / rows, tensor(1, rows, 120 / rows));
            let pair = [x, (rows, cols, vec![f32::NAN; 120])];
            let what = format!("{axes:?} as {rows}×{cols}");
            everywhere(&raw, &what, &pair, false, |t| {
                kernels.prepare(&DropoutBroadcast {
                    x: t[0],
                    y: t[1],
                    axes: &axes,
                    dropout: site(),
                })
            });
            everywhere(&raw, &format!("{what} in place"), &pair[..1], false, |t| {
                kernels.prepare(&DropoutBroadcast {
                    x: t[0],
                    y: t[0],
                    axes: &axes,
                    dropout: site(),
                })
            });
        }
    }
    let compiled = kernels.compiled().join(" ");
    assert!(compiled.contains(".free"), "no element found its own place: {compiled}");
}

/// Checks that an empty matrix may lie anywhere in its buffer, its end included, and that nothing
/// beyond its end is accepted.
#[test]
fn a_matrix_of_no_elements_lies_anywhere_in_its_buffer() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    let buffer = raw.buffer(&[1.0f32; 16]);
    let error = raw.device.push_error_scope(wgpu::ErrorFilter::Validation);
    let run = |call: wgpu_dropout::Result<wgpu_dropout::gpu::Prepared>| {
        let mut encoder = raw.device.create_command_encoder(&Default::default());
        call.unwrap().record(&mut encoder.begin_compute_pass(&Default::default()));
        raw.queue.submit([encoder.finish()]);
    };
    for at in [0, 4, 60, 64] {
        for (rows, cols) in [(0, 7), (5, 0), (0, 0)] {
            let empty = View::new(&buffer, rows, cols).at(at);
            run(kernels.prepare(&DropoutCall { x: empty, y: { empty }, dropout: site() }));
        }
        // An empty sum, of tensors at the end of their buffer, is 0.
        let y = raw.buffer(&[9.0f32; 16]);
        run(kernels.prepare(&LinearForward {
            x: View::new(&buffer, 4, 0).at(at),
            weight: View::new(&buffer, 0, 4).at(at),
            bias: None,
            y: View::new(&y, 4, 4),
            relu: false,
            dropout: Dropout::NONE,
        }));
        assert_eq!(raw.read::<f32>(&y), [0.0; 16]);
    }
    assert_eq!(raw.read::<f32>(&buffer), [1.0; 16]);
    for at in [68, 1 << 40, u64::MAX - 3] {
        let empty = View::new(&buffer, 0, 7).at(at);
        let call = DropoutCall { x: empty, y: { empty }, dropout: site() };
        assert!(matches!(kernels.prepare(&call), Err(Error::Buffer { .. })), "{at}");
    }
    assert!(pollster::block_on(error.pop()).is_none());
}

#[test]
fn products_take_tensors_wherever_they_lie() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    for shape in LAYERS {
        let [batch, inputs, outputs] = shape;
        let nan = |rows: usize, cols: usize| (rows, cols, vec![f32::NAN; rows * cols]);
        let x = || tensor(1, batch, inputs);
        let weight = || tensor(2, inputs, outputs);
        let dy = || tensor(4, batch, outputs);
        everywhere(
            &raw,
            &format!("linear_forward {shape:?}"),
            &[x(), weight(), tensor(3, 1, outputs), nan(batch, outputs)],
            false,
            |t| {
                let y = t[3];
                kernels.prepare(&LinearForward {
                    x: t[0],
                    weight: t[1],
                    bias: Some(t[2]),
                    y,
                    relu: true,
                    dropout: site(),
                })
            },
        );
        for relu in [false, true] {
            let tensors = [dy(), tensor(5, batch, outputs), weight(), nan(batch, inputs), x()];
            everywhere(&raw, &format!("grad_input {shape:?} {relu}"), &tensors, false, |t| {
                let grad_input = t[3];
                let (output, through) = (relu.then_some(t[1]), Some((t[4], 2.0)));
                kernels.prepare(&GradInput {
                    grad_output: t[0],
                    output,
                    weight: t[2],
                    grad_input,
                    dropout: site(),
                    through,
                })
            });
            let tensors =
                [x(), dy(), tensor(5, batch, outputs), nan(inputs, outputs), nan(1, outputs)];
            everywhere(&raw, &format!("grad_weight {shape:?} {relu}"), &tensors, false, |t| {
                let (grad_weight, grad_bias) = (t[3], t[4]);
                let output = relu.then_some(t[2]);
                kernels.prepare(&GradWeight {
                    x: t[0],
                    grad_output: t[1],
                    output,
                    grad_weight,
                    grad_bias,
                    dropout: site(),
                })
            });
        }
        let tensors = [
            x(),
            dy(),
            weight(),
            tensor(6, 1, outputs),
            tensor(7, inputs, outputs),
            tensor(8, 1, outputs),
        ];
        everywhere(&raw, &format!("grad_weight_sgd {shape:?}"), &tensors, false, |t| {
            let rule = SgdRule { momentum: 0.9, weight_decay: 0.01, ..SgdRule::plain(0.1) };
            let (weight, bias) = (t[2], t[3]);
            let velocity = Some((t[4], t[5]));
            kernels.prepare(&GradWeightSgd { x: t[0], grad_z: t[1], weight, bias, velocity, rule })
        });
    }
    for stem in ["linear_forward", "grad_input", "grad_weight", "grad_weight_sgd"] {
        assert!(
            kernels
                .compiled()
                .iter()
                .any(|name| name.starts_with(stem) && name.ends_with(".shared")),
            "{stem}"
        );
    }
}

#[test]
fn activations_take_tensors_wherever_they_lie() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    let activation = Activation::Gelu;
    for shape in LAYERS {
        let [batch, inputs, outputs] = shape;
        let nan = || (batch, outputs, vec![f32::NAN; batch * outputs]);
        let x = tensor(1, batch, inputs);
        let weight = tensor(2, inputs, outputs);
        let bias = tensor(3, 1, outputs);
        let residual = || tensor(4, batch, outputs);
        let layer = |t: &[View<'_>], residual: usize, y: usize, z: Option<usize>| {
            let z = z.map(|z| t[z]);
            kernels.prepare(&LinearActivation {
                x: t[0],
                weight: t[1],
                bias: Some(t[2]),
                residual: Some(t[residual]),
                z,
                y: t[y],
                activation,
                dropout: site(),
            })
        };
        let tensors = [x.clone(), weight.clone(), bias.clone(), residual(), nan(), nan()];
        everywhere(&raw, &format!("linear_activation {shape:?}"), &tensors, false, |t| {
            layer(t, 3, 4, Some(5))
        });
        everywhere(
            &raw,
            &format!("linear_activation, no z {shape:?}"),
            &tensors[..5],
            false,
            |t| layer(t, 3, 4, None),
        );
        let apart = run(&raw, Place::Apart, &tensors, |t| layer(t, 3, 4, Some(5))).unwrap();
        // The residual in the place of Y: a residual stream to which each layer adds.
        let in_place = [x, weight, bias, residual(), nan()];
        everywhere(&raw, &format!("linear_activation in place {shape:?}"), &in_place, false, |t| {
            layer(t, 3, 3, Some(4))
        });
        let got = run(&raw, Place::Apart, &in_place, |t| layer(t, 3, 3, Some(4))).unwrap();
        same_bits("y in place", &got[3], &apart[4]).unwrap();
        same_bits("z beside it", &got[4], &apart[5]).unwrap();

        let back = |t: &[View<'_>], z: usize, grad_z: usize| {
            let (grad_output, grad_z) = (t[0], t[grad_z]);
            kernels.prepare(&ActivationGrad {
                grad_output,
                z: t[z],
                grad_z,
                activation,
                dropout: site(),
            })
        };
        let tensors = [residual(), (batch, outputs, apart[5].clone()), nan()];
        everywhere(&raw, &format!("activation_grad {shape:?}"), &tensors, false, |t| back(t, 1, 2));
        everywhere(
            &raw,
            &format!("activation_grad in place {shape:?}"),
            &tensors[..2],
            false,
            |t| back(t, 1, 0),
        );
        let apart = run(&raw, Place::Apart, &tensors, |t| back(t, 1, 2)).unwrap();
        let got = run(&raw, Place::Apart, &tensors[..2], |t| back(t, 1, 0)).unwrap();
        same_bits("dz in place", &got[0], &apart[2]).unwrap();
    }
}

#[test]
fn losses_and_updates_take_tensors_wherever_they_lie() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    let words = |rows: usize, values: &[u32]| {
        (rows, 1, values.iter().map(|&word| f32::from_bits(word)).collect::<Vec<f32>>())
    };
    let nan = |rows: usize, cols: usize| (rows, cols, vec![f32::NAN; rows * cols]);
    let labels = || words(5, &[0, 3, 2, 8, 1]);
    // Labels and losses are contiguous; logits may have gaps.
    everywhere(
        &raw,
        "softmax_cross_entropy",
        &[tensor(1, 5, 9), labels(), nan(5, 9), nan(5, 2)],
        true,
        |t| {
            let (grad_logits, losses) = (t[2], t[3]);
            kernels.prepare(&SoftmaxCrossEntropy {
                logits: t[0],
                labels: t[1],
                grad_logits,
                losses,
                batch: 5,
            })
        },
    );
    everywhere(
        &raw,
        "squared_error",
        &[tensor(1, 5, 9), tensor(2, 5, 9), nan(5, 9), nan(5, 2)],
        true,
        |t| {
            let (grad_z, losses) = (t[2], t[3]);
            kernels.prepare(&SquaredError {
                z: t[0],
                targets: t[1],
                grad_z,
                losses,
                logistic: true,
            })
        },
    );
    let (x, pair) = (|| tensor(1, 5, 9), |seed| tensor(seed, 2, 9));
    everywhere(&raw, "batch_statistics", &[x(), nan(2, 9), pair(2)], true, |t| {
        let (statistics, running) = (t[1], t[2]);
        kernels.prepare(&BatchStatistics { x: t[0], statistics, running, momentum: 0.25 })
    });
    let positive = (2, 9, noise(3, 18).iter().map(|v| v.abs()).collect());
    let tensors = [x(), positive, pair(4), nan(5, 9), nan(2, 9), nan(5, 9)];
    everywhere(&raw, "batch_norm", &tensors[..4], true, |t| {
        let (x, statistics, affine, y, epsilon) = (t[0], t[1], t[2], t[3], 1e-5);
        kernels.prepare(&BatchNorm {
            x,
            statistics,
            affine,
            y,
            epsilon,
            relu: true,
            dropout: site(),
        })
    });
    everywhere(
        &raw,
        "batch_norm_grad",
        &[&tensors[..3], &[tensor(5, 5, 9)], &tensors[4..]].concat(),
        true,
        |t| {
            let (x, statistics, affine, grad_y) = (t[0], t[1], t[2], t[3]);
            let (grad_affine, grad_x, epsilon) = (t[4], t[5], 1e-5);
            kernels.prepare(&BatchNormGrad {
                x,
                statistics,
                affine,
                grad_y,
                grad_affine,
                grad_x,
                epsilon,
                through: Some(1.5),
            })
        },
    );
    everywhere(&raw, "layer_norm", &[x(), pair(3), nan(5, 9), nan(5, 2)], true, |t| {
        let (x, affine, y, statistics) = (t[0], t[1], t[2], t[3]);
        kernels.prepare(&LayerNorm { x, affine, y, statistics, epsilon: 1e-5 })
    });
    everywhere(&raw, "sparsity_grad", &[pair(6), tensor(7, 5, 9)], true, |t| {
        kernels.prepare(&SparsityGrad { statistics: t[0], grad_y: t[1], target: 0.05, weight: 2.0 })
    });
    let image = Image { height: 4, width: 5, channels: 2 };
    let filter = Filter { side: 3, padding: 1 };
    everywhere(&raw, "patches", &[tensor(1, 3, 40), nan(60, 18)], true, |t| {
        kernels.prepare(&Patches { x: t[0], image, filter, patches: t[1] })
    });
    everywhere(
        &raw,
        "patches_grad",
        &[tensor(1, 60, 18), tensor(2, 3, 40), nan(3, 40)],
        true,
        |t| {
            let (grad_patches, grad_x, through) = (t[0], t[2], Some((t[1], 1.5)));
            kernels.prepare(&PatchesGrad { grad_patches, image, filter, grad_x, through })
        },
    );
    for pooling in [Pooling::Max, Pooling::Average] {
        let pool = Pool { pooling, height: 2, width: 2 };
        everywhere(&raw, "pool", &[tensor(1, 3, 40), nan(3, 8)], true, |t| {
            kernels.prepare(&PoolCall { x: t[0], image, pool, y: t[1] })
        });
        everywhere(
            &raw,
            "pool_grad",
            &[tensor(1, 3, 40), tensor(2, 3, 8), nan(3, 40)],
            true,
            |t| {
                let (x, grad_y, grad_x) = (t[0], t[1], t[2]);
                kernels.prepare(&PoolGrad { x, image, pool, grad_y, grad_x, through: Some(1.5) })
            },
        );
    }
    let rule = AdamWRule { lr: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1 };
    let second = (7, 12, noise(4, 84).iter().map(|v| v * v).collect());
    everywhere(
        &raw,
        "adamw",
        &[tensor(1, 7, 12), tensor(2, 7, 12), tensor(3, 7, 12), second],
        true,
        |t| {
            let (weight, first, second) = (t[1], t[2], t[3]);
            kernels.prepare(&AdamW { grad: t[0], weight, first, second, rule, step: 3 })
        },
    );
    everywhere(&raw, "batch_loss", &[tensor(1, 100, 2), tensor(2, 3, 2)], true, |t| {
        kernels.prepare(&BatchLoss { losses: t[0], totals: t[1], slot: 1 })
    });
    for max_norm in [None, Some(0.5)] {
        let rule = SgdRule { momentum: 0.9, weight_decay: 0.01, max_norm, ..SgdRule::plain(0.1) };
        everywhere(
            &raw,
            "sgd",
            &[tensor(1, 7, 12), tensor(2, 7, 12), tensor(3, 7, 12)],
            true,
            |t| {
                let (weight, velocity) = (t[1], Some(t[2]));
                kernels.prepare(&Sgd { grad: t[0], weight, velocity, rule })
            },
        );
    }
    let order = || words(4, &[2, 0, 4, 1]);
    everywhere(
        &raw,
        "gather",
        &[tensor(1, 5, 19), labels(), order(), nan(3, 19), nan(3, 1)],
        true,
        |t| {
            let (data, x, labels) = (Features::Floats(t[0]), t[3], t[4]);
            kernels.prepare(&Gather {
                data,
                all_labels: t[1],
                order: t[2],
                first: 1,
                unit: 0.5,
                x,
                labels,
                dropout: site(),
            })
        },
    );
}

#[test]
fn averages_over_sub_networks_take_tensors_wherever_they_lie() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    for (rows, cols, networks) in [(1, 1, 1), (3, 5, 1), (5, 9, 7), (2, 4, 130), (40, 3, 4)] {
        let what = format!("{networks} of {rows}×{cols}");
        let nan = |rows: usize, cols: usize| (rows, cols, vec![f32::NAN; rows * cols]);
        for x_rows in [rows, networks * rows] {
            everywhere(
                &raw,
                &format!("subnetworks {what}"),
                &[tensor(1, x_rows, cols), nan(networks * rows, cols)],
                false,
                |t| {
                    kernels.prepare(&Subnetworks {
                        x: t[0],
                        y: t[1],
                        rows,
                        first: 77,
                        bit: 2,
                        scale: 1.25,
                    })
                },
            );
        }
        let weights = (networks + 3, 1, (0..networks + 3).map(|s| (s % 3) as f32 + 1.0).collect());
        let logits = tensor(2, networks * rows, cols);
        for (before, moments) in
            [(0.0, nan(rows, 2 * cols + 1)), (5.0, tensor(3, rows, 2 * cols + 1))]
        {
            everywhere(
                &raw,
                &format!("moments {what}"),
                &[weights.clone(), logits.clone(), moments],
                false,
                |t| {
                    let (logits, moments) = (t[1], t[2]);
                    kernels.prepare(&Moments { logits, weights: t[0], first: 3, before, moments })
                },
            );
        }
    }
    for form in ["moments", "subnetworks"] {
        let ran = |name: &String| name.starts_with(form) && name.ends_with(".shared");
        assert!(
            kernels.compiled().iter().any(ran),
            "{form} was never run on one buffer: {:?}",
            kernels.compiled()
        );
    }
}

/// Checks input and output that are column ranges of one wide matrix: their bytes interleave, but
/// they share no element.
#[test]
fn tensors_may_lie_side_by_side() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    for (cols, wide) in [(8, 24), (5, 11), (12, 24)] {
        // The matrix starts at the buffer's fourth word.
        let rows = 6;
        let start = 3;
        let values = noise(1, 3 + 7 * wide);
        let buffer = raw.buffer(&values);
        let column =
            |col: usize| View::new(&buffer, rows, cols).at(4 * (start + col) as u64).strided(wide);
        for (from, to) in [(0, cols), (cols, 0), (wide - cols, 0)] {
            let call = DropoutCall { x: column(from), y: column(to), dropout: site() };
            kernels
                .prepare(&call)
                .unwrap_or_else(|error| panic!("{cols} of {wide}, {from} to {to}: {error}"));
        }
        // Rows of another distance come to lie on those beside them.
        let call = DropoutCall { x: column(0), y: column(cols).strided(wide - 1), dropout: site() };
        assert!(
            matches!(kernels.prepare(&call), Err(Error::Buffer { what, .. }) if what.contains("in common")),
            "{cols} of {wide} and of {}",
            wide - 1
        );
        for (from, to) in [(0, cols - 1), (cols - 1, 0), (wide - cols + 1, 0)] {
            let call = DropoutCall { x: column(from), y: column(to), dropout: site() };
            assert!(
                matches!(kernels.prepare(&call), Err(Error::Buffer { what, .. }) if what.contains("in common")),
                "{cols} of {wide}, {from} to {to}"
            );
        }
        let call = kernels
            .prepare(&DropoutCall { x: column(0), y: column(cols), dropout: site() })
            .unwrap();
        let mut encoder = raw.device.create_command_encoder(&Default::default());
        call.record(&mut encoder.begin_compute_pass(&Default::default()));
        raw.queue.submit([encoder.finish()]);
        let mut right = values.clone();
        for row in 0..rows {
            for col in 0..cols {
                let kept = site().mask.keeps(row, col);
                let from = start + row * wide + col;
                right[from + cols] = if kept { values[from] * site().scale } else { 0.0 };
            }
        }
        same_bits(&format!("{cols} of {wide}"), &raw.read(&buffer), &right).unwrap();
    }
}

#[test]
fn tensors_that_meet_are_refused() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    let buffer = raw.buffer(&[0.0f32; 400]);
    let view = |word: u64| View::new(&buffer, 4, 8).at(4 * word);
    fn refused<'a>(kernels: &Kernels, x: View<'a>, y: View<'a>) -> String {
        match kernels.prepare(&DropoutCall { x, y, dropout: site() }) {
            Err(Error::Buffer { kernel: "dropout", what, .. }) => what,
            other => panic!("{x:?} {y:?}: {other:?}"),
        }
    }
    let refused = |x, y| refused(&kernels, x, y);
    for word in [1, 8, 31] {
        assert!(refused(view(0), view(word)).contains("in common"));
        assert!(refused(view(word), view(0)).contains("in common"));
    }
    // The last word of one is the first of the other, or just not.
    assert!(kernels.prepare(&DropoutCall { x: view(0), y: view(32), dropout: site() }).is_ok());
    assert!(kernels.prepare(&DropoutCall { x: view(32), y: view(0), dropout: site() }).is_ok());
    // One row is where it is, whatever the distance to a next one.
    let row = |stride: usize| View::new(&buffer, 1, 8).at(40).strided(stride);
    assert!(kernels.prepare(&DropoutCall { x: row(8), y: row(12), dropout: site() }).is_ok());
    // The same place, other rows.
    assert!(refused(view(0), view(0).strided(9)).contains("in common"));
    assert!(refused(view(0).strided(7), view(100)).contains("7 apart"));
    assert!(refused(view(0), view(100).strided(100)).contains("do not fit"));
    assert!(
        kernels
            .prepare(&DropoutCall {
                x: view(0),
                y: view(100).strided(usize::MAX / 2),
                dropout: site()
            })
            .is_err()
    );

    // Two outputs that overlap, an output on an input, and gaps where none are allowed.
    let grad = |grad_weight: u64, grad_bias: u64| {
        kernels.prepare(&GradWeight {
            x: View::new(&buffer, 2, 3),
            grad_output: View::new(&buffer, 2, 4).at(32),
            output: None,
            grad_weight: View::new(&buffer, 3, 4).at(4 * grad_weight),
            grad_bias: View::new(&buffer, 1, 4).at(4 * grad_bias),
            dropout: site(),
        })
    };
    assert!(grad(64, 128).is_ok());
    for (grad_weight, grad_bias) in [(64, 75), (64, 64), (0, 128), (64, 9)] {
        assert!(matches!(
            grad(grad_weight, grad_bias),
            Err(Error::Buffer { kernel: "grad_weight", .. })
        ));
    }
    let rule = SgdRule::plain(0.1);
    let sgd = kernels.prepare(&Sgd {
        grad: view(0).strided(12),
        weight: view(100),
        velocity: None,
        rule,
    });
    assert!(matches!(sgd, Err(Error::Buffer { kernel: "sgd", tensor: "grad", .. })), "{sgd:?}");

    // A velocity must have its weight's stride if there is more than one row.
    let update = |rows: usize, stride: usize| {
        let (x, grad_z) = (View::new(&buffer, 2, rows), View::new(&buffer, 2, 4).at(32));
        let at = |word: u64, rows: usize| View::new(&buffer, rows, 4).at(4 * word);
        let (weight, bias) = (at(64, rows), at(128, 1));
        let (of_weight, of_bias) = (at(192, rows).strided(stride), at(256, 1));
        kernels.prepare(&GradWeightSgd {
            x,
            grad_z,
            weight,
            bias,
            velocity: Some((of_weight, of_bias)),
            rule,
        })
    };
    assert!(update(3, 4).is_ok() && update(1, 5).is_ok());
    for rows in [2, 3] {
        let refused = update(rows, 5);
        let Err(Error::Buffer { tensor: "weight's velocity", what, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert!(what.contains("5 elements apart"), "{what}");
    }
}

/// Checks that the page on embedding lists exactly the tensors that the calls require without gaps.
#[test]
fn the_page_on_embedding_lists_the_tensors_without_gaps() {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut required = Vec::new();
    for entry in std::fs::read_dir(format!("{root}/src/call")).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices(".packed()") {
            // An operand begins with `read("name"` or `write("name"`.
            let operand = text[..at].rsplit_once("(\"").unwrap().1;
            required.push((stem.clone(), operand.split_once('"').unwrap().0.to_owned()));
        }
    }
    let page = std::fs::read_to_string(format!("{root}/docs/embedding.md")).unwrap();
    let table = page.split_once("| kernel | tensors without gaps |\n").unwrap().1;
    let mut listed = Vec::new();
    for line in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let mut names = line.split('`').skip(1).step_by(2);
        let stem = names.next().unwrap();
        listed.extend(names.map(|name| (stem.to_owned(), name.to_owned())));
    }
    required.sort();
    listed.sort();
    assert!(required.len() > 30, "{required:?}");
    assert_eq!(listed, required);
}

/// Queries, keys and values are often columns of one matrix.
#[test]
fn attention_takes_tensors_wherever_they_lie() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    for (heads, key_heads, queries, keys, width) in [(4, 2, 10, 37, 8), (2, 2, 6, 12, 5)] {
        let rule = AttentionRule {
            key_heads,
            reach: Reach::Window(30),
            dropout: site(),
            ..AttentionRule::whole(2, heads, queries)
        };
        let (q, k) = ((2 * queries, heads * width), (2 * keys, key_heads * width));
        let of = |seed, (rows, cols)| tensor(seed, rows, cols);
        let nan = |(rows, cols)| (rows, cols, vec![f32::NAN; rows * cols]);
        let bias = (heads * queries, keys);
        let statistics = (2 * queries, heads);
        let forward = [of(1, q), of(2, k), of(3, k), of(4, bias), nan(q), nan(statistics)];
        everywhere(&raw, "attention", &forward, true, |t| {
            kernels.prepare(&Attention {
                query: t[0],
                key: t[1],
                value: t[2],
                bias: Some(t[3]),
                output: t[4],
                logsumexp: t[5],
                rule,
            })
        });
        let tensors = [
            of(1, q),
            of(2, k),
            of(3, k),
            of(4, q),
            of(5, statistics),
            of(6, q),
            nan(q),
            nan(k),
            nan(k),
        ];
        everywhere(&raw, "attention_grad", &tensors, true, |t| {
            kernels.prepare(&AttentionGrad {
                query: t[0],
                key: t[1],
                value: t[2],
                bias: None,
                output: t[3],
                logsumexp: t[4],
                grad_output: t[5],
                grad_query: t[6],
                grad_key: t[7],
                grad_value: t[8],
                rule,
            })
        });
    }
}
