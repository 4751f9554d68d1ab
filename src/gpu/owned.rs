//! A GPU as a backend: dispatches are queued, and one submit hands them all over in one pass.

use super::arena::{ParamsArena, Timer};
use super::device::{AdapterChoice, open, open_async};
use super::experimental::check_matrices;
use super::guard::Guard;
use super::kernels::Kernels;
use super::readback;
use super::recorder::{Groups, Step, record};
use super::runner::Runner;
use super::tensor::Retired;
use super::tuning::{Chosen, Tuning};
use crate::plan::{Plan, Planner, scratch_bytes};
use crate::{Counts, Error, Result};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Number of submits that may be in flight: enough to keep the device busy, and few enough to bound
/// memory and to make reported progress true.
const IN_FLIGHT: usize = 8;
/// Initial number of parameter blocks per submit.
const SLOTS: usize = 1024;

/// Backend on a wgpu device, which this crate opens or the caller provides.
#[derive(Debug)]
pub struct Gpu {
    pub(super) info: wgpu::AdapterInfo,
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) kernels: Kernels,
    /// First error of a device of this crate's own, from its handlers.
    fault: Arc<Mutex<Option<Error>>>,
    pending: Vec<Step>,
    /// Parameter blocks, from the first call on.
    params: Option<ParamsArena>,
    bind_groups: Groups,
    pub(super) retired: Retired,
    /// Buffer that the host can map, kept from the last copy.
    pub(super) staging: Option<wgpu::Buffer>,
    /// Parts of sums, passed from one dispatch of a call to the next.
    scratch: Option<wgpu::Buffer>,
    pub(super) timer: Option<Timer>,
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
                record_fault(&note, Error::lost(&message));
            }
        });
        let kernels = Kernels::with_planner(&device, change)?;
        let mut gpu = Self::assemble(info, device, queue, kernels, fault);
        check_matrices(&mut gpu)?;
        Ok(gpu)
    }

    /// Creates a backend on a device that the caller owns, and on its queue. It sets no error
    /// handler. What goes wrong in its calls is their error, and no handler of the owner hears of
    /// it. It waits for what the queue has been given before.
    ///
    /// # Errors
    /// The errors of [`Kernels::new`]; [`Error::Device`] if the queue belongs to another device.
    pub fn on(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        let kernels = Kernels::new(&device)?;
        readback::check_queue(&device, &queue)?;
        kernels.guard.check()?;
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
        Self {
            info,
            device,
            queue,
            kernels,
            fault,
            pending: Vec::new(),
            params: None,
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

    /// Returns the guard of the device.
    pub(super) fn guard(&self) -> &Guard {
        &self.kernels.guard
    }

    /// Queues a plan's dispatches, all of them or none.
    ///
    /// # Errors
    /// Those of [`Backend::run`](crate::Backend::run).
    pub(super) fn enqueue(&mut self, plan: Plan<'_>) -> Result<()> {
        self.check()?;
        if let Some(runner) = self.runner.clone() {
            return self.run_elsewhere(&*runner, &plan);
        }
        self.grow_scratch(scratch_bytes(&plan))?;
        let mut first = self.pending.len();
        for dispatch in &plan {
            let slots = self.params.as_ref().map_or(0, |params| params.blocks.capacity());
            if self.pending.len() == slots {
                // All parameter blocks are in use: submit the pending dispatches and make room.
                self.flush(None)?;
                first = 0;
                self.params = Some(ParamsArena::new(&self.kernels, (2 * slots).max(SLOTS))?);
                self.counts.objects += 2;
            }
            let kept = Some(&mut self.bind_groups);
            match self.kernels.step(dispatch, self.scratch.as_ref(), kept) {
                Ok((step, made)) => {
                    self.counts.objects += made;
                    if let Some(params) = &mut self.params {
                        params.blocks.set(self.pending.len(), &dispatch.params);
                    }
                    self.pending.push(step);
                }
                Err(error) => {
                    self.pending.truncate(first);
                    return Err(error);
                }
            }
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
        if let Some(params) = self.params.as_ref().filter(|_| !self.pending.is_empty()) {
            let submitted = self.guard().run(|| {
                let blocks = params.blocks.bytes(self.pending.len());
                self.queue.write_buffer(&params.buffer, 0, blocks);
                let mut encoder =
                    self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor {
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
                    record(&mut pass, &self.pending, &params.group, self.kernels.slot());
                }
                if let Some(timer) = timer {
                    encoder.resolve_query_set(&timer.queries, 0..2, &timer.resolved, 0);
                }
                self.queue.submit([encoder.finish()])
            });
            let dispatches = self.pending.len() as u64;
            self.pending.clear();
            self.in_flight.push_back(submitted?);
            self.counts.dispatches += dispatches;
            self.counts.submits += 1;
        }
        self.forget_retired();
        self.fault()
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

    /// Returns true if so many submits are in flight that the next one must wait.
    pub(super) fn is_behind(&self) -> bool {
        self.in_flight.len() > IN_FLIGHT
    }

    /// Returns the first error of the device, if there was one, or finds out that it was lost.
    pub(super) fn check(&self) -> Result<()> {
        self.fault()?;
        self.guard().check()
    }

    /// Returns the first error of a device of this crate's own, if there was one.
    pub(super) fn fault(&self) -> Result<()> {
        match &*self.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

fn record_fault(fault: &Mutex<Option<Error>>, error: Error) {
    fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
}
