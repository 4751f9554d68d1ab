//! Buffers on a device, or a typed error where it has no memory for them.

use crate::{Error, Result};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A buffer; where there is no memory, no handler of the device's owner hears of it.
pub(super) fn buffer(
    device: &wgpu::Device,
    descriptor: &wgpu::BufferDescriptor<'_>,
) -> Result<wgpu::Buffer> {
    let (buffer, made) = buffer_or_error(device, descriptor);
    made.map(|()| buffer)
}

/// The same for who needs a buffer at any rate: without memory it is one that cannot be used.
pub(super) fn buffer_or_error(
    device: &wgpu::Device,
    descriptor: &wgpu::BufferDescriptor<'_>,
) -> (wgpu::Buffer, Result<()>) {
    let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let buffer = device.create_buffer(descriptor);
    // A browser tells only later, when nobody here waits any more: there the next read-back fails
    // instead.
    let made = match error_of(scope) {
        Some(_) => Err(Error::OutOfMemory { bytes: descriptor.size }),
        None => Ok(()),
    };
    (buffer, made)
}

/// What went wrong in a scope, where that is known already, which in a browser it is not.
pub(super) fn error_of(scope: wgpu::ErrorScopeGuard) -> Option<wgpu::Error> {
    match pin!(scope.pop()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(error) => error,
        Poll::Pending => None,
    }
}
