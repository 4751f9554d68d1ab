//! Copies from device memory to the host: a staging buffer, a mapping, and a wait that can fail but
//! neither hangs nor panics.

use super::arena::Timer;
use super::guard::caught;
use super::owned::Gpu;
use super::tensor::GpuTensor;
use crate::{Backend, Element, Error, Result};
use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes copied at a time: large enough to be fast, small enough to allocate.
pub(super) const CHUNK: u64 = 64 << 20;
/// Longest wait for one submission.
const PATIENCE: Duration = Duration::from_secs(120);

/// Part of a buffer: the buffer, an offset and a size, both in bytes.
type Part<'a> = (&'a wgpu::Buffer, u64, u64);

type Mapped = std::result::Result<(), wgpu::BufferAsyncError>;

/// Copy on its way to the host.
pub(super) struct Download<'a> {
    device: &'a wgpu::Device,
    staging: &'a wgpu::Buffer,
    bytes: u64,
    mapped: OneshotReceiver<Mapped>,
    submission: wgpu::SubmissionIndex,
}

/// Copies parts of buffers, each a buffer, an offset and a size in bytes, into `staging` one after
/// another, each padded to whole words, and requests the mapping of `staging`.
pub(super) fn download<'a>(
    device: &'a wgpu::Device,
    queue: &wgpu::Queue,
    parts: &[Part<'_>],
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
    Download { device, staging, bytes, mapped, submission }
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
        // A buffer that cannot be unmapped, as on a lost device, is dropped anyway.
        let (copied, _) = caught(self.device, || {
            let range = self
                .staging
                .get_mapped_range(..self.bytes.next_multiple_of(4))
                .map_err(|error| failed(error.to_string()))?;
            sink.extend_from_slice(&range[..self.bytes as usize]);
            drop(range);
            self.staging.unmap();
            Ok(())
        });
        copied
    }
}

/// Waits for one submission of this crate.
pub(super) fn wait(device: &wgpu::Device, submission: wgpu::SubmissionIndex) -> Result<()> {
    wait_for(device, Some(submission))
}

/// Checks that a queue is the device's own. wgpu would report the mistake at a later call, and to
/// the queue's own device, whose errors nothing here catches.
///
/// # Errors
/// [`Error::Device`] if it belongs to another device, or if the device was lost.
pub(super) fn check_queue(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<()> {
    // In a browser, callbacks are called later.
    if cfg!(target_arch = "wasm32") {
        return Ok(());
    }
    let done = Arc::new(AtomicBool::new(false));
    let note = done.clone();
    queue.on_submitted_work_done(move || note.store(true, Ordering::Relaxed));
    // A wait for a device's own work runs the callbacks of its own queue.
    wait_for(device, None)?;
    match done.load(Ordering::Relaxed) {
        true => Ok(()),
        false => Err(Error::Device { what: "the queue belongs to another device".to_owned() }),
    }
}

/// Waits for a submission, or for all submissions so far.
fn wait_for(device: &wgpu::Device, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
    let poll = wgpu::PollType::Wait { submission_index, timeout: Some(PATIENCE) };
    // wgpu panics if the device is lost during the wait.
    match catch_unwind(AssertUnwindSafe(|| device.poll(poll))) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Error::Device { what: error.to_string() }),
        Err(_) => Err(Error::Device { what: "it was lost during a wait".to_owned() }),
    }
}

