//! Detection of drivers on simulated machines.

use super::*;
use crate::machine::fake::Fake;

const SHARE: &str = "/usr/share/vulkan/icd.d";

fn manifest(library: &str) -> String {
    format!(
        "{{\n  \"ICD\": {{ \"api_version\": \"1.3.230\", \"library_path\" : \"{library}\" }},\n  \"file_format_version\": \"1.0.0\" }}"
    )
}

fn with_loader() -> Fake {
    Fake::linux().command(
        "ldconfig -p",
        "1 libs found\n\tlibvulkan.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libvulkan.so.1\n",
    )
}

fn lavapipe(machine: Fake) -> Fake {
    machine
        .file(&format!("{SHARE}/lvp_icd.x86_64.json"), &manifest("/usr/lib/libvulkan_lvp.so"))
        .file("/usr/lib/libvulkan_lvp.so", "")
}

fn ready(machine: &Fake) -> String {
    match detect(machine) {
        Driver::Ready(line) => line,
        Driver::Missing(reason) => panic!("missing: {reason}"),
    }
}

fn missing(machine: &Fake) -> String {
    match detect(machine) {
        Driver::Ready(line) => panic!("ready: {line}"),
        Driver::Missing(reason) => reason,
    }
}

#[test]
fn macos_and_windows_bring_their_own() {
    assert_eq!(ready(&Fake { os: "macos", ..Fake::default() }), "metal: part of macOS");
    assert_eq!(ready(&Fake { os: "windows", ..Fake::default() }), "dx12: part of Windows");
}

#[test]
fn a_bare_linux_has_none() {
    assert_eq!(
        missing(&Fake::linux()),
        "no driver manifest in the vulkan/icd.d folders, and no libvulkan.so.1"
    );
    assert_eq!(missing(&with_loader()), "no driver manifest in the vulkan/icd.d folders");
}

#[test]
fn the_software_driver_needs_no_gpu() {
    assert_eq!(
        ready(&lavapipe(with_loader())),
        format!("vulkan: {SHARE}/lvp_icd.x86_64.json (software)")
    );
}

#[test]
fn a_driver_without_the_loader_is_not_enough() {
    assert_eq!(
        missing(&lavapipe(Fake::linux())),
        format!("{SHARE}/lvp_icd.x86_64.json exists, but libvulkan.so.1 is missing")
    );
}

#[test]
fn the_loader_is_found_without_ldconfig() {
    for path in [
        "/usr/lib/libvulkan.so.1",
        "/usr/lib/x86_64-linux-gnu/libvulkan.so.1",
        "/usr/lib64/libvulkan.so.1",
    ] {
        ready(&lavapipe(Fake::linux().file(path, "")));
    }
    ready(&lavapipe(
        Fake::linux().command("/sbin/ldconfig -p", "\tlibvulkan.so.1 (libc6) => /x\n"),
    ));
    ready(&lavapipe(
        Fake::linux()
            .var("LD_LIBRARY_PATH", "/a:/opt/vulkan")
            .file("/opt/vulkan/libvulkan.so.1", ""),
    ));
    // A library whose soname merely starts with the same characters is a different library.
    missing(&lavapipe(Fake::linux().command("ldconfig -p", "\tlibvulkan.so.12 (libc6) => /x\n")));
}

#[test]
fn hardware_drivers_need_a_device_node() {
    let path = format!("{SHARE}/radeon_icd.x86_64.json");
    let radeon = |m: Fake| {
        m.file(&path, &manifest("/usr/lib/libvulkan_radeon.so"))
            .file("/usr/lib/libvulkan_radeon.so", "")
    };
    assert_eq!(missing(&radeon(with_loader())), format!("no GPU under /dev for {path}"));
    assert_eq!(
        ready(&radeon(with_loader()).file("/dev/dri/renderD128", "")),
        format!("vulkan: {path}")
    );
    // Both are installed without a GPU: only the software driver counts.
    assert_eq!(
        ready(&lavapipe(radeon(with_loader()))),
        format!("vulkan: {SHARE}/lvp_icd.x86_64.json (software)")
    );
    // Both are usable: the first in the loader's order is named.
    let both = lavapipe(radeon(with_loader())).file("/dev/dri/renderD128", "");
    assert_eq!(ready(&both), format!("vulkan: {SHARE}/lvp_icd.x86_64.json and 1 more"));
}

