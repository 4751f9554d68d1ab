//! A GPU as a backend: dispatches are queued, and one submit hands them all over in one pass.

use super::arena::{ParamsArena, Timer};
use super::device::{AdapterChoice, open, open_async};
use super::experimental::check_matrices;
use super::kernels::Kernels;
use super::memory;
use super::readback;
use super::recorder::{Groups, Step, record};
use super::runner::Runner;
use super::tensor::{GpuTensor, Retired};
use super::tuning::{Chosen, Tuning};
use crate::plan::{Plan, Planner, scratch_bytes};
use crate::{Backend, Counts, Element};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Number of submits that may be in flight: enough to keep the device busy, and few enough to bound
/// memory and to make reported progress true.
const IN_FLIGHT: usize = 8;
/// Initial number of parameter blocks per submit.
const SLOTS: usize = 1024;

/// Part of a buffer: the buffer, an offset and a size, both in bytes.
type Part<'a> = (&'a wgpu::Buffer, u64, u64);

/// Backend on a wgpu device, which this crate opens or the caller provides.
#[derive(Debug)]
pub struct Gpu {
    pub(super) info: wgpu::AdapterInfo,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) kernels: Kernels,
    /// First error of the device, from a handler or from this backend.
    fault: Arc<Mutex<Option<Error>>>,
    pending: Vec<Step>,
    params: ParamsArena,
    bind_groups: Groups,
    pub(super) retired: Retired,
    staging: Option<wgpu::Buffer>,
    /// Parts of sums, passed from one dispatch of a call to the next.
    scratch: Option<wgpu::Buffer>,
    timer: Option<Timer>,
    /// Submits that the device may not have finished, oldest first.
    pub(super) in_flight: VecDeque<wgpu::SubmissionIndex>,
    pub(super) counts: Counts,
    /// Origin of the planner.
    pub(super) chosen: Chosen,
    /// Stand-in that runs dispatches in place of the device, in tests.
    runner: Option<Arc<dyn Runner>>,
}

impl Gpu {
    /// Opens a device on the chosen adapter and chooses its kernels by [`Tuning::Auto`]. On a real
    /// GPU, the first call in a process runs a trial of less than half a second.
    ///
    /// The driver may print to stderr. On Linux without a display, Mesa does so unless the
    /// environment variable `NODEVICE_SELECT` is 1; `docs/embedding.md` says why and how to set it.
    ///
    /// # Errors
    /// [`Error::Adapter`] if no adapter matches, or if none that matches can run the kernels.
    pub fn open(choice: &AdapterChoice) -> Result<Self> {
        Self::tuned(choice, Tuning::Auto)
    }

    /// Opens a device on the chosen adapter without a trial. `change` receives the planner that the
    /// rule gives, and returns the one to use.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open) and of [`Kernels::with_planner`].
    pub fn build(choice: &AdapterChoice, change: impl FnOnce(Planner) -> Planner) -> Result<Self> {
        Self::own(open(choice)?, change)
    }

    /// Opens a device on the chosen adapter without blocking, for example in a browser. Its kernels
    /// are chosen by the rule, since a trial would block.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open).
    pub async fn open_async(choice: &AdapterChoice) -> Result<Self> {
        Self::own(open_async(choice).await?, |planner| planner)
    }

