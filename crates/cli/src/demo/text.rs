//! The demo's findings as text.

use super::compare::{Plans, Run, called, lesson};
use crate::machine::{Machine, Place};
use wgpu_dropout::data::DataSet;
use wgpu_dropout::verify::Check;

/// Describes the machine and its devices.
pub fn devices(machine: &Machine, places: &[Place]) -> String {
    let Machine { version, cpu, threads, system, .. } = machine;
    let lines: String =
        places.iter().map(|place| format!("{}  {}\n", place.kind, place.line())).collect();
    format!("wgpu-dropout {version} on {cpu}, {threads} threads, {system}\n{lines}\n")
}

/// Formats the contract's checks of a device.
pub fn checks(place: &Place, checks: &[Check]) -> String {
    let lines = checks.iter().map(|check| {
        let mark = if check.passed() { "OK   " } else { "WRONG" };
        format!("  {mark} {}: {}\n", check.what, check.note)
    });
    format!("masks on {}\n{}\n", place.label, lines.collect::<String>())
}

/// Describes the training that is about to start.
pub fn training(plans: &Plans, data: &DataSet) -> String {
    let hidden = plans.hidden.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    format!(
        "training on {}, {} training rows and {} test rows: {hidden} hidden units, drop {}, {} epochs\n",
        data.name,
        data.train.rows,
        data.test.rows,
        plans.rate.drop_asked(),
        plans.epochs
    )
}

/// Formats a table of the trained networks.
pub fn runs(places: &[Place], runs: &[Run]) -> String {
    let heads = "  dropout     on   train error  test error  train loss  test loss  seconds  dispatches  submits  bytes read\n";
    let rows = runs.iter().filter_map(|run| run.last().map(|last| (run, last))).map(|(run, last)| {
        let (mode, kind, counts) = (called(run.mode), places[run.place].kind, &run.counts);
        format!(
            "  {mode:<10}  {kind}  {:>9.2} %  {:>8.2} %  {:>10.4}  {:>9.4}  {:>7.2}  {:>10}  {:>7}  {:>10}\n",
            last.train.error,
            last.test.error,
            last.train.loss,
            last.test.loss,
            run.seconds(),
            counts.dispatches,
            counts.submits,
            counts.bytes_read
        )
    });
    format!("{heads}{}  {}\n\n", rows.collect::<String>(), lesson(runs))
}
