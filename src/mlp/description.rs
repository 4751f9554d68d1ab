//! Description of a network's data in the metadata of a file.

use super::container::Container;
use super::trained_on::TrainedOn;
use crate::{Result, file};

/// The metadata's `unit` if it is not known.
const UNKNOWN: &str = "unknown";

impl TrainedOn {
    /// Returns the entries of the metadata, for a network of so many inputs.
    pub(super) fn metadata(&self, inputs: usize) -> Vec<(&'static str, String)> {
        let Self { unit, classes, split } = self;
        let mut pairs = vec![
            ("unit", unit.map_or(UNKNOWN.to_owned(), |unit| unit.to_string())),
            ("features", inputs.to_string()),
            ("classes", serde_json::json!(classes).to_string()),
        ];
        pairs.extend(split.clone().map(|split| ("split", split)));
        pairs
    }

    /// Returns the description in a file's metadata; `None` if the file has none, as those of older
    /// versions.
    pub(super) fn read(
        saved: &Container<'_>,
        inputs: usize,
        classes: usize,
    ) -> Result<Option<Self>> {
        let unit = match saved.text("unit") {
            None => return Ok(None),
            Some(UNKNOWN) => None,
            Some(_) => saved.field("unit")?,
        };
        let features = saved.field("features")?.unwrap_or(inputs);
        if features != inputs {
            let what = format!("metadata `features` is {features}, the first layer takes {inputs}");
            return Err(saved.bad(what));
        }
        let classes = match saved.text("classes") {
            None => (0..classes).map(|class| class.to_string()).collect(),
            Some(names) => serde_json::from_str(names).map_err(|_| {
                let names = file::shown(names);
                let what = "expected a JSON array of names";
                saved.bad(format!("metadata `classes` is `{names}`: {what}"))
            })?,
        };
        Ok(Some(Self { unit, classes, split: saved.field("split")? }))
    }
}
