//! The command `verify` passes on correct kernels, on the CPU and on the GPU under test. It fails
//! on wrong ones and names the first difference.

mod cli;
#[path = "../../../tests/common/mod.rs"]
mod common;

use serde_json::Value;
use std::process::{Command, Output, Stdio};
use wgpu_dropout::gpu::Gpu;
use wgpu_dropout::verify::{self, Options};
use wgpu_dropout::{Key, Mask, Rate};

fn run(line: &str) -> Output {
    let gpu = std::env::var("WGPU_DROPOUT_DEVICE").unwrap_or_else(|_| "gpu".to_owned());
    let arguments = line.split_whitespace().map(|word| if word == "GPU" { &gpu } else { word });
    Command::new(env!("CARGO_BIN_EXE_wgpu-dropout"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_cpu_passes_and_says_so_in_a_table() {
    let output = run("verify --quick --device cpu --seed 0x2a");
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}{}", text(&output.stderr));
    for part in [
        "seed 42",
        "CPU backend (",
        "reference)",
        "check vectors",
        "exact arithmetic",
        "all checks passed on 1 devices",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(!table.contains("WRONG"), "{table}");
}

#[test]
fn the_gpu_passes_in_every_variant_and_says_so_in_json() {
    the_gpu_passes("verify --quick --device GPU --json");
}

/// Runs a user's first command. It is not in CI, where compiling all forms would take as long as
/// everything else.
#[test]
#[ignore = "takes ten minutes"]
fn the_gpu_passes_in_every_form() {
    the_gpu_passes("verify --device GPU --json");
}

fn the_gpu_passes(line: &str) {
    if common::gpu().is_none() {
        return;
    }
    let output = run(line);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (object["ok"].as_bool(), object["devices"].as_array().unwrap().len()),
        (Some(true), 1),
        "{object}"
    );
    let checks = object["devices"][0]["checks"].as_array().unwrap();
    assert!(
        checks.iter().all(|check| check["cases"].as_u64() > Some(0) && check["differences"] == 0),
        "{object}"
    );
    let named = |name: &str| {
        checks.iter().filter(|check| check["check"].as_str().unwrap().contains(name)).count()
    };
    for (name, count) in [
        ("Random123", 2),
        ("variants", 1),
        ("oracle", 13),
        ("statistics", 2),
        ("control", 2),
        ("invariance", 1),
    ] {
        assert_eq!(named(name), count, "{name}: {object}");
    }
}

/// Control of the whole command: with any constant of the shader's Philox changed by one bit, the
/// exit status is 1, and the difference that the output names first is a real one.
#[test]
fn a_changed_constant_of_philox_fails_and_the_first_difference_is_named() {
    let Some(gpu) = common::gpu() else { return };
    for edit in ["D2511F53=D2511F52", "CD9E8D57=CD9E8D56", "9E3779B9=9E3779B8", "BB67AE85=BB67AE84"]
    {
        let output = run(&format!("verify --quick --device GPU --alter-shader {edit}"));
        let (table, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{edit}: {table}{stderr}");
        assert!(
            stderr.contains("error: ") && stderr.contains("Random123's answers"),
            "{edit}: {stderr}"
        );
        let line = table.lines().find(|line| line.starts_with("check vectors")).unwrap();
        assert!(line.contains("WRONG") && named_difference(line), "{edit}: {line}");
    }
    // A fault outside Philox is found too: a wrong threshold, in both forms of comparison in the
    // shaders.
    let (from, to) = ("p.threshold)", "p.threshold + 1u)");
    let options = Options { edits: vec![[from.to_owned(), to.to_owned()]], ..Options::quick(0) };
    let report = verify::gpu(&gpu, &options, &mut |_| {}).unwrap();
    let wrong = report.failure().unwrap();
    assert!(named_difference(&wrong.note), "{report}");
}

/// Returns true if the value that a difference names as expected is the contract's, and the value
/// that it got is the opposite.
fn named_difference(line: &str) -> bool {
    let after = |name: &str| {
        let rest =
            &line[line.find(name).unwrap_or_else(|| panic!("{name} in {line}")) + name.len()..];
        rest.split(|c: char| c != '.' && !c.is_ascii_alphanumeric()).next().unwrap().to_owned()
    };
    let whole = |name: &str| {
        let word = after(name);
        word.strip_prefix("0x").map_or_else(
            || word.parse::<u64>().unwrap(),
            |hex| u64::from_str_radix(hex, 16).unwrap(),
        )
    };
    let key =
        Key { seed: whole("seed "), layer: whole("layer ") as u32, step: whole("step ") as u32 };
    let mask = Mask::new(Rate::keep(after("keep ").parse().unwrap()).unwrap(), key)
        .at(whole(": row "), whole(", column "));
    u64::from(mask.keeps(0, 0)) == whole("expected ") && whole("got ") == 1 - whole("expected ")
}

/// An embedder's own device, with its own error handlers.
#[test]
fn an_embedders_device_can_be_checked() {
    let Some(raw) = common::raw::Raw::open() else { return };
    let gpu = Gpu::on(raw.device.clone(), raw.queue.clone()).unwrap();
    let mut device = wgpu_dropout::Device::Gpu(Box::new(gpu));
    let checks = verify::contract(&mut device).unwrap();
    assert!(checks.len() == 5 && checks.iter().all(|check| check.passed()), "{checks:?}");
}

#[test]
fn alterations_that_cannot_be_are_refused() {
    for wrong in ["--alter-shader nothing", "--alter-shader =x", "--quick --exhaustive"] {
        assert_eq!(run(&format!("verify --device cpu {wrong}")).status.code(), Some(2), "{wrong}");
    }
}
