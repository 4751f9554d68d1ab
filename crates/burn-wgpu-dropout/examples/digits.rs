//! A network with dropout in Burn, trained on the bundled digits: an input dropout, two fused
//! layers, Burn's own `Linear` and Adam.
//!
//! ```sh
//! cargo run --release --example digits
//! ```
//!
//! Halfway through, the network is saved. A second network loads that state and continues with the
//! same masks as the first, and both end with the same loss, bit for bit. Then the network predicts
//! the test digits, first without dropout and then with the mean of Monte-Carlo samples.

use burn_wgpu_dropout::burn::module::Module;
use burn_wgpu_dropout::burn::nn::loss::CrossEntropyLossConfig;
use burn_wgpu_dropout::burn::nn::{Linear, LinearConfig};
use burn_wgpu_dropout::burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn_wgpu_dropout::burn::tensor::{Device, Int, Tensor, TensorData, activation::softmax};
use burn_wgpu_dropout::wgpu_dropout::data::{DataSet, Samples};
use burn_wgpu_dropout::wgpu_dropout::init::shuffle;
use burn_wgpu_dropout::{
    Dropout, DropoutConfig, LinearReluDropout, LinearReluDropoutConfig, Rate, burn, open,
};
use std::error::Error;

const SEED: u64 = 42;
const BATCH: usize = 64;
const EPOCHS: u32 = 12;
const LEARNING_RATE: f64 = 2e-3;
const SAMPLES: u32 = 50;

#[derive(Module, Debug)]
struct Net {
    input: Dropout,
    first: LinearReluDropout,
    second: LinearReluDropout,
    output: Linear,
}

impl Net {
    fn new(inputs: usize, classes: usize, device: &Device) -> Result<Self, Box<dyn Error>> {
        let site = |drop, layer| {
            Ok::<_, Box<dyn Error>>(
                DropoutConfig::new(Rate::drop(drop)?).with_seed(SEED).with_layer(layer),
            )
        };
        Ok(Self {
            input: site(0.1, 0)?.init(device),
            first: LinearReluDropoutConfig::new(inputs, 256, site(0.5, 1)?).init(device),
            second: LinearReluDropoutConfig::new(256, 256, site(0.5, 2)?).init(device),
            output: LinearConfig::new(256, classes).init(device),
        })
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.output.forward(self.second.forward(self.first.forward(self.input.forward(x))))
    }

    fn sampling(self) -> Self {
        let Self { input, mut first, mut second, output } = self;
        first.dropout = first.dropout.sampling(0);
        second.dropout = second.dropout.sampling(0);
        Self { input: input.sampling(0), first, second, output }
    }
}

/// Uploads features and labels to a device.
fn upload(samples: &Samples, device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
    let labels: Vec<i32> = samples.labels.iter().map(|&label| label as i32).collect();
    let x = TensorData::new(samples.features_f32(), [samples.rows, samples.cols]);
    (
        Tensor::from_data(x, device),
        Tensor::from_data(TensorData::new(labels, [samples.rows]), device),
    )
}

/// Trains one epoch. Returns the network and the mean loss of its last mini-batch.
fn train(
    mut net: Net,
    optimizer: &mut ModuleOptimizer,
    data: &(Tensor<2>, Tensor<1, Int>),
    epoch: u32,
) -> Result<(Net, f32), Box<dyn Error>> {
    let device = data.0.device();
    let loss = CrossEntropyLossConfig::new().init(&device);
    let order: Vec<i32> =
        shuffle(SEED, epoch, data.0.dims()[0] as u32).into_iter().map(|row| row as i32).collect();
    let mut last = None;
    for rows in order.chunks_exact(BATCH) {
        let rows: Tensor<1, Int> =
            Tensor::from_data(TensorData::new(rows.to_vec(), [BATCH]), &device);
        let (x, labels) = (data.0.clone().select(0, rows.clone()), data.1.clone().select(0, rows));
        let loss = loss.forward(net.forward(x), labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        net = optimizer.step(LEARNING_RATE, net, gradients);
        last = Some(loss);
    }
    let loss = last.ok_or("fewer rows than a mini-batch")?.into_data().try_into_vec::<f32>()?[0];
    Ok((net, loss))
}

/// Returns the fraction of rows whose most likely class differs from the label.
fn error(scores: Tensor<2>, labels: &[u32]) -> Result<f64, Box<dyn Error>> {
    let [rows, classes] = scores.dims();
    let scores = scores.into_data().try_into_vec::<f32>()?;
    let likeliest = |row: &[f32]| {
        row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(class, _)| class)
    };
    let wrong = scores
        .chunks(classes)
        .zip(labels)
        .filter(|(row, label)| likeliest(row) != Some(**label as usize))
        .count();
    Ok(wrong as f64 / rows as f64)
}

fn main() -> Result<(), Box<dyn Error>> {
    let plain = open(Device::wgpu_options())?;
    let device = plain.clone().autodiff();
    device.seed(SEED);
    let digits = DataSet::digits()?;
    let data = upload(&digits.train, &device);

    let mut net = Net::new(digits.train.cols, digits.classes.len(), &device)?;
    let mut optimizer = AdamConfig::new().init();
    let mut halfway = None;
    println!("epoch    loss");
    let mut loss = f32::NAN;
    for epoch in 0..EPOCHS {
        if epoch == EPOCHS / 2 {
            // Serialize at once: in Burn 0.22.1, later steps of an optimizer change the record made
            // from it.
            halfway = Some((net.clone().into_record().into_bytes()?, optimizer.into_bytes()?));
        }
        (net, loss) = train(net, &mut optimizer, &data, epoch)?;
        println!("{:>5}  {loss:.4}", epoch + 1);
    }

    let (saved, state) = halfway.ok_or("no epoch to stop at")?;
    let mut resumed = Net::new(digits.train.cols, digits.classes.len(), &device)?
        .load_record(burn::store::ModuleRecord::from_bytes(saved)?);
    let mut optimizer = AdamConfig::new().init().from_bytes(state)?;
    let mut resumed_loss = f32::NAN;
    for epoch in EPOCHS / 2..EPOCHS {
        (resumed, resumed_loss) = train(resumed, &mut optimizer, &data, epoch)?;
    }
    println!(
        "resumed  {resumed_loss:.4}, step {} of {}",
        resumed.input.steps.get(),
        net.input.steps.get()
    );
    if loss.to_bits() != resumed_loss.to_bits() {
        return Err("the resumed network differs".into());
    }
    println!("the same to the bit");

    let (x, _) = upload(&digits.test, &plain);
    let net = net.valid();
    println!(
        "test error            {:.2} %",
        100.0 * error(net.forward(x.clone()), &digits.test.labels)?
    );
    let sampling = net.sampling();
    let sum = (1..SAMPLES).fold(softmax(sampling.forward(x.clone()), 1), |sum, _| {
        sum + softmax(sampling.forward(x.clone()), 1)
    });
    println!("mean of {SAMPLES} samples    {:.2} %", 100.0 * error(sum, &digits.test.labels)?);
    Ok(())
}
