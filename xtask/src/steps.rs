//! The checks of `cargo xtask test`, in order, with what each took. The first failure ends the run.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cargo;
use crate::machine::Machine;

/// One call of cargo.
pub struct Step {
    name: &'static str,
    args: &'static [&'static str],
    /// A component that rustup may not have installed, as cargo's subcommand.
    component: Option<&'static str>,
}

const STEPS: [Step; 6] = [
    Step { name: "format", args: &["fmt", "--all", "--check"], component: Some("fmt") },
    Step {
        name: "lints",
        args: &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        component: Some("clippy"),
    },
    Step {
        name: "lints, no features",
        args: &["clippy", "--package", "wgpu-dropout", "--lib", "--no-default-features", "--locked", "--", "-D", "warnings"],
        component: Some("clippy"),
    },
    // All the test programs run, so that one report shows everything a machine gets wrong.
    Step { name: "tests", args: &["test", "--workspace", "--tests", "--examples", "--locked", "--no-fail-fast"], component: None },
    Step { name: "doc tests", args: &["test", "--package", "wgpu-dropout", "--doc", "--locked"], component: None },
    Step { name: "documentation", args: &["doc", "--workspace", "--no-deps", "--locked"], component: None },
];

/// Burn's package has a workspace of its own: what it depends on takes ten minutes to build on two cores.
const BURN: &str = "crates/burn-wgpu-dropout/Cargo.toml";

const LONG_STEPS: [Step; 6] = [
    Step {
        name: "ignored tests",
        args: &["test", "--workspace", "--tests", "--locked", "--no-fail-fast", "--", "--ignored"],
        component: None,
    },
    Step { name: "benchmarks, once", args: &["test", "--package", "wgpu-dropout", "--bench", "*", "--locked"], component: None },
    Step { name: "Burn: format", args: &["fmt", "--manifest-path", BURN, "--check"], component: Some("fmt") },
    Step {
        name: "Burn: lints",
        args: &["clippy", "--manifest-path", BURN, "--all-targets", "--locked", "--", "-D", "warnings"],
        component: Some("clippy"),
    },
    // Examples are built, documentation's snippets too.
    Step { name: "Burn: tests", args: &["test", "--manifest-path", BURN, "--locked", "--no-fail-fast"], component: None },
    Step {
        name: "Burn: no fusion",
        args: &["test", "--manifest-path", BURN, "--locked", "--no-fail-fast", "--no-default-features", "--tests"],
        component: None,
    },
];

/// The steps of a run; `all` adds those that take long.
pub fn list(all: bool) -> Vec<&'static Step> {
    STEPS.iter().chain(LONG_STEPS.iter().filter(|_| all)).collect()
}

impl Step {
    /// Runs it in the repository; the error says what was run and how it ended.
    pub fn execute(&self, repository: &Path, all: bool) -> Result<(), String> {
        let mut command = cargo();
        command.args(self.args).current_dir(repository);
        if all {
            command.env("WGPU_DROPOUT_ALL", "1");
        }
        if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
            // Without a display, a layer of Mesa's Vulkan would complain of that on stderr in every test.
            command.env("NODEVICE_SELECT", "1");
        }
        if self.args.first() == Some(&"doc") {
            let own = std::env::var("RUSTDOCFLAGS").unwrap_or_default();
            command.env("RUSTDOCFLAGS", format!("{own} -D warnings").trim_start());
        }
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("`{}` ended with {status}", self.line())),
            Err(error) => Err(format!("`{}` cannot be started: {error}", self.line())),
        }
    }

    fn line(&self) -> String {
        format!("cargo {}", self.args.join(" "))
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
    /// An earlier step failed.
    NotRun,
}

