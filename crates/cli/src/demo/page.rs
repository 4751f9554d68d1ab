//! `report.html`: the findings of the demo.

use super::compare::{Run, called, lesson};
use super::{Findings, curves};
use crate::bench::{Row, bars};
use crate::failure::Failure;
use crate::machine::Place;
use crate::report::{document, escape, figure, head, table};
use wgpu_dropout::verify::Check;

/// Builds the page.
pub fn page(findings: &Findings) -> Result<String, Failure> {
    let lead =
        "Dropout whose mask has the same bits on every device: checked, trained with, and timed.";
    let head = head("wgpu-dropout", lead, &findings.machine, &findings.places);
    let sections = [head, masks(findings), training(findings)?, throughput(findings)].concat();
    Ok(document("wgpu-dropout report", &sections))
}

fn masks(findings: &Findings) -> String {
    let labels: Vec<&str> =
        [&["published"][..], &findings.places.iter().map(|place| place.kind).collect::<Vec<_>>()]
            .concat();
    let checks = findings.checks.first().map(Vec::as_slice).unwrap_or_default();
    let rows = checks.iter().enumerate().map(|(i, check)| {
        let outcomes = findings.checks.iter().filter_map(|checks| checks.get(i)).map(mark);
        [escape(&check.what)].into_iter().chain(outcomes).collect()
    });
    format!(
        "<h2>Masks against the contract</h2>\n<p>Random123’s published answers, the contract’s first draws, and its four masks, \
         bit for bit.</p>\n{}",
        table(&labels, rows).replacen("<table>", "<table class=\"checks\">", 1)
    )
}

fn mark(check: &Check) -> String {
    if check.passed() {
        format!("<span class=\"ok\" title=\"{}\">OK</span>", escape(&check.note))
    } else {
        format!("<span class=\"wrong\">{}</span>", escape(&check.note))
    }
}

fn training(findings: &Findings) -> Result<String, Failure> {
    let Findings { places, plans, runs, .. } = findings;
    let mut figures = String::new();
    for (index, place) in places.iter().enumerate() {
        let here: Vec<&Run> = runs.iter().filter(|run| run.place == index).collect();
        figures += &figure(&format!("Loss on the {}", place.kind), &curves::loss(&here)?);
        figures += &figure(&format!("Error on the {}", place.kind), &curves::error(&here)?);
    }
    let hidden = plans.hidden.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    Ok(format!(
        "<h2>Training without and with dropout</h2>\n<p>The bundled digits, {hidden} hidden units, drop rate {}, {} epochs. \
         {}.</p>\n{}{}<div class=\"grid\">\n{figures}</div>\n",
        plans.rate.drop_asked(),
        plans.epochs,
        capitalised(&lesson(runs)),
        results(places, runs),
        curves::legend()
    ))
}

fn results(places: &[Place], runs: &[Run]) -> String {
    let heads =
        ["dropout", "on", "train error", "test error", "train loss", "test loss", "training"];
    let rows =
        runs.iter().filter_map(|run| run.last().map(|last| (run, last))).map(|(run, last)| {
            vec![
                called(run.mode).to_owned(),
                places[run.place].kind.to_owned(),
                format!("{:.2} %", last.train.error),
                format!("{:.2} %", last.test.error),
                format!("{:.4}", last.train.loss),
                format!("{:.4}", last.test.loss),
                format!("{:.2} s", run.seconds()),
            ]
        });
    let counted = runs.iter().filter(|run| run.mode == wgpu_dropout::Mode::Inverted).map(|run| {
        let kind = places[run.place].kind;
        let counts = &run.counts;
        format!(
            "{kind}: {} dispatches, {} submits, {} bytes read back",
            counts.dispatches, counts.submits, counts.bytes_read
        )
    });
    let counted = counted.collect::<Vec<_>>().join("; ");
    format!(
        "{}<p class=\"note\">A run with inverted dropout, including its evaluations, took: {}. Errors beyond the end of their axis are not drawn.</p>\n",
        table(&heads, rows),
        escape(&counted)
    )
}

fn throughput(findings: &Findings) -> String {
    let rows = &findings.rows;
    let heads = ["kernel", "shape", "on", "time", "speed", "of ceiling"];
    let cells = rows.iter().map(|row| {
        vec![
            row.entry.kernel.to_owned(),
            row.entry.shape(),
            row.place.kind.to_owned(),
            format!("{:.3} ms", row.seconds() * 1e3),
            row.speed(),
            row.of_ceiling(),
        ]
    });
    let dropout = [("dropout", "dropout")];
    let layer = [
        ("linear_forward", "forward"),
        ("grad_input", "gradient of input"),
        ("grad_weight", "gradient of weight"),
    ];
    // All rows of a picture have one size, the last that was timed.
    let size = |kernel: &str| {
        rows.iter().rev().find(|row| row.entry.kernel == kernel).map(|row| row.entry.shape.clone())
    };
    let of_size = |kernel: &str| -> Vec<Row> {
        rows.iter().filter(|row| Some(&row.entry.shape) == size(kernel).as_ref()).cloned().collect()
    };
    let title = |what: &str, rows: &[Row], unit: &str| {
        let shape = rows.first().map(|row| row.entry.shape()).unwrap_or_default();
        format!("{what}, {shape}, in {unit}")
    };
    let elements = of_size("dropout");
    let layers = of_size("linear_forward");
    format!(
        "<h2>Throughput</h2>\n<p>Half of the units dropped. The pale bar behind each is its ceiling, the kernel that does the least possible \
         work, timed beside it in the same run: a copy or a plain matrix product.</p>\n<div class=\"grid\">\n{}{}</div>\n\
         <details><summary>All kernels</summary>\n{}</details>\n",
        figure(
            &title("Dropout", &elements, "GB/s"),
            &bars::draw(&elements, &dropout, Row::gb_per_s)
        ),
        figure(
            &title("Layer with dropout", &layers, "GFLOP/s"),
            &bars::draw(&layers, &layer, Row::gflop_per_s)
        ),
        table(&heads, cells)
    )
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
