//! The network on both backends: gradients, whole epochs followed in f64, equal losses, the cost of
//! a step, and prediction.

// The oracle and the data sets belong to the feature `cli`.

mod common;
#[path = "common/losses.rs"]
mod losses;

use common::{Form, lend, noise};
use losses::{architecture, compare_losses, cut, resident};
use wgpu_dropout::Cpu;
use wgpu_dropout::call::SgdRule;
use wgpu_dropout::data::DataSet;
use wgpu_dropout::mlp::{Architecture, Mlp, Schedule, Schedules, Training};
use wgpu_dropout::oracle::network::{Batch, Network64, flat, prediction, training};
use wgpu_dropout::{Backend, Counts};
use wgpu_dropout::{Key, Mask, Mode, Rate, init};

const PLAIN: SgdRule = SgdRule::plain(0.1);

/// Returns a mini-batch of noise for a network of 7 inputs and 5 classes.
fn noise_batch(rows: usize) -> (Vec<f32>, Vec<u32>) {
    (noise(1, rows * 7), (0..rows as u32).map(|row| row * 3 % 5).collect())
}

/// Returns a small network whose biases are not the zeros of initialization.
fn small<B: Backend>(backend: B, mode: Mode) -> Mlp<B> {
    let mut net = Mlp::new(backend, architecture(7, &[9, 8], 5, mode)).unwrap();
    for index in 0..3 {
        let (weight, bias) = net.parameters(index).unwrap().unwrap();
        net.set_parameters(index, &weight, &noise(index as u64, bias.len())).unwrap();
    }
    net
}

/// Returns the largest ratio of a difference to its tolerance, `absolute + relative·|b|`; NaN
/// counts as infinite.
fn excess(a: &[f64], b: &[f64], absolute: f64, relative: f64) -> f64 {
    assert_eq!(a.len(), b.len());
    let over = a.iter().zip(b).map(|(a, b)| (a - b).abs() / (absolute + relative * b.abs()));
    over.map(|over| if over.is_nan() { f64::INFINITY } else { over }).fold(0.0, f64::max)
}

/// Checks the gradient: with learning rate 1 and no momentum, an update subtracts it from the
/// weights.
#[test]
fn a_mini_batch_s_gradient_is_the_loss_s_slope_with_the_mask_held() {
    fn check<B: Backend>(mut backend: B) -> B {
        for mode in [Mode::None, Mode::Vanilla, Mode::Inverted] {
            let mut net = small(backend, mode);
            let (x, labels) = noise_batch(6);
            let batch = Batch { x: &x, labels: &labels };
            for _ in 0..3 {
                net.train_step(
                    &x,
                    &labels,
                    &Training { rule: SgdRule { lr: 0.0, ..PLAIN }, ..Training::default() },
                )
                .unwrap();
            }
            let before = Network64::of(&mut net).unwrap();
            net.train_step(
                &x,
                &labels,
                &Training { rule: SgdRule { lr: 1.0, ..PLAIN }, ..Training::default() },
            )
            .unwrap();
            let after = Network64::of(&mut net).unwrap();
            let taken: Vec<f64> = flat(&before.layers)
                .iter()
                .zip(flat(&after.layers))
                .map(|(before, after)| before - after)
                .collect();

            let architecture = net.architecture().clone();
            let slope = before.differences(batch, &training(&architecture, 3), 1e-6);
            let off = excess(&taken, &slope, 2e-6, 1e-5);
            assert!(off <= 1.0, "{} {mode}: {off} times the tolerance", net.backend().name());
            let off = excess(
                &flat(&before.gradient(batch, &training(&architecture, 3))),
                &slope,
                1e-8,
                1e-7,
            );
            assert!(
                off <= 1.0,
                "the f64 network's own gradient, {mode}: {off} times the tolerance"
            );
            // The control: the mask of the previous step.
            let other = before.differences(batch, &training(&architecture, 2), 1e-6);
            assert!(
                mode == Mode::None || excess(&taken, &other, 2e-6, 1e-5) > 1000.0,
                "{mode}: another mask must give another gradient"
            );
            backend = net.into_backend();
        }
        backend
    }
    check(Cpu::reference());
    check(Cpu::new());
    lend(Form::Usual, check);
}

