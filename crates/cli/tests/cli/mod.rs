//! The binary as a user calls it: commands that must succeed, commands that must fail, and the
//! devices to run them on.
#![allow(dead_code)]

use crate::common::gpu;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Prepares the binary, with the arguments of a line, to run in a folder. `GPU` stands for the GPU
/// under test, whose name may contain spaces.
pub fn command(folder: &Path, line: &str) -> Command {
    let gpu = std::env::var("WGPU_DROPOUT_DEVICE").unwrap_or_else(|_| "gpu".to_owned());
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgpu-dropout"));
    let arguments = line.split_whitespace().map(|word| if word == "GPU" { &gpu } else { word });
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command
}

/// Runs a line in a folder.
pub fn run_in(folder: &Path, line: &str) -> Output {
    command(folder, line).output().unwrap()
}

/// Runs a line that must succeed, as [`run_in`] does, and returns stdout.
pub fn succeed(folder: &Path, line: &str) -> String {
    let output = run_in(folder, line);
    assert_eq!(
        output.status.code(),
        Some(0),
        "`{line}`: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a line as [`succeed`] does, and also requires stderr, which is not a terminal, to be empty.
pub fn succeed_quietly(folder: &Path, line: &str) -> String {
    let output = run_in(folder, line);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "`{line}`");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a line that must fail. Checks that it prints one or two lines to stderr and nothing to
/// stdout, and that it neither makes nor changes a file. Returns stderr.
pub fn refuse(folder: &Path, line: &str, status: i32) -> String {
    let before = files(folder);
    let output = run_in(folder, line);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "`{line}`: {stderr}");
    assert!(
        stderr.starts_with("error: ") && (1..=2).contains(&stderr.lines().count()),
        "`{line}`: {stderr}"
    );
    assert!(output.stdout.is_empty(), "`{line}` prints to stdout");
    assert_eq!(files(folder), before, "`{line}` makes or changes files");
    stderr
}

/// Returns the paths in a folder with the contents of its files. A folder has none, and neither has
/// a link that leads nowhere.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let contents = |path: &Path| {
        if path.is_file() { std::fs::read(path).unwrap() } else { Vec::new() }
    };
    paths.map(|path| (path.clone(), contents(&path))).collect()
}

/// Returns the devices to run on: the CPU backend, and the GPU if the other tests find one.
pub fn devices() -> impl Iterator<Item = &'static str> {
    ["cpu"].into_iter().chain(gpu().map(|_| "GPU"))
}
