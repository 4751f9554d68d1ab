//! The command line as a user meets it: the commands `train`, `predict` and `demo`, on the CPU and
//! on the GPU under test.

mod cli;
#[path = "../../../tests/common/mod.rs"]
mod common;
#[path = "cli_training/predictions.rs"]
mod predictions;
#[path = "cli_training/remarks.rs"]
mod remarks;
#[path = "cli_training/tables.rs"]
mod tables;
#[path = "cli_training/units.rs"]
mod units;

use cli::{command, devices, refuse, succeed, succeed_quietly};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use wgpu_dropout::Cpu;
use wgpu_dropout::data::DataSet;
use wgpu_dropout::mlp::Mlp;
use wgpu_dropout::{Rate, init};
use wgpu_dropout_cli::data::{self, Options};
use wgpu_dropout_cli::npy;

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_owned();
    (folder, path)
}

/// Returns a saved network's tensors by name, and its metadata.
fn saved(path: &Path) -> (BTreeMap<String, Vec<f32>>, BTreeMap<String, String>) {
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap().into_iter().collect();
    let floats = |data: &[u8]| {
        data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    (tensors.iter().map(|(name, view)| (name.to_owned(), floats(view.data()))).collect(), metadata)
}

fn lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(object: &Value, key: &str) -> f64 {
    object[key].as_f64().unwrap_or_else(|| panic!("{key} of {object}"))
}

/// Writes a small labeled file. Two of its three features determine the class.
fn write_csv(folder: &Path) {
    let row = |i: u32| {
        format!("{}.5,-0.{},{},{}\n", i % 3, i % 7, (i * i) % 5, u32::from(i % 3 + (i * i) % 5 > 3))
    };
    std::fs::write(folder.join("d.csv"), (0..60).map(row).collect::<String>()).unwrap();
}

#[test]
fn json_is_a_line_an_epoch_and_nothing_else() {
    let (_guard, folder) = folder();
    for device in devices() {
        let epochs = lines(&succeed_quietly(
            &folder,
            &format!("train --json --epochs 3 --hidden 64 --drop 0.2 --device {device}"),
        ));
        assert_eq!(epochs.len(), 3);
        for (i, epoch) in epochs.iter().enumerate() {
            let mut keys: Vec<_> = epoch.as_object().unwrap().keys().map(String::as_str).collect();
            keys.sort_unstable();
            let wanted = [
                "epoch",
                "images_per_second",
                "running_loss",
                "seconds",
                "test_error",
                "test_loss",
                "train_error",
                "train_loss",
            ];
            assert_eq!(keys, wanted);
            assert_eq!(epoch["epoch"], i + 1);
            let rate = number(epoch, "images_per_second") * number(epoch, "seconds");
            assert!((rate - 1438.0).abs() < 1e-6, "{epoch}");
        }
        assert!(
            number(&epochs[2], "test_error") < 12.0 && number(&epochs[2], "train_loss") < 0.4,
            "{}",
            epochs[2]
        );
        assert!(number(&epochs[2], "running_loss") < number(&epochs[0], "running_loss"));
    }
}

#[test]
fn people_get_a_table_with_the_device_and_what_it_did() {
    let (_guard, folder) = folder();
    let text = succeed_quietly(
        &folder,
        "train --epochs 2 --hidden none --mode none --save n --device cpu",
    );
    let text: Vec<&str> = text.lines().collect();
    assert!(
        text[0].contains("1438 training rows, 359 test rows, 64 features, 10 classes"),
        "{text:?}"
    );
    assert!(
        text[1].contains("64-10, 650 parameters, no dropout") && text[2].contains("CPU"),
        "{text:?}"
    );
    assert!(
        text[4].trim().starts_with('1') && text[5].trim().starts_with('2') && text.len() == 7,
        "{text:?}"
    );
    assert!(text[6].starts_with("saved in n;") && text[6].contains("dispatches"), "{text:?}");
}

#[test]
fn a_resumed_run_ends_as_one_that_never_stopped() {
    let (_guard, folder) = folder();
    for device in devices() {
        // Each run has a partial last mini-batch.
        let on_schedule =
            "--l1 1e-6 --schedule lr=exponential:0.1:4,momentum=linear:0.5..1:3,drop=early:3";
        let normalized = "--batch-norm before --optimizer adamw --max-norm 2";
        let updates = [
            "",
            "--max-norm 1.25 --batch 60 --lr 0.03",
            "--momentum 0.5 --no-shuffle",
            on_schedule,
            normalized,
        ];
        for (update, step) in updates.into_iter().zip(["92", "96", "92", "92", "92"]) {
            resume(&folder, device, update, step);
        }
    }
}

fn resume(folder: &Path, device: &str, update: &str, step: &str) {
    let options = format!(
        "--hidden 24,16 --drop 0.3 --input-keep 0.9 --seed 7 --weight-decay 1e-4 {update} --device {device} --json"
    );
    succeed_quietly(folder, &format!("train --epochs 4 --save whole {options}"));
    succeed_quietly(folder, &format!("train --epochs 2 --save part {options}"));
    // The file supplies the shape, the rates, the seed, the mini-batch size and the update.
    let rest = format!("train --epochs 4 --resume part --save part --device {device} --json");
    let epochs = lines(&succeed_quietly(folder, &rest));
    assert_eq!(
        epochs.iter().map(|epoch| epoch["epoch"].as_u64().unwrap()).collect::<Vec<_>>(),
        [3, 4]
    );
    let (whole, part) = (saved(&folder.join("whole")), saved(&folder.join("part")));
    assert_eq!(whole.1, part.1);
    assert_eq!((whole.1["epoch"].as_str(), whole.1["step"].as_str()), ("4", step));
    assert_eq!(whole.0.keys().collect::<Vec<_>>(), part.0.keys().collect::<Vec<_>>());
    assert!(
        whole.0.contains_key("optimizer.2.bias")
            && whole.0.len() == if update.contains("adamw") { 18 + 2 * 8 } else { 12 }
    );
    for (name, values) in &whole.0 {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(values), bits(&part.0[name]), "{name} on {device} {update}");
    }
}

