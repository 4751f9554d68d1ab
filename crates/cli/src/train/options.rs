//! Command line of `train`.

use super::schedule;
use crate::args::integer;
use crate::data;
use crate::failure::Failure;
use crate::rate::NetworkRates;
use std::fmt::Display;
use std::path::PathBuf;
use wgpu_dropout::call::SgdRule;
use wgpu_dropout::mlp::{Architecture, BatchNormPlace, Optimizer, Training};
use wgpu_dropout::{Mode, Rate, Unit};

/// Arguments of `train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Data: the bundled digits, a folder of IDX files such as MNIST's, a CSV, or `-` for a CSV
    /// from stdin
    #[arg(long, default_value = "digits", value_name = "DIR|digits|FILE.csv|-")]
    pub data: PathBuf,
    /// Factor that turns the values of the data into features, which the saved network keeps
    /// [default: that of a resumed network; else 1/16 for the digits, 1/255 for IDX files, 1 for a
    /// CSV]
    #[arg(long, value_name = "1/16|1/255|1")]
    pub unit: Option<Unit>,
    /// Units of each hidden layer, or `none` [default: 256,256]
    #[arg(long, value_name = "UNITS,…", value_parser = hidden)]
    hidden: Option<Hidden>,
    #[command(flatten)]
    pub rates: NetworkRates,
    /// Batch normalization in each hidden layer, before ReLU and dropout or after both [default:
    /// none]
    #[arg(long, value_name = "before|after")]
    pub batch_norm: Option<BatchNormPlace>,
    /// Total number of epochs, including those of a resumed run
    #[arg(long, default_value = "20", value_parser = integer::<u32>, allow_negative_numbers = true)]
    pub epochs: u32,
    /// Rows of a mini-batch [default: 64]
    #[arg(long, value_parser = integer::<usize>, allow_negative_numbers = true)]
    batch: Option<usize>,
    /// Optimizer: `sgd`, or `adamw` with the momentum as β₁ [default: sgd]
    #[arg(long, value_name = "sgd|adamw")]
    optimizer: Option<Optimizer>,
    /// AdamW's β₂, the decay rate of the mean square [default: 0.999]
    #[arg(long, allow_negative_numbers = true)]
    beta2: Option<f32>,
    /// AdamW's ε, added to the root of the mean square [default: 1e-8]
    #[arg(long, allow_negative_numbers = true)]
    epsilon: Option<f32>,
    /// Learning rate [default: 0.05, for adamw 0.001]
    #[arg(long, allow_negative_numbers = true)]
    lr: Option<f32>,
    /// Momentum [default: 0.9]
    #[arg(long, allow_negative_numbers = true)]
    momentum: Option<f32>,
    /// Weight decay (L2) of weights, not of biases [default: 0]
    #[arg(long, value_name = "LAMBDA", allow_negative_numbers = true)]
    weight_decay: Option<f32>,
    /// L1 penalty on weights, not on biases [default: 0]
    #[arg(long, value_name = "ALPHA", allow_negative_numbers = true)]
    l1: Option<f32>,
    /// Largest norm of a unit's incoming weights, or `none`. Papers state it for vanilla dropout;
    /// for inverted dropout, multiply it by the keep rate [default: none]
    #[arg(long, value_name = "NORM|none", value_parser = norm, allow_negative_numbers = true)]
    max_norm: Option<Norm>,
    /// Course of the learning rate, the momentum or the drop rates over the epochs, as a factor of
    /// their value: `constant`, `linear:FROM..TO[:EPOCHS]`, `exponential:TO[:EPOCHS]`,
    /// `early:EPOCHS` (then 0), `late:EPOCHS` (0 before). Without EPOCHS, a shape spans all epochs.
    /// Separate several schedules with commas
    #[arg(long, value_name = schedule::FORM, value_delimiter = ',')]
    schedule: Vec<schedule::Planned>,
    /// Visit the rows in file order in every epoch [default: in a different order in each epoch]
    #[arg(long)]
    no_shuffle: bool,
    /// Save the network to this file after each epoch; with `--epochs 0`, save the initial weights.
    /// `-` is stdout, which is written once, at the end
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Continue from a saved network. Layers, mode, rates and seed are those of the file, and so
    /// are the mini-batch and the update unless given here
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// Reading of the data.
    #[command(flatten)]
    pub reading: data::Options,
}

/// Units of each hidden layer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hidden(Vec<usize>);

impl Display for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("none"),
            units => {
                f.write_str(&units.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
        }
    }
}

fn hidden(text: &str) -> Result<Hidden, String> {
    if matches!(text.trim(), "" | "none") {
        return Ok(Hidden(Vec::new()));
    }
    // The largest width that a network accepts.
    let most = u32::MAX as usize / 2;
    let width = |text: &str| text.trim().parse().ok().filter(|&units| (1..=most).contains(&units));
    let widths: Option<_> = text.split(',').map(width).collect();
    widths.map(Hidden).ok_or_else(|| {
        format!("must be whole numbers from 1 to {most} separated by commas, or `none`")
    })
}

/// Largest norm of a unit's incoming weights, if limited.
#[derive(Debug, Clone, Copy)]
struct Norm(Option<f32>);