impl Gpu {
    /// Copies parts of buffers to the host, once all submitted work is done. Without parts, it only
    /// waits for that work.
    ///
    /// With `polls`, it polls the device until the copy is done, and the future never waits. A
    /// caller that drops the future early also drops the staging buffer and its mapping.
    async fn fetch(&mut self, parts: &[Part<'_>], polls: bool, sink: &mut Vec<u8>) -> Result<()> {
        let staging = self.staging(parts.iter().map(|part| part.2.next_multiple_of(4)).sum())?;
        let copy = || download(&self.device, &self.queue, parts, &staging);
        let download = self.guard().run(copy)?;
        if polls {
            self.explained(download.poll(&self.device))?;
        }
        self.explained(download.finish(sink).await)?;
        self.staging = Some(staging);
        self.in_flight.clear();
        Ok(())
    }

    /// Reads a tensor in pieces of at most [`CHUNK`] bytes.
    pub(super) async fn read_pieces<T: Element>(
        &mut self,
        tensor: &GpuTensor<T>,
        polls: bool,
    ) -> Result<Vec<T>> {
        self.flush(None)?;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < tensor.bytes() {
            let offset = bytes.len() as u64;
            self.fetch(
                &[(&tensor.buffer, offset, CHUNK.min(tensor.bytes() - offset))],
                polls,
                &mut bytes,
            )
            .await?;
        }
        self.counts.bytes_read += tensor.bytes();
        self.check()?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    /// Reads tensors. If they fit one piece together, one copy brings all of them to the host.
    pub(super) async fn read_tensors<T: Element>(
        &mut self,
        tensors: &[&GpuTensor<T>],
        polls: bool,
    ) -> Result<Vec<Vec<T>>> {
        let sizes = tensors.iter().map(|tensor| tensor.bytes());
        if !(1..=CHUNK).contains(&sizes.clone().map(|bytes| bytes.next_multiple_of(4)).sum()) {
            let mut values = Vec::with_capacity(tensors.len());
            for tensor in tensors {
                values.push(self.read_pieces(tensor, polls).await?);
            }
            return Ok(values);
        }
        self.flush(None)?;
        let parts =
            tensors.iter().zip(sizes.clone()).map(|(tensor, bytes)| (&tensor.buffer, 0, bytes));
        let mut bytes = Vec::new();
        self.fetch(&parts.filter(|part| part.2 > 0).collect::<Vec<_>>(), polls, &mut bytes).await?;
        self.counts.bytes_read += sizes.clone().sum::<u64>();
        self.check()?;
        let mut rest = bytes.as_slice();
        let values = sizes.map(|size| {
            let (padded, after) =
                rest.split_at((size.next_multiple_of(4) as usize).min(rest.len()));
            rest = after;
            bytemuck::pod_collect_to_vec(&padded[..size as usize])
        });
        Ok(values.collect())
    }

    /// Submits the pending calls and waits until all calls so far are done.
    pub(super) async fn finish(&mut self) -> Result<()> {
        self.flush(None)?;
        self.fetch(&[], false, &mut Vec::new()).await?;
        self.check()
    }

    /// Submits the pending calls, waits for them, and returns the time they took by the device's
    /// own clock, or `None` if the device has no timestamps.
    ///
    /// # Errors
    /// The errors of [`Backend::read`].
    pub fn submit_timed(&mut self) -> Result<Option<std::time::Duration>> {
        if !self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            self.submit()?;
            self.wait()?;
            return Ok(None);
        }
        let timer = match self.timer.take() {
            Some(timer) => timer,
            None => {
                // The query set, and the buffer into which it is resolved.
                self.counts.objects += 2;
                Timer::new(self.guard())?
            }
        };
        let result = self.flush(Some(&timer)).and_then(|()| {
            let mut bytes = Vec::new();
            pollster::block_on(self.fetch(&[(&timer.resolved, 0, 16)], true, &mut bytes))?;
            let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
            let nanoseconds = ticks[1].saturating_sub(ticks[0]) as f64
                * f64::from(self.queue.get_timestamp_period());
            Ok(Some(std::time::Duration::from_secs_f64(nanoseconds * 1e-9)))
        });
        self.timer = Some(timer);
        result
    }

    /// Returns a buffer of at least `bytes` that the host can map: the one kept from the last copy,
    /// or a new one if that is too small.
    fn staging(&mut self, bytes: u64) -> Result<wgpu::Buffer> {
        let size = bytes.max(4).next_multiple_of(1 << 16);
        if let Some(buffer) = self.staging.take().filter(|buffer| buffer.size() >= size) {
            return Ok(buffer);
        }
        self.counts.objects += 1;
        let descriptor = wgpu::BufferDescriptor {
            label: Some("wgpu-dropout staging"),
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        self.guard().buffer(&descriptor)
    }

    /// Returns a result in which a lost device explains any error.
    pub(super) fn explained<T>(&self, result: Result<T>) -> Result<T> {
        result.or_else(|error| self.check().and(Err(error)))
    }
}
