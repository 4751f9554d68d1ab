//! Classes: the names in labels, their order, and what is unusual about their rows.

use std::collections::HashMap;

use super::{DataSet, MAX_LABEL};
use wgpu_dropout::file;

/// Longest name of a class, in bytes. Longer text is no label.
const LONGEST: usize = 1000;

/// Largest whole number that an f64 distinguishes from its neighbors.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Names in the order in which they are found.
#[derive(Debug, Default)]
pub(super) struct Names {
    indices: HashMap<String, u32>,
}

impl Names {
    /// Returns the index of a label's class, and makes one for a new name. An empty label has none.
    pub fn index(&mut self, label: &str) -> Result<Option<u32>, String> {
        let Some(name) = name(label)? else { return Ok(None) };
        if let Some(&index) = self.indices.get(&name) {
            return Ok(Some(index));
        }
        let next = self.indices.len() as u32;
        if next > MAX_LABEL {
            return Err(format!("label `{}`: more than {next} classes", file::shown(&name)));
        }
        self.indices.insert(name, next);
        Ok(Some(next))
    }

    /// Returns the names in order, and for each index its place among them. Names are in numeric
    /// order if all are whole numbers, else in the order of their bytes.
    pub fn sorted(&self) -> (Vec<String>, Vec<u32>) {
        let mut names: Vec<(String, u32)> =
            self.indices.iter().map(|(name, &index)| (name.clone(), index)).collect();
        names.sort_unstable();
        let numbers: Option<Vec<i64>> = names.iter().map(|(name, _)| name.parse().ok()).collect();
        if numbers.is_some() {
            names.sort_by_key(|(name, _)| name.parse::<i64>().unwrap_or_default());
        }
        let mut places = vec![0; names.len()];
        (0..).zip(&names).for_each(|(place, (_, index))| places[*index as usize] = place);
        (names.into_iter().map(|(name, _)| name).collect(), places)
    }
}

/// Returns the name of a label's class: its text, or for a whole number its digits, since NumPy
/// writes a column of a float matrix as `1.000e+00`. An empty label has no class.
fn name(label: &str) -> Result<Option<String>, String> {
    if label.is_empty() {
        return Ok(None);
    }
    let shown = file::shown(label);
    if label.len() > LONGEST {
        return Err(format!("label `{shown}`: longer than {LONGEST} bytes"));
    }
    if let Ok(number) = label.parse::<i64>() {
        return Ok(Some(number.to_string()));
    }
    match label.parse::<f64>() {
        Ok(number) if number.fract() == 0.0 && number.abs() <= EXACT => {
            Ok(Some((number as i64).to_string()))
        }
        Ok(_) => Err(format!("label `{shown}`: must be a name or a whole number")),
        Err(_) => Ok(Some(label.to_owned())),
    }
}

/// Returns names as a line lists them.
pub fn list(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(10).map(|name| file::shown(name)).collect();
    match names.len() {
        0..=10 => shown.join(", "),
        classes => format!("{}, …, {} in all", shown.join(", "), classes),
    }
}

/// Returns a line for each kind of class that a user should know of: those without rows in a part,
/// and those with at most one row in 500.
pub(super) fn remarks(set: &DataSet) -> Vec<String> {
    let count = |labels: &[u32]| {
        let mut counts = vec![0_usize; set.classes.len()];
        labels.iter().for_each(|&label| counts[label as usize] += 1);
        counts
    };
    let (train, test) = (count(&set.train.labels), count(&set.test.labels));
    let rows = set.train.rows + set.test.rows;
    let rare = |rows_of: usize| rows_of > 0 && 500 * rows_of <= rows;
    let of_kind = |is: &dyn Fn(usize, usize) -> bool| -> Vec<String> {
        let classes = set.classes.iter().zip(train.iter().zip(&test));
        let found = classes.filter(|(_, (train, test))| is(**train, **test));
        found.map(|(name, (train, test))| format!("{name} ({} in all)", train + test)).collect()
    };
    let kinds = [
        ("without rows", of_kind(&|train, test| train + test == 0)),
        ("without training rows", of_kind(&|train, test| train == 0 && test > 0)),
        ("without test rows", of_kind(&|train, test| train > 0 && test == 0)),
        ("with at most 0.2 % of the rows", of_kind(&|train, test| rare(train + test))),
    ];
    kinds
        .into_iter()
        .filter(|(_, classes)| !classes.is_empty())
        .map(|(what, classes)| format!("classes {what}: {}", list(&classes)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(labels: &[&str]) -> (Vec<String>, Vec<u32>) {
        let mut names = Names::default();
        let found: Vec<u32> =
            labels.iter().map(|label| names.index(label).unwrap().unwrap()).collect();
        let (names, places) = names.sorted();
        (names, found.into_iter().map(|index| places[index as usize]).collect())
    }

    #[test]
    fn whole_numbers_are_in_numeric_order_and_names_in_that_of_their_bytes() {
        for (labels, names, indices) in [
            (&["10", "9", "-1", "9.0", "1e1"][..], &["-1", "9", "10"][..], &[2, 1, 0, 1, 2][..]),
            (&["0.000e+00", "-0", "+1", "01"], &["0", "1"], &[0, 0, 1, 1]),
            (&["10", "9", "a"], &["10", "9", "a"], &[0, 1, 2]),
            (&["b", "é", "B", "b"], &["B", "b", "é"], &[1, 2, 0, 1]),
            (&["9223372036854775807", "3"], &["3", "9223372036854775807"], &[1, 0]),
        ] {
            let (found, of_rows) = sorted(labels);
            assert_eq!(
                (found.iter().map(|n| &**n).collect::<Vec<_>>(), &*of_rows),
                (names.to_vec(), indices)
            );
        }
    }

    #[test]
    fn numbers_that_are_not_whole_and_long_texts_are_no_labels() {
        let mut names = Names::default();
        assert_eq!(names.index(""), Ok(None));
        for bad in ["0.5", "nan", "inf", "-1e300", "9007199254740994.0", &"x".repeat(1001)] {
            let error = names.index(bad).unwrap_err();
            assert!(error.starts_with("label `") && error.len() < 200, "{error}");
        }
        for class in 0..=MAX_LABEL {
            assert_eq!(names.index(&format!("c{class}")), Ok(Some(class)));
        }
        assert_eq!(
            names.index("one more").unwrap_err(),
            "label `one more`: more than 65536 classes"
        );
        assert_eq!(names.index("c7"), Ok(Some(7)));
    }
}