/// Each setting has one name: an option of `train`, with `-` for `_`, is a key of the saved network
/// and a field of the library's types.
#[test]
fn a_setting_has_the_same_name_on_the_command_line_in_the_file_and_in_the_library() {
    // The option, its value, and the value as the library prints it. AdamW takes no L1 penalty, and
    // SGD has no second moments, so each run leaves some out.
    const SETTINGS: [(&str, &str, &str); 14] = [
        ("mode", "inverted", "Inverted"),
        ("drop", "0.25", "Rate { keep: 0.75 }"),
        ("input-drop", "0.125", "Rate { keep: 0.875 }"),
        ("seed", "9", "9"),
        ("batch-norm", "after", "After"),
        ("batch", "32", "32"),
        ("optimizer", "adamw", "AdamW"),
        ("beta2", "0.75", "0.75"),
        ("epsilon", "0.5", "0.5"),
        ("lr", "0.001", "0.001"),
        ("momentum", "0.625", "0.625"),
        ("weight-decay", "0.03125", "0.03125"),
        ("l1", "0.0625", "0.0625"),
        ("max-norm", "1.5", "Some(1.5)"),
    ];
    // Options for the data, the length, the output and the device, and alternative forms of
    // settings in the table.
    const OTHERS: [&str; 20] = [
        "data",
        "unit",
        "hidden",
        "epochs",
        "save",
        "resume",
        "device",
        "tile",
        "json",
        "help",
        "keep",
        "input-keep",
        "no-shuffle",
        "schedule",
        "label",
        "header",
        "separator",
        "test-share",
        "split-seed",
        "test-file",
    ];
    let (_guard, folder) = folder();
    let help = succeed_quietly(&folder, "train --help");
    let is_option =
        |line: &str| line.trim_start().starts_with("--") || line.trim_start().starts_with("-h, --");
    let options: Vec<&str> = help
        .lines()
        .filter(|line| is_option(line))
        .filter_map(|line| line.split("--").nth(1)?.split([' ', '<', '[']).next())
        .collect();
    let known =
        |name: &str| OTHERS.contains(&name) || SETTINGS.iter().any(|(option, ..)| *option == name);
    assert_eq!(
        options.iter().copied().filter(|name| !known(name)).collect::<Vec<_>>(),
        [""; 0],
        "options in neither table"
    );
    assert!(SETTINGS.iter().all(|(option, ..)| options.contains(option)), "{options:?}");

    for left_out in [&["l1"][..], &["optimizer", "beta2", "epsilon"]] {
        let settings = SETTINGS.iter().filter(|(option, ..)| !left_out.contains(option));
        let given: String =
            settings.clone().map(|(option, value, _)| format!("--{option} {value} ")).collect();
        let schedules = ["lr=exponential:0.5:9", "momentum=linear:0.5..1:9", "drop=early:9"];
        let line = format!(
            "train --epochs 1 --hidden 8 --no-shuffle --schedule {} {given}",
            schedules.join(",")
        );
        succeed_quietly(&folder, &format!("{line} --save n --device cpu --json"));
        let (_, metadata) = saved(&folder.join("n"));
        let net = Mlp::load(Cpu::new(), &folder.join("n")).unwrap();
        let architecture = net.architecture();
        let training = net.training().unwrap();
        let place = net.batch_norm().unwrap();
        let library = format!("{architecture:?} {training:?} batch_norm: {place:?}");
        for (option, value, debug) in settings {
            let key = option.replace('-', "_");
            assert_eq!(
                metadata.get(&key).map(String::as_str),
                Some(*value),
                "--{option} in the file"
            );
            // The library also builds rates from keep probabilities, so its fields are named after
            // the site.
            let field = match *option {
                "drop" => format!(" rate: {debug}"),
                "input-drop" => format!("input_rate: {debug}"),
                _ => format!("{key}: {debug}"),
            };
            assert!(library.contains(&field), "--{option}: no `{field}` in {library}");
        }
        assert_eq!(metadata["shuffle"], "false");
        assert!(library.contains("shuffle: false"), "{library}");
        for schedule in schedules {
            let (name, planned) = schedule.split_once('=').unwrap();
            let (kind, _) = planned.split_once(':').unwrap();
            assert!(metadata[&format!("{name}_schedule")].starts_with(kind), "{metadata:?}");
            let shape = kind[..1].to_uppercase() + &kind[1..];
            assert!(library.contains(&format!("{name}: {shape} {{")), "{schedule}: {library}");
        }
    }
}

