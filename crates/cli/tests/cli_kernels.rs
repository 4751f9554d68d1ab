//! The command line as a user meets it: the commands `mask`, `dropout`, `linear`,
//! `attention` and `devices`, on
//! the CPU and on the GPU under test.

#[path = "cli_kernels/attention.rs"]
mod attention;
mod cli;
#[path = "../../../tests/common/mod.rs"]
mod common;
#[path = "cli_kernels/forms.rs"]
mod forms;
#[path = "cli_kernels/layer.rs"]
mod layer;

use cli::{command, devices, refuse, succeed};
use common::noise;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use wgpu_dropout::{AxisMap, Dropout, Key, Mask, Mode, Rate, oracle};
use wgpu_dropout_cli::npy::{self, Array};

fn save(folder: &Path, name: &str, shape: &[usize], values: &[f32]) {
    npy::write_f32(&folder.join(name), shape, values).unwrap();
}

fn load(folder: &Path, name: &str) -> Array {
    npy::read(&folder.join(name)).unwrap()
}

/// Returns the shape and the bytes of a u8 array.
fn load_mask(folder: &Path, name: &str) -> (Vec<usize>, Vec<u8>) {
    let file = std::fs::read(folder.join(name)).unwrap();
    assert_eq!(&file[..8], b"\x93NUMPY\x01\x00");
    let data = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
    let header = String::from_utf8_lossy(&file[10..data]).replace(' ', "");
    assert!(header.contains("'|u1'") && header.contains("'fortran_order':False"), "{header}");
    let (_, shape) = header.split_once("'shape':(").unwrap();
    let shape = shape.split(')').next().unwrap().split(',').filter(|axis| !axis.is_empty());
    (shape.map(|axis| axis.parse().unwrap()).collect(), file[data..].to_vec())
}

#[test]
fn masks_have_the_sums_of_the_contract() {
    let seed_42 = "--seed 42 --rows 1000 --cols 1000 --keep 0.5";
    let cases = [
        (seed_42, 500_239, "399c7c7c2634229e7b2bd21740720c0cdc860fed903d3ba3891700bacff94091"),
        (
            "--seed 0xDEADBEEFCAFEF00D --layer 3 --step 7 --rows 257 --cols 131 --keep 0.8",
            26_951,
            "e7608c7a225e505d02d1e54081d9cf5283f77c48aa525b61f07ae1c15dfc237e",
        ),
        (
            "--seed 1 --layer 0x80000001 --step 0xFFFFFFFF --row-offset 4294967200 --rows 64 --cols 65 --keep 0.9",
            3_765,
            "91e6de9804d3a8100715ac914580f88ace983192d88dd2d8027977037aff7588",
        ),
        (
            "--seed 18446744073709551615 --layer 5 --step 123456 --row-offset 100 --col-offset 1000 --rows 33 --cols 77 --keep 0.25",
            645,
            "4191aec02038d40740d904090a272491a39fba898b1034c55bfe1b64f7c2afab",
        ),
    ];
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    for device in devices() {
        for (arguments, kept, sum) in cases {
            let json = succeed(
                folder,
                &format!("--device {device} mask {arguments} --format npy --output m.npy --json"),
            );
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["kept"], kept);
            let bytes = load_mask(folder, "m.npy").1;
            assert_eq!(format!("{:x}", Sha256::digest(&bytes)), sum, "{device}: {arguments}");
        }
    }
}

