//! `cargo xtask demo` and `cargo xtask test`: look for a Vulkan, Metal or DX12 driver, install a
//! software driver if there is none, then run the demo or all checks. Requires only Rust.

#![deny(missing_docs)]
#![deny(unsafe_code)]

mod archive;
mod driver;
mod first;
mod install;
mod machine;
mod python;
mod stems;
mod steps;
mod swiftshader;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use driver::Driver;
use install::Wanted;
use machine::{Machine, This};

const USAGE: &str = "\
Usage: cargo xtask <command>

  demo [args…]   build in release mode and run `wgpu-dropout demo` with these arguments
  test [--all]   formatter, lints, tests (also on SwiftShader and OpenGL ES), documentation;
                 --all adds the slow ones: ignored tests, each benchmark once, dependencies, the
                 oldest supported Rust, type checks for other systems, packages from their
                 archives, Burn's package, Python's with PyTorch and JAX
  stems          check that no kernel is named in more than nine files
  first          run the README's first program in a package of its own
  python [--frameworks]
                 build the Python package and test it with NumPy; with --frameworks also with
                 PyTorch, Triton and JAX (6 GB)
  archive        build the command line and pack it, as a release attaches it

On Linux without a Vulkan driver, both commands first announce and then install Mesa's software
driver (lavapipe) from the distribution. `test` also installs the shader checkers, the Vulkan
validation layer and Mesa's EGL, and extracts SwiftShader from Debian's chromium-common. If that is
not permitted, they print the command and continue.

Environment:
  WGPU_DROPOUT_NO_INSTALL=1    install nothing
  WGPU_DROPOUT_REQUIRE_GPU=1   tests that find no adapter fail instead of being skipped";

fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["demo", rest @ ..] => demo(rest),
        ["archive"] => outcome(archive(&repository())),
        ["first"] => outcome(first::run(&repository(), &target(&repository()))),
        ["python"] => outcome(python_tests(false)),
        ["python", "--frameworks"] => outcome(python_tests(true)),
        ["stems"] => outcome(stems::check(&repository())),
        ["test"] => test(false),
        ["test", "--all"] => test(true),
        ["--help" | "-h" | "help"] | ["test", "--help" | "-h"] => {
            say(USAGE);
            ExitCode::SUCCESS
        }
        ["test", rest @ ..] => wrong_usage(&format!("`test` does not know `{}`", rest.join(" "))),
        [other, ..] => wrong_usage(&format!("unknown command `{other}`")),
        [] => wrong_usage("no command given"),
    }
}

fn wrong_usage(what: &str) -> ExitCode {
    note(&format!("error: {what}\n\n{USAGE}"));
    ExitCode::from(2)
}

fn demo(args: &[&str]) -> ExitCode {
    if wants_adapter(args) {
        prepare(&This);
    }
    let mut command = cargo();
    // Name the package, so that the command also works in a subfolder. Keep the caller's working
    // directory, since the report is written there.
    command.args([
        "run",
        "--release",
        "--locked",
        "--package",
        "wgpu-dropout-cli",
        "--bin",
        "wgpu-dropout",
        "--",
        "demo",
    ]);
    match command.args(args).status() {
        Ok(status) => status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .map_or(ExitCode::FAILURE, ExitCode::from),
        Err(error) => {
            note(&format!("error: cannot start cargo: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn python_tests(frameworks: bool) -> Result<String, String> {
    let root = repository();
    python::test(&This, &root, &target(&root), frameworks, &note)
}

fn archive(root: &Path) -> Result<String, String> {
    archive::make(root, &target(root)).map(|path| path.display().to_string())
}

/// Prints a line of success, or an error.
fn outcome(result: Result<String, String>) -> ExitCode {
    match result {
        Ok(line) => {
            say(&line);
            ExitCode::SUCCESS
        }
        Err(why) => {
            note(&format!("error: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// Cargo's target folder.
fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |own| root.join(own))
}

fn test(all: bool) -> ExitCode {
    if This.var("WGPU_DROPOUT_DEVICE").as_deref() != Some("cpu") {
        prepare(&This);
        prepare_tools(&This);
    }
    let root = repository();
    let target = target(&root);
    let execute =
        &mut |step: &steps::Step, environment: &[_]| step.execute(environment, &root, all);
    let reports = steps::run(&steps::list(all), &This, &target, &say, execute);
    say(&steps::summary(&reports));
    if reports.iter().any(steps::Report::failed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Returns true if a demo with these arguments could use an adapter. Reading the help must not
/// install a driver.
fn wants_adapter(args: &[&str]) -> bool {
    !args.iter().any(|a| matches!(*a, "--help" | "-h" | "--device=cpu"))
        && !args.windows(2).any(|w| w == ["--device", "cpu"])
}

/// Looks for a driver, installs the software one if possible, and reports the outcome. Never fails:
/// without an adapter, the CPU backend does the work.
fn prepare(machine: &dyn Machine) {
    let reason = match driver::detect(machine) {
        Driver::Ready(line) => return note(&line),
        Driver::Missing(reason) => reason,
    };
    note(&format!("vulkan: {reason}"));
    let outcome = match install::plan(machine, Wanted::Driver) {
        install::Plan::Tell(advice) => Err(advice),
        install::Plan::Run(job) => job.run(note).and_then(|()| match driver::detect(machine) {
            Driver::Ready(line) => Ok(line),
            Driver::Missing(reason) => Err(format!("installed, but {reason}")),
        }),
    };
    match outcome {
        Ok(line) => note(&line),
        Err(why) => note(&format!("vulkan: {why}\nvulkan: continuing with the CPU backend")),
    }
}

/// Installs further tools for the tests if possible. Never fails: tests that need a missing tool
/// skip themselves.
fn prepare_tools(machine: &dyn Machine) {
    let missing = install::missing_tools(machine);
    if machine.os() != "linux" || missing.is_empty() {
        return;
    }
    let outcome = match install::plan(machine, Wanted::Tools) {
        install::Plan::Tell(advice) => Err(advice),
        install::Plan::Run(job) => job.run(note),
    };
    if let Err(why) = outcome {
        note(&format!("tests continue without {}: {why}", missing.join(", ")));
    }
}

/// Returns the cargo that runs this program, so that nested calls use the same toolchain.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command without showing what it prints. The error is the last line of its stderr.
pub fn quietly(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("it wrote nothing");
    if output.status.success() { Ok(()) } else { Err(last.into()) }
}

/// Returns the root of the repository. Cargo provides the package's folder at run time; the one
/// from build time is the fallback for a direct call.
fn repository() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().unwrap_or(Path::new(".")).to_path_buf()
}

/// Prints a message on stderr, since stdout belongs to the demo (`--json`). A closed stream is
/// ignored.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints a line of the result on stdout.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::wants_adapter;

    #[test]
    fn help_and_the_cpu_backend_need_no_driver() {
        assert!(wants_adapter(&[]));
        assert!(wants_adapter(&["--device", "gpu", "--json"]));
        for args in [&["--help"][..], &["-h"], &["--device=cpu"], &["--json", "--device", "cpu"]] {
            assert!(!wants_adapter(args), "{args:?}");
        }
    }
}
