//! Errors, each with the offending value and the bound that it breaks.

use crate::plan::MAX_BINDING;

/// Result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Any failure that a caller, a file or a device can cause.
#[derive(Debug, Clone, thiserror::Error)]
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
    /// Tensors whose shapes do not fit one another.
    #[error("{kernel}: {what}")]
    Shape {
        /// Kernel that was called.
        kernel: &'static str,
        /// Dimensions that differ, with both sizes.
        what: String,
    },
    /// A size past what the mask contract, the device or the machine can hold.
    #[error("{what} is {value}: at most {bound}")]
    TooLarge {
        /// Name of the quantity that is too large.
        what: String,
        /// Its value.
        value: u64,
        /// Largest permitted value.
        bound: u64,
    },
    /// A tensor that needs more than a limit of the device allows.
    #[error("{what}: {lack}")]
    Limit {
        /// Thing that needs more.
        what: String,
        /// The limit, its value and the value needed.
        lack: Lack,
    },
    /// A buffer that a kernel cannot use: usage, alignment, size, overlap, or another device's.
    #[error("{kernel}: buffer `{tensor}`: {what}")]
    Buffer {
        /// Kernel that was called.
        kernel: &'static str,
        /// Tensor that the buffer holds.
        tensor: &'static str,
        /// Reason why the kernel cannot use it.
        what: String,
    },
    /// A setting outside its range, such as a batch of 0 rows.
    #[error("{what}")]
    Invalid {
        /// Setting, its value and its range.
        what: String,
    },
    /// No adapter, an unknown one, or one that cannot run the kernels.
    #[error("{what}")]
    Adapter {
        /// Adapter looked for and adapters found.
        what: String,
    },
    /// A device that was lost, did not answer or refused its work.
    #[error("the GPU device failed: {what}")]
    Device {
        /// That it was lost, or the message of wgpu or the driver.
        what: String,
    },
    /// A device without enough memory for a tensor.
    #[error("out of memory allocating {bytes} bytes")]
    OutOfMemory {
        /// Size of the failed allocation, in bytes.
        bytes: u64,
    },
    /// A file that cannot be opened, read or written.
    #[error("{path}: {what}")]
    File {
        /// Path of the file.
        path: String,
        /// Message of the system.
        what: String,
    },
    /// A file whose contents cannot be used.
    #[error("{path}: {what}")]
    Data {
        /// Path of the file, with the place in it if known.
        path: String,
        /// Contents found and contents expected.
        what: String,
    },
    /// Layers in a file whose order neither their names nor their shapes force.
    #[error("{path}: {what}; name them from the input on, for example {names}")]
    Order {
        /// Path of the file.
        path: String,
        /// Layers and their shapes.
        what: String,
        /// Names of the layers, separated by commas.
        names: String,
    },
    /// A training run whose loss is no longer a finite number.
    #[error("epoch {epoch}: the loss is {loss}; try a smaller learning rate")]
    Diverged {
        /// Epoch, counted from 1.
        epoch: u32,
        /// Loss found.
        loss: f32,
    },
}

/// A limit of a device that is too low.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the device's {limit} is {has}, {needs} needed; {}", self.advice())]
pub struct Lack {
    /// Name of the limit, a field of [`wgpu::Limits`].
    pub limit: &'static str,
    /// Value of the limit.
    pub has: u64,
    /// Least value that would do.
    pub needs: u64,
}

impl Lack {
    /// Returns the way to get what is needed.
    fn advice(&self) -> &'static str {
        match self.limit {
            "max_storage_buffer_binding_size" if self.needs > MAX_BINDING => {
                "no device binds so much, so the tensor must be smaller"
            }
            _ => "request it in DeviceDescriptor::required_limits, or use another adapter",
        }
    }
}

/// Each error of the contract as the one of the same name here.
impl From<dropout_contract::Error> for Error {
    fn from(error: dropout_contract::Error) -> Self {
        use dropout_contract::Error as Contract;
        match error {
            Contract::Rate { what, value } => Self::Rate { what, value },
            Contract::Shape { kernel, what } => Self::Shape { kernel, what },
            Contract::TooLarge { what, value, bound } => Self::TooLarge { what, value, bound },
            Contract::Invalid { what } => Self::Invalid { what },
            Contract::OutOfMemory { bytes } => Self::OutOfMemory { bytes },
            other => Self::Invalid { what: other.to_string() },
        }
    }
}

impl Error {
    pub(crate) fn shape(kernel: &'static str, what: impl Into<String>) -> Self {
        Self::Shape { kernel, what: what.into() }
    }

    /// Returns the error of a device that lacks what `who` needs, whatever the call.
    pub(crate) fn lacks(who: &str, lack: Lack) -> Self {
        Self::Adapter { what: format!("{who}: {lack}") }
    }

    /// Returns the error of a lost device, with the driver's message if there is one.
    pub(crate) fn lost(message: &str) -> Self {
        let message = if message.is_empty() { String::new() } else { format!(" ({message})") };
        let what = format!(
            "it was lost{message}; open a device again, and create kernels and tensors on it"
        );
        Self::Device { what }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }
}
