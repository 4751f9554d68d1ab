//! Mutated calls: whatever shapes, rates, offsets, settings and buffers a caller passes, a call
//! ends in the right result or in a typed error. It never panics, and nothing reaches the device's
//! own error handlers.
//!
//! Calls are seeded, so that each case has a number. By default some hundreds run;
//! `WGPU_DROPOUT_CALLS=100000` runs that many of each kind.

mod common;
#[path = "mutated_calls/settings.rs"]
mod settings;

use common::raw::Raw;
use common::{Form, noise, with_gpu};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::call::{
    BatchLoss, DropoutCall, GradInput, GradWeight, LinearForward, MaskBits, Sgd, SgdRule,
    SoftmaxCrossEntropy,
};
use wgpu_dropout::gpu::{Kernels, Prepared, View};
use wgpu_dropout::mask::{MAX_COLS, MAX_ROWS};
use wgpu_dropout::mlp::{Architecture, Mlp, Schedule, Schedules, Training};
use wgpu_dropout::{Dropout, Error, Key, Mask, Mode, Rate, Result};

fn cases(default: u64) -> u64 {
    std::env::var("WGPU_DROPOUT_CALLS")
        .map_or(default, |count| count.parse().expect("a number of calls"))
}

fn one<T: Copy>(random: &mut StdRng, of: &[T]) -> T {
    of[random.random_range(0..of.len())]
}

fn dim(random: &mut StdRng) -> usize {
    one(random, &[0, 1, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 63, 64, 65, 70])
}

fn rate(random: &mut StdRng) -> Rate {
    let keep =
        one(random, &[0.0, 1.0, 0.5, 0.25, 1.0 / 65536.0, 0.5 / 65536.0, 65535.0 / 65536.0, -0.0]);
    Rate::keep(if random.random() { keep } else { random.random() }).unwrap()
}

/// Returns a random site. Its coordinates are sometimes past the contract's limits.
fn site(random: &mut StdRng) -> Dropout {
    let key = Key { seed: random.random(), layer: random.random(), step: random.random() };
    let offset = |random: &mut StdRng, bound: u64| match random.random_range(0..8) {
        0 => bound - random.random_range(0..80),
        1 => random.random(),
        2 => random.random_range(0..bound),
        _ => random.random_range(0..100),
    };
    let mask = Mask::new(rate(random), key).at(offset(random, MAX_ROWS), offset(random, MAX_COLS));
    match random.random_range(0..4) {
        0 => Dropout::NONE,
        1 => Dropout::train(Mode::Vanilla, mask),
        _ => Dropout::train(Mode::Inverted, mask),
    }
}

fn fits(dropout: &Dropout, rows: usize, cols: usize) -> bool {
    let end = |offset: u64, size: usize, bound| {
        offset.checked_add(size as u64).is_some_and(|end| end <= bound)
    };
    end(dropout.mask.row_offset, rows, MAX_ROWS) && end(dropout.mask.col_offset, cols, MAX_COLS)
}

