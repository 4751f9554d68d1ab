//! Unit of a data set: the factor that turns the values of its file into features.

use crate::{Error, Result};
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// Factor that turns a value of a file into a feature.
///
/// Pixels are stored as whole numbers, and networks are trained on fractions of the largest one. A
/// network must get its values in the unit in which it was trained.
///
/// ```
/// use wgpu_dropout::Unit;
///
/// assert_eq!("1/16".parse::<Unit>()?, Unit::Sixteenth);
/// assert_eq!(Unit::Byte.to_string(), "1/255");
/// assert_eq!(Unit::Sixteenth.factor(), 0.0625);
/// # Ok::<(), wgpu_dropout::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// 1: values are features as they stand, as in CSV files.
    #[default]
    One,
    /// 1/16: pixels from 0 to 16, as in the bundled digits.
    Sixteenth,
    /// 1/255: pixels from 0 to 255, as in IDX files.
    Byte,
}

impl Unit {
    /// All units.
    pub const ALL: [Self; 3] = [Self::One, Self::Sixteenth, Self::Byte];

    /// Returns the factor.
    pub fn factor(self) -> f32 {
        match self {
            Self::One => 1.0,
            Self::Sixteenth => 1.0 / 16.0,
            Self::Byte => 1.0 / 255.0,
        }
    }
}

impl Display for Unit {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::One => "1",
            Self::Sixteenth => "1/16",
            Self::Byte => "1/255",
        })
    }
}

impl FromStr for Unit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|unit| unit.to_string() == text);
        named.ok_or_else(|| Error::Invalid {
            what: format!("unit `{text}`: must be 1, 1/16 or 1/255"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_read_as_it_is_written_and_nothing_else_is() {
        for unit in Unit::ALL {
            assert_eq!(unit.to_string().parse::<Unit>().unwrap(), unit);
        }
        for text in ["", "0", "1.0", "1/1", "1/15", "1/256", "0.0625", "1 / 16", "unknown"] {
            let error = text.parse::<Unit>().unwrap_err().to_string();
            assert_eq!(error, format!("unit `{text}`: must be 1, 1/16 or 1/255"));
        }
    }
}
