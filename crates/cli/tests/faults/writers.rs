//! Commands that write outputs, for the tests of outputs and streams.

use super::data;
use crate::cli::{refuse, succeed};
use crate::common::noise;
use std::path::Path;
use tempfile::TempDir;
use wgpu_dropout_cli::npy;

/// Commands with their outputs, each as an option and a file, and with the inputs that no output
/// may replace.
pub struct Writer {
    pub line: &'static str,
    pub outputs: &'static [&'static str],
    pub kept: &'static [&'static str],
}

pub const WRITERS: [Writer; 8] = [
    Writer {
        line: "dropout --input x.npy --drop .5 --grad-output g.npy",
        outputs: &["--grad-input", "--output", "--mask-output"],
        kept: &[],
    },
    Writer {
        line: "linear --input x.npy --weight w.npy --bias b.npy --drop .5 --grad-output dy.npy",
        outputs: &["--grad-input", "--output", "--mask-output", "--grad-weight", "--grad-bias"],
        kept: &["w.npy", "b.npy"],
    },
    Writer {
        line: "mask --rows 9 --cols 99 --drop .5 --format npy",
        outputs: &["--output"],
        kept: &[],
    },
    Writer {
        line: "predict --model net --data x.npy --samples 2",
        outputs: &["--output", "--spread", "--entropy", "--information"],
        kept: &["net", "x.npy"],
    },
    Writer {
        line: "train --data d.csv --hidden 4 --epochs 2",
        outputs: &["--save"],
        kept: &["d.csv"],
    },
    Writer { line: "convert --to burn --input net", outputs: &["--output"], kept: &["net"] },
    Writer { line: "demo --quick", outputs: &["--output"], kept: &[] },
    Writer {
        line: "bench --quick --only dropout --elements 1024",
        outputs: &["--html"],
        kept: &[],
    },
];

/// Returns a line with outputs to files `o0`, `o1`, … except that one output goes to `path`.
pub fn line(writer: &Writer, special: usize, path: &str) -> String {
    let outputs = writer.outputs.iter().enumerate().map(|(index, option)| {
        let path = if index == special { path.to_owned() } else { format!("o{index}") };
        format!(" {option} {path}")
    });
    format!("{}{}", writer.line, outputs.collect::<String>())
}

pub fn prepare() -> TempDir {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    for (name, shape) in [
        ("x.npy", &[2, 3][..]),
        ("g.npy", &[2, 3]),
        ("w.npy", &[3, 4]),
        ("b.npy", &[4]),
        ("dy.npy", &[2, 4]),
    ] {
        let values = noise(1, shape.iter().product());
        npy::write_f32(&folder.join(name), shape, &values).unwrap();
    }
    data(folder);
    succeed(folder, "train --device cpu --data d.csv --hidden 8 --epochs 1 --save net");
    guard
}

/// Runs a line whose output must be refused before the work. A device that does not exist shows it:
/// its error would come first otherwise. Only `convert` runs on no device.
pub fn refuse_early(folder: &Path, writer: &Writer, line: &str, status: i32) -> String {
    let line = if writer.line.starts_with("convert") {
        line.to_owned()
    } else {
        format!("{line} --device no-such-adapter")
    };
    let error = refuse(folder, &line, status);
    assert!(!error.contains("no-such-adapter") && !error.contains("no GPU"), "`{line}`: {error}");
    error
}
