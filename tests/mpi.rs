//! Training over MPI (`examples/mpi`): any number of processes draw the masks of a single process
//! to the bit, and their losses are equal to its losses within 1e-5.
#![cfg(unix)]

mod common;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the example beside this crate's own tests. Reports the test as skipped and returns `None`
/// if this machine lacks a requirement.
fn built() -> Option<PathBuf> {
    for program in ["mpicc", "mpirun"] {
        if Command::new(program).arg("--version").output().is_err() {
            let packages = "libopenmpi-dev openmpi-bin libclang1-14 libclang-common-14-dev";
            common::skipped(&format!(
                "{program} is not installed; on Debian 12: apt-get install {packages}"
            ));
            return None;
        }
    }
    match common::build(&["--manifest-path", "examples/mpi/Cargo.toml"]) {
        Ok(programs) => Some(programs.join("wgpu-dropout-mpi")),
        Err(error) if error.contains("libclang") => {
            common::skipped(
                "libclang, which generates the bindings to MPI, is not installed; on Debian 12: apt-get install libclang1-14",
            );
            None
        }
        Err(error) => panic!("examples/mpi does not build: {error}"),
    }
}

/// Runs the example in `processes` processes and returns what it prints, one line per epoch.
fn run(program: &Path, processes: usize, device: &str) -> Vec<Value> {
    let mut command = Command::new("mpirun");
    // These options let it run in a container: as root, and with more processes than cores.
    command
        .args(["--allow-run-as-root", "--oversubscribe", "-n", &processes.to_string()])
        .arg(program)
        .args([device, "3"]);
    let output = command.env("OMPI_MCA_rmaps_base_oversubscribe", "1").output().unwrap();
    assert!(
        output.status.success(),
        "{processes} processes: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn losses(epochs: &[Value]) -> Vec<f64> {
    epochs
        .iter()
        .flat_map(|epoch| epoch["losses"].as_array().unwrap())
        .map(|loss| loss.as_f64().unwrap())
        .collect()
}

/// Returns the largest absolute difference. NaN or a different number of losses counts as infinite.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let off = a
        .iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .map(|d| if d.is_nan() { f64::INFINITY } else { d });
    if a.len() == b.len() { off.fold(0.0, f64::max) } else { f64::INFINITY }
}

#[test]
#[ignore = "builds a package of its own for minutes and requires an MPI"]
fn processes_train_as_one() {
    let Some(program) = built() else { return };
    let devices: Vec<&str> = ["cpu"].into_iter().chain(common::gpu().map(|_| "gpu")).collect();
    for device in devices {
        let one = run(&program, 1, device);
        assert_eq!(losses(&one).len(), 3 * 23);
        assert!(losses(&one)[68] < 0.7 * losses(&one)[0], "the network must learn: {one:?}");
        for processes in [2, 3] {
            let several = run(&program, processes, device);
            assert_eq!(several.len(), 3, "only one process may print");
            for (one, several) in one.iter().zip(&several) {
                assert_eq!(several["processes"], processes);
                assert_eq!(one["masks"], several["masks"], "{processes} on {device}");
            }
            let off = distance(&losses(&one), &losses(&several));
            assert!(off <= 1e-5, "{processes} on {device}: {off:e}");
        }
        // Controls: masks of another step, losses of another epoch.
        assert_ne!(one[0]["masks"], one[1]["masks"]);
        assert!(distance(&losses(&one[..1]), &losses(&one[1..2])) > 1e-2);
    }
}
