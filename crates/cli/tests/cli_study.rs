//! The command `study` as a user meets it: its claims, its results, continuing after an
//! interruption, and previously unseen data.

mod cli;
#[path = "../../../tests/common/mod.rs"]
mod common;

use cli::{command, devices, refuse, run_in, succeed, succeed_quietly};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_owned();
    (folder, path)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn results(folder: &Path) -> Vec<Value> {
    lines(&std::fs::read_to_string(folder.join("results.jsonl")).unwrap())
}

/// Returns the parts of a record that are the same in every run.
fn figures(record: &Value) -> (Value, Value, Value, Value) {
    (
        record["arm"].clone(),
        record["seed"].clone(),
        record["values"].clone(),
        record["series"].clone(),
    )
}

/// Returns the figures of all records in a fixed order, since chance decides which training ends
/// first.
fn in_order(records: &[Value]) -> Vec<(Value, Value, Value, Value)> {
    let mut figures: Vec<_> = records.iter().map(figures).collect();
    figures.sort_by_key(|(arm, seed, ..)| format!("{seed} {arm}"));
    figures
}

/// Writes a folder of IDX files: 28×28 gray images in ten classes, each a bright bar in noise whose
/// height identifies the class.
fn unseen_images(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for (name, rows) in [("train", 300u32), ("t10k", 200)] {
        let labels: Vec<u8> = (0..rows).map(|row| (row * 7 % 10) as u8).collect();
        let image = |label: &u8| -> Vec<u8> {
            (0..784u32)
                .map(
                    |pixel| if pixel / 28 / 2 == u32::from(*label) + 2 { 200 } else { noise() / 4 },
                )
                .collect()
        };
        let images: Vec<u8> = labels.iter().flat_map(image).collect();
        let header = |numbers: &[u32]| {
            numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>()
        };
        std::fs::write(
            folder.join(format!("{name}-images-idx3-ubyte")),
            [header(&[2051, rows, 28, 28]), images].concat(),
        )
        .unwrap();
        std::fs::write(
            folder.join(format!("{name}-labels-idx1-ubyte")),
            [header(&[2049, rows]), labels].concat(),
        )
        .unwrap();
    }
}

/// Writes a file of 200 rows of eight features in five classes, on which training takes almost no
/// time.
fn small_data(folder: &Path) {
    let row = |row: u32| {
        let feature = |col: u32| format!("0.{:02},", (row * (col + 3) * 7 + row / 5 * col) % 100);
        (0..8).map(feature).collect::<String>() + &format!("{}\n", row * 3 % 5)
    };
    std::fs::write(folder.join("small.csv"), (0..200).map(row).collect::<String>()).unwrap();
}

#[test]
fn studies_are_listed_with_what_is_published_and_others_are_refused() {
    let (_guard, folder) = folder();
    let list = succeed_quietly(&folder, "study --list");
    for name in [
        "cs231n-checks",
        "exact-ensemble",
        "ladder",
        "table2",
        "regularizers",
        "keep-rate",
        "data-size",
        "monte-carlo",
        "gaussian",
        "sparsity",
        "where",
    ] {
        assert!(list.lines().any(|line| line == name), "{name}: {list}");
    }
    assert_eq!(list.matches("published: ").count(), 11);
    let list: Value =
        serde_json::from_str(&succeed_quietly(&folder, "study --list --json ladder")).unwrap();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["study"]), (1, &Value::from("ladder")));
    assert!(refuse(&folder, "study ladders", 2).contains("ladder"));
    assert!(refuse(&folder, "study --quick --full", 2).contains("--full"));
    assert!(refuse(&folder, "study ladder --seeds 0", 2).contains("1 to 1000"));
    assert!(refuse(&folder, "study ladder --data nowhere", 1).contains("nowhere"));
}

#[test]
fn the_mathematics_and_the_course_s_checks_hold_on_every_device() {
    let (_guard, folder) = folder();
    for (out, device) in devices().enumerate() {
        let line = format!(
            "study cs231n-checks exact-ensemble --seeds 1 --device {device} --json --out {out}"
        );
        let text = succeed_quietly(&folder, &line);
        let studies = lines(&text);
        assert_eq!(studies.len(), 2);
        for study in studies {
            assert_eq!(study["holds"], true, "{study}");
            assert!(study["claims"].as_array().unwrap().len() >= 6, "{study}");
        }
        let page =
            std::fs::read_to_string(folder.join(out.to_string()).join("study.html")).unwrap();
        assert!(
            page.contains("<svg") && !page.contains("<script") && !page.contains("http"),
            "the page must be self-contained"
        );
    }
}

