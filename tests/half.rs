//! Tensors stored as f16: every form of dropout and of the matrix products, recorded on a caller's
//! device and compared with the f64 oracle rounded once to f16 at the end. The masks must be the
//! same, and tensors that do not match must be refused.

mod common;

use common::raw::Raw;
use common::{noise, skipped, small_integers};
use half::f16;
use wgpu_dropout::call::{
    CopyCall, DropoutCall, GradInput, GradWeight, LinearForward, SoftmaxCrossEntropy,
};
use wgpu_dropout::cpu::reference;
use wgpu_dropout::gpu::{Kernels, Planner, Prepared, Tile, Tiles, Variant, View};
use wgpu_dropout::oracle::{self, Exact};
use wgpu_dropout::{Dropout, Error, Key, Mask, Mode, Rate};

/// `[B, I, O]`: ragged, whole vectors, and split sums, forward and backward.
const SHAPES: [[usize; 3]; 6] =
    [[9, 13, 29], [33, 68, 132], [3, 517, 9], [5, 520, 12], [4, 9, 517], [3, 12, 520]];

fn mask(keep: f64) -> Mask {
    Mask::new(Rate::keep(keep).unwrap(), Key { seed: 99, layer: 1, step: 4 }).at(3, 5)
}

/// Rounds numbers to f16, as a tensor of f16 stores them.
fn rounded(values: &[f32]) -> Vec<f32> {
    values.iter().map(|&x| f16::from_f32(x).to_f32()).collect()
}

fn upload(raw: &Raw, values: &[f32]) -> wgpu::Buffer {
    let mut bits: Vec<u16> = values.iter().map(|&x| f16::from_f32(x).to_bits()).collect();
    bits.resize(bits.len().next_multiple_of(8), 0x7e00);
    raw.buffer(&bits)
}

fn poisoned(raw: &Raw, count: usize) -> wgpu::Buffer {
    upload(raw, &vec![f32::NAN; count])
}

fn download(raw: &Raw, buffer: &wgpu::Buffer, count: usize) -> Vec<f32> {
    raw.read::<u16>(buffer)[..count].iter().map(|&bits| f16::from_bits(bits).to_f32()).collect()
}

fn submit(raw: &Raw, calls: &[Prepared]) {
    let mut encoder = raw.device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        calls.iter().for_each(|call| call.record(&mut pass));
    }
    raw.queue.submit([encoder.finish()]);
}

fn check(what: &str, exact: &Exact, got: &[f32]) {
    exact.check_half(what, got).unwrap();
}

/// Runs a layer forward and backward. Returns Y, dX, dW and db.
fn layer(
    raw: &Raw,
    kernels: &Kernels,
    shape: [usize; 3],
    fill: fn(u64, usize) -> Vec<f32>,
    relu: bool,
    dropout: Dropout,
) -> [Vec<f32>; 4] {
    let [batch, inputs, outputs] = shape;
    let sizes = [batch * inputs, inputs * outputs, outputs, batch * outputs];
    let [x, w, b, dy] = [0, 1, 2, 3].map(|i| upload(raw, &rounded(&fill(1 + i as u64, sizes[i]))));
    let [y, dx, dw, db] = [batch * outputs, batch * inputs, inputs * outputs, outputs]
        .map(|count| poisoned(raw, count));
    let view = |buffer, rows, cols| View::new(buffer, rows, cols).half();
    let (x, weight, bias, grad_output) = (
        view(&x, batch, inputs),
        view(&w, inputs, outputs),
        view(&b, 1, outputs),
        view(&dy, batch, outputs),
    );
    let (y_view, dx_view) = (view(&y, batch, outputs), view(&dx, batch, inputs));
    let (dw_view, db_view) = (view(&dw, inputs, outputs), view(&db, 1, outputs));
    let forward =
        kernels.prepare(&LinearForward { x, weight, bias: Some(bias), y: y_view, relu, dropout });
    let output = relu.then_some(y_view);
    let grad_input = GradInput {
        grad_output,
        output,
        weight,
        grad_input: dx_view,
        dropout,
        through: Some((x, 2.0)),
    };
    let (grad_weight, grad_bias) = (dw_view, db_view);
    let backward =
        kernels.prepare(&GradWeight { x, grad_output, output, grad_weight, grad_bias, dropout });
    submit(raw, &[forward.unwrap(), kernels.prepare(&grad_input).unwrap(), backward.unwrap()]);
    [(&y, batch * outputs), (&dx, batch * inputs), (&dw, inputs * outputs), (&db, outputs)]
        .map(|(buffer, count)| download(raw, buffer, count))
}

