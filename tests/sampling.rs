//! Averages over masks, taken on the device: sampled ones and all of them, against f64 and against one network at a time.
#![cfg(feature = "cli")]

mod common;

use common::network64::Network64;
use common::{Form, lend, noise};
use wgpu_dropout::backend::Backend;
use wgpu_dropout::cpu::Cpu;
use wgpu_dropout::mask::PREDICTION;
use wgpu_dropout::mlp::{Architecture, Mlp, Resident, Source};
use wgpu_dropout::{Error, Key, Mask, Mode, Rate};

fn architecture(hidden: &[usize], mode: Mode, input_drop: f64) -> Architecture {
    let (rate, input_rate) = (Rate::drop(0.4).unwrap(), Rate::drop(input_drop).unwrap());
    Architecture { inputs: 6, hidden: hidden.to_vec(), classes: 4, mode, rate, input_rate, seed: 0xfeed }
}

/// A network whose biases are not the zeros that they start from.
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
    let data = Resident::new(net.backend_mut(), Source::Floats(&x), 6, 1.0, &vec![0; rows]).unwrap();
    (x, data)
}

fn scale(architecture: &Architecture, layer: usize, kept: bool) -> f64 {
    match (architecture.mode, kept) {
        (Mode::None, _) | (Mode::Vanilla, true) => 1.0,
        (Mode::Inverted, true) => 65536.0 / f64::from(architecture.rate_of(layer).threshold()),
        _ => 0.0,
    }
}

/// What a dropout site multiplies by in sample `sample`, `row` the index in the data.
fn sampled(architecture: &Architecture, sample: u32) -> impl Fn(usize, usize, usize) -> f64 + '_ {
    move |layer, row, col| {
        let key = Key { seed: architecture.seed, layer: layer as u32 | PREDICTION, step: sample };
        scale(architecture, layer, Mask::new(architecture.rate_of(layer), key).keeps(row, col))
    }
}

/// The largest difference; NaN counts as infinite.
fn off(got: &[f32], exact: &[f64]) -> f64 {
    assert_eq!(got.len(), exact.len());
    let off = got.iter().zip(exact).map(|(&got, exact)| (f64::from(got) - exact).abs());
    off.map(|off| if off.is_nan() { f64::INFINITY } else { off }).fold(0.0, f64::max)
}

fn entropy(p: &[f64]) -> f64 {
    p.iter().map(|&p| if p > 0.0 { -p * p.ln() } else { 0.0 }).sum()
}

/// Mean, spread, entropy and information in f64, one sample after another.
fn by_hand(exact: &Network64, x: &[f32], architecture: &Architecture, samples: u32, shift: u32) -> [Vec<f64>; 4] {
    let all: Vec<Vec<f64>> =
        (shift..samples + shift).map(|sample| exact.probabilities(x, &sampled(architecture, sample))).collect();
    let n = f64::from(samples);
    let mean: Vec<f64> = (0..all[0].len()).map(|i| all.iter().map(|p| p[i]).sum::<f64>() / n).collect();
    let variance = (0..mean.len()).map(|i| all.iter().map(|p| (p[i] - mean[i]).powi(2)).sum::<f64>() / n);
    let spread = variance.map(f64::sqrt).collect();
    let total: Vec<f64> = mean.chunks(4).map(entropy).collect();
    let within = |row: usize| all.iter().map(|p| entropy(&p[4 * row..][..4])).sum::<f64>() / n;
    let information = total.iter().enumerate().map(|(row, total)| total - within(row)).collect();
    [mean, spread, total, information]
}

