//! `predict`: computes the class probabilities of a saved network on new data and, if the data have
//! labels, its loss and error.

use crate::args::{Common, integer};
use crate::arrays::{self, Outputs, check_outputs};
use crate::data;
use crate::engine;
use crate::failure::Failure;
use crate::fit::{Kind, Network};
use crate::inputs;
use crate::npy;
use crate::train::session::{open, upload};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use wgpu_dropout::data::{Samples, Values};
use wgpu_dropout::mlp::{Evaluation, Mlp, Predictive, Sharing};
use wgpu_dropout::{Backend, Device, Unit};

/// Arguments of `predict`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The saved network
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Data: the bundled digits, a folder of IDX files, a CSV with labels, or an array of features
    /// without labels
    #[arg(long, value_name = "DIR|digits|FILE.csv|X.npy")]
    data: PathBuf,
    /// Factor that turns the values of the data into features [default: the network's for bytes, 1
    /// for an array of floats; a CSV needs it unless the network's is 1]
    #[arg(long, value_name = "1/16|1/255|1")]
    unit: Option<Unit>,
    /// Part of a labeled data set to use [default: test]
    #[arg(long, value_enum)]
    split: Option<Split>,
    /// Write the class probabilities, rows × classes, to this file
    #[arg(long, value_name = "P.npy")]
    output: PathBuf,
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Split {
    Test,
    Train,
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

/// Rows to predict.
struct Input {
    samples: Samples,
    kind: Kind,
    /// Names of the labels' classes; `None` if there are no labels.
    classes: Option<Vec<String>>,
}

/// Runs `predict`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let output = Some(args.output.clone());
    let files = [
        ("--output", &output),
        ("--spread", &args.spread),
        ("--entropy", &args.entropy),
        ("--information", &args.information),
    ];
    let inputs = [
        inputs::Input::kept("--model", [&args.model]),
        inputs::Input::kept("--data", data::files(&args.data)),
    ];
    check_outputs(common, &files, &inputs)?;
    let mut input = read(args)?;
    let ((predictive, classes), device) = match engine::open(&common.device, common.tile)? {
        Device::Gpu(gpu) => {
            let (predicted, gpu) = predict(*gpu, args, common, &mut input)?;
            (predicted, Device::Gpu(Box::new(gpu)))
        }
        Device::Cpu(cpu) => {
            let (predicted, cpu) = predict(cpu, args, common, &mut input)?;
            (predicted, Device::Cpu(cpu))
        }
    };
    let rows = input.samples.rows;
    let measured =
        input.classes.as_ref().map(|_| measure(&predictive.mean, &input.samples.labels, classes));
    let mut outputs = Outputs::default();
    let Predictive { mean, spread, entropy, information } = predictive;
    let each: [&[usize]; 2] = [&[rows, classes], &[rows]];
    let values = [(mean, each[0]), (spread, each[0]), (entropy, each[1]), (information, each[1])];
    for ((_, path), (values, shape)) in files.into_iter().zip(values) {
        path.iter()
            .for_each(|path| outputs.add(path, shape, arrays::Values::Floats(values.clone())));
    }
    let written = outputs.write()?;
    let what = match measured {
        Some(Evaluation { loss, error }) => {
            format!("{rows} rows: loss {loss:.4}, error {error:.2} %; {written}")
        }
        None => format!("{rows} rows of {classes} classes; {written}"),
    };
    engine::finish(common, &device, &what, fields(rows, classes, measured))
}

fn fields(rows: usize, classes: usize, measured: Option<Evaluation>) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("rows".to_owned(), rows.into());
    fields.insert("classes".to_owned(), classes.into());
    if let Some(Evaluation { loss, error }) = measured {
        fields.insert("loss".to_owned(), json!(loss));
        fields.insert("error".to_owned(), json!(error));
    }
    fields
}