#[test]
fn every_form_agrees_with_the_oracle_and_whole_numbers_with_the_cpu() {
    let Some(raw) = Raw::open() else { return };
    let base = Kernels::new(&raw.device).unwrap();
    if !base.planner().half {
        return skipped("the adapter has no f16");
    }
    // Two threads, each with kernels of its own, because nearly all the time goes into compiling.
    let (first, second) = Tile::ALL.split_at(Tile::ALL.len() / 2);
    let other = Kernels::new(&raw.device).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| layers(&raw, &base, first));
        layers(&raw, &other, second);
    });
    for wide in [true, false] {
        dropout_forms(&raw, &base.replanned(|planner| Planner { wide, ..planner }).unwrap());
    }
    let compiled = [base.compiled(), other.compiled()].concat();
    let features = raw.device.features();
    let limits = raw.device.limits();
    for variant in Variant::all_half() {
        if variant.tile().is_none_or(|tile| tile.runs_on(&raw.info, features, &limits)) {
            let name = Variant { int64: base.planner().int64, ..variant }.name();
            assert!(compiled.contains(&name), "{name} was never run: {compiled:?}");
        }
    }
}

/// Checks layers in the given tiles, as far as the device can run them.
fn layers(raw: &Raw, base: &Kernels, tiles: &[Tile]) {
    let sites = [Dropout::NONE, Dropout::train(Mode::Inverted, mask(0.5))];
    for &tile in tiles {
        let Ok(kernels) = base.replanned(|planner| Planner { tiles: Tiles::all(tile), ..planner })
        else {
            continue;
        };
        for shape in SHAPES {
            let [batch, inputs, outputs] = shape;
            for (i, dropout) in sites.into_iter().enumerate() {
                for (relu, fill) in
                    [(false, noise as fn(u64, usize) -> Vec<f32>), (true, small_integers)]
                {
                    if i == 0 && relu {
                        continue;
                    }
                    let what = format!("{tile} {shape:?} relu {relu} {dropout:?}");
                    let [y, dx, dw, db] = layer(raw, &kernels, shape, fill, relu, dropout);
                    let fill = |seed, count| rounded(&fill(seed, count));
                    let x = fill(1, batch * inputs);
                    let w = fill(2, inputs * outputs);
                    let b = fill(3, outputs);
                    let forward = oracle::linear_forward(&x, &w, Some(&b), shape, relu, &dropout);
                    check(&format!("{what} y"), &forward, &y);
                    let grad_z = oracle::gradient(
                        &fill(4, batch * outputs),
                        relu.then_some(&y),
                        outputs,
                        &dropout,
                    );
                    let mut grad_input = oracle::grad_input(&grad_z, &w, shape);
                    for values in [&mut grad_input.values, &mut grad_input.magnitudes] {
                        values
                            .iter_mut()
                            .zip(&x)
                            .for_each(|(dx, &x)| *dx *= if x <= 0.0 { 0.0 } else { 2.0 });
                    }
                    check(&format!("{what} dx"), &grad_input, &dx);
                    let (weight, bias) = oracle::grad_weight(&x, &grad_z, shape);
                    check(&format!("{what} dw"), &weight, &dw);
                    check(&format!("{what} db"), &bias, &db);
                    if relu {
                        // The CPU's twin: its f32 kernel on the same numbers, rounded at the end.
                        // Rounding changes no whole number up to 2048.
                        let mut twin = vec![f32::NAN; batch * outputs];
                        reference::linear_forward(
                            &x,
                            &w,
                            Some(&b),
                            &mut twin,
                            [inputs, outputs],
                            relu,
                            &dropout,
                        );
                        let small = || twin.iter().zip(&y).filter(|(twin, _)| twin.abs() <= 2048.0);
                        assert!(
                            small().all(|(twin, y)| twin == y) && small().count() > twin.len() / 2,
                            "{what}"
                        );
                    }
                }
            }
        }
    }
}

