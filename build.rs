//! Finds out whether the compiler has stable AVX-512 intrinsics (Rust 1.89), so that older compilers
//! still build the crate, with AVX2 as the best instruction set.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(has_avx512)");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output().ok();
    let version = output.and_then(|output| String::from_utf8(output.stdout).ok());
    let minor = version.as_deref().and_then(|text| text.split('.').nth(1));
    if minor.and_then(|minor| minor.parse::<u32>().ok()).is_some_and(|minor| minor >= 89) {
        println!("cargo::rustc-cfg=has_avx512");
    }
}
