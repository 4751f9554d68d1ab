//! A dropout site on the command line: its rate, and the key from which its mask is drawn.

use crate::args::integer;
use crate::failure::Failure;
use wgpu_dropout::mask::{MAX_COLS, MAX_ROWS};
use wgpu_dropout::{ContractError, Dropout, Key, Mask, Mode, Rate};

/// The rate, given as a drop or a keep probability.
#[derive(Debug, clap::Args)]
pub struct RateArgs {
    /// Probability to drop an element, 0 to 1
    #[arg(long, value_name = "RATE", value_parser = drop_rate, allow_negative_numbers = true, conflicts_with = "keep")]
    drop: Option<Rate>,
    /// Probability to keep an element, 0 to 1
    #[arg(long, value_name = "RATE", value_parser = keep_rate, allow_negative_numbers = true)]
    keep: Option<Rate>,
}

impl RateArgs {
    /// Returns the rate, if one was given.
    pub fn given(&self) -> Option<Rate> {
        self.drop.or(self.keep)
    }

    /// Returns the rate, or an error if none was given.
    pub fn needed(&self) -> Result<Rate, Failure> {
        self.given().ok_or_else(|| Failure::usage("a rate is needed: --drop RATE or --keep RATE"))
    }
}

/// The rates of a network's layers, and when it scales.
#[derive(Debug, clap::Args)]
pub struct NetworkRates {
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
    /// When the scale is applied: `none` drops nothing and ignores the rates, `vanilla` scales
    /// while predicting, `inverted` while training [default: inverted]
    #[arg(long, value_name = "none|vanilla|inverted")]
    pub mode: Option<Mode>,
}

impl NetworkRates {
    /// Returns the rate of the hidden layers, if one was given.
    pub fn given(&self) -> Option<Rate> {
        self.drop.or(self.keep)
    }

    /// Returns the rate of the input, if one was given.
    pub fn input_given(&self) -> Option<Rate> {
        self.input_drop.or(self.input_keep)
    }

    /// Returns the rate of the hidden layers.
    pub fn hidden(&self) -> wgpu_dropout::Result<Rate> {
        match self.given() {
            Some(rate) => Ok(rate),
            None => Ok(Rate::drop(0.5)?),
        }
    }

    /// Returns the rate of the input.
    pub fn input(&self) -> Rate {
        self.input_given().unwrap_or(Rate::KEEP_ALL)
    }

    /// Returns the mode.
    pub fn mode(&self) -> Mode {
        self.mode.unwrap_or_default()
    }
}

/// Parses a rate given as the probability to drop.
fn drop_rate(text: &str) -> Result<Rate, String> {
    rate(text, Rate::drop)
}

/// Parses a rate given as the probability to keep.
fn keep_rate(text: &str) -> Result<Rate, String> {
    rate(text, Rate::keep)
}

fn rate(text: &str, make: impl Fn(f64) -> Result<Rate, ContractError>) -> Result<Rate, String> {
    let number = text.parse().map_err(|_| "must be a number between 0 and 1".to_owned())?;
    make(number).map_err(|error| error.to_string())
}

/// Everything that a mask is drawn from except the seed.
#[derive(Debug, clap::Args)]
pub struct Site {
    #[command(flatten)]
    pub rate: RateArgs,
    /// Layer to which the mask belongs, decimal or 0x
    #[arg(long, default_value = "0", value_parser = integer::<u32>, allow_negative_numbers = true)]
    layer: u32,
    /// Training step to which the mask belongs, decimal or 0x
    #[arg(long, default_value = "0", value_parser = integer::<u32>, allow_negative_numbers = true)]
    step: u32,
    /// Row of the whole tensor at which this part of it starts, decimal or 0x
    #[arg(long, default_value = "0", value_parser = row_offset, allow_negative_numbers = true)]
    row_offset: u64,
    /// Column of the whole tensor at which this part of it starts, decimal or 0x
    #[arg(long, default_value = "0", value_parser = col_offset, allow_negative_numbers = true)]
    col_offset: u64,
}

fn row_offset(text: &str) -> Result<u64, String> {
    offset(text, MAX_ROWS)
}

fn col_offset(text: &str) -> Result<u64, String> {
    offset(text, MAX_COLS)
}

fn offset(text: &str, most: u64) -> Result<u64, String> {
    let value = integer(text)?;
    if value <= most { Ok(value) } else { Err(format!("must be at most {most}")) }
}

impl Site {
    /// Returns the site's mask at a rate and a seed.
    pub fn mask(&self, rate: Rate, seed: u64) -> Mask {
        Mask::new(rate, Key { seed, layer: self.layer, step: self.step })
            .at(self.row_offset, self.col_offset)
    }
}

/// A site applied by a kernel, in training or prediction.
#[derive(Debug, clap::Args)]
pub struct AppliedSite {
    #[command(flatten)]
    site: Site,
    /// When the scale is applied: `none` drops nothing and ignores the rate, `vanilla` scales
    /// while predicting, `inverted` while training
    #[arg(long, default_value_t = Mode::Inverted, value_name = "none|vanilla|inverted")]
    mode: Mode,
    /// Predict: draw no mask; vanilla multiplies by the keep rate
    #[arg(long)]
    pub predict: bool,
}

impl AppliedSite {
    /// Returns the mask and the scale.
    pub fn dropout(&self, seed: u64) -> Result<Dropout, Failure> {
        // A rate is required only if it affects the result.
        let ignored = self.mode == Mode::None || (self.mode == Mode::Inverted && self.predict);
        let rate = match self.site.rate.given() {
            None if ignored => Rate::KEEP_ALL,
            _ => self.site.rate.needed()?,
        };
        Ok(if self.predict {
            Dropout::predict(self.mode, rate)
        } else {
            Dropout::train(self.mode, self.site.mask(rate, seed))
        })
    }

    /// Describes the site, for example `inverted dropout, keep 0.8 (0.8000031 in effect)`.
    pub fn describe(&self, dropout: &Dropout) -> String {
        let rate = dropout.mask.rate;
        match (self.predict, self.mode) {
            (true, Mode::Vanilla) => {
                format!("prediction, vanilla, multiplied by {}", dropout.scale)
            }
            (true, mode) => format!("prediction, {mode}"),
            (false, Mode::None) => "no dropout".to_owned(),
            (false, mode) => format!("{mode} dropout, {}", describe_rate(rate)),
        }
    }
}

/// Formats a rate as requested and, if 16 bits cannot represent it, also as it is in effect.
pub fn describe_rate(rate: Rate) -> String {
    if rate.keep_asked() == rate.keep_in_effect() {
        format!("keep {}", rate.keep_asked())
    } else {
        format!("keep {} ({} in effect)", rate.keep_asked(), rate.keep_in_effect())
    }
}
