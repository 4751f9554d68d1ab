//! This crate as timed by `benches/peers/run`: `peer cpu|gpu`, or the name of another device.
//! `wgpu-dropout bench` measures more.

mod protocol;

use protocol::{
    DROP, DROP_INPUT, DROP_RATE, Failure, LAYER, LEARNING_RATE, ROWS, WIDTHS, Work, batch,
    share_of_zeros, uniform,
};
use wgpu_dropout::call::{CopyCall, DropoutCall, LinearForward, SgdRule};
use wgpu_dropout::mlp::{Architecture, Mlp, Resident, Source, Training};
use wgpu_dropout::{Backend, Device, Dropout, Key, Mask, Mode, Rate, Result};

/// Mini-batches per epoch: losses are read back once per epoch.
const BATCHES: usize = 8;

fn main() -> std::result::Result<(), Failure> {
    let choice = std::env::args().nth(1).unwrap_or_default().parse()?;
    let version = format!("{}, {}", env!("CARGO_PKG_VERSION"), Device::open(&choice)?.name());
    protocol::serve(&version, |work| {
        let work = Device::open(&choice).and_then(|device| match device {
            Device::Cpu(cpu) => set_up(work, cpu),
            Device::Gpu(gpu) => set_up(work, *gpu),
        });
        work.map_err(Failure::from).transpose()
    })
}

fn set_up<B: Backend + 'static>(work: &str, mut backend: B) -> Result<Option<Box<dyn Work>>> {
    let mut tensor = |rows, cols| backend.tensor(rows, cols, &uniform(rows * cols, 1.0));
    let ([rows, cols], [batch, inputs, outputs]) = (DROP, LAYER);
    Ok(Some(match work {
        "copy" => {
            let x = tensor(rows, cols)?;
            kernel(backend, DROP, move |backend, y, _| backend.run(CopyCall { x: &x, y }))?
        }
        "drop" => {
            let x = tensor(rows, cols)?;
            kernel(backend, DROP, move |backend, y, dropout| {
                backend.run(DropoutCall { x: &x, y, dropout })
            })?
        }
        "drop+grad" => {
            let (x, dy, mut y) = (tensor(rows, cols)?, tensor(rows, cols)?, tensor(rows, cols)?);
            kernel(backend, DROP, move |backend, dx, dropout| {
                backend.run(DropoutCall { x: &x, y: &mut y, dropout })?;
                backend.run(DropoutCall { x: &dy, y: dx, dropout })
            })?
        }
        "layer" => {
            let x = tensor(batch, inputs)?;
            let weight = tensor(inputs, outputs)?;
            let b = tensor(1, outputs)?;
            kernel(backend, [batch, outputs], move |backend, y, dropout| {
                backend.run(LinearForward {
                    x: &x,
                    weight: &weight,
                    bias: Some(&b),
                    y,
                    relu: true,
                    dropout,
                })
            })?
        }
        "matmul" => {
            let (x, weight) = (tensor(batch, inputs)?, tensor(inputs, outputs)?);
            kernel(backend, [batch, outputs], move |backend, y, _| {
                backend.run(LinearForward {
                    x: &x,
                    weight: &weight,
                    bias: None,
                    y,
                    relu: false,
                    dropout: Dropout::NONE,
                })
            })?
        }
        "step" => Box::new(Step::new(backend)?),
        _ => return Ok(None),
    }))
}

/// A call that writes `result`, with a different mask each time.
struct Kernel<B: Backend, F> {
    backend: B,
    result: B::Tensor<f32>,
    calls: u32,
    call: F,
}

fn kernel<B, F>(mut backend: B, [rows, cols]: [usize; 2], call: F) -> Result<Box<dyn Work>>
where
    B: Backend + 'static,
    F: FnMut(&mut B, &mut B::Tensor<f32>, Dropout) -> Result<()> + 'static,
{
    let result = backend.zeros(rows, cols)?;
    Ok(Box::new(Kernel { backend, result, calls: 0, call }))
}

impl<B: Backend, F: FnMut(&mut B, &mut B::Tensor<f32>, Dropout) -> Result<()>> Work
    for Kernel<B, F>
{
    fn call(&mut self) -> std::result::Result<(), Failure> {
        let mask = Mask::new(Rate::drop(DROP_RATE)?, Key { seed: 0, layer: 1, step: self.calls });
        self.calls += 1;
        Ok((self.call)(&mut self.backend, &mut self.result, Dropout::train(Mode::Inverted, mask))?)
    }

    fn wait(&mut self) -> std::result::Result<(), Failure> {
        Ok(self.backend.wait()?)
    }

    fn check(&mut self) -> std::result::Result<f64, Failure> {
        Ok(share_of_zeros(&self.backend.read(&self.result)?))
    }
}

/// Epochs of a network over data on the device.
struct Step<B: Backend> {
    net: Mlp<B>,
    data: Resident<B>,
    loss: f64,
}

impl<B: Backend> Step<B> {
    fn new(backend: B) -> Result<Self> {
        let [inputs, hidden @ .., classes] = WIDTHS;
        let mut net = Mlp::new(
            backend,
            Architecture {
                inputs,
                hidden: hidden.to_vec(),
                classes,
                mode: Mode::Inverted,
                rate: Rate::drop(DROP_RATE)?,
                input_rate: Rate::drop(DROP_INPUT)?,
                seed: 0,
            },
        )?;
        // The same mini-batch every time, as for all peers.
        let (pixels, labels) = batch(ROWS);
        let (pixels, labels) = (pixels.repeat(BATCHES), labels.repeat(BATCHES));
        let data = Resident::new(net.backend_mut(), Source::Floats(&pixels), inputs, 1.0, &labels)?;
        Ok(Self { net, data, loss: f64::NAN })
    }
}

impl<B: Backend> Work for Step<B> {
    fn call(&mut self) -> std::result::Result<(), Failure> {
        let rule = SgdRule::plain(LEARNING_RATE);
        let epoch = self.net.train_epoch(
            &self.data,
            &Training { batch: ROWS, shuffle: false, rule, ..Training::default() },
        )?;
        self.loss = f64::from(epoch.losses[BATCHES - 1]);
        Ok(())
    }

    fn wait(&mut self) -> std::result::Result<(), Failure> {
        Ok(self.net.backend_mut().wait()?)
    }

    fn check(&mut self) -> std::result::Result<f64, Failure> {
        Ok(self.loss)
    }

    fn per_call(&self) -> u32 {
        BATCHES as u32
    }
}
