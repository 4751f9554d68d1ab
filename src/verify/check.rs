//! What was checked and how it came out.

use crate::{Backend, Counts, Result};
use std::time::{Duration, Instant};

/// One check of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What was checked.
    pub what: String,
    /// Cases run.
    pub cases: u64,
    /// Cases that came out otherwise than they must.
    pub differences: u64,
    /// The first difference, or what was found.
    pub note: String,
    /// What it took.
    pub took: Duration,
}

impl Check {
    /// Whether there were cases, and no difference.
    pub fn passed(&self) -> bool {
        self.cases > 0 && self.differences == 0
    }
}

impl Check {
    /// The head of the lines that [`Display`](std::fmt::Display) gives.
    pub const HEAD: &'static str = "check                                                        cases  differences  seconds  verdict";
}

/// A line of the table: what, cases, differences, seconds, verdict, and the note.
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

/// The table as it can be pasted into a report.
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
    /// What the device did.
    pub counts: Counts,
}

impl Report {
    /// Whether every check passed.
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(Check::passed)
    }

    /// The first check that failed.
    pub fn failure(&self) -> Option<&Check> {
        self.checks.iter().find(|check| !check.passed())
    }
}

/// A check under way.
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

    /// A case, and its difference where it has one.
    pub fn case(&mut self, difference: Option<String>) {
        self.check.cases += 1;
        if let Some(difference) = difference {
            self.check.differences += 1;
            if self.check.differences == 1 {
                self.check.note = difference;
            }
        }
    }

    /// As [`case`](Self::case), from a comparison.
    pub fn compare(&mut self, outcome: std::result::Result<(), impl ToString>) {
        self.case(outcome.err().map(|error| error.to_string()));
    }

    /// The cases of another; the first difference stays the first.
    pub fn add(&mut self, other: Self) {
        if self.clean() {
            self.check.note = other.check.note;
        }
        self.check.cases += other.check.cases;
        self.check.differences += other.check.differences;
    }

    /// Whether nothing differed so far.
    pub fn clean(&self) -> bool {
        self.check.differences == 0
    }

    /// The check, with what was found where nothing differed.
    pub fn finish(mut self, found: impl Into<String>) -> Check {
        if self.clean() {
            self.check.note = found.into();
        }
        self.check.took = self.started.elapsed();
        self.check
    }
}

/// Refuses floats that are not the same to the bit, whatever the sign of a NaN.
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

/// A tensor poisoned with NaN, so that what a kernel leaves unwritten shows.
pub(super) fn poisoned<B: Backend>(
    backend: &mut B,
    rows: usize,
    cols: usize,
) -> Result<B::Tensor<f32>> {
    backend.tensor(rows, cols, &vec![f32::NAN; rows * cols])
}
