//! Page of `bench --html`: rooflines, throughput and the cost of dropout against size, GPU against
//! CPU, and all figures.

use super::roofline::{self, Roof};
use super::row::Row;
use super::table::{counted, seconds, sorted};
use super::work::Bound;
use super::{Results, bars, lines};
use crate::failure::Failure;
use crate::machine::{Machine, Place};
use crate::report::chart::legend;
use crate::report::{document, escape, figure, head, table};

/// Builds the page.
pub fn page(machine: &Machine, places: &[Place], results: &Results) -> Result<String, Failure> {
    let lead = "The speed of the kernels, each beside the ceiling that it cannot exceed, measured in the same run.";
    let rows = &results.rows;
    let sections = [
        head("wgpu-dropout bench", lead, machine, places),
        rooflines(rows, places)?,
        against_size(rows)?,
        side_by_side(rows, places),
        steps(rows),
        figures(results),
    ];
    Ok(document("wgpu-dropout bench", &sections.concat()))
}

fn rooflines(rows: &[Row], places: &[Place]) -> Result<String, Failure> {
    let mut pictures = String::new();
    for place in places {
        if let Some(roof) = Roof::of(rows, place) {
            pictures += &figure(
                &format!("{}: {}", place.kind, roof.words()),
                &roofline::draw(rows, place, &roof)?,
            );
        }
    }
    Ok(section(
        "Roofline",
        "Each kernel at the largest size measured. The roof is measured too: its slope is the copy of the largest tensors, its flat part a \
         loop of multiply-adds on a GPU and the fastest plain matrix product on the CPU backend.",
        "",
        &pictures,
    ))
}

fn against_size(rows: &[Row]) -> Result<String, Failure> {
    let throughput = lines::throughput(rows)?
        .map(|svg| figure("Throughput of dropout, GB/s", &svg))
        .unwrap_or_default();
    let cost = lines::cost(rows)?
        .map(|svg| figure("What dropout adds to its layer, %", &svg))
        .unwrap_or_default();
    let has = |kind: &str| rows.iter().any(|row| row.place.kind == kind);
    let devices =
        [("gpu", false, "GPU"), ("cpu", false, "CPU")].into_iter().filter(|(_, _, name)| has(name));
    let copy = (!throughput.is_empty()).then_some(("ink", true, "copy, the ceiling"));
    Ok(section(
        "Against size",
        "Half of the units dropped. Vertical strokes span the middle half of the measurements. The cost is the median ratio of \
         alternating turns with and without dropout.",
        &legend(devices.chain(copy)),
        &(throughput + &cost),
    ))
}

/// Kernels limited by bandwidth, with the names to show.
const MOVING: [(&str, &str); 4] = [
    ("dropout", "dropout"),
    ("dropout_grad", "dropout, forward and backward"),
    ("sgd", "update"),
    ("softmax_cross_entropy", "loss"),
];
/// Kernels limited by arithmetic, with the names to show.
const CALCULATING: [(&str, &str); 5] = [
    ("matmul", "plain product"),
    ("linear_forward", "layer with dropout"),
    ("grad_input", "gradient of input"),
    ("grad_weight", "gradient of weight"),
    ("train_step", "training step"),
];