/// A step's result.
pub struct Report {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

impl Report {
    /// Whether the step ran and failed.
    pub fn failed(&self) -> bool {
        self.outcome == Outcome::Failed
    }
}

/// Runs the steps up to the first failure. A component that is not installed is skipped with a line that says so; in CI,
/// where nobody reads that line, it is a failure.
pub fn run(
    steps: &[&Step],
    machine: &dyn Machine,
    say: impl Fn(&str),
    mut execute: impl FnMut(&Step) -> Result<(), String>,
) -> Vec<Report> {
    let mut reports: Vec<Report> = Vec::new();
    for step in steps {
        let start = Instant::now();
        let outcome = if reports.iter().any(Report::failed) {
            Outcome::NotRun
        } else {
            say(&format!("\n== {}: {}", step.name, step.line()));
            match step.component.filter(|name| !installed(machine, name)) {
                Some(name) if machine.switched_on("CI") => {
                    say(&format!("{} failed: cargo {name} is not installed", step.name));
                    Outcome::Failed
                }
                Some(name) => {
                    say(&format!("{} skipped: cargo {name} is not installed (rustup component add {})", step.name, rustup(name)));
                    Outcome::Skipped
                }
                None => match execute(step) {
                    Ok(()) => Outcome::Passed,
                    Err(error) => {
                        say(&format!("{} failed: {error}", step.name));
                        Outcome::Failed
                    }
                },
            }
        };
        reports.push(Report { name: step.name, outcome, took: start.elapsed() });
    }
    reports
}

/// Rustup puts a stand-in where a component is missing, so being on the PATH says nothing: it must answer.
fn installed(machine: &dyn Machine, subcommand: &str) -> bool {
    let cargo = machine.var("CARGO").unwrap_or_else(|| "cargo".into());
    machine.output(&cargo, &[subcommand, "--version"]).is_some()
}

fn rustup(subcommand: &str) -> &str {
    if subcommand == "fmt" { "rustfmt" } else { subcommand }
}

/// A line a step, then the counts alone on the last line. A step that was not run counts as skipped.
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
    let count = |wanted: &[Outcome]| reports.iter().filter(|report| wanted.contains(&report.outcome)).count();
    let skipped = count(&[Outcome::Skipped, Outcome::NotRun]);
    text + &format!("{} passed, {} failed, {skipped} skipped", count(&[Outcome::Passed]), count(&[Outcome::Failed]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::Fake;

    fn complete() -> Fake {
        Fake::linux().var("CARGO", "cargo").command("cargo fmt --version", "").command("cargo clippy --version", "")
    }

    /// What the steps under test say would read like news of the run that they are part of.
    fn quiet(_: &str) {}

    fn last_line(reports: &[Report]) -> String {
        summary(reports).lines().last().unwrap_or_default().into()
    }

    #[test]
    fn long_steps_come_last_and_only_when_asked_for() {
        let names = |all| list(all).iter().map(|step| step.name).collect::<Vec<_>>();
        assert_eq!(names(false), ["format", "lints", "lints, no features", "tests", "doc tests", "documentation"]);
        assert_eq!(names(true)[6..8], ["ignored tests", "benchmarks, once"]);
        assert!(names(true)[8..].iter().all(|name| name.starts_with("Burn: ")));
    }

    #[test]
    fn every_step_that_resolves_dependencies_is_locked() {
        assert!(list(true).iter().all(|step| step.args.contains(&"--locked") || step.args[0] == "fmt"));
    }

    #[test]
    fn the_first_failure_ends_the_run() {
        let mut ran = Vec::new();
        let reports = run(&list(false), &complete(), quiet, |step| {
            ran.push(step.name);
            if step.name == "tests" { Err("no".into()) } else { Ok(()) }
        });
        assert_eq!(ran, ["format", "lints", "lints, no features", "tests"]);
        assert!(reports.iter().any(Report::failed));
        assert_eq!(last_line(&reports), "3 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn a_missing_component_is_skipped_but_fails_in_ci() {
        let bare = Fake::linux().var("CARGO", "cargo");
        assert_eq!(last_line(&run(&list(false), &bare, quiet, |_| Ok(()))), "3 passed, 0 failed, 3 skipped");
        let ci = bare.var("CI", "true");
        assert_eq!(last_line(&run(&list(false), &ci, quiet, |_| Ok(()))), "0 passed, 1 failed, 5 skipped");
        assert_eq!(
            last_line(&run(&list(false), &complete().var("CI", "true"), quiet, |_| Ok(()))),
            "6 passed, 0 failed, 0 skipped"
        );
    }
}
