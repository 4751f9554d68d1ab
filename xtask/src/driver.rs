//! Detection of a GPU driver: Metal on macOS, DX12 on Windows, elsewhere a Vulkan driver in the
//! folders that the Vulkan loader searches.
//!
//! The detection only reads files. Calling Vulkan itself would need bindings, and this crate must
//! build with the standard library alone.

use crate::machine::Machine;

/// Result of the detection.
#[derive(Debug, PartialEq)]
pub enum Driver {
    /// An adapter can be expected; the text names its interface and driver.
    Ready(String),
    /// No adapter can be expected; the text gives the reason.
    Missing(String),
}

/// The two variables with which a user names drivers explicitly; the first has precedence.
pub const NAMED_BY_USER: [&str; 2] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

const LOADER: &str = "libvulkan.so.1";

/// Detects whether an adapter can be expected on `machine`.
pub fn detect(machine: &dyn Machine) -> Driver {
    match machine.os() {
        "macos" | "ios" => Driver::Ready("metal: part of macOS".into()),
        "windows" => Driver::Ready("dx12: part of Windows".into()),
        _ => vulkan(machine).map_or_else(Driver::Missing, Driver::Ready),
    }
}

fn vulkan(machine: &dyn Machine) -> Result<String, String> {
    let named = named_by_user(machine);
    let manifests = manifests(machine, named.as_ref());
    let loader = find_library(machine, LOADER);
    if manifests.is_empty() {
        let source = named.map_or("in the vulkan/icd.d folders".into(), |(variable, value)| {
            format!("at {variable}={value}")
        });
        let loader = if loader { "" } else { ", and no libvulkan.so.1" };
        return Err(format!("no driver manifest {source}{loader}"));
    }

    let mut usable = Vec::new();
    let mut problem = None;
    // Drivers named by the user are trusted. A driver from the system is not: distributions install
    // drivers for hardware that the machine lacks.
    let hardware = named.is_some() || has_device_node(machine);
    for manifest in &manifests {
        match check(machine, manifest) {
            Ok(software) if software || hardware => usable.push((manifest, software)),
            Ok(_) => problem = problem.or(Some(format!("no GPU under /dev for {manifest}"))),
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    let Some(&(first, software)) = usable.first() else {
        return Err(problem.unwrap_or_default());
    };
    if !loader {
        return Err(format!("{first} exists, but {LOADER} is missing"));
    }
    let more =
        if usable.len() > 1 { format!(" and {} more", usable.len() - 1) } else { String::new() };
    Ok(format!(
        "vulkan: {first}{more}{}",
        if software && usable.len() == 1 { " (software)" } else { "" }
    ))
}

/// Returns the variable of [`NAMED_BY_USER`] that the loader obeys, and its value.
pub fn named_by_user(machine: &dyn Machine) -> Option<(&'static str, String)> {
    NAMED_BY_USER.iter().find_map(|name| machine.var(name).map(|value| (*name, value)))
}

/// Returns the manifests that the loader would read, in its order. Both variables list files; the
/// newer one may also list folders.
fn manifests(machine: &dyn Machine, named: Option<&(&str, String)>) -> Vec<String> {
    let entries = |list: &str| {
        list.split(':').filter(|entry| !entry.is_empty()).map(String::from).collect::<Vec<_>>()
    };
    let mut sources =
        machine.var("VK_ADD_DRIVER_FILES").map(|list| entries(&list)).unwrap_or_default();
    match named {
        Some((_, list)) => sources.extend(entries(list)),
        None => sources.extend(
            search_folders(machine).into_iter().map(|folder| format!("{folder}/vulkan/icd.d")),
        ),
    }
    let mut found = Vec::new();
    for source in sources {
        let inside: Vec<String> =
            machine.list(&source).into_iter().map(|name| format!("{source}/{name}")).collect();
        let files = if inside.is_empty() { vec![source] } else { inside };
        for file in files {
            if file.ends_with(".json") && machine.exists(&file) && !found.contains(&file) {
                found.push(file);
            }
        }
    }
    found
}

fn search_folders(machine: &dyn Machine) -> Vec<String> {
    let home = |folder: &str| machine.var("HOME").map(|home| format!("{home}/{folder}"));
    let mut folders: Vec<String> =
        machine.var("XDG_CONFIG_HOME").or_else(|| home(".config")).into_iter().collect();
    let split = |list: String| {
        list.split(':').filter(|f| !f.is_empty()).map(String::from).collect::<Vec<_>>()
    };
    folders.extend(split(machine.var("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".into())));
    folders.extend(["/usr/local/etc".into(), "/etc".into()]);
    folders.extend(machine.var("XDG_DATA_HOME"));
    folders.extend(home(".local/share"));
    folders.extend(split(
        machine.var("XDG_DATA_DIRS").unwrap_or_else(|| "/usr/local/share:/usr/share".into()),
    ));
    folders
}

/// Checks that a manifest names an existing library. Returns true if that driver runs on the CPU.
fn check(machine: &dyn Machine, manifest: &str) -> Result<bool, String> {
    let text = machine.read(manifest).ok_or_else(|| format!("{manifest} cannot be read"))?;
    let library = library_path(&text).ok_or_else(|| format!("{manifest} names no library_path"))?;
    let there = match manifest.rsplit_once('/') {
        _ if library.starts_with('/') => machine.exists(&library),
        Some((folder, _)) if library.contains('/') => {
            machine.exists(&format!("{folder}/{library}"))
        }
        _ => find_library(machine, &library),
    };
    if !there {
        return Err(format!("{manifest} names {library}, which does not exist"));
    }
    Ok(["lvp", "lavapipe", "swiftshader"].iter().any(|name| library.contains(name)))
}

/// Returns the value of `"library_path"`. A manifest is a small JSON object that contains this key
/// once, so no parser is needed.
fn library_path(manifest: &str) -> Option<String> {
    let rest = manifest
        .split_once("\"library_path\"")?
        .1
        .trim_start()
        .strip_prefix(':')?
        .trim_start()
        .strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return Some(value).filter(|value| !value.is_empty()),
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
}

/// Returns true if the dynamic linker would find a library: in LD_LIBRARY_PATH, in its cache, or in
/// the usual folders (musl has no cache).
fn find_library(machine: &dyn Machine, name: &str) -> bool {
    let own = machine.var("LD_LIBRARY_PATH").unwrap_or_default();
    let triplet = format!("{}-linux-gnu", machine.arch());
    let multiarch =
        ["/lib", "/usr/lib", "/usr/local/lib"].map(|folder| format!("{folder}/{triplet}"));
    let plain = ["/lib64", "/usr/lib64", "/usr/local/lib64", "/lib", "/usr/lib", "/usr/local/lib"]
        .map(String::from);
    if own
        .split(':')
        .filter(|f| !f.is_empty())
        .any(|folder| machine.exists(&format!("{folder}/{name}")))
    {
        return true;
    }
    // On Debian, the PATH of an ordinary user does not contain /sbin.
    let cache = machine
        .output("ldconfig", &["-p"])
        .or_else(|| machine.output("/sbin/ldconfig", &["-p"]))
        .unwrap_or_default();
    cache.lines().any(|line| line.split_whitespace().next() == Some(name))
        || multiarch.iter().chain(&plain).any(|folder| machine.exists(&format!("{folder}/{name}")))
}

/// Returns true if the Vulkan loader would find the validation layer: its manifest is in one of the
/// folders that the loader searches.
pub fn has_validation_layer(machine: &dyn Machine) -> bool {
    let manifest = |folder: String| {
        machine.exists(&format!("{folder}/vulkan/explicit_layer.d/VkLayer_khronos_validation.json"))
    };
    search_folders(machine).into_iter().any(manifest)
}

/// Returns true if OpenGL ES is available without a display: the dispatch library and a vendor's
/// library are installed.
pub fn has_egl(machine: &dyn Machine) -> bool {
    find_library(machine, "libEGL.so.1")
        && ["libEGL_mesa.so.0", "libEGL_nvidia.so.0"]
            .iter()
            .any(|vendor| find_library(machine, vendor))
}

/// Returns true if the kernel exposes a GPU: a DRM render node, or the device node of NVIDIA,
/// Qualcomm, Arm, or Windows under WSL.
fn has_device_node(machine: &dyn Machine) -> bool {
    machine.list("/dev/dri").iter().any(|name| name.starts_with("renderD"))
        || ["/dev/nvidiactl", "/dev/nvhost-ctrl-gpu", "/dev/kgsl-3d0", "/dev/mali0", "/dev/dxg"]
            .iter()
            .any(|n| machine.exists(n))
}

#[cfg(test)]
mod tests;
