//! The claim behind dropout: averaged over masks, the output of a site equals its output at
//! prediction time.
//!
//! An element a of a site is kept with probability k = t / 65536 and scaled by s. Its output
//! therefore has the mean k·s·a and the variance σ² = (s·a)²·k·(1 − k). Over 4,096 masks, one per
//! step of a run, every mean must lie within 5σ/64 of the prediction. The control without the
//! factor must not. The spread of the means must also match σ, since too large a σ would let
//! anything pass.

mod common;

use common::{noise, poisoned};
use wgpu_dropout::Backend;
use wgpu_dropout::call::{DropoutCall, Features, Gather, LinearForward};
use wgpu_dropout::{Dropout, Key, Mask, Mode, Rate};

const MASKS: u32 = 4096;
const ROWS: usize = 6;
const COLS: usize = 83;

/// Sites of dropout in a network, each with the kernel that drops there, during training or
/// prediction.
#[derive(Debug, Clone, Copy)]
enum Site {
    /// The kernel `dropout` alone.
    Plain,
    /// A hidden layer, after ReLU in the same kernel.
    Hidden,
    /// The input, as a mini-batch is gathered.
    Input,
}

/// A site and its tensors on a backend.
struct Fixture<B: Backend> {
    site: Site,
    x: B::Tensor<f32>,
    weight: B::Tensor<f32>,
    bytes: B::Tensor<u8>,
    order: B::Tensor<u32>,
    labels: B::Tensor<u32>,
    y: B::Tensor<f32>,
}

impl<B: Backend> Fixture<B> {
    fn new(backend: &mut B, site: Site) -> Self {
        let inputs = if matches!(site, Site::Hidden) { 5 } else { COLS };
        let bytes: Vec<u8> =
            noise(3, ROWS * COLS).iter().map(|x| (x * 127.5 + 127.5) as u8).collect();
        Self {
            site,
            x: backend.tensor(ROWS, inputs, &noise(1, ROWS * inputs)).unwrap(),
            weight: backend.tensor(inputs, COLS, &noise(2, inputs * COLS)).unwrap(),
            bytes: backend.tensor(ROWS, COLS, &bytes).unwrap(),
            order: backend.tensor(ROWS, 1, &[3, 1, 5, 0, 2, 4]).unwrap(),
            labels: backend.zeros(ROWS, 1).unwrap(),
            y: poisoned(backend, ROWS, COLS),
        }
    }

    fn output(&mut self, backend: &mut B, dropout: Dropout) -> Vec<f32> {
        let y = &mut self.y;
        match self.site {
            Site::Plain => backend.run(DropoutCall { x: &self.x, y, dropout }),
            Site::Hidden => {
                let call = LinearForward {
                    x: &self.x,
                    weight: &self.weight,
                    bias: None,
                    y,
                    relu: true,
                    dropout,
                };
                backend.run(call)
            }
            Site::Input => backend.run(Gather {
                data: Features::Bytes(&self.bytes),
                all_labels: &self.order,
                order: &self.order,
                first: 0,
                unit: 1.0 / 255.0,
                x: y,
                labels: &mut self.labels,
                dropout,
            }),
        }
        .unwrap();
        backend.read(&self.y).unwrap()
    }
}

/// Returns the distance of each mean from its prediction in standard deviations, and the largest
/// absolute distance among elements without deviation.
fn distances(mean: &[f64], prediction: &[f64], sigma: &[f64]) -> (Vec<f64>, f64) {
    let (mut distances, mut fixed) = (Vec::new(), 0.0f64);
    for ((mean, prediction), sigma) in mean.iter().zip(prediction).zip(sigma) {
        let off = mean - prediction;
        // A σ below 1e-9 is lost in the rounding of the outputs to f32.
        if *sigma > 1e-9 { distances.push(off / sigma) } else { fixed = fixed.max(off.abs()) }
    }
    (distances, fixed)
}

fn check_site<B: Backend>(backend: &mut B, site: Site, mode: Mode, rate: Rate) {
    let what = format!("{} {site:?} {mode} keep {}", backend.name(), rate.keep_asked());
    let mut fixture = Fixture::new(backend, site);
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
    let activation = wide(fixture.output(backend, Dropout::NONE));
    let prediction = wide(fixture.output(backend, Dropout::predict(mode, rate)));
    let mut mean = vec![0.0; ROWS * COLS];
    for step in 0..MASKS {
        let mask = Mask::new(rate, Key { seed: 2014, layer: 1, step });
        let y = fixture.output(backend, Dropout::train(mode, mask));
        mean.iter_mut().zip(y).for_each(|(mean, y)| *mean += f64::from(y) / f64::from(MASKS));
    }
    let keep = rate.keep_in_effect();
    let scale = if mode == Mode::Inverted { 1.0 / keep } else { 1.0 };
    let deviation = scale * (keep * (1.0 - keep) / f64::from(MASKS)).sqrt();
    let sigma: Vec<f64> = activation.iter().map(|a| a.abs() * deviation).collect();

    let (z, fixed) = distances(&mean, &prediction, &sigma);
    let largest = z.iter().map(|z| z.abs()).fold(0.0, f64::max);
    assert!(z.len() > 200 && largest <= 5.0, "{what}: {largest} σ over {} elements", z.len());
    assert!(fixed <= 1e-9, "{what}: elements that are 0 must stay 0, not {fixed}");
    // z² has mean 1 and standard deviation √(2/n).
    let square = z.iter().map(|z| z * z).sum::<f64>() / z.len() as f64;
    assert!(
        (square - 1.0).abs() <= 5.0 * (2.0 / z.len() as f64).sqrt(),
        "{what}: the variance of the means is {square} σ²"
    );

    // Control: inverted dropout without its scale in training, vanilla dropout without its factor
    // at prediction.
    let unscaled: Vec<f64> = match mode {
        Mode::Inverted => mean.iter().map(|mean| mean * keep).collect(),
        _ => mean.clone(),
    };
    let (z, _) = distances(&unscaled, &activation, &sigma);
    let smallest = z.iter().map(|z| z.abs()).fold(f64::INFINITY, f64::min);
    assert!(smallest > 5.0, "{what}: without the factor, a mean is only {smallest} σ off");
}

#[test]
fn the_mean_over_4096_masks_is_the_prediction() {
    fn check<B: Backend>(backend: &mut B) {
        for mode in [Mode::Inverted, Mode::Vanilla] {
            check_site(backend, Site::Plain, mode, Rate::keep(0.3).unwrap());
            check_site(backend, Site::Hidden, mode, Rate::drop(0.5).unwrap());
            check_site(backend, Site::Input, mode, Rate::drop(0.2).unwrap());
        }
    }
    on_backends!(check);
}
