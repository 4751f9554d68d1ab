//! Burn: `peer-burn ndarray|flex|wgpu`, with `nn::Dropout`, `nn::Linear`, `CrossEntropyLoss` and
//! `Sgd`; fusion and autotune are enabled.

#[path = "../../protocol.rs"]
mod protocol;

use burn::module::{Initializer::KaimingUniform, Module};
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::relu};
use protocol::{
    DROP, DROP_INPUT, DROP_RATE, Failure, LAYER, LEARNING_RATE, ROWS, WIDTHS, Work, batch,
    share_of_zeros, uniform,
};

fn main() -> Result<(), Failure> {
    let device = match std::env::args().nth(1).as_deref() {
        #[allow(deprecated)]
        Some("ndarray") => Device::ndarray(),
        Some("flex") => Device::flex(),
        Some("wgpu") => Device::wgpu(Default::default()),
        _ => return Err("one of ndarray, flex, wgpu".into()),
    };
    // Without autodiff, `nn::Dropout` is the identity.
    let device = device.autodiff();
    protocol::serve("0.22.1", |work| set_up(work, &device).map(Ok))
}

fn set_up(work: &str, device: &Device) -> Option<Box<dyn Work>> {
    let tensor = |rows, cols| {
        Tensor::<2>::from_data(TensorData::new(uniform(rows * cols, 1.0), [rows, cols]), device)
    };
    let dropout = DropoutConfig::new(DROP_RATE).init();
    let ([rows, cols], [batch, inputs, outputs]) = (DROP, LAYER);
    Some(match work {
        "drop" => {
            let x = tensor(rows, cols);
            result(device, move || vec![dropout.forward(x.clone())])
        }
        "drop+grad" => {
            let x = tensor(rows, cols).require_grad();
            result(device, move || {
                let y = dropout.forward(x.clone());
                let dx = x.grad_remove(&mut y.backward()).expect("x requires a gradient");
                vec![y, dx]
            })
        }
        "layer" => {
            let (x, w, b) = (tensor(batch, inputs), tensor(inputs, outputs), tensor(1, outputs));
            result(device, move || {
                vec![dropout.forward(relu(x.clone().matmul(w.clone()) + b.clone()))]
            })
        }
        "matmul" => {
            let (x, w) = (tensor(batch, inputs), tensor(inputs, outputs));
            result(device, move || vec![x.clone().matmul(w.clone())])
        }
        "step" => {
            let mut step = Step::new(device);
            result(device, move || vec![step.call()])
        }
        _ => return None,
    })
}

#[derive(Module, Debug)]
struct Mlp {
    input_dropout: Dropout,
    dropout: Dropout,
    layers: Vec<Linear>,
}

impl Mlp {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let mut x = self.input_dropout.forward(x);
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x);
            if index + 1 < self.layers.len() {
                x = self.dropout.forward(relu(x));
            }
        }
        x
    }
}

struct Step {
    /// The network; `None` while the optimizer owns it.
    net: Option<Mlp>,
    loss: CrossEntropyLoss,
    optimizer: ModuleOptimizer,
    x: Tensor<2>,
    labels: Tensor<1, Int>,
}

impl Step {
    fn new(device: &Device) -> Self {
        let he = KaimingUniform { gain: 2f64.sqrt(), fan_out_only: false };
        let layer = |pair: &[usize]| {
            LinearConfig::new(pair[0], pair[1]).with_initializer(he.clone()).init(device)
        };
        let net = Mlp {
            input_dropout: DropoutConfig::new(DROP_INPUT).init(),
            dropout: DropoutConfig::new(DROP_RATE).init(),
            layers: WIDTHS.windows(2).map(layer).collect(),
        };
        let (pixels, labels) = batch(ROWS);
        let labels: Vec<i32> = labels.into_iter().map(|label| label as i32).collect();
        Self {
            net: Some(net),
            loss: CrossEntropyLossConfig::new().init(device),
            optimizer: SgdConfig::new().init(),
            x: Tensor::from_data(TensorData::new(pixels, [ROWS, WIDTHS[0]]), device),
            labels: Tensor::from_data(TensorData::new(labels, [ROWS]), device),
        }
    }

    fn call(&mut self) -> Tensor<1> {
        let net = self.net.take().expect("it is given back below");
        let loss = self.loss.forward(net.forward(self.x.clone()), self.labels.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        self.net = Some(self.optimizer.step(f64::from(LEARNING_RATE), net, gradients));
        loss
    }
}

/// Calls whose results are held until they are complete: fusion may skip results that nobody holds.
struct Call<const D: usize, F> {
    device: Device,
    call: F,
    started: Vec<Tensor<D>>,
    last: Option<Tensor<D>>,
}

fn result<const D: usize>(
    device: &Device,
    call: impl FnMut() -> Vec<Tensor<D>> + 'static,
) -> Box<dyn Work> {
    Box::new(Call { device: device.clone(), call, started: Vec::new(), last: None })
}

impl<const D: usize, F: FnMut() -> Vec<Tensor<D>>> Work for Call<D, F> {
    fn call(&mut self) -> Result<(), Failure> {
        self.started.extend((self.call)());
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Failure> {
        self.device.sync().map_err(|error| format!("{error:?}"))?;
        self.last = self.started.pop();
        self.started.clear();
        Ok(())
    }

    fn check(&mut self) -> Result<f64, Failure> {
        let values = self
            .last
            .clone()
            .ok_or("no result")?
            .into_data()
            .try_to_vec::<f32>()
            .map_err(|error| format!("{error:?}"))?;
        Ok(if let [loss] = values[..] { f64::from(loss) } else { share_of_zeros(&values) })
    }
}
