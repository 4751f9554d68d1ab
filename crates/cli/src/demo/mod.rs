//! `demo`: checks masks against the contract, trains without and with dropout, measures the
//! throughput, and writes a report.
//!
//! [`compare`] trains, [`text`] prints; [`wgpu_dropout::verify`], [`crate::bench`] and
//! [`crate::report`] do the rest.

mod compare;
mod curves;
mod page;
mod text;

use crate::args::Common;
use crate::bench::{self, Effort, Extent, Plan, Row};
use crate::failure::Failure;
use crate::machine::{Machine, Place};
use crate::{engine, output, outputs};
use compare::{Plans, Run};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wgpu_dropout::Cpu;
use wgpu_dropout::data::DataSet;
use wgpu_dropout::gpu::AdapterChoice;
use wgpu_dropout::verify::{self, Check};
use wgpu_dropout::{Counts, Device, DeviceChoice, Error, Key};

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write the report to this file
    #[arg(long, default_value = "report.html", value_name = "FILE.html")]
    output: PathBuf,
    /// Use fewer epochs, smaller sizes and fewer repetitions
    #[arg(long)]
    quick: bool,
}

/// Results of the whole demonstration.
pub struct Findings {
    /// The machine.
    pub machine: Machine,
    /// The devices, the GPU first.
    pub places: Vec<Place>,
    /// Checks of the contract for each device.
    pub checks: Vec<Vec<Check>>,
    /// Settings of the training.
    pub plans: Plans,
    /// Training runs.
    pub runs: Vec<Run>,
    /// Measurements of the throughput.
    pub rows: Vec<Row>,
}

/// Runs `demo`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    outputs::check(common, [("--output", args.output.as_path())], &[])?;
    let data = DataSet::digits()?;
    let mut devices = devices(common)?;
    let places: Vec<Place> = devices.iter().map(Place::of).collect();
    let machine = Machine::here();
    let say = |text: String| if common.json { Ok(()) } else { output::text(&text) };
    say(text::devices(&machine, &places))?;

    let mut checks = Vec::new();
    for (device, place) in devices.iter_mut().zip(&places) {
        let found = verify::contract(device)?;
        say(text::checks(place, &found))?;
        // Without correct masks, the remaining results would be meaningless.
        if let Some(Check { what, note, .. }) = found.iter().find(|check| !check.passed()) {
            return Err(Failure::Run(format!(
                "{} breaks the mask contract: {what}: {note}",
                place.label
            )));
        }
        checks.push(found);
    }

    let plans = Plans::new(args.quick, common.seed())?;
    say(text::training(&plans, &data))?;
    let (mut devices, runs) = compare::train_all(devices, &data, &plans)?;
    say(text::runs(&places, &runs))?;

    say("throughput, half of the units dropped\n\n".to_owned())?;
    let plan =
        Plan { key: Key { seed: common.seed(), ..Key::default() }, ..bench_plan(args.quick) };
    let results = bench::throughput(&mut devices, &plan)?;
    say(bench::table(&results))?;

    let counts: Vec<Counts> = devices.iter().map(Device::counts).collect();
    let findings = Findings { machine, places, checks, plans, runs, rows: results.rows };
    let page = page::page(&findings)?;
    outputs::write(&args.output, page.as_bytes())?;
    if common.json {
        return output::json(&json(&findings, &counts, &args.output));
    }
    output::line(&format!("\nwrote {}: open it in a browser", outputs::shown(&args.output)))
}

/// Returns the devices: the chosen adapter, unless `cpu` was chosen, then the CPU backend. With
/// `auto`, a missing adapter is reported but is not an error.
fn devices(common: &Common) -> Result<Vec<Device>, Failure> {
    let tile = common.tile;
    let gpu = match &common.device {
        DeviceChoice::Cpu => None,
        choice @ DeviceChoice::Adapter(_) => Some(engine::open(choice, tile)?),
        DeviceChoice::Auto => match engine::open(&DeviceChoice::Adapter(AdapterChoice::Best), tile)
        {
            Err(Error::Adapter { what }) => {
                output::note(&format!("without a GPU: {what}"));
                None
            }
            found => Some(found?),
        },
    };
    Ok(gpu.into_iter().chain([Device::Cpu(Cpu::new())]).collect())
}

/// Returns a plan that takes some ten seconds on any device.
fn bench_plan(quick: bool) -> Plan {
    let (elements, layer) =
        if quick { (1 << 20, [128, 512, 512]) } else { (1 << 24, [256, 1024, 1024]) };
    Plan {
        elements: vec![elements],
        layers: vec![layer],
        forms: Vec::new(),
        updates: Vec::new(),
        attentions: Vec::new(),
        costs: Vec::new(),
        networks: Vec::new(),
        effort: Effort {
            rounds: 7,
            budget: Duration::from_millis(1200),
            ..Effort::new(Extent::Quick)
        },
        key: Key::default(),
    }
}

/// Returns the findings as JSON.
fn json(findings: &Findings, counts: &[Counts], report: &Path) -> Value {
    let Findings { machine, places, checks, plans, runs, rows } = findings;
    let devices: Vec<Value> =
        places.iter().zip(counts).map(|(place, counts)| place.json(counts)).collect();
    let masks = places.iter().zip(checks).flat_map(|(place, checks)| {
        checks
            .iter()
            .map(|check| json!({"adapter": place.name, "check": check.what, "ok": check.passed()}))
    });
    let mut object = json!({
        "version": machine.version,
        "cpu": machine.cpu,
        "threads": machine.threads,
        "devices": devices,
        "masks": masks.collect::<Vec<_>>(),
        "drop": plans.rate.drop_asked(),
        "training": runs.iter().map(|run| run.json(&places[run.place])).collect::<Vec<_>>(),
        "throughput": rows.iter().map(Row::json).collect::<Vec<_>>(),
        "report": report.display().to_string(),
    });
    // As for every command, the top level describes the first device and its counts.
    if let (Some(object), Some(Value::Object(first))) =
        (object.as_object_mut(), devices.into_iter().next())
    {
        object.extend(first);
    }
    object
}