fn norm(text: &str) -> Result<Norm, String> {
    match text {
        "none" => Ok(Norm(None)),
        _ => text
            .parse()
            .map(|norm| Norm(Some(norm)))
            .map_err(|_| "must be a positive number, or `none`".to_owned()),
    }
}

impl Args {
    /// Returns the settings for training on `rows` rows: each as given, else as in the resumed
    /// network, else the default.
    pub fn training(&self, resumed: Option<&Training>, rows: usize) -> Result<Training, Failure> {
        let Training { batch, shuffle, rule, schedules, optimizer } =
            resumed.copied().unwrap_or_else(|| self.usual());
        let optimizer = self.optimizer(optimizer)?;
        let rule = SgdRule {
            lr: self.lr.unwrap_or(rule.lr),
            momentum: self.momentum.unwrap_or(rule.momentum),
            weight_decay: self.weight_decay.unwrap_or(rule.weight_decay),
            l1: self.l1.unwrap_or(rule.l1),
            max_norm: self.max_norm.map_or(rule.max_norm, |norm| norm.0),
        };
        let batch = self.batch.unwrap_or(batch);
        let schedules = schedule::schedules(
            schedules,
            &self.schedule,
            self.epochs,
            rows.div_ceil(batch.max(1)),
        );
        let training =
            Training { batch, shuffle: shuffle && !self.no_shuffle, rule, schedules, optimizer };
        training.check().map_err(Failure::usage)?;
        Ok(training)
    }

    /// Returns the defaults, which depend only on the optimizer.
    fn usual(&self) -> Training {
        let usual = Training::default();
        match self.optimizer.unwrap_or_default() {
            Optimizer::Sgd => usual,
            optimizer => Training { rule: SgdRule { lr: 0.001, ..usual.rule }, optimizer, ..usual },
        }
    }

    /// Returns the optimizer with the given settings, and with those of `before` for the rest.
    fn optimizer(&self, before: Optimizer) -> Result<Optimizer, Failure> {
        let asked = self.optimizer.filter(|asked| !asked.is_like(&before)).unwrap_or(before);
        match asked {
            Optimizer::AdamW { beta2, epsilon } => Ok(Optimizer::AdamW {
                beta2: self.beta2.unwrap_or(beta2),
                epsilon: self.epsilon.unwrap_or(epsilon),
            }),
            Optimizer::Sgd if self.beta2.is_some() || self.epsilon.is_some() => {
                Err(Failure::Usage(
                    "--beta2 and --epsilon are AdamW's: add --optimizer adamw".to_owned(),
                ))
            }
            Optimizer::Sgd => Ok(Optimizer::Sgd),
        }
    }

    /// Returns the architecture of a new network for data with these features and classes.
    pub fn architecture(
        &self,
        inputs: usize,
        classes: usize,
        seed: u64,
    ) -> wgpu_dropout::Result<Architecture> {
        Ok(Architecture {
            inputs,
            hidden: self.hidden.clone().map_or_else(|| vec![256, 256], |hidden| hidden.0),
            classes,
            mode: self.rates.mode(),
            rate: self.rates.hidden()?,
            input_rate: self.rates.input(),
            seed,
        })
    }

    /// Refuses options that contradict the saved network of `file`.
    pub fn check_resumed(
        &self,
        file: &str,
        (saved, batch_norm): (&Architecture, Option<BatchNormPlace>),
        epoch: u32,
        seed: Option<u64>,
    ) -> Result<(), Failure> {
        if self.batch_norm.is_some() && self.batch_norm != batch_norm {
            let saved = batch_norm.map_or("none".to_owned(), |place| place.to_string());
            return Err(Failure::Usage(format!(
                "--batch-norm contradicts {file}, which was saved with {saved}: leave it out"
            )));
        }
        // Compare the rates in effect: the requested rates may have lost their last bit when they
        // were saved.
        let effect = |rate: Rate| rate.drop_in_effect();
        agree(file, "--hidden", self.hidden.as_ref(), &Hidden(saved.hidden.clone()))?;
        let mode = &self.rates.mode;
        let rate = self.rates.given();
        let input_rate = self.rates.input_given();
        agree(file, "--mode", mode.as_ref(), &saved.mode)?;
        if saved.mode != Mode::None {
            agree(file, "the drop rate", rate.map(effect).as_ref(), &effect(saved.rate))?;
            agree(
                file,
                "the input's drop rate",
                input_rate.map(effect).as_ref(),
                &effect(saved.input_rate),
            )?;
        }
        agree(file, "--seed", seed.as_ref(), &saved.seed)?;
        if self.epochs < epoch {
            let what = format!(
                "--epochs {}: {file} has completed {epoch} epochs already, and --epochs is the total",
                self.epochs
            );
            return Err(Failure::Usage(what));
        }
        Ok(())
    }
}

fn agree<T: PartialEq + Display>(
    file: &str,
    what: &str,
    given: Option<&T>,
    saved: &T,
) -> Result<(), Failure> {
    match given {
        Some(given) if given != saved => Err(Failure::Usage(format!(
            "{what} {given} contradicts {file}, which was saved with {saved}: leave it out"
        ))),
        _ => Ok(()),
    }
}