#[test]
fn the_first_20_losses_are_equal_on_gpu_and_cpu() {
    compare_losses(&DataSet::digits().unwrap());
}

/// Checks an epoch of 200 digits, in mini-batches of 32 of which the last has 8, step by step.
#[test]
fn an_epoch_ends_in_the_weights_of_an_independent_f64_network() {
    fn check<B: Backend>(mut backend: B) -> B {
        let samples = cut(&DataSet::digits().unwrap().train, 200);
        let x = samples.features_f32();
        let rules = [
            PLAIN,
            SgdRule { momentum: 0.9, lr: 0.05, ..PLAIN },
            SgdRule { momentum: 0.9, lr: 0.05, weight_decay: 0.01, ..PLAIN },
            SgdRule { momentum: 0.5, max_norm: Some(0.9), ..PLAIN },
            SgdRule { momentum: 0.5, l1: 0.01, ..PLAIN },
        ];
        for mode in [Mode::None, Mode::Vanilla, Mode::Inverted] {
            for (i, rule) in rules.into_iter().enumerate() {
                let mut net = Mlp::new(backend, architecture(64, &[32, 16], 10, mode)).unwrap();
                let architecture = net.architecture().clone();
                let shuffle = i == 1;
                let mut order: Vec<u32> = (0..200).collect();
                if shuffle {
                    order = init::shuffle(architecture.seed, 0, 200);
                }
                let start = Network64::of(&mut net).unwrap();
                // The control uses other masks or, without dropout, another momentum.
                let mut exact = start.clone();
                let mut control = start;
                for (step, rows) in (0..).zip(order.chunks(32)) {
                    let features = rows
                        .iter()
                        .flat_map(|&row| &x[row as usize * 64..][..64])
                        .copied()
                        .collect::<Vec<_>>();
                    let labels =
                        rows.iter().map(|&row| samples.labels[row as usize]).collect::<Vec<_>>();
                    let batch = Batch { x: &features, labels: &labels };
                    exact.update(&exact.gradient(batch, &training(&architecture, step)), &rule);
                    let other = SgdRule {
                        momentum: rule.momentum + if mode == Mode::None { 0.1 } else { 0.0 },
                        ..rule
                    };
                    control.update(
                        &control.gradient(batch, &training(&architecture, step + 1)),
                        &other,
                    );
                }
                let data = resident(net.backend_mut(), &samples);
                net.train_epoch(
                    &data,
                    &Training { batch: 32, shuffle, rule, ..Training::default() },
                )
                .unwrap();
                let what = format!("{} {mode} {rule:?}", net.backend().name());
                let distance = exact.distance(&mut net).unwrap();
                assert!(distance <= 2e-4, "{what}: {distance:e} off");
                let distance = control.distance(&mut net).unwrap();
                assert!(distance > 2e-3, "{what}: the control is only {distance:e} off");
                assert_eq!((net.step(), net.epoch()), (7, 1));
                drop(data);
                backend = net.into_backend();
            }
        }
        backend
    }
    check(Cpu::reference());
    check(Cpu::new());
    lend(Form::Usual, check);
}

