//! `verify`: checks that the devices here fulfill the contract and the equations. The checks are in
//! [`wgpu_dropout::verify`].

use crate::args::Common;
use crate::failure::Failure;
use crate::{engine, output};
use serde_json::{Value, json};
use wgpu_dropout::gpu::{AdapterChoice, adapters};
use wgpu_dropout::verify::{self, Check, Options, Report};
use wgpu_dropout::{Device, DeviceChoice, Error};

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Check a million masks and a hundred thousand layers, and run all other checks in full,
    /// however long it takes
    #[arg(long, conflicts_with = "quick")]
    exhaustive: bool,
    /// Run every check with few cases: a few seconds, plus the time to compile the kernels
    #[arg(long)]
    quick: bool,
    /// Replace this text in every shader first, to see the checks fail: `D2511F53=D2511F52`
    #[arg(long, value_name = "FROM=TO", value_parser = edit)]
    alter_shader: Vec<[String; 2]>,
}

fn edit(text: &str) -> Result<[String; 2], String> {
    let (from, to) =
        text.split_once('=').filter(|(from, _)| !from.is_empty()).ok_or("must be FROM=TO")?;
    Ok([from.to_owned(), to.to_owned()])
}

/// Runs `verify`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let make = match (args.exhaustive, args.quick) {
        (true, _) => Options::exhaustive,
        (_, true) => Options::quick,
        _ => Options::new,
    };
    let options = Options { edits: args.alter_shader.clone(), ..make(common.seed()) };
    let version = env!("CARGO_PKG_VERSION");
    say(
        common,
        &format!(
            "wgpu-dropout {version}, {}, seed {}, wgpu 30",
            std::env::consts::OS,
            options.seed
        ),
    )?;
    let mut reports = Vec::new();
    for choice in choices(&common.device)? {
        let device = engine::open(&choice, common.tile)?;
        say(common, &format!("\n{}\n{}", verify::name(&device), Check::HEAD))?;
        let mut closed = Ok(());
        let mut on_check = |check: &Check| {
            if closed.is_ok() {
                closed = say(common, &check.to_string());
            }
        };
        let report = match &device {
            Device::Gpu(gpu) => verify::gpu(gpu, &options, &mut on_check)?,
            Device::Cpu(_) => verify::cpu(&options, &mut on_check)?,
        };
        closed?;
        reports.push((device.name(), engine::interface(&device), report));
    }
    let wrong = reports.iter().find_map(|(name, _, report)| Some((name, report.failure()?)));
    if common.json {
        let devices: Vec<Value> = reports
            .iter()
            .map(|(name, interface, report)| device(name, interface, report))
            .collect();
        output::json(
            &json!({"version": version, "seed": options.seed, "ok": wrong.is_none(), "devices": devices}),
        )?;
    }
    match wrong {
        None => say(common, &format!("\nall checks passed on {} devices", reports.len())),
        Some((name, check)) => Err(Failure::Run(format!("{name}: {}: {}", check.what, check.note))),
    }
}

fn say(common: &Common, line: &str) -> Result<(), Failure> {
    if common.json { Ok(()) } else { output::line(line) }
}

/// Returns the named device, or every adapter and the CPU backend if none is named.
fn choices(choice: &DeviceChoice) -> Result<Vec<DeviceChoice>, Error> {
    if *choice != DeviceChoice::Auto {
        return Ok(vec![choice.clone()]);
    }
    let found =
        (0..adapters()?.len()).map(|index| DeviceChoice::Adapter(AdapterChoice::Index(index)));
    Ok(found.chain([DeviceChoice::Cpu]).collect())
}

fn device(name: &str, interface: &str, report: &Report) -> Value {
    let check = |check: &Check| {
        json!({
            "check": check.what,
            "cases": check.cases,
            "differences": check.differences,
            "note": check.note,
            "seconds": check.took.as_secs_f64(),
            "ok": check.passed(),
        })
    };
    json!({
        "adapter": name,
        "backend": interface,
        "device": report.device,
        "ok": report.passed(),
        "dispatches": report.counts.dispatches,
        "submits": report.counts.submits,
        "bytes_read": report.counts.bytes_read,
        "checks": report.checks.iter().map(check).collect::<Vec<_>>(),
    })
}
