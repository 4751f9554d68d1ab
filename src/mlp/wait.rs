//! Ways to wait for the device, blocking or yielding to the caller's executor, so that the blocking
//! and the `async` form of a call share one body.

use crate::Result;
use crate::backend::{Backend, Element};

/// The way in which a call waits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wait {
    /// The call blocks; its future is ready at the first poll.
    Block,
    /// The call awaits.
    Yield,
}

impl Wait {
    pub async fn read<B: Backend, T: Element>(
        self,
        backend: &mut B,
        tensor: &B::Tensor<T>,
    ) -> Result<Vec<T>> {
        match self {
            Self::Block => backend.read(tensor),
            Self::Yield => backend.read_async(tensor).await,
        }
    }

    pub async fn read_all<B: Backend, T: Element>(
        self,
        backend: &mut B,
        tensors: &[&B::Tensor<T>],
    ) -> Result<Vec<Vec<T>>> {
        match self {
            Self::Block => backend.read_all(tensors),
            Self::Yield => backend.read_all_async(tensors).await,
        }
    }

    pub async fn submit<B: Backend>(self, backend: &mut B) -> Result<()> {
        match self {
            Self::Block => backend.submit(),
            Self::Yield => backend.submit_async().await,
        }
    }
}

/// Runs a call that waits by [`Wait::Block`] and returns its result.
pub(super) fn blocking<R>(call: impl Future<Output = R>) -> R {
    pollster::block_on(call)
}
