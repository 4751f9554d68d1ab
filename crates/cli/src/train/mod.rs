//! `train`: trains a network on a data set, prints a line per epoch, and saves after each.
//!
//! [`options`] holds the command line; [`session`] trains and evaluates; [`remarks`] tells what a
//! run will not do.

mod options;
mod remarks;
mod schedule;
pub mod session;

pub use options::Args;

use crate::args::Common;
use crate::data::{self, Opened};
use crate::failure::Failure;
use crate::fit::{Kind, Network, class_names};
use crate::inputs::{self, Input};
use crate::progress::Bar;
use crate::rate::describe_drop;
use crate::{engine, output, outputs};
use remarks::Run;
use session::{HEADS, Session};
use std::path::Path;
use wgpu_dropout::data::DataSet;
use wgpu_dropout::mlp::{Architecture, BatchNormPlace, Mlp, TrainedOn};
use wgpu_dropout::{Backend, Counts, Device, Mode, file};

/// Runs `train`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    // Check the options before reading anything; their fit with a saved network is checked once
    // that is read.
    args.training(None, 1)?;
    let mut inputs = data::sources(&args.data, &args.reading);
    inputs.push(Input::kept("--resume", &args.resume).replaced_by("--save"));
    outputs::check(common, args.save.iter().map(|path| ("--save", path.as_path())), &inputs)?;
    let device = engine::open(&common.device, common.tile)?;
    let label = engine::describe(&device);
    match device {
        Device::Gpu(gpu) => train(*gpu, args, common, &label),
        Device::Cpu(cpu) => train(cpu, args, common, &label),
    }
}

/// Returns the network to train and its data: a saved network, to which the data are fitted, or a
/// new one for the data.
fn network<B: Backend>(
    backend: B,
    args: &Args,
    common: &Common,
) -> Result<(Mlp<B>, Opened), Failure> {
    let Some(path) = &args.resume else {
        let mut data = session::open(&args.data, &args.reading)?;
        let set = &mut data.set;
        let architecture = args.architecture(set.train.cols, set.classes.len(), common.seed())?;
        let mut net = Mlp::new(backend, architecture)?;
        if let Some(place) = args.batch_norm {
            net = net.with_batch_norm(place)?;
        }
        if let Some(unit) = args.unit {
            set.train.unit = unit;
            set.test.unit = unit;
        }
        describe(&mut net, set)?;
        return Ok((net, data));
    };
    let name = inputs::shown(path);
    let file = name.to_string_lossy();
    let mut net = Mlp::from_bytes(backend, &name, &inputs::read(path)?)?;
    args.check_resumed(&file, (net.architecture(), net.batch_norm()), net.epoch(), common.seed)?;
    let split = net.trained_on().and_then(|data| data.split.as_deref());
    let draw = args.reading.draw.or_saved(split);
    let mut data = session::open(&args.data, &data::Options { draw, ..args.reading.clone() })?;
    let kind = Kind::of(&data.set.train);
    let DataSet { train, test, classes, .. } = &mut data.set;
    let network = Network::new(&file, &net);
    let source = inputs::shown(&args.data);
    network.fit(&source.to_string_lossy(), &mut [train, test], kind, classes, args.unit)?;
    data.set.classes = class_names(&net);
    describe(&mut net, &data.set)?;
    Ok((net, data))
}

/// Describes the data in the network. One that already has a unit keeps it: the data were brought
/// into it.
fn describe<B: Backend>(net: &mut Mlp<B>, data: &DataSet) -> Result<(), Failure> {
    let before = net.trained_on();
    let split =
        before.and_then(|before| before.split.as_ref()).filter(|split| **split != data.split);
    if let Some(split) = split {
        output::note(&format!(
            "{}: the test rows are chosen otherwise ({}) than before ({}), so that the network may \
             know some of them",
            data.name,
            data.split,
            file::shown(split)
        ));
    }
    let unit = before.and_then(|before| before.unit).unwrap_or(data.train.unit);
    let (classes, split) = (data.classes.clone(), Some(data.split.clone()));
    Ok(net.describe_data(TrainedOn { unit: Some(unit), classes, split })?)
}

