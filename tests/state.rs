//! Rate, scale, step and seed read from a buffer: calls that are prepared once and recorded again
//! must give, for every state, the bits of calls with the same values.

mod common;

use common::raw::Raw;
use common::{noise, same_bits};
use wgpu_dropout::call::{
    AlphaDropoutCall, DropoutCall, GaussianDropoutCall, GradInput, GradWeight, LinearForward,
    MaskBits,
};
use wgpu_dropout::gpu::{Kernels, Planner, Prepared, State, View};
use wgpu_dropout::{AlphaDropout, Dropout, Error, GaussianDropout, Key, Mask, Mode, Rate, Result};

/// An offset of the state in its buffer that every device allows.
const OFFSET: u64 = 256;

fn site(keep: f64, mode: Mode, seed: u64, step: u32) -> Dropout {
    Dropout::train(
        mode,
        Mask::new(Rate::keep(keep).unwrap(), Key { seed, layer: 4, step }).at(2, 3),
    )
}

/// Returns a schedule that passes through rates 0 and 1, both modes, and seeds of more than 32
/// bits.
fn schedule() -> [Dropout; 6] {
    [
        site(0.5, Mode::Inverted, 7, 0),
        site(0.5, Mode::Inverted, 7, 1),
        site(0.9, Mode::Inverted, 7 << 40, 1),
        site(1.0, Mode::Inverted, 7, 2),
        site(0.0, Mode::Inverted, 7, u32::MAX),
        site(0.25, Mode::Vanilla, u64::MAX, 3),
    ]
}

/// One kind of call that draws a mask, on buffers of its own: its output, and a closure that
/// prepares it with given kernels and a given site.
struct Case<'a> {
    what: &'static str,
    output: &'a wgpu::Buffer,
    prepare: Box<Prepare<'a>>,
}

type Prepare<'a> = dyn Fn(&Kernels, Dropout) -> Result<Prepared> + 'a;

fn submit(raw: &Raw, call: &Prepared) {
    let mut encoder = raw.device.create_command_encoder(&Default::default());
    call.record(&mut encoder.begin_compute_pass(&Default::default()));
    raw.queue.submit([encoder.finish()]);
}

#[test]
fn prepared_calls_follow_the_state() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let state = raw.buffer_for(&[0u32; (OFFSET as usize + 32) / 4], usage);
    let reading = kernels.reading(&state, OFFSET).unwrap();
    // Products of the last shape have split sums.
    for [batch, inputs, outputs] in [[9, 16, 24], [4, 530, 11]] {
        let buffer = |seed, rows: usize, cols: usize| raw.buffer(&noise(seed, rows * cols));
        let x = buffer(1, batch, inputs);
        let w = buffer(2, inputs, outputs);
        let y = buffer(3, batch, outputs);
        let dy = buffer(4, batch, outputs);
        let dx = buffer(5, batch, inputs);
        let dw = buffer(6, inputs, outputs);
        let db = buffer(7, 1, outputs);
        let bits = raw.buffer(&vec![f32::NAN; batch * inputs.div_ceil(32)]);
        let view = View::new;
        let cases = [
            Case {
                what: "dropout",
                output: &dx,
                prepare: Box::new(|kernels, dropout| {
                    let (x, y) = (&view(&x, batch, inputs), &mut view(&dx, batch, inputs));
                    kernels.prepare(&DropoutCall { x: *x, y: *y, dropout })
                }),
            },
            Case {
                what: "mask_bits",
                output: &bits,
                prepare: Box::new(|kernels, dropout| {
                    let bits = &mut view(&bits, batch, inputs.div_ceil(32));
                    kernels.prepare(&MaskBits { bits: *bits, cols: inputs, mask: dropout.mask })
                }),
            },
            Case {
                what: "linear_forward",
                output: &y,
                prepare: Box::new(|kernels, dropout| {
                    let x = &view(&x, batch, inputs);
                    let weight = &view(&w, inputs, outputs);
                    let y = &mut view(&y, batch, outputs);
                    kernels.prepare(&LinearForward {
                        x: *x,
                        weight: *weight,
                        bias: None,
                        y: *y,
                        relu: true,
                        dropout,
                    })
                }),
            },
            Case {
                what: "grad_input",
                output: &dx,
                prepare: Box::new(|kernels, dropout| {
                    let grad_output = &view(&dy, batch, outputs);
                    let weight = &view(&w, inputs, outputs);
                    let grad_input = &mut view(&dx, batch, inputs);
                    kernels.prepare(&GradInput {
                        grad_output: *grad_output,
                        output: None,
                        weight: *weight,
                        grad_input: *grad_input,
                        dropout,
                        through: None,
                    })
                }),
            },
            Case {
                what: "grad_weight",
                output: &dw,
                prepare: Box::new(|kernels, dropout| {
                    let x = &view(&x, batch, inputs);
                    let grad_output = &view(&dy, batch, outputs);
                    let grad_weight = &mut view(&dw, inputs, outputs);
                    let grad_bias = &mut view(&db, 1, outputs);
                    kernels.prepare(&GradWeight {
                        x: *x,
                        grad_output: *grad_output,
                        output: None,
                        grad_weight: *grad_weight,
                        grad_bias: *grad_bias,
                        dropout,
                    })
                }),
            },
        ];
        for Case { what, output, prepare } in cases {
            // Of the call's own site, only the layer and the offsets count.
            let [replayed, replayed_too] =
                [site(1.0, Mode::Inverted, 99, 99), site(0.1, Mode::Vanilla, 98, 97)].map(|said| {
                    prepare(&reading, said).unwrap_or_else(|error| panic!("{what}: {error}"))
                });
            let mut seen: Vec<Vec<f32>> = Vec::new();
            for (i, dropout) in schedule().into_iter().enumerate() {
                raw.queue.write_buffer(&state, OFFSET, State::new(&dropout).bytes());
                submit(&raw, if i % 2 == 0 { &replayed } else { &replayed_too });
                let got = raw.read::<f32>(output);
                submit(&raw, &prepare(&kernels, dropout).unwrap());
                same_bits(&format!("{what} {dropout:?}"), &got, &raw.read(output)).unwrap();
                assert!(
                    seen.iter().all(|before| same_bits("", before, &got).is_err()),
                    "{what}: state {i} changed nothing"
                );
                seen.push(got);
            }
        }
    }
    assert!(
        kernels.compiled().iter().any(|name| name.ends_with(".state")),
        "{:?}",
        kernels.compiled()
    );
}

