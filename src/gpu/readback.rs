//! Copies from device memory to the host: a staging buffer, a mapping, and a wait that can fail but
//! neither hangs nor panics.

use crate::{Error, Result};
use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Bytes copied at a time: large enough to be fast, small enough to allocate.
pub(super) const CHUNK: u64 = 64 << 20;
/// Longest wait for one submission.
const PATIENCE: Duration = Duration::from_secs(120);

type Mapped = std::result::Result<(), wgpu::BufferAsyncError>;

/// Copy on its way to the host.
pub(super) struct Download<'a> {
    staging: &'a wgpu::Buffer,
    bytes: u64,
    mapped: OneshotReceiver<Mapped>,
    submission: wgpu::SubmissionIndex,
}

/// Copies parts of buffers, each a buffer, an offset and a size in bytes, into `staging` one after
/// another, each padded to whole words, and requests the mapping of `staging`.
pub(super) fn download<'a>(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    parts: &[(&wgpu::Buffer, u64, u64)],
    staging: &'a wgpu::Buffer,
) -> Download<'a> {
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor {
        label: Some("wgpu-dropout read"),
    });
    let mut bytes = 0;
    let mut end = 0;
    for &(source, offset, size) in parts {
        let padded = size.next_multiple_of(4);
        encoder.copy_buffer_to_buffer(source, offset, staging, end, padded);
        bytes = end + size;
        end += padded;
    }
    if end == 0 {
        // Nothing to copy: only waits for earlier submissions. A buffer is mapped when the last
        // command that writes it has completed.
        encoder.clear_buffer(staging, 0, Some(4));
        bytes = 4;
    }
    let submission = queue.submit([encoder.finish()]);
    let (sender, mapped) = oneshot_channel();
    staging.map_async(wgpu::MapMode::Read, ..bytes.next_multiple_of(4), move |result| {
        // The receiver is gone only if the caller gave up waiting.
        let _ = sender.send(result);
    });
    Download { staging, bytes, mapped, submission }
}

impl Download<'_> {
    /// Polls the device until the copy is done and the map callback has run.
    pub(super) fn poll(&self, device: &wgpu::Device) -> Result<()> {
        wait(device, self.submission.clone())
    }

    /// Waits for the map callback and appends the bytes to `sink`. [`poll`](Self::poll), or some
    /// other poll of the device, runs the callback.
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

/// Waits for one submission of this crate.
pub(super) fn wait(device: &wgpu::Device, submission: wgpu::SubmissionIndex) -> Result<()> {
    let poll = wgpu::PollType::Wait { submission_index: Some(submission), timeout: Some(PATIENCE) };
    // wgpu panics if the device is lost during the wait.
    match catch_unwind(AssertUnwindSafe(|| device.poll(poll))) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Error::Device { what: error.to_string() }),
        Err(_) => Err(Error::Device { what: "it was lost during a wait".to_owned() }),
    }
}
