//! Figures of a study's arms, over seeds.

use super::plan::Arm;
use super::record::Record;
use super::spread::Spread;

/// Points of a line: x, and the spread of a figure there.
pub type Points = Vec<(f64, Spread)>;

/// A study's arms with their records, in order of the seeds.
#[derive(Debug)]
pub struct Results<'a> {
    /// Arms of the study.
    pub arms: &'a [Arm],
    /// One record for each arm and seed.
    pub records: Vec<Record>,
}

impl Results<'_> {
    /// Returns the records of an arm.
    pub fn of<'b>(&'b self, arm: &'b str) -> impl Iterator<Item = &'b Record> {
        self.records.iter().filter(move |record| record.key.arm == arm)
    }

    fn values<'b>(&'b self, arm: &'b str, what: &'b str) -> impl Iterator<Item = f64> + 'b {
        // A run that diverged has no figures. NaN then fails every claim.
        self.of(arm).map(move |record| record.found.values.get(what).copied().unwrap_or(f64::NAN))
    }

    /// Returns the spread of an arm's figure.
    pub fn value(&self, arm: &str, what: &str) -> Spread {
        Spread::of(self.values(arm, what))
    }

    /// Returns `a − b` of a figure, paired seed by seed.
    pub fn excess(&self, a: &str, b: &str, what: &str) -> Spread {
        Spread::of(self.values(a, what).zip(self.values(b, what)).map(|(a, b)| a - b))
    }

    /// Returns `(a[0] − a[1]) − (b[0] − b[1])` of a figure, paired seed by seed: the excess of one
    /// rise over another.
    pub fn excess_of_rise(&self, a: [&str; 2], b: [&str; 2], what: &str) -> Spread {
        let rise = |[to, from]: [&'_ str; 2]| -> Vec<f64> {
            self.values(to, what).zip(self.values(from, what)).map(|(to, from)| to - from).collect()
        };
        Spread::of(rise(a).into_iter().zip(rise(b)).map(|(a, b)| a - b))
    }

    /// Returns `a / b` of a figure, paired seed by seed.
    pub fn ratio(&self, a: &str, b: &str, what: &str) -> Spread {
        Spread::of(self.values(a, what).zip(self.values(b, what)).map(|(a, b)| a / b))
    }

    /// Returns one series of an arm against another, such as an error against epochs.
    pub fn curve(&self, arm: &str, over: &str, what: &str) -> Points {
        let series = |name: &str| -> Vec<&Vec<f64>> {
            self.of(arm).filter_map(|record| record.found.series.get(name)).collect()
        };
        let xs = series(over);
        let ys = series(what);
        let Some(xs) = xs.first() else { return Vec::new() };
        let at = |i: usize| Spread::of(ys.iter().filter_map(|y| y.get(i).copied()));
        xs.iter().enumerate().map(|(i, &x)| (x, at(i))).collect()
    }

    /// Returns a figure of all arms that are points of a line.
    pub fn line(&self, line: &str, what: &str) -> Points {
        let points = self
            .arms
            .iter()
            .filter_map(|arm| arm.point.filter(|(name, _)| *name == line).map(|(_, x)| (arm, x)));
        points.map(|(arm, x)| (x, self.value(&arm.name, what))).collect()
    }

    /// Returns the largest value of a figure over all arms of a line and all seeds; NaN if any is.
    pub fn worst(&self, line: &str, what: &str) -> f64 {
        self.all(line, what)
            .reduce(|a, b| if a.is_nan() || a > b { a } else { b })
            .unwrap_or(f64::NAN)
    }

    /// Returns the smallest value of a figure over all arms of a line and all seeds; NaN if any is.
    pub fn least(&self, line: &str, what: &str) -> f64 {
        self.all(line, what)
            .reduce(|a, b| if a.is_nan() || a < b { a } else { b })
            .unwrap_or(f64::NAN)
    }

    /// Returns a figure of all arms of a line and all seeds.
    fn all<'b>(&'b self, line: &'b str, what: &'b str) -> impl Iterator<Item = f64> + 'b {
        let arms =
            self.arms.iter().filter(move |arm| arm.point.is_some_and(|(name, _)| name == line));
        arms.flat_map(move |arm| self.values(&arm.name, what))
    }

    /// Returns the name of the arm at a point of a line; empty if there is none.
    pub fn name_at(&self, line: &str, x: f64) -> &str {
        let arm = self
            .arms
            .iter()
            .find(|arm| arm.point.is_some_and(|(name, at)| name == line && at == x));
        arm.map_or("", |arm| arm.name.as_str())
    }
}
