//! Installation of the software Vulkan driver, and of further tools for the tests, with the
//! distribution's package manager. [`plan`] chooses the manager, the command and the privileges;
//! [`Job::run`] executes them.

use std::process::{Command, Stdio};

use crate::driver;
use crate::machine::Machine;

/// A package manager and its arguments.
#[derive(Debug, PartialEq)]
pub struct Manager {
    program: &'static str,
    /// Values of `ID` and `ID_LIKE` in os-release.
    ids: &'static [&'static str],
    install: &'static [&'static str],
    /// Packages of the software driver and of its loader.
    driver: &'static [&'static str],
    /// Packages of [`Wanted::Tools`].
    tools: &'static [&'static str],
    /// Folder of the package lists, a part of a list's file name, and the arguments that fetch the
    /// lists.
    lists: Option<(&'static str, &'static str, &'static [&'static str])>,
    /// True if an install may fail because the existing lists are stale, and fetching them may
    /// repair it. False on Arch, where fresh lists without a full upgrade cause a partial upgrade.
    retry: bool,
}

const MANAGERS: [Manager; 5] = [
    Manager {
        program: "apt-get",
        ids: &["debian", "ubuntu"],
        install: &["install", "-y", "--no-install-recommends"],
        driver: &["mesa-vulkan-drivers", "libvulkan1"],
        tools: &[
            "spirv-tools",
            "glslang-tools",
            "vulkan-validationlayers",
            "libegl1",
            "libgl1-mesa-dri",
        ],
        lists: Some(("/var/lib/apt/lists", "_Packages", &["update"])),
        retry: true,
    },
    Manager {
        program: "dnf",
        ids: &["fedora", "rhel", "centos"],
        install: &["install", "-y"],
        driver: &["mesa-vulkan-drivers", "vulkan-loader"],
        tools: &[
            "spirv-tools",
            "glslang",
            "vulkan-validation-layers",
            "mesa-libEGL",
            "mesa-dri-drivers",
        ],
        lists: None,
        retry: false,
    },
    Manager {
        program: "pacman",
        ids: &["arch"],
        install: &["-S", "--noconfirm", "--needed"],
        driver: &["vulkan-swrast", "vulkan-icd-loader"],
        tools: &["spirv-tools", "glslang", "vulkan-validation-layers", "mesa"],
        lists: Some(("/var/lib/pacman/sync", ".db", &["-Sy", "--noconfirm"])),
        retry: false,
    },
    Manager {
        program: "zypper",
        ids: &["opensuse", "suse"],
        install: &["--non-interactive", "install", "--no-recommends"],
        driver: &["libvulkan_lvp", "libvulkan1"],
        tools: &["spirv-tools", "glslang-devel", "vulkan-validationlayers", "libEGL1", "Mesa-dri"],
        lists: None,
        retry: false,
    },
    Manager {
        program: "apk",
        ids: &["alpine"],
        install: &["add", "--no-cache"],
        driver: &["mesa-vulkan-swrast", "vulkan-loader"],
        tools: &[
            "spirv-tools",
            "glslang",
            "vulkan-validation-layers",
            "mesa-egl",
            "mesa-dri-gallium",
        ],
        lists: None,
        retry: false,
    },
];

/// Software to install.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wanted {
    /// The software driver, which runs on the CPU.
    Driver,
    /// The shader checkers of `test`, the validation layer, and OpenGL ES without a display.
    Tools,
}

impl Wanted {
    /// Returns the name for messages.
    fn name(self) -> &'static str {
        match self {
            Self::Driver => "the software Vulkan driver",
            Self::Tools => "further shader checkers",
        }
    }

    /// Returns the advice if no package manager is known.
    fn advice(self) -> &'static str {
        match self {
            Self::Driver => {
                "install a Vulkan driver and its loader (Mesa has one that runs on the CPU) to use the GPU path"
            }
            Self::Tools => {
                "install spirv-val, glslangValidator, the Vulkan validation layers and Mesa's EGL to check more"
            }
        }
    }

    /// Returns the purpose, for messages.
    fn purpose(self) -> &'static str {
        match self {
            Self::Driver => "to use the GPU path",
            Self::Tools => "to check more",
        }
    }
}

/// Returns the parts of [`Wanted::Tools`] that a machine lacks.
pub fn missing_tools(machine: &dyn Machine) -> Vec<&'static str> {
    let mut missing: Vec<_> = ["spirv-val", "glslangValidator"]
        .into_iter()
        .filter(|name| !machine.has_program(name))
        .collect();
    if !driver::has_validation_layer(machine) {
        missing.push("the Vulkan validation layer");
    }
    if !driver::has_egl(machine) {
        missing.push("EGL");
    }
    missing
}

/// Decision on how to provide missing software.
#[derive(Debug, PartialEq)]
pub enum Plan {
    /// Run these commands.
    Run(Job),
    /// Run nothing; the text gives the reason and what the user can do.
    Tell(String),
}

