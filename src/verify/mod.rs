//! Conformance suite: checks that a device draws the contract's masks and computes correct results,
//! and reports any differences in a form that can be pasted into an issue.
//!
//! [`gpu`] checks the caller's device (see [`Gpu::on`]) in every form in which it can run the
//! kernels. [`cpu`] checks the CPU backend on every instruction set. The checks, in order:
//!
//! 1. Random123's answers, the contract's check vectors, and masks of random keys, rates, shapes
//!    and offsets compared with the reference;
//! 2. every kernel in every variant compared with the f64 [`oracle`](crate::oracle), also in f16 if
//!    the device has it;
//! 3. exact arithmetic, bit-equal to the reference;
//! 4. invariance over tile, split, shard and grid;
//! 5. a statistical battery, with controls that must fail.
//!
//! `docs/trust.md` describes each check.
//!
//! ```
//! use wgpu_dropout::verify::{self, Options};
//!
//! let report = verify::cpu(&Options::quick(0), &mut |check| println!("{check}"))?;
//! assert!(report.passed(), "{report}");
//! # Ok::<(), wgpu_dropout::Error>(())
//! ```

mod activation;
mod attention;
mod battery;
mod check;
mod convolution;
mod ensemble;
mod exact;
mod form;
mod forms;
mod gaps;
mod half;
mod kernels;
mod layer;
mod masks;
mod normalization;
mod random;
mod shapes;
mod statistics;
mod variants;
mod vectors;

pub use check::{Check, Report};
pub use vectors::contract;

use crate::Cpu;
use crate::gpu::Gpu;
use crate::{Backend, Counts, Device, Result};
use form::{Form, Subject};
use std::time::Duration;

/// Extent of a run and the seed of its cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Seed of all cases.
    pub seed: u64,
    /// Number of mask configurations.
    pub masks: usize,
    /// Number of layers of exact arithmetic.
    pub layers: usize,
    /// Number of draws per rate in the battery.
    pub draws: u64,
    /// True if a GPU is checked in every form: each tile, with Philox in 64-bit integers and in
    /// limbs, whole and in parts. Otherwise it is checked in its own form, and in the other tiles
    /// with Philox in limbs.
    pub every_form: bool,
    /// Time limit of the battery. A device that is too slow for all draws gets fewer.
    pub patience: Duration,
    /// Text replacements for every shader, from the first of a pair to the second, which show that
    /// the suite can fail.
    pub edits: Vec<[String; 2]>,
}

impl Options {
    /// Returns the default options. A run takes some minutes on a device, battery included. Most of
    /// that is the driver compiling every form of the kernels for the first time.
    pub fn new(seed: u64) -> Self {
        let patience = Duration::from_secs(20);
        Self {
            seed,
            masks: 50_000,
            layers: 4_000,
            draws: 1 << 26,
            every_form: true,
            patience,
            edits: Vec::new(),
        }
    }

    /// Returns options for a run of some seconds plus compilation: every check, with few cases and
    /// forms.
    pub fn quick(seed: u64) -> Self {
        Self { masks: 2_000, layers: 200, draws: 1 << 20, every_form: false, ..Self::new(seed) }
    }

    /// Returns options for a million masks and a hundred thousand layers.
    pub fn exhaustive(seed: u64) -> Self {
        Self { masks: 1_000_000, layers: 100_000, patience: Duration::MAX, ..Self::new(seed) }
    }
}

/// Callback that receives each check when it is complete.
pub type Progress<'a> = &'a mut dyn FnMut(&Check);

