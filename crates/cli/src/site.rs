//! A dropout site on the command line: its rate, and the key from which its mask is drawn.

use crate::args::integer;
use crate::failure::Failure;
use crate::rate::{RateArgs, describe_keep};
use wgpu_dropout::mask::{MAX_COLS, MAX_ROWS};
use wgpu_dropout::{Dropout, Key, Mask, Mode, Rate};

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
    pub mode: Mode,
    /// Predict: draw no mask; vanilla multiplies by the keep rate
    #[arg(long)]
    pub predict: bool,
}

impl AppliedSite {
    /// Returns true if the site draws a mask: it trains, and its mode drops.
    pub fn draws(&self) -> bool {
        self.mode != Mode::None && !self.predict
    }

    /// Returns true if the rate does not affect the result.
    fn ignores_rate(&self) -> bool {
        self.mode == Mode::None || (self.mode == Mode::Inverted && self.predict)
    }

    /// Returns the site's mask.
    pub fn mask(&self, seed: u64) -> Result<Mask, Failure> {
        Ok(self.site.mask(self.site.rate.needed()?, seed))
    }

    /// Returns the mask and the scale.
    pub fn dropout(&self, seed: u64) -> Result<Dropout, Failure> {
        let rate = match self.site.rate.given() {
            None if self.ignores_rate() => Rate::KEEP_ALL,
            _ => self.site.rate.needed()?,
        };
        Ok(if self.predict {
            Dropout::predict(self.mode, rate)
        } else {
            Dropout::train(self.mode, self.site.mask(rate, seed))
        })
    }

    /// Returns the scale of the elements that a given mask keeps. Only inverted dropout needs a
    /// rate for it.
    pub fn scale(&self) -> Result<f32, Failure> {
        match self.mode {
            Mode::Inverted => Ok(self.site.rate.needed()?.inverse()),
            Mode::None | Mode::Vanilla => Ok(1.0),
        }
    }

    /// Prints a line to stderr if the rate affects the result and 16 bits change it notably.
    pub fn remark(&self) {
        if !self.ignores_rate() {
            self.site.rate.remark();
        }
    }

    /// Describes the site, for example `inverted dropout, keep 0.8 (0.8000030517578125 in effect)`.
    pub fn describe(&self, dropout: &Dropout) -> String {
        let rate = dropout.mask.rate;
        match (self.predict, self.mode) {
            (true, Mode::Vanilla) => {
                format!("prediction, vanilla, multiplied by {}", dropout.scale)
            }
            (true, mode) => format!("prediction, {mode}"),
            (false, Mode::None) => "no dropout".to_owned(),
            (false, mode) => format!("{mode} dropout, {}", describe_keep(rate)),
        }
    }
}