/// Checks learning rate, momentum and drop rates that change from step to step, followed in f64.
/// The control follows them one step late.
#[test]
fn schedules_are_followed_step_by_step() {
    fn check<B: Backend>(backend: B) -> B {
        let samples = cut(&DataSet::digits().unwrap().train, 96);
        let x = samples.features_f32();
        let schedules = Schedules {
            lr: Schedule::Exponential { to: 0.1, steps: 5 },
            momentum: Schedule::Linear { from: 0.5, to: 1.0, steps: 4 },
            drop: Schedule::Linear { from: 1.0, to: 0.0, steps: 3 },
        };
        let rule = SgdRule { momentum: 0.9, ..SgdRule::plain(0.1) };
        let mut net = Mlp::new(backend, architecture(64, &[32, 16], 10, Mode::Inverted)).unwrap();
        let start = Network64::of(&mut net).unwrap();
        let mut exact = start.clone();
        let mut control = start;
        let at = |step: u32| {
            let whole = architecture(64, &[32, 16], 10, Mode::Inverted);
            let rate = schedules.rate(whole.rate, step);
            let input_rate = schedules.rate(whole.input_rate, step);
            Architecture { rate, input_rate, ..whole }
        };
        for step in 0..6 {
            let first = step as usize % 3 * 32;
            let batch =
                Batch { x: &x[first * 64..][..32 * 64], labels: &samples.labels[first..][..32] };
            exact.update(
                &exact.gradient(batch, &training(&at(step), step)),
                &schedules.rule(&rule, step),
            );
            control.update(
                &control.gradient(batch, &training(&at(step + 1), step)),
                &schedules.rule(&rule, step + 1),
            );
        }
        let data = resident(net.backend_mut(), &samples);
        let training =
            Training { batch: 32, shuffle: false, rule, schedules, ..Training::default() };
        net.train_epoch(&data, &training).unwrap();
        net.train_epoch(&data, &training).unwrap();
        let distance = exact.distance(&mut net).unwrap();
        let off = control.distance(&mut net).unwrap();
        assert!(distance <= 2e-4, "{}: {distance:e} off", net.backend().name());
        assert!(off > 2e-3, "the control is only {off:e} off");

        // Prediction in vanilla mode scales by a single rate, so the schedule is refused.
        drop(data);
        let mut vanilla =
            Mlp::new(net.into_backend(), architecture(64, &[8], 10, Mode::Vanilla)).unwrap();
        let error = vanilla.train_step(&x[..64], &[3], &training).unwrap_err();
        assert!(error.to_string().contains("inverted"), "{error}");
        vanilla.into_backend()
    }
    check(Cpu::reference());
    check(Cpu::new());
    lend(Form::Usual, check);
}

#[test]
fn training_on_digits_ends_under_4_percent_test_error() {
    fn check<B: Backend>(backend: B) -> B {
        let digits = DataSet::digits().unwrap();
        let mut net = Mlp::new(
            backend,
            Architecture {
                input_rate: Rate::KEEP_ALL,
                seed: 0,
                ..architecture(64, &[256, 256], 10, Mode::Inverted)
            },
        )
        .unwrap();
        let train = resident(net.backend_mut(), &digits.train);
        let test = resident(net.backend_mut(), &digits.test);
        let untrained = net.evaluate(&test).unwrap();
        assert!(untrained.error > 70.0, "the control, before training: {untrained:?}");
        for _ in 0..20 {
            net.train_epoch(&train, &Training::default()).unwrap();
        }
        let trained = net.evaluate(&test).unwrap();
        assert!(trained.error < 4.0 && trained.loss < 0.2, "{}: {trained:?}", net.backend().name());
        drop((train, test));
        net.into_backend()
    }
    check(Cpu::new());
    lend(Form::Usual, check);
}

