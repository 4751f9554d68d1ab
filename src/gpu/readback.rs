//! From device memory to the host: a staging buffer, a map, and a wait that can fail but not hang
//! or panic.

use crate::{Error, Result};
use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Bytes copied at a time: enough to be fast, small enough to be had.
pub(super) const CHUNK: u64 = 64 << 20;
/// How long a device may be silent over one submission.
const PATIENCE: Duration = Duration::from_secs(120);

type Mapped = std::result::Result<(), wgpu::BufferAsyncError>;

/// A part of a buffer on its way to the host.
pub(super) struct Download<'a> {
    staging: &'a wgpu::Buffer,
    bytes: u64,
    mapped: OneshotReceiver<Mapped>,
    submission: wgpu::SubmissionIndex,
}

/// Copies parts of buffers, each from an offset on and so many bytes long, into `staging` one after
/// another, each padded to whole words, and asks for its mapping.
pub(super) fn download<'a>(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    parts: &[(&wgpu::Buffer, u64, u64)],
    staging: &'a wgpu::Buffer,
) -> Download<'a> {
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor {
        label: Some("wgpu-dropout read"),
    });
    let (mut bytes, mut end) = (0, 0);
    for &(source, offset, size) in parts {
        let padded = size.next_multiple_of(4);
        encoder.copy_buffer_to_buffer(source, offset, staging, end, padded);
        bytes = end + size;
        end += padded;
    }
    if end == 0 {
        // Nothing but the wait for what was submitted before: a buffer is mapped when the last that
        // writes it is done.
        encoder.clear_buffer(staging, 0, Some(4));
        bytes = 4;
    }
    let submission = queue.submit([encoder.finish()]);
    let (sender, mapped) = oneshot_channel();
    staging.map_async(wgpu::MapMode::Read, ..bytes.next_multiple_of(4), move |result| {
        // The receiver is gone only where the caller gave up waiting.
        let _ = sender.send(result);
    });
    Download { staging, bytes, mapped, submission }
}

impl Download<'_> {
    /// Polls the device until the copy is done and the map callback has run.
    pub(super) fn poll(&self, device: &wgpu::Device) -> Result<()> {
        wait(device, self.submission.clone())
    }

    /// Takes the bytes once the map callback has run; [`poll`](Self::poll) or somebody else sees to
    /// that.
    pub(super) async fn finish(self, sink: &mut Vec<u8>) -> Result<()> {
        let failed = |what: String| Error::Device { what };
        match self.mapped.receive().await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(failed(error.to_string())),
            None => return Err(failed("it dropped a read-back".to_owned())),
        }
        let range = self
            .staging
            .get_mapped_range(..self.bytes.next_multiple_of(4))
            .map_err(|error| failed(error.to_string()))?;
        sink.extend_from_slice(&range[..self.bytes as usize]);
        drop(range);
        self.staging.unmap();
        Ok(())
    }
}

/// Waits for a submission of ours.
pub(super) fn wait(device: &wgpu::Device, submission: wgpu::SubmissionIndex) -> Result<()> {
    let poll = wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(PATIENCE) };
    // wgpu panics where the device is lost inside the wait.
    match catch_unwind(AssertUnwindSafe(|| device.poll(poll))) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Error::Device { what: error.to_string() }),
        Err(_) => Err(Error::Device { what: "it was lost while waiting for it".to_owned() }),
    }
}
