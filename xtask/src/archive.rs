//! `cargo xtask archive`: the command line in an archive, as a release attaches it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Files that go with the binary.
const BESIDE: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"];

/// Builds the command line and packs it; returns the archive.
pub fn make(root: &Path, target: &Path) -> Result<PathBuf, String> {
    run(crate::cargo().current_dir(root).args([
        "build",
        "--release",
        "--locked",
        "--package",
        "wgpu-dropout-cli",
    ]))?;
    let version = version(root)?;
    let name =
        format!("wgpu-dropout-{version}-{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let binary = format!("wgpu-dropout{}", std::env::consts::EXE_SUFFIX);
    let folder = target.join("archive");
    let packed = folder.join(&name);
    std::fs::create_dir_all(&packed).map_err(|error| format!("{}: {error}", packed.display()))?;
    let files = BESIDE.map(|file| root.join(file)).into_iter();
    for file in files.chain([target.join("release").join(&binary)]) {
        let to = packed.join(file.file_name().unwrap_or_default());
        std::fs::copy(&file, &to).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let archive = folder.join(format!("{name}.tar.gz"));
    // Linux, macOS and Windows have it.
    run(Command::new("tar").current_dir(&folder).arg("-czf").arg(&archive).arg(&name))?;
    std::fs::remove_dir_all(&packed).map_err(|error| format!("{}: {error}", packed.display()))?;
    Ok(archive)
}

/// Returns the version of the command line's package.
fn version(root: &Path) -> Result<String, String> {
    let manifest = root.join("crates/cli/Cargo.toml");
    let text = std::fs::read_to_string(&manifest)
        .map_err(|error| format!("{}: {error}", manifest.display()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .map(str::to_owned)
        .ok_or_else(|| format!("{} names no version", manifest.display()))
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            Err(format!("{} ended with {status}", command.get_program().to_string_lossy()))
        }
        Err(error) => {
            Err(format!("cannot start {}: {error}", command.get_program().to_string_lossy()))
        }
    }
}
