//! Parts of a table: rows to train on and rows to test with.

use std::fmt;
use std::path::Path;

use super::csv::{Table, Wanted};
use super::{Contents, DataSet, Opened, Options, classes, contents, several_classes};
use crate::args::integer;
use wgpu_dropout::{Error, Result, file, init};

/// Share of test rows unless another is given.
const SHARE: f64 = 0.2;

/// Choice of the test rows of a CSV file.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "Options of CSV files")]
pub struct Draw {
    /// Share of each class's rows to test with [default: 0.2]
    #[arg(long, value_name = "SHARE", value_parser = share, allow_negative_numbers = true)]
    pub test_share: Option<f64>,
    /// Seed that draws the test rows [default: 0]
    #[arg(long, value_name = "SEED", value_parser = integer::<u64>, allow_negative_numbers = true)]
    pub split_seed: Option<u64>,
    /// The share and the seed of a saved network, for what was not given.
    #[arg(skip)]
    saved: Option<(f64, u64)>,
}

fn share(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(share) if 0.0 < share && share < 1.0 => Ok(share),
        _ => Err("must be a number between 0 and 1, without both ends".to_owned()),
    }
}

impl Draw {
    /// Returns the choice of a share by a seed.
    pub fn new(share: f64, seed: u64) -> Self {
        Self { test_share: Some(share), split_seed: Some(seed), saved: None }
    }

    /// Returns true if the choice was given, or is that of a saved network.
    pub(super) fn is_known(&self) -> bool {
        self.given().is_some() || self.saved.is_some()
    }

    /// Returns the option that was given, if there is one.
    pub(super) fn given(&self) -> Option<&'static str> {
        self.test_share.map(|_| "--test-share").or(self.split_seed.map(|_| "--split-seed"))
    }

    /// Returns the share and the seed.
    pub(super) fn values(&self) -> (f64, u64) {
        let (share, seed) = self.saved.unwrap_or((SHARE, 0));
        (self.test_share.unwrap_or(share), self.split_seed.unwrap_or(seed))
    }

    /// Returns this choice, with that of a saved network for what was not given. `split` is the
    /// text that the network has; if it tells another kind of choice, it does not count.
    pub fn or_saved(&self, split: Option<&str>) -> Self {
        Self { saved: split.and_then(saved), ..self.clone() }
    }

    /// Returns for each row true if it is a test row, or `None` if a row has no label.
    pub(super) fn test_rows(&self, table: &Table) -> Option<Vec<bool>> {
        let classes: Option<Vec<u32>> = table.labels.as_ref()?.iter().copied().collect();
        let (share, seed) = self.values();
        classes.map(|classes| init::test_rows(seed, share, &classes))
    }
}

/// The form in which a saved network tells the choice.
impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (share, seed) = self.values();
        write!(f, "share={share} seed={seed}")
    }
}

/// Parses the form of a saved network.
fn saved(text: &str) -> Option<(f64, u64)> {
    let (found, seed) = text.strip_prefix("share=")?.split_once(" seed=")?;
    Some((share(found).ok()?, integer(seed).ok()?))
}

/// Part of the data to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Test rows.
    Test,
    /// Training rows.
    Train,
    /// All rows, in the file's order.
    All,
}

/// Splits the labeled rows of a table, or joins them with those of a file to test with.
pub(super) fn labeled(path: &Path, table: Table, options: &Options) -> Result<Opened> {
    let layout = table.layout.clone();
    let remarks = match options.columns.label {
        None => table.layout.likelier_label().into_iter().collect(),
        Some(_) => Vec::new(),
    };
    let (set, split) = if let Some(other) = &options.test_file {
        let (train, test) = (table, test_table(other, options)?);
        let [train, test] = joined(path, [train, test])?;
        let split = format!("the rows of {} ({})", other.display(), test.layout);
        let set = DataSet::new(path, "file", train.samples(|_| true), test.samples(|_| true))?;
        (DataSet { classes: train.classes, ..set }, split)
    } else {
        let is_test = options.draw.test_rows(&table).unwrap_or_default();
        if !is_test.contains(&true) {
            let what = "every row is alone in its class, so that there is none to test with; \
                        --test-file names a file of test rows";
            return Err(file::refused(path.display(), what));
        }
        let [train, test] = [false, true].map(|part| table.samples(|row| is_test[row] == part));
        let set = DataSet::new(path, &options.draw.to_string(), train, test)?;
        let (share, seed) = options.draw.values();
        (
            DataSet { classes: table.classes, ..set },
            format!("{share} of each class, split seed {seed}"),
        )
    };
    several_classes(path, &set, Some(&layout))?;
    let about =
        format!("columns  {layout}\nclasses  {}\ntest     {split}\n", classes::list(&set.classes));
    Ok(Opened { set, about, remarks })
}

/// Reads the rows to test with.
fn test_table(path: &Path, options: &Options) -> Result<Table> {
    match contents(path, &options.columns, Wanted::Labels)? {
        Contents::Table(table) => Ok(table),
        _ => Err(Error::Invalid {
            what: format!("--test-file {}: is not a CSV file", path.display()),
        }),
    }
}

/// Gives two tables the classes of both.
fn joined(path: &Path, mut tables: [Table; 2]) -> Result<[Table; 2]> {
    let [train, test] = tables.each_ref().map(|table| table.layout.features());
    if let (Some(train), Some(test)) = (train, test) {
        if let Some((one, other)) = train.iter().zip(&test).find(|(one, other)| one != other) {
            let what = format!(
                "the columns of the two files differ: `{}` in the one, `{}` in the other",
                file::shown(one),
                file::shown(other)
            );
            return Err(Error::Invalid { what });
        }
    }
    Table::share_classes(&mut tables).map_err(|what| file::refused(path.display(), what))?;
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_saved_as_text_and_found_again() {
        for (share, seed) in [(0.2, 0), (1.0 / 3.0, u64::MAX), (1e-9, 7)] {
            let draw = Draw::new(share, seed);
            let again = Draw::default().or_saved(Some(&draw.to_string()));
            assert_eq!(again.values(), (share, seed));
            // An option counts more than the network.
            let other = Draw { split_seed: Some(3), ..Draw::default() };
            assert_eq!(other.or_saved(Some(&draw.to_string())).values(), (share, 3));
        }
        for other in ["", "bundled", "share=0.2", "share=2 seed=0", "share=0.2 seed=-1"] {
            let draw = Draw::default().or_saved(Some(other));
            assert_eq!(draw.to_string(), "share=0.2 seed=0", "{other}");
        }
    }
}