#[test]
fn what_contradicts_a_saved_network_is_refused_and_what_agrees_is_not() {
    let (_guard, folder) = folder();
    succeed_quietly(
        &folder,
        "train --epochs 2 --hidden 8 --keep 0.7 --seed 3 --save n --device cpu --json",
    );
    succeed_quietly(
        &folder,
        "train --epochs 3 --hidden 8 --drop 0.3 --mode inverted --seed 3 --lr 0.01 --resume n --device cpu --json",
    );
    for (option, named) in [
        ("--hidden 9", "--hidden 9 contradicts n, which was saved with 8"),
        ("--mode vanilla", "--mode vanilla contradicts n, which was saved with inverted"),
        ("--seed 4", "--seed 4 contradicts n, which was saved with 3"),
        ("--keep 0.5", "the drop rate 0.5 contradicts n"),
        ("--input-drop 0.1", "the input's drop rate"),
        ("--epochs 1", "--epochs 1: n has completed 2 epochs already"),
    ] {
        let error = refuse(&folder, &format!("train --resume n --device cpu --json {option}"), 2);
        assert!(error.contains(named), "{error}");
    }
    // Another value of the update is no contradiction: it applies from here on.
    succeed_quietly(
        &folder,
        "train --resume n --epochs 3 --lr 0.5 --max-norm 2 --save other --device cpu --json",
    );
    let (_, metadata) = saved(&folder.join("other"));
    assert_eq!(
        (metadata["lr"].as_str(), metadata["max_norm"].as_str(), metadata["batch"].as_str()),
        ("0.5", "2", "64")
    );
    succeed_quietly(
        &folder,
        "train --resume other --epochs 4 --max-norm none --save other --device cpu --json",
    );
    let (_, metadata) = saved(&folder.join("other"));
    assert_eq!((metadata["lr"].as_str(), metadata.get("max_norm")), ("0.5", None));
    assert_eq!(succeed(&folder, "train --resume n --epochs 2 --save m --device cpu --json"), "");
    assert_eq!(saved(&folder.join("m")), saved(&folder.join("n")));
}

