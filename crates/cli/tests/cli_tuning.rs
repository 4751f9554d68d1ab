//! How the command line chooses tiles: by `--tile`, by `WGPU_DROPOUT_TILE`, and by trials kept in
//! the cache folder, whatever that folder contains.

mod cli;
#[path = "../../../tests/common/mod.rs"]
mod common;

use cli::command;
use common::{gpu, skipped};
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// Returns the field `chosen` that `devices` prints for the GPU under test.
fn chosen(folder: &Path, name: &str, arguments: &str, variable: &str) -> Value {
    let mut command = command(folder, &format!("devices --json {arguments}"));
    let output =
        command.env("XDG_CACHE_HOME", folder).env("WGPU_DROPOUT_TILE", variable).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    list.as_array().unwrap().iter().find(|device| device["name"] == name).unwrap()["chosen"].clone()
}

#[test]
fn tiles_are_chosen_by_name_by_rule_and_by_trials_that_are_kept() {
    let Some(gpu) = gpu() else { return };
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    let file = folder.join("wgpu-dropout/tiles.json");
    let chosen =
        |arguments: &str, variable: &str| chosen(folder, &gpu.info().name, arguments, variable);
    for (arguments, variable) in [("--tile small", ""), ("", "small"), ("--tile small", "register")]
    {
        let chosen = chosen(arguments, variable);
        assert_eq!(
            (&chosen["by"], &chosen["tiles"]),
            (&"name".into(), &"small".into()),
            "{arguments} {variable}"
        );
    }
    assert_eq!(chosen("--tile rule", "")["by"], "rule");
    assert!(!file.exists());
    if gpu.info().device_type != wgpu_dropout::wgpu::DeviceType::Cpu {
        return skipped("the rest tests that a software adapter runs a trial only on request");
    }
    assert_eq!(chosen("", "")["by"], "rule");
    assert!(!file.exists(), "the rule must write no file");

    // A file in another format is no error and is replaced.
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, b"{\"trials\": [[[[3, {\"of\": \xff").unwrap();
    let first = chosen("--tile trial", "");
    assert!(
        first["by"] == "trial" && !first["trial"]["timings"].as_array().unwrap().is_empty(),
        "{first}"
    );
    let kept = std::fs::read_to_string(&file).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap()["trials"][0]["trial"], first["trial"]);
    assert_eq!(chosen("", "trial"), first, "a second run must not measure again");

    // The table in the file is used, even if it differs from the measured one.
    let mut changed: Value = serde_json::from_str(&kept).unwrap();
    changed["trials"][0]["trial"]["tiles"]
        .as_object_mut()
        .unwrap()
        .values_mut()
        .for_each(|tile| *tile = "tall".into());
    std::fs::write(&file, changed.to_string()).unwrap();
    assert_eq!(chosen("--tile trial", "")["tiles"], "tall");
    // An entry of another driver, or one with an unknown tile name, is not used.
    changed["trials"][0]["of"]["driver_version"] = "another".into();
    let mut nameless: Value = serde_json::from_str(&kept).unwrap();
    nameless["trials"][0]["trial"]["tiles"]["grad_input, large"] = "hexagon".into();
    changed["trials"].as_array_mut().unwrap().push(nameless["trials"][0].clone());
    std::fs::write(&file, changed.to_string()).unwrap();
    let again = chosen("--tile trial", "");
    assert!(again["by"] == "trial" && again["tiles"] != "tall", "{again}");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(
        kept["trials"].as_array().unwrap().len(),
        2,
        "the other driver's entry stays; the one with the unknown tile is replaced"
    );
}

#[test]
fn a_variable_that_names_no_tile_is_named_in_the_error() {
    let output = command(Path::new("."), "devices --device cpu")
        .env("WGPU_DROPOUT_TILE", "hexagon")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains(
            "WGPU_DROPOUT_TILE: tile `hexagon`: must be auto, rule, trial, or one of register"
        ),
        "{stderr}"
    );
}