#[test]
fn the_library_of_a_manifest_must_exist() {
    let path = format!("{SHARE}/x_lvp.json");
    let with = |library: &str| with_loader().file(&path, &manifest(library));
    assert_eq!(
        missing(&with("/gone/libvulkan_lvp.so")),
        format!("{path} names /gone/libvulkan_lvp.so, which does not exist")
    );
    // A path with a slash is relative to the manifest; without one, the linker searches for it.
    ready(&with("../lib/liblvp.so").file(&format!("{SHARE}/../lib/liblvp.so"), ""));
    ready(&with("liblvp.so").file("/usr/lib/liblvp.so", ""));
    missing(&with("liblvp.so"));
    for broken in [
        "",
        "{}",
        "{\"ICD\": {\"library_path\": 3}}",
        "{\"library_path\": \"/unterminated",
        "{\"library_path\": \"\"}",
    ] {
        assert_eq!(
            missing(&with_loader().file(&path, broken)),
            format!("{path} names no library_path"),
            "{broken}"
        );
    }
}

#[test]
fn one_broken_manifest_does_not_hide_a_good_one() {
    let machine = lavapipe(with_loader()).file(&format!("{SHARE}/a.json"), "broken");
    assert_eq!(ready(&machine), format!("vulkan: {SHARE}/lvp_icd.x86_64.json (software)"));
}

#[test]
fn escapes_in_a_path_are_undone() {
    assert_eq!(
        library_path(r#"{"library_path":"\/opt\/a\"b.so"}"#).as_deref(),
        Some("/opt/a\"b.so")
    );
}

#[test]
fn named_files_replace_the_search() {
    let own = |m: Fake| {
        lavapipe(m).file("/opt/own.json", &manifest("/opt/libown.so")).file("/opt/libown.so", "")
    };
    for variable in NAMED_BY_USER {
        assert_eq!(
            ready(&own(with_loader()).var(variable, "/opt/own.json")),
            "vulkan: /opt/own.json"
        );
        let gone = own(with_loader()).var(variable, "/opt/gone.json");
        assert_eq!(missing(&gone), format!("no driver manifest at {variable}=/opt/gone.json"));
    }
    let both = own(with_loader())
        .var("VK_ICD_FILENAMES", "/opt/gone.json")
        .var("VK_DRIVER_FILES", "/opt/own.json");
    assert_eq!(ready(&both), "vulkan: /opt/own.json");
    // Folders and lists are allowed, and an empty value counts as unset.
    assert_eq!(
        ready(&own(with_loader()).var("VK_DRIVER_FILES", "/gone:/opt")),
        "vulkan: /opt/own.json"
    );
    assert!(ready(&own(with_loader()).var("VK_DRIVER_FILES", "")).contains("lvp_icd"));
    assert!(
        ready(&own(with_loader()).var("VK_ADD_DRIVER_FILES", "/opt/own.json")).contains("lvp_icd")
    );
}

#[test]
fn every_folder_of_the_loader_is_searched() {
    let machine = |m: Fake, folder: &str| {
        let path = format!("{folder}/vulkan/icd.d/lvp.json");
        ready(&m.file(&path, &manifest("/l/liblvp.so")).file("/l/liblvp.so", ""))
    };
    for folder in [
        "/home/u/.config",
        "/etc/xdg",
        "/etc",
        "/usr/local/etc",
        "/home/u/.local/share",
        "/usr/local/share",
        "/usr/share",
    ] {
        assert!(machine(with_loader().var("HOME", "/home/u"), folder).contains(folder));
    }
    for variable in ["XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME", "XDG_DATA_DIRS"] {
        assert!(
            machine(with_loader().var(variable, "/own"), "/own").contains("/own"),
            "{variable}"
        );
    }
}

#[test]
fn egl_needs_a_vendor_below_it() {
    let bare = Fake::linux().file("/usr/lib/libEGL.so.1", "");
    assert!(!has_egl(&bare));
    assert!(has_egl(&bare.file("/usr/lib/libEGL_mesa.so.0", "")));
    assert!(!has_validation_layer(&Fake::linux()));
}
