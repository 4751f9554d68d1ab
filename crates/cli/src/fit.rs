//! Fit of data to a saved network: the unit of its values, its number of features, its classes.
//!
//! A network must get its features in the unit in which it was trained. Bytes are raw values and
//! take the network's unit. An array of f32 holds features. A CSV may hold either, so that it needs
//! `--unit` unless the network's unit is 1. Nothing is guessed: what is not known is asked for.

use crate::failure::Failure;
use crate::output;
use std::collections::HashMap;
use wgpu_dropout::data::{Samples, Values, numbers};
use wgpu_dropout::mlp::{Mlp, TrainedOn};
use wgpu_dropout::{Backend, Unit, file};

/// Kind of the numbers that a source holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes of the digits or of IDX files, which are usually read in this unit.
    Pixels(Unit),
    /// Bytes of an NPY array.
    Bytes,
    /// Numbers of a CSV.
    Text,
    /// Floats of an NPY array.
    Features,
}

impl Kind {
    /// Returns the kind of the numbers of a data set.
    pub fn of(samples: &Samples) -> Self {
        match samples.values {
            Values::Bytes(_) => Self::Pixels(samples.unit),
            Values::Floats(_) => Self::Text,
        }
    }
}

/// A saved network that data must fit.
pub struct Network<'a> {
    /// Its file.
    file: &'a str,
    features: usize,
    classes: Vec<String>,
    data: Option<&'a TrainedOn>,
}

impl<'a> Network<'a> {
    /// Returns the network of a file.
    pub fn new<B: Backend>(file: &'a str, net: &'a Mlp<B>) -> Self {
        let features = net.architecture().inputs;
        Self { file, features, classes: class_names(net), data: net.trained_on() }
    }

    /// Returns the unit to multiply the values of a source by: the one asked for, else the one that
    /// follows from the kind of its numbers and from the network's unit.
    fn unit(&self, source: &str, kind: Kind, asked: Option<Unit>) -> Result<Unit, Failure> {
        if let Some(unit) = asked {
            return Ok(unit);
        }
        let file = self.file;
        let unknown = |usual: Unit| {
            let others: Vec<String> =
                Unit::ALL.iter().filter(|&&unit| unit != usual).map(Unit::to_string).collect();
            Err(Failure::Usage(format!(
                "{source}: the unit of its values is needed, since {file} does not say in which \
                 one it was trained: add --unit {usual}, or --unit {}",
                others.join(" or --unit ")
            )))
        };
        match (kind, self.data.map(|data| data.unit)) {
            (Kind::Features, _) => Ok(Unit::One),
            (Kind::Pixels(_) | Kind::Bytes, Some(Some(unit))) => Ok(unit),
            (Kind::Text, Some(Some(Unit::One))) => Ok(Unit::One),
            (Kind::Text, Some(Some(unit))) => Err(Failure::Usage(format!(
                "{source}: a CSV does not say its unit, and {file} was trained on values times \
                 {unit}: add --unit {unit} to multiply by it, or --unit 1 if the values already \
                 are multiplied"
            ))),
            // A file of an older version: as that version read the data.
            (Kind::Pixels(usual), None) => Ok(usual),
            (Kind::Text, None) => Ok(Unit::One),
            (Kind::Pixels(usual), Some(None)) => unknown(usual),
            (Kind::Bytes, None | Some(None)) => unknown(Unit::Byte),
            (Kind::Text, Some(None)) => unknown(Unit::One),
        }
    }

    /// Returns the network's number of each class of a source, found by its name. A class without
    /// rows may have any name.
    fn classes(
        &self,
        source: &str,
        names: &[String],
        labels: &[u32],
    ) -> Result<HashMap<u32, u32>, Failure> {
        let known: HashMap<&str, u32> = self.classes.iter().map(String::as_str).zip(0..).collect();
        let mut classes = HashMap::new();
        for &label in labels {
            if classes.contains_key(&label) {
                continue;
            }
            let name = names.get(label as usize).map_or("", String::as_str);
            let Some(&class) = known.get(name) else {
                let (name, known) = (file::shown(name), file::shown(&self.classes.join(", ")));
                return Err(Failure::Usage(format!(
                    "{source}: class `{name}` is none of the network's: {} has {known}",
                    self.file
                )));
            };
            classes.insert(label, class);
        }
        Ok(classes)
    }

    /// Brings the samples of a source into the form of the network's training data: multiplies by
    /// the right unit, and numbers the classes as the network does. `names` are the classes of the
    /// labels; empty if there are no labels.
    pub fn fit(
        &self,
        source: &str,
        samples: &mut [&mut Samples],
        kind: Kind,
        names: &[String],
        asked: Option<Unit>,
    ) -> Result<(), Failure> {
        if let Some(other) = samples.iter().find(|samples| samples.cols != self.features) {
            let (cols, needed) = (other.cols, self.features);
            return Err(Failure::Usage(format!(
                "{source}: {cols} features a row, the network takes {needed}"
            )));
        }
        let unit = self.unit(source, kind, asked)?;
        for samples in samples {
            samples.unit = unit;
            if !names.is_empty() {
                let classes = self.classes(source, names, &samples.labels)?;
                samples.labels.iter_mut().for_each(|label| *label = classes[label]);
            }
        }
        if self.data.is_none() {
            output::note(&format!(
                "{}: saved without the unit and the classes of its data; {source} is taken with \
                 unit {unit}",
                self.file
            ));
        }
        Ok(())
    }
}

