//! The statistical battery: tests that masks look like independent draws along every coordinate and
//! key.
//!
//! Each statistic is a z value of a mask with a known rate, and its magnitude must stay below
//! [`BOUND`]. The controls are masks that must fail: Philox with 3 rounds, and sound masks with a
//! lag planted along one axis.

use super::check::{Check, Tally};
use super::form::Subject;
use super::statistics::{Bits, chi_squared, histogram};
use crate::Cpu;
use crate::call::MaskBits;
use crate::{Backend, Key, Mask, Rate, Result};
use std::time::{Duration, Instant};

/// Every |z| must be below this; chance alone exceeds it once in 1.7 million.
pub(super) const BOUND: f64 = 5.0;
const KEEPS: [f64; 5] = [0.5, 0.8, 0.1, 0.25, 0.9];
const LAGS: [i32; 5] = [1, 2, 4, 8, 64];
/// Number of columns of the masks; the number of rows depends on the size of the run.
const COLS: usize = 8192;
/// Masks of pairs of keys are smaller by this factor, because there are 128 of them.
const PAIRS: usize = 16;

/// Draws the bits of a mask with the given number of rows and [`COLS`] columns.
type Draw<'a> = &'a mut dyn FnMut(&Mask, usize) -> Result<Bits>;

/// Coordinate or key along which a mask can be moved.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Axis {
    Columns,
    Rows,
    Layers,
    Steps,
    Seeds,
}

impl Axis {
    const ALL: [Self; 5] = [Self::Columns, Self::Rows, Self::Layers, Self::Steps, Self::Seeds];

    /// Returns the mask moved by `lag` along the axis, backwards if it is negative.
    fn moved(self, mask: &Mask, lag: i32) -> Mask {
        let Key { seed, layer, step } = mask.key;
        let keyed = |key| Mask { key, ..*mask };
        match self {
            Self::Columns => {
                mask.at(mask.row_offset, mask.col_offset.wrapping_add_signed(lag.into()))
            }
            Self::Rows => mask.at(mask.row_offset.wrapping_add_signed(lag.into()), mask.col_offset),
            Self::Layers => keyed(Key { layer: layer.wrapping_add_signed(lag), ..mask.key }),
            Self::Steps => keyed(Key { step: step.wrapping_add_signed(lag), ..mask.key }),
            Self::Seeds => keyed(Key { seed: seed.wrapping_add_signed(lag.into()), ..mask.key }),
        }
    }
}

/// A statistic and its description.
struct Score {
    what: String,
    z: f64,
}

/// Draws a mask on a device.
pub(super) fn draw<B: Backend>(backend: &mut B, mask: &Mask, rows: usize) -> Result<Bits> {
    let mut bits = backend.zeros::<u32>(rows, COLS / 32)?;
    backend.run(MaskBits { bits: &mut bits, cols: COLS, mask: *mask })?;
    Ok(Bits::new(&backend.read(&bits)?, COLS / 64))
}

/// Returns the number of mask rows with which the whole battery takes about as long as `patience`
/// allows, at most `draws / COLS`.
pub(super) fn rows<B: Backend>(backend: &mut B, draws: u64, patience: Duration) -> Result<usize> {
    let most = (draws / COLS as u64).max(128) as usize;
    let probe = most.min(512);
    let mask = Mask::new(Rate::keep(0.5)?, Key::default());
    // The first draw compiles the kernel.
    draw(backend, &mask, probe)?;
    let started = Instant::now();
    draw(backend, &mask, probe)?.mean(0.5);
    let masks = KEEPS.len() * (1 + 3 * LAGS.len() + 129 / PAIRS);
    let affordable = patience.as_secs_f64()
        / (started.elapsed().as_secs_f64().max(1e-6) * masks as f64)
        * probe as f64;
    // Use a power of two, so that the size varies less between runs.
    let affordable = 1 << (affordable.clamp(128.0, 1e9) as usize).ilog2();
    Ok(affordable.min(most))
}