#[test]
fn samples_are_those_of_the_contract_and_their_moments_exact() {
    fn check<B: Backend>(mut backend: B) -> B {
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
            let (exact, architecture) = (Network64::of(&mut net), net.architecture().clone());
            let got = net.predict_monte_carlo(&data, 40).unwrap();
            let what = format!("{} {hidden:?} {mode} {input_drop}", net.backend().name());
            let [mean, spread, entropy, information] = by_hand(&exact, &x, &architecture, 40, 0);
            assert!(off(&got.mean, &mean) <= 2e-6, "{what}: {:e}", off(&got.mean, &mean));
            // A root: where nothing is spread, what is left of the roundings is its root, too.
            assert!(off(&got.spread, &spread) <= 2e-5, "{what}: {:e}", off(&got.spread, &spread));
            assert!(off(&got.entropy, &entropy) <= 1e-5, "{what}: {:e}", off(&got.entropy, &entropy));
            assert!(off(&got.information, &information) <= 1e-5, "{what}: {:e}", off(&got.information, &information));
            // The control: the samples from the second on, where there is a choice.
            let random = mode != Mode::None && !(hidden.is_empty() && input_drop == 0.0);
            let [other, ..] = by_hand(&exact, &x, &architecture, 40, 1);
            assert_eq!(off(&got.mean, &other) > 1e-4, random, "{what}");
            assert_eq!(got.spread.iter().any(|&spread| spread > 0.01), random, "{what}");
            drop(data);
            backend = net.into_backend();
        }
        backend
    }
    check(Cpu::reference());
    check(Cpu::new());
    lend(Form::Usual, check);
}

/// Rows past the first chunk draw their own masks, by their index in the data.
#[test]
fn rows_are_the_same_in_any_company() {
    fn check<B: Backend>(backend: B) -> B {
        let mut net = network(backend, architecture(&[9, 8], Mode::Inverted, 0.2));
        let (x, data) = rows(&mut net, 1030);
        let (exact, architecture) = (Network64::of(&mut net), net.architecture().clone());
        let got = net.predict_monte_carlo(&data, 3).unwrap();
        let [mean, ..] = by_hand(&exact, &x, &architecture, 3, 0);
        assert!(off(&got.mean, &mean) <= 2e-6, "{}: {:e}", net.backend().name(), off(&got.mean, &mean));
        drop(data);
        net.into_backend()
    }
    check(Cpu::new());
    lend(Form::Usual, check);
}

#[test]
fn fifty_samples_are_one_submit_and_one_read_back() {
    lend(Form::Usual, |mut gpu| {
        // Without dropout of the input: gather and first layer once, then dropout, two layers and the moments a sample.
        for (input_drop, dispatches) in [(0.0, 2 + 50 * 4), (0.2, 50 * 5)] {
            let mut net = network(gpu, architecture(&[9, 8], Mode::Inverted, input_drop));
            let (_, data) = rows(&mut net, 11);
            let before = net.backend().counts();
            net.predict_monte_carlo(&data, 50).unwrap();
            let counts = net.backend().counts() - before;
            assert_eq!((counts.dispatches, counts.submits, counts.bytes_read), (dispatches, 1, 11 * 9 * 4), "{counts:?}");
            drop(data);
            gpu = net.into_backend();
        }
        gpu
    });
}

/// Every mask in f64, each by its probability.
fn every_mask(exact: &Network64, x: &[f32], architecture: &Architecture) -> Vec<f64> {
    let widths = architecture.widths();
    let sites: Vec<usize> = (0..widths.len() - 1)
        .filter(|&site| architecture.mode != Mode::None && architecture.rate_of(site).drop_in_effect() > 0.0)
        .collect();
    let first_bit = |layer: usize| sites.iter().filter(|&&site| site < layer).map(|&site| widths[site]).sum::<usize>();
    let units: usize = sites.iter().map(|&site| widths[site]).sum();
    let mut mean = vec![0.0; x.len() / 6 * 4];
    for mask in 0..1u32 << units {
        let kept = |layer: usize, col: usize| !sites.contains(&layer) || mask >> (first_bit(layer) + col) & 1 == 1;
        let mut probability = 1.0;
        for &site in &sites {
            let keep = architecture.rate_of(site).keep_in_effect();
            (0..widths[site]).for_each(|col| probability *= if kept(site, col) { keep } else { 1.0 - keep });
        }
        let p = exact.probabilities(x, &|layer, _, col| {
            if sites.contains(&layer) { scale(architecture, layer, kept(layer, col)) } else { 1.0 }
        });
        mean.iter_mut().zip(p).for_each(|(mean, p)| *mean += probability * p);
    }
    mean
}

