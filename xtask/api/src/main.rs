//! Writes the library's public API as text to `docs/api.txt`, so that reviews show its changes.
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
/// Command that updates the file.
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
    let surface = surface(root)?;
    let path = root.join("docs/api.txt");
    if !check {
        std::fs::write(&path, surface)?;
        return Ok(ExitCode::SUCCESS);
    }
    let kept = std::fs::read_to_string(&path)?;
    let only = |a: &str, b: &str, sign: &str| -> Vec<String> {
        let there: std::collections::HashSet<&str> = b.lines().collect();
        a.lines()
            .filter(|line| !there.contains(line))
            .map(|line| format!("{sign} {line}"))
            .collect()
    };
    if kept == surface {
        return Ok(ExitCode::SUCCESS);
    }
    let changes = [only(&kept, &surface, "-"), only(&surface, &kept, "+")].concat();
    eprintln!("{}\nerror: docs/api.txt is out of date: `{RENEW}` updates it", changes.join("\n"));
    Ok(ExitCode::FAILURE)
}

/// Returns every public item of the library with all features, one per line.
fn surface(root: &Path) -> Result<String, Box<dyn Error>> {
    let target = root.join("target/api");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "rustdoc",
            "--quiet",
            "--package",
            "wgpu-dropout",
            "--lib",
            "--all-features",
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
    let items = public_api::Builder::from_rustdoc_json(target.join("doc/wgpu_dropout.json"))
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    Ok(items.items().map(|item| format!("{item}\n")).collect())
}
