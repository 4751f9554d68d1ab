//! Checks, their results, and the report.

use crate::{Backend, Counts, Result};
use std::time::{Duration, Instant};

/// One check of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Description of the check.
    pub what: String,
    /// Number of cases run.
    pub cases: u64,
    /// Number of cases with a wrong result.
    pub differences: u64,
    /// The first difference, or a note on the result.
    pub note: String,
    /// Elapsed time.
    pub took: Duration,
}

impl Check {
    /// Returns true if there were cases and none differed.
    pub fn passed(&self) -> bool {
        self.cases > 0 && self.differences == 0
    }
}

impl Check {
    /// Header of the lines that [`Display`](std::fmt::Display) writes.
    pub const HEAD: &'static str = "check                                                        cases  differences  seconds  verdict";
}

/// Writes a line of the table: description, cases, differences, seconds, verdict and note.
impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, cases, differences, note, took } = self;
        let verdict = if self.passed() { "ok" } else { "WRONG" };
        write!(
            f,
            "{what:<56}  {cases:>8}  {differences:>11}  {:>7.2}  {verdict}",
            took.as_secs_f64()
        )?;
        if note.is_empty() { Ok(()) } else { write!(f, ": {note}") }
    }
}

/// Writes the table in a form that can be pasted into a report.
impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{}
{}",
            self.device,
            Check::HEAD
        )?;
        self.checks.iter().try_for_each(|check| writeln!(f, "{check}"))
    }
}

/// All checks of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The device: adapter, interface and driver, or the CPU backend.
    pub device: String,
    /// The checks, in order.
    pub checks: Vec<Check>,
    /// Work done by the device.
    pub counts: Counts,
}

impl Report {
    /// Returns true if every check passed.
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(Check::passed)
    }

    /// Returns the first check that failed.
    pub fn failure(&self) -> Option<&Check> {
        self.checks.iter().find(|check| !check.passed())
    }
}

/// A check in progress.
pub(super) struct Tally {
    check: Check,
    started: Instant,
}

impl Tally {
    pub fn new(what: impl Into<String>) -> Self {
        let check = Check {
            what: what.into(),
            cases: 0,
            differences: 0,
            note: String::new(),
            took: Duration::ZERO,
        };
        Self { check, started: Instant::now() }
    }

    /// Counts a case and records its difference, if any.
    pub fn case(&mut self, difference: Option<String>) {
        self.check.cases += 1;
        if let Some(difference) = difference {
            self.check.differences += 1;
            if self.check.differences == 1 {
                self.check.note = difference;
            }
        }
    }

    /// Does the same as [`case`](Self::case) with the result of a comparison.
    pub fn compare(&mut self, outcome: std::result::Result<(), impl ToString>) {
        self.case(outcome.err().map(|error| error.to_string()));
    }

    /// Adds the cases of another tally; the first difference stays the first.
    pub fn add(&mut self, other: Self) {
        if self.clean() {
            self.check.note = other.check.note;
        }
        self.check.cases += other.check.cases;
        self.check.differences += other.check.differences;
    }

    /// Returns true if nothing has differed so far.
    pub fn clean(&self) -> bool {
        self.check.differences == 0
    }

    /// Finishes the check; `found` becomes its note if nothing differed.
    pub fn finish(mut self, found: impl Into<String>) -> Check {
        if self.clean() {
            self.check.note = found.into();
        }
        self.check.took = self.started.elapsed();
        self.check
    }
}

/// Returns an error unless the floats are equal bit for bit. All NaNs count as equal.
pub(super) fn same_bits(
    what: &str,
    got: &[f32],
    expected: &[f32],
) -> std::result::Result<(), String> {
    let bits = |x: f32| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() };
    if got.len() != expected.len() {
        return Err(format!("{what}: {} elements, expected {}", got.len(), expected.len()));
    }
    match got.iter().zip(expected).position(|(&a, &b)| bits(a) != bits(b)) {
        None => Ok(()),
        Some(i) => {
            Err(format!("{what}: element {i}: expected {:?}, got {:?}", expected[i], got[i]))
        }
    }
}

/// Returns a tensor filled with NaN, so that elements which a kernel leaves unwritten show up.
pub(super) fn poisoned<B: Backend>(
    backend: &mut B,
    rows: usize,
    cols: usize,
) -> Result<B::Tensor<f32>> {
    backend.tensor(rows, cols, &vec![f32::NAN; rows * cols])
}

/// Compares in such a way that a NaN fails.
pub(super) fn within(
    what: &str,
    got: &[f32],
    exact: &[f64],
    bound: impl Fn(f64) -> f64,
) -> std::result::Result<(), String> {
    let inside = |(&c, &e): (&f32, &f64)| (f64::from(c) - e).abs() <= bound(e);
    match got.iter().zip(exact).position(|pair| !inside(pair)) {
        _ if got.len() != exact.len() => {
            Err(format!("{what}: {} elements, expected {}", got.len(), exact.len()))
        }
        Some(i) => Err(format!(
            "{what}: element {i}: expected {} ± {:e}, got {}",
            exact[i],
            bound(exact[i]),
            got[i]
        )),
        None => Ok(()),
    }
}
