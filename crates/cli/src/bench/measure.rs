//! Timing of a race: repetitions in one submit, the device's own clock if it has one, and
//! alternating turns.

use super::statistics::Quartiles;
use super::work::{Entry, Work};
use std::time::{Duration, Instant};
use wgpu_dropout::Result;

/// Smallest number of rounds for a meaningful median, whatever time they take.
const MIN_ROUNDS: usize = 3;
/// Largest number of calls in one submit: the parameters of two dispatches per call must fit.
const MAX_REPEATS: f64 = 256.0;

/// Effort spent on timing a race.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Time for which the first kernel is called before the first round: a GPU that was idle, for
    /// example while pipelines were compiled, is slow at first.
    pub warm_up: Duration,
    /// Number of rounds. Each kernel has a turn in every round.
    pub rounds: usize,
    /// Target duration of a turn: short kernels are called repeatedly.
    pub turn: Duration,
    /// Time after which no further round starts.
    pub budget: Duration,
    /// Longest expected time of a single call; a race with a longer call is left out.
    pub call: Duration,
}

/// Time of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Seconds per call, by the device's own clock if it has one.
    pub seconds: Quartiles,
    /// Median seconds per call by the wall clock, from the first call to the end of the wait.
    pub wall: f64,
    /// Time divided by that of the race's first kernel, each ratio taken within a round.
    pub relative: Quartiles,
}

/// One turn: seconds per call by the wall clock, and by the device's clock.
#[derive(Debug, Clone, Copy)]
struct Turn {
    wall: f64,
    device: Option<f64>,
}

/// The turns of each kernel; the first kernel has two, before and after the others.
type Round = Vec<Vec<Turn>>;

/// Times every kernel of the work, in turns. Each round begins and ends with the first kernel, and
/// every second round runs the others in reverse order, so that disturbances affect all of them
/// equally.
pub fn race(work: &mut impl Work, entries: &[Entry], effort: &Effort) -> Result<Vec<Timing>> {
    let count = entries.len();
    let repeats: Vec<usize> = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| repeats(work, index, entry, effort))
        .collect::<Result<_>>()?;
    let start = Instant::now();
    while count > 0 && start.elapsed() < effort.warm_up {
        turn(work, 0, &entries[0], repeats[0])?;
    }
    let mut rounds: Vec<Round> = Vec::with_capacity(effort.rounds);
    let start = Instant::now();
    while rounds.len() < effort.rounds
        && (rounds.len() < MIN_ROUNDS || start.elapsed() < effort.budget)
    {
        let mut round: Round = vec![Vec::new(); count];
        let forwards = rounds.len().is_multiple_of(2);
        let others = (1..count).map(|i| if forwards { i } else { count - i });
        for index in (0..count.min(1)).chain(others).chain(0..usize::from(count > 1)) {
            round[index].push(turn(work, index, &entries[index], repeats[index])?);
        }
        rounds.push(round);
    }
    Ok(summary(&rounds))
}

/// Returns the number of calls of a kernel in a turn.
fn repeats(work: &mut impl Work, index: usize, entry: &Entry, effort: &Effort) -> Result<usize> {
    // The first call compiles and allocates.
    turn(work, index, entry, 1)?;
    let once = turn(work, index, entry, 1)?.wall * entry.per_call as f64;
    Ok((effort.turn.as_secs_f64() / once).clamp(1.0, MAX_REPEATS) as usize)
}

fn turn(work: &mut impl Work, index: usize, entry: &Entry, repeats: usize) -> Result<Turn> {
    let start = Instant::now();
    for _ in 0..repeats {
        work.call(index)?;
    }
    let device = work.finish()?;
    let each = |duration: Duration| duration.as_secs_f64() / (repeats * entry.per_call) as f64;
    Ok(Turn { wall: each(start.elapsed()), device: device.map(each) })
}

