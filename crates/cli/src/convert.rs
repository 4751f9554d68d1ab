//! `convert`: writes a saved network as a file that PyTorch or Burn reads, or saves such a file as
//! a network.

use crate::args::Common;
use crate::failure::Failure;
use crate::fit::class_names;
use crate::inputs::{self, Input};
use crate::rate::NetworkRates;
use crate::{output, outputs};
use serde_json::json;
use std::path::{Path, PathBuf};
use wgpu_dropout::mlp::{Architecture, ForeignLayer, Interchange, Layout, Mlp, TrainedOn};
use wgpu_dropout::{Cpu, Error, Unit};

/// Arguments of `convert`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("direction").required(true).args(["to", "from"])))]
pub struct Args {
    /// The safetensors file to read
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Write the saved network `--input` for this library: `pytorch` stores weights as `[out, in]`,
    /// `burn` as `[in, out]`
    #[arg(long, value_name = "pytorch|burn")]
    to: Option<Layout>,
    /// Read the weights of fully connected layers written by this library, and save them as a
    /// network
    #[arg(long, value_name = "pytorch|burn")]
    from: Option<Layout>,
    /// Names of the layers in the other library's file, from the input onward: the prefixes of
    /// `.weight` and `.bias` [default: with --from, all layers, if the numbers in their names and
    /// their shapes allow only one order; with --to, `layers.0`, `layers.1`, …]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    layers: Option<Vec<String>>,
    /// With --from, factor by which the values of the network's data were multiplied, such as 1/255
    /// for pixels from 0 to 255 [default: that of a file that `convert --to` wrote, else unknown;
    /// `predict` then asks for it]
    #[arg(long, value_name = "1/16|1/255|1")]
    unit: Option<Unit>,
    /// With --from, name of each class in the order of the outputs [default: their numbers]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    classes: Option<Vec<String>>,
    /// The safetensors file to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    rates: NetworkRates,
}

/// Runs `convert`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let given =
        args.rates.given().or(args.rates.input_given()).is_some() || args.rates.mode.is_some();
    if args.to.is_some() && (given || args.unit.is_some() || args.classes.is_some()) {
        return Err(Failure::usage(
            "--to takes the network as it is: --unit, --classes, rates and mode go with --from",
        ));
    }
    let input = Input::kept("--input", [&args.input]);
    outputs::check(common, [("--output", args.output.as_path())], &[input])?;
    let (name, bytes) = (&*inputs::shown(&args.input), inputs::read(&args.input)?);
    let layers = args.layers.clone();
    let (mut net, written) = match (args.to, args.from) {
        (Some(layout), _) => {
            let mut net = Mlp::from_bytes(Cpu::new(), name, &bytes)?;
            outputs::write(&args.output, &net.exported(&Interchange { layout, layers })?)?;
            (net, format!("for {layout}"))
        }
        (None, layout) => {
            let layout = layout.unwrap_or_default();
            let form = Interchange { layout, layers };
            let mut net = read(args, name, &bytes, &form, common.seed())?;
            args.rates.remark(args.rates.mode());
            outputs::write(&args.output, &net.to_bytes()?)?;
            (net, format!("from {layout}"))
        }
    };
    tell_not_finite(&mut net, name)?;
    let (widths, output) = (net.architecture().widths(), outputs::shown(&args.output));
    if common.json {
        return output::json(&json!({ "widths": widths, "output": output }));
    }
    let shape = widths.iter().map(ToString::to_string).collect::<Vec<_>>().join("-");
    output::line(&format!("{shape} {written}, in {output}"))
}

/// Reads another library's file, and takes the rates, which it does not store, from the arguments.
fn read(
    args: &Args,
    name: &Path,
    bytes: &[u8],
    form: &Interchange,
    seed: u64,
) -> Result<Mlp<Cpu>, Failure> {
    let layers = form.layers_in(name, bytes).map_err(|error| match error {
        Error::Order { path, what, names } => Failure::Usage(format!(
            "{path}: {what}; name them from the input on, for example --layers {names}"
        )),
        error => error.into(),
    })?;
    tell_types(&layers, name);
    let mut outputs: Vec<usize> = layers.iter().map(|layer| layer.outputs).collect();
    let classes = outputs.pop().unwrap_or_default();
    let architecture = Architecture {
        inputs: layers.first().map_or(0, |first| first.inputs),
        hidden: outputs,
        classes,
        mode: args.rates.mode(),
        rate: args.rates.hidden()?,
        input_rate: args.rates.input(),
        seed,
    };
    let mut net = Mlp::new(Cpu::new(), architecture)?;
    net.import_bytes(name, bytes, form)?;
    let before = net.trained_on();
    let unit = args.unit.or(before.and_then(|before| before.unit));
    let split = before.and_then(|before| before.split.clone());
    let classes = args.classes.clone().unwrap_or_else(|| class_names(&net));
    net.describe_data(TrainedOn { unit, classes, split })
        .map_err(|error| Failure::Usage(format!("--classes: {error}")))?;
    if unit.is_none() {
        output::note(&format!(
            "{}: the unit of its data is unknown, since {} does not say it: convert with --unit \
             1/255, 1/16 or 1 to store it",
            outputs::shown(&args.output),
            name.display()
        ));
    }
    Ok(net)
}

/// Tells which tensors are of another type than F32.
fn tell_types(layers: &[ForeignLayer], input: &Path) {
    for (dtype, done) in [("F16", "widened"), ("BF16", "widened"), ("F64", "rounded")] {
        let types = layers.iter().flat_map(|layer| &layer.types);
        let tensors = match types.filter(|of| *of == dtype).count() {
            0 => continue,
            1 => format!("1 tensor of {dtype} is"),
            tensors => format!("{tensors} tensors of {dtype} are"),
        };
        output::note(&format!("{}: {tensors} {done} to F32", input.display()));
    }
}

/// Tells how many weights and biases are NaN or infinite.
fn tell_not_finite(net: &mut Mlp<Cpu>, input: &Path) -> Result<(), Failure> {
    let mut layer = 0;
    while let Some((weight, bias)) = net.parameters(layer)? {
        let values = || weight.iter().chain(&bias);
        let nan = values().filter(|value| value.is_nan()).count();
        let infinite = values().filter(|value| value.is_infinite()).count();
        if nan + infinite > 0 {
            let (input, count) = (input.display(), values().count());
            output::note(&format!(
                "{input}: layer {layer} has {nan} NaN and {infinite} infinite values of {count}: \
                 predictions may be NaN"
            ));
        }
        layer += 1;
    }
    Ok(())
}
