//! `predict`: computes the class probabilities of a saved network for every row of new data and, if
//! the data have labels, its loss and error.

mod answers;

use crate::args::{Common, integer};
use crate::arrays::{Outputs, Values};
use crate::data::{self, Columns, Draw, Part, Rows};
use crate::failure::Failure;
use crate::fit::{Network, class_names};
use crate::train::session::{self, upload};
use crate::{engine, inputs, outputs};
use serde_json::{Map, json};
use std::path::{Path, PathBuf};
use wgpu_dropout::mlp::{Evaluation, Mlp, Predictive, Sharing};
use wgpu_dropout::{Backend, Device, Unit};

/// Arguments of `predict`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The saved network
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Data: the bundled digits, a folder of IDX files, a CSV with or without labels, an array of
    /// features, or `-` for a CSV or an array from stdin
    #[arg(long, value_name = "DIR|digits|FILE.csv|X.npy|-")]
    data: PathBuf,
    /// Factor that turns the values of the data into features [default: the network's for bytes, 1
    /// for an array of floats; a CSV needs it unless the network's is 1]
    #[arg(long, value_name = "1/16|1/255|1")]
    unit: Option<Unit>,
    /// Part of the data to use [default: test for the digits and IDX files, all for the rest]
    #[arg(long, value_enum)]
    split: Option<Part>,
    /// Write the class probabilities, rows × classes, to this file; without it, only the numbers
    /// of answers, loss and error are printed
    #[arg(long, value_name = "P.npy|P.csv")]
    output: Option<PathBuf>,
    /// Form of the output [default: that of its name: csv, tsv, else npy]
    #[arg(long, value_enum, requires = "output")]
    format: Option<Format>,
    /// Average over this many sampled masks, drawn from the network's own seed or from --seed
    #[arg(long, value_parser = samples, allow_negative_numbers = true, group = "average")]
    samples: Option<u32>,
    /// Scope of one mask in a sample: each row, or the whole pass over the data [default:
    /// row]
    #[arg(long, value_enum, requires = "samples", conflicts_with = "ensemble")]
    masks: Option<Masks>,
    /// Average over all masks, each weighted by its probability; requires at most 20 units that can
    /// be dropped
    #[arg(long, value_enum, group = "average")]
    ensemble: Option<Ensemble>,
    /// Write the standard deviation over the masks to this file
    #[arg(long, value_name = "S.npy", requires = "average")]
    spread: Option<PathBuf>,
    /// Write the predictive entropy of each row, that of the mean over the masks, in nats
    #[arg(long, value_name = "H.npy", requires = "average")]
    entropy: Option<PathBuf>,
    /// Write each row's mutual information between prediction and mask, in nats: how much the masks
    /// disagree
    #[arg(long, value_name = "I.npy", requires = "average")]
    information: Option<PathBuf>,
    /// Columns of a CSV file.
    #[command(flatten)]
    columns: Columns,
    /// Choice of the test rows of a CSV file, that of the network unless given.
    #[command(flatten)]
    draw: Draw,
}

/// Form of the main output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Array of the class probabilities
    Npy,
    /// Table of the class and the probabilities of each row
    Csv,
    /// The same, separated by tabs
    Tsv,
}

impl Format {
    /// Returns the form that the name of an output tells.
    fn of(output: &Path) -> Self {
        let ending = output.extension().unwrap_or_default();
        match ending.to_ascii_lowercase().to_str() {
            Some("csv") => Self::Csv,
            Some("tsv") => Self::Tsv,
            _ => Self::Npy,
        }
    }

