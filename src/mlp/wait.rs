//! Whether a call waits for the device, or lets its caller's executor do something else meanwhile:
//! one body for the blocking and the `async` form.

use crate::Result;
use crate::backend::{Backend, Element};

/// How a call waits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wait {
    /// It blocks, and its future is ready when it is polled first.
    Block,
    /// It awaits.
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

/// What a call that blocks comes to.
pub(super) fn blocking<R>(call: impl Future<Output = R>) -> R {
    pollster::block_on(call)
}
