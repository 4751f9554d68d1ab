//! The checks of `cargo xtask test`, in order, with the time of each. The first failure ends the
//! run.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::machine::Machine;
use crate::{cargo, driver, python, swiftshader};

mod list;
pub use list::list;

/// One call of cargo or rustup.
pub struct Step {
    name: &'static str,
    program: &'static str,
    args: &'static [&'static str],
    needs: Need,
}

/// Requirements of a step beyond Rust itself.
#[derive(Clone, Copy, PartialEq)]
enum Need {
    Nothing,
    /// A rustup component, named by cargo's subcommand, which may not be installed. CI must have
    /// it.
    Component(&'static str),
    /// `cargo deny`, which checks dependencies.
    Deny,
    /// `cargo deny` and the database of advisories, which it fetches.
    Advisories,
    /// The standard library of a target, which rustup adds.
    Target(&'static str),
    /// Another toolchain, which rustup installs.
    Rustup,
    /// SwiftShader instead of the machine's own drivers.
    SwiftShader,
    /// OpenGL ES without a display.
    Gles,
    /// A virtual environment of Python, with the frameworks or without.
    Python {
        frameworks: bool,
    },
}

impl Need {
    /// Returns the environment variables that a step needs, or the reason why it cannot run.
    fn met(
        self,
        machine: &dyn Machine,
        target: &Path,
        say: &dyn Fn(&str),
    ) -> Result<Vec<(&'static str, String)>, String> {
        let set = |pairs: &[(&'static str, &str)]| {
            Ok(pairs.iter().map(|&(name, value)| (name, value.to_owned())).collect())
        };
        // The implementation prepared for the step must be used and must be found.
        let gpu = [("WGPU_DROPOUT_DEVICE", "gpu"), ("WGPU_DROPOUT_REQUIRE_GPU", "1")];
        // A run restricted to the CPU skips other GPU implementations too.
        let cpu = machine.var("WGPU_DROPOUT_DEVICE").as_deref() == Some("cpu");
        match self {
            Self::SwiftShader | Self::Gles if cpu => Err("WGPU_DROPOUT_DEVICE is cpu".into()),
            Self::Nothing => Ok(Vec::new()),
            Self::Python { frameworks } => {
                python::environment(machine, target, frameworks, say).map(|()| Vec::new())
            }
            Self::Component(name) if installed(machine, name) => Ok(Vec::new()),
            Self::Component(name) => Err(format!(
                "cargo {name} is not installed (rustup component add {})",
                if name == "fmt" { "rustfmt" } else { name }
            )),
            Self::Deny | Self::Advisories if !installed(machine, "deny") => {
                Err("cargo deny is not installed (cargo install --locked cargo-deny)".into())
            }
            Self::Advisories if !answers(machine, &["deny", "fetch", "db"]) => {
                Err("the database cannot be fetched".into())
            }
            Self::Deny | Self::Advisories => Ok(Vec::new()),
            Self::Rustup | Self::Target(_)
                if machine.output("rustup", &["--version"]).is_none() =>
            {
                Err("there is no rustup".into())
            }
            Self::Rustup => Ok(Vec::new()),
            Self::Target(name) => match machine.output("rustup", &["target", "add", name]) {
                Some(_) => Ok(Vec::new()),
                None => Err(format!("`rustup target add {name}` failed")),
            },
            Self::SwiftShader => {
                let manifest = swiftshader::manifest(machine, target, say)?;
                let drivers = [
                    ("VK_DRIVER_FILES", &*manifest),
                    ("VK_ICD_FILENAMES", &*manifest),
                    ("WGPU_BACKEND", "vulkan"),
                ];
                set(&[&drivers[..], &gpu].concat())
            }
            Self::Gles if driver::has_egl(machine) => {
                set(&[&[("WGPU_BACKEND", "gl"), ("EGL_PLATFORM", "surfaceless")][..], &gpu]
                    .concat())
            }
            Self::Gles => Err("libEGL.so.1 with Mesa's or NVIDIA's library is missing".into()),
        }
    }

    /// Returns true if CI must fail, rather than skip, when the requirement is not met: nobody
    /// reads there that a step was skipped.
    fn is_certain(self) -> bool {
        matches!(self, Self::Nothing | Self::Component(_))
    }
}

impl Step {
    /// Runs the step in the repository. The error names the command and its exit status.
    pub fn execute(
        &self,
        environment: &[(&'static str, String)],
        repository: &Path,
        all: bool,
    ) -> Result<(), String> {
        let mut command =
            if self.program == "cargo" { cargo() } else { Command::new(self.program) };
        command.args(self.args).current_dir(repository);
        if all {
            command.env("WGPU_DROPOUT_ALL", "1");
        }
        let display =
            std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| Path::new(&dir).is_absolute());
        if cfg!(target_os = "linux") && !display {
            // Without a display, a layer of Mesa's Vulkan would print a warning on stderr in every
            // test.
            command.env("NODEVICE_SELECT", "1");
        }
        if self.args.first() == Some(&"doc") {
            let own = std::env::var("RUSTDOCFLAGS").unwrap_or_default();
            command.env("RUSTDOCFLAGS", format!("{own} -D warnings").trim_start());
        }
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("`{}` ended with {status}", self.line())),
            Err(error) => Err(format!("`{}` cannot be started: {error}", self.line())),
        }
    }

    fn line(&self) -> String {
        format!("{} {}", self.program, self.args.join(" "))
    }
}

/// Outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
    /// Not run, because an earlier step failed.
    NotRun,
}

/// Result of a step.
pub struct Report {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

impl Report {
    /// Returns true if the step ran and failed.
    pub fn failed(&self) -> bool {
        self.outcome == Outcome::Failed
    }
}

/// Function that runs a step with the environment variables that it needs.
type Execute<'a> = &'a mut dyn FnMut(&Step, &[(&'static str, String)]) -> Result<(), String>;

/// Runs the steps up to the first failure. A step whose requirements are not met is skipped with a
/// message. In CI, where nobody reads that message, a missing rustup component is a failure
/// instead.
pub fn run(
    steps: &[&Step],
    machine: &dyn Machine,
    target: &Path,
    say: &dyn Fn(&str),
    execute: Execute<'_>,
) -> Vec<Report> {
    let mut reports: Vec<Report> = Vec::new();
    for step in steps {
        let start = Instant::now();
        let mut outcome = Outcome::NotRun;
        if !reports.iter().any(Report::failed) {
            say(&format!("\n== {}: {}", step.name, step.line()));
            outcome = match step
                .needs
                .met(machine, target, say)
                .map(|environment| execute(step, &environment))
            {
                Ok(Ok(())) => Outcome::Passed,
                Err(why) if !step.needs.is_certain() || !machine.switched_on("CI") => {
                    say(&format!("{} SKIPPED: {why}", step.name));
                    Outcome::Skipped
                }
                Ok(Err(why)) | Err(why) => {
                    say(&format!("{} failed: {why}", step.name));
                    Outcome::Failed
                }
            };
        }
        reports.push(Report { name: step.name, outcome, took: start.elapsed() });
    }
    reports
}

/// Returns true if a subcommand of cargo works. It must be run to find out: rustup puts a proxy on
/// the PATH even if the component is missing.
fn installed(machine: &dyn Machine, subcommand: &str) -> bool {
    answers(machine, &[subcommand, "--version"])
}

fn answers(machine: &dyn Machine, args: &[&str]) -> bool {
    let cargo = machine.var("CARGO").unwrap_or_else(|| "cargo".into());
    machine.output(&cargo, args).is_some()
}

/// Formats a line per step, and the totals on the last line. A step that was not run counts as
/// skipped.
pub fn summary(reports: &[Report]) -> String {
    let mut text = String::from("\n");
    for Report { name, outcome, took } in reports {
        let word = match outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Skipped => "skipped",
            Outcome::NotRun => "not run",
        };
        text += &format!("{name:<20}{:>8.1} s  {word}\n", took.as_secs_f64());
    }
    let count = |wanted: &[Outcome]| {
        reports.iter().filter(|report| wanted.contains(&report.outcome)).count()
    };
    let skipped = count(&[Outcome::Skipped, Outcome::NotRun]);
    text + &format!(
        "{} passed, {} failed, {skipped} skipped",
        count(&[Outcome::Passed]),
        count(&[Outcome::Failed])
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::Fake;

    /// Returns a machine that meets the requirements of every step.
    fn complete() -> Fake {
        let deny = ["cargo deny --version", "cargo deny fetch db"];
        let commands = ["cargo fmt --version", "cargo clippy --version", "rustup --version"]
            .into_iter()
            .chain(deny);
        let targets = [
            "wasm32-unknown-unknown",
            "thumbv7em-none-eabi",
            "aarch64-apple-darwin",
            "x86_64-pc-windows-msvc",
        ];
        let targets =
            targets.map(|target| format!("rustup target add {target}").leak() as &'static str);
        let files = [
            "swiftshader/libvk_swiftshader.so",
            "swiftshader/vk_swiftshader_icd.json",
            "python/whole",
            "python-frameworks/whole",
        ]
        .map(|name| format!("target/{name}"));
        let files =
            files.iter().map(String::as_str).chain(["/lib/libEGL.so.1", "/lib/libEGL_mesa.so.0"]);
        let machine =
            commands.chain(targets).fold(Fake::linux(), |machine, line| machine.command(line, ""));
        files.fold(machine.var("CARGO", "cargo"), |machine, path| machine.file(path, ""))
    }

    /// Runs all steps, with the named one failing. Returns the last line of the summary and the
    /// steps that ran.
    fn rehearse(all: bool, machine: &Fake, failing: &str) -> (String, Vec<&'static str>) {
        let mut ran = Vec::new();
        // Do not print the steps' messages: they would look like messages of this test run.
        let reports = run(&list(all), machine, Path::new("target"), &|_| (), &mut |step, _| {
            ran.push(step.name);
            if step.name == failing { Err("no".into()) } else { Ok(()) }
        });
        assert_eq!(
            reports.iter().any(Report::failed),
            ran.contains(&failing) || summary(&reports).contains(" failed\n")
        );
        (summary(&reports).lines().last().unwrap_or_default().into(), ran)
    }

    #[test]
    fn long_steps_come_last_and_only_when_asked_for() {
        let names = |all| list(all).iter().map(|step| step.name).collect::<Vec<_>>();
        assert_eq!(names(true)[..names(false).len()], names(false));
        assert_eq!(names(false).len(), 10);
        assert_eq!(
            rehearse(true, &complete(), ""),
            ("36 passed, 0 failed, 0 skipped".into(), names(true))
        );
    }

    #[test]
    fn every_step_that_resolves_dependencies_is_locked() {
        assert!(list(true).iter().all(|step| step.args.contains(&"--locked")
            || matches!(step.args[0], "fmt" | "xtask")
            || step.name == "packages: Burn"));
    }

    #[test]
    fn the_first_failure_ends_the_run() {
        let (line, ran) = rehearse(false, &complete(), "tests");
        assert_eq!(ran, ["format", "lints", "lints, no features", "kernels, named once", "tests"]);
        assert_eq!(line, "4 passed, 1 failed, 5 skipped");
    }

    #[test]
    fn a_missing_component_is_skipped_but_fails_in_ci() {
        let bare = Fake::linux().var("CARGO", "cargo");
        assert_eq!(rehearse(false, &bare, "").0, "4 passed, 0 failed, 6 skipped");
        assert_eq!(rehearse(false, &bare.var("CI", "true"), "").0, "0 passed, 1 failed, 9 skipped");
        assert_eq!(
            rehearse(false, &complete().var("CI", "true"), "").0,
            "10 passed, 0 failed, 0 skipped"
        );
    }

    #[test]
    fn what_else_is_missing_is_skipped_also_in_ci() {
        let bare = Fake::linux()
            .var("CARGO", "cargo")
            .command("cargo fmt --version", "")
            .command("cargo clippy --version", "");
        assert_eq!(
            rehearse(true, &bare.var("CI", "true"), "").0,
            "23 passed, 0 failed, 13 skipped"
        );
        // Without a GPU, other implementations of it are skipped too.
        assert_eq!(
            rehearse(false, &complete().var("WGPU_DROPOUT_DEVICE", "cpu"), "").0,
            "8 passed, 0 failed, 2 skipped"
        );
    }

    #[test]
    fn other_implementations_are_chosen_by_the_environment() {
        let environment = |need: Need| need.met(&complete(), Path::new("target"), &|_| ()).unwrap();
        let swiftshader = environment(Need::SwiftShader);
        assert!(
            swiftshader.contains(&(
                "VK_DRIVER_FILES",
                "target/swiftshader/vk_swiftshader_icd.json".into()
            )),
            "{swiftshader:?}"
        );
        assert!(environment(Need::Gles).contains(&("WGPU_BACKEND", "gl".into())));
        assert!(environment(Need::Component("fmt")).is_empty());
    }
}
