//! The README's first program, in a new package outside the workspace, as a newcomer types it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::cargo;

/// Text between these lines of the README is what a newcomer types.
const DEPENDENCIES: &str = "```toml\n";
const PROGRAM: &str = "```rust\n";
/// Path of the checkout in the README.
const CHECKOUT: &str = "\"../wgpu-dropout\"";

/// Returns the first block of the README that starts with a line.
fn block<'a>(readme: &'a str, start: &str) -> Result<&'a str, String> {
    let (_, rest) = readme.split_once(start).ok_or(format!("README.md has no block {start}"))?;
    rest.split_once("```").map(|(block, _)| block).ok_or("a block has no end".to_owned())
}

/// Returns what the README says that the program prints: the first words in code after it.
fn printed(readme: &str) -> Result<&str, String> {
    let what = "README.md does not say what its first program prints";
    let (_, rest) = readme.split_once("It prints `").ok_or(what)?;
    rest.split_once('`').map(|(printed, _)| printed).ok_or(what.to_owned())
}

/// Makes the package, builds and runs it, and compares what it prints. Returns what it brings.
pub fn run(root: &Path, target: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| error.to_string();
    let readme = std::fs::read_to_string(root.join("README.md")).map_err(failed)?;
    let package = target.join("first-program");
    let _ = std::fs::remove_dir_all(&package);
    std::fs::create_dir_all(package.join("src")).map_err(failed)?;
    let root = std::path::absolute(root).map_err(failed)?;
    let dependencies = block(&readme, DEPENDENCIES)?;
    if !dependencies.contains(CHECKOUT) {
        return Err(format!("the README's dependencies do not name {CHECKOUT}"));
    }
    let dependencies = dependencies.replace(CHECKOUT, &format!("{root:?}"));
    let head = "[package]\nname = \"first\"\nedition = \"2024\"\n\n[workspace]\n\n";
    std::fs::write(package.join("Cargo.toml"), format!("{head}{dependencies}")).map_err(failed)?;
    std::fs::write(package.join("src/main.rs"), block(&readme, PROGRAM)?).map_err(failed)?;

    let start = Instant::now();
    let ran = cargo()
        .args(["run", "--quiet"])
        .current_dir(&package)
        .env("CARGO_TARGET_DIR", package.join("target"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(failed)?;
    let seconds = start.elapsed().as_secs();
    let found = String::from_utf8_lossy(&ran.stdout);
    let expected = printed(&readme)?;
    if !ran.status.success() || found.trim_end() != expected {
        return Err(format!("the first program prints {found:?}, the README says {expected:?}"));
    }
    Ok(format!("{expected}; {} crates, {seconds} s", crates(&package)?))
}

/// Returns the number of crates that a package brings, without itself.
fn crates(package: &Path) -> Result<usize, String> {
    let mut tree: Command = cargo();
    tree.args(["tree", "-e", "normal", "--prefix", "none", "--format", "{p}"]).current_dir(package);
    let output = tree.output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let names: std::collections::BTreeSet<_> =
        text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    Ok(names.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_output_are_those_of_the_readme() {
        let readme = include_str!("../../README.md");
        assert!(block(readme, DEPENDENCIES).unwrap().contains(CHECKOUT));
        assert!(block(readme, PROGRAM).unwrap().contains("fn main()"));
        assert!(block(readme, PROGRAM).unwrap().trim().lines().count() <= 12);
        assert!(printed(readme).unwrap().ends_with("kept"));
        assert!(block("```rust\nfn", PROGRAM).is_err() && block("", PROGRAM).is_err());
    }
}
