//! Averages over masks, computed on the device: over sampled masks and over all of them, against
//! f64 and against one network at a time.

use crate::common::{Form, lend, noise};
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::mask::PREDICTION;
use wgpu_dropout::mlp::{Architecture, Mlp, Predictive, Resident, Sharing, Source};
use wgpu_dropout::oracle::network::Network64;
use wgpu_dropout::{Error, Key, Mask, Mode, Rate};

fn architecture(hidden: &[usize], mode: Mode, input_drop: f64) -> Architecture {
    let rate = Rate::drop(0.4).unwrap();
    let input_rate = Rate::drop(input_drop).unwrap();
    Architecture {
        inputs: 6,
        hidden: hidden.to_vec(),
        classes: 4,
        mode,
        rate,
        input_rate,
        seed: 0xfeed,
    }
}

/// Returns a network whose biases are not the zeros of initialization.
fn network<B: Backend>(backend: B, architecture: Architecture) -> Mlp<B> {
    let mut net = Mlp::new(backend, architecture).unwrap();
    for index in 0..net.architecture().hidden.len() + 1 {
        let (weight, bias) = net.parameters(index).unwrap().unwrap();
        let weight: Vec<f32> = weight.iter().map(|w| w * 1.5).collect();
        net.set_parameters(index, &weight, &noise(index as u64, bias.len())).unwrap();
    }
    net
}

fn rows<B: Backend>(net: &mut Mlp<B>, rows: usize) -> (Vec<f32>, Resident<B>) {
    let x = noise(1, rows * 6);
    let data =
        Resident::new(net.backend_mut(), Source::Floats(&x), 6, 1.0, &vec![0; rows]).unwrap();
    (x, data)
}

fn scale(architecture: &Architecture, layer: usize, kept: bool) -> f64 {
    match (architecture.mode, kept) {
        (Mode::None, _) | (Mode::Vanilla, true) => 1.0,
        (Mode::Inverted, true) => 65536.0 / f64::from(architecture.rate_of(layer).threshold()),
        _ => 0.0,
    }
}

/// Returns the factor that a dropout site applies in sample `sample`; `row` is the index in the
/// data.
fn sampled(
    architecture: &Architecture,
    sample: u32,
    sharing: Sharing,
) -> impl Fn(usize, usize, usize) -> f64 + '_ {
    move |layer, row, col| {
        let key = Key { seed: architecture.seed, layer: layer as u32 | PREDICTION, step: sample };
        let row = if sharing == Sharing::PerPass { 0 } else { row };
        scale(architecture, layer, Mask::new(architecture.rate_of(layer), key).keeps(row, col))
    }
}

/// Returns the largest difference; NaN counts as infinite.
fn off(got: &[f32], exact: &[f64]) -> f64 {
    assert_eq!(got.len(), exact.len());
    let off = got.iter().zip(exact).map(|(&got, exact)| (f64::from(got) - exact).abs());
    off.map(|off| if off.is_nan() { f64::INFINITY } else { off }).fold(0.0, f64::max)
}

fn entropy(p: &[f64]) -> f64 {
    p.iter().map(|&p| if p > 0.0 { -p * p.ln() } else { 0.0 }).sum()
}

/// Returns mean, spread, entropy and information in f64, computed one sample after another.
fn by_hand(
    exact: &Network64,
    x: &[f32],
    architecture: &Architecture,
    samples: std::ops::Range<u32>,
    sharing: Sharing,
) -> [Vec<f64>; 4] {
    let n = f64::from(samples.end - samples.start);
    let all: Vec<Vec<f64>> = samples
        .map(|sample| exact.probabilities(x, &sampled(architecture, sample, sharing)))
        .collect();
    moments(&all, &vec![1.0 / n; all.len()])
}

/// Returns mean, spread, entropy and information of networks with these weights, which sum to 1.
fn moments(all: &[Vec<f64>], weights: &[f64]) -> [Vec<f64>; 4] {
    let mean_of = |value: &dyn Fn(&[f64]) -> f64| {
        all.iter().zip(weights).map(|(p, weight)| weight * value(p)).sum::<f64>()
    };
    let mean: Vec<f64> = (0..all[0].len()).map(|i| mean_of(&|p| p[i])).collect();
    let spread = (0..mean.len()).map(|i| mean_of(&|p| (p[i] - mean[i]).powi(2)).sqrt()).collect();
    let total: Vec<f64> = mean.chunks(4).map(entropy).collect();
    let within = |row: usize| mean_of(&|p| entropy(&p[4 * row..][..4]));
    let information = total.iter().enumerate().map(|(row, total)| total - within(row)).collect();
    [mean, spread, total, information]
}

/// Compares a prediction with f64. A spread is a square root, so where the true spread is 0, its
/// error is the square root of the rounding errors.
fn check(what: &str, got: &Predictive, exact: &[Vec<f64>; 4]) {
    let got = [&got.mean, &got.spread, &got.entropy, &got.information];
    for (name, bound, got, exact) in
        [("mean", 2e-6, 0), ("spread", 2e-5, 1), ("entropy", 1e-5, 2), ("information", 1e-5, 3)]
            .map(|(name, bound, i)| (name, bound, got[i], &exact[i]))
    {
        assert!(off(got, exact) <= bound, "{what}: {name} is off by {:e}", off(got, exact));
    }
}

