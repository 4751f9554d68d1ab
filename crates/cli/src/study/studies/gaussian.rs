//! Table 10 of Srivastava et al. 2014: units multiplied by Gaussian noise instead of by 0 or 1/k,
//! with the same mean and variance.

use crate::failure::Failure;
use crate::study::experiment::Study;
use crate::study::handmade::{self, Handmade};
use crate::study::layer::Layer;
use crate::study::plan::{Arm, Computation, Recipe, Scene};
use crate::study::plot::{Line, Plot};
use crate::study::record::Found;
use crate::study::results::Results;
use crate::study::verdict::Verdict;
use wgpu_dropout::call::{
    Activation, ActivationGrad, CopyCall, DropoutCall, GaussianDropoutCall, SgdRule,
};
use wgpu_dropout::{Backend, Dropout, GaussianDropout, Key, Mask, Mode, Rate, Result};

/// Study `gaussian`.
pub static STUDY: Study = Study {
    name: "gaussian",
    claim: "Multiplying units by normally distributed noise of mean 1 and variance (1 - k)/k has the same \
            effect as dropping them.",
    published: "MNIST, two layers of 1024 ReLUs: 1.08 % with Bernoulli noise, .95 % with Gaussian",
    source: "Srivastava et al. 2014, section 10, table 10",
    arms,
    judge,
    columns: &[("test_error", "test error, %", 2), ("train_error", "train error, %", 2)],
    figures,
};

const NONE: &str = "no noise";
const BERNOULLI: &str = "Bernoulli noise";
const GAUSSIAN: &str = "Gaussian noise";
/// Keep rate of the hidden layers.
const KEEP: f64 = 0.5;

fn arms(_: &Scene) -> Vec<Arm> {
    vec![
        Arm {
            name: NONE.to_owned(),
            ..Arm::compute(NONE, 0.0, |scene, device, seed, _| {
                net(scene, seed, Noise::None).on_device(device)
            })
        },
        Arm {
            name: BERNOULLI.to_owned(),
            ..Arm::compute(BERNOULLI, 0.0, |scene, device, seed, _| {
                net(scene, seed, Noise::Bernoulli).on_device(device)
            })
        },
        Arm {
            name: GAUSSIAN.to_owned(),
            ..Arm::compute(GAUSSIAN, 0.0, |scene, device, seed, _| {
                net(scene, seed, Noise::Gaussian).on_device(device)
            })
        },
    ]
}

fn judge(scene: &Scene, results: &Results<'_>) -> Vec<Verdict> {
    let less = |noise: &str| {
        let claim = format!("{noise}: a lower test error than {NONE}");
        Verdict::more(claim, results.excess(NONE, noise, "test_error"), 0.0, "points")
    };
    let beyond = results.excess(GAUSSIAN, BERNOULLI, "test_error");
    let most = scene.pick(0.5, 0.15);
    let mut verdicts = vec![less(BERNOULLI), less(GAUSSIAN)];
    verdicts.push(Verdict::at_most(
        "the error with Gaussian noise above that with Bernoulli noise",
        beyond,
        most,
        "points",
    ));
    verdicts
}

fn figures(_: &Scene, results: &Results<'_>) -> std::result::Result<Vec<String>, Failure> {
    let lines = [NONE, BERNOULLI, GAUSSIAN]
        .map(|arm| Line::new(arm, results.curve(arm, "epoch", "test_error")))
        .to_vec();
    let title = "Error on test rows while training";
    Ok(vec![Plot { title, x: "epoch", y: "error (%)", log: false, falling: true, lines }.draw()?])
}

/// Noise that multiplies the units in training. Each has mean 1, so prediction needs no scaling.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Noise {
    None,
    Bernoulli,
    Gaussian,
}

struct Net<'a> {
    scene: &'a Scene,
    seed: u64,
    noise: Noise,
}

fn net(scene: &Scene, seed: u64, noise: Noise) -> Net<'_> {
    Net { scene, seed, noise }
}

impl Computation for Net<'_> {
    fn on<B: Backend>(&self, mut backend: B) -> Result<(B, Found)> {
        let Self { scene, seed, noise } = *self;
        let (rows, width, updates) = scene.pick((2000, 256, 1500), (60_000, 1024, 36_000));
        let recipe = Recipe::plain(scene.rows(rows), &[width, width], scene.updates(updates));
        let widths =
            recipe.architecture(scene.data.train.cols, scene.data.classes.len(), seed)?.widths();
        let noisy =
            Noisy::new(&mut backend, recipe.batch, &widths, seed, noise, scene.input_keep())?;
        handmade::train(backend, scene, &recipe, seed, noisy)
    }
}