/// Returns a random rule, of which a number is sometimes outside its range.
fn rule(random: &mut StdRng) -> SgdRule {
    let number = |random: &mut StdRng| match random.random_range(0..24) {
        0 => one(random, &[-1.0, -f32::MIN_POSITIVE, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
        1 => 0.0,
        _ => random.random_range(0.0..1.0),
    };
    SgdRule {
        lr: number(random),
        momentum: number(random),
        weight_decay: number(random),
        l1: number(random),
        max_norm: if random.random() { Some(number(random)) } else { None },
    }
}

/// Returns true if every number of a rule is in its documented range.
fn holds(rule: &SgdRule) -> bool {
    let numbers = [rule.lr, rule.momentum, rule.weight_decay, rule.l1];
    numbers.iter().all(|x| (0.0..=f32::MAX).contains(x))
        && rule.max_norm.is_none_or(|norm| norm > 0.0 && norm <= f32::MAX)
}

/// A call: its tensors' shapes, inputs first, the number of tensors written, and whether the shapes
/// are right.
struct Call {
    kernel: usize,
    shapes: Vec<[usize; 2]>,
    written: usize,
    dropout: Dropout,
    relu: bool,
    /// Rule of an update.
    rule: SgdRule,
    right: bool,
}

impl Call {
    fn arbitrary(random: &mut StdRng) -> Self {
        let kernel = random.random_range(0..7);
        let [b, i, o] = [dim(random), dim(random), dim(random)];
        let (mut shapes, written, drawn) = match kernel {
            0 => (vec![[b, i], [b, i]], 1, [b, i]),
            1 => (vec![[b, i], [i, o], [1, o], [b, o]], 1, [b, o]),
            2 => (vec![[b, o], [b, o], [i, o], [b, i]], 1, [b, o]),
            3 => (vec![[b, i], [b, o], [b, o], [i, o], [1, o]], 2, [b, o]),
            4 => (vec![[b, o], [b, o], [b, 2]], 2, [0, 0]),
            5 => (vec![[b, 2], [i, 2]], 1, [0, 0]),
            _ => (vec![[i, o], [i, o], [i, o]], 2, [0, 0]),
        };
        let dropout = site(random);
        // Kernels above 3 draw nothing.
        let mut right = kernel > 3 || fits(&dropout, drawn[0], drawn[1]);
        if random.random_range(0..4) == 0 {
            let tensor = random.random_range(0..shapes.len());
            let axis = random.random_range(0..2);
            let other = dim(random);
            right &= shapes[tensor][axis] == other;
            shapes[tensor][axis] = other;
        }
        if kernel == 5 {
            // The sums may have any number of rows, of which one is written.
            right = shapes[1][0] > 0 && shapes.iter().all(|shape| shape[1] == 2);
        }
        let relu = random.random();
        let rule = rule(random);
        right &= kernel != 6 || holds(&rule);
        Self { kernel, shapes, written, dropout, relu, rule, right }
    }

    /// Runs the call on a backend and returns the tensors written.
    fn run<B: Backend>(&self, backend: &mut B) -> Result<Vec<Vec<f32>>> {
        let inputs = self.shapes.len() - self.written;
        let tensors = self.shapes.iter().zip(0..).map(|(&[rows, cols], i)| {
            // Tensors that are updated start with values; tensors that are only written start as
            // NaN.
            let poisoned = i >= inputs && self.kernel != 6;
            let values =
                if poisoned { vec![f32::NAN; rows * cols] } else { noise(i as u64, rows * cols) };
            backend.tensor(rows, cols, &values)
        });
        let mut tensors = tensors.collect::<Result<Vec<_>>>()?;
        let mut outputs = tensors.split_off(inputs);
        let (dropout, relu) = (self.dropout, self.relu);
        let labels: Vec<u32> = (0..self.shapes[0][0] as u32).map(|r| r % 3).collect();
        match (self.kernel, tensors.as_slice(), outputs.as_mut_slice()) {
            (0, [x], [y]) => backend.run(DropoutCall { x, y, dropout }),
            (1, [x, weight, bias], [y]) => {
                backend.run(LinearForward { x, weight, bias: Some(bias), y, relu, dropout })
            }
            (2, [grad_output, y, weight], [grad_input]) => {
                let output = relu.then_some(y);
                backend.run(GradInput {
                    grad_output,
                    output,
                    weight,
                    grad_input,
                    dropout,
                    through: None,
                })
            }
            (3, [x, grad_output, y], [grad_weight, grad_bias]) => {
                let output = relu.then_some(y);
                backend.run(GradWeight { x, grad_output, output, grad_weight, grad_bias, dropout })
            }
            (4, [logits], [grad_logits, losses]) => {
                let batch = labels.len();
                let labels = backend.tensor(labels.len(), 1, &labels)?;
                backend.run(SoftmaxCrossEntropy {
                    logits,
                    labels: &labels,
                    grad_logits,
                    losses,
                    batch,
                })
            }
            (5, [losses], [totals]) => {
                let slot = self.shapes[1][0].saturating_sub(1);
                backend.run(BatchLoss { losses, totals, slot })
            }
            (_, [grad], [weight, velocity]) => {
                let rule = self.rule;
                backend.run(Sgd { grad, weight, velocity: Some(velocity), rule })
            }
            _ => unreachable!("a call of its tensors"),
        }?;
        outputs.iter().map(|tensor| backend.read(tensor)).collect()
    }

    /// Returns true if the call omits an optional tensor, which alone may have been wrong.
    fn forgives(&self) -> bool {
        matches!(self.kernel, 2 | 3) && !self.relu
    }
}

/// Returns true if two results differ by no more than two orders of a sum may,
/// `2·(terms + 2)·ε·magnitude`, with at most 70 terms below 1 times the scale. All NaNs count as
/// equal.
fn close(a: &[Vec<f32>], b: &[Vec<f32>], scale: f32) -> bool {
    let bound = 2.0 * 72.0 * f32::EPSILON * 70.0 * scale.max(1.0);
    let near = |a: f32, b: f32| (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= bound;
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| near(a, b)))
}

fn calls_on<B: Backend>(backend: &mut B, count: u64) -> [usize; 2] {
    let mut ended = [0, 0];
    for case in 0..count {
        let call = Call::arbitrary(&mut StdRng::seed_from_u64(case));
        let what = format!(
            "case {case} on {}: kernel {}, {:?}, {:?}",
            backend.name(),
            call.kernel,
            call.shapes,
            call.dropout
        );
        let outcome = catch_unwind(AssertUnwindSafe(|| call.run(backend)))
            .unwrap_or_else(|_| panic!("{what} panics"));
        match outcome {
            Ok(got) => {
                assert!(call.right || call.forgives(), "{what} is accepted");
                let right = call.run(&mut Cpu::reference()).unwrap();
                assert!(close(&got, &right, call.dropout.scale), "{what}: {got:?} {right:?}");
                ended[0] += 1;
            }
            Err(error) => {
                assert!(!call.right, "{what}: {error}");
                assert!(
                    matches!(
                        error,
                        Error::Shape { .. } | Error::TooLarge { .. } | Error::Invalid { .. }
                    ),
                    "{what}: {error:?}"
                );
                ended[1] += 1;
            }
        }
    }
    ended
}

#[test]
fn arbitrary_calls_of_a_backend_end_in_the_right_result_or_a_typed_error() {
    let both = |[right, refused]: [usize; 2]| {
        println!("{right} right, {refused} refused");
        assert!(right > refused && refused > 0, "{right} {refused}");
    };
    both(calls_on(&mut Cpu::new(), cases(2000)));
    with_gpu(Form::Usual, |gpu| both(calls_on(gpu, cases(300))));
}

/// Checks ranges of buffers of every usage, size and alignment, which sometimes overlap.
#[test]
fn arbitrary_buffers_end_in_the_right_result_or_a_typed_error() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let others = [
        wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_SRC,
        wgpu::BufferUsages::VERTEX | wgpu::BufferUsages::COPY_SRC,
    ];
    let (mut right, mut refused) = (0, 0);
    for case in 0..cases(500) {
        let mut random = StdRng::seed_from_u64(case);
        let random = &mut random;
        let rows = dim(random);
        let cols = dim(random);
        let place = |random: &mut StdRng| match random.random_range(0..10) {
            0 => random.random_range(0..64),
            1 => random.random::<u64>() & !3,
            2 => u64::MAX - random.random_range(0..8),
            _ => 4 * random.random_range(0..80),
        };
        let usage = |random: &mut StdRng| {
            if random.random_range(0..10) == 0 { one(random, &others) } else { storage }
        };
        let strides = [0, 1].map(|_| {
            if random.random_range(0..4) == 0 { cols + one(random, &[1, 3, 8]) } else { cols }
        });
        let extent = |stride: usize| {
            if rows * cols == 0 { 0 } else { (((rows - 1) * stride + cols) * 4) as u64 }
        };
        let length = |random: &mut StdRng, at: u64, stride: usize| {
            let exact = at.saturating_add(extent(stride)).min(100_000).next_multiple_of(4).max(4);
            if random.random_range(0..5) == 0 {
                exact.saturating_sub(4).max(4)
            } else {
                exact + 4 * random.random_range(0..3)
            }
        };
        let mut at = [place(random), place(random)];
        let usages = [usage(random), usage(random)];
        let shared = random.random_range(0..6) == 0;
        if shared && random.random() {
            // In place, or one directly after the other.
            at[1] = if random.random() {
                at[0]
            } else {
                at[0].saturating_add(extent(strides[0]).next_multiple_of(4)) & !3
            };
        }
        let sizes = [0, 1].map(|i| length(random, at[i], strides[i]));
        let buffers =
            [0, 1].map(|i| raw.buffer_for(&noise(i as u64, sizes[i] as usize / 4), usages[i]));
        // If both lie in one buffer, it is the second.
        let holders = [usize::from(shared), 1];
        let views = [0, 1]
            .map(|i| View::new(&buffers[holders[i]], rows, cols).at(at[i]).strided(strides[i]));
        let fits_in = |view: &View<'_>| {
            let end = view.offset.checked_add(extent(view.stride));
            let inside = end.is_some_and(|end| end <= view.buffer.size());
            view.buffer.usage().contains(wgpu::BufferUsages::STORAGE)
                && view.offset.is_multiple_of(4)
                && inside
        };
        let words = |i: usize| {
            let first = (at[i] / 4) as usize;
            (0..rows * cols)
                .map(move |element| first + element / cols * strides[i] + element % cols)
        };
        let dropout = site(random);
        let empty = rows * cols == 0;
        let valid = views.iter().all(fits_in) && fits(&dropout, rows, cols);
        let in_place = at[0] == at[1] && (rows <= 1 || strides[0] == strides[1]);
        // Views that share no element may still be refused if rows of one lie between rows of the
        // other.
        let apart = at[0].saturating_add(extent(strides[0])) <= at[1]
            || at[1].saturating_add(extent(strides[1])) <= at[0];
        let meet =
            || words(0).collect::<HashSet<_>>().intersection(&words(1).collect()).next().is_some();
        let must_pass = valid && (!shared || empty || in_place || apart);
        let may_pass = valid && (must_pass || !meet());
        let what = format!(
            "case {case}: {rows}×{cols} at {at:?}, strides {strides:?}, of {sizes:?}, {usages:?}, shared {shared}, {dropout:?}"
        );

        let scope = raw.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let (x, y) = (views[0], views[1]);
        let attempt = || kernels.prepare(&DropoutCall { x, y, dropout });
        let outcome: Result<Prepared> =
            catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(|_| panic!("{what} panics"));
        match outcome {
            Ok(call) => {
                assert!(may_pass, "{what} is accepted");
                let mut encoder = raw.device.create_command_encoder(&Default::default());
                call.record(&mut encoder.begin_compute_pass(&Default::default()));
                raw.queue.submit([encoder.finish()]);
                if !empty {
                    let mut whole = noise(1, sizes[1] as usize / 4);
                    let source =
                        if shared { whole.clone() } else { noise(0, sizes[0] as usize / 4) };
                    let input: Vec<f32> = words(0).map(|word| source[word]).collect();
                    let mut output = vec![f32::NAN; rows * cols];
                    wgpu_dropout::cpu::reference::dropout(&input, &mut output, cols, &dropout);
                    words(1).zip(output).for_each(|(word, value)| whole[word] = value);
                    common::same_bits(&what, &raw.read::<f32>(&buffers[1]), &whole).unwrap();
                }
                right += 1;
            }
            Err(error) => {
                assert!(!must_pass, "{what}: {error}");
                refused += 1;
            }
        }
        let heard = pollster::block_on(scope.pop());
        assert!(heard.is_none(), "{what}: the device heard of it: {heard:?}");
    }
    println!("{right} right, {refused} refused");
    assert!(right > 50 && refused > 50, "{right} {refused}");
}

