//! The Python package: its wheel, built in debug mode, installed into a virtual environment under
//! `target/`, and its tests run on what was installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::machine::Machine;
use crate::{cargo, quietly, repository};

/// Packages that build and test the wheel. NumPy's types decide what mypy says, so both are pinned.
const TOOLS: &[&str] =
    &["maturin==1.16.0", "ml_dtypes==0.7.0", "mypy==2.4.1", "numpy==2.4.6", "pytest==9.2.0"];
/// Packages that the wheel's other modules are for.
const FRAMEWORKS: &[&str] = &["jax", "safetensors", "torch"];

/// Returns the virtual environment's folder.
fn folder(target: &Path, frameworks: bool) -> PathBuf {
    target.join(if frameworks { "python-frameworks" } else { "python" })
}

/// Returns the path of a program in the virtual environment.
fn program(target: &Path, frameworks: bool, name: &str) -> PathBuf {
    folder(target, frameworks).join(if cfg!(windows) { "Scripts" } else { "bin" }).join(name)
}

/// Makes the virtual environment unless it is there. The error says why it cannot be made.
pub fn environment(
    machine: &dyn Machine,
    target: &Path,
    frameworks: bool,
    say: &dyn Fn(&str),
) -> Result<(), String> {
    // The last file that is written.
    let whole = folder(target, frameworks).join("whole");
    if machine.exists(&whole.to_string_lossy()) {
        return Ok(());
    }
    if machine.switched_on("WGPU_DROPOUT_NO_INSTALL") {
        return Err("WGPU_DROPOUT_NO_INSTALL is set".into());
    }
    let newer = "import sys, venv; sys.exit(sys.version_info < (3, 10))";
    if machine.output("python3", &["-c", newer]).is_none() {
        return Err("there is no python3, 3.10 or later, with its module venv".into());
    }
    let packages: Vec<&str> =
        TOOLS.iter().chain(FRAMEWORKS.iter().filter(|_| frameworks)).copied().collect();
    say(&format!(
        "installing into {}: {}",
        folder(target, frameworks).display(),
        packages.join(" ")
    ));
    quietly(
        Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder(target, frameworks)),
    )?;
    let python = program(target, frameworks, "python");
    quietly(Command::new(python).args(["-m", "pip", "install", "--quiet"]).args(packages))?;
    // Without a registry of crates, nothing can be built.
    let manifest = repository().join("crates/python/Cargo.toml");
    quietly(cargo().args(["fetch", "--locked", "--manifest-path"]).arg(manifest))?;
    std::fs::write(&whole, "").map_err(|error| format!("{}: {error}", whole.display()))
}

/// Builds the wheel, installs it and runs its tests.
pub fn test(
    machine: &dyn Machine,
    root: &Path,
    target: &Path,
    frameworks: bool,
    say: &dyn Fn(&str),
) -> Result<String, String> {
    environment(machine, target, frameworks, say)?;
    let package = root.join("crates/python");
    let wheels = folder(target, frameworks).join("wheels");
    let _ = std::fs::remove_dir_all(&wheels);
    let python = || Command::new(program(target, frameworks, "python"));
    let mut build = Command::new(program(target, frameworks, "maturin"));
    build.args(["build", "--locked", "--quiet", "--target-dir"]).arg(target.join("python-cargo"));
    build.arg("--manifest-path").arg(package.join("Cargo.toml"));
    loudly(build.arg("--out").arg(&wheels))?;
    let wheel = std::fs::read_dir(&wheels)
        .map_err(|error| error.to_string())?
        .flatten()
        .map(|entry| entry.path())
        .next()
        .ok_or("maturin built no wheel")?;
    let install = ["-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall"];
    loudly(python().args(install).arg(&wheel))?;
    if !frameworks {
        let typed = ["__init__", "_arrays", "_forms"];
        let typed = typed.map(|name| format!("python/wgpu_dropout/{name}.py"));
        loudly(python().args(["-m", "mypy", "--strict"]).args(typed).current_dir(&package))?;
    }
    // From the tests' folder, so that the installed package is found and not its source.
    let mut pytest = python();
    pytest.args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"]);
    pytest.current_dir(package.join("tests"));
    // With the command line, networks go there and back.
    let name = format!("debug/wgpu-dropout{}", std::env::consts::EXE_SUFFIX);
    let own = std::path::absolute(target.join(name)).map_err(|error| error.to_string())?;
    if own.exists() {
        pytest.env("WGPU_DROPOUT", own);
    }
    loudly(&mut pytest)?;
    Ok(format!("{}: built, installed and tested", wheel.display()))
}

/// Runs a command and shows what it prints.
fn loudly(command: &mut Command) -> Result<(), String> {
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("{command:?} cannot be started: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::Fake;

    #[test]
    fn an_environment_that_is_there_is_taken_and_none_is_made_against_the_users_will() {
        let made =
            |machine: &Fake, frameworks| environment(machine, Path::new("t"), frameworks, &|_| ());
        let there = Fake::linux().file("t/python/whole", "");
        assert_eq!(made(&there, false), Ok(()));
        assert!(made(&there, true).unwrap_err().contains("no python3"));
        let off = Fake::linux().var("WGPU_DROPOUT_NO_INSTALL", "1");
        assert!(made(&off, false).unwrap_err().contains("NO_INSTALL"));
    }
}