#[test]
fn samples_are_those_of_the_contract_and_their_moments_exact() {
    fn check_all<B: Backend>(mut backend: B) -> B {
        for (hidden, mode, input_drop) in [
            (&[9, 8][..], Mode::Inverted, 0.2),
            (&[9, 8], Mode::Inverted, 0.0),
            (&[9], Mode::Vanilla, 0.0),
            (&[], Mode::Inverted, 0.3),
            (&[], Mode::Inverted, 0.0),
            (&[9, 8], Mode::None, 0.2),
        ] {
            let mut net = network(backend, architecture(hidden, mode, input_drop));
            let (x, data) = rows(&mut net, 11);
            let exact = Network64::of(&mut net).unwrap();
            let architecture = net.architecture().clone();
            for (sharing, other) in
                [(Sharing::PerRow, Sharing::PerPass), (Sharing::PerPass, Sharing::PerRow)]
            {
                let got = net.predict_monte_carlo(&data, 40, sharing).unwrap();
                let what =
                    format!("{} {hidden:?} {mode} {input_drop} {sharing:?}", net.backend().name());
                check(&what, &got, &by_hand(&exact, &x, &architecture, 0..40, sharing));
                // The controls, if the masks are random: the samples from the second on, and masks
                // shared otherwise.
                let random = mode != Mode::None && !(hidden.is_empty() && input_drop == 0.0);
                for (samples, sharing) in [(1..41, sharing), (0..40, other)] {
                    let [mean, ..] = by_hand(&exact, &x, &architecture, samples, sharing);
                    assert_eq!(off(&got.mean, &mean) > 1e-4, random, "{what}");
                }
                assert_eq!(got.spread.iter().any(|&spread| spread > 0.01), random, "{what}");
            }
            drop(data);
            backend = net.into_backend();
        }
        backend
    }
    check_all(Cpu::reference());
    check_all(Cpu::new());
    lend(Form::Usual, check_all);
}

/// Checks that rows past the first chunk draw their own masks, by their index in the data.
#[test]
fn rows_are_the_same_in_any_company() {
    fn check_all<B: Backend>(backend: B) -> B {
        let mut net = network(backend, architecture(&[9, 8], Mode::Inverted, 0.2));
        let (x, data) = rows(&mut net, 1030);
        let exact = Network64::of(&mut net).unwrap();
        let architecture = net.architecture().clone();
        for sharing in [Sharing::PerRow, Sharing::PerPass] {
            let got = net.predict_monte_carlo(&data, 3, sharing).unwrap();
            let what = format!("{} {sharing:?}", net.backend().name());
            check(&what, &got, &by_hand(&exact, &x, &architecture, 0..3, sharing));
        }
        drop(data);
        net.into_backend()
    }
    check_all(Cpu::new());
    lend(Form::Usual, check_all);
}

#[test]
fn fifty_samples_are_one_submit_and_one_read_back() {
    lend(Form::Usual, |mut gpu| {
        // Work that no mask affects runs once: the gather and, without input dropout, the first
        // layer. Each sample then runs the dropout of the result, the remaining layers and the
        // moments. If all rows of a pass share one mask, the second site's dropout is a dispatch of
        // its own too.
        use Sharing::{PerPass, PerRow};
        for (input_drop, sharing, dispatches) in [
            (0.0, PerRow, 2 + 50 * 4),
            (0.2, PerRow, 1 + 50 * 5),
            (0.0, PerPass, 2 + 50 * 5),
            (0.2, PerPass, 1 + 50 * 7),
        ] {
            let mut net = network(gpu, architecture(&[9, 8], Mode::Inverted, input_drop));
            let (_, data) = rows(&mut net, 11);
            let before = net.backend().counts();
            net.predict_monte_carlo(&data, 50, sharing).unwrap();
            let counts = net.backend().counts() - before;
            assert_eq!(
                (counts.dispatches, counts.submits, counts.bytes_read),
                (dispatches, 1, 11 * 9 * 4),
                "{counts:?}"
            );
            assert_eq!(counts.mask_bytes, 0, "no mask is stored");
            drop(data);
            gpu = net.into_backend();
        }
        gpu
    });
}

