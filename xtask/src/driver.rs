//! Whether an adapter can be expected: Metal on macOS, DX12 on Windows, elsewhere a Vulkan driver,
//! looked for in the places where the Vulkan loader looks.
//!
//! It reads files only. Asking Vulkan itself would need bindings, and this crate has to build from
//! the standard library.

use crate::machine::Machine;

/// What was found.
#[derive(Debug, PartialEq)]
pub enum Driver {
    /// An adapter can be expected; the line says of what.
    Ready(String),
    /// No adapter can be expected, and why.
    Missing(String),
}

/// The two variables with which a user names the drivers themselves, the stronger first.
pub const NAMED_BY_USER: [&str; 2] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

const LOADER: &str = "libvulkan.so.1";

/// Says whether an adapter can be expected on `machine`.
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
    // What the user names is taken at its word; a driver that the system brings along for hardware
    // which is not there is not.
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
        return Err(format!("{first} is there, but {LOADER} is not"));
    }
    let more =
        if usable.len() > 1 { format!(" and {} more", usable.len() - 1) } else { String::new() };
    Ok(format!(
        "vulkan: {first}{more}{}",
        if software && usable.len() == 1 { " (software)" } else { "" }
    ))
}

/// The variable, of the two in [`NAMED_BY_USER`], that the loader obeys, and its value.
pub fn named_by_user(machine: &dyn Machine) -> Option<(&'static str, String)> {
    NAMED_BY_USER.iter().find_map(|name| machine.var(name).map(|value| (*name, value)))
}

/// The manifests that the loader would read, in its order. Both variables hold files; the newer may
/// hold folders too.
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

/// Checks that a manifest names a library that is there; `true` if it is a driver that runs on the
/// CPU.
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
        return Err(format!("{manifest} names {library}, which is not there"));
    }
    Ok(["lvp", "lavapipe", "swiftshader"].iter().any(|name| library.contains(name)))
}

/// The value of `"library_path"`. A manifest is a small JSON object in which this key stands once,
/// so no parser is needed.
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

/// Whether the dynamic linker would find a library: LD_LIBRARY_PATH, its cache, then the usual
/// folders (musl has no cache).
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
    // On Debian the PATH of an ordinary user lacks /sbin.
    let cache = machine
        .output("ldconfig", &["-p"])
        .or_else(|| machine.output("/sbin/ldconfig", &["-p"]))
        .unwrap_or_default();
    cache.lines().any(|line| line.split_whitespace().next() == Some(name))
        || multiarch.iter().chain(&plain).any(|folder| machine.exists(&format!("{folder}/{name}")))
}

/// Whether the Vulkan loader would find the validation layer: its manifest, where the loader looks.
pub fn has_validation_layer(machine: &dyn Machine) -> bool {
    let manifest = |folder: String| {
        machine.exists(&format!("{folder}/vulkan/explicit_layer.d/VkLayer_khronos_validation.json"))
    };
    search_folders(machine).into_iter().any(manifest)
}

/// Whether OpenGL ES can be had without a display: the dispatch library and a vendor's below it.
pub fn has_egl(machine: &dyn Machine) -> bool {
    find_library(machine, "libEGL.so.1")
        && ["libEGL_mesa.so.0", "libEGL_nvidia.so.0"]
            .iter()
            .any(|vendor| find_library(machine, vendor))
}

/// Whether the kernel shows a GPU: DRM render nodes, NVIDIA's own, Qualcomm's, Arm's, and Windows'
/// one under WSL.
fn has_device_node(machine: &dyn Machine) -> bool {
    machine.list("/dev/dri").iter().any(|name| name.starts_with("renderD"))
        || ["/dev/nvidiactl", "/dev/nvhost-ctrl-gpu", "/dev/kgsl-3d0", "/dev/mali0", "/dev/dxg"]
            .iter()
            .any(|n| machine.exists(n))
}

#[cfg(test)]
mod tests;
