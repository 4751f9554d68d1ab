//! Description of the data of a training, which its network keeps.

use super::network::Mlp;
use crate::backend::Backend;
use crate::{Error, Result, Unit};

/// Data that a network was trained on. A saved network carries it, so that other data can be
/// brought into the same form, or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainedOn {
    /// Factor that turned the values of the data into features; `None` if it is not known, as for
    /// weights of another library.
    pub unit: Option<Unit>,
    /// Name of each class, in the order of the network's outputs.
    pub classes: Vec<String>,
    /// How the test rows were chosen, for example `bundled`; `None` if it is not known.
    pub split: Option<String>,
}

impl<B: Backend> Mlp<B> {
    /// Returns the description of the data that the network was trained on; `None` if nobody
    /// [described](Self::describe_data) them.
    pub fn trained_on(&self) -> Option<&TrainedOn> {
        self.trained_on.as_ref()
    }

    /// Describes the data that the network is trained on. Nothing is computed with it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the number of names differs from the number of classes.
    pub fn describe_data(&mut self, data: TrainedOn) -> Result<()> {
        let (names, classes) = (data.classes.len(), self.architecture.classes);
        if names != classes {
            return Err(Error::invalid(format!("{names} names for {classes} classes")));
        }
        self.trained_on = Some(data);
        Ok(())
    }
}