/// Returns the moments over every mask in f64, each mask weighted by its probability.
fn every_mask(exact: &Network64, x: &[f32], architecture: &Architecture) -> [Vec<f64>; 4] {
    let widths = architecture.widths();
    let sites: Vec<usize> = (0..widths.len() - 1)
        .filter(|&site| {
            architecture.mode != Mode::None && architecture.rate_of(site).drop_in_effect() > 0.0
        })
        .collect();
    let first_bit = |layer: usize| {
        sites.iter().filter(|&&site| site < layer).map(|&site| widths[site]).sum::<usize>()
    };
    let units: usize = sites.iter().map(|&site| widths[site]).sum();
    let mut all = Vec::new();
    let mut weights = Vec::new();
    for mask in 0..1u32 << units {
        let kept = |layer: usize, col: usize| {
            !sites.contains(&layer) || mask >> (first_bit(layer) + col) & 1 == 1
        };
        let mut probability = 1.0;
        for &site in &sites {
            let keep = architecture.rate_of(site).keep_in_effect();
            (0..widths[site])
                .for_each(|col| probability *= if kept(site, col) { keep } else { 1.0 - keep });
        }
        // A site that drops everything has no scale, so masks of probability 0 are skipped.
        if probability == 0.0 {
            continue;
        }
        weights.push(probability);
        all.push(exact.probabilities(x, &|layer, _, col| {
            if sites.contains(&layer) { scale(architecture, layer, kept(layer, col)) } else { 1.0 }
        }));
    }
    moments(&all, &weights)
}

#[test]
fn the_exact_ensemble_is_every_mask() {
    fn check_all<B: Backend>(mut backend: B) -> B {
        for (hidden, mode, input_drop) in [
            (&[5][..], Mode::Inverted, 0.2),
            (&[3, 4], Mode::Vanilla, 0.0),
            (&[2, 2], Mode::Inverted, 1.0),
            (&[], Mode::Inverted, 0.2),
            (&[30], Mode::None, 0.2),
        ] {
            let mut net = network(backend, architecture(hidden, mode, input_drop));
            let (x, data) = rows(&mut net, 300);
            let exact = Network64::of(&mut net).unwrap();
            let architecture = net.architecture().clone();
            let before = net.backend().counts();
            let got = net.predict_ensemble(&data).unwrap();
            let counts = net.backend().counts() - before;
            let right = every_mask(&exact, &x, &architecture);
            check(
                &format!("{} {hidden:?} {mode} {input_drop}", net.backend().name()),
                &got,
                &right,
            );
            assert!(counts.dispatches < 300, "many masks a dispatch: {counts:?}");
            // The control: the weight-scaling rule comes close but gives something else.
            let scaled = off(&net.predict_on(&data).unwrap(), &right[0]);
            assert_eq!(
                scaled > 1e-4,
                mode != Mode::None && !hidden.is_empty() || hidden.is_empty(),
                "{mode} {hidden:?} {scaled:e}"
            );
            drop(data);
            backend = net.into_backend();
        }
        backend
    }
    check_all(Cpu::reference());
    check_all(Cpu::new());
    lend(Form::Usual, check_all);
}

/// Checks a million sub-networks: 20 units, the most that are enumerated.
#[test]
fn twenty_units_are_a_million_networks() {
    fn check<B: Backend>(backend: B) -> B {
        // Only the hidden units are dropped, so f64 can enumerate their masks as quickly.
        let mut net = network(
            backend,
            Architecture {
                rate: Rate::drop(0.5).unwrap(),
                ..architecture(&[20], Mode::Inverted, 0.0)
            },
        );
        let (x, data) = rows(&mut net, 1);
        let got = net.predict_ensemble(&data).unwrap();
        let (weight, bias) = net.parameters(0).unwrap().unwrap();
        let (out, out_bias) = net.parameters(1).unwrap().unwrap();
        let hidden: Vec<f64> = (0..20)
            .map(|h| {
                (f64::from(bias[h])
                    + (0..6).map(|i| f64::from(x[i]) * f64::from(weight[i * 20 + h])).sum::<f64>())
                .max(0.0)
            })
            .collect();
        // In Gray code, one unit changes from a mask to the next.
        let mut logits = [0.0f64; 4];
        let mut kept = [false; 20];
        let mut mean = [0.0f64; 4];
        (0..4).for_each(|c| logits[c] = f64::from(out_bias[c]));
        for mask in 0..1u32 << 20 {
            if mask > 0 {
                let unit = mask.trailing_zeros() as usize;
                kept[unit] = !kept[unit];
                let sign = if kept[unit] { 2.0 } else { -2.0 };
                (0..4)
                    .for_each(|c| logits[c] += sign * hidden[unit] * f64::from(out[unit * 4 + c]));
            }
            let sum: f64 = logits.iter().map(|z| z.exp()).sum();
            (0..4).for_each(|c| mean[c] += logits[c].exp() / sum);
        }
        let right: Vec<f64> = mean.iter().map(|mean| mean / f64::from(1 << 20)).collect();
        assert!(off(&got.mean, &right) <= 1e-6, "{}: {got:?} {right:?}", net.backend().name());
        drop(data);
        net.into_backend()
    }
    check(Cpu::new());
    lend(Form::Usual, check);
}

#[test]
fn more_than_twenty_units_and_no_samples_are_refused() {
    let mut net = network(Cpu::new(), architecture(&[15], Mode::Inverted, 0.2));
    let (_, data) = rows(&mut net, 1);
    assert!(matches!(
        net.predict_ensemble(&data),
        Err(Error::TooLarge { value: 21, bound: 20, .. })
    ));
    assert!(matches!(
        net.predict_monte_carlo(&data, 0, Sharing::PerRow),
        Err(Error::Invalid { .. })
    ));
}
