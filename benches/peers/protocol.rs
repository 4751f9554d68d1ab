// Code shared by all Rust peers: the workloads, their data, and the loop that answers the runner.
// `protocol.py` is its Python counterpart.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::time::Instant;

/// Rows and columns.
pub const DROP: [usize; 2] = [4096, 4096];
/// Batch, inputs, outputs.
pub const LAYER: [usize; 3] = [1024, 2048, 2048];
/// Batch.
pub const ROWS: usize = 128;
/// Units of each layer of the network.
pub const WIDTHS: [usize; 4] = [784, 1024, 1024, 10];
pub const DROP_RATE: f64 = 0.5;
pub const DROP_INPUT: f64 = 0.2;
pub const LEARNING_RATE: f32 = 0.1;

/// Any error of a peer.
pub type Failure = Box<dyn std::error::Error>;

/// A workload that has been set up.
pub trait Work {
    /// Runs the workload once, or starts it.
    fn call(&mut self) -> Result<(), Failure>;

    /// Waits for everything that was started.
    fn wait(&mut self) -> Result<(), Failure>;

    /// Returns the last loss for `step`, and otherwise the fraction of zeros in the last result.
    fn check(&mut self) -> Result<f64, Failure>;

    /// Returns the number of runs in a call.
    fn per_call(&self) -> u32 {
        1
    }
}

/// Returns numbers in `-bound..bound` from a 64-bit linear congruential generator.
pub fn uniform(len: usize, bound: f32) -> Vec<f32> {
    let mut state = len as u64;
    let mut draw = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| bound * draw()).collect()
}

/// Returns a mini-batch for the network: pixels in 0..1, and labels.
pub fn batch(rows: usize) -> (Vec<f32>, Vec<u32>) {
    let pixels = uniform(rows * WIDTHS[0], 1.0).into_iter().map(f32::abs).collect();
    let labels = uniform(rows, 0.5)
        .into_iter()
        .map(|u| ((u + 0.5) * WIDTHS[3] as f32) as u32 % WIDTHS[3] as u32)
        .collect();
    (pixels, labels)
}

pub fn share_of_zeros(values: &[f32]) -> f64 {
    values.iter().filter(|&&value| value == 0.0).count() as f64 / values.len() as f64
}

/// Answers each line `WORK SECONDS` with one JSON line. `set_up` returns the workload with a given
/// name, if it exists.
pub fn serve(
    version: &str,
    mut set_up: impl FnMut(&str) -> Option<Result<Box<dyn Work>, Failure>>,
) -> Result<(), Failure> {
    let mut ready = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (work, seconds) = line.split_once(' ').ok_or("a line is `WORK SECONDS`")?;
        let seconds: f64 = seconds.parse()?;
        if !ready.contains_key(work) {
            ready.insert(work.to_owned(), set_up(work));
        }
        let answer = match ready.get_mut(work) {
            Some(Some(Ok(ready))) => {
                timed(ready.as_mut(), seconds).map_err(|error| error.to_string())
            }
            Some(Some(Err(error))) => Err(error.to_string()),
            _ => Ok(r#""ms": []"#.to_owned()),
        };
        let answer = answer.unwrap_or_else(|error| format!(r#""ms": [], "error": {error:?}"#));
        println!(r#"{{"version": {version:?}, "work": {work:?}, {answer}}}"#);
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Times a workload in milliseconds, for `seconds` and at least 3 samples. A sample lasts at least
/// 10 ms or 16 calls, whichever is shorter.
fn timed(work: &mut dyn Work, seconds: f64) -> Result<String, Failure> {
    sample(work, 1)?;
    let warm = sample(work, 1)? * f64::from(work.per_call());
    let calls = (10.0 / warm).clamp(1.0, 16.0) as u32;
    let start = Instant::now();
    let mut ms = Vec::new();
    while ms.len() < 3 || start.elapsed().as_secs_f64() < seconds {
        ms.push(sample(work, calls)?);
    }
    Ok(format!(r#""ms": {ms:.4?}, "check": {}"#, work.check()?))
}

fn sample(work: &mut dyn Work, calls: u32) -> Result<f64, Failure> {
    let start = Instant::now();
    for _ in 0..calls {
        work.call()?;
    }
    work.wait()?;
    Ok(start.elapsed().as_secs_f64() * 1000.0 / f64::from(calls * work.per_call()))
}
