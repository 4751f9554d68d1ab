//! Activation functions.

use crate::{Error, Result};

/// Activation function, applied between a layer's sum and its dropout.
///
/// | | act(z) | source |
/// |---|---|---|
/// | `None` | z | |
/// | `Relu` | z if z > 0, else 0; NaN stays NaN | |
/// | `Gelu` | z·Φ(z) with the standard normal CDF Φ, to within 10⁻⁷·\|z\| | Hendrycks and Gimpel, "Gaussian error linear units" (2016), the exact form |
/// | `Silu` | z/(1 + exp(−z)) | Elfwing et al., Neural Networks 107 (2018) |
/// | `Sigmoid` | 1/(1 + exp(−z)), the logistic function | Rumelhart, Hinton, Williams, Nature 323 (1986) |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Activation {
    #[default]
    None = 0,
    Relu = 1,
    Gelu = 2,
    Silu = 3,
    Sigmoid = 4,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Self; 5] = [Self::None, Self::Relu, Self::Gelu, Self::Silu, Self::Sigmoid];

    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Relu => "relu",
            Self::Gelu => "gelu",
            Self::Silu => "silu",
            Self::Sigmoid => "sigmoid",
        }
    }
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Activation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|activation| activation.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::invalid(format!("activation `{text}`: must be one of {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Activation;

    #[test]
    fn activations_read_back_from_their_names() {
        for activation in Activation::ALL {
            assert_eq!(activation.to_string().parse::<Activation>().unwrap(), activation);
        }
        for bad in ["", "Relu", "swish", "relu "] {
            let error = bad.parse::<Activation>().unwrap_err().to_string();
            assert!(error.contains("none, relu, gelu, silu, sigmoid"), "{error}");
        }
    }
}
