//! Errors, each with the offending value and the bound that it breaks.

use alloc::string::String;

/// Result of every fallible function of this crate.
pub type Result<T> = core::result::Result<T, Error>;

/// Any failure that a caller can cause.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A rate that is not a probability.
    #[error("{what} rate {value}: must be between 0 and 1")]
    Rate {
        /// `drop` or `keep`.
        what: &'static str,
        /// The given value.
        value: f64,
    },
    /// Arrays whose sizes do not fit one another.
    #[error("{kernel}: {what}")]
    Shape {
        /// Function that was called.
        kernel: &'static str,
        /// Sizes that differ.
        what: String,
    },
    /// A size past what the mask contract or the machine can hold.
    #[error("{what} is {value}: at most {bound}")]
    TooLarge {
        /// Name of the quantity that is too large.
        what: String,
        /// Its value.
        value: u64,
        /// Largest permitted value.
        bound: u64,
    },
    /// A setting outside its range.
    #[error("{what}")]
    Invalid {
        /// Setting, its value and its range.
        what: String,
    },
    /// A machine without enough memory for a mask.
    #[error("out of memory allocating {bytes} bytes")]
    OutOfMemory {
        /// Size of the failed allocation, in bytes.
        bytes: u64,
    },
}

impl Error {
    pub(crate) fn shape(kernel: &'static str, what: String) -> Self {
        Self::Shape { kernel, what }
    }

    pub(crate) fn invalid(what: String) -> Self {
        Self::Invalid { what }
    }
}

/// Returns the number of elements of a `rows × cols` array.
pub(crate) fn elements(what: &str, rows: usize, cols: usize) -> Result<usize> {
    rows.checked_mul(cols).filter(|&n| n <= isize::MAX as usize / 8).ok_or_else(|| {
        Error::TooLarge {
            what: alloc::format!("{what} {rows}×{cols}"),
            value: u64::MAX,
            bound: isize::MAX as u64 / 8,
        }
    })
}
