//! Table 10 of Srivastava et al. 2014: units multiplied by Gaussian noise in place of 0 or 1/k, of the same mean and variance.

use crate::failure::Failure;
use crate::report::plot::{Line, Plot};
use crate::study::draw::drawn;
use crate::study::layer::Layer;
use crate::study::plan::{Arm, Computation, Scene, Study};
use crate::study::record::Found;
use crate::study::results::Results;
use crate::study::verdict::Verdict;
use crate::train::session::upload;
use wgpu_dropout::call::{
    Activation, ActivationGrad, BatchLoss, DropoutCall, Gather, GaussianDropoutCall, GradInput, SgdRule, SoftmaxCrossEntropy,
};
use wgpu_dropout::mlp::{Resident, Schedule, Schedules};
use wgpu_dropout::{Backend, Dropout, GaussianDropout, Key, Mask, Matrix, Mode, Rate, Result, init};

/// The study.
pub static STUDY: Study = Study {
    name: "gaussian",
    claim: "Multiplying units by noise of a normal distribution of mean 1 and variance (1 - k)/k does what dropping them does.",
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
/// Keep rates of the input and of the hidden layers.
const KEEP: [f64; 3] = [0.8, 0.5, 0.5];
/// Rows of a mini-batch.
const BATCH: usize = 100;
/// Points of a learning curve.
const POINTS: u32 = 10;

fn arms(_: &Scene) -> Vec<Arm> {
    vec![
        Arm {
            name: NONE.to_owned(),
            ..Arm::compute(NONE, 0.0, |scene, device, seed, _| net(scene, seed, Noise::None).on_device(device))
        },
        Arm {
            name: BERNOULLI.to_owned(),
            ..Arm::compute(BERNOULLI, 0.0, |scene, device, seed, _| net(scene, seed, Noise::Bernoulli).on_device(device))
        },
        Arm {
            name: GAUSSIAN.to_owned(),
            ..Arm::compute(GAUSSIAN, 0.0, |scene, device, seed, _| net(scene, seed, Noise::Gaussian).on_device(device))
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
    verdicts.push(Verdict::at_most("what Gaussian noise errs more than Bernoulli noise", beyond, most, "points"));
    verdicts
}

fn figures(_: &Scene, results: &Results<'_>) -> std::result::Result<Vec<String>, Failure> {
    let lines = [NONE, BERNOULLI, GAUSSIAN].map(|arm| Line::new(arm, results.curve(arm, "updates", "test_error"))).to_vec();
    let title = "Error on test rows while training";
    Ok(vec![Plot { title, x: "updates", y: "error (%)", log: false, falling: true, lines }.draw()?])
}

/// What units are multiplied by in training; all have the mean 1, so that prediction leaves them alone.
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

/// Tensors of a mini-batch: of each layer what ReLU gives, what noise makes of that, and the gradients of both.
struct Batch<B: Backend> {
    x: B::Tensor<f32>,
    labels: B::Tensor<u32>,
    /// The input and the hidden layers.
    noisy: Vec<B::Tensor<f32>>,
    /// Hidden layers.
    clean: Vec<B::Tensor<f32>>,
    grads: [Vec<B::Tensor<f32>>; 3],
    logits: B::Tensor<f32>,
    grad_logits: B::Tensor<f32>,
    losses: B::Tensor<f32>,
    totals: B::Tensor<f32>,
}

impl<B: Backend> Batch<B> {
    fn new(backend: &mut B, rows: usize, widths: &[usize]) -> Result<Self> {
        let (inner, classes) = (&widths[..widths.len() - 1], widths[widths.len() - 1]);
        let mut each = |widths: &[usize]| widths.iter().map(|&width| backend.zeros(rows, width)).collect::<Result<Vec<_>>>();
        let (noisy, clean, grads) =
            (each(inner)?, each(&inner[1..])?, [each(&inner[1..])?, each(&inner[1..])?, each(&inner[1..])?]);
        Ok(Self {
            x: backend.zeros(rows, widths[0])?,
            labels: backend.zeros(rows, 1)?,
            noisy,
            clean,
            grads,
            logits: backend.zeros(rows, classes)?,
            grad_logits: backend.zeros(rows, classes)?,
            losses: backend.zeros(rows, 2)?,
            totals: backend.zeros(1, 2)?,
        })
    }
}

impl Computation for Net<'_> {
    fn on<B: Backend>(&self, mut backend: B) -> Result<(B, Found)> {
        let data = &self.scene.data;
        let (rows, width, updates) = self.scene.pick((2000, 256, 1500), (60_000, 1024, 36_000));
        let updates = self.scene.updates(updates);
        let samples = drawn(&data.train, self.scene.rows(rows), self.seed);
        let (train, test) = (upload(&mut backend, &samples)?, upload(&mut backend, &data.test)?);
        let widths = [samples.cols, width, width, data.classes];
        let pairs = (0..).zip(widths.windows(2));
        let mut layers: Vec<Layer<B>> =
            pairs.map(|(layer, pair)| Layer::new(&mut backend, self.seed, layer, pair[0], pair[1])).collect::<Result<_>>()?;
        let rows = BATCH.min(samples.rows);
        let mut batch = Batch::new(&mut backend, rows, &widths)?;
        let mut order = backend.zeros::<u32>(samples.rows, 1)?;
        let rule = SgdRule { momentum: 0.9, ..SgdRule::plain(0.1) };
        let schedules = Schedules { lr: Schedule::Exponential { to: 0.01, steps: updates }, ..Schedules::default() };
        let (steps, mut found) = ((samples.rows / rows).max(1) as u32, Found::default());
        for step in 0..updates {
            if step % steps == 0 {
                backend.write(&mut order, &init::shuffle(self.seed, step / steps, samples.rows as u32))?;
            }
            let first = (step % steps) as usize * rows;
            self.forward(&mut backend, &layers, &mut batch, (&train, &order, first), Some(step))?;
            self.backward(&mut backend, &mut layers, &mut batch, step, schedules.rule(&rule, step))?;
            backend.submit()?;
            if (step + 1) * POINTS / updates > step * POINTS / updates {
                found.push("updates", f64::from(step + 1));
                let error = self.error(&mut backend, &layers, &mut batch, &test)?;
                found.push("test_error", error);
                found.value("test_error", error);
            }
        }
        let error = self.error(&mut backend, &layers, &mut batch, &train)?;
        found.value("train_error", error);
        Ok((backend, found))
    }
}

impl Net<'_> {
    /// `y = x·noise` at a site in a step; it is linear, so that it is its own backward pass. Without a step, `y = x`.
    fn noise<B: Backend>(
        &self,
        backend: &mut B,
        x: &B::Tensor<f32>,
        y: &mut B::Tensor<f32>,
        site: usize,
        step: Option<u32>,
    ) -> Result<()> {
        let Some(step) = step.filter(|_| self.noise != Noise::None) else { return backend.copy(x, y) };
        let mask = Mask::new(Rate::keep(KEEP[site])?, Key { seed: self.seed, layer: site as u32, step });
        match self.noise {
            Noise::Gaussian => backend.gaussian_dropout(GaussianDropoutCall { x, y, dropout: GaussianDropout::train(mask)? }),
            _ => backend.dropout(DropoutCall { x, y, dropout: Dropout::train(Mode::Inverted, mask) }),
        }
    }

    /// Losses, right answers and the logits' gradient of rows from `first` on.
    fn forward<B: Backend>(
        &self,
        backend: &mut B,
        layers: &[Layer<B>],
        batch: &mut Batch<B>,
        (data, order, first): (&Resident<B>, &B::Tensor<u32>, usize),
        step: Option<u32>,
    ) -> Result<()> {
        let Batch { x, labels, noisy, clean, logits, grad_logits, losses, totals, .. } = batch;
        backend.gather(Gather {
            data: data.features(),
            all_labels: data.labels(),
            order,
            first,
            unit: self.scene.data.train.unit,
            x,
            labels,
            dropout: Dropout::NONE,
        })?;
        self.noise(backend, x, &mut noisy[0], 0, step)?;
        for (index, clean) in clean.iter_mut().enumerate() {
            layers[index].forward(backend, &noisy[index], clean, true, Dropout::NONE)?;
            self.noise(backend, clean, &mut noisy[index + 1], index + 1, step)?;
        }
        let last = layers.len() - 1;
        layers[last].forward(backend, &noisy[last], logits, false, Dropout::NONE)?;
        let rows = logits.rows();
        backend.softmax_cross_entropy(SoftmaxCrossEntropy { logits, labels, grad_logits, losses, batch: rows })?;
        backend.batch_loss(BatchLoss { losses, totals, slot: 0 })
    }

    fn backward<B: Backend>(
        &self,
        backend: &mut B,
        layers: &mut [Layer<B>],
        batch: &mut Batch<B>,
        step: u32,
        rule: SgdRule,
    ) -> Result<()> {
        let Batch { noisy, clean, grads: [of_noisy, of_clean, of_sums], grad_logits, .. } = batch;
        for index in (0..layers.len()).rev() {
            let grad_z = of_sums.get(index).unwrap_or(grad_logits);
            if index > 0 {
                let (weight, grad_input) = (&layers[index].weight, &mut of_noisy[index - 1]);
                let (grad_output, output, dropout, through) = (grad_z, None, Dropout::NONE, None);
                backend.grad_input(GradInput { grad_output, output, weight, grad_input, dropout, through })?;
                self.noise(backend, &of_noisy[index - 1], &mut of_clean[index - 1], index, Some(step))?;
            }
            layers[index].update(backend, &noisy[index], grad_z, rule)?;
            if index > 0 {
                // ReLU's output tells where it lets through.
                let (grad_output, z, grad_z) = (&of_clean[index - 1], &clean[index - 1], &mut of_sums[index - 1]);
                let (activation, dropout) = (Activation::Relu, Dropout::NONE);
                backend.activation_grad(ActivationGrad { grad_output, z, grad_z, activation, dropout })?;
            }
        }
        Ok(())
    }

    /// Of whole mini-batches, in percent.
    fn error<B: Backend>(&self, backend: &mut B, layers: &[Layer<B>], batch: &mut Batch<B>, data: &Resident<B>) -> Result<f64> {
        let rows = batch.x.rows();
        let order: Vec<u32> = (0..data.rows() as u32).collect();
        let order = backend.tensor(order.len(), 1, &order)?;
        let (mut right, mut seen) = (0.0, 0);
        for first in (0..=data.rows().saturating_sub(rows)).step_by(rows) {
            self.forward(backend, layers, batch, (data, &order, first), None)?;
            right += f64::from(backend.read(&batch.totals)?[1]);
            seen += rows;
        }
        Ok(100.0 * (1.0 - right / f64::from(seen.max(1) as u32)))
    }
}
