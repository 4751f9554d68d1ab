//! The three-layer network of the CS231n course notes ("Neural Networks Part 2", Regularization)
//! with vanilla and with inverted dropout, kernel by kernel. `wgpu_dropout::mlp::Mlp` does the same
//! internally. The data are the spirals of the same notes.
//!
//! ```sh
//! cargo run --release --example three_layer
//! ```

use rand::Rng;
use wgpu_dropout::call::{GradInput, GradWeight, LinearForward, Sgd, SgdRule, SoftmaxCrossEntropy};
use wgpu_dropout::init::he_uniform;
use wgpu_dropout::philox::PhiloxRng;
use wgpu_dropout::{Backend, Device, Dropout, Key, Mask, Mode, Rate, Result};

const SEED: u64 = 1;
/// Numbers of features, of units in the two hidden layers, and of classes.
const WIDTHS: [usize; 4] = [2, 100, 100, 3];
/// Number of points of all classes; they form one mini-batch.
const POINTS: usize = 300;
const STEPS: u32 = 300;
const RULE: SgdRule = SgdRule { momentum: 0.9, ..SgdRule::plain(0.1) };

/// The network on a device.
struct ThreeLayer<B: Backend> {
    gpu: B,
    mode: Mode,
    rate: Rate,
    layers: [Layer<B>; 3],
    losses: B::Tensor<f32>,
}

impl<B: Backend> ThreeLayer<B> {
    /// Makes one update. Vanilla and inverted dropout differ here only in the scale inside
    /// [`Dropout::train`]: 1, or 1 / keep.
    fn train_step(&mut self, x: &B::Tensor<f32>, labels: &B::Tensor<u32>, step: u32) -> Result<()> {
        let Self { gpu, mode, rate, layers: [first, second, third], losses } = self;
        let site = |layer| Dropout::train(*mode, Mask::new(*rate, Key { seed: SEED, layer, step }));
        first.forward(gpu, x, site(1))?;
        second.forward(gpu, &first.y, site(2))?;
        third.forward(gpu, &second.y, Dropout::NONE)?;
        let batch = wgpu_dropout::Matrix::rows(labels);
        gpu.run(SoftmaxCrossEntropy {
            logits: &third.y,
            labels,
            grad_logits: &mut third.dy,
            losses,
            batch,
        })?;
        third.backward(gpu, &second.y, Some(&mut second.dy), Dropout::NONE)?;
        second.backward(gpu, &first.y, Some(&mut first.dy), site(2))?;
        first.backward(gpu, x, None, site(1))?;
        [first, second, third].into_iter().try_for_each(|layer| layer.update(gpu))?;
        gpu.submit()
    }

    /// Returns the scores of `x`. Needs no key, since nothing is random: vanilla dropout multiplies
    /// by the keep rate, inverted dropout does nothing.
    fn predict(&mut self, x: &B::Tensor<f32>) -> Result<Vec<f32>> {
        let Self { gpu, mode, rate, layers: [first, second, third], .. } = self;
        let site = Dropout::predict(*mode, *rate);
        first.forward(gpu, x, site)?;
        second.forward(gpu, &first.y, site)?;
        third.forward(gpu, &second.y, Dropout::NONE)?;
        gpu.read(&third.y)
    }

    fn new(mut gpu: B, mode: Mode, rate: Rate) -> Result<Self> {
        let layers = [Layer::new(&mut gpu, 0)?, Layer::new(&mut gpu, 1)?, Layer::new(&mut gpu, 2)?];
        let losses = gpu.zeros(POINTS, 2)?;
        Ok(Self { gpu, mode, rate, layers, losses })
    }

    /// Returns the mean loss of the latest training step.
    fn loss(&mut self) -> Result<f32> {
        Ok(self
            .gpu
            .read(&self.losses)?
            .chunks(2)
            .map(|loss_and_right| loss_and_right[0])
            .sum::<f32>()
            / POINTS as f32)
    }

    /// Shows why prediction needs no masks: compares the first layer's output, averaged over masks,
    /// with its output in prediction. Returns the difference in standard errors of that mean, for
    /// the unit with the largest one.
    fn mean_over_masks(&mut self, point: &[f32]) -> Result<f64> {
        // Every row of a batch draws its own mask, so a batch of copies of one point samples many
        // masks in one call.
        let masks = 4096;
        let Self { gpu, mode, rate, layers: [Layer { w, b, .. }, ..], .. } = self;
        let mut output = |rows: usize, dropout| {
            let x = gpu.tensor(rows, point.len(), &point.repeat(rows))?;
            let mut y = gpu.zeros(rows, WIDTHS[1])?;
            gpu.run(LinearForward {
                x: &x,
                weight: &*w,
                bias: Some(&*b),
                y: &mut y,
                relu: true,
                dropout,
            })?;
            gpu.read(&y)
        };
        let predicted = output(1, Dropout::predict(*mode, *rate))?;
        let sampled = output(
            masks,
            Dropout::train(*mode, Mask::new(*rate, Key { seed: SEED, layer: 1, step: 0 })),
        )?;
        let farthest = predicted
            .iter()
            .enumerate()
            .filter(|&(_, &predicted)| predicted != 0.0)
            .map(|(unit, &predicted)| {
                let values =
                    || sampled.iter().skip(unit).step_by(WIDTHS[1]).map(|&value| f64::from(value));
                let mean = values().sum::<f64>() / masks as f64;
                let variance =
                    values().map(|value| (value - mean).powi(2)).sum::<f64>() / masks as f64;
                (mean - f64::from(predicted)).abs() / (variance / masks as f64).sqrt()
            });
        Ok(farthest.fold(0.0, f64::max))
    }
}