fn summary(rounds: &[Round]) -> Vec<Timing> {
    // A clock too coarse for one of the kernels would make its ratios meaningless, so all kernels
    // are timed by the same clock.
    let by_device = rounds
        .iter()
        .flatten()
        .flatten()
        .all(|turn| turn.device.is_some_and(|seconds| seconds > 0.0));
    let seconds = |turn: &Turn| turn.device.filter(|_| by_device).unwrap_or(turn.wall);
    let mean = |turns: &Vec<Turn>| turns.iter().map(seconds).sum::<f64>() / turns.len() as f64;
    let timing = |kernel: usize| {
        let turns = || rounds.iter().flat_map(|round| &round[kernel]);
        Timing {
            seconds: Quartiles::of(turns().map(seconds)),
            wall: Quartiles::of(turns().map(|turn| turn.wall)).median,
            relative: Quartiles::of(
                rounds.iter().map(|round| mean(&round[kernel]) / mean(&round[0])),
            ),
        }
    };
    (0..rounds.first().map_or(0, Vec::len)).map(timing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::elementwise;

    fn turns<const N: usize>(walls: [f64; N], device: Option<f64>) -> Vec<Turn> {
        walls.map(|wall| Turn { wall, device }).to_vec()
    }

    #[test]
    fn ratios_are_taken_within_a_round_so_that_a_machine_that_slows_down_does_not_change_them() {
        // The second kernel takes 1.5 times as long, on a machine that takes twice as long in each
        // round as in the one before.
        let rounds: Vec<Round> = [1.0, 2.0, 4.0]
            .map(|slow| vec![turns([0.9 * slow, 1.1 * slow], None), turns([1.5 * slow], None)])
            .to_vec();
        let timings = summary(&rounds);
        assert!(
            (timings[1].relative.median - 1.5).abs() < 1e-12
                && timings[1].relative.spread() < 1e-12,
            "{timings:?}"
        );
        assert_eq!(timings[1].seconds, Quartiles { low: 2.25, median: 3.0, high: 4.5 });
        // Of 0.9, 1.1, 1.8, 2.2, 3.6, 4.4.
        assert_eq!(timings[0].seconds.median, 2.0);
        assert_eq!(timings[0].relative, Quartiles { low: 1.0, median: 1.0, high: 1.0 });
    }

    #[test]
    fn the_device_s_clock_counts_where_it_ticks_for_every_kernel() {
        let round = |device| vec![vec![turns([4.0, 4.0], Some(3.0)), turns([5.0], device)]];
        let by_device = summary(&round(Some(2.0)));
        assert_eq!(
            (by_device[0].seconds.median, by_device[0].wall, by_device[1].seconds.median),
            (3.0, 4.0, 2.0)
        );
        for silent in [Some(0.0), None] {
            assert_eq!(
                summary(&round(silent))
                    .iter()
                    .map(|timing| timing.seconds.median)
                    .collect::<Vec<_>>(),
                [4.0, 5.0]
            );
        }
    }

    /// Work that records the order of the turns.
    struct Noted(Vec<usize>);

    impl Work for Noted {
        fn call(&mut self, entry: usize) -> Result<()> {
            self.0.push(entry);
            Ok(())
        }

        fn finish(&mut self) -> Result<Option<Duration>> {
            Ok(Some(Duration::from_secs(1)))
        }
    }

    #[test]
    fn every_round_begins_and_ends_with_the_ceiling() {
        let entries = elementwise::entries(1024);
        let none = Duration::ZERO;
        let effort = Effort {
            warm_up: none,
            rounds: 2,
            turn: none,
            budget: Duration::from_secs(9),
            call: Duration::MAX,
        };
        let mut work = Noted(Vec::new());
        let timings = race(&mut work, &entries, &effort).unwrap();
        assert_eq!(work.0, [0, 0, 1, 1, 2, 2, /* round */ 0, 1, 2, 0, /* round */ 0, 2, 1, 0]);
        assert!(timings.iter().all(|timing| timing.seconds.median == 1.0 && timing.wall < 1.0));
        let warm_up = Duration::from_millis(5);
        let (mut work, start) = (Noted(Vec::new()), Instant::now());
        race(&mut work, &entries, &Effort { warm_up, ..effort }).unwrap();
        assert!(
            start.elapsed() >= warm_up
                && work.0.len() > 14
                && work.0[6..work.0.len() - 7].iter().all(|&entry| entry == 0)
        );
    }
}
