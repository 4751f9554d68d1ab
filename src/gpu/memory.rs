//! Allocation of buffers, with a typed error if the device has no memory for them.

use crate::{Error, Result};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Allocates a buffer. If there is no memory, the device owner's error handler is not called.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(super) fn buffer(
    device: &wgpu::Device,
    descriptor: &wgpu::BufferDescriptor<'_>,
) -> Result<wgpu::Buffer> {
    let (buffer, made) = buffer_or_error(device, descriptor);
    made.map(|()| buffer)
}

/// Does what [`buffer`] does, for callers that need a buffer in any case: without memory, it is one
/// that cannot be used.
pub(super) fn buffer_or_error(
    device: &wgpu::Device,
    descriptor: &wgpu::BufferDescriptor<'_>,
) -> (wgpu::Buffer, Result<()>) {
    let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let buffer = device.create_buffer(descriptor);
    // A browser reports the error later, when nothing here waits for it; there, the next read-back
    // fails instead.
    let made = match error_of(scope) {
        Some(_) => Err(Error::OutOfMemory { bytes: descriptor.size }),
        None => Ok(()),
    };
    (buffer, made)
}

/// Returns the error that a scope caught, if it is known already. In a browser it is not.
pub(super) fn error_of(scope: wgpu::ErrorScopeGuard) -> Option<wgpu::Error> {
    match pin!(scope.pop()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(error) => error,
        Poll::Pending => None,
    }
}