/// `y = dropout(relu(x·w + b))`, or `y = x·w + b` in the last layer, and the tensors of its
/// update.
struct Layer<B: Backend> {
    relu: bool,
    w: B::Tensor<f32>,
    b: B::Tensor<f32>,
    dw: B::Tensor<f32>,
    db: B::Tensor<f32>,
    vw: B::Tensor<f32>,
    vb: B::Tensor<f32>,
    y: B::Tensor<f32>,
    dy: B::Tensor<f32>,
}

impl<B: Backend> Layer<B> {
    fn new(gpu: &mut B, index: usize) -> Result<Self> {
        let (inputs, outputs) = (WIDTHS[index], WIDTHS[index + 1]);
        Ok(Self {
            relu: index < 2,
            w: gpu.tensor(inputs, outputs, &he_uniform(SEED, index as u32, inputs, outputs))?,
            b: gpu.zeros(1, outputs)?,
            dw: gpu.zeros(inputs, outputs)?,
            db: gpu.zeros(1, outputs)?,
            vw: gpu.zeros(inputs, outputs)?,
            vb: gpu.zeros(1, outputs)?,
            y: gpu.zeros(POINTS, outputs)?,
            dy: gpu.zeros(POINTS, outputs)?,
        })
    }

    fn forward(&mut self, gpu: &mut B, x: &B::Tensor<f32>, dropout: Dropout) -> Result<()> {
        gpu.run(LinearForward {
            x,
            weight: &self.w,
            bias: Some(&self.b),
            y: &mut self.y,
            relu: self.relu,
            dropout,
        })
    }

    /// Computes `dw`, `db` and `dx` from `dy`. After ReLU, the output itself shows which units were
    /// kept, so the mask is not drawn again.
    fn backward(
        &mut self,
        gpu: &mut B,
        x: &B::Tensor<f32>,
        dx: Option<&mut B::Tensor<f32>>,
        dropout: Dropout,
    ) -> Result<()> {
        let (grad_output, output) = (&self.dy, self.relu.then_some(&self.y));
        let (grad_weight, grad_bias) = (&mut self.dw, &mut self.db);
        gpu.run(GradWeight { x, grad_output, output, grad_weight, grad_bias, dropout })?;
        let Some(grad_input) = dx else { return Ok(()) };
        gpu.run(GradInput {
            grad_output,
            output,
            weight: &self.w,
            grad_input,
            dropout,
            through: None,
        })
    }

    fn update(&mut self, gpu: &mut B) -> Result<()> {
        gpu.run(Sgd {
            grad: &self.dw,
            weight: &mut self.w,
            velocity: Some(&mut self.vw),
            rule: RULE,
        })?;
        gpu.run(Sgd {
            grad: &self.db,
            weight: &mut self.b,
            velocity: Some(&mut self.vb),
            rule: RULE,
        })
    }
}

/// Returns points on the three arms of a spiral, and their classes: one per arm.
fn spirals() -> (Vec<f32>, Vec<u32>) {
    let mut rng = PhiloxRng::at(SEED, 1 << 100);
    let arms = WIDTHS[3];
    let points = (0..POINTS).flat_map(|point| {
        let (arm, radius) = (point % arms, (point / arms) as f32 / (POINTS / arms) as f32);
        let noise = rng.next_u32() as f32 / u32::MAX as f32 - 0.5;
        let angle = 4.0 * (arm as f32 + radius) + 0.6 * noise;
        [radius * angle.sin(), radius * angle.cos()]
    });
    (points.collect(), (0..POINTS).map(|point| (point % arms) as u32).collect())
}

fn run<B: Backend>(mut gpu: B) -> Result<()> {
    let (points, labels) = spirals();
    println!("on {}", gpu.name());
    for mode in [Mode::Vanilla, Mode::Inverted] {
        let mut net = ThreeLayer::new(gpu, mode, Rate::drop(0.5)?)?;
        let x = net.gpu.tensor(POINTS, WIDTHS[0], &points)?;
        let y = net.gpu.tensor(POINTS, 1, &labels)?;
        for step in 0..STEPS {
            net.train_step(&x, &y, step)?;
        }
        let loss = net.loss()?;
        let scores = net.predict(&x)?;
        let right = scores.chunks(WIDTHS[3]).zip(&labels).filter(|(scores, label)| {
            let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
            best == Some(**label as usize)
        });
        let right = right.count();
        let apart = net.mean_over_masks(&points[POINTS..][..WIDTHS[0]])?;
        println!(
            "{mode}: after {STEPS} steps the loss with dropout is {loss:.3}, and predict gets {right} of {POINTS} points right;"
        );
        println!(
            "  a layer's mean over 4096 masks differs from its predict output by {apart:.1} standard errors at most"
        );
        assert!(apart < 5.0, "mean over masks and predict output differ");
        gpu = net.gpu;
    }
    Ok(())
}

fn main() -> Result<()> {
    match Device::best()? {
        Device::Gpu(gpu) => run(*gpu),
        Device::Cpu(cpu) => run(cpu),
    }
}
