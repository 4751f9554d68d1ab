//! What can go wrong, each with the value at fault and the bound that it broke.

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Every failure that a caller, a file or a device can cause.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A rate that is not a probability.
    #[error("{what} rate {value}: must be between 0 and 1")]
    Rate {
        /// `drop` or `keep`.
        what: &'static str,
        /// The value given.
        value: f64,
    },
    /// Tensors whose shapes do not fit one another.
    #[error("{kernel}: {what}")]
    Shape {
        /// The kernel that was called.
        kernel: &'static str,
        /// Which dimension differs from which.
        what: String,
    },
    /// A size past what the mask contract, the device or the machine can hold.
    #[error("{what} is {value}: at most {bound}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its value.
        value: u64,
        /// The largest value that works.
        bound: u64,
    },
    /// A buffer that a kernel cannot use: usage, alignment, size or overlap.
    #[error("{kernel}: buffer `{tensor}`: {what}")]
    Buffer {
        /// The kernel that was called.
        kernel: &'static str,
        /// The tensor that the buffer holds.
        tensor: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// A setting outside its range, such as a batch of no rows.
    #[error("{what}")]
    Invalid {
        /// The setting, its value and its range.
        what: String,
    },
    /// No adapter, an unknown one, or one that cannot run the kernels.
    #[error("{what}")]
    Adapter {
        /// What was looked for and what there is.
        what: String,
    },
    /// The device was lost, or did not answer.
    #[error("the GPU device failed: {what}")]
    Device {
        /// What the driver said.
        what: String,
    },
    /// The device has no memory left for a tensor.
    #[error("out of memory allocating {bytes} bytes")]
    OutOfMemory {
        /// The size of the allocation that failed.
        bytes: u64,
    },
    /// A file that cannot be opened, read or written.
    #[error("{path}: {what}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        what: String,
    },
    /// A file whose contents cannot be used.
    #[error("{path}: {what}")]
    Data {
        /// The file, and the place in it where known.
        path: String,
        /// What is wrong and what was expected.
        what: String,
    },
    /// A training run whose loss is no longer a finite number.
    #[error("epoch {epoch}: the loss is {loss}; try a smaller learning rate")]
    Diverged {
        /// Epoch, counted from 1.
        epoch: u32,
        /// The loss found.
        loss: f32,
    },
}

impl Error {
    pub(crate) fn shape(kernel: &'static str, what: impl Into<String>) -> Self {
        Self::Shape { kernel, what: what.into() }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }
}
