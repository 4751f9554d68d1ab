//! Networks with batch normalization before or after dropout, and networks trained by AdamW.

use crate::common::{Form, lend, noise};
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::call::{EPSILON, SgdRule};
use wgpu_dropout::data::DataSet;
use wgpu_dropout::mlp::{
    Architecture, BatchNormPlace, Interchange, Layout, Mlp, Optimizer, Resident, Sharing, Source,
    Training,
};
use wgpu_dropout::oracle::network::training;
use wgpu_dropout::{Error, Mode, Rate};

const PLACES: [BatchNormPlace; 2] = [BatchNormPlace::Before, BatchNormPlace::After];

fn architecture(inputs: usize, hidden: &[usize], classes: usize) -> Architecture {
    let rate = Rate::drop(0.4).unwrap();
    let input_rate = Rate::drop(0.1).unwrap();
    Architecture {
        inputs,
        hidden: hidden.to_vec(),
        classes,
        mode: Mode::Inverted,
        rate,
        input_rate,
        seed: 0xba7c,
    }
}

/// All parameters in f64: weight, bias, γ and β of each layer, the last two empty for the last
/// layer.
type Parameters = Vec<[Vec<f64>; 4]>;

fn parameters<B: Backend>(net: &mut Mlp<B>) -> Parameters {
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
    let mut layers = Vec::new();
    while let Some((weight, bias)) = net.parameters(layers.len()).unwrap() {
        let norm = net.norm_parameters(layers.len()).unwrap();
        let [gamma, beta] =
            norm.map_or([Vec::new(), Vec::new()], |norm| [wide(norm.weight), wide(norm.bias)]);
        layers.push([wide(weight), wide(bias), gamma, beta]);
    }
    layers
}

/// Returns the mean cross-entropy of a mini-batch in training, computed directly from the
/// equations.
fn loss(
    parameters: &Parameters,
    place: BatchNormPlace,
    x: &[f32],
    labels: &[u32],
    site: impl Fn(usize, usize, usize) -> f64,
) -> f64 {
    let rows = labels.len();
    let drop = |values: Vec<f64>, layer: usize| -> Vec<f64> {
        let cols = values.len() / rows;
        values.into_iter().enumerate().map(|(i, v)| v * site(layer, i / cols, i % cols)).collect()
    };
    let mut values = drop(x.iter().copied().map(f64::from).collect(), 0);
    for (index, [weight, bias, gamma, beta]) in parameters.iter().enumerate() {
        let inputs = values.len() / rows;
        let units = bias.len();
        let sum = |r: usize, o: usize| {
            bias[o]
                + (0..inputs).map(|i| values[r * inputs + i] * weight[i * units + o]).sum::<f64>()
        };
        values = (0..rows * units).map(|i| sum(i / units, i % units)).collect();
        if gamma.is_empty() {
            break;
        }
        let normalized = |values: Vec<f64>| -> Vec<f64> {
            let column = |col: usize| values.iter().skip(col).step_by(units);
            let mean = |col: usize| column(col).sum::<f64>() / rows as f64;
            let variance = |col: usize| {
                column(col).map(|v| (v - mean(col)).powi(2)).sum::<f64>() / rows as f64
            };
            let normal = |i: usize| {
                (values[i] - mean(i % units)) / (variance(i % units) + f64::from(EPSILON)).sqrt()
            };
            (0..values.len()).map(|i| gamma[i % units] * normal(i) + beta[i % units]).collect()
        };
        let active =
            |values: Vec<f64>| drop(values.into_iter().map(|v| v.max(0.0)).collect(), index + 1);
        values = match place {
            BatchNormPlace::Before => active(normalized(values)),
            BatchNormPlace::After => normalized(active(values)),
        };
    }
    let classes = values.len() / rows;
    let row = |(z, &label): (&[f64], &u32)| {
        z.iter().map(|z| z.exp()).sum::<f64>().ln() - z[label as usize]
    };
    values.chunks(classes).zip(labels).map(row).sum::<f64>() / rows as f64
}

/// Checks the gradient, which is one update by plain SGD at learning rate 1, for every parameter,
/// against central differences in f64 with the masks held fixed.
#[test]
fn a_network_s_gradient_is_its_slope_through_batch_normalization() {
    fn check<B: Backend>(mut backend: B) -> B {
        for place in PLACES {
            let rows = 9;
            let shape = architecture(5, &[6, 4], 3);
            let x = noise(1, rows * 5);
            let labels = (0..rows as u32).map(|row| row % 3).collect::<Vec<_>>();
            let mut net = Mlp::new(backend, shape.clone()).unwrap().with_batch_norm(place).unwrap();
            let before = parameters(&mut net);
            let plain = Training { rule: SgdRule::plain(1.0), ..Training::default() };
            net.train_step(&x, &labels, &plain).unwrap();
            let after = parameters(&mut net);
            let at = |parameters: &Parameters, place| {
                loss(parameters, place, &x, &labels, training(&shape, 0))
            };
            let device = f64::from(net.loss().unwrap().unwrap());
            assert!(
                (device - at(&before, place)).abs() < 1e-5,
                "{} {place}: {device}",
                net.backend().name()
            );
            let other = if place == PLACES[0] { PLACES[1] } else { PLACES[0] };
            let (mut worst, mut other_worst) = (0.0f64, 0.0f64);
            for layer in 0..before.len() {
                for kind in 0..4 {
                    for i in 0..before[layer][kind].len() {
                        let moved = |by: f64, place| {
                            let mut parameters = before.clone();
                            parameters[layer][kind][i] += by;
                            at(&parameters, place)
                        };
                        let got = before[layer][kind][i] - after[layer][kind][i];
                        let slope = |place| (moved(1e-6, place) - moved(-1e-6, place)) / 2e-6;
                        worst = worst.max((got - slope(place)).abs());
                        other_worst = other_worst.max((got - slope(other)).abs());
                    }
                }
            }
            assert!(worst < 2e-5, "{} {place}: {worst:e}", net.backend().name());
            // The control: normalization in the other place.
            assert!(other_worst > 1e-2, "{other_worst:e}");
            backend = net.into_backend();
        }
        backend
    }
    check(Cpu::reference());
    check(Cpu::new());
    lend(Form::Usual, check);
}

