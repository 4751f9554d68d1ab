//! `attention`: runs attention with dropout on `.npy` files, forward and backward.

use crate::args::{Common, integer};
use crate::arrays::{Outputs, Values, check_outputs, read_shaped, show};
use crate::engine;
use crate::failure::Failure;
use crate::inputs::{self, Input};
use crate::npy::{self, Array};
use crate::rate::{RateArgs, describe_keep};
use crate::scores::ScoresArgs;
use std::path::{Path, PathBuf};
use wgpu_dropout::call::{Attention, AttentionGrad, AttentionRule, Dropped, Reach, Sequences};
use wgpu_dropout::{Backend, Device, Dropout, Key, Mask, Mode, Rate};

/// Arguments of `attention`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("gradients").multiple(true))]
pub struct Args {
    /// Queries [B, T, H, D]: sequences, queries, query heads, numbers of a head
    #[arg(long, value_name = "Q.npy")]
    query: PathBuf,
    /// Keys [B, S, G, D]: sequences, keys, key heads, numbers of a head. H is a multiple of G
    #[arg(long, value_name = "K.npy")]
    key: PathBuf,
    /// Values, of the keys' shape
    #[arg(long, value_name = "V.npy")]
    value: PathBuf,
    /// Bias added to the scores, [H, T, S] or [B, H, T, S]
    #[arg(long, value_name = "A.npy")]
    bias: Option<PathBuf>,
    /// Write the output, of the queries' shape, to this file
    #[arg(long, value_name = "O.npy")]
    output: Option<PathBuf>,
    /// Write the logsumexp of the scores before dropout, [B, T, H], to this file
    #[arg(long, value_name = "L.npy")]
    logsumexp: Option<PathBuf>,
    /// Let a query meet only keys at or before its position
    #[arg(long)]
    causal: bool,
    /// Let a query meet only the last N of those keys, its own position included
    #[arg(long, value_name = "N", value_parser = integer::<usize>, requires = "causal")]
    #[arg(allow_negative_numbers = true)]
    window: Option<usize>,
    #[command(flatten)]
    rate: RateArgs,
    /// Drop scores before the softmax, as DropKey does, in place of weights after it
    #[arg(long)]
    drop_logits: bool,
    /// Layer to which the mask belongs, decimal or 0x
    #[arg(long, default_value = "0", value_parser = integer::<u32>, allow_negative_numbers = true)]
    layer: u32,
    /// Training step to which the mask belongs, decimal or 0x
    #[arg(long, default_value = "0", value_parser = integer::<u32>, allow_negative_numbers = true)]
    step: u32,
    #[command(flatten)]
    scores: ScoresArgs,
    /// Gradient with respect to the output, of its shape
    #[arg(long, value_name = "DO.npy", requires = "gradients")]
    grad_output: Option<PathBuf>,
    /// Write the gradient with respect to the queries to this file
    #[arg(long, value_name = "DQ.npy", requires = "grad_output", group = "gradients")]
    grad_query: Option<PathBuf>,
    /// Write the gradient with respect to the keys to this file
    #[arg(long, value_name = "DK.npy", requires = "grad_output", group = "gradients")]
    grad_key: Option<PathBuf>,
    /// Write the gradient with respect to the values to this file
    #[arg(long, value_name = "DV.npy", requires = "grad_output", group = "gradients")]
    grad_value: Option<PathBuf>,
}

/// Arrays that the files hold.
struct Arrays {
    query: Array,
    key: Array,
    value: Array,
    bias: Option<Array>,
    grad_output: Option<Array>,
}

/// Runs `attention`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    check_outputs(common, &args.outputs(), &args.inputs())?;
    let arrays = args.read()?;
    let rule = args.rule(&arrays, common.seed())?;
    let mut device = engine::open(&common.device, common.tile)?;
    args.rate.remark();
    let outputs = match &mut device {
        Device::Gpu(gpu) => compute(gpu.as_mut(), args, &arrays, rule)?,
        Device::Cpu(cpu) => compute(cpu, args, &arrays, rule)?,
    };
    let written = outputs.write()?;
    let dropout = match args.rate.given() {
        None => "no dropout".to_owned(),
        Some(rate) if args.drop_logits => format!("scores dropped, {}", describe_keep(rate)),
        Some(rate) => format!("weights dropped, {}", describe_keep(rate)),
    };
    let [q, k] = [&arrays.query, &arrays.key].map(|array| show(&array.shape));
    let what = format!("attention {q} to {k}, {dropout}: {written}");
    engine::finish(common, &device, &what, serde_json::Map::new())
}

/// Reads an array of four axes.
fn read_heads(path: &Path, axes: &str) -> Result<(Array, [usize; 4]), Failure> {
    let array = npy::read(path)?;
    match array.shape[..].try_into() {
        Ok(shape) => Ok((array, shape)),
        Err(_) => {
            let (path, found) = (inputs::shown(path), show(&array.shape));
            Err(Failure::Run(format!("{}: shape {found}, expected {axes}", path.display())))
        }
    }
}

