//! Rates on the command line, as they are asked for and as they are in effect.

use crate::failure::Failure;
use crate::output;
use wgpu_dropout::{Mode, Rate};

/// Largest relative difference between a rate asked for and the one in effect that is not worth a
/// line.
const TOLERANCE: f64 = 0.01;

/// Rate as it was asked for: a number, and the option that gave it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked {
    kind: Kind,
    number: f64,
    rate: Rate,
}

/// Meaning of a number that is given as a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Drop,
    Keep,
}

impl Asked {
    fn parse(text: &str, kind: Kind) -> Result<Self, String> {
        let number = text.parse().map_err(|_| "must be a number between 0 and 1".to_owned())?;
        let rate = match kind {
            Kind::Drop => Rate::drop(number),
            Kind::Keep => Rate::keep(number),
        };
        rate.map(|rate| Self { kind, number, rate }).map_err(|error| error.to_string())
    }

    /// Returns the sentence that says what 16 bits make of the rate, if they turn it into 0 or 1,
    /// or change it or its drop rate by more than 1 %.
    fn remark(&self) -> Option<String> {
        let (kind, effect) = match self.kind {
            Kind::Drop => ("drop", self.rate.drop_in_effect()),
            Kind::Keep => ("keep", self.rate.keep_in_effect()),
        };
        // Not a number if 0 was asked for, which is exact.
        let off = (effect - self.number).abs() / self.number;
        let drop_off = (self.rate.drop_in_effect() / self.rate.drop_asked() - 1.0).abs();
        let end = effect == 0.0 || effect == 1.0;
        if effect == self.number || !(end || off > TOLERANCE || drop_off > TOLERANCE) {
            return None;
        }
        let consequence = match (end, self.rate.threshold()) {
            (false, _) if off > TOLERANCE => format!("off by {:.1} %", 100.0 * off),
            (false, _) => format!("and its drop rate off by {:.1} %", 100.0 * drop_off),
            (true, 0) => "so everything is dropped".to_owned(),
            (true, _) => "so nothing is dropped".to_owned(),
        };
        let asked = self.number;
        Some(format!(
            "a {kind} rate of {asked} is {effect} in effect, {consequence}: rates are multiples of 1/65536"
        ))
    }
}

/// Parses a rate given as the probability to drop.
fn drop_rate(text: &str) -> Result<Asked, String> {
    Asked::parse(text, Kind::Drop)
}

/// Parses a rate given as the probability to keep.
fn keep_rate(text: &str) -> Result<Asked, String> {
    Asked::parse(text, Kind::Keep)
}

/// Prints a line to stderr for each rate that 16 bits change notably.
fn remark(rates: &[Option<Asked>]) {
    rates.iter().flatten().filter_map(Asked::remark).for_each(|line| output::remark(&line));
}

/// The rate, given as a drop or a keep probability.
#[derive(Debug, clap::Args)]
pub struct RateArgs {
    /// Probability to drop an element, 0 to 1
    #[arg(long, value_name = "RATE", value_parser = drop_rate, allow_negative_numbers = true, conflicts_with = "keep")]
    drop: Option<Asked>,
    /// Probability to keep an element, 0 to 1
    #[arg(long, value_name = "RATE", value_parser = keep_rate, allow_negative_numbers = true)]
    keep: Option<Asked>,
}

impl RateArgs {
    /// Returns the rate, if one was given.
    pub fn given(&self) -> Option<Rate> {
        self.drop.or(self.keep).map(|asked| asked.rate)
    }

    /// Returns the rate, or an error if none was given.
    pub fn needed(&self) -> Result<Rate, Failure> {
        self.given().ok_or_else(|| Failure::usage("a rate is needed: --drop RATE or --keep RATE"))
    }

    /// Prints a line to stderr if 16 bits change the rate notably.
    pub fn remark(&self) {
        remark(&[self.drop, self.keep]);
    }
}