/// Computes every statistic at one rate.
fn scores(draw: Draw<'_>, key: Key, keep: f64, rows: usize) -> Result<Vec<Score>> {
    let mask = Mask::new(Rate::keep(keep)?, key);
    let p = mask.rate.keep_in_effect();
    let bits = draw(&mask, rows)?;
    let mut scores = Vec::new();
    let mut score =
        |what: String, z: f64| scores.push(Score { what: format!("keep {keep}, {what}"), z });
    score("mean".to_owned(), bits.mean(p));
    score("variance".to_owned(), bits.variance(p));
    score("runs".to_owned(), bits.runs(p));
    score("bytes".to_owned(), bits.bytes(p));
    for lag in LAGS {
        for axis in Axis::ALL {
            let z = match axis {
                Axis::Columns => bits.along_columns(p, lag as usize),
                Axis::Rows => bits.along_rows(p, lag as usize),
                _ => bits.with(&draw(&axis.moved(&mask, lag), rows)?, p),
            };
            score(format!("{axis:?} at lag {lag}"), z);
        }
    }
    let rows = rows.div_ceil(PAIRS);
    let small = Bits { words: bits.words[..rows * bits.width].to_vec(), width: bits.width };
    for bit in 0..128u32 {
        let Key { seed, layer, step } = key;
        let (name, other) = match bit {
            0..64 => ("seed", Key { seed: seed ^ 1 << bit, ..key }),
            64..96 => ("layer", Key { layer: layer ^ 1 << (bit - 64), ..key }),
            _ => ("step", Key { step: step ^ 1 << (bit - 96), ..key }),
        };
        let other = draw(&Mask { key: other, ..mask }, rows)?;
        score(
            format!("keys that differ in bit {} of {name}", bit % if bit < 64 { 64 } else { 32 }),
            small.with(&other, p),
        );
    }
    Ok(scores)
}

/// Describes a score outside the bound.
fn tell(score: &Score) -> String {
    format!("{}: z = {:.2}, expected |z| < {BOUND}", score.what, score.z)
}

/// Runs the battery over masks of `rows` × 8,192 elements per rate.
pub(super) fn masks<B: Backend>(backend: &mut B, seed: u64, rows: usize) -> Result<Check> {
    let mut tally = Tally::new("statistics of masks: |z| < 5");
    let mut worst = Score { what: String::new(), z: 0.0 };
    for keep in KEEPS {
        let key = Key { seed, ..Key::default() };
        for score in scores(&mut |mask, rows| draw(backend, mask, rows), key, keep, rows)? {
            // A NaN compares false and fails.
            let inside = score.z.abs() < BOUND;
            tally.case((!inside).then(|| tell(&score)));
            if score.z.abs() > worst.z.abs() {
                worst = score;
            }
        }
    }
    let size = (rows * COLS).ilog2();
    Ok(tally.finish(format!("2^{size} draws per rate; largest z {:.2} ({})", worst.z, worst.what)))
}

/// Computes χ² of each byte of the generator's words, over consecutive counters.
pub(super) fn words<B: Subject>(backend: &mut B, seed: u64, rows: usize) -> Result<Check> {
    let mut tally = Tally::new("statistics of Philox's bytes: |z| < 5");
    let scores =
        byte_scores(&mut |inputs| backend.philox(inputs), seed, rows.next_power_of_two() * 32)?;
    scores.iter().for_each(|score| {
        tally.case((score.z.abs() >= BOUND || score.z.is_nan()).then(|| tell(score)))
    });
    let worst = scores
        .iter()
        .map(|score| score.z)
        .fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
    Ok(tally.finish(format!(
        "χ² over {} words; largest z {worst:.2}",
        4 * rows.next_power_of_two() * 32
    )))
}

type Words<'a> = &'a mut dyn FnMut(&[[u32; 6]]) -> Result<Vec<[u32; 4]>>;

