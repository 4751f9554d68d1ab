//! Installing the software Vulkan driver with the distribution's own package manager: which one, with which command, with
//! whose rights. [`plan`] decides, [`Job::run`] does.

use std::process::{Command, Stdio};

use crate::driver;
use crate::machine::Machine;

/// A package manager and what it is told.
#[derive(Debug, PartialEq)]
pub struct Manager {
    program: &'static str,
    /// `ID` and `ID_LIKE` in os-release.
    ids: &'static [&'static str],
    install: &'static [&'static str],
    /// The folder that holds the package lists, what a list's name contains, and the arguments that fetch them.
    lists: Option<(&'static str, &'static str, &'static [&'static str])>,
    /// Whether lists that are there can be stale in such a way that fetching them may mend a failed install. Not on Arch,
    /// where fresh lists without a full upgrade are a partial upgrade.
    retry: bool,
}

const MANAGERS: [Manager; 5] = [
    Manager {
        program: "apt-get",
        ids: &["debian", "ubuntu"],
        install: &["install", "-y", "--no-install-recommends", "mesa-vulkan-drivers", "libvulkan1"],
        lists: Some(("/var/lib/apt/lists", "_Packages", &["update"])),
        retry: true,
    },
    Manager {
        program: "dnf",
        ids: &["fedora", "rhel", "centos"],
        install: &["install", "-y", "mesa-vulkan-drivers", "vulkan-loader"],
        lists: None,
        retry: false,
    },
    Manager {
        program: "pacman",
        ids: &["arch"],
        install: &["-S", "--noconfirm", "--needed", "vulkan-swrast", "vulkan-icd-loader"],
        lists: Some(("/var/lib/pacman/sync", ".db", &["-Sy", "--noconfirm"])),
        retry: false,
    },
    Manager {
        program: "zypper",
        ids: &["opensuse", "suse"],
        install: &["--non-interactive", "install", "--no-recommends", "libvulkan_lvp", "libvulkan1"],
        lists: None,
        retry: false,
    },
    Manager {
        program: "apk",
        ids: &["alpine"],
        install: &["add", "--no-cache", "mesa-vulkan-swrast", "vulkan-loader"],
        lists: None,
        retry: false,
    },
];

/// What to do about a missing driver.
#[derive(Debug, PartialEq)]
pub enum Plan {
    /// Run these commands.
    Run(Job),
    /// Run nothing; this says why, and what the user can do.
    Tell(String),
}

/// An install that needs no password.
#[derive(Debug, PartialEq)]
pub struct Job {
    refresh: Option<Vec<&'static str>>,
    refresh_first: bool,
    install: Vec<&'static str>,
}

/// Decides what to do on a machine that has no driver. Runs nothing but harmless questions (`id -u`, `sudo -n true`).
pub fn plan(machine: &dyn Machine) -> Plan {
    if let Some((variable, _)) = driver::named_by_user(machine) {
        return Plan::Tell(format!("{variable} names the driver to use, so none is installed"));
    }
    let manager = if machine.os() == "linux" { choose(machine) } else { None };
    let Some(manager) = manager else {
        return Plan::Tell("install a Vulkan driver and its loader (Mesa has one that runs on the CPU) to use the GPU path".into());
    };
    let refresh_first = manager.lists.is_some_and(|(folder, part, _)| !machine.list(folder).iter().any(|n| n.contains(part)));
    let command = |prefix: &[&'static str], args: &[&'static str]| [prefix, &[manager.program], args].concat();
    let job = |prefix: &[&'static str]| Job {
        refresh: manager.lists.filter(|_| refresh_first || manager.retry).map(|(_, _, args)| command(prefix, args)),
        refresh_first,
        install: command(prefix, manager.install),
    };

    let root = machine.output("id", &["-u"]).is_some_and(|id| id.trim() == "0");
    if machine.switched_on("WGPU_DROPOUT_NO_INSTALL") {
        let by_hand = job(if root { &[] } else { &["sudo"] }).by_hand();
        Plan::Tell(format!("WGPU_DROPOUT_NO_INSTALL is set; by hand: {by_hand}"))
    } else if root {
        Plan::Run(job(&[]))
    } else if machine.output("sudo", &["-n", "true"]).is_some() {
        // sudo drops the environment, so the setting that keeps Debian's configuration from asking goes through `env`.
        Plan::Run(job(if manager.program == "apt-get" { &["sudo", "-n", "env", QUIET_APT] } else { &["sudo", "-n"] }))
    } else {
        Plan::Tell(format!("to use the GPU path, run: {}", job(&["sudo"]).by_hand()))
    }
}

const QUIET_APT: &str = "DEBIAN_FRONTEND=noninteractive";

/// The distribution's own manager first: others can be installed beside it. An unknown distribution gets the one it has.
fn choose(machine: &dyn Machine) -> Option<&'static Manager> {
    let path = machine.var("PATH").unwrap_or_default();
    let there = |manager: &&Manager| path.split(':').any(|folder| machine.exists(&format!("{folder}/{}", manager.program)));
    let release = machine.read("/etc/os-release").or_else(|| machine.read("/usr/lib/os-release")).unwrap_or_default();
    let field = |name: &str| release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
    let ids = [field("ID"), field("ID_LIKE")].join(" ").replace(['"', '\''], "");
    let own = ids.split_whitespace().find_map(|id| MANAGERS.iter().filter(there).find(|manager| manager.ids.contains(&id)));
    own.or_else(|| MANAGERS.iter().find(there))
}

impl Job {
    /// The commands as a user would type them.
    fn by_hand(&self) -> String {
        let first = self.refresh.iter().filter(|_| self.refresh_first).map(|refresh| format!("{} && ", refresh.join(" ")));
        first.chain([self.install.join(" ")]).collect()
    }

    /// Installs, saying each command before it runs. The error is a line or two.
    pub fn run(&self, say: impl Fn(&str)) -> Result<(), String> {
        self.run_with(say, execute)
    }

    fn run_with(&self, say: impl Fn(&str), mut execute: impl FnMut(&[&str]) -> Result<(), String>) -> Result<(), String> {
        let mut step = |what: &str, command: &[&str]| {
            say(&format!("{what}: {}", command.join(" ")));
            execute(command)
        };
        if let Some(refresh) = self.refresh.as_ref().filter(|_| self.refresh_first) {
            step("fetching the package lists", refresh)?;
        }
        let what = "installing the software Vulkan driver";
        let first = step(what, &self.install);
        match &self.refresh {
            Some(refresh) if first.is_err() && !self.refresh_first => {
                step("that failed; fetching the package lists", refresh)?;
                step(what, &self.install)
            }
            _ => first,
        }
    }
}

/// Runs one command without a terminal to ask questions at. Its output is long and shown only in part, where it fails.
fn execute(command: &[&str]) -> Result<(), String> {
    let (program, args) = command.split_first().ok_or("nothing to run")?;
    let mut process = Command::new(program);
    process.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    let output = process.output().map_err(|error| format!("cannot start {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it wrote nothing");
    Err(format!("{program} failed ({}): {last}", output.status))
}

#[cfg(test)]
mod tests;