/// Returns the names of a network's classes: their numbers unless the file has names.
pub fn class_names<B: Backend>(net: &Mlp<B>) -> Vec<String> {
    match net.trained_on() {
        Some(data) => data.classes.clone(),
        None => numbers(net.architecture().classes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: [Unit; 3] = Unit::ALL;

    fn data(unit: Option<Unit>, classes: &[&str]) -> TrainedOn {
        let classes = classes.iter().map(ToString::to_string).collect();
        TrainedOn { unit, classes, split: None }
    }

    fn network(data: Option<&TrainedOn>) -> Network<'_> {
        let classes = data.map_or_else(|| numbers(3), |data| data.classes.clone());
        Network { file: "n", features: 2, classes, data }
    }

    /// Returns the unit for a source; `None` if it must be given.
    fn unit(of: Option<Option<Unit>>, kind: Kind, asked: Option<Unit>) -> Option<Unit> {
        let data = of.map(|unit| data(unit, &["a", "b", "c"]));
        match network(data.as_ref()).unit("x", kind, asked) {
            Ok(unit) => Some(unit),
            Err(Failure::Usage(what)) => {
                assert!(what.starts_with("x: ") && what.contains("--unit 1"), "{what}");
                None
            }
            Err(failure) => panic!("{failure:?}"),
        }
    }

    #[test]
    fn bytes_take_the_networks_unit_and_features_none() {
        for own in UNITS {
            for of in UNITS {
                let known = Some(Some(of));
                assert_eq!(unit(known, Kind::Pixels(own), None), Some(of));
                assert_eq!(unit(known, Kind::Bytes, None), Some(of));
                assert_eq!(unit(known, Kind::Features, None), Some(Unit::One));
            }
            for of in [None, Some(None)] {
                assert_eq!(unit(of, Kind::Bytes, None), None);
                assert_eq!(unit(of, Kind::Features, None), Some(Unit::One));
            }
            // As before for a file of an older version; a converted network has no such past.
            assert_eq!(unit(None, Kind::Pixels(own), None), Some(own));
            assert_eq!(unit(Some(None), Kind::Pixels(own), None), None);
        }
    }

    #[test]
    fn a_csv_has_unit_1_or_the_unit_that_is_asked_for() {
        for (of, right) in [
            (Some(Some(Unit::One)), Some(Unit::One)),
            (Some(Some(Unit::Sixteenth)), None),
            (Some(Some(Unit::Byte)), None),
            (Some(None), None),
            (None, Some(Unit::One)),
        ] {
            assert_eq!(unit(of, Kind::Text, None), right, "{of:?}");
        }
    }

    #[test]
    fn the_unit_that_is_asked_for_applies_to_everything() {
        for asked in UNITS {
            for of in [None, Some(None), Some(Some(Unit::One)), Some(Some(Unit::Byte))] {
                let kinds = [Kind::Pixels(Unit::Byte), Kind::Bytes, Kind::Text, Kind::Features];
                for kind in kinds {
                    assert_eq!(unit(of, kind, Some(asked)), Some(asked), "{of:?} {kind:?}");
                }
            }
        }
    }

    fn fit(
        of: &TrainedOn,
        names: &[&str],
        labels: &[u32],
        cols: usize,
    ) -> Result<Vec<u32>, String> {
        let (rows, values) = (labels.len(), Values::Floats(vec![0.0; labels.len() * cols]));
        let mut samples = Samples { values, unit: Unit::One, rows, cols, labels: labels.to_vec() };
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        match network(Some(of)).fit("x", &mut [&mut samples], Kind::Text, &names, None) {
            Ok(()) => Ok(samples.labels),
            Err(Failure::Usage(what)) => Err(what),
            Err(failure) => panic!("{failure:?}"),
        }
    }

    #[test]
    fn classes_are_found_by_name() {
        let of = data(Some(Unit::One), &["setosa", "versicolor", "virginica"]);
        let names = ["virginica", "setosa"];
        assert_eq!(fit(&of, &names, &[0, 0, 1], 2), Ok(vec![2, 2, 0]));
        assert_eq!(fit(&of, &["other", "setosa"], &[1], 2), Ok(vec![0]), "without a row");
        let error = fit(&of, &["setosa", "other"], &[0, 1], 2).unwrap_err();
        assert_eq!(
            error,
            "x: class `other` is none of the network's: n has setosa, versicolor, virginica"
        );
        assert!(fit(&of, &["0", "1"], &[1], 2).is_err());
        assert_eq!(fit(&of, &[], &[7, 7], 2), Ok(vec![7, 7]), "no labels, nothing to find");
    }

    #[test]
    fn another_number_of_features_is_refused() {
        let of = data(Some(Unit::One), &["0", "1"]);
        assert_eq!(fit(&of, &["0"], &[0], 2), Ok(vec![0]));
        for cols in [1, 3] {
            let error = fit(&of, &["0"], &[0], cols).unwrap_err();
            assert_eq!(error, format!("x: {cols} features a row, the network takes 2"));
        }
    }
}