/// Checks that a step is one submit, that nothing is read within an epoch, and that nothing is
/// allocated once every size of mini-batch has been seen.
#[test]
fn a_step_is_one_submit_that_reads_nothing_and_makes_nothing() {
    lend(Form::Usual, |gpu| {
        let digits = DataSet::digits().unwrap();
        let mut net = Mlp::new(gpu, architecture(64, &[32, 32], 10, Mode::Inverted)).unwrap();
        let train = resident(net.backend_mut(), &digits.train);
        let test = resident(net.backend_mut(), &digits.test);
        let training = Training::default();
        let steps = 1438u64.div_ceil(64);
        for epoch in 0..3 {
            let before = net.backend().counts();
            net.train_epoch(&train, &training).unwrap();
            let trained = net.backend().counts() - before;
            // Gather, 3 forward, loss and its sum, 2 backward, 3 updates.
            let expected = Counts {
                dispatches: 11 * steps,
                submits: steps,
                bytes_read: 8 * steps,
                ..Counts::default()
            };
            assert_eq!(
                Counts { objects: 0, ..trained },
                expected,
                "epoch {epoch}: sums are read once, at its end"
            );
            let before = net.backend().counts();
            net.evaluate(&test).unwrap();
            net.evaluate(&train).unwrap();
            let evaluated = net.backend().counts() - before;
            assert_eq!(
                (trained.objects == 0, evaluated.objects == 0),
                (epoch > 0, epoch > 0),
                "{trained:?} {evaluated:?}"
            );
        }
        let x = noise(1, 30 * 64);
        let labels = vec![3; 30];
        for step in 0..3 {
            let before = net.backend().counts();
            net.train_step(&x, &labels, &training).unwrap();
            let taken = net.backend().counts() - before;
            assert_eq!(
                (taken.dispatches, taken.submits, taken.bytes_read, taken.mask_bytes),
                (11, 1, 0, 0)
            );
            assert_eq!(taken.objects == 0, step > 0, "step {step}: {taken:?}");
        }
        // The control: the counters that were 0 so far do count. 3 rows of 65 bits in whole words.
        let before = net.backend().counts();
        net.backend_mut()
            .read_mask(Mask::new(Rate::drop(0.5).unwrap(), Key::default()), 3, 65)
            .unwrap();
        let drawn = net.backend().counts() - before;
        assert_eq!((drawn.dispatches, drawn.mask_bytes, drawn.bytes_read), (1, 36, 36));
        assert!(drawn.objects > 0, "{drawn:?}");
        drop((train, test));
        net.into_backend()
    });
}

#[test]
fn prediction_is_the_scaled_network_and_takes_no_randomness() {
    fn check<B: Backend>(mut backend: B) -> B {
        let (x, labels) = noise_batch(6);
        for mode in [Mode::None, Mode::Vanilla, Mode::Inverted] {
            let mut net = small(backend, mode);
            let exact = Network64::of(&mut net).unwrap();
            let probabilities = net.predict(&x).unwrap();
            let wide: Vec<f64> = probabilities.iter().copied().map(f64::from).collect();
            let architecture = net.architecture().clone();
            let off =
                excess(&wide, &exact.probabilities(&x, &prediction(&architecture)), 2e-6, 0.0);
            assert!(off <= 1.0, "{} {mode}: {off} times the tolerance", net.backend().name());
            // The control: without the factor, vanilla's probabilities differ.
            let unscaled = excess(&wide, &exact.probabilities(&x, &|_, _, _| 1.0), 2e-6, 0.0);
            assert_eq!(unscaled > 1000.0, mode == Mode::Vanilla, "{mode}: {unscaled}");

            // Another step, then another seed, with the same weights.
            for _ in 0..2 {
                net.train_step(
                    &x,
                    &labels,
                    &Training { rule: SgdRule { lr: 0.0, ..PLAIN }, ..Training::default() },
                )
                .unwrap();
            }
            assert_eq!(net.predict(&x).unwrap(), probabilities);
            let parameters: Vec<_> =
                (0..3).map(|index| net.parameters(index).unwrap().unwrap()).collect();
            let mut other =
                Mlp::new(net.into_backend(), Architecture { seed: 999, ..architecture }).unwrap();
            assert_ne!(other.predict(&x).unwrap(), probabilities, "other weights");
            for (index, (weight, bias)) in parameters.iter().enumerate() {
                other.set_parameters(index, weight, bias).unwrap();
            }
            assert_eq!(other.predict(&x).unwrap(), probabilities);
            backend = other.into_backend();
        }
        backend
    }
    check(Cpu::reference());
    check(Cpu::new());
    lend(Form::Usual, check);
}