    /// Takes over a device that this crate opened, sets its error handlers and checks its
    /// cooperative matrices.
    fn own(
        (info, device, queue): (wgpu::AdapterInfo, wgpu::Device, wgpu::Queue),
        change: impl FnOnce(Planner) -> Planner,
    ) -> Result<Self> {
        let fault = Arc::new(Mutex::new(None));
        let note = fault.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            record_fault(&note, Error::Device { what: error.to_string() });
        }));
        let note = fault.clone();
        device.set_device_lost_callback(move |reason, message| {
            // Dropping the device is not a fault.
            if reason != wgpu::DeviceLostReason::Destroyed {
                record_fault(&note, Error::Device { what: format!("lost: {message}") });
            }
        });
        let kernels = Kernels::with_planner(&device, change)?;
        let mut gpu = Self::assemble(info, device, queue, kernels, fault);
        check_matrices(&mut gpu)?;
        Ok(gpu)
    }

    /// Creates a backend on a device that the caller owns. It sets no error handler, so errors that
    /// the device reports outside a call go to the owner's handler.
    ///
    /// # Errors
    /// The errors of [`Kernels::new`].
    pub fn on(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        let kernels = Kernels::new(&device)?;
        Ok(Self::assemble(device.adapter_info(), device, queue, kernels, Arc::default()))
    }

    /// Returns another backend on the same device with the given kernels, which must have been
    /// created for that device. They may have another planner or other shaders.
    pub fn with_kernels(&self, kernels: Kernels) -> Self {
        let (info, device, queue) = (self.info.clone(), self.device.clone(), self.queue.clone());
        let runner = self.runner.clone();
        Self { runner, ..Self::assemble(info, device, queue, kernels, self.fault.clone()) }
    }

    /// Returns the backend with a stand-in that runs dispatches in place of the device.
    #[doc(hidden)]
    pub fn with_runner(self, runner: Arc<dyn Runner>) -> Self {
        Self { runner: Some(runner), ..self }
    }

    fn assemble(
        info: wgpu::AdapterInfo,
        device: wgpu::Device,
        queue: wgpu::Queue,
        kernels: Kernels,
        fault: Arc<Mutex<Option<Error>>>,
    ) -> Self {
        let (params, made) = ParamsArena::new(&device, &kernels, SLOTS);
        if let Err(error) = made {
            record_fault(&fault, error);
        }
        Self {
            info,
            device,
            queue,
            kernels,
            fault,
            pending: Vec::new(),
            params,
            bind_groups: Groups::new(),
            retired: Retired::default(),
            staging: None,
            scratch: None,
            timer: None,
            in_flight: VecDeque::new(),
            counts: Counts::default(),
            chosen: Chosen::default(),
            runner: None,
        }
    }

    /// Returns the name, driver and type of the adapter.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.info
    }

    /// Returns the device.
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    /// Returns the queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Returns the kernels, with which a caller can record calls into its own passes.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// Copies parts of buffers to the host, once all submitted work is done. Without parts, it only
    /// waits for that work.
    ///
    /// With `polls`, it polls the device until the copy is done, and the future never waits. A
    /// caller that drops the future early also drops the staging buffer and its mapping.
    async fn fetch(&mut self, parts: &[Part<'_>], polls: bool, sink: &mut Vec<u8>) -> Result<()> {
        let staging = self.staging(parts.iter().map(|part| part.2.next_multiple_of(4)).sum())?;
        let download = readback::download(&self.device, &self.queue, parts, &staging);
        if polls {
            download.poll(&self.device)?;
        }
        download.finish(sink).await?;
        self.staging = Some(staging);
        self.in_flight.clear();
        Ok(())
    }

    /// Reads a tensor in pieces of at most [`CHUNK`](readback::CHUNK) bytes.
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
                &[(&tensor.buffer, offset, readback::CHUNK.min(tensor.bytes() - offset))],
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
        if !(1..=readback::CHUNK)
            .contains(&sizes.clone().map(|bytes| bytes.next_multiple_of(4)).sum())
        {
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
                Timer::new(&self.device)?
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

    /// Queues a plan's dispatches.
    pub(super) fn enqueue(&mut self, plan: Plan<'_>) -> Result<()> {
        if let Some(runner) = self.runner.clone() {
            return self.run_elsewhere(&*runner, &plan);
        }
        self.grow_scratch(scratch_bytes(&plan))?;
        for dispatch in &plan {
            if self.pending.len() == self.params.blocks.capacity() {
                // All parameter blocks are in use: submit the pending dispatches and make room.
                self.flush(None)?;
                let slots = 2 * self.params.blocks.capacity();
                let (params, made) = ParamsArena::new(&self.device, &self.kernels, slots);
                made?;
                self.params = params;
                self.counts.objects += 2;
            }
            let kept = Some(&mut self.bind_groups);
            let (step, made) = self.kernels.step(dispatch, self.scratch.as_ref(), kept);
            self.counts.objects += made;
            self.params.blocks.set(self.pending.len(), &dispatch.params);
            self.pending.push(step);
        }
        Ok(())
    }

    /// Ensures that the shared scratch buffer holds at least `bytes`. Calls run in order, so they
    /// can share it.
    fn grow_scratch(&mut self, bytes: u64) -> Result<()> {
        if self.scratch.as_ref().map_or(0, wgpu::Buffer::size) < bytes {
            let larger = self.kernels.scratch(bytes.next_power_of_two())?;
            self.counts.objects += 1;
            if let Some(smaller) = self.scratch.replace(larger) {
                self.retired.lock().unwrap_or_else(PoisonError::into_inner).push(smaller);
            }
        }
        Ok(())
    }

    /// Submits the pending dispatches in one pass of one command buffer.
    pub(super) fn flush(&mut self, timer: Option<&Timer>) -> Result<()> {
        self.check()?;
        if !self.pending.is_empty() {
            let blocks = self.params.blocks.bytes(self.pending.len());
            self.queue.write_buffer(&self.params.buffer, 0, blocks);
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor {
                label: Some("wgpu-dropout"),
            });
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: Some("wgpu-dropout"),
                    timestamp_writes: timer.map(|timer| wgpu::ComputePassTimestampWrites {
                        query_set: &timer.queries,
                        beginning_of_pass_write_index: Some(0),
                        end_of_pass_write_index: Some(1),
                    }),
                });
                record(&mut pass, &self.pending, &self.params.group, self.kernels.slot());
            }
            if let Some(timer) = timer {
                encoder.resolve_query_set(&timer.queries, 0..2, &timer.resolved, 0);
            }
            self.counts.dispatches += self.pending.len() as u64;
            self.counts.submits += 1;
            self.in_flight.push_back(self.queue.submit([encoder.finish()]));
            self.pending.clear();
        }
        self.forget_retired();
        self.check()
    }

    /// Drops the bind groups of tensors that no longer exist, which frees the tensors' memory.
    fn forget_retired(&mut self) {
        let retired =
            std::mem::take(&mut *self.retired.lock().unwrap_or_else(PoisonError::into_inner));
        if !retired.is_empty() {
            self.bind_groups.retain(|(_, ranges), _| {
                !ranges.iter().any(|(buffer, ..)| retired.contains(buffer))
            });
        }
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
        memory::buffer(&self.device, &descriptor)
    }

    /// Returns true if so many submits are in flight that the next one must wait.
    pub(super) fn is_behind(&self) -> bool {
        self.in_flight.len() > IN_FLIGHT
    }

    /// Returns the first error of the device, if there was one.
    pub(super) fn check(&self) -> Result<()> {
        match &*self.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

fn record_fault(fault: &Mutex<Option<Error>>, error: Error) {
    fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
}