    /// Returns the separator of columns of a table.
    fn separator(self) -> Option<u8> {
        match self {
            Self::Npy => None,
            Self::Csv => Some(b','),
            Self::Tsv => Some(b'\t'),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Ensemble {
    Exact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Masks {
    Row,
    Pass,
}

impl Masks {
    fn sharing(self) -> Sharing {
        match self {
            Self::Row => Sharing::PerRow,
            Self::Pass => Sharing::PerPass,
        }
    }
}

fn samples(text: &str) -> Result<u32, String> {
    integer(text).and_then(|samples| {
        if samples > 0 { Ok(samples) } else { Err("must be 1 or more".to_owned()) }
    })
}

/// Answers to all rows.
struct Answers {
    rows: Rows,
    predictive: Predictive,
    /// Names of the network's classes.
    classes: Vec<String>,
}

/// Runs `predict`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let files = [
        ("--output", &args.output),
        ("--spread", &args.spread),
        ("--entropy", &args.entropy),
        ("--information", &args.information),
    ];
    let inputs = [
        inputs::Input::kept("--model", [&args.model]),
        inputs::Input::kept("--data", data::files(&args.data)),
    ];
    let given = files.iter().filter_map(|(flag, path)| Some((*flag, path.as_deref()?)));
    outputs::check(common, given, &inputs)?;
    let (answers, device) = match engine::open(&common.device, common.tile)? {
        Device::Gpu(gpu) => {
            let (answers, gpu) = predict(*gpu, args, common)?;
            (answers, Device::Gpu(Box::new(gpu)))
        }
        Device::Cpu(cpu) => {
            let (answers, cpu) = predict(cpu, args, common)?;
            (answers, Device::Cpu(cpu))
        }
    };
    let Answers { rows: Rows { samples, labeled, about, .. }, predictive, classes } = answers;
    let (rows, width) = (samples.rows, classes.len());
    let measured = answers::measure(&predictive.mean, &samples.labels, &labeled, width);
    let counted = answers::counted(&predictive.mean, &classes);

    let mut outputs = Outputs::default();
    if let Some(output) = &args.output {
        let format = args.format.unwrap_or_else(|| Format::of(output));
        if let Some(separator) = format.separator() {
            let table = answers::table(&predictive, &classes, separator);
            let table = table.map_err(|error| Failure::Run(error.to_string()))?;
            outputs.add(output, &[table.len()], Values::Text(table));
        } else {
            outputs.add(output, &[rows, width], Values::Floats(predictive.mean));
        }
    }
    let more: [(_, _, &[usize]); 3] = [
        (&args.spread, predictive.spread, &[rows, width]),
        (&args.entropy, predictive.entropy, &[rows]),
        (&args.information, predictive.information, &[rows]),
    ];
    for (path, values, shape) in more {
        path.iter().for_each(|path| outputs.add(path, shape, Values::Floats(values.clone())));
    }
    let written = match outputs.write()? {
        names if names.is_empty() => String::new(),
        names => format!("; {names}"),
    };

    let labels = labeled.iter().filter(|labeled| **labeled).count();
    let mut fields = Map::new();
    fields.insert("rows".to_owned(), rows.into());
    fields.insert("classes".to_owned(), width.into());
    fields.insert("class_names".to_owned(), classes.into());
    let measured = match measured {
        Some(Evaluation { loss, error }) => {
            fields.insert("labels".to_owned(), labels.into());
            fields.insert("loss".to_owned(), json!(loss));
            fields.insert("error".to_owned(), json!(error));
            let of = if labels < rows {
                format!(" of the {labels} with a label")
            } else {
                String::new()
            };
            format!("loss {loss:.4}, error {error:.2} %{of}")
        }
        None => format!("{width} classes"),
    };
    let what = format!("data     {about}\nanswers  {counted}\n{rows} rows: {measured}{written}");
    engine::finish(common, &device, &what, fields)
}

/// Returns the answers of the network, and the backend.
fn predict<B: Backend>(backend: B, args: &Args, common: &Common) -> Result<(Answers, B), Failure> {
    let name = inputs::shown(&args.model);
    let mut net = Mlp::from_bytes(backend, &name, &inputs::read(&args.model)?)?;
    let draw = args.draw.or_saved(net.trained_on().and_then(|data| data.split.as_deref()));
    let features = net.architecture().inputs;
    let mut rows = data::rows(&args.data, &args.columns, features, args.split, &draw)
        .map_err(session::failure)?;
    Network::new(&name.to_string_lossy(), &net).fit(
        &inputs::shown(&args.data).to_string_lossy(),
        &mut [&mut rows.samples],
        rows.kind,
        &rows.classes,
        args.unit,
    )?;
    let classes = class_names(&net);
    if let (Some(seed), Some(_)) = (common.seed, args.samples) {
        net = net.with_seed(seed);
    }
    // The network does not accept data without rows, but the answer to no rows is no rows.
    if rows.samples.is_empty() {
        let predictive = Predictive::default();
        return Ok((Answers { rows, predictive, classes }, net.into_backend()));
    }
    let data = upload(net.backend_mut(), &rows.samples)?;
    let predictive = match (args.samples, args.ensemble) {
        (Some(samples), _) => net.predict_monte_carlo(
            &data,
            samples,
            args.masks.map_or(Sharing::PerRow, Masks::sharing),
        )?,
        (None, Some(Ensemble::Exact)) => net.predict_ensemble(&data)?,
        (None, None) => Predictive { mean: net.predict_on(&data)?, ..Predictive::default() },
    };
    Ok((Answers { rows, predictive, classes }, net.into_backend()))
}
