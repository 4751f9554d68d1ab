//! Saved networks: one safetensors file with the weights, the momentum and the state of the run.
//!
//! The tensors are F32:
//!
//! - `layers.N.weight` `[in, out]` and `layers.N.bias` `[out]`, N from 0;
//! - `optimizer.N.weight` and `optimizer.N.bias`, with momentum;
//! - `optimizer.second.N.weight` and `optimizer.second.N.bias`, AdamW's second moments;
//! - `norms.N.weight`, `norms.N.bias`, `norms.N.running_mean` and `norms.N.running_var` `[out]` for
//!   each hidden layer, with batch normalization; their moments are named as those of the layers.
//!
//! The metadata strings are:
//!
//! - `format`, `mode`, `drop`, `input_drop`, `seed`, `step` and `epoch`;
//! - `batch_norm`, with batch normalization;
//! - the data that the network was [trained on](super::TrainedOn), if described: `unit` (`1`,
//!   `1/16`, `1/255` or `unknown`), `features` (their number), `classes` (a JSON array of names)
//!   and `split` (how the test rows were chosen);
//! - the settings of the latest step, if the network was trained: `optimizer` and, for AdamW,
//!   `beta2` and `epsilon`; `batch`, `shuffle`, `lr`, `momentum`, `weight_decay`, `l1` and
//!   `max_norm`; and each [`Schedule`] that is followed as `lr_schedule`, `momentum_schedule` or
//!   `drop_schedule`.
//!
//! Together with the data, that is all a run needs to continue as if it had not stopped: on the
//! same backend its weights are identical to the byte.

use super::architecture::Architecture;
use super::container::{self, Container, Named};
use super::network::Mlp;
use super::optimizer::Optimizer;
use super::schedule::{Schedule, Schedules};
use super::trained_on::TrainedOn;
use super::training::Training;
use crate::backend::Backend;
use crate::call::SgdRule;
use crate::{Error, Rate, Result, file};
use std::path::Path;

/// The metadata's `format`.
pub(super) const FORMAT: &str = "wgpu-dropout 1";
/// Names of the rows of a normalization's tensors.
const PARAMETERS: [&str; 2] = ["weight", "bias"];
const RUNNING: [&str; 2] = ["running_mean", "running_var"];

impl<B: Backend> Mlp<B> {
    /// Saves the weights, momentum, step, epoch and training settings. A reader finds either the
    /// old contents or the new ones, even after a crash in the middle of the write.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be written; [`Error::Device`] if the device was lost.
    pub fn save(&mut self, path: &Path) -> Result<()> {
        let bytes = self.to_bytes()?;
        file::write_atomic(path, |out| out.write_all(&bytes))
    }

