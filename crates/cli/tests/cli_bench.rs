//! The command line as a user meets it: the command `bench`, on the CPU and on the GPU under test.

mod cli;
#[path = "../../../tests/common/mod.rs"]
mod common;

use cli::{command, devices, files, refuse, run_in, succeed_quietly};
use serde::Deserialize;
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

/// One row with exactly the documented fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    kernel: String,
    backend: String,
    adapter: String,
    dtype: String,
    shape: Vec<u64>,
    median_s: f64,
    spread: f64,
    bytes: u64,
    flops: u64,
    gb_per_s: f64,
    gflop_per_s: f64,
    ceiling: String,
    ceiling_s: f64,
    ratio_to_ceiling: f64,
    /// Only for a layer timed alternately with and without dropout.
    cost_percent: Option<f64>,
    cost_percent_quartiles: Option<[f64; 2]>,
    /// Only for a training step.
    dispatches_per_step: Option<f64>,
    submits_per_step: Option<f64>,
    objects_per_step: Option<f64>,
    mask_bytes_per_step: Option<f64>,
    bytes_read_per_step: Option<f64>,
    start_s: Option<f64>,
}

fn rows(line: &str) -> Vec<Row> {
    let folder = TempDir::new().unwrap();
    let json = succeed_quietly(folder.path(), &format!("{line} --json"));
    assert!(files(folder.path()).is_empty());
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

#[test]
fn every_row_has_every_figure_and_they_fit_together() {
    for device in devices() {
        let rows = rows(&format!(
            "bench --quick --elements 2^10,3072 --shape 8x16x24 --network 8x16x12x4 --device {device}"
        ));
        for row in &rows {
            let positive = [row.median_s, row.ceiling_s, row.gb_per_s, row.ratio_to_ceiling];
            assert!(positive.iter().all(|value| *value > 0.0) && row.spread >= 0.0, "{row:?}");
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b;
            assert!(close(row.gb_per_s * row.median_s, row.bytes as f64 * 1e-9), "{row:?}");
            assert!(
                close(row.gflop_per_s * row.median_s + 1.0, row.flops as f64 * 1e-9 + 1.0),
                "{row:?}"
            );
            assert!(close(row.ratio_to_ceiling * row.median_s, row.ceiling_s), "{row:?}");
            assert!(
                rows.iter().any(|other| other.kernel == row.ceiling),
                "the ceiling must be of the same run: {row:?}"
            );
            assert_eq!(
                row.dtype,
                if row.kernel.ends_with("_f16") { "f16" } else { "f32" },
                "{row:?}"
            );
            assert!(
                !row.adapter.is_empty() && !row.backend.is_empty() && !row.shape.is_empty(),
                "{row:?}"
            );
        }
        let of = |kernel: &str| rows.iter().filter(|row| row.kernel == kernel).collect::<Vec<_>>();
        let shapes = |kernel| of(kernel).iter().map(|row| row.shape.clone()).collect::<Vec<_>>();
        assert_eq!(shapes("dropout"), [[1, 1024], [3, 1024]]);
        assert_eq!((of("dropout")[1].bytes, of("dropout_grad")[1].bytes), (8 * 3072, 16 * 3072));
        for kernel in ["grad_input", "grad_weight"] {
            assert_eq!(shapes(kernel), [[8, 16, 24]]);
            assert_eq!(of(kernel)[0].flops, 2 * 8 * 16 * 24);
        }
        assert_eq!(shapes("train_step"), [[8, 16, 12, 4]]);
        let forms = [
            ("dropout_broadcast", 8 * 3072),
            ("dropout_bits", 8 * 3072 + 3072 / 8),
            ("alpha_dropout", 8 * 3072),
            ("gaussian_dropout", 8 * 3072),
            ("mask_bits", 3072 / 8),
            ("mask_bytes", 3072),
        ];
        forms.iter().for_each(|(kernel, bytes)| {
            assert_eq!(
                of(kernel).iter().map(|row| row.bytes).collect::<Vec<_>>(),
                [*bytes],
                "{kernel}"
            )
        });
        assert!(["sgd", "softmax_cross_entropy"].iter().all(|kernel| of(kernel).len() == 1));
        // f16 rows appear if the device supports f16.
        let half = device != "cpu" && common::gpu().is_some_and(|gpu| gpu.kernels().planner().half);
        for (kernel, bytes) in [
            ("copy_f16", 4 * 3072),
            ("dropout_f16", 4 * 3072),
            ("linear_forward_f16", of("linear_forward")[0].bytes / 2),
        ] {
            assert_eq!(
                of(kernel).iter().map(|row| row.bytes).collect::<Vec<_>>(),
                if half { vec![bytes] } else { vec![] },
                "{kernel}"
            );
        }
        assert_eq!(
            of("multiply_add").len(),
            if device == "cpu" { 0 } else { 2 },
            "before and after the products"
        );
    }
}

#[test]
fn the_cost_of_dropout_is_given_for_each_inner_size() {
    for device in devices() {
        let rows = rows(&format!("bench --quick --only cost --device {device}"));
        let costs: Vec<&Row> = rows.iter().filter(|row| row.cost_percent.is_some()).collect();
        assert_eq!(costs.iter().map(|row| row.shape[1]).collect::<Vec<_>>(), [128, 1024]);
        for row in costs {
            let cost = row.cost_percent.unwrap();
            let [low, high] = row.cost_percent_quartiles.unwrap();
            assert!(low <= cost && cost <= high && low > -100.0, "{row:?}");
            assert_eq!(
                (row.kernel.as_str(), row.ceiling.as_str()),
                ("linear_forward", "linear_forward_plain")
            );
        }
    }
}

#[test]
fn a_training_step_s_counts_are_those_of_the_recording_layer() {
    for device in devices() {
        let rows =
            rows(&format!("bench --quick --only step --network 8x16x12x12x4 --device {device}"));
        let step = rows.iter().find(|row| row.kernel == "train_step").unwrap();
        // The gather, 3 forward passes, the loss and its sum, 2 backward passes, and 3 gradients
        // with their updates. Each epoch reads one loss and one count of correct answers.
        assert_eq!((step.dispatches_per_step, step.bytes_read_per_step), (Some(11.0), Some(8.0)));
        let submits = if device == "cpu" { 0.0 } else { 1.0 };
        assert_eq!(
            (step.submits_per_step, step.objects_per_step, step.mask_bytes_per_step),
            (Some(submits), Some(0.0), Some(0.0))
        );
        assert!(
            rows.iter().all(|row| row.start_s.is_some() == (row.kernel == "train_step")),
            "{rows:?}"
        );
        // With one layer: the gather, the forward pass, the loss and its sum, and the gradient with
        // its update.
        let rows =
            self::rows(&format!("bench --quick --only step --network 8x16x4 --device {device}"));
        assert_eq!(rows.iter().find_map(|row| row.dispatches_per_step), Some(5.0));
    }
}

#[test]
fn the_page_is_one_file_that_needs_nothing_else() {
    let folder = TempDir::new().unwrap();
    for device in devices() {
        let text = succeed_quietly(
            folder.path(),
            &format!("bench --quick --html b.html --device {device}"),
        );
        assert!(
            text.contains("dropout adds to the layer") && text.contains("bytes of masks"),
            "{text}"
        );
        let page = std::fs::read_to_string(folder.path().join("b.html")).unwrap();
        assert_eq!(
            page.matches("src=").count()
                + page.matches("href=").count()
                + page.matches("@import").count(),
            0
        );
        assert_eq!(
            page.matches("<svg viewBox=\"0 0 1760").count(),
            3,
            "roofline, throughput, cost"
        );
        for what in [
            "arithmetic intensity (FLOP/byte)",
            "elements of the tensor",
            "GB/s",
            "inner size K",
            "softmax_cross_entropy",
            "copy",
        ] {
            assert!(page.contains(what), "{device}: {what}");
        }
        assert!(!page.contains("NaN") && !page.contains("#0102"), "{device}");
    }
}

#[test]
fn wrong_usage_ends_with_status_2_and_an_unwritable_page_with_status_1_before_anything_is_timed() {
    let folder = TempDir::new().unwrap();
    for end in [
        "--shape 1x2",
        "--shape 0x2x3",
        "--tile hexagon",
        "--quick --full",
        "--only everything",
        "--elements 1000",
        "--elements 2^31",
        "--network 128x784",
        "--html",
    ] {
        let stderr = refuse(folder.path(), &format!("bench {end}"), 2);
        assert!(stderr.contains("bench --help`"), "{end}: {stderr}");
    }
    // This would take hours if timing began.
    let start = std::time::Instant::now();
    for path in ["none/b.html", "."] {
        assert!(
            refuse(folder.path(), &format!("bench --full --device cpu --html {path}"), 1)
                .contains(path)
        );
    }
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[cfg(target_os = "linux")]
#[test]
fn what_memory_is_short_of_is_left_out_and_said_so() {
    let folder = TempDir::new().unwrap();
    let output = run_in(
        folder.path(),
        "bench --quick --json --only layer --shape 1048576x1048576x1048576 --device cpu",
    );
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.trim_ascii()),
        (Some(0), &b"[]"[..]),
        "{stderr}"
    );
    assert!(
        stderr.starts_with("left out: layer 1048576×1048576×1048576 on ")
            && stderr.lines().count() == 1,
        "{stderr}"
    );
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    use std::os::unix::process::ExitStatusExt;

    let folder = TempDir::new().unwrap();
    let mut run = command(folder.path(), "bench --full --device cpu --html b.html")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &run.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(run.wait().unwrap().signal(), Some(15));
    assert!(files(folder.path()).is_empty());
}