#[test]
fn bits_are_the_bytes_of_the_array_as_lines() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    for device in devices() {
        let arguments = format!(
            "mask --device {device} --rows 5 --cols 37 --drop 0.3 --seed 9 --row-offset 0x10"
        );
        let stdout = succeed(folder, &arguments);
        succeed(folder, &format!("{arguments} --format npy --output m.npy"));
        let (shape, bytes) = load_mask(folder, "m.npy");
        assert_eq!(shape, [5, 37]);
        let lines: Vec<String> =
            bytes.chunks(37).map(|row| row.iter().map(u8::to_string).collect()).collect();
        assert_eq!(stdout, lines.join("\n") + "\n");
        succeed(folder, &format!("{arguments} --output m.txt"));
        assert_eq!(std::fs::read_to_string(folder.join("m.txt")).unwrap(), stdout);
        let json: Value =
            serde_json::from_str(&succeed(folder, &format!("{arguments} --json"))).unwrap();
        assert_eq!(json["mask"], serde_json::json!(lines));
    }
    assert_eq!(succeed(folder, "mask --rows 2 --cols 0 --drop .5"), "\n\n");
    assert_eq!(succeed(folder, "mask --rows 0 --cols 2 --drop .5"), "");
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_command_quietly() {
    let mut command =
        command(Path::new("."), "mask --device cpu --rows 4000 --cols 1000 --drop .5");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.len()),
        (Some(0), 0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns sites in training and in prediction, as arguments and as the library represents them.
fn sites() -> Vec<(&'static str, Dropout)> {
    let mask = |rate| Mask::new(rate, Key { seed: 7, layer: 2, step: 3 }).at(11, 5);
    let rate = Rate::drop(0.3).unwrap();
    let train = |mode| Dropout::train(mode, mask(rate));
    vec![
        ("--drop 0.3", train(Mode::Inverted)),
        ("--keep 0.7 --mode vanilla", train(Mode::Vanilla)),
        ("--mode none", Dropout::NONE),
        ("--mode none --drop 0.3", Dropout::NONE),
        ("--drop 1", Dropout::train(Mode::Inverted, mask(Rate::drop(1.0).unwrap()))),
        ("--drop 0.3 --mode vanilla --predict", Dropout::predict(Mode::Vanilla, rate)),
        ("--predict", Dropout::NONE),
    ]
}

/// Returns true if a case should run. A GPU process compiles its kernels anew each time, so it runs
/// a third of the cases, which still cover each shape and each site.
fn worthwhile(device: &str, case: usize) -> bool {
    device == "cpu" || case.is_multiple_of(3)
}

const PLACE: &str = "--seed 7 --layer 2 --step 3 --row-offset 11 --col-offset 5";

#[test]
fn dropout_agrees_with_the_oracle_at_every_rank() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    let shapes: [&[usize]; 8] = [&[], &[1], &[13], &[3, 9], &[2, 3, 65], &[0], &[4, 0], &[2, 0, 3]];
    for device in devices() {
        for (s, shape) in shapes.into_iter().enumerate() {
            let (len, cols) = (shape.iter().product(), shape.last().copied().unwrap_or(1));
            let (x, dy) = (noise(1, len), noise(2, len));
            save(folder, "x.npy", shape, &x);
            save(folder, "dy.npy", shape, &dy);
            for (_, (site, dropout)) in
                sites().into_iter().enumerate().filter(|(i, _)| worthwhile(device, s + i))
            {
                let backward = if site.contains("--predict") {
                    ""
                } else {
                    "--grad-output dy.npy --grad-input dx.npy"
                };
                let line = format!(
                    "dropout --device {device} {PLACE} {site} --input x.npy --output y.npy --mask-output m.npy {backward}"
                );
                succeed(folder, &line);
                let y = load(folder, "y.npy");
                assert_eq!(y.shape, shape, "{line}");
                oracle::dropout(&x, cols, &dropout).check(&line, &y.values).unwrap();
                let mask: Vec<u8> =
                    (0..len).map(|i| u8::from(dropout.mask.keeps(i / cols, i % cols))).collect();
                assert_eq!(load_mask(folder, "m.npy"), (shape.to_vec(), mask), "{line}");
                if !backward.is_empty() {
                    let dx = load(folder, "dx.npy");
                    assert_eq!(dx.shape, shape, "{line}");
                    oracle::dropout(&dy, cols, &dropout).check(&line, &dx.values).unwrap();
                }
            }
        }
    }
}