    /// Returns the bytes of the file that [`save`](Self::save) writes.
    ///
    /// # Errors
    /// [`Error::Device`] if the device was lost.
    pub fn to_bytes(&mut self) -> Result<Vec<u8>> {
        let widths = self.architecture.widths();
        let mut tensors = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let mut add =
                |of: &str, weight: &B::Tensor<f32>, bias: &B::Tensor<f32>| -> Result<()> {
                    let shape = [widths[index], widths[index + 1]];
                    let bias_shape = [widths[index + 1]];
                    tensors.push(Named::new(
                        format!("{of}.{index}.weight"),
                        &shape,
                        self.backend.read(weight)?,
                    ));
                    tensors.push(Named::new(
                        format!("{of}.{index}.bias"),
                        &bias_shape,
                        self.backend.read(bias)?,
                    ));
                    Ok(())
                };
            add("layers", &layer.weight, &layer.bias)?;
            if let Some((weight, bias)) = &layer.velocity {
                add("optimizer", weight, bias)?;
            }
            if let Some((weight, bias)) = &layer.second {
                add("optimizer.second", weight, bias)?;
            }
            let Some(norm) = &layer.norm else { continue };
            let of = |prefix: &str, names| (format!("{prefix}norms.{index}"), names);
            let mut rows =
                vec![(of("", PARAMETERS), &norm.affine), (of("", RUNNING), &norm.running)];
            rows.extend(norm.first.as_ref().map(|first| (of("optimizer.", PARAMETERS), first)));
            rows.extend(
                norm.second.as_ref().map(|second| (of("optimizer.second.", PARAMETERS), second)),
            );
            for ((of, names), tensor) in rows {
                let values = self.backend.read(tensor)?;
                for (name, values) in names.iter().zip(values.chunks(widths[index + 1])) {
                    tensors.push(Named::new(
                        format!("{of}.{name}"),
                        &[values.len()],
                        values.to_vec(),
                    ));
                }
            }
        }
        container::bytes(&tensors, &self.metadata())
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        let a = &self.architecture;
        let norm = self.batch_norm().map(|place| ("batch_norm", place.to_string()));
        let mut pairs = vec![
            ("format", FORMAT.to_owned()),
            ("mode", a.mode.to_string()),
            ("drop", drop_of(a.rate).to_string()),
            ("input_drop", drop_of(a.input_rate).to_string()),
            ("seed", a.seed.to_string()),
            ("step", self.step.to_string()),
            ("epoch", self.epoch.to_string()),
        ];
        pairs.extend(norm);
        pairs.extend(self.trained_on.iter().flat_map(|data| data.metadata(a.inputs)));
        if let Some(Training { batch, shuffle, rule, schedules, optimizer }) = self.training {
            pairs.extend([
                ("batch", batch.to_string()),
                ("shuffle", shuffle.to_string()),
                ("lr", rule.lr.to_string()),
                ("momentum", rule.momentum.to_string()),
                ("weight_decay", rule.weight_decay.to_string()),
            ]);
            // Unset settings are not written, so that equal runs of all versions give identical
            // files.
            if let Optimizer::AdamW { beta2, epsilon } = optimizer {
                pairs.extend([
                    ("optimizer", optimizer.to_string()),
                    ("beta2", beta2.to_string()),
                    ("epsilon", epsilon.to_string()),
                ]);
            }
            pairs.extend((rule.l1 != 0.0).then(|| ("l1", rule.l1.to_string())));
            let Schedules { lr, momentum, drop } = schedules;
            let followed =
                [("lr_schedule", lr), ("momentum_schedule", momentum), ("drop_schedule", drop)];
            let followed =
                followed.into_iter().filter(|&(_, schedule)| schedule != Schedule::Constant);
            pairs.extend(followed.map(|(name, schedule)| (name, schedule.to_string())));
            pairs.extend(rule.max_norm.map(|norm| ("max_norm", norm.to_string())));
        }
        pairs
    }

    /// Reads a saved network onto `backend`.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read; [`Error::Data`] if it is not a saved network or
    /// is truncated, or if its layers do not fit each other.
    pub fn load(backend: B, path: &Path) -> Result<Self> {
        Self::from_bytes(backend, path, &file::read(path)?)
    }

    /// Reads a saved network from a file's bytes; `path` is for errors.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_bytes(backend: B, path: &Path, bytes: &[u8]) -> Result<Self> {
        let saved = Container::parse(path, bytes)?;
        let format: String = saved.needed("format")?;
        if format != FORMAT {
            return Err(saved.bad(format!("format `{format}`, expected `{FORMAT}`")));
        }
        let widths = widths(&saved)?;
        let &[inputs, ref hidden @ .., classes] = widths.as_slice() else {
            return Err(saved.bad("no tensor layers.0.weight"));
        };
        let rate = |key: &str| {
            Rate::drop(saved.needed(key)?)
                .map_err(|error| saved.bad(format!("metadata `{key}`: {error}")))
        };
        let architecture = Architecture {
            inputs,
            hidden: hidden.to_vec(),
            classes,
            mode: saved
                .needed::<String>("mode")?
                .parse()
                .map_err(|error: crate::ContractError| saved.bad(error.to_string()))?,
            rate: rate("drop")?,
            input_rate: rate("input_drop")?,
            seed: saved.needed("seed")?,
        };
        let mut net = Self::empty(backend, architecture)?;
        if let Some(place) = saved.field("batch_norm")? {
            net = net.with_batch_norm(place)?;
        }
        net.step = saved.needed("step")?;
        net.epoch = saved.needed("epoch")?;
        net.training = training(&saved)?;
        if let Some(data) = TrainedOn::read(&saved, inputs, classes)? {
            net.describe_data(data)
                .map_err(|error| saved.bad(format!("metadata `classes`: {error}")))?;
        }
        for (index, pair) in widths.windows(2).enumerate() {
            let shape = [pair[0], pair[1]];
            let bias_shape = [pair[1]];
            let read = |of: &str| -> Result<_> {
                let weight = saved.values(&format!("{of}.{index}.weight"), &shape)?;
                Ok((weight, saved.values(&format!("{of}.{index}.bias"), &bias_shape)?))
            };
            let (weight, bias) = read("layers")?;
            net.set_parameters(index, &weight, &bias)?;
            if saved.shape(&format!("optimizer.{index}.weight")).is_some() {
                let (weight, bias) = read("optimizer")?;
                let weight = net.backend.tensor(pair[0], pair[1], &weight)?;
                net.layers[index].velocity = Some((weight, net.backend.tensor(1, pair[1], &bias)?));
            }
            if saved.shape(&format!("optimizer.second.{index}.weight")).is_some() {
                let (weight, bias) = read("optimizer.second")?;
                let weight = net.backend.tensor(pair[0], pair[1], &weight)?;
                net.layers[index].second = Some((weight, net.backend.tensor(1, pair[1], &bias)?));
            }
            let Some(norm) = &mut net.layers[index].norm else { continue };
            let rows = |prefix: &str, names: [&str; 2]| -> Result<Vec<f32>> {
                let row =
                    |name: &str| saved.values(&format!("{prefix}norms.{index}.{name}"), &[pair[1]]);
                Ok([row(names[0])?, row(names[1])?].concat())
            };
            net.backend.write(&mut norm.affine, &rows("", PARAMETERS)?)?;
            net.backend.write(&mut norm.running, &rows("", RUNNING)?)?;
            for (prefix, moments) in
                [("optimizer.", &mut norm.first), ("optimizer.second.", &mut norm.second)]
            {
                if saved.shape(&format!("{prefix}norms.{index}.weight")).is_some() {
                    *moments = Some(net.backend.tensor(2, pair[1], &rows(prefix, PARAMETERS)?)?);
                }
            }
        }
        Ok(net)
    }
}