/// Layers with the activations of a mini-batch, before and after the noise, and their gradients.
struct Noisy<B: Backend> {
    seed: u64,
    noise: Noise,
    input_keep: f64,
    layers: Vec<Layer<B>>,
    /// Activations with noise, of the input and of each hidden layer.
    noisy: Vec<B::Tensor<f32>>,
    /// Activations without noise, of each hidden layer.
    clean: Vec<B::Tensor<f32>>,
    /// Gradients with respect to the noisy activations, the clean ones, and the pre-activations.
    grads: [Vec<B::Tensor<f32>>; 3],
}

impl<B: Backend> Noisy<B> {
    fn new(
        backend: &mut B,
        batch: usize,
        widths: &[usize],
        seed: u64,
        noise: Noise,
        input_keep: f64,
    ) -> Result<Self> {
        let layers = Layer::stack(backend, seed, widths)?;
        let inner = &widths[..widths.len() - 1];
        let mut each = |widths: &[usize]| {
            widths.iter().map(|&width| backend.zeros(batch, width)).collect::<Result<Vec<_>>>()
        };
        let noisy = each(inner)?;
        let clean = each(&inner[1..])?;
        let grads = [each(&inner[1..])?, each(&inner[1..])?, each(&inner[1..])?];
        Ok(Self { seed, noise, input_keep, layers, noisy, clean, grads })
    }

    /// Returns the noise at a site in a step; without a step there is none.
    fn site(&self, site: usize, step: Option<u32>) -> Result<Site> {
        let keep = Rate::keep(if site == 0 { self.input_keep } else { KEEP })?;
        let mask =
            step.map(|step| Mask::new(keep, Key { seed: self.seed, layer: site as u32, step }));
        Ok(Site { noise: self.noise, mask })
    }
}

/// Noise of a layer in a step.
struct Site {
    noise: Noise,
    mask: Option<Mask>,
}

impl Site {
    /// Computes `y = x·noise`, or `y = x` without a step. It is linear, so the backward pass is the
    /// same call on the gradient.
    fn noise<B: Backend>(
        &self,
        backend: &mut B,
        x: &B::Tensor<f32>,
        y: &mut B::Tensor<f32>,
    ) -> Result<()> {
        match (self.noise, self.mask) {
            (Noise::None, _) | (_, None) => backend.run(CopyCall { x, y }),
            (Noise::Gaussian, Some(mask)) => {
                backend.run(GaussianDropoutCall { x, y, dropout: GaussianDropout::train(mask)? })
            }
            (Noise::Bernoulli, Some(mask)) => {
                backend.run(DropoutCall { x, y, dropout: Dropout::train(Mode::Inverted, mask) })
            }
        }
    }
}

impl<B: Backend> Handmade<B> for Noisy<B> {
    fn forward(
        &mut self,
        backend: &mut B,
        x: &B::Tensor<f32>,
        logits: &mut B::Tensor<f32>,
        step: Option<u32>,
    ) -> Result<()> {
        let sites: Vec<Site> =
            (0..self.noisy.len()).map(|site| self.site(site, step)).collect::<Result<_>>()?;
        let Self { layers, noisy, clean, .. } = self;
        sites[0].noise(backend, x, &mut noisy[0])?;
        for (index, clean) in clean.iter_mut().enumerate() {
            layers[index].forward(backend, &noisy[index], clean, true, Dropout::NONE)?;
            sites[index + 1].noise(backend, clean, &mut noisy[index + 1])?;
        }
        let last = layers.len() - 1;
        layers[last].forward(backend, &noisy[last], logits, false, Dropout::NONE)
    }

    fn backward(
        &mut self,
        backend: &mut B,
        _: &B::Tensor<f32>,
        grad_logits: &B::Tensor<f32>,
        step: u32,
        rule: SgdRule,
    ) -> Result<()> {
        for index in (0..self.layers.len()).rev() {
            let site = self.site(index, Some(step))?;
            let Self { layers, noisy, clean, grads: [of_noisy, of_clean, of_sums], .. } = self;
            let grad_z = of_sums.get(index).unwrap_or(grad_logits);
            if index > 0 {
                layers[index].grad_input(backend, grad_z, &mut of_noisy[index - 1])?;
                site.noise(backend, &of_noisy[index - 1], &mut of_clean[index - 1])?;
            }
            layers[index].update(backend, &noisy[index], grad_z, rule)?;
            if index > 0 {
                // ReLU's output serves as its input: both are positive for the same elements.
                backend.run(ActivationGrad {
                    grad_output: &of_clean[index - 1],
                    z: &clean[index - 1],
                    grad_z: &mut of_sums[index - 1],
                    activation: Activation::Relu,
                    dropout: Dropout::NONE,
                })?;
            }
        }
        Ok(())
    }
}