/// Checks masks as bits of any size, and tensors that no machine has room for.
#[test]
fn sizes_past_every_bound_allocate_nothing() {
    fn check<B: Backend>(backend: &mut B) {
        let huge = [1usize << 30, 1 << 40, 1 << 60, usize::MAX, usize::MAX / 2];
        for rows in huge {
            for cols in [1, 2, 3, 1 << 20, usize::MAX] {
                if rows.checked_mul(cols).is_some_and(|count| count <= 1 << 33) {
                    // A machine may have that much memory.
                    continue;
                }
                let error = backend.zeros::<f32>(rows, cols).unwrap_err();
                assert!(
                    matches!(
                        error,
                        Error::TooLarge { .. } | Error::Limit { .. } | Error::OutOfMemory { .. }
                    ),
                    "{rows}×{cols}: {error:?}"
                );
                let mask = Mask::new(Rate::keep(0.5).unwrap(), Key { seed: 1, layer: 2, step: 3 });
                assert!(backend.read_mask(mask, rows, cols).is_err(), "{rows}×{cols}");
                assert!(mask.bytes(rows, cols).is_err(), "{rows}×{cols}");
            }
        }
        let mut bits = backend.zeros::<u32>(1, 1).unwrap();
        let mask = Mask::new(Rate::keep(0.5).unwrap(), Key { seed: 1, layer: 2, step: 3 });
        for cols in [0, 33, usize::MAX] {
            assert!(backend.run(MaskBits { bits: &mut bits, cols, mask }).is_err(), "{cols}");
        }
    }
    check(&mut Cpu::new());
    check(&mut Cpu::reference());
    with_gpu(Form::Usual, check);
}

