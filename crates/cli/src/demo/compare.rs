//! Training of the same network without dropout, with vanilla and with inverted dropout, on every
//! device.

use crate::failure::Failure;
use crate::machine::Place;
use crate::progress::Bar;
use crate::train::session::{Report, Session};
use serde_json::{Value, json};
use wgpu_dropout::data::DataSet;
use wgpu_dropout::mlp::{Architecture, Mlp, Training};
use wgpu_dropout::{Backend, Counts, Device, Mode, Rate};

/// Modes of the runs on each device, in order.
pub const MODES: [Mode; 3] = [Mode::None, Mode::Vanilla, Mode::Inverted];

/// Settings of the networks and their training: the defaults of `train`.
#[derive(Debug, Clone)]
pub struct Plans {
    /// Units of each hidden layer.
    pub hidden: Vec<usize>,
    /// Rate of the hidden layers.
    pub rate: Rate,
    /// Epochs of each run.
    pub epochs: u32,
    /// Seed of weights, shuffles and masks.
    pub seed: u64,
    /// Settings of the mini-batch and the update.
    pub training: Training,
}

impl Plans {
    /// Returns the defaults of `train`, with fewer epochs if `quick`.
    pub fn new(quick: bool, seed: u64) -> wgpu_dropout::Result<Self> {
        let epochs = if quick { 3 } else { 20 };
        Ok(Self {
            hidden: vec![256, 256],
            rate: Rate::drop(0.5)?,
            epochs,
            seed,
            training: Training::default(),
        })
    }

    fn architecture(&self, data: &DataSet, mode: Mode) -> Architecture {
        Architecture {
            inputs: data.train.cols,
            hidden: self.hidden.clone(),
            classes: data.classes.len(),
            mode,
            rate: self.rate,
            input_rate: Rate::KEEP_ALL,
            seed: self.seed,
        }
    }
}

/// A training run of one network.
#[derive(Debug, Clone)]
pub struct Run {
    /// Index of the device.
    pub place: usize,
    /// Mode of the dropout.
    pub mode: Mode,
    /// Summary of each epoch.
    pub reports: Vec<Report>,
    /// Work of the device.
    pub counts: Counts,
}

impl Run {
    /// Returns the last epoch.
    pub fn last(&self) -> Option<&Report> {
        self.reports.last()
    }

    /// Returns the seconds of training.
    pub fn seconds(&self) -> f64 {
        self.reports.iter().map(|report| report.seconds).sum()
    }

    /// Returns the generalization gap: the test loss minus the training loss.
    pub fn gap(&self) -> f64 {
        self.last().map_or(f64::NAN, |report| report.test.loss - report.train.loss)
    }

    /// Returns the run as JSON.
    pub fn json(&self, place: &Place) -> Value {
        json!({
            "adapter": place.name,
            "backend": place.interface,
            "mode": self.mode.to_string(),
            "seconds": self.seconds(),
            "dispatches": self.counts.dispatches,
            "submits": self.counts.submits,
            "bytes_read": self.counts.bytes_read,
            "epochs": self.reports.iter().map(Report::json).collect::<Vec<_>>(),
        })
    }
}

/// Summarizes the runs on the first device in a sentence.
pub fn lesson(runs: &[Run]) -> String {
    let gaps: Vec<(Mode, f64)> =
        runs.iter().filter(|run| run.place == 0).map(|run| (run.mode, run.gap())).collect();
    let list = gaps
        .iter()
        .map(|(mode, gap)| format!("{} {gap:.3}", called(*mode)))
        .collect::<Vec<_>>()
        .join(", ");
    let (without, with): (Vec<_>, Vec<_>) = gaps.iter().partition(|(mode, _)| *mode == Mode::None);
    let narrowed = with.iter().all(|(_, gap)| without.iter().all(|(_, without)| gap < without));
    let outcome = if narrowed {
        "dropout narrows the gap between training and test loss"
    } else {
        "this run is too short to show the effect of dropout"
    };
    format!("test loss above train loss: {list}; {outcome}")
}

/// Returns a mode's name in the tables.
pub fn called(mode: Mode) -> &'static str {
    match mode {
        Mode::None => "no dropout",
        Mode::Vanilla => "vanilla",
        Mode::Inverted => "inverted",
    }
}

/// Trains all networks, and returns the devices and the runs.
pub fn train_all(
    devices: Vec<Device>,
    data: &DataSet,
    plans: &Plans,
) -> Result<(Vec<Device>, Vec<Run>), Failure> {
    let steps = data.train.rows.div_ceil(plans.training.batch) as u64 * u64::from(plans.epochs);
    let bar = Bar::new(steps * (MODES.len() * devices.len()) as u64);
    let (mut back, mut runs) = (Vec::new(), Vec::new());
    for (place, device) in devices.into_iter().enumerate() {
        back.push(match device {
            Device::Gpu(gpu) => {
                Device::Gpu(Box::new(train_on(*gpu, place, data, plans, &bar, &mut runs)?))
            }
            Device::Cpu(cpu) => Device::Cpu(train_on(cpu, place, data, plans, &bar, &mut runs)?),
        });
    }
    Ok((back, runs))
}

fn train_on<B: Backend>(
    mut backend: B,
    place: usize,
    data: &DataSet,
    plans: &Plans,
    bar: &Bar,
    runs: &mut Vec<Run>,
) -> Result<B, Failure> {
    for mode in MODES {
        bar.say(format!("{} on {}", called(mode), backend.name()));
        let before = backend.counts();
        let mut session =
            Session::new(Mlp::new(backend, plans.architecture(data, mode))?, data, plans.training)?;
        let reports = (0..plans.epochs)
            .map(|_| session.epoch(|| bar.step()))
            .collect::<wgpu_dropout::Result<_>>()?;
        backend = session.net.into_backend();
        runs.push(Run { place, mode, reports, counts: backend.counts() - before });
    }
    Ok(backend)
}