/// Reads the rows. An array has no labels.
fn read(args: &Args) -> Result<Input, Failure> {
    if !args.data.to_string_lossy().to_ascii_lowercase().ends_with(".npy") {
        let set = open(&args.data)?;
        let samples = if args.split == Some(Split::Train) { set.train } else { set.test };
        return Ok(Input { kind: Kind::of(&samples), samples, classes: Some(set.classes) });
    }
    if args.split.is_some() {
        let data = args.data.display();
        return Err(Failure::usage(format!("--split: {data} is one array, without parts")));
    }
    let array = npy::read_values(&args.data)?;
    let (rows, cols) = array.rows_cols();
    let values = array.values;
    let kind = match &values {
        Values::Bytes(_) => Kind::Bytes,
        Values::Floats(_) => Kind::Features,
    };
    let samples = Samples { values, unit: Unit::One, rows, cols, labels: vec![0; rows] };
    Ok(Input { samples, kind, classes: None })
}

/// Returns the network's predictions, its number of classes, and the backend.
fn predict<B: Backend>(
    backend: B,
    args: &Args,
    common: &Common,
    input: &mut Input,
) -> Result<((Predictive, usize), B), Failure> {
    let model = inputs::read(&args.model)?;
    let name = inputs::shown(&args.model);
    let mut net = Mlp::from_bytes(backend, &name, &model)?;
    let names = input.classes.as_deref().unwrap_or_default();
    Network::new(&name.to_string_lossy(), &net).fit(
        &inputs::shown(&args.data).to_string_lossy(),
        &mut [&mut input.samples],
        input.kind,
        names,
        args.unit,
    )?;
    if let (Some(seed), Some(_)) = (common.seed, args.samples) {
        net = net.with_seed(seed);
    }
    let classes = net.architecture().classes;
    // The network does not accept data without rows, but the prediction for an array of no rows is
    // an array of no rows.
    if input.samples.rows == 0 {
        return Ok(((Predictive::default(), classes), net.into_backend()));
    }
    let data = upload(net.backend_mut(), &input.samples)?;
    let predictive = match (args.samples, args.ensemble) {
        (Some(samples), _) => net.predict_monte_carlo(
            &data,
            samples,
            args.masks.map_or(Sharing::PerRow, Masks::sharing),
        )?,
        (None, Some(Ensemble::Exact)) => net.predict_ensemble(&data)?,
        (None, None) => Predictive { mean: net.predict_on(&data)?, ..Predictive::default() },
    };
    Ok(((predictive, classes), net.into_backend()))
}

/// Returns the mean cross-entropy and the share of wrong answers in percent. The answer is the
/// first of the classes with the largest probability.
fn measure(probabilities: &[f32], labels: &[u32], classes: usize) -> Evaluation {
    let (mut loss, mut wrong) = (0.0, 0);
    for (row, &label) in probabilities.chunks(classes).zip(labels) {
        let right = row.get(label as usize).copied().unwrap_or(f32::NAN);
        loss -= f64::from(right).ln();
        // The comparisons are written so that a NaN is never a correct answer.
        let before = row.iter().take(label as usize).all(|&p| p < right);
        let after = row.iter().skip(label as usize).all(|&p| p <= right);
        wrong += usize::from(!(before && after));
    }
    let rows = labels.len() as f64;
    Evaluation { loss: loss / rows, error: 100.0 * wrong as f64 / rows }
}

#[cfg(test)]
mod tests {
    use super::measure;
    use wgpu_dropout::mlp::Evaluation;

    #[test]
    fn the_first_of_the_largest_probabilities_is_the_answer() {
        let error = |probabilities: &[f32], label| measure(probabilities, &[label], 3).error;
        assert_eq!(error(&[0.4, 0.4, 0.2], 0), 0.0);
        assert_eq!(error(&[0.4, 0.4, 0.2], 1), 100.0);
        assert_eq!(error(&[f32::NAN, 0.4, 0.6], 2), 100.0);
        let halves = measure(&[0.5, 0.5, 0.0, 0.25, 0.5, 0.25], &[0, 0], 3);
        assert_eq!(halves, Evaluation { loss: (2f64.ln() + 4f64.ln()) / 2.0, error: 50.0 });
    }
}
