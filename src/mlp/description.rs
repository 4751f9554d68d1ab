//! Description of a network's data in the metadata of a file.

use super::checkpoint::field;
use super::container::Container;
use super::network::Mlp;
use super::trained_on::TrainedOn;
use crate::backend::Backend;
use crate::{Result, Unit, file};

/// The metadata's `unit` if it is not known.
const UNKNOWN: &str = "unknown";

impl<B: Backend> Mlp<B> {
    /// Returns the metadata that describe the data; none if nobody described them.
    pub(super) fn description(&self) -> Vec<(&'static str, String)> {
        let Some(TrainedOn { unit, classes, split }) = &self.trained_on else { return Vec::new() };
        let mut pairs = vec![
            ("unit", unit.map_or(UNKNOWN.to_owned(), |unit| unit.to_string())),
            ("features", self.architecture.inputs.to_string()),
            ("classes", serde_json::json!(classes).to_string()),
        ];
        pairs.extend(split.clone().map(|split| ("split", split)));
        pairs
    }
}

/// Returns the description of the data; `None` if the network has none, as in files of older
/// versions.
pub(super) fn read(
    saved: &Container<'_>,
    inputs: usize,
    classes: usize,
) -> Result<Option<TrainedOn>> {
    let unit = match saved.field("unit") {
        None => return Ok(None),
        Some(UNKNOWN) => None,
        Some(_) => field::<Unit>(saved, "unit")?,
    };
    let features = field(saved, "features")?.unwrap_or(inputs);
    if features != inputs {
        let what = format!("metadata `features` is {features}, the first layer takes {inputs}");
        return Err(saved.bad(what));
    }
    let classes = match saved.field("classes") {
        None => (0..classes).map(|class| class.to_string()).collect(),
        Some(names) => serde_json::from_str(names).map_err(|_| {
            let names = file::shown(names);
            saved.bad(format!("metadata `classes` is `{names}`: expected a JSON array of names"))
        })?,
    };
    Ok(Some(TrainedOn { unit, classes, split: field(saved, "split")? }))
}