#[test]
fn axes_that_are_not_named_share_one_draw() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    let shape = [3, 5, 4, 2];
    let (x, dy) = (noise(1, 120), noise(2, 120));
    save(folder, "x.npy", &shape, &x);
    save(folder, "dy.npy", &shape, &dy);
    let dropout = sites()[0].1;
    let maps = [
        ("--row-axes 0 --col-axes 1", AxisMap::channels(&shape)),
        ("--row-axes 0", AxisMap::drop_path(&shape)),
        ("--col-axes 1,3 --row-axes 0", AxisMap::new(&shape, &[0], &[1, 3])),
    ];
    for device in devices() {
        for (arguments, axes) in &maps {
            let axes = axes.as_ref().unwrap();
            let files = "--input x.npy --output y.npy --mask-output m.npy --grad-output dy.npy --grad-input dx.npy";
            let line = format!("dropout --device {device} {PLACE} --drop 0.3 {arguments} {files}");
            succeed(folder, &line);
            oracle::dropout_broadcast(&x, axes, &dropout)
                .check(&line, &load(folder, "y.npy").values)
                .unwrap();
            oracle::dropout_broadcast(&dy, axes, &dropout)
                .check(&line, &load(folder, "dx.npy").values)
                .unwrap();
            assert_eq!(
                load_mask(folder, "m.npy"),
                (shape.to_vec(), dropout.mask.broadcast(axes).unwrap()),
                "{line}"
            );
        }
    }
    for (wrong, why) in [
        ("--row-axes 4", "axis 4"),
        ("--row-axes 0 --col-axes 0", "twice"),
        ("--row-axes x", "row-axes"),
    ] {
        let line = format!("dropout --device cpu --drop .5 --input x.npy --output z.npy {wrong}");
        assert!(refuse(folder, &line, 2).contains(why), "{line}");
    }
}

#[test]
fn wrong_usage_is_refused_with_status_2_in_two_lines() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    save(folder, "x.npy", &[2, 3], &noise(1, 6));
    let mask = "mask --rows 2 --cols 3";
    let dropout = "dropout --input x.npy --output y.npy";
    let linear = "linear --input x.npy --weight x.npy --output y.npy --drop .5";
    for (start, ends) in [
        (
            "",
            &[
                "",
                "frobnicate",
                "mask --drop .5",
                "mask --rows two --cols 3 --drop .5",
                "mask --rows -2 --cols 3 --drop .5",
            ][..],
        ),
        (
            "",
            &[
                "dropout --output y.npy --drop .5",
                "dropout --input x.npy --drop .5",
                "linear --input x.npy --output y.npy --drop .5",
            ],
        ),
        (
            mask,
            &[
                "",
                "--drop 1.5",
                "--drop -0.1",
                "--drop nan",
                "--keep inf",
                "--keep half",
                "--drop .5 --keep .5",
            ],
        ),
        (
            mask,
            &[
                "--drop .5 --unknown",
                "--drop .5 --format png",
                "--drop .5 --format npy",
                "--drop .5 --device=",
            ],
        ),
        (
            mask,
            &[
                "--drop .5 --seed 18446744073709551616",
                "--drop .5 --seed -1",
                "--drop .5 --layer 4294967296",
            ],
        ),
        (
            mask,
            &[
                "--drop .5 --step 1e3",
                "--drop .5 --row-offset 4294967295",
                "--drop .5 --col-offset 0x800000000",
            ],
        ),
        (
            dropout,
            &["", "--mode vanilla --predict", "--drop .5 --mode inverse", "--mode none --drop 2"],
        ),
        (
            dropout,
            &[
                "--drop .5 --grad-output x.npy",
                "--drop .5 --grad-input dx.npy",
                "--drop .5 --mask-output ./y.npy",
            ],
        ),
        (dropout, &["--drop .5 --predict --grad-output x.npy --grad-input dx.npy"]),
        (linear, &["--keep .5", "--grad-output x.npy", "--grad-weight dw.npy", "--tile hexagon"]),
        (linear, &["--predict --grad-output x.npy --grad-bias db.npy"]),
    ] {
        for end in ends {
            let line = format!("{start} {end}");
            let stderr = refuse(folder, &line, 2);
            assert!(stderr.contains("--help`"), "`{line}`: {stderr}");
        }
    }
}