fn side_by_side(rows: &[Row], places: &[Place]) -> String {
    let pictures = [
        ("Moving bytes, GB/s", &MOVING[..], Bound::Bytes),
        ("Calculating, GFLOP/s", &CALCULATING[..], Bound::Flops),
    ];
    let pictures = pictures.map(|(title, kernels, bound)| {
        let shown: Vec<Row> =
            kernels.iter().flat_map(|(kernel, _)| largest(rows, kernel, places)).cloned().collect();
        let speed = if bound == Bound::Bytes { Row::gb_per_s } else { Row::gflop_per_s };
        if shown.is_empty() {
            String::new()
        } else {
            figure(title, &bars::draw(&shown, kernels, speed))
        }
    });
    let pairs = MOVING.iter().chain(&CALCULATING).filter_map(|(kernel, name)| {
        match largest(rows, kernel, places)[..] {
            [gpu, cpu] => Some(vec![
                (*name).to_owned(),
                gpu.entry.shape(),
                gpu.speed(),
                cpu.speed(),
                format!("{:.2}", cpu.seconds() / gpu.seconds()),
            ]),
            _ => None,
        }
    });
    let pairs: Vec<Vec<String>> = pairs.collect();
    let pairs = if pairs.is_empty() {
        String::new()
    } else {
        table(&["kernel", "shape", "GPU", "CPU", "GPU over CPU"], pairs)
    };
    section(
        if places.len() > 1 { "GPU against CPU" } else { "Beside the ceilings" },
        "Each kernel at the largest size measured on all devices. The pale bar behind each is its ceiling.",
        "",
        &pictures.concat(),
    ) + &pairs
}

/// Returns a kernel's rows at the largest size that every device has, except those that measure the
/// cost of dropout in a layer.
fn largest<'a>(rows: &'a [Row], kernel: &str, places: &[Place]) -> Vec<&'a Row> {
    let rows = || rows.iter().filter(|row| row.entry.kernel == kernel && row.cost().is_none());
    let of = |place: &Place, shape: &[usize]| {
        rows().find(|row| row.place == *place && row.entry.shape == shape)
    };
    let sizes =
        rows().filter(|row| places.iter().all(|place| of(place, &row.entry.shape).is_some()));
    let Some(largest) = sizes.max_by_key(|row| row.entry.amount()) else { return Vec::new() };
    places.iter().filter_map(|place| of(place, &largest.entry.shape)).collect()
}

fn steps(rows: &[Row]) -> String {
    let told = rows.iter().filter_map(|row| Some((row, row.per_step.as_ref()?)));
    let items: String = told
        .map(|(row, per_step)| {
            format!(
                "<li>{}, {}: {}</li>\n",
                row.place.kind,
                row.entry.shape(),
                escape(&counted(per_step))
            )
        })
        .collect();
    if items.is_empty() {
        items
    } else {
        format!(
            "<h2>What a training step does</h2>\n<p>Counted as it happens, over an epoch after warm-up; the losses are read once, at its \
             end. The first epoch compiles every kernel that was not compiled before.</p>\n<ul>\n{items}</ul>\n"
        )
    }
}

fn figures(results: &Results) -> String {
    let heads = [
        "kernel",
        "shape",
        "on",
        "median",
        "spread",
        "wall clock",
        "speed",
        "of ceiling",
        "dropout adds",
    ];
    let cells = sorted(&results.rows).into_iter().map(|row| {
        vec![
            row.entry.kernel.to_owned(),
            row.entry.shape(),
            row.place.kind.to_owned(),
            seconds(row.seconds()),
            format!("{:.1} %", 100.0 * row.timing.seconds.spread()),
            seconds(row.timing.wall),
            row.speed(),
            row.of_ceiling(),
            row.cost().map_or_else(String::new, |cost| format!("{:+.2} %", cost.median)),
        ]
    });
    let left_out: String = results
        .left_out
        .iter()
        .map(|what| format!("<p class=\"note\">{}</p>\n", escape(what)))
        .collect();
    format!(
        "<h2>All figures</h2>\n<p>Medians of one call, by the device’s own clock where it has one; a training step has the wall clock \
         alone. Spread is the interquartile range over the median.</p>\n{left_out}{}",
        table(&heads, cells)
    )
}

/// Returns a section of the page; empty if it has no pictures.
fn section(title: &str, text: &str, legend: &str, pictures: &str) -> String {
    if pictures.is_empty() {
        String::new()
    } else {
        format!(
            "<h2>{}</h2>\n<p>{}</p>\n{legend}<div class=\"grid\">\n{pictures}</div>\n",
            escape(title),
            escape(text)
        )
    }
}