/// Checks several rows and one, whole vectors and not, aligned to a group of draws and not. The
/// mask must equal that of f32, and kept values must be doubled.
fn dropout_forms(raw: &Raw, kernels: &Kernels) {
    for (rows, cols) in [(5, 64), (7, 60), (7, 37), (1, 64), (1, 37)] {
        for col in [0, 3] {
            let site = Dropout::train(Mode::Inverted, mask(0.5).at(1, col));
            let values = rounded(&noise(7, rows * cols));
            let x = upload(raw, &values);
            let y = poisoned(raw, rows * cols);
            let source = View::new(&x, rows, cols).half();
            let target = View::new(&y, rows, cols).half();
            submit(
                raw,
                &[kernels.prepare(&DropoutCall { x: source, y: target, dropout: site }).unwrap()],
            );
            let kept = site.mask.bytes(rows, cols).unwrap();
            let right: Vec<f32> = values
                .iter()
                .zip(&kept)
                .map(|(x, &kept)| if kept == 1 { 2.0 * x } else { 0.0 })
                .collect();
            common::same_bits(
                &format!("{rows}×{cols} from column {col}"),
                &download(raw, &y, rows * cols),
                &right,
            )
            .unwrap();
            let y = poisoned(raw, rows * cols);
            let copy = CopyCall { x: source, y: View::new(&y, rows, cols).half() };
            submit(raw, &[kernels.prepare(&copy).unwrap()]);
            common::same_bits(
                &format!("copy of {rows}×{cols}"),
                &download(raw, &y, rows * cols),
                &values,
            )
            .unwrap();
        }
    }
}

/// The control of the comparison: a sum that is off by one and a half f16 units in the last place
/// must fail.
#[test]
#[should_panic(expected = "element 1 is 1.0015")]
fn the_bound_is_one_rounding() {
    let exact = Exact { values: vec![1.0, 1.0], magnitudes: vec![1.0, 1.0], terms: 4 };
    check("changed", &exact, &[1.0 + 1.0 / 1024.0, 1.0 + 1.5 / 1024.0 + 1.0 / 16384.0]);
}

fn forward<'a>(
    kernels: &Kernels,
    [x, weight, bias, y]: [View<'a>; 4],
) -> wgpu_dropout::Result<Prepared> {
    let (bias, dropout) = (Some(bias), Dropout::NONE);
    kernels.prepare(&LinearForward { x, weight, bias, y, relu: true, dropout })
}

#[test]
fn what_does_not_go_together_is_a_typed_error() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    let buffers = [(); 4].map(|()| raw.buffer(&[0.0f32; 64]));
    let [a, b, c, d] = &buffers;
    let view = |buffer| View::new(buffer, 4, 4);
    if kernels.planner().half {
        let refused = |result: wgpu_dropout::Result<Prepared>, name: &str| match result {
            Err(Error::Buffer { tensor, .. }) => assert_eq!(tensor, name),
            other => panic!("{name}: {other:?}"),
        };
        let dropout = Dropout::NONE;
        let forward = |x, w, bias, y| forward(&kernels, [x, w, bias, y]);
        let bias = View::new(c, 1, 4);
        assert!(forward(view(a).half(), view(b).half(), bias.half(), view(d).half()).is_ok());
        refused(forward(view(a).half(), view(b), bias.half(), view(d).half()), "weight");
        refused(forward(view(a).half(), view(b).half(), bias, view(d).half()), "bias");
        refused(forward(view(a), view(b), bias, view(d).half()), "y");
        refused(kernels.prepare(&DropoutCall { x: view(a), y: view(b).half(), dropout }), "y");
        let call = SoftmaxCrossEntropy {
            logits: view(a).half(),
            labels: View::new(b, 4, 1),
            grad_logits: view(c),
            losses: View::new(d, 4, 2),
            batch: 4,
        };
        refused(kernels.prepare(&call), "logits");
    }
    // A device without the feature.
    let Some(adapter) = wgpu_dropout::gpu::adapters().unwrap().into_iter().next() else { return };
    let Ok((device, _)) = pollster::block_on(adapter.request_device(&Default::default())) else {
        return;
    };
    let plain = Kernels::new(&device).unwrap();
    let [x, y] = [(); 2].map(|()| {
        let usage = wgpu::BufferUsages::STORAGE;
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 64,
            usage,
            mapped_at_creation: false,
        })
    });
    let call = DropoutCall { x: view(&x).half(), y: view(&y).half(), dropout: Dropout::NONE };
    assert!(matches!(plain.prepare(&call), Err(Error::Adapter { .. })));
    assert!(matches!(
        Kernels::with_planner(&device, |planner| Planner { half: true, ..planner }),
        Err(Error::Adapter { .. })
    ));
}