/// The rates of a network's layers, and when it scales.
#[derive(Debug, clap::Args)]
pub struct NetworkRates {
    /// Probability to drop a hidden unit [default: 0.5]
    #[arg(long, value_name = "RATE", value_parser = drop_rate, allow_negative_numbers = true, conflicts_with = "keep")]
    drop: Option<Asked>,
    /// Probability to keep a hidden unit
    #[arg(long, value_name = "RATE", value_parser = keep_rate, allow_negative_numbers = true)]
    keep: Option<Asked>,
    /// Probability to drop a feature of the input [default: 0]
    #[arg(long, value_name = "RATE", value_parser = drop_rate, allow_negative_numbers = true, conflicts_with = "input_keep")]
    input_drop: Option<Asked>,
    /// Probability to keep a feature of the input
    #[arg(long, value_name = "RATE", value_parser = keep_rate, allow_negative_numbers = true)]
    input_keep: Option<Asked>,
    /// When the scale is applied: `none` drops nothing and ignores the rates, `vanilla` scales
    /// while predicting, `inverted` while training [default: inverted]
    #[arg(long, value_name = "none|vanilla|inverted")]
    pub mode: Option<Mode>,
}

impl NetworkRates {
    /// Returns the rate of the hidden layers, if one was given.
    pub fn given(&self) -> Option<Rate> {
        self.drop.or(self.keep).map(|asked| asked.rate)
    }

    /// Returns the rate of the input, if one was given.
    pub fn input_given(&self) -> Option<Rate> {
        self.input_drop.or(self.input_keep).map(|asked| asked.rate)
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

    /// Prints a line to stderr for each rate that 16 bits change notably, unless `mode` ignores
    /// them.
    pub fn remark(&self, mode: Mode) {
        if mode != Mode::None {
            remark(&[self.drop, self.keep, self.input_drop, self.input_keep]);
        }
    }
}

/// Formats a rate as the probability to keep: as asked for and, if 16 bits cannot represent it,
/// also as it is in effect.
pub fn describe_keep(rate: Rate) -> String {
    format!("keep {}", describe(rate.keep_asked(), rate.keep_in_effect()))
}

/// Formats a rate as [`describe_keep`] does, as the probability to drop and without its name.
pub fn describe_drop(rate: Rate) -> String {
    // Rounded, without the digits left by the subtraction from 1.
    describe((rate.drop_asked() * 1e9).round() / 1e9, rate.drop_in_effect())
}

fn describe(asked: f64, effect: f64) -> String {
    if asked == effect { asked.to_string() } else { format!("{asked} ({effect} in effect)") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_16_bits_change_notably_is_remarked_upon() {
        let remark = |kind, text: &str| Asked::parse(text, kind).unwrap().remark();
        // From 50 multiples of 1/65536 on, rounding changes a rate by at most 1 %.
        for (kind, text, said) in [
            (Kind::Drop, "0", None),
            (Kind::Drop, "1", None),
            (Kind::Drop, "0.2", None),
            (Kind::Drop, "0.000767", None),
            (Kind::Drop, "0.9999", None),
            (Kind::Drop, "0.00002", Some("off by 23.7 %")),
            (Kind::Drop, "0.00001", Some("off by 52.6 %")),
            (Kind::Drop, "0.000007", Some("nothing is dropped")),
            (Kind::Drop, "1e-300", Some("nothing is dropped")),
            (Kind::Drop, "0.999999", Some("everything is dropped")),
            (Kind::Keep, "0.999999", Some("nothing is dropped")),
            (Kind::Keep, "0.0001", Some("off by 6.8 %")),
            (Kind::Keep, "0.9999", Some("and its drop rate off by 6.8 %")),
            (Kind::Keep, "0.9", None),
            (Kind::Keep, "1e-9", Some("everything is dropped")),
            (Kind::Keep, "0", None),
            (Kind::Keep, "1", None),
        ] {
            let line = remark(kind, text);
            assert_eq!(line.is_some(), said.is_some(), "{kind:?} {text}: {line:?}");
            assert!(
                line.iter().all(|line| said.is_some_and(|said| line.contains(said))),
                "{kind:?} {text}: {line:?}"
            );
        }
    }

    #[test]
    fn a_rate_is_shown_as_asked_for_and_as_it_is_in_effect() {
        let half = Rate::drop(0.5).unwrap();
        assert_eq!((describe_drop(half), describe_keep(half)), ("0.5".into(), "keep 0.5".into()));
        let fifth = Rate::drop(0.2).unwrap();
        assert_eq!(describe_drop(fifth), "0.2 (0.1999969482421875 in effect)");
        assert_eq!(describe_keep(fifth), "keep 0.8 (0.8000030517578125 in effect)");
    }
}
