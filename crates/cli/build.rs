//! Gives the versions that the command line is built with, for `bench` to name.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.toml");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output().ok();
    let version = output.and_then(|output| String::from_utf8(output.stdout).ok());
    let compiler = version.as_deref().and_then(|text| text.split(" (").next()).map(str::trim);
    let manifest = std::fs::read_to_string("Cargo.toml").unwrap_or_default();
    let wgpu = manifest
        .lines()
        .find_map(|line| line.strip_prefix("wgpu = { version = \"")?.split('"').next());
    let wgpu = wgpu.map(|version| format!("wgpu {version}"));
    let built: Vec<String> = wgpu.into_iter().chain(compiler.map(str::to_owned)).collect();
    println!("cargo::rustc-env=BUILT_WITH={}", built.join(", "));
}
