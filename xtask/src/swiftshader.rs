//! SwiftShader, Chromium's Vulkan driver for the CPU, which offers little more than Vulkan's
//! minimum. It is taken from an installed Chromium, or extracted from Debian's package and kept
//! under `target/`. Nothing is installed.

use std::path::Path;
use std::process::Command;

use crate::machine::Machine;
use crate::quietly;

const MANIFEST: &str = "vk_swiftshader_icd.json";
const LIBRARY: &str = "libvk_swiftshader.so";

/// Returns the path of the manifest for the Vulkan loader, or the reason why there is none.
pub fn manifest(
    machine: &dyn Machine,
    target: &Path,
    say: &dyn Fn(&str),
) -> Result<String, String> {
    let own = target.join("swiftshader");
    if let Some(found) = find(machine, &own.to_string_lossy()) {
        return Ok(found);
    }
    if machine.os() != "linux" || !machine.has_program("apt-get") || !machine.has_program("dpkg") {
        return Err(
            "it is taken from Debian's package chromium-common, or from an installed Chromium"
                .into(),
        );
    }
    if machine.switched_on("WGPU_DROPOUT_NO_INSTALL") {
        return Err("WGPU_DROPOUT_NO_INSTALL is set".into());
    }
    say("fetching SwiftShader: apt-get download chromium-common");
    fetch(&own)?;
    find(machine, &own.to_string_lossy()).ok_or_else(|| "chromium-common does not hold it".into())
}

/// Returns the manifest from a folder that contains both the driver and its manifest.
fn find(machine: &dyn Machine, own: &str) -> Option<String> {
    let folders = [own, "/usr/lib/chromium", "/usr/lib64/chromium-browser", "/opt/google/chrome"];
    let whole = |folder: &&str| {
        [MANIFEST, LIBRARY].iter().all(|name| machine.exists(&format!("{folder}/{name}")))
    };
    folders.into_iter().find(whole).map(|folder| format!("{folder}/{MANIFEST}"))
}

/// Downloads and unpacks the package, and keeps two of its files.
fn fetch(own: &Path) -> Result<(), String> {
    let packed = own.join("package");
    let failed = |error: std::io::Error| format!("{}: {error}", packed.display());
    std::fs::create_dir_all(&packed).map_err(failed)?;
    quietly(Command::new("apt-get").args(["download", "chromium-common"]).current_dir(&packed))?;
    let file = std::fs::read_dir(&packed).map_err(failed)?.flatten().map(|entry| entry.path());
    let file = file
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .ok_or("the download contains no package")?;
    quietly(Command::new("dpkg").arg("-x").arg(&file).arg(&packed))?;
    for name in [LIBRARY, MANIFEST] {
        std::fs::rename(packed.join("usr/lib/chromium").join(name), own.join(name))
            .map_err(failed)?;
    }
    std::fs::remove_dir_all(&packed).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::Fake;

    #[test]
    fn what_is_there_is_taken_and_nothing_fetched_against_the_users_will() {
        let quiet = |_: &str| ();
        let chromium = Fake::linux().file("/usr/lib/chromium/libvk_swiftshader.so", "");
        let refused = manifest(&chromium, Path::new("t"), &quiet).unwrap_err();
        assert!(refused.contains("chromium-common"), "{refused}");
        let chromium = chromium.file("/usr/lib/chromium/vk_swiftshader_icd.json", "");
        assert_eq!(
            manifest(&chromium, Path::new("t"), &quiet).unwrap(),
            "/usr/lib/chromium/vk_swiftshader_icd.json"
        );
        let own = chromium
            .file("t/swiftshader/libvk_swiftshader.so", "")
            .file("t/swiftshader/vk_swiftshader_icd.json", "");
        assert_eq!(
            manifest(&own, Path::new("t"), &quiet).unwrap(),
            "t/swiftshader/vk_swiftshader_icd.json"
        );
        let apt = Fake::linux().var("PATH", "/bin").file("/bin/apt-get", "").file("/bin/dpkg", "");
        let off = apt.var("WGPU_DROPOUT_NO_INSTALL", "1");
        assert_eq!(
            manifest(&off, Path::new("t"), &quiet).unwrap_err(),
            "WGPU_DROPOUT_NO_INSTALL is set"
        );
    }
}
