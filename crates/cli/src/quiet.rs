//! Keeps stderr free of messages that are not from this program.

/// Turns off Mesa's Vulkan layer that selects the display's GPU. On a machine without a display,
/// such as a server, the layer prints a warning on stderr each time. The layer is not needed, since
/// [`wgpu_dropout::gpu::adapters`] ranks the GPUs itself.
///
/// The switch is an environment variable, which a running program cannot set safely, so the program
/// replaces itself with a new instance of itself. `main` must call this function first. If the
/// restart fails, the program continues without it.
#[cfg(target_os = "linux")]
pub fn no_display_search() {
    use std::os::unix::process::CommandExt;
    use std::path::Path;

    const SWITCH: &str = "NODEVICE_SELECT";
    // The layer accepts an absolute path only.
    let display =
        std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| Path::new(&dir).is_absolute());
    if display || std::env::var_os(SWITCH).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    if let (Some(name), Ok(program)) = (arguments.next(), std::env::current_exe()) {
        // `exec` returns only if it fails.
        let _ =
            std::process::Command::new(program).arg0(name).args(arguments).env(SWITCH, "1").exec();
    }
}

/// Does nothing on other systems.
#[cfg(not(target_os = "linux"))]
pub fn no_display_search() {}
