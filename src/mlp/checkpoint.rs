//! Saved networks: one safetensors file with weights, momentum and the state of the run.
//!
//! F32 tensors `layers.N.weight` `[in, out]` and `layers.N.bias` `[out]`, N from 0; where there is momentum `optimizer.N.weight` and
//! `optimizer.N.bias`; metadata strings `format`, `mode`, `drop`, `input_drop`, `seed`, `step`, `epoch`. Together with the data that
//! is all that a run needs to go on as if it had not stopped.

use super::network::{Architecture, Mlp};
use crate::backend::Backend;
use crate::{Error, Rate, Result, file};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;
use std::path::Path;

const FORMAT: &str = "wgpu-dropout 1";

impl<B: Backend> Mlp<B> {
    /// Saves weights, momentum, step and epoch; the old file, if any, is replaced only by a whole new one.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be written, [`Error::Device`] where the device was lost.
    pub fn save(&mut self, path: &Path) -> Result<()> {
        let widths = self.architecture.widths();
        let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let shape = vec![widths[index], widths[index + 1]];
            let bias_shape = vec![widths[index + 1]];
            tensors.push((format!("layers.{index}.weight"), shape.clone(), self.backend.read(&layer.weight)?));
            tensors.push((format!("layers.{index}.bias"), bias_shape.clone(), self.backend.read(&layer.bias)?));
            if let Some((weight, bias)) = &layer.velocity {
                tensors.push((format!("optimizer.{index}.weight"), shape, self.backend.read(weight)?));
                tensors.push((format!("optimizer.{index}.bias"), bias_shape, self.backend.read(bias)?));
            }
        }
        let failed =
            |error: safetensors::SafeTensorError| Error::File { path: path.display().to_string(), what: error.to_string() };
        let mut views = Vec::new();
        for (name, shape, values) in &tensors {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values)).map_err(failed)?;
            views.push((name.as_str(), view));
        }
        let mut bytes = safetensors::serialize(views, Some(self.metadata())).map_err(failed)?;
        sort_header(&mut bytes);
        file::write_atomic(path, |out| out.write_all(&bytes))
    }

    fn metadata(&self) -> HashMap<String, String> {
        let a = &self.architecture;
        let pairs = [
            ("format", FORMAT.to_owned()),
            ("mode", a.mode.to_string()),
            ("drop", a.rate.drop_asked().to_string()),
            ("input_drop", a.input_rate.drop_asked().to_string()),
            ("seed", a.seed.to_string()),
            ("step", self.step.to_string()),
            ("epoch", self.epoch.to_string()),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Reads a saved network onto `backend`.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be read, [`Error::Data`] where it is no saved network, is cut short, or its layers do not fit.
    pub fn load(backend: B, path: &Path) -> Result<Self> {
        let bytes = file::read(path)?;
        let name = path.display().to_string();
        let bad = |what: String| Error::Data { path: name.clone(), what };
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| bad(format!("no safetensors file: {error}")))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| bad(format!("no safetensors file: {error}")))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let field = |key: &str| metadata.get(key).ok_or_else(|| bad(format!("no metadata `{key}`: not saved by wgpu-dropout")));
        fn number<T: std::str::FromStr>(text: &str) -> std::result::Result<T, String> {
            text.parse().map_err(|_| format!("metadata `{text}` is no number of its kind"))
        }
        if field("format")? != FORMAT {
            return Err(bad(format!("format `{}`, expected `{FORMAT}`", field("format")?)));
        }
        let read = |key: String, shape: &[usize]| -> Result<Vec<f32>> {
            let view = tensors.tensor(&key).map_err(|error| bad(format!("tensor {key}: {error}")))?;
            if view.dtype() != Dtype::F32 || view.shape() != shape {
                return Err(bad(format!("tensor {key} is {:?} {:?}, expected F32 {shape:?}", view.dtype(), view.shape())));
            }
            Ok(bytemuck::pod_collect_to_vec(view.data()))
        };
        let mut widths: Vec<usize> = Vec::new();
        while let Ok(view) = tensors.tensor(&format!("layers.{}.weight", widths.len().saturating_sub(1))) {
            let &[inputs, outputs] = view.shape() else { return Err(bad(format!("a weight of shape {:?}", view.shape()))) };
            // An empty tensor can claim any width without a byte to show for it.
            if inputs == 0 || outputs == 0 || widths.last().is_some_and(|&width| width != inputs) {
                let what =
                    format!("a weight of shape {:?} after widths {widths:?}: layers must not be empty and must fit", view.shape());
                return Err(bad(what));
            }
            if widths.is_empty() {
                widths.push(inputs);
            }
            widths.push(outputs);
        }
        let mode = field("mode")?.parse().map_err(|error: Error| bad(error.to_string()))?;
        let &[inputs, ref hidden @ .., classes] = widths.as_slice() else {
            return Err(bad("no tensor layers.0.weight".to_owned()));
        };
        let rate =
            |key: &str| Rate::drop(number(field(key)?).map_err(bad)?).map_err(|error| bad(format!("metadata `{key}`: {error}")));
        let architecture = Architecture {
            inputs,
            hidden: hidden.to_vec(),
            classes,
            mode,
            rate: rate("drop")?,
            input_rate: rate("input_drop")?,
            seed: number(field("seed")?).map_err(bad)?,
        };
        let mut net = Self::empty(backend, architecture)?;
        net.step = number(field("step")?).map_err(bad)?;
        net.epoch = number(field("epoch")?).map_err(bad)?;
        for (index, pair) in widths.windows(2).enumerate() {
            let (shape, bias_shape) = ([pair[0], pair[1]], [pair[1]]);
            let weight = read(format!("layers.{index}.weight"), &shape)?;
            net.set_parameters(index, &weight, &read(format!("layers.{index}.bias"), &bias_shape)?)?;
            if tensors.tensor(&format!("optimizer.{index}.weight")).is_ok() {
                let weight = read(format!("optimizer.{index}.weight"), &shape)?;
                let bias = read(format!("optimizer.{index}.bias"), &bias_shape)?;
                let weight = net.backend.tensor(pair[0], pair[1], &weight)?;
                net.layers[index].velocity = Some((weight, net.backend.tensor(1, pair[1], &bias)?));
            }
        }
        Ok(net)
    }
}

/// Puts the header's keys in order: they come out of a hash map, and equal networks should be equal files.
fn sort_header(bytes: &mut [u8]) {
    let Some((length, rest)) = bytes.split_first_chunk_mut::<8>() else { return };
    let Ok(length) = usize::try_from(u64::from_le_bytes(*length)) else { return };
    let Some(header) = rest.get_mut(..length) else { return };
    // A JSON object of serde_json is sorted by key, and the same text in another order is as long.
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(header) else { return };
    let mut sorted = value.to_string().into_bytes();
    if sorted.len() <= header.len() {
        sorted.resize(header.len(), b' ');
        header.copy_from_slice(&sorted);
    }
}
