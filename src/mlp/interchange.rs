//! Import and export of weights as safetensors files, in the layouts of other libraries.
//!
//! A fully connected layer `NAME` is stored as the tensors `NAME.weight` and `NAME.bias` `[out]`,
//! F32 when written; F16, BF16 and F64 are read, too. PyTorch's `nn.Linear` computes `x·Wᵀ + b` and
//! stores `W [out, in]`. Burn's `nn::Linear` computes `x·W + b` and stores `W [in, out]`, as this
//! crate does. [`Layout::PyTorch`] therefore transposes each weight in both directions, and
//! [`Layout::Burn`] copies it. Values are moved; only those of F64 are rounded.
//!
//! The counterparts in Python are `safetensors.torch.save_file(model.state_dict(), FILE)` and
//! `model.load_state_dict(safetensors.torch.load_file(FILE))`. The counterpart in Burn is
//! `SafetensorsStore` of `burn-store`.

use super::architecture::Architecture;
use super::checkpoint::FORMAT;
use super::container::{self, Container, Named};
use super::layer_order::{self, Order, Place};
use super::network::Mlp;
use super::trained_on::TrainedOn;
use super::wait::{Wait, blocking};
use crate::backend::Backend;
use crate::{Error, Result, file};
use std::collections::HashSet;
use std::path::Path;
use std::str::FromStr;

/// Most layers that an error lists.
const SHOWN: usize = 32;

/// Order of the dimensions in which a library stores the weights of a fully connected layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// `[out, in]`: PyTorch's `nn.Linear`, and JAX's and TensorFlow's weights once they are
    /// transposed.
    #[default]
    PyTorch,
    /// `[in, out]`: Burn's `nn::Linear`.
    Burn,
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PyTorch => "pytorch",
            Self::Burn => "burn",
        })
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "pytorch" => Ok(Self::PyTorch),
            "burn" => Ok(Self::Burn),
            _ => Err(Error::invalid(format!("layout `{text}`: must be pytorch or burn"))),
        }
    }
}

impl Layout {
    fn shape(self, inputs: usize, outputs: usize) -> [usize; 2] {
        match self {
            Self::PyTorch => [outputs, inputs],
            Self::Burn => [inputs, outputs],
        }
    }

    fn other(self) -> Self {
        match self {
            Self::PyTorch => Self::Burn,
            Self::Burn => Self::PyTorch,
        }
    }
}

/// Form in which another library's file holds a network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interchange {
    /// Order of the weights' dimensions.
    pub layout: Layout,
    /// Names of the layers, from the input on: `0`, `3`, `6` in an `nn.Sequential`, for example.
    /// Without names, [`export`](Mlp::export) writes `layers.0`, `layers.1`, …, and
    /// [`import`](Mlp::import) takes every layer of the file in the only order that the numbers in
    /// their names and their shapes allow.
    pub layers: Option<Vec<String>>,
}

/// A fully connected layer in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignLayer {
    /// Name: the part before `.weight` and `.bias`.
    pub name: String,
    /// Number of input features.
    pub inputs: usize,
    /// Number of output features.
    pub outputs: usize,
    /// True if the layer has a bias. A layer without one has a bias of 0.
    pub bias: bool,
    /// Types of the weight and of the bias as the file names them, such as `F32`.
    pub types: Vec<String>,
}

impl Interchange {
    /// Returns the layers of another library's file, from the input on. Each takes the output of
    /// the one before it.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read. [`Error::Data`] if it is not a safetensors file,
    /// holds a tensor that no fully connected layer has, or lacks a named layer, or if its layers
    /// fit neither each other nor the layout. [`Error::Order`] if the layers are not named and
    /// numbers and shapes do not force one order.
    pub fn layers(&self, path: &Path) -> Result<Vec<ForeignLayer>> {
        self.layers_in(path, &file::read(path)?)
    }

    /// Returns the layers in another library's file from the file's bytes; `path` is for errors.
    ///
    /// # Errors
    /// As [`layers`](Self::layers).
    pub fn layers_in(&self, path: &Path, bytes: &[u8]) -> Result<Vec<ForeignLayer>> {
        self.layers_of(&Container::parse(path, bytes)?)
    }

    fn layers_of(&self, file: &Container<'_>) -> Result<Vec<ForeignLayer>> {
        if file.text("format") == Some(FORMAT) {
            return Err(file.bad("a network saved by wgpu-dropout, which can be used as it is"));
        }
        let given = self.layers.is_some();
        let names = self.layers.clone().map_or_else(|| names(file), Ok)?;
        let layers: Vec<ForeignLayer> =
            names.into_iter().map(|name| self.layer(file, name)).collect::<Result<_>>()?;
        if layers.is_empty() {
            return Err(file.bad("no tensor NAME.weight of a fully connected layer"));
        }
        if !given {
            return ordered(file, layers);
        }
        for pair in layers.windows(2) {
            let (before, layer) = (&pair[0], &pair[1]);
            if before.outputs != layer.inputs {
                let what = format!(
                    "layer {} takes {} features, {} before it gives {}: name the layers in order",
                    layer.name, layer.inputs, before.name, before.outputs
                );
                return Err(file.bad(what));
            }
        }
        Ok(layers)
    }