#[test]
fn no_epochs_save_the_starting_weights() {
    let (_guard, folder) = folder();
    let printed = succeed_quietly(
        &folder,
        "train --epochs 0 --hidden 16,8 --seed 0xFFFFFFFFFF --save start --device cpu --json",
    );
    assert_eq!(printed, "");
    let (tensors, metadata) = saved(&folder.join("start"));
    assert_eq!(tensors.len(), 6);
    for (layer, pair) in [64, 16, 8, 10].windows(2).enumerate() {
        let weights = init::he_uniform(0xFF_FFFF_FFFF, layer as u32, pair[0], pair[1]);
        assert_eq!(tensors[&format!("layers.{layer}.weight")], weights);
        assert_eq!(tensors[&format!("layers.{layer}.bias")], vec![0.0; pair[1]]);
    }
    assert_eq!(
        (metadata["seed"].as_str(), metadata["step"].as_str(), metadata["epoch"].as_str()),
        ("1099511627775", "0", "0")
    );
}

#[test]
fn wrong_usage_is_told_in_two_lines() {
    let (_guard, folder) = folder();
    std::fs::write(folder.join("notes.txt"), "no data").unwrap();
    npy::write_f32(&folder.join("x.npy"), &[1, 64], &[0.0; 64]).unwrap();
    succeed_quietly(&folder, "train --json --epochs 0 --hidden 32 --save n --device cpu");
    let predict = "predict --model n --output p.npy --device cpu";
    for line in [
        "train --drop 1.5",
        "train --drop nan",
        "train --input-drop -0.1",
        "train --drop 0.5 --keep 0.5",
        "train --input-drop 0.5 --input-keep 0.5",
        "train --hidden 0",
        "train --hidden 1,,2",
        "train --hidden -3",
        "train --hidden 99999999999",
        "train --batch 0",
        "train --batch 1.5",
        "train --epochs -1",
        "train --lr -1",
        "train --lr nan",
        "train --momentum inf",
        "train --weight-decay x",
        "train --l1 -1",
        "train --schedule lr",
        "train --mode vanilla --schedule drop=early:3 --device cpu",
        "train --schedule drop=linear:1..2",
        "train --schedule width=constant",
        "train --max-norm 0",
        "train --mode inverse",
        "train --seed -1",
        "train --device=",
        "train --unknown",
        "predict",
        "predict --data digits --output p.npy",
        &format!("{predict} --data digits --spread s.npy"),
        &format!("{predict} --data digits --samples 2 --ensemble exact"),
        &format!("{predict} --data digits --samples 0"),
        &format!("{predict} --data digits --samples 2 --spread p.npy"),
        &format!("{predict} --data digits --entropy h.npy"),
        &format!("{predict} --data digits --masks pass"),
        &format!("{predict} --data digits --samples 2 --masks col"),
        &format!("{predict} --data digits --ensemble exact --masks row"),
        &format!("{predict} --data digits --samples 2 --entropy h.npy --information h.npy"),
        &format!("{predict} --data digits --split both"),
        &format!("{predict} --data digits --ensemble most"),
        &format!("{predict} --data x.npy --split test"),
        "demo --drop 0.5",
        "demo extra",
    ] {
        refuse(&folder, line, 2);
    }
    for (line, what) in [
        ("train --json --data none", "none"),
        ("train --json --data notes.txt", "notes.txt: has only one column"),
        ("train --json --save none/n", "no folder none"),
        ("train --json --save .", "is a folder"),
        ("train --json --device no-such-adapter", "no-such-adapter"),
        ("train --json --resume none --device cpu", "none"),
        ("train --json --resume x.npy --device cpu", "x.npy"),
        ("predict --model none --data digits --output p.npy --device cpu", "none"),
        ("predict --model n --data none.npy --output p.npy --device cpu", "none.npy"),
        ("predict --model n --data digits --output none/p.npy --device cpu", "no folder none"),
        (
            "predict --model n --data digits --output p.npy --ensemble exact --device cpu",
            "at most 20",
        ),
        ("demo --output none/r.html", "no folder none"),
        ("demo --device no-such-adapter", "no-such-adapter"),
    ] {
        let error = refuse(&folder, line, 1);
        // Without any adapter no name can match, and the error says so instead.
        assert!(error.contains(what) || error.contains("no GPU adapter"), "`{line}`: {error}");
    }
}