#[test]
fn failed_runs_end_with_status_1_and_name_what_is_at_fault() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    save(folder, "x.npy", &[2, 3], &noise(1, 6));
    save(folder, "w.npy", &[4, 5], &noise(2, 20));
    save(folder, "v.npy", &[3, 5], &noise(2, 15));
    std::fs::write(folder.join("bad.npy"), b"not an array").unwrap();
    for (line, names) in [
        ("dropout --input none.npy --output y.npy --drop .5", "none.npy"),
        ("dropout --input bad.npy --output y.npy --drop .5", "bad.npy"),
        ("dropout --input x.npy --output none/y.npy --drop .5", "none"),
        ("dropout --input x.npy --output y.npy --mask-output none/m.npy --drop .5", "none"),
        ("dropout --input x.npy --output y.npy --drop .5 --row-offset 4294967295", "4294967296"),
        (
            "dropout --input x.npy --output y.npy --drop .5 --grad-output w.npy --grad-input dx.npy",
            "w.npy: shape (4, 5), expected (2, 3)",
        ),
        (
            "linear --input x.npy --weight w.npy --output y.npy --drop .5",
            "w.npy: shape (4, 5), expected (3, outputs)",
        ),
        (
            "linear --input x.npy --weight v.npy --bias x.npy --output y.npy --drop .5",
            "x.npy: shape (2, 3), expected (5,)",
        ),
        (
            "linear --input x.npy --weight v.npy --output y.npy --drop .5 --grad-output x.npy --grad-input dx.npy",
            "expected (2, 5)",
        ),
        ("mask --rows 2 --cols 3 --drop .5 --device 4096", "4096"),
        ("mask --rows 2 --cols 3 --drop .5 --device no-such-adapter", "adapter"),
        ("mask --rows 2 --cols 3 --drop .5 --device cpu --output none/m.txt", "none"),
    ] {
        let stderr = refuse(folder, line, 1);
        assert!(stderr.contains(names), "`{line}`: {stderr}");
    }
}

#[test]
fn json_is_one_object_and_all_of_stdout() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    save(folder, "x.npy", &[2, 3], &noise(1, 6));
    save(folder, "w.npy", &[3, 5], &noise(2, 15));
    for device in devices() {
        for (line, dispatches) in [
            ("mask --rows 2 --cols 3 --drop .5", 1),
            ("mask --rows 2 --cols 3 --drop .5 --output m.txt", 1),
            ("dropout --input x.npy --output y.npy --drop .5", 1),
            ("linear --input x.npy --weight w.npy --output y.npy --mask-output m.npy --drop .5", 2),
        ] {
            let json = succeed(folder, &format!("{line} --json --device {device}"));
            let object: Value = serde_json::from_str(&json).unwrap();
            assert!(object["adapter"].as_str().is_some_and(|name| !name.is_empty()), "{json}");
            assert_eq!(object["dispatches"], dispatches, "{json}");
            assert!(
                object["submits"].is_u64()
                    && object["bytes_read"].as_u64().is_some_and(|bytes| bytes > 0),
                "{json}"
            );
        }
    }
}

#[test]
fn devices_are_listed_with_what_they_are_and_run() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    assert!(succeed(folder, "devices").contains("CPU backend"));
    let listed: Value = serde_json::from_str(&succeed(folder, "devices --json")).unwrap();
    for (index, adapter) in listed.as_array().unwrap().iter().enumerate() {
        assert_eq!(adapter["index"], index);
        assert!(
            ["name", "backend", "type", "driver"].iter().all(|key| adapter[*key].is_string()),
            "{adapter}"
        );
        assert!(adapter["features"].is_array() && adapter["limits"].is_object(), "{adapter}");
        assert!(
            adapter["kernels"].as_array().is_some_and(|kernels| !kernels.is_empty()),
            "{adapter}"
        );
    }
}

