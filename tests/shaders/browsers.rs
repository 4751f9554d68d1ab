//! Implementations of WebGPU other than wgpu: Dawn on Node and headless Chromium compile every
//! kernel that standard WGSL can express and draw the contract's masks. `cargo xtask test --all`
//! runs these tests if Node, npm and Chromium are installed.

use crate::common;
use crate::shaders;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wgpu_dropout::gpu::{Params, Place, Stem, Variant};
use wgpu_dropout::wgpu::Features;
use wgpu_dropout::{Key, Mask, Rate};

/// Describes one mask drawn by `mask_bits`: its parameter block, its number of workgroups and the
/// expected words.
fn mask_case(mask: Mask, rows: usize, cols: usize) -> Value {
    let words = cols.div_ceil(32);
    let grid = (rows * words).div_ceil(64) as u32;
    let mut params = Params {
        rows: rows as u32,
        cols: cols as u32,
        grid,
        seed_low: mask.key.seed as u32,
        seed_high: (mask.key.seed >> 32) as u32,
        layer: mask.key.layer,
        step: mask.key.step,
        row_offset: mask.row_offset as u32,
        col_group: (mask.col_offset / 8) as u32,
        col_lane: (mask.col_offset % 8) as u32,
        threshold: mask.rate.threshold(),
        ..Params::default()
    };
    params.tensors[0] = Place { start: 0, stride: words as u32 };
    let block: Vec<u32> = bytemuck::pod_collect_to_vec(bytemuck::bytes_of(&params));
    let bytes = mask.bytes(rows, cols).unwrap();
    let word = |bytes: &[u8]| {
        bytes.iter().zip(0..).fold(0u32, |word, (&kept, bit)| word | u32::from(kept) << bit)
    };
    let bits: Vec<u32> = bytes.chunks(cols).flat_map(|row| row.chunks(32).map(word)).collect();
    json!({"name": format!("{mask:?} {rows}×{cols}"), "wgsl": Variant::new(Stem::MaskBits).source(), "params": block, "grid": grid, "words": bits})
}

/// Returns the input of the scripts. With `planted`, one bit of one mask is wrong.
fn cases(planted: bool) -> Value {
    let mask =
        |seed, layer, step, keep| Mask::new(Rate::keep(keep).unwrap(), Key { seed, layer, step });
    let mut masks = vec![
        mask_case(mask(42, 0, 0, 0.5), 1000, 1000),
        mask_case(mask(0xDEAD_BEEF_CAFE_F00D, 3, 7, 0.8), 257, 131),
        mask_case(mask(1, 0x8000_0001, u32::MAX, 0.9).at(4_294_967_200, 0), 64, 65),
        mask_case(mask(u64::MAX, 5, 123_456, 0.25).at(100, 1000), 33, 77),
    ];
    masks.extend((0..40).map(|i| {
        mask_case(mask(i << 33, i as u32, !i as u32, i as f64 / 39.0).at(i, 3 * i), 7, 70)
    }));
    if planted {
        let word = masks[2]["words"][5].as_u64().unwrap() as u32;
        masks[2]["words"][5] = json!(word ^ 1);
    }
    let standard =
        shaders::variants().filter(|variant| !variant.features().contains(Features::SHADER_INT64));
    let kernels = standard.map(|variant| {
        let subgroups = variant.features().contains(Features::SUBGROUP);
        let needs: Vec<&str> = [(variant.half, "shader-f16"), (subgroups, "subgroups")]
            .iter()
            .filter(|n| n.0)
            .map(|n| n.1)
            .collect();
        let wgsl =
            format!("{}{}", if subgroups { "enable subgroups; " } else { "" }, variant.source());
        json!({"name": variant.name(), "wgsl": wgsl, "needs": needs})
    });
    json!({"masks": masks, "kernels": kernels.collect::<Vec<_>>()})
}

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("webgpu");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs a script on correct cases, then on cases with a planted fault.
fn run(script: &str, argument: &Path, environment: &[(&str, &str)]) {
    for planted in [false, true] {
        let path = folder().join(format!("{script}.{planted}.json"));
        std::fs::write(&path, cases(planted).to_string()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/portability").join(script);
        let mut node = Command::new("node");
        let output = node
            .arg(script)
            .arg(&path)
            .arg(argument)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let result: Value = serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
        let wrong: Vec<&str> = result["wrong"]
            .as_array()
            .unwrap_or_else(|| panic!("{result}"))
            .iter()
            .filter_map(Value::as_str)
            .collect();
        println!(
            "{}: {} masks, {} kernels, wrong: {wrong:?}",
            result["adapter"], result["masks"], result["kernels"]
        );
        assert!(result["masks"] == 44 && result["kernels"].as_u64() > Some(100), "{result}");
        if planted {
            assert!(wrong.len() == 1 && wrong[0].contains("word 5: expected"), "{wrong:?}");
        } else {
            assert!(wrong.is_empty(), "{wrong:?}");
        }
    }
}

fn there(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        common::skipped(&format!("{program} is not installed"));
    }
    found
}

#[test]
#[ignore = "requires Node and the npm package webgpu"]
fn dawn_on_node_draws_the_contract_s_masks() {
    if !there("node") || !there("npm") {
        return;
    }
    let folder = folder();
    let package = "webgpu@0.6.2";
    let installed = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--prefix"])
        .arg(&folder)
        .arg(package)
        .output()
        .unwrap();
    if !installed.status.success() {
        return common::skipped(&format!(
            "npm cannot install {package}: {}",
            String::from_utf8_lossy(&installed.stderr)
        ));
    }
    // Dawn does not accept lavapipe. If xtask has installed SwiftShader, use that.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .join("swiftshader/vk_swiftshader_icd.json");
    let manifest = [target.as_path(), Path::new("/usr/lib/chromium/vk_swiftshader_icd.json")]
        .into_iter()
        .find(|path| path.exists());
    let manifest = manifest.map(|path| path.to_string_lossy().into_owned());
    let environment: Vec<(&str, &str)> =
        manifest.iter().map(|path| ("VK_DRIVER_FILES", path.as_str())).collect();
    run("dawn.mjs", &folder, &environment);
}

#[test]
#[ignore = "requires Node and Chromium"]
fn chromium_draws_the_contract_s_masks() {
    let programs = ["chromium", "chromium-browser", "google-chrome"];
    let Some(program) = programs
        .into_iter()
        .find(|program| Command::new(program).arg("--version").output().is_ok())
    else {
        return common::skipped("Chromium is not installed");
    };
    if there("node") {
        run("chromium.mjs", Path::new(program), &[]);
    }
}
