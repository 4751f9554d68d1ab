//! How a race is timed: repetitions in one submit, the device's own clock where it has one, and turns that alternate.

use super::work::Work;
use std::time::{Duration, Instant};
use wgpu_dropout::Result;

/// Rounds below which a median means nothing, whatever they take.
const MIN_ROUNDS: usize = 3;
/// Calls in one submit, so that the parameters of all of them fit.
const MAX_REPEATS: f64 = 64.0;

/// How thoroughly a race is timed.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds in which each kernel has a turn.
    pub rounds: usize,
    /// What a turn should take: short kernels are called repeatedly.
    pub turn: Duration,
    /// When to start no further round.
    pub budget: Duration,
}

impl Effort {
    /// Enough for figures that can be quoted, or with `quick` for a look.
    pub const fn new(quick: bool) -> Self {
        match quick {
            true => Self { rounds: 5, turn: Duration::from_millis(10), budget: Duration::from_secs(1) },
            false => Self { rounds: 15, turn: Duration::from_millis(50), budget: Duration::from_secs(10) },
        }
    }
}

/// How long a kernel takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Median over the rounds, in seconds: by the device's own clock where it has one.
    pub median: f64,
    /// The interquartile range as a share of the median.
    pub spread: f64,
    /// Median by the wall clock, from the first call to the end of the wait, in seconds.
    pub wall: f64,
}

/// One turn: seconds a call by the wall clock, and by the device's.
#[derive(Debug, Clone, Copy)]
struct Turn {
    wall: f64,
    device: Option<f64>,
}

/// Times every kernel of the work, in turns.
pub fn race(work: &mut impl Work, effort: &Effort) -> Result<Vec<Timing>> {
    let count = work.entries().len();
    let mut repeats = Vec::with_capacity(count);
    for entry in 0..count {
        // The first call compiles and allocates.
        turn(work, entry, 1)?;
        let once = turn(work, entry, 1)?.wall;
        repeats.push((effort.turn.as_secs_f64() / once).clamp(1.0, MAX_REPEATS) as usize);
    }
    let mut turns: Vec<Vec<Turn>> = vec![Vec::with_capacity(effort.rounds); count];
    let start = Instant::now();
    for round in 0..effort.rounds {
        if round >= MIN_ROUNDS && start.elapsed() > effort.budget {
            break;
        }
        for i in 0..count {
            // There and back, so that what else goes on meets every kernel alike.
            let entry = if round.is_multiple_of(2) { i } else { count - 1 - i };
            turns[entry].push(turn(work, entry, repeats[entry])?);
        }
    }
    Ok(turns.iter().zip(work.entries()).map(|(turns, entry)| summary(turns, entry.per_call)).collect())
}

fn turn(work: &mut impl Work, entry: usize, repeats: usize) -> Result<Turn> {
    let start = Instant::now();
    for _ in 0..repeats {
        work.call(entry)?;
    }
    let device = work.finish()?;
    let each = |duration: Duration| duration.as_secs_f64() / repeats as f64;
    Ok(Turn { wall: each(start.elapsed()), device: device.map(each) })
}

fn summary(turns: &[Turn], per_call: usize) -> Timing {
    let share = 1.0 / per_call as f64;
    let wall = sorted(turns.iter().map(|turn| turn.wall * share).collect());
    let device: Option<Vec<f64>> =
        turns.iter().map(|turn| turn.device.filter(|&seconds| seconds > 0.0).map(|seconds| seconds * share)).collect();
    let times = device.map_or_else(|| wall.clone(), sorted);
    let median = quantile(&times, 0.5);
    Timing { median, spread: (quantile(&times, 0.75) - quantile(&times, 0.25)) / median, wall: quantile(&wall, 0.5) }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The value below which a share of the sorted values lies, between neighbours in proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * sorted.len().saturating_sub(1) as f64;
    let at = |place: f64| sorted.get(place as usize).copied().unwrap_or(f64::NAN);
    let (low, high) = (at(place.floor()), at(place.ceil()));
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(walls: &[f64], device: Option<f64>) -> Vec<Turn> {
        walls.iter().map(|&wall| Turn { wall, device }).collect()
    }

    #[test]
    fn medians_and_quartiles_lie_between_neighbours() {
        let timing = summary(&turns(&[4.0, 1.0, 3.0, 2.0], None), 1);
        assert_eq!(timing, Timing { median: 2.5, spread: 0.6, wall: 2.5 });
        assert_eq!(summary(&turns(&[14.0], None), 2), Timing { median: 7.0, spread: 0.0, wall: 7.0 });
    }

    #[test]
    fn the_device_s_clock_counts_where_there_is_one() {
        assert_eq!(summary(&turns(&[4.0, 4.0], Some(3.0)), 1), Timing { median: 3.0, spread: 0.0, wall: 4.0 });
        assert_eq!(summary(&turns(&[4.0, 4.0], Some(0.0)), 1).median, 4.0);
    }
}