#[test]
fn a_claim_of_dropout_does_not_hold_where_nothing_is_dropped() {
    let (_guard, folder) = folder();
    small_data(&folder);
    let line = "study ladder regularizers --without-dropout --updates 15 --seeds 2 --device cpu --data small.csv";
    let output = run_in(&folder, line);
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}{error}");
    for claim in [
        "hidden units dropped: a lower test error than no dropout",
        "dropout and L2: a lower test error than L2",
    ] {
        let verdict = text
            .lines()
            .find(|line| line.contains(claim))
            .unwrap_or_else(|| panic!("{claim}: {text}"));
        assert!(
            verdict.trim_start().starts_with("FAILS") && verdict.contains("short by"),
            "{verdict}"
        );
    }
    assert!(
        error.starts_with("error: ")
            && error.contains("claims do not hold: ladder: hidden units dropped"),
        "{error}"
    );
    // The page states it too.
    assert!(
        std::fs::read_to_string(folder.join("study/study.html")).unwrap().contains("does not hold")
    );
}

#[test]
fn what_is_finished_is_not_run_again_and_what_was_stopped_goes_on() {
    let (_guard, folder) = folder();
    small_data(&folder);
    let line = "study ladder --updates 15 --seeds 2 --device cpu --out o --data small.csv";
    run_in(&folder, line);
    let whole = results(&folder.join("o"));
    assert_eq!(whole.len(), 6, "three rungs and two seeds");

    // Simulate an interruption while the third record was being written.
    let file = folder.join("o/results.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let cut = text.match_indices('\n').nth(1).unwrap().0 + 40;
    std::fs::write(&file, &text[..cut]).unwrap();
    run_in(&folder, line);
    let text = std::fs::read_to_string(&file).unwrap();
    let again: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(again.len(), 6);
    assert_eq!(again[..2], whole[..2], "finished records must not change, seconds included");
    assert_eq!(in_order(&again), in_order(&whole), "the other records must have the same figures");

    // Other settings make other arms.
    run_in(&folder, &line.replace("15", "30"));
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 7 + 6);
}

#[test]
fn a_process_that_is_killed_loses_the_arm_that_it_was_at() {
    let (_guard, folder) = folder();
    small_data(&folder);
    let line = "study ladder --updates 200 --seeds 1 --device cpu --out o --data small.csv";
    let mut child = command(&folder, line)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let file = folder.join("o/results.jsonl");
    let start = Instant::now();
    while !std::fs::read_to_string(&file).is_ok_and(|text| text.contains('\n'))
        && start.elapsed() < Duration::from_secs(300)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = results(&folder.join("o"));
    assert!(!before.is_empty());
    run_in(&folder, line);
    let after = results(&folder.join("o"));
    assert_eq!(after.len(), 3);
    assert_eq!(after[..before.len()], before[..]);
}

#[test]
fn data_that_was_not_seen_before_goes_through_train_predict_and_study() {
    let (_guard, folder) = folder();
    unseen_images(&folder.join("bars"));
    let text = succeed(
        &folder,
        "train --data bars --hidden 32 --epochs 8 --drop 0.2 --save n --device cpu --json",
    );
    let last = lines(&text).pop().unwrap();
    assert!(last["test_error"].as_f64().unwrap() < 20.0, "{last}");
    let predicted = lines(&succeed(
        &folder,
        "predict --model n --data bars --output p.npy --device cpu --json",
    ));
    assert_eq!(predicted[0]["error"], last["test_error"]);
    let output = run_in(
        &folder,
        "study ladder monte-carlo where --data bars --updates 20 --seeds 1 --device cpu --json",
    );
    let studies = lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(
        studies.iter().map(|study| study["study"].as_str().unwrap()).collect::<Vec<_>>(),
        ["ladder", "monte-carlo", "where"]
    );
    assert!(studies.iter().all(|study| study["data"] == "bars"));
    // 20 updates may be too few for some claim. The exit status must tell whether all claims hold.
    let hold = studies.iter().all(|study| study["holds"] == true);
    assert_eq!(
        output.status.code(),
        Some(i32::from(!hold)),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs every study in its quick form.
#[test]
#[ignore = "takes minutes"]
fn every_quick_claim_holds() {
    let (_guard, folder) = folder();
    succeed_quietly(&folder, "study --quick --device cpu --out digits");
    match std::env::var("WGPU_DROPOUT_MNIST") {
        Ok(mnist) => drop(succeed_quietly(
            &folder,
            &format!("study --quick --device cpu --data {mnist} --out mnist"),
        )),
        Err(_) => common::skipped("WGPU_DROPOUT_MNIST names no folder with MNIST"),
    }
}