#[test]
fn masks_of_attention_are_parts_of_the_whole() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    let site = "--keep 0.9 --seed 42 --layer 2 --step 5 --format npy --output m.npy";
    for device in devices() {
        let draw = |what: &str| {
            succeed(folder, &format!("mask --device {device} {what} {site}"));
            load_mask(folder, "m.npy")
        };
        let (shape, whole) = draw("--attention 2,3,5,37");
        assert_eq!(shape, [2, 3, 5, 37]);
        assert_eq!(whole, draw("--rows 30 --cols 37").1);
        let sum: String = Sha256::digest(&whole).iter().map(|b| format!("{b:02x}")).collect();
        assert!(
            sum.starts_with("7645c4720849824304c185b43fadb9e92acd26dae47e8c4687f634c88fe47c0f")
        );
        let part = |heads: std::ops::Range<usize>, queries: std::ops::Range<usize>, key: usize| {
            let mut bytes = Vec::new();
            for (b, h) in (0..2).flat_map(|b| heads.clone().map(move |h| (b, h))) {
                for q in queries.clone() {
                    bytes.extend(&whole[((b * 3 + h) * 5 + q) * 37..][key..37]);
                }
            }
            bytes
        };
        for (line, right) in [
            ("--attention 2,2,5,37 --head-offset 1", part(1..3, 0..5, 0)),
            ("--attention 2,1,5,37 --heads 3", part(0..1, 0..5, 0)),
            ("--attention 2,3,5,13 --key-offset 24", part(0..3, 0..5, 24)),
            ("--attention 2,3,5,24 --key-offset 13", part(0..3, 0..5, 13)),
            ("--attention 2,3,3,37 --query-offset 2", part(0..3, 2..5, 0)),
            ("--attention 2,3,2,37 --query-offset 1 --pitch 5", part(0..3, 1..3, 0)),
            ("--attention 1,3,5,37 --sequence-offset 1", whole[3 * 5 * 37..].to_vec()),
            ("--attention 0,3,5,37", vec![]),
            ("--attention 1000000000000,3,0,37 --pitch 5", vec![]),
            ("--attention 1,3,0,37 --heads 4 --sequence-offset 0xffffffffffffffff", vec![]),
        ] {
            assert_eq!(draw(line).1, right, "{line}");
        }
        // Control: without the heads of the whole, another mask.
        assert_ne!(draw("--attention 2,1,5,37").1, part(0..1, 0..5, 0));
        let line = "mask --keep .5 --attention 1,2,1,3";
        let lines = succeed(folder, &format!("{line} --device {device}"));
        assert_eq!(lines.lines().count(), 2, "{lines}");
    }
    for (line, what) in [
        ("--attention 2,3,5", "3 sizes: must be B,H,Q,K"),
        ("--attention 2,3,5,x", "--attention"),
        ("--attention 2,3,5,37 --rows 3", "cannot be used with"),
        ("--attention 2,3,5,37 --row-offset 3", "cannot be used with"),
        ("--attention 2,3,5,37 --heads 2", "query heads up to 3 of 2 in the whole"),
        ("--attention 2,3,5,37 --pitch 4", "the pitch must be at least that, and is 4"),
        ("--attention 1,1,2,1 --sequence-offset 0xffffffff", "rows of attention scores"),
        ("--attention 2,3,5,37 --head-offset 18446744073709551615", "query heads up to"),
        ("--rows 3 --cols 3 --heads 2", "--heads belongs to --attention"),
        ("--cols 3", "--rows"),
    ] {
        let error = refuse(folder, &format!("mask --keep .5 --device cpu {line}"), 2);
        assert!(error.contains(what), "`{line}`: {error}");
    }
}