/// Checks a GPU, calling `on_check` with each check when it is complete.
///
/// # Errors
/// The same as [`Backend::read`]. A difference is not an error; it is recorded in the report.
pub fn gpu(gpu: &Gpu, options: &Options, on_check: Progress<'_>) -> Result<Report> {
    let mut forms = form::of_gpu(gpu, options)?;
    let rounds = |rounds: u32| -> Result<Gpu> {
        let kernels = form::kernels(gpu, options)?;
        Ok(gpu.with_kernels(
            kernels.edited("PHILOX_ROUNDS: u32 = 10u", &format!("PHILOX_ROUNDS: u32 = {rounds}u")),
        ))
    };
    let mut run = Run { checks: Vec::new(), on_check };
    run.done(vectors::philox(&mut forms, 10)?);
    let mut seven =
        Form { name: "7 rounds".to_owned(), backend: rounds(7)?, weak: false, attention: false };
    run.done(vectors::philox(std::slice::from_mut(&mut seven), 7)?);
    if run.contract(&mut forms, options)? {
        run.numbers(&mut forms, options.seed, options.layers)?;
        run.done(gaps::against_oracle(&mut forms, options.seed)?);
        run.done(variants::variants(&forms));
        if let Some(check) = half::against_oracle(&mut forms, options.seed, options.every_form)? {
            run.done(check);
        }
        let rows = run.battery(&mut forms[0].backend, options)?;
        run.done(battery::rejects(
            "Philox with 3 rounds",
            &mut rounds(3)?,
            options.seed,
            rows.min(1024),
        )?);
        run.done(battery::finds_planted_lags(options.seed)?);
    }
    Ok(Report { device: gpu_name(gpu), checks: run.checks, counts: total(&forms) })
}

/// Checks the CPU backend, calling `on_check` with each check when it is complete.
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory) if a tensor does not fit in memory.
pub fn cpu(options: &Options, on_check: Progress<'_>) -> Result<Report> {
    let mut forms = form::of_cpu();
    let mut run = Run { checks: Vec::new(), on_check };
    run.done(vectors::philox(&mut forms[..1], 10)?);
    run.contract(&mut forms, options)?;
    run.numbers(&mut forms, options.seed, options.layers)?;
    run.battery(&mut forms[0].backend, options)?;
    run.done(battery::finds_planted_lags(options.seed)?);
    Ok(Report { device: cpu_name(), checks: run.checks, counts: total(&forms) })
}

/// Returns a device's name as used in reports: adapter, interface and driver, or the CPU backend's
/// instruction sets.
pub fn name(device: &Device) -> String {
    match device {
        Device::Gpu(gpu) => gpu_name(gpu),
        Device::Cpu(_) => cpu_name(),
    }
}

fn gpu_name(gpu: &Gpu) -> String {
    let info = gpu.info();
    let driver = format!("{} {}", info.driver, info.driver_info);
    format!("{} ({}, {:?}), driver {}", info.name, info.backend, info.device_type, driver.trim())
}

fn cpu_name() -> String {
    let names: Vec<String> = form::of_cpu().into_iter().map(|form: Form<Cpu>| form.name).collect();
    format!("CPU backend ({}), {}", names.join(", "), std::env::consts::ARCH)
}

fn total<B: Backend>(forms: &[Form<B>]) -> Counts {
    forms.iter().map(|form| form.backend.counts()).fold(Counts::default(), |a, b| a + b)
}

struct Run<'a> {
    checks: Vec<Check>,
    on_check: Progress<'a>,
}

impl Run<'_> {
    fn done(&mut self, check: Check) {
        (self.on_check)(&check);
        self.checks.push(check);
    }

    /// Checks the masks and returns true if they are right. If they are wrong, the remaining checks
    /// would fail for the same reason and should be skipped.
    fn contract<B: Backend>(&mut self, forms: &mut [Form<B>], options: &Options) -> Result<bool> {
        self.done(vectors::check_vectors(forms)?);
        self.done(masks::sweep(forms, options.seed, options.masks)?);
        Ok(self.checks.iter().all(Check::passed))
    }

    /// Checks the floating-point results.
    fn numbers<B: Subject + Send>(
        &mut self,
        forms: &mut [Form<B>],
        seed: u64,
        layers: usize,
    ) -> Result<()> {
        kernels::against_oracle(forms, seed, &mut |check| self.done(check))?;
        self.done(exact::layers(forms, seed, layers)?);
        self.done(exact::invariance(forms, seed)?);
        Ok(())
    }

    /// Runs the battery on one form, since the masks of all forms are identical bit for bit.
    /// Returns the number of rows it used.
    fn battery<B: Subject>(&mut self, backend: &mut B, options: &Options) -> Result<usize> {
        let rows = battery::rows(backend, options.draws, options.patience)?;
        self.done(battery::masks(backend, options.seed, rows)?);
        self.done(battery::words(backend, options.seed, rows)?);
        Ok(rows)
    }
}