impl Args {
    fn outputs(&self) -> [(&'static str, &Option<PathBuf>); 5] {
        [
            ("--output", &self.output),
            ("--logsumexp", &self.logsumexp),
            ("--grad-query", &self.grad_query),
            ("--grad-key", &self.grad_key),
            ("--grad-value", &self.grad_value),
        ]
    }

    fn inputs(&self) -> [Input; 5] {
        [
            Input::kept("--query", [&self.query]).replaced_by("--output"),
            Input::kept("--key", [&self.key]),
            Input::kept("--value", [&self.value]),
            Input::kept("--bias", &self.bias),
            Input::kept("--grad-output", &self.grad_output).replaced_by("--grad-query"),
        ]
    }

    /// Reads all arrays and checks that their shapes fit.
    fn read(&self) -> Result<Arrays, Failure> {
        let (query, [batch, queries, heads, width]) =
            read_heads(&self.query, "4 axes: B, T, H, D")?;
        let (key, [of_keys, keys, key_heads, key_width]) =
            read_heads(&self.key, "4 axes: B, S, G, D")?;
        let refuse = |path: &Path, array: &Array, why: String| {
            let (path, found) = (inputs::shown(path), show(&array.shape));
            Err(Failure::Run(format!("{}: shape {found}, {why}", path.display())))
        };
        if (of_keys, key_width) != (batch, width) {
            let why = format!("expected ({batch}, S, G, {width}), as the queries have");
            return refuse(&self.key, &key, why);
        }
        if heads == 0 || width == 0 {
            return refuse(&self.query, &query, "expected heads of some numbers".to_owned());
        }
        if key_heads == 0 || !heads.is_multiple_of(key_heads) {
            let why =
                format!("expected a number of heads that divides {heads}, that of the queries");
            return refuse(&self.key, &key, why);
        }
        let value = read_shaped(&self.value, &key.shape, "the keys")?;
        let bias = self.bias.as_ref().map(|path| npy::read(path).map(|array| (path, array)));
        let bias = match bias.transpose()? {
            None => None,
            Some((path, array)) => {
                let (of_all, of_each) = ([heads, queries, keys], [batch, heads, queries, keys]);
                if array.shape != of_all && array.shape != of_each {
                    let why = format!("expected {} or {}", show(&of_all), show(&of_each));
                    return refuse(path, &array, why);
                }
                Some(array)
            }
        };
        let grad_output = self.grad_output.as_ref();
        let grad_output =
            grad_output.map(|path| read_shaped(path, &query.shape, "the queries")).transpose()?;
        Ok(Arrays { query, key, value, bias, grad_output })
    }

    fn rule(&self, arrays: &Arrays, seed: u64) -> Result<AttentionRule<'static>, Failure> {
        let [batch, queries, heads, _] = [0, 1, 2, 3].map(|axis| arrays.query.shape[axis]);
        let [keys, key_heads] = [1, 2].map(|axis| arrays.key.shape[axis]);
        let place = self.scores.place([batch, heads, queries, keys])?;
        let rate = self.rate.given().unwrap_or(Rate::KEEP_ALL);
        let mask = Mask::new(rate, Key { seed, layer: self.layer, step: self.step });
        Ok(AttentionRule {
            heads,
            key_heads,
            sequences: Sequences::Equal(batch),
            reach: match (self.causal, self.window) {
                (false, _) => Reach::All,
                (true, None) => Reach::Causal,
                (true, Some(length)) => Reach::Window(length),
            },
            place,
            dropout: Dropout::train(Mode::Inverted, mask),
            dropped: if self.drop_logits { Dropped::Scores } else { Dropped::Weights },
        })
    }
}

fn compute<'a, B: Backend>(
    backend: &mut B,
    args: &'a Args,
    arrays: &Arrays,
    rule: AttentionRule<'_>,
) -> wgpu_dropout::Result<Outputs<'a>> {
    let shape = &arrays.query.shape;
    let rows_of =
        |array: &Array| (array.shape[0] * array.shape[1], array.shape[2] * array.shape[3]);
    let [queries, keys] = [&arrays.query, &arrays.key].map(rows_of);
    let query = &backend.tensor(queries.0, queries.1, &arrays.query.values)?;
    let key = &backend.tensor(keys.0, keys.1, &arrays.key.values)?;
    let value = &backend.tensor(keys.0, keys.1, &arrays.value.values)?;
    let bias = match &arrays.bias {
        None => None,
        Some(bias) => {
            let (rows, cols) = bias.rows_cols();
            Some(backend.tensor(rows, cols, &bias.values)?)
        }
    };
    let bias = bias.as_ref();
    let mut output = backend.zeros(queries.0, queries.1)?;
    let mut logsumexp = backend.zeros(queries.0, rule.heads)?;
    let (o, l) = (&mut output, &mut logsumexp);
    backend.run(Attention { query, key, value, bias, output: o, logsumexp: l, rule })?;
    let mut outputs = Outputs::default();
    if let Some(path) = &args.output {
        outputs.add(path, shape, Values::Floats(backend.read(&output)?));
    }
    if let Some(path) = &args.logsumexp {
        outputs.add(path, &shape[..3], Values::Floats(backend.read(&logsumexp)?));
    }
    let Some(grad_output) = &arrays.grad_output else { return Ok(outputs) };
    let grad_output = &backend.tensor(queries.0, queries.1, &grad_output.values)?;
    let mut grad_query = backend.zeros(queries.0, queries.1)?;
    let mut grad_key = backend.zeros(keys.0, keys.1)?;
    let mut grad_value = backend.zeros(keys.0, keys.1)?;
    backend.run(AttentionGrad {
        query,
        key,
        value,
        bias,
        output: &output,
        logsumexp: &logsumexp,
        grad_output,
        grad_query: &mut grad_query,
        grad_key: &mut grad_key,
        grad_value: &mut grad_value,
        rule,
    })?;
    for (path, grad, of) in [
        (&args.grad_query, &grad_query, &arrays.query),
        (&args.grad_key, &grad_key, &arrays.key),
        (&args.grad_value, &grad_value, &arrays.value),
    ] {
        if let Some(path) = path {
            outputs.add(path, &of.shape, Values::Floats(backend.read(grad)?));
        }
    }
    Ok(outputs)
}