/// Checks that alpha and Gaussian dropout follow their states, including states of keep rate 1, for
/// which calls with fixed values are the identity.
#[test]
fn dropout_s_other_forms_follow_their_states() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    let state =
        raw.buffer_for(&[0u32; 16], wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST);
    let reading = kernels.reading(&state, 0).unwrap();
    for [rows, cols] in [[9, 24], [5, 13]] {
        let x = raw.buffer(&noise(1, rows * cols));
        let y = raw.buffer(&vec![f32::NAN; rows * cols]);
        let alpha = |kernels: &Kernels, dropout| {
            kernels.prepare(&AlphaDropoutCall {
                x: View::new(&x, rows, cols),
                y: View::new(&y, rows, cols),
                dropout,
            })
        };
        let gaussian = |kernels: &Kernels, dropout| {
            kernels.prepare(&GaussianDropoutCall {
                x: View::new(&x, rows, cols),
                y: View::new(&y, rows, cols),
                dropout,
            })
        };
        let said = site(1.0, Mode::Inverted, 99, 99).mask;
        let replayed = [
            alpha(&reading, AlphaDropout::train(said)).unwrap(),
            gaussian(&reading, GaussianDropout::train(said).unwrap()).unwrap(),
        ];
        let mut seen: Vec<Vec<f32>> = Vec::new();
        for (keep, seed, step) in
            [(0.5, 7, 0), (0.5, 7, 1), (0.9, 7 << 40, 1), (1.0, 7, 2), (0.1, u64::MAX, u32::MAX)]
        {
            let mask = site(keep, Mode::Inverted, seed, step).mask;
            let a = AlphaDropout::train(mask);
            let g = GaussianDropout::train(mask).unwrap();
            let calls = [alpha(&kernels, a).unwrap(), gaussian(&kernels, g).unwrap()];
            for ((state_of, replayed), call) in
                [State::alpha(&a), State::gaussian(&g)].iter().zip(&replayed).zip(&calls)
            {
                raw.queue.write_buffer(&state, 0, state_of.bytes());
                submit(&raw, replayed);
                let got = raw.read::<f32>(&y);
                submit(&raw, call);
                same_bits(&format!("keep {keep}, step {step}"), &got, &raw.read(&y)).unwrap();
                // The control: no two states give the same result, except those of keep rate 1.
                assert!(
                    keep == 1.0 || seen.iter().all(|before| same_bits("", before, &got).is_err()),
                    "keep {keep}, step {step}"
                );
                seen.push(got);
            }
        }
    }
}

#[test]
fn a_state_that_no_kernel_could_read_is_refused() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    let plain = raw.buffer(&[0u32; 128]);
    let good = raw.buffer_for(&[0u32; 128], wgpu::BufferUsages::UNIFORM);
    let align = u64::from(raw.device.limits().min_uniform_buffer_offset_alignment);
    let refused = |buffer, offset, says: &str| match kernels.reading(buffer, offset) {
        Err(error @ Error::Buffer { tensor: "state", .. }) => {
            assert!(error.to_string().contains(says), "{error}")
        }
        other => panic!("{other:?}"),
    };
    refused(&plain, 0, "UNIFORM");
    refused(&good, align / 2, "min_uniform_buffer_offset_alignment");
    refused(&good, 512, "do not fit");
    refused(&good, u64::MAX / align * align, "do not fit");
    assert!(kernels.reading(&good, 512 - 256).is_ok());
    let forged = Kernels::with_planner(&raw.device, |planner| Planner { state: true, ..planner });
    assert!(matches!(forged, Err(Error::Invalid { .. })), "{forged:?}");
}
