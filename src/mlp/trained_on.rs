//! Description of the data of a training, which its network keeps.

use crate::Unit;

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