    fn layer(&self, file: &Container<'_>, name: String) -> Result<ForeignLayer> {
        let weight = key(&name, "weight");
        let Some(shape) = file.shape(&weight) else {
            let mut there = file.names();
            there.sort_unstable();
            return Err(file
                .bad(format!("no tensor {weight}; there are {}", file::shown(&there.join(", ")))));
        };
        let &[a, b] = shape.as_slice() else {
            return Err(file.bad(format!(
                "tensor {weight} is {shape:?}: a fully connected layer's has two dimensions"
            )));
        };
        let (inputs, outputs) = if self.layout == Layout::PyTorch { (b, a) } else { (a, b) };
        // An empty tensor can claim any size without a byte to show for it.
        if inputs == 0 || outputs == 0 {
            return Err(file.bad(format!("tensor {weight} is {shape:?}: layers must not be empty")));
        }
        let bias = file.shape(&key(&name, "bias"));
        match bias.as_deref() {
            Some(&[len]) if len != outputs && len == inputs => {
                let what = format!(
                    "layer {name} has {shape:?} weights and {len} biases: the layout of {}",
                    self.layout.other()
                );
                Err(file.bad(format!("{what}, not of {}", self.layout)))
            }
            _ => {
                let tensors = ["weight", "bias"].map(|tensor| key(&name, tensor));
                let types = tensors.iter().filter_map(|tensor| file.dtype(tensor)).collect();
                Ok(ForeignLayer { name, inputs, outputs, bias: bias.is_some(), types })
            }
        }
    }

    fn names_for(&self, count: usize) -> Result<Vec<String>> {
        let names = match &self.layers {
            Some(names) => names.clone(),
            None => (0..count).map(|index| format!("layers.{index}")).collect(),
        };
        if names.len() != count {
            return Err(Error::invalid(format!(
                "{} names for a network of {count} layers",
                names.len()
            )));
        }
        if names.iter().collect::<HashSet<_>>().len() != count {
            return Err(Error::invalid(format!(
                "two layers with the same name: {}",
                names.join(", ")
            )));
        }
        Ok(names)
    }
}

impl<B: Backend> Mlp<B> {
    /// Writes the weights and biases for another library. Batch normalization is folded into them
    /// as in prediction. Rates, momentum and the training state are not written; the description
    /// of the data is.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the number of names differs from the number of layers; [`Error::File`]
    /// if the file cannot be written; [`Error::Device`] if the device was lost.
    pub fn export(&mut self, path: &Path, form: &Interchange) -> Result<()> {
        let bytes = self.exported(form)?;
        file::write_atomic(path, |out| out.write_all(&bytes))
    }

    /// Returns the bytes of the file that [`export`](Self::export) writes.
    ///
    /// # Errors
    /// As [`export`](Self::export).
    pub fn exported(&mut self, form: &Interchange) -> Result<Vec<u8>> {
        let widths = self.architecture.widths();
        let mut tensors = Vec::new();
        let mut layers = blocking(self.folded(Wait::Block))?.into_iter();
        for (index, name) in form.names_for(self.layers.len())?.iter().enumerate() {
            let inputs = widths[index];
            let outputs = widths[index + 1];
            let (weight, bias) = layers.next().unwrap_or_default();
            let weight = match form.layout {
                Layout::PyTorch => transposed(&weight, inputs, outputs),
                Layout::Burn => weight,
            };
            tensors.push(Named::new(
                key(name, "weight"),
                &form.layout.shape(inputs, outputs),
                weight,
            ));
            tensors.push(Named::new(key(name, "bias"), &[outputs], bias));
        }
        let inputs = self.architecture.inputs;
        let mut metadata: Vec<_> =
            self.trained_on.iter().flat_map(|data| data.metadata(inputs)).collect();
        // PyTorch's readers look for this entry.
        metadata.extend((form.layout == Layout::PyTorch).then(|| ("format", "pt".to_owned())));
        container::bytes(&tensors, &metadata)
    }

    /// Overwrites the weights and biases with those of another library's file, whose layers must
    /// match this network's. Momentum starts anew. The description of the data becomes that of the
    /// file, if [`export`](Self::export) wrote one.
    ///
    /// # Errors
    /// As [`Interchange::layers`]; [`Error::Invalid`] for a network with batch normalization;
    /// [`Error::Data`] if the file's layers differ from this network's or hold another type than
    /// F32, F16, BF16 or F64.
    pub fn import(&mut self, path: &Path, form: &Interchange) -> Result<()> {
        self.import_bytes(path, &file::read(path)?, form)
    }