fn train<B: Backend>(backend: B, args: &Args, common: &Common, label: &str) -> Result<(), Failure> {
    let (net, Opened { set: data, about, .. }) = network(backend, args, common)?;
    let architecture = net.architecture().clone();
    let training = args.training(net.training(), data.train.rows)?;
    net.check_training(&training).map_err(Failure::usage)?;
    let (start, before) = (net.epoch(), net.backend().counts());
    let resumed = args.resume.as_ref().map(|path| inputs::shown(path).display().to_string());
    let run = Run {
        architecture: &architecture,
        batch_norm: net.batch_norm(),
        training: &training,
        rows: data.train.rows,
        step: net.step(),
        epochs: (start, args.epochs),
        resumed: resumed.as_deref(),
        saves: args.save.is_some(),
        rate_given: args.rates.given().is_some(),
    };
    run.check()?;
    let mut session = Session::new(net, &data, training)?;
    if !common.json {
        let about = (&data, &*about);
        output::text(&heading(about, &architecture, session.net.batch_norm(), label))?;
    }
    args.rates.remark(architecture.mode);
    run.remarks().iter().for_each(|line| output::remark(line));
    // A stream takes one network, that of the end.
    let save_at = |epoch: u32| -> Option<&Path> {
        args.save.as_deref().filter(|path| epoch == args.epochs || !outputs::is_stream(path))
    };
    // If there is nothing to train, save the network unchanged.
    if let (true, Some(path)) = (start == args.epochs, &args.save) {
        outputs::write(path, &session.net.to_bytes()?)?;
    }
    if !common.json && start < args.epochs {
        output::line(HEADS)?;
    }
    let bar = Bar::new(u64::from(args.epochs - start) * session.steps() as u64);
    for epoch in start + 1..=args.epochs {
        bar.say(format!("epoch {epoch} of {}", args.epochs));
        let report = session.epoch(|| bar.step())?;
        if let Some(path) = save_at(epoch) {
            outputs::write(path, &session.net.to_bytes()?)?;
        }
        bar.aside(|| {
            if common.json { output::json(&report.json()) } else { output::line(&report.row()) }
        })?;
    }
    bar.end();
    if common.json {
        return Ok(());
    }
    let done = match (args.epochs - start, &args.save) {
        (0, Some(path)) => format!("the network of epoch {start} is in {}; ", outputs::shown(path)),
        (_, Some(path)) => format!("saved in {}; ", outputs::shown(path)),
        (_, None) => String::new(),
    };
    output::line(&(done + &counted(session.net.backend().counts() - before)))
}

/// Describes the data, with the lines of their reader, the network and the device.
fn heading(
    (data, about): (&DataSet, &str),
    architecture: &Architecture,
    batch_norm: Option<BatchNormPlace>,
    label: &str,
) -> String {
    let widths = architecture.widths();
    let mut parameters: usize = widths.windows(2).map(|pair| (pair[0] + 1) * pair[1]).sum();
    let normalized = match batch_norm {
        Some(place) => {
            parameters += 2 * architecture.hidden.iter().sum::<usize>();
            format!("batch normalization {place} ReLU, ")
        }
        None => String::new(),
    };
    let shape = widths.iter().map(ToString::to_string).collect::<Vec<_>>().join("-");
    let dropout = match architecture.mode {
        Mode::None => "no dropout".to_owned(),
        mode => format!(
            "{mode} dropout, drop {} hidden, {} input",
            describe_drop(architecture.rate),
            describe_drop(architecture.input_rate)
        ),
    };
    let (name, train, test) = (&data.name, data.train.rows, data.test.rows);
    format!(
        "data     {name}: {train} training rows, {test} test rows, {} features, {} classes, unit {}\n{about}\
         network  {shape}, {parameters} parameters, {normalized}{dropout}, seed {}\n\
         device   {label}\n",
        data.train.cols,
        data.classes.len(),
        data.train.unit,
        architecture.seed
    )
}

/// Formats the work of a device.
pub fn counted(counts: Counts) -> String {
    let Counts { dispatches, submits, bytes_read, .. } = counts;
    format!("{dispatches} dispatches, {submits} submits, {bytes_read} bytes read back")
}