fn resident<B: Backend>(backend: &mut B, samples: &wgpu_dropout::data::Samples) -> Resident<B> {
    let x = samples.features_f32();
    Resident::new(backend, Source::Floats(&x), samples.cols, 1.0, &samples.labels).unwrap()
}

/// Trains a network on the digits.
fn trained<B: Backend>(
    backend: B,
    place: Option<BatchNormPlace>,
    training: &Training,
    epochs: u32,
) -> (Mlp<B>, f64) {
    let digits = DataSet::digits().unwrap();
    let mut net = Mlp::new(backend, architecture(64, &[48, 32], 10)).unwrap();
    if let Some(place) = place {
        net = net.with_batch_norm(place).unwrap();
    }
    let train = resident(net.backend_mut(), &digits.train);
    let test = resident(net.backend_mut(), &digits.test);
    for _ in 0..epochs {
        net.train_epoch(&train, training).unwrap();
    }
    let error = net.evaluate(&test).unwrap().error;
    (net, error)
}

fn adamw() -> Training {
    let rule = SgdRule { momentum: 0.9, weight_decay: 0.01, ..SgdRule::plain(0.003) };
    Training { rule, optimizer: Optimizer::ADAMW, ..Training::default() }
}

#[test]
fn digits_are_learned_and_prediction_is_a_plain_network() {
    fn check<B: Backend>(mut backend: B) -> B {
        for (place, training) in
            [(Some(PLACES[0]), adamw()), (Some(PLACES[1]), Training::default()), (None, adamw())]
        {
            let (mut net, error) = trained(backend, place, &training, 20);
            let name = net.backend().name();
            assert!(error < 10.0, "{name} {place:?} {}: {error} %", training.optimizer);
            let x = DataSet::digits().unwrap().test.features_f32()[..64 * 40].to_vec();
            let predicted = net.predict(&x).unwrap();
            // The exported layers include the normalization of prediction.
            let folder = tempfile::TempDir::new().unwrap();
            let file = folder.path().join("n");
            let form = Interchange { layout: Layout::PyTorch, layers: None };
            net.export(&file, &form).unwrap();
            let mut plain = Mlp::new(Cpu::new(), net.architecture().clone()).unwrap();
            plain.import(&file, &form).unwrap();
            let off = |other: &[f32]| {
                predicted.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
            };
            assert!(off(&plain.predict(&x).unwrap()) < 1e-4, "{name} {place:?}");
            // The mean over sampled masks includes the normalization too, so it is close to the
            // prediction.
            let labels = vec![0; 40];
            let data =
                Resident::new(net.backend_mut(), Source::Floats(&x), 64, 1.0, &labels).unwrap();
            let sampled = net.predict_monte_carlo(&data, 200, Sharing::PerRow).unwrap().mean;
            let mean_off = predicted.iter().zip(&sampled).map(|(a, b)| (a - b).abs()).sum::<f32>()
                / sampled.len() as f32;
            assert!(mean_off < 0.05, "{name} {place:?}: {mean_off}");
            if place.is_some() {
                let net = Mlp::new(Cpu::new(), net.architecture().clone()).unwrap();
                let norm =
                    net.with_batch_norm(PLACES[0]).unwrap().norm_parameters(0).unwrap().unwrap();
                assert!(
                    norm.running_var.iter().all(|&v| v == 1.0) && norm.weight == norm.running_var
                );
            }
            drop(data);
            backend = net.into_backend();
        }
        backend
    }
    check(Cpu::new());
    lend(Form::Usual, check);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let invalid = |result: wgpu_dropout::Result<()>, word: &str| match result {
        Err(Error::Invalid { what }) => assert!(what.contains(word), "{what}"),
        other => panic!("{word}: {other:?}"),
    };
    let x = noise(1, 4 * 5);
    let labels = [0, 1, 2, 0];
    let new = || Mlp::new(Cpu::new(), architecture(5, &[6], 3)).unwrap();
    let mut net = new();
    net.train_step(&x, &labels, &Training::default()).unwrap();
    invalid(net.train_step(&x, &labels, &adamw()), "adamw");
    invalid(net.with_batch_norm(PLACES[0]).map(drop), "1 updates");
    let mut net = new().with_batch_norm(PLACES[0]).unwrap();
    invalid(net.gradients(&x, &labels, 0, 4, &Training::default()).map(drop), "shard");
    for (change, word) in [
        (Box::new(|t: &mut Training| t.rule.l1 = 0.1) as Box<dyn Fn(&mut Training)>, "L1"),
        (Box::new(|t: &mut Training| t.rule.momentum = 1.0), "β₁"),
        (
            Box::new(|t: &mut Training| {
                t.optimizer = Optimizer::AdamW { beta2: f32::NAN, epsilon: 1e-8 }
            }),
            "β₂",
        ),
        (
            Box::new(|t: &mut Training| {
                t.optimizer = Optimizer::AdamW { beta2: 0.9, epsilon: 0.0 }
            }),
            "ε",
        ),
    ] {
        let mut training = adamw();
        change(&mut training);
        invalid(training.check(), word);
    }
}
