//! Finds out whether the compiler has stable AVX-512 intrinsics (Rust 1.89), so that older ones
//! still build, with AVX2 as the best; and what this crate is built with, for `bench` to say.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.toml");
    println!("cargo::rustc-check-cfg=cfg(has_avx512)");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(compiler)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    let minor = version
        .as_deref()
        .and_then(|text| text.split('.').nth(1))
        .and_then(|minor| minor.parse::<u32>().ok());
    if minor.is_some_and(|minor| minor >= 89) {
        println!("cargo::rustc-cfg=has_avx512");
    }
    let manifest = std::fs::read_to_string("Cargo.toml").unwrap_or_default();
    let wgpu = manifest
        .lines()
        .find_map(|line| line.strip_prefix("wgpu = { version = \"")?.split('"').next());
    let compiler = version.as_deref().and_then(|text| text.split(" (").next()).map(str::trim);
    let built: Vec<String> = wgpu
        .map(|version| format!("wgpu {version}"))
        .into_iter()
        .chain(compiler.map(str::to_owned))
        .collect();
    println!("cargo::rustc-env=BUILT_WITH={}", built.join(", "));
}
