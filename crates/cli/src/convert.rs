//! `convert`: writes a saved network as a file that PyTorch or Burn reads, or saves such a file as
//! a network.

use crate::args::Common;
use crate::failure::Failure;
use crate::inputs::{self, Input};
use crate::site::NetworkRates;
use crate::{output, outputs};
use serde_json::json;
use std::path::{Path, PathBuf};
use wgpu_dropout::Cpu;
use wgpu_dropout::mlp::{Architecture, Interchange, Layout, Mlp};

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
    /// `.weight` and `.bias` [default: with --from, all layers in the order of the numbers in their
    /// names; with --to, `layers.0`, `layers.1`, …]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    layers: Option<Vec<String>>,
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
    if args.to.is_some() && given {
        return Err(Failure::usage(
            "--to writes weights and biases alone: rates and mode go with --from",
        ));
    }
    let input = Input::kept("--input", [&args.input]);
    outputs::check(common, [("--output", args.output.as_path())], &[input])?;
    let (name, bytes) = (&*inputs::shown(&args.input), inputs::read(&args.input)?);
    let layers = args.layers.clone();
    let (net, written) = match (args.to, args.from) {
        (Some(layout), _) => {
            let mut net = Mlp::from_bytes(Cpu::new(), name, &bytes)?;
            outputs::write(&args.output, &net.exported(&Interchange { layout, layers })?)?;
            (net, format!("for {layout}"))
        }
        (None, layout) => {
            let layout = layout.unwrap_or_default();
            let form = Interchange { layout, layers };
            let mut net = read(args, name, &bytes, &form, common.seed())?;
            outputs::write(&args.output, &net.to_bytes()?)?;
            (net, format!("from {layout}"))
        }
    };
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
    let layers = form.layers_in(name, bytes)?;
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
    Ok(net)
}