#[test]
fn a_run_that_diverges_fails_and_leaves_the_last_good_network() {
    let (_guard, folder) = folder();
    refuse(&folder, "train --json --epochs 2 --lr 1e30 --save n --device cpu", 1);
    succeed_quietly(&folder, "train --json --epochs 1 --hidden 8 --save n --device cpu");
    let error =
        refuse(&folder, "train --json --epochs 3 --lr 1e30 --resume n --save n --device cpu", 1);
    assert!(error.contains("epoch 2") && error.contains("learning rate"), "{error}");
}

#[test]
fn a_file_that_is_cut_short_or_damaged_is_no_network() {
    let (_guard, folder) = folder();
    succeed_quietly(&folder, "train --json --epochs 1 --hidden 3 --save whole --device cpu");
    let whole = std::fs::read(folder.join("whole")).unwrap();
    let mut huge = whole.clone();
    huge[..8].fill(0xff);
    let half = whole.len() / 2;
    for bytes in [&[][..], &whole[..4], &whole[..half], &whole[..whole.len() - 1], &huge] {
        std::fs::write(folder.join("bad"), bytes).unwrap();
        assert!(
            refuse(&folder, "train --json --resume bad --save bad --device cpu", 1).contains("bad")
        );
        assert!(
            refuse(&folder, "predict --model bad --data digits --output p.npy --device cpu", 1)
                .contains("bad")
        );
    }
}

#[test]
fn a_reader_that_leaves_ends_the_run_quietly() {
    let (_guard, folder) = folder();
    let mut command = command(&folder, "train --epochs 3 --hidden none --device cpu");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()),
        (Some(0), "")
    );
}

#[test]
fn the_demo_checks_trains_times_and_reports() {
    let (_guard, folder) = folder();
    let device = devices().last().unwrap();
    let objects = lines(&succeed_quietly(
        &folder,
        &format!("demo --quick --json --device {device} --output r.html"),
    ));
    let object = &objects[0];
    assert_eq!((objects.len(), object["report"].as_str()), (1, Some("r.html")));
    let places = object["devices"].as_array().unwrap();
    assert_eq!(places.len(), if device == "cpu" { 1 } else { 2 });
    assert!(number(object, "dispatches") > 0.0 && number(object, "bytes_read") > 0.0);
    assert!(device == "cpu" || number(object, "submits") > 0.0);
    let masks = object["masks"].as_array().unwrap();
    assert!(
        masks.len() == 5 * places.len() && masks.iter().all(|check| check["ok"] == true),
        "{masks:?}"
    );
    let runs = object["training"].as_array().unwrap();
    let modes: Vec<_> = runs.iter().map(|run| run["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["none", "vanilla", "inverted"].repeat(places.len()));
    assert!(
        runs.iter().all(|run| run["epochs"].as_array().is_some_and(|epochs| epochs.len() == 3))
    );
    let kernels = object["throughput"].as_array().unwrap();
    assert!(
        ["dropout", "copy", "linear_forward", "matmul"]
            .iter()
            .all(|name| kernels.iter().any(|row| row["kernel"] == *name))
    );

    let page = std::fs::read_to_string(folder.join("r.html")).unwrap();
    let count = |what: &str| page.matches(what).count();
    // One figure each for the loss and the error per device, for dropout and for the layer.
    assert_eq!(count("<figure>"), 2 * places.len() + 2);
    assert_eq!(count(">OK</span>"), masks.len());
    assert!(count("<polyline") >= 6 * places.len());
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for piece in [
        "prefers-color-scheme: dark",
        "name=\"viewport\"",
        "loss (nats)",
        "error (%)",
        "\nepoch\n",
        "GB/s",
        "GFLOP/s",
    ] {
        assert!(page.contains(piece), "{piece}");
    }
    // Nothing is fetched, and every placeholder color of a drawing was replaced by its name.
    for piece in ["http", "url(", "src=", "<link", "<script", "#0102"] {
        assert!(!page.contains(piece), "{piece}");
    }
}

#[test]
fn the_demo_tells_people_what_it_found() {
    let (_guard, folder) = folder();
    let text = succeed_quietly(&folder, "demo --quick --device cpu");
    for piece in [
        "CPU",
        "OK    mask 1000×1000",
        "no dropout",
        "vanilla",
        "inverted",
        "test loss above train loss",
        "wrote report.html",
    ] {
        assert!(text.contains(piece), "{piece} in {text}");
    }
    assert!(!text.contains("WRONG") && folder.join("report.html").is_file());
}