fn network(random: &mut StdRng) -> Architecture {
    let width = |random: &mut StdRng| match random.random_range(0..24) {
        0 => 0,
        1 => one(random, &[usize::MAX, 1 << 60, 1 << 40, u32::MAX as usize]),
        _ => random.random_range(1..20),
    };
    Architecture {
        inputs: width(random),
        hidden: (0..random.random_range(0..4)).map(|_| width(random)).collect(),
        classes: width(random),
        mode: one(random, &[Mode::None, Mode::Vanilla, Mode::Inverted]),
        rate: rate(random),
        input_rate: rate(random),
        seed: random.random(),
    }
}

#[test]
fn arbitrary_networks_and_settings_end_in_finite_numbers_or_a_typed_error() {
    let (mut right, mut refused) = (0, 0);
    for case in 0..cases(2000) {
        let mut random = StdRng::seed_from_u64(case);
        let random = &mut random;
        let architecture = network(random);
        let odd = [f32::NAN, f32::INFINITY, -1.0, 0.0, 1.0, 1e-3, f32::MAX, f32::MIN_POSITIVE];
        let number = |random: &mut StdRng| {
            if random.random_range(0..16) == 0 {
                one(random, &odd)
            } else {
                random.random_range(0.0..0.5)
            }
        };
        let max_norm = if random.random() { None } else { Some(number(random)) };
        let rule = SgdRule {
            lr: number(random),
            momentum: number(random),
            weight_decay: number(random),
            l1: number(random),
            max_norm,
        };
        let steps = random.random_range(0..4);
        let from = number(random).into();
        let shapes = [
            Schedule::Constant,
            Schedule::Late { steps },
            Schedule::Linear { from, to: 1.0, steps },
        ];
        let schedule = one(random, &shapes);
        let schedules = Schedules { lr: schedule, momentum: schedule, drop: schedule };
        let batch = one(random, &[1, 2, 3, 64, 64, usize::MAX, 0]);
        let shuffle = random.random();
        let training = Training { rule, batch, shuffle, schedules, ..Training::default() };
        let rows = random.random_range(0..9usize);
        let wrong = usize::from(random.random_range(0..8) == 0);
        let label =
            |random: &mut StdRng| if random.random_range(0..60) == 0 { random.random() } else { 0 };
        let labels: Vec<u32> = (0..rows).map(|_| label(random)).collect();
        let what = format!(
            "case {case}: {architecture:?}, {training:?}, labels {labels:?}, {wrong} features too many"
        );
        let run = AssertUnwindSafe(|| -> Result<Vec<f32>> {
            let inputs = architecture.inputs;
            let mut net = Mlp::new(Cpu::new(), architecture)?;
            let x = noise(case, rows * inputs + wrong);
            net.train_step(&x, &labels, &training)?;
            net.train_step(&x, &labels, &training)?;
            net.predict(&x)
        });
        match catch_unwind(run).unwrap_or_else(|_| panic!("{what} panics")) {
            // An overflow eventually gives NaN. Settings that cannot overflow must not.
            Ok(p) => {
                let tame = [rule.lr, rule.momentum, rule.weight_decay, rule.l1]
                    .iter()
                    .all(|x| x.abs() <= 1.0);
                assert!(!tame || p.iter().all(|p| (0.0..=1.0).contains(p)), "{what}: {p:?}");
                right += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty(), "{what}");
                refused += 1;
            }
        }
    }
    println!("{right} right, {refused} refused");
    assert!(right > 50 && refused > 50, "{right} {refused}");
}
