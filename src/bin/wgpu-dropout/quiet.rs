//! Keeps stderr for this program's own words.

/// Turns off the layer of Mesa's Vulkan that looks for the display's GPU: where there is no
/// display, as on a server, it complains about that on stderr each time. Which GPU is best,
/// [`wgpu_dropout::gpu::adapters`] decides by itself.
///
/// The switch is read from the environment, which a running program cannot change safely, so the
/// program starts itself once more in its own place. To be called first thing in `main`; where that
/// fails, it just goes on.
#[cfg(target_os = "linux")]
pub fn no_display_search() {
    use std::os::unix::process::CommandExt;

    const SWITCH: &str = "NODEVICE_SELECT";
    if std::env::var_os("XDG_RUNTIME_DIR").is_some() || std::env::var_os(SWITCH).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    if let (Some(name), Ok(program)) = (arguments.next(), std::env::current_exe()) {
        // Comes back only where it failed.
        let _ =
            std::process::Command::new(program).arg0(name).args(arguments).env(SWITCH, "1").exec();
    }
}

/// Nothing to turn off.
#[cfg(not(target_os = "linux"))]
pub fn no_display_search() {}
