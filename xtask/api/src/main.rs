//! Writes each library's public API as text to a file of `docs/api`, so that reviews show its
//! changes. The features are the default ones.
//!
//! ```sh
//! cargo run --manifest-path xtask/api/Cargo.toml            # writes the file
//! cargo run --manifest-path xtask/api/Cargo.toml -- --check # checks the file
//! ```
//!
//! With `--check`, the exit status is 1 if the file is out of date, and 3 on another version of
//! Rust.

#![deny(missing_docs)]
#![deny(unsafe_code)]

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Version of Rust whose rustdoc writes the JSON format that `public_api` reads.
const RUST: &str = "1.95";
/// Libraries whose API is kept.
const PACKAGES: [&str; 3] = ["dropout-contract", "wgpu-dropout", "wgpu-dropout-cli"];

/// Command that updates the files.
const RENEW: &str = "cargo run --manifest-path xtask/api/Cargo.toml";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => false,
        ["--check"] => true,
        _ => {
            eprintln!("error: usage: {RENEW} [-- --check]");
            return ExitCode::from(2);
        }
    };
    match run(check) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(check: bool) -> Result<ExitCode, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .ok_or("no repository around this package")?;
    let rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("--version")
        .output()?;
    let version = String::from_utf8_lossy(&rustc.stdout).into_owned();
    if !version.contains(&format!("rustc {RUST}.")) {
        eprintln!("skipped: the API is read with Rust {RUST}, this is {}", version.trim());
        return Ok(ExitCode::from(3));
    }
    let mut status = ExitCode::SUCCESS;
    for package in PACKAGES {
        let surface = surface(root, package)?;
        let file = format!("docs/api/{package}.txt");
        if check {
            let kept = std::fs::read_to_string(root.join(&file))?;
            if kept != surface {
                let changes = [only(&kept, &surface, "-"), only(&surface, &kept, "+")].concat();
                let changes = changes.join("\n");
                eprintln!("{changes}\nerror: {file} is out of date: `{RENEW}` updates it");
                status = ExitCode::FAILURE;
            }
        } else {
            std::fs::create_dir_all(root.join("docs/api"))?;
            std::fs::write(root.join(&file), surface)?;
        }
    }
    Ok(status)
}

/// Returns the lines of `a` that `b` lacks, each after a sign.
fn only(a: &str, b: &str, sign: &str) -> Vec<String> {
    let there: std::collections::HashSet<&str> = b.lines().collect();
    a.lines().filter(|line| !there.contains(line)).map(|line| format!("{sign} {line}")).collect()
}

/// Returns every public item of a library, one per line.
fn surface(root: &Path, package: &str) -> Result<String, Box<dyn Error>> {
    let target = root.join("target/api");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "rustdoc",
            "--quiet",
            "--package",
            package,
            "--lib",
            "--locked",
            "--target-dir",
        ])
        .arg(&target)
        .args(["--", "-Z", "unstable-options", "--output-format", "json", "--cap-lints", "allow"])
        // A stable rustdoc also writes JSON, with this variable that permits unstable options.
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(root)
        .status()?;
    if !status.success() {
        return Err(format!("cargo rustdoc ended with {status}").into());
    }
    let items = public_api::Builder::from_rustdoc_json(target.join(format!("doc/{}.json", package.replace('-', "_"))))
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    Ok(items.items().map(|item| format!("{item}\n")).collect())
}