    /// Overwrites the weights and biases with those in the bytes of another library's file; `path`
    /// is for errors.
    ///
    /// # Errors
    /// As [`import`](Self::import).
    pub fn import_bytes(&mut self, path: &Path, bytes: &[u8], form: &Interchange) -> Result<()> {
        if self.batch_norm().is_some() {
            return Err(Error::invalid(
                "a network with batch normalization cannot import the weights of plain layers",
            ));
        }
        let file = Container::parse(path, bytes)?;
        let layers = form.layers_of(&file)?;
        let widths: Vec<usize> = layers
            .first()
            .map(|first| first.inputs)
            .into_iter()
            .chain(layers.iter().map(|l| l.outputs))
            .collect();
        if widths != self.architecture.widths() {
            return Err(file.bad(format!(
                "layers of widths {widths:?}, the network's are {:?}",
                self.architecture.widths()
            )));
        }
        // Everything is read before anything is overwritten.
        let mut parameters = Vec::new();
        for ForeignLayer { name, inputs, outputs, bias, .. } in &layers {
            let weight =
                file.converted(&key(name, "weight"), &form.layout.shape(*inputs, *outputs))?;
            let weight = match form.layout {
                Layout::PyTorch => transposed(&weight, *outputs, *inputs),
                Layout::Burn => weight,
            };
            let bias = if *bias {
                file.converted(&key(name, "bias"), &[*outputs])?
            } else {
                vec![0.0; *outputs]
            };
            parameters.push((weight, bias));
        }
        for (index, (weight, bias)) in parameters.iter().enumerate() {
            self.set_parameters(index, weight, bias)?;
            self.layers[index].velocity = None;
            self.layers[index].second = None;
        }
        // Entries of the same names that mean something else are no error.
        let Architecture { inputs, classes, .. } = self.architecture;
        self.trained_on = TrainedOn::read(&file, inputs, classes)
            .ok()
            .flatten()
            .filter(|data| data.classes.len() == classes);
        Ok(())
    }
}

/// Returns the name of a layer's tensor. A layer that is the whole model has an empty name and no
/// prefix.
fn key(layer: &str, tensor: &str) -> String {
    if layer.is_empty() { tensor.to_owned() } else { format!("{layer}.{tensor}") }
}

/// Returns the names of a file's layers, in no particular order. Every tensor must belong to a
/// layer.
fn names(file: &Container<'_>) -> Result<Vec<String>> {
    let layer = |tensor: &str, end: &str| -> Option<String> {
        let name = tensor.strip_suffix(end)?;
        if name.is_empty() {
            Some(String::new())
        } else {
            name.strip_suffix('.').map(str::to_owned)
        }
    };
    let all = file.names();
    let is_layer = |tensor: &&str| file.shape(tensor).is_some_and(|shape| shape.len() == 2);
    let names: Vec<String> = all
        .iter()
        .filter(|tensor| is_layer(tensor))
        .filter_map(|tensor| layer(tensor, "weight"))
        .collect();
    let belongs = |tensor: &&&str| {
        ["weight", "bias"]
            .iter()
            .any(|end| layer(tensor, end).is_some_and(|name| names.contains(&name)))
    };
    match all.iter().find(|tensor| !belongs(tensor)) {
        Some(tensor) => {
            let shape = file.shape(tensor).unwrap_or_default();
            Err(file.bad(format!(
                "tensor {tensor} {shape:?} is of no fully connected layer: name the layers to take"
            )))
        }
        None => Ok(names),
    }
}

/// Returns the layers in the only order that their numbers and shapes allow.
fn ordered(file: &Container<'_>, layers: Vec<ForeignLayer>) -> Result<Vec<ForeignLayer>> {
    let places: Vec<Place<'_>> = layers
        .iter()
        .map(|&ForeignLayer { ref name, inputs, outputs, .. }| Place { name, inputs, outputs })
        .collect();
    let in_order = |order: Vec<usize>| order.into_iter().map(|at| layers[at].clone());
    let (order, why) = match layer_order::order(&places) {
        Order::Forced(order) => return Ok(in_order(order).collect()),
        Order::Open(order) => (order, "neither numbers nor shapes force the order of its layers"),
        Order::Unfit(order) => (order, "numbers and shapes leave no order for its layers"),
    };
    let layers: Vec<ForeignLayer> = in_order(order).collect();
    let shown = |layer: &ForeignLayer| format!("{} {}→{}", layer.name, layer.inputs, layer.outputs);
    let mut list: Vec<String> = layers.iter().take(SHOWN).map(shown).collect();
    let mut names: Vec<&str> = layers.iter().take(SHOWN).map(|layer| layer.name.as_str()).collect();
    if layers.len() > SHOWN {
        list.push(format!("… ({} layers)", layers.len()));
        names.push("…");
    }
    Err(file.unordered(format!("{why}: {}", list.join(", ")), names.join(",")))
}

/// Returns the transpose of a row-major `rows × cols` matrix.
fn transposed(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..rows * cols).map(|i| values[i % rows * cols + i / rows]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_transposed_twice_is_itself() {
        let matrix = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(transposed(&matrix, 2, 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(transposed(&transposed(&matrix, 2, 3), 3, 2), matrix);
    }
}