/// An installation that needs no password.
#[derive(Debug, PartialEq)]
pub struct Job {
    wanted: Wanted,
    refresh: Option<Vec<&'static str>>,
    refresh_first: bool,
    install: Vec<&'static str>,
}

/// Decides how to provide missing software on a machine. Runs only commands without side effects
/// (`id -u`, `sudo -n true`).
pub fn plan(machine: &dyn Machine, wanted: Wanted) -> Plan {
    if let Some((variable, _)) = driver::named_by_user(machine).filter(|_| wanted == Wanted::Driver)
    {
        return Plan::Tell(format!("{variable} names the driver to use, so none is installed"));
    }
    let manager = if machine.os() == "linux" { choose(machine) } else { None };
    let Some(manager) = manager else {
        return Plan::Tell(wanted.advice().into());
    };
    let refresh_first = manager
        .lists
        .is_some_and(|(folder, part, _)| !machine.list(folder).iter().any(|n| n.contains(part)));
    let command = |prefix: &[&'static str], args: &[&'static str]| {
        [prefix, &[manager.program], args].concat()
    };
    let packages = if wanted == Wanted::Driver { manager.driver } else { manager.tools };
    let job = |prefix: &[&'static str]| Job {
        wanted,
        refresh: manager
            .lists
            .filter(|_| refresh_first || manager.retry)
            .map(|(_, _, args)| command(prefix, args)),
        refresh_first,
        install: command(prefix, &[manager.install, packages].concat()),
    };

    let root = machine.output("id", &["-u"]).is_some_and(|id| id.trim() == "0");
    if machine.switched_on("WGPU_DROPOUT_NO_INSTALL") {
        let by_hand = job(if root { &[] } else { &["sudo"] }).by_hand();
        Plan::Tell(format!("WGPU_DROPOUT_NO_INSTALL is set; by hand: {by_hand}"))
    } else if root {
        Plan::Run(job(&[]))
    } else if machine.output("sudo", &["-n", "true"]).is_some() {
        // sudo drops the environment, so `env` passes the variable that keeps Debian's
        // configuration from asking questions.
        Plan::Run(job(if manager.program == "apt-get" {
            &["sudo", "-n", "env", QUIET_APT]
        } else {
            &["sudo", "-n"]
        }))
    } else {
        Plan::Tell(format!("{}, run: {}", wanted.purpose(), job(&["sudo"]).by_hand()))
    }
}

const QUIET_APT: &str = "DEBIAN_FRONTEND=noninteractive";

/// Chooses the distribution's own package manager, since others can be installed beside it. For an
/// unknown distribution, chooses any manager that is installed.
fn choose(machine: &dyn Machine) -> Option<&'static Manager> {
    let there = |manager: &&Manager| machine.has_program(manager.program);
    let release = machine
        .read("/etc/os-release")
        .or_else(|| machine.read("/usr/lib/os-release"))
        .unwrap_or_default();
    let field = |name: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
    };
    let ids = [field("ID"), field("ID_LIKE")].join(" ").replace(['"', '\''], "");
    let own = ids
        .split_whitespace()
        .find_map(|id| MANAGERS.iter().filter(there).find(|manager| manager.ids.contains(&id)));
    own.or_else(|| MANAGERS.iter().find(there))
}

impl Job {
    /// Returns the commands as a user would type them.
    fn by_hand(&self) -> String {
        let first = self
            .refresh
            .iter()
            .filter(|_| self.refresh_first)
            .map(|refresh| format!("{} && ", refresh.join(" ")));
        first.chain([self.install.join(" ")]).collect()
    }

    /// Installs, and announces each command before it runs. The error is one or two lines long.
    pub fn run(&self, say: impl Fn(&str)) -> Result<(), String> {
        self.run_with(say, execute)
    }

    fn run_with(
        &self,
        say: impl Fn(&str),
        mut execute: impl FnMut(&[&str]) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut step = |what: &str, command: &[&str]| {
            say(&format!("{what}: {}", command.join(" ")));
            execute(command)
        };
        if let Some(refresh) = self.refresh.as_ref().filter(|_| self.refresh_first) {
            step("fetching the package lists", refresh)?;
        }
        let what = format!("installing {}", self.wanted.name());
        let first = step(&what, &self.install);
        match &self.refresh {
            Some(refresh) if first.is_err() && !self.refresh_first => {
                step("that failed; fetching the package lists", refresh)?;
                step(&what, &self.install)
            }
            _ => first,
        }
    }
}

/// Runs a command without a terminal, so that it cannot ask questions. Its output is long, so only
/// the last line is returned, and only if the command fails.
fn execute(command: &[&str]) -> Result<(), String> {
    let (program, args) = command.split_first().ok_or("nothing to run")?;
    let mut process = Command::new(program);
    process.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    let output = process.output().map_err(|error| format!("cannot start {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .join("\n");
    let last = text
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("it wrote nothing");
    Err(format!("{program} failed ({}): {last}", output.status))
}

#[cfg(test)]
mod tests;
