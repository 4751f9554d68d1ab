//! candle on the CPU: `candle_nn::ops::dropout`, `loss::cross_entropy` and `SGD`.

#[path = "../../protocol.rs"]
mod protocol;

use candle_core::{Device::Cpu, Result, Tensor, Var};
use candle_nn::{Optimizer, SGD, loss, ops};
use protocol::{
    DROP, DROP_INPUT, DROP_RATE, Failure, LAYER, LEARNING_RATE, ROWS, WIDTHS, Work, batch,
    share_of_zeros, uniform,
};

fn main() -> std::result::Result<(), Failure> {
    protocol::serve("0.11.1", |work| set_up(work).map_err(Failure::from).transpose())
}

fn tensor(shape: impl Into<candle_core::Shape>) -> Result<Tensor> {
    let shape = shape.into();
    Tensor::from_vec(uniform(shape.elem_count(), 1.0), shape, &Cpu)
}

fn dropout(x: &Tensor) -> Result<Tensor> {
    ops::dropout(x, DROP_RATE as f32)
}

fn set_up(work: &str) -> Result<Option<Box<dyn Work>>> {
    let [rows, inputs, outputs] = LAYER;
    Ok(Some(match work {
        "drop" => {
            let x = tensor((DROP[0], DROP[1]))?;
            result(move || dropout(&x))
        }
        "drop+grad" => {
            let x = Var::from_tensor(&tensor((DROP[0], DROP[1]))?)?;
            result(move || {
                dropout(&x)?
                    .backward()?
                    .remove(&x)
                    .ok_or_else(|| candle_core::Error::Msg("no gradient".into()))
            })
        }
        "layer" => {
            let (x, w, b) = (tensor((rows, inputs))?, tensor((inputs, outputs))?, tensor(outputs)?);
            result(move || dropout(&x.matmul(&w)?.broadcast_add(&b)?.relu()?))
        }
        "matmul" => {
            let (x, w) = (tensor((rows, inputs))?, tensor((inputs, outputs))?);
            result(move || x.matmul(&w))
        }
        "step" => step()?,
        _ => return Ok(None),
    }))
}

fn step() -> Result<Box<dyn Work>> {
    let mut layers = Vec::new();
    for pair in WIDTHS.windows(2) {
        let weights = uniform(pair[0] * pair[1], (6.0 / pair[0] as f32).sqrt());
        let weights = Tensor::from_vec(weights, (pair[0], pair[1]), &Cpu)?;
        layers.push((
            Var::from_tensor(&weights)?,
            Var::zeros(pair[1], candle_core::DType::F32, &Cpu)?,
        ));
    }
    let (pixels, labels) = batch(ROWS);
    let pixels = Tensor::from_vec(pixels, (ROWS, WIDTHS[0]), &Cpu)?;
    let labels = Tensor::from_vec(labels, ROWS, &Cpu)?;
    let parameters = layers.iter().flat_map(|(w, b)| [w.clone(), b.clone()]).collect();
    let mut optimizer = SGD::new(parameters, f64::from(LEARNING_RATE))?;
    Ok(result(move || {
        let mut x = ops::dropout(&pixels, DROP_INPUT as f32)?;
        for (index, (w, b)) in layers.iter().enumerate() {
            x = x.matmul(w)?.broadcast_add(b)?;
            if index + 1 < layers.len() {
                x = dropout(&x.relu()?)?;
            }
        }
        let loss = loss::cross_entropy(&x, &labels)?;
        optimizer.backward_step(&loss)?;
        Ok(loss)
    }))
}

/// A call and its last result. The call is complete when it returns.
struct Call<F>(F, Option<Tensor>);

fn result<F: FnMut() -> Result<Tensor> + 'static>(call: F) -> Box<dyn Work> {
    Box::new(Call(call, None))
}

impl<F: FnMut() -> Result<Tensor>> Work for Call<F> {
    fn call(&mut self) -> std::result::Result<(), Failure> {
        self.1 = Some((self.0)()?);
        Ok(())
    }

    fn wait(&mut self) -> std::result::Result<(), Failure> {
        Ok(())
    }

    fn check(&mut self) -> std::result::Result<f64, Failure> {
        let values = self.1.as_ref().ok_or("no result")?.flatten_all()?.to_vec1::<f32>()?;
        Ok(if let [loss] = values[..] { f64::from(loss) } else { share_of_zeros(&values) })
    }
}
