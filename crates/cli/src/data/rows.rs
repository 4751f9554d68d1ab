//! Rows to predict.

use super::csv::{Table, Wanted};
use super::{Columns, Contents, DataSet, Draw, Part, Samples, Values, contents};
use crate::fit::Kind;
use crate::inputs;
use std::path::Path;
use wgpu_dropout::{Error, Result, Unit};

/// Rows to predict, in the file's order.
pub struct Rows {
    /// The rows. Those without a label have class 0.
    pub samples: Samples,
    /// Kind of the numbers in the source.
    pub kind: Kind,
    /// For each row, true if it has a label. Empty if there are no labels at all.
    pub labeled: Vec<bool>,
    /// Names of the classes in the labels.
    pub classes: Vec<String>,
    /// Description of the rows for a heading: the source, the part, and how it was read.
    pub about: String,
}

/// Reads the rows of any kind of data for a network that takes `features`. `part` is all of a CSV
/// file or an array, and the test rows of other data, unless it is given. `draw` chose the test
/// rows of a CSV.
///
/// # Errors
/// As [`open`](super::open), except that one class is enough, that labels may be missing, and that
/// another number of features in a CSV is an [`Error::Invalid`].
pub fn rows(
    source: &Path,
    columns: &Columns,
    features: usize,
    part: Option<Part>,
    draw: &Draw,
) -> Result<Rows> {
    let shown = inputs::shown(source);
    let name = shown.display();
    let contents = contents(source, columns, Wanted::Features(features))?;
    let divides = matches!(part, Some(Part::Test | Part::Train));
    if let Some(option) = draw.given().filter(|_| !divides || !contents.is_table()) {
        let what = format!("{option}: goes with --split test or train of a CSV file");
        return Err(Error::Invalid { what });
    }
    match contents {
        Contents::Parts(set) => Ok(of_set(&name.to_string(), set, part.unwrap_or(Part::Test))),
        Contents::Table(table) => {
            // A training on the wrong column shows it, but wrong answers look like any others.
            let doubt = table.layout.likelier_label().filter(|_| columns.label.is_none());
            let part = part.unwrap_or(Part::All);
            let takes = match doubt {
                Some(doubt) => Err(doubt),
                None => takes(&table, part, draw),
            };
            let takes = takes.map_err(|what| Error::Invalid { what: format!("{name}: {what}") })?;
            let samples = table.samples(|row| takes[row]);
            let about = format!("{name}: {}; {}", described(part, samples.rows), table.layout);
            let has_label = |(label, taken): (Option<u32>, &bool)| taken.then_some(label.is_some());
            let labels = table.labels.into_iter().flatten();
            let labeled = labels.zip(&takes).filter_map(has_label).collect();
            Ok(Rows { kind: Kind::of(&samples), samples, labeled, classes: table.classes, about })
        }
        Contents::Array(array) => {
            if divides {
                let what = format!("--split: {name} is one array, without parts");
                return Err(Error::Invalid { what });
            }
            let (rows, cols) = array.rows_cols();
            let (values, labels) = (array.values, vec![0; rows]);
            let kind = match &values {
                Values::Bytes(_) => Kind::Bytes,
                Values::Floats(_) => Kind::Features,
            };
            let samples = Samples { values, unit: Unit::One, rows, cols, labels };
            let about = format!("{name}: {}", described(Part::All, rows));
            Ok(Rows { samples, kind, labeled: Vec::new(), classes: Vec::new(), about })
        }
    }
}

fn described(part: Part, rows: usize) -> String {
    let part = match part {
        Part::All => "all",
        Part::Train => "training",
        Part::Test => "test",
    };
    format!("{part} rows ({rows})")
}

fn of_set(name: &str, set: DataSet, part: Part) -> Rows {
    let samples = match part {
        Part::All => set.all(),
        Part::Train => set.train,
        Part::Test => set.test,
    };
    Rows {
        about: format!("{name}: {}", described(part, samples.rows)),
        kind: Kind::of(&samples),
        labeled: vec![true; samples.rows],
        samples,
        classes: set.classes,
    }
}

/// Returns for each row true if it belongs to the part, or the reason why the rows cannot be
/// divided.
fn takes(table: &Table, part: Part, draw: &Draw) -> std::result::Result<Vec<bool>, String> {
    if part == Part::All {
        return Ok(vec![true; table.rows]);
    }
    if !draw.is_known() {
        return Err("the network does not say which share of the rows was for the test: add \
                    --test-share, or take --split all"
            .to_owned());
    }
    let mut takes = draw
        .test_rows(table)
        .ok_or("--split: the test rows are chosen by class, but not every row has a label")?;
    if part == Part::Train {
        takes.iter_mut().for_each(|is_test| *is_test = !*is_test);
    }
    Ok(takes)
}
