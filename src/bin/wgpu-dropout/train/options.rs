//! What a training run is asked to do.

use super::schedule;
use crate::args::integer;
use crate::failure::Failure;
use crate::site::{drop_rate, keep_rate};
use std::fmt::Display;
use std::path::PathBuf;
use wgpu_dropout::call::SgdRule;
use wgpu_dropout::mlp::{Architecture, Training};
use wgpu_dropout::{Mode, Rate};

/// Arguments of `train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Data: the bundled digits, a folder of IDX files such as MNIST's, or a CSV with the label in its last column
    #[arg(long, default_value = "digits", value_name = "DIR|digits|FILE.csv")]
    pub data: String,
    /// Units of each hidden layer, or `none` [default: 256,256]
    #[arg(long, value_name = "UNITS,…", value_parser = hidden)]
    hidden: Option<Hidden>,
    /// Probability to drop a hidden unit [default: 0.5]
    #[arg(long, value_name = "RATE", value_parser = drop_rate, allow_negative_numbers = true, conflicts_with = "keep")]
    drop: Option<Rate>,
    /// Probability to keep a hidden unit
    #[arg(long, value_name = "RATE", value_parser = keep_rate, allow_negative_numbers = true)]
    keep: Option<Rate>,
    /// Probability to drop a feature of the input [default: 0]
    #[arg(long, value_name = "RATE", value_parser = drop_rate, allow_negative_numbers = true, conflicts_with = "input_keep")]
    input_drop: Option<Rate>,
    /// Probability to keep a feature of the input
    #[arg(long, value_name = "RATE", value_parser = keep_rate, allow_negative_numbers = true)]
    input_keep: Option<Rate>,
    /// When the scale is applied: `none` drops nothing and ignores the rates, `vanilla` scales while predicting, `inverted`
    /// while training [default: inverted]
    #[arg(long, value_name = "none|vanilla|inverted")]
    mode: Option<Mode>,
    /// Epochs in all, those of a resumed run included
    #[arg(long, default_value = "20", value_parser = integer::<u32>, allow_negative_numbers = true)]
    pub epochs: u32,
    /// Rows of a mini-batch
    #[arg(long, default_value = "64", value_parser = integer::<usize>, allow_negative_numbers = true)]
    batch: usize,
    /// Learning rate
    #[arg(long, default_value = "0.05", allow_negative_numbers = true)]
    lr: f32,
    /// Momentum
    #[arg(long, default_value = "0.9", allow_negative_numbers = true)]
    momentum: f32,
    /// Weight decay (L2), on weights and not on biases
    #[arg(long, default_value = "0", value_name = "LAMBDA", allow_negative_numbers = true)]
    weight_decay: f32,
    /// L1 penalty, on weights and not on biases
    #[arg(long, default_value = "0", value_name = "ALPHA", allow_negative_numbers = true)]
    l1: f32,
    /// The largest norm of a unit's incoming weights; papers state it for vanilla dropout, inverted wants it times the keep rate
    #[arg(long, value_name = "NORM", allow_negative_numbers = true)]
    max_norm: Option<f32>,
    /// How the learning rate, the momentum or the drop rates go over the epochs, as a factor of their value: `constant`,
    /// `linear:FROM..TO[:EPOCHS]`, `exponential:TO[:EPOCHS]`, `early:EPOCHS` (then 0), `late:EPOCHS` (0 before); EPOCHS left out are all.
    /// Several with commas between
    #[arg(long, value_name = schedule::FORM, value_delimiter = ',')]
    schedule: Vec<schedule::Planned>,
    /// Visit the rows in file order in every epoch
    #[arg(long)]
    no_shuffle: bool,
    /// Where to save the network after each epoch; with `--epochs 0` the starting weights
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Go on from a saved network: layers, mode, rates and seed are the file's; batch and update are those given here
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
}

/// Units of each hidden layer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hidden(Vec<usize>);

impl Display for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("none"),
            units => f.write_str(&units.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

fn hidden(text: &str) -> Result<Hidden, String> {
    if matches!(text.trim(), "" | "none") {
        return Ok(Hidden(Vec::new()));
    }
    // The largest width that a network takes.
    let most = u32::MAX as usize / 2;
    let width = |text: &str| text.trim().parse().ok().filter(|&units| (1..=most).contains(&units));
    let widths: Option<_> = text.split(',').map(width).collect();
    widths.map(Hidden).ok_or_else(|| format!("must be whole numbers from 1 to {most} with commas between, or `none`"))
}

impl Args {
    /// How the network is trained on so many rows.
    pub fn training(&self, rows: usize) -> Training {
        let Self { lr, momentum, weight_decay, l1, max_norm, .. } = *self;
        let rule = SgdRule { lr, momentum, weight_decay, l1, max_norm };
        let schedules = schedule::schedules(&self.schedule, self.epochs, rows.div_ceil(self.batch.max(1)));
        Training { batch: self.batch, shuffle: !self.no_shuffle, rule, schedules }
    }

    /// Refuses settings that mean nothing, before any data is read.
    pub fn check(&self) -> Result<(), Failure> {
        self.training(1).check().map_err(Failure::usage)
    }

    fn rate(&self) -> Option<Rate> {
        self.drop.or(self.keep)
    }

    fn input_rate(&self) -> Option<Rate> {
        self.input_drop.or(self.input_keep)
    }

    /// A new network for data of so many features and classes.
    pub fn architecture(&self, inputs: usize, classes: usize, seed: u64) -> wgpu_dropout::Result<Architecture> {
        Ok(Architecture {
            inputs,
            hidden: self.hidden.clone().map_or_else(|| vec![256, 256], |hidden| hidden.0),
            classes,
            mode: self.mode.unwrap_or_default(),
            rate: self.rate().map_or_else(|| Rate::drop(0.5), Ok)?,
            input_rate: self.input_rate().unwrap_or(Rate::KEEP_ALL),
            seed,
        })
    }

    /// Refuses options that contradict the saved network of `file`.
    pub fn check_resumed(&self, file: &str, saved: &Architecture, epoch: u32, seed: Option<u64>) -> Result<(), Failure> {
        // Rates are compared as they are in effect: what was asked for may have lost its last bit on the way through the file.
        let effect = |rate: Rate| rate.drop_in_effect();
        agree(file, "--hidden", self.hidden.as_ref(), &Hidden(saved.hidden.clone()))?;
        agree(file, "--mode", self.mode.as_ref(), &saved.mode)?;
        if saved.mode != Mode::None {
            agree(file, "the drop rate", self.rate().map(effect).as_ref(), &effect(saved.rate))?;
            agree(file, "the input's drop rate", self.input_rate().map(effect).as_ref(), &effect(saved.input_rate))?;
        }
        agree(file, "--seed", seed.as_ref(), &saved.seed)?;
        if self.epochs < epoch {
            let what = format!("--epochs {}: {file} has {epoch} behind it already, and the number is the total", self.epochs);
            return Err(Failure::Usage(what));
        }
        Ok(())
    }
}

fn agree<T: PartialEq + Display>(file: &str, what: &str, given: Option<&T>, saved: &T) -> Result<(), Failure> {
    match given {
        Some(given) if given != saved => {
            Err(Failure::Usage(format!("{what} {given} contradicts {file}, which was saved with {saved}: leave it out")))
        }
        _ => Ok(()),
    }
}