fn byte_scores(words: Words<'_>, seed: u64, count: usize) -> Result<Vec<Score>> {
    let [low, high] = crate::philox::key(seed);
    let mut counts = vec![[0; 256]; 16];
    let inputs: Vec<[u32; 6]> =
        (0..count as u32).map(|i| [i % 1024, i / 1024, 0, 0, low, high]).collect();
    for inputs in inputs.chunks(1 << 18) {
        let words = words(inputs)?;
        for (place, counts) in counts.iter_mut().enumerate() {
            let found =
                histogram(words.iter().map(|words| (words[place / 4] >> (8 * (place % 4))) as u8));
            counts.iter_mut().zip(found).for_each(|(sum, count)| *sum += count);
        }
    }
    let score = |(place, counts): (usize, &[u64; 256])| Score {
        what: format!("byte {} of word {}", place % 4, place / 4),
        z: chi_squared(counts, |_| 1.0 / 256.0),
    };
    Ok(counts.iter().enumerate().map(score).collect())
}

/// Runs a control: masks of a generator known to be bad, which must fail.
pub(super) fn rejects<B: Backend>(
    what: &str,
    backend: &mut B,
    seed: u64,
    rows: usize,
) -> Result<Check> {
    let mut tally = Tally::new(format!("control: {what} must fail"));
    let (mut failed, mut first) = (0, String::new());
    let mut all = 0;
    for keep in KEEPS {
        let key = Key { seed, ..Key::default() };
        let scores = scores(&mut |mask, rows| draw(backend, mask, rows), key, keep, rows)?;
        all += scores.len();
        let outside: Vec<&Score> =
            scores.iter().filter(|score| score.z.abs() >= BOUND || score.z.is_nan()).collect();
        failed += outside.len();
        if let Some(score) = outside.first().filter(|_| first.is_empty()) {
            first = format!("{}: z = {:.1}", score.what, score.z);
        }
        tally.case(outside.is_empty().then(|| format!("keep {keep}: every |z| < {BOUND}")));
    }
    Ok(tally.finish(format!("{failed} of {all} statistics fail, first {first}")))
}

/// Runs a control: in sound masks, one bit in sixteen repeats the bit that lies `lag` before it
/// along an axis. The battery must detect each of them.
pub(super) fn finds_planted_lags(seed: u64) -> Result<Check> {
    let mut tally = Tally::new("control: a planted lag must fail");
    let mut least = f64::INFINITY;
    let mut cpu = Cpu::new();
    for axis in Axis::ALL {
        for lag in LAGS {
            let name = format!("{axis:?} at lag {lag}");
            let mut planted = |mask: &Mask, rows: usize| {
                let chosen = Mask {
                    key: Key { seed: !mask.key.seed, ..mask.key },
                    rate: Rate::keep(1.0 / 16.0)?,
                    ..*mask
                };
                let here = draw(&mut cpu, mask, rows)?;
                let before = draw(&mut cpu, &axis.moved(mask, -lag), rows)?;
                let chosen = draw(&mut cpu, &chosen, rows)?;
                let mix = |((here, before), chosen): ((&u64, &u64), &u64)| {
                    here & !chosen | before & chosen
                };
                let words =
                    here.words.iter().zip(&before.words).zip(&chosen.words).map(mix).collect();
                Ok::<Bits, crate::Error>(Bits { words, width: here.width })
            };
            // Far from 0, so that all lags stay within range.
            let key = Key { seed: seed | 1 << 40, layer: 1 << 20, step: 1 << 20 };
            let mask = Mask::new(Rate::keep(0.5)?, key).at(1 << 20, 1 << 20);
            let bits = planted(&mask, 128)?;
            let z = match axis {
                Axis::Columns => bits.along_columns(0.5, lag as usize),
                Axis::Rows => bits.along_rows(0.5, lag as usize),
                _ => planted(&axis.moved(&mask, lag), 128)?.with(&bits, 0.5),
            };
            least = least.min(z.abs());
            let found = z.abs() >= BOUND;
            tally.case((!found).then(|| format!("{name}: z = {z:.2}, expected |z| >= {BOUND}")));
        }
    }
    Ok(tally.finish(format!("1 bit in 16 repeats: smallest z {least:.1}")))
}