#[test]
fn the_exact_ensemble_is_every_mask() {
    fn check<B: Backend>(mut backend: B) -> B {
        for (hidden, mode, input_drop) in [
            (&[5][..], Mode::Inverted, 0.2),
            (&[3, 4], Mode::Vanilla, 0.0),
            (&[2, 2], Mode::Inverted, 1.0),
            (&[], Mode::Inverted, 0.2),
            (&[30], Mode::None, 0.2),
        ] {
            let mut net = network(backend, architecture(hidden, mode, input_drop));
            let (x, data) = rows(&mut net, 300);
            let (exact, architecture) = (Network64::of(&mut net), net.architecture().clone());
            let before = net.backend().counts();
            let got = net.predict_ensemble(&data).unwrap();
            let counts = net.backend().counts() - before;
            let right = every_mask(&exact, &x, &architecture);
            let distance = off(&got, &right);
            assert!(distance <= 2e-6, "{} {hidden:?} {mode} {input_drop}: {distance:e}", net.backend().name());
            assert!(counts.dispatches < 300, "many masks a dispatch: {counts:?}");
            // The control: the weight-scaling rule is near, and something else.
            let scaled = off(&net.predict_on(&data).unwrap(), &right);
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
    check(Cpu::reference());
    check(Cpu::new());
    lend(Form::Usual, check);
}

/// A million sub-networks: 20 units, the most that are enumerated.
#[test]
fn twenty_units_are_a_million_networks() {
    fn check<B: Backend>(backend: B) -> B {
        // The units of the input are independent of those after them, so that f64 is as quick: the hidden ones are enumerated by hand.
        let mut net = network(backend, Architecture { rate: Rate::drop(0.5).unwrap(), ..architecture(&[20], Mode::Inverted, 0.0) });
        let (x, data) = rows(&mut net, 1);
        let got = net.predict_ensemble(&data).unwrap();
        let (weight, bias) = net.parameters(0).unwrap().unwrap();
        let (out, out_bias) = net.parameters(1).unwrap().unwrap();
        let hidden: Vec<f64> = (0..20)
            .map(|h| (f64::from(bias[h]) + (0..6).map(|i| f64::from(x[i]) * f64::from(weight[i * 20 + h])).sum::<f64>()).max(0.0))
            .collect();
        // Gray code: one unit changes from a mask to the next.
        let (mut logits, mut kept, mut mean) = ([0.0f64; 4], [false; 20], [0.0f64; 4]);
        (0..4).for_each(|c| logits[c] = f64::from(out_bias[c]));
        for mask in 0..1u32 << 20 {
            if mask > 0 {
                let unit = mask.trailing_zeros() as usize;
                kept[unit] = !kept[unit];
                let sign = if kept[unit] { 2.0 } else { -2.0 };
                (0..4).for_each(|c| logits[c] += sign * hidden[unit] * f64::from(out[unit * 4 + c]));
            }
            let sum: f64 = logits.iter().map(|z| z.exp()).sum();
            (0..4).for_each(|c| mean[c] += logits[c].exp() / sum);
        }
        let right: Vec<f64> = mean.iter().map(|mean| mean / f64::from(1 << 20)).collect();
        assert!(off(&got, &right) <= 2e-6, "{}: {got:?} {right:?}", net.backend().name());
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
    assert!(matches!(net.predict_ensemble(&data), Err(Error::TooLarge { value: 21, bound: 20, .. })));
    assert!(matches!(net.predict_monte_carlo(&data, 0), Err(Error::Invalid { .. })));
}