/// Returns a drop rate that reads back as the rate in effect: the rate asked for, unless the
/// rounding of `1 − keep` would change the threshold.
fn drop_of(rate: Rate) -> f64 {
    let asked = rate.drop_asked();
    let same = Rate::drop(asked).is_ok_and(|again| again.threshold() == rate.threshold());
    if same { asked } else { rate.drop_in_effect() }
}

/// Returns the training settings; `None` if the network was not trained, or if an older version
/// saved it.
fn training(saved: &Container<'_>) -> Result<Option<Training>> {
    let Some(batch) = saved.field("batch")? else { return Ok(None) };
    let rule = SgdRule {
        lr: saved.needed("lr")?,
        momentum: saved.needed("momentum")?,
        weight_decay: saved.needed("weight_decay")?,
        l1: saved.field("l1")?.unwrap_or(0.0),
        max_norm: saved.field("max_norm")?,
    };
    let schedule = |key: &str| Ok::<Schedule, Error>(saved.field(key)?.unwrap_or_default());
    let schedules = Schedules {
        lr: schedule("lr_schedule")?,
        momentum: schedule("momentum_schedule")?,
        drop: schedule("drop_schedule")?,
    };
    let optimizer = match saved.field("optimizer")?.unwrap_or_default() {
        Optimizer::Sgd => Optimizer::Sgd,
        Optimizer::AdamW { .. } => {
            Optimizer::AdamW { beta2: saved.needed("beta2")?, epsilon: saved.needed("epsilon")? }
        }
    };
    let training =
        Training { batch, shuffle: saved.needed("shuffle")?, rule, schedules, optimizer };
    training.check().map_err(|error| saved.bad(format!("metadata: {error}")))?;
    Ok(Some(training))
}

/// Returns the number of units of each layer, from the input to the classes; empty if there is no
/// layer.
fn widths(saved: &Container<'_>) -> Result<Vec<usize>> {
    let mut widths: Vec<usize> = Vec::new();
    while let Some(shape) =
        saved.shape(&format!("layers.{}.weight", widths.len().saturating_sub(1)))
    {
        let &[inputs, outputs] = shape.as_slice() else {
            return Err(saved.bad(format!("a weight of shape {shape:?}")));
        };
        // An empty tensor can claim any width without a byte to show for it.
        if inputs == 0 || outputs == 0 || widths.last().is_some_and(|&width| width != inputs) {
            let what = format!(
                "a weight of shape {shape:?} after widths {widths:?}: layers must not be empty and must fit each other"
            );
            return Err(saved.bad(what));
        }
        if widths.is_empty() {
            widths.push(inputs);
        }
        widths.push(outputs);
    }
    Ok(widths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_keeps_its_threshold_through_the_file() {
        let again = |rate: Rate| Rate::drop(drop_of(rate).to_string().parse().unwrap()).unwrap();
        for step in 0..=1000 {
            let rate = Rate::keep(f64::from(step) / 1000.0).unwrap();
            assert_eq!(again(rate).threshold(), rate.threshold());
            assert!(
                (drop_of(rate) - rate.drop_asked()).abs() < 1e-12,
                "what was asked for, not what is in effect"
            );
        }
        // Just below the value that rounds to one more draw kept: computing 1 minus it, and 1 minus
        // that, lands on the other side.
        let rate = Rate::keep((0.5 - 2e-16) / 65536.0).unwrap();
        assert_ne!(Rate::drop(rate.drop_asked()).unwrap().threshold(), rate.threshold());
        assert_eq!(again(rate).threshold(), rate.threshold());
    }
}
