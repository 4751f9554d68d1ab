//! Errors of a device, caught before they reach its owner.
//!
//! wgpu reports an error to the innermost scope of the calling thread that is open for its kind.
//! Without one, it calls the handler of the device's owner, which panics by default. A [`Guard`]
//! opens scopes around whatever the kernels do on a device.
//!
//! No scope hears of a lost device: from then on, calls do nothing, and only the owner's callback
//! is told. So the guard asks for a buffer that no device can make. wgpu checks first whether the
//! device was lost, so a lost one does not even refuse it.

use crate::{Error, Result};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A device whose errors are caught. Clones guard the same device.
#[derive(Debug, Clone)]
pub(super) struct Guard(wgpu::Device);

/// A buffer without a use, which wgpu refuses before anything is allocated.
const USELESS: wgpu::BufferDescriptor<'static> = wgpu::BufferDescriptor {
    label: None,
    size: 0,
    usage: wgpu::BufferUsages::empty(),
    mapped_at_creation: false,
};

impl Guard {
    /// Guards a device.
    ///
    /// # Errors
    /// [`Error::Device`] if the device was lost.
    pub fn new(device: &wgpu::Device) -> Result<Self> {
        let guard = Self(device.clone());
        guard.check().map(|()| guard)
    }

    /// Returns the device.
    pub fn device(&self) -> &wgpu::Device {
        &self.0
    }

    /// Returns an error if the device was lost or destroyed. In a browser, only the owner's
    /// callback knows.
    ///
    /// On a CPU of two cores it takes 1.3 µs. In a replayed step of 15 small calls on lavapipe, one
    /// check a call and two a submit come to 3 % of the step.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn check(&self) -> Result<()> {
        if cfg!(target_arch = "wasm32") {
            return Ok(());
        }
        let scope = self.0.push_error_scope(wgpu::ErrorFilter::Validation);
        drop(self.0.create_buffer(&USELESS));
        error_of(scope).map(drop).ok_or_else(|| Error::lost(""))
    }

    /// Does some work and returns the error that wgpu reported meanwhile, if it reported one.
    pub fn caught<R>(&self, work: impl FnOnce() -> R) -> (R, Option<wgpu::Error>) {
        caught(&self.0, work)
    }

    /// Does some work on the device. Errors that wgpu reports meanwhile are returned.
    ///
    /// # Errors
    /// [`Error::Device`] if the device was lost, whatever else went wrong, or if wgpu refused the
    /// work; [`Error::OutOfMemory`].
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        self.run_of(0, work)
    }

    /// Does what [`run`](Self::run) does, for work that allocates `bytes`.
    pub fn run_of<R>(&self, bytes: u64, work: impl FnOnce() -> R) -> Result<R> {
        let (result, error) = self.caught(work);
        self.check()?;
        error.map_or(Ok(result), |error| Err(typed(error, bytes)))
    }

    /// Allocates a buffer.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Device`] if the device was lost.
    pub fn buffer(&self, descriptor: &wgpu::BufferDescriptor<'_>) -> Result<wgpu::Buffer> {
        self.run_of(descriptor.size, || self.0.create_buffer(descriptor))
    }
}

/// Does some work and returns the error that wgpu reported meanwhile. Of several, it is the one
/// that can be the cause of the others.
///
/// A browser reports errors later, when nothing here waits for them.
pub(super) fn caught<R>(
    device: &wgpu::Device,
    work: impl FnOnce() -> R,
) -> (R, Option<wgpu::Error>) {
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let result = work();
    // The scope that was opened last closes first.
    let errors = [memory, internal, validation].map(error_of);
    (result, errors.into_iter().flatten().next())
}

/// Returns the error that a scope caught, if it is known already. In a browser it is not.
fn error_of(scope: wgpu::ErrorScopeGuard) -> Option<wgpu::Error> {
    match pin!(scope.pop()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(error) => error,
        Poll::Pending => None,
    }
}

/// Returns wgpu's error as one of this crate. The work would have allocated `bytes`.
fn typed(error: wgpu::Error, bytes: u64) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { bytes },
        error => Error::Device { what: brief(&error.to_string()) },
    }
}

/// Returns the causes in a message of wgpu, of which each has a line, in one line.
fn brief(message: &str) -> String {
    let causes = message.split_once("Caused by:").map_or(message, |(_, causes)| causes);
    let lines = causes.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_several_lines_becomes_one() {
        let message = "Validation Error\n\nCaused by:\n  In Device::create_bind_group\n    Buffer is destroyed\n";
        assert_eq!(brief(message), "In Device::create_bind_group: Buffer is destroyed");
        assert_eq!(brief("lost"), "lost");
    }
}
