//! The lists of steps.

use super::{Need, Step};

const fn cargo_step(name: &'static str, args: &'static [&'static str], needs: Need) -> Step {
    Step { name, program: "cargo", args, needs }
}

// The steps select tests with `--workspace`, not `--package`: that would change the features of the
// dependencies, and build them again.

/// Tests that also run on other implementations of Vulkan and OpenGL: the contract in every kernel
/// that draws, buffers and limits, training.
const ELSEWHERE: &[&str] = &[
    "test",
    "--workspace",
    "--locked",
    "--no-fail-fast",
    "--test",
    "mask_contract",
    "--test",
    "device",
    "--test",
    "vectors",
    "--test",
    "network",
];
/// Tests that take minutes there, since they recompile every form of every kernel.
const MORE_ELSEWHERE: &[&str] = &[
    "test",
    "--workspace",
    "--locked",
    "--no-fail-fast",
    "--test",
    "kernels",
    "--test",
    "windows",
    "--test",
    "tuning",
    "--test",
    "verify",
];

const STEPS: [Step; 10] = [
    cargo_step("format", &["fmt", "--all", "--check"], Need::Component("fmt")),
    cargo_step(
        "lints",
        &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        Need::Component("clippy"),
    ),
    // An engine that embeds the crate uses it without features. This step runs alone, since the
    // workspace's other members enable all of them.
    cargo_step(
        "lints, no features",
        &["clippy", "--package", "embedder", "--all-targets", "--locked", "--", "-D", "warnings"],
        Need::Component("clippy"),
    ),
    cargo_step("kernels, named once", &["xtask", "stems"], Need::Nothing),
    // Run all test programs, so that one report shows all failures on a machine.
    cargo_step(
        "tests",
        &["test", "--workspace", "--tests", "--examples", "--locked", "--no-fail-fast"],
        Need::Nothing,
    ),
    cargo_step("on SwiftShader", ELSEWHERE, Need::SwiftShader),
    cargo_step("on OpenGL ES", ELSEWHERE, Need::Gles),
    cargo_step("doc tests", &["test", "--workspace", "--doc", "--locked"], Need::Nothing),
    cargo_step("documentation", &["doc", "--workspace", "--no-deps", "--locked"], Need::Nothing),
    cargo_step("Python", &["xtask", "python"], Need::Python { frameworks: false }),
];

/// Manifest of Burn's package, which has a workspace of its own: its dependencies take ten minutes
/// to build on two cores.
const BURN: &str = "crates/burn-wgpu-dropout/Cargo.toml";

/// Manifest of the Python package, which has a workspace of its own: only it needs Python.
const PYTHON: &str = "crates/python/Cargo.toml";

const LONG_STEPS: [Step; 26] = [
    cargo_step(
        "ignored tests",
        &["test", "--workspace", "--tests", "--locked", "--no-fail-fast", "--", "--ignored"],
        Need::Nothing,
    ),
    // These tests also run in the step "tests", but there the other members' features are enabled.
    cargo_step("embedded, alone", &["test", "--package", "embedder", "--locked"], Need::Nothing),
    cargo_step(
        "benchmarks, once",
        &["test", "--package", "wgpu-dropout-cli", "--bench", "*", "--locked"],
        Need::Nothing,
    ),
    cargo_step("more on SwiftShader", MORE_ELSEWHERE, Need::SwiftShader),
    cargo_step("more on OpenGL ES", MORE_ELSEWHERE, Need::Gles),
    cargo_step(
        "dependencies",
        &["deny", "--workspace", "--locked", "check", "bans", "licenses", "sources"],
        Need::Deny,
    ),
    cargo_step(
        "advisories",
        &["deny", "--workspace", "--locked", "check", "advisories"],
        Need::Advisories,
    ),
    // The oldest Rust that Cargo.toml promises.
    Step {
        name: "Rust 1.87",
        program: "rustup",
        args: &["run", "--install", "1.87", "cargo", "check", "--workspace", "--locked"],
        needs: Need::Rustup,
    },
    // The paths for Metal, DX12 and the browser are compiled, but not run. The browser build has no
    // command line.
    cargo_step(
        "types, macOS",
        &["check", "--package", "wgpu-dropout-cli", "--locked", "--target", "aarch64-apple-darwin"],
        Need::Target("aarch64-apple-darwin"),
    ),
    cargo_step(
        "types, Windows",
        &[
            "check",
            "--package",
            "wgpu-dropout-cli",
            "--locked",
            "--target",
            "x86_64-pc-windows-msvc",
        ],
        Need::Target("x86_64-pc-windows-msvc"),
    ),
    cargo_step(
        "types, browsers",
        &[
            "check",
            "--package",
            "wgpu-dropout",
            "--lib",
            "--no-default-features",
            "--locked",
            "--target",
            "wasm32-unknown-unknown",
        ],
        Need::Target("wasm32-unknown-unknown"),
    ),
    // This target has no standard library at all.
    cargo_step(
        "types, no std",
        &["check", "--package", "dropout-contract", "--locked", "--target", "thumbv7em-none-eabi"],
        Need::Target("thumbv7em-none-eabi"),
    ),
    // In the other steps the features come all at once, or none does.
    cargo_step(
        "types, save alone",
        &["check", "--package", "wgpu-dropout", "--features", "save", "--locked"],
        Need::Nothing,
    ),
    cargo_step(
        "types, verify alone",
        &["check", "--package", "wgpu-dropout", "--features", "verify", "--locked"],
        Need::Nothing,
    ),
    // Each package is built from its archive alone, in the order of their dependencies.
    cargo_step(
        "packages",
        &[
            "package",
            "--locked",
            "--package",
            "dropout-contract",
            "--package",
            "wgpu-dropout",
            "--package",
            "wgpu-dropout-cli",
        ],
        Need::Nothing,
    ),
    cargo_step(
        "packages: Burn",
        &[
            "package",
            "--manifest-path",
            BURN,
            "--config",
            "patch.crates-io.wgpu-dropout.path='target/package/wgpu-dropout-0.1.0'",
            "--config",
            "patch.crates-io.dropout-contract.path='target/package/dropout-contract-0.1.0'",
        ],
        Need::Nothing,
    ),
    cargo_step("the first program", &["xtask", "first"], Need::Nothing),
    // The release workflow runs the same command on each system.
    cargo_step("release archive", &["xtask", "archive"], Need::Nothing),
    cargo_step(
        "Python: format",
        &["fmt", "--manifest-path", PYTHON, "--check"],
        Need::Component("fmt"),
    ),
    cargo_step(
        "Python: lints",
        &["clippy", "--manifest-path", PYTHON, "--all-targets", "--locked", "--", "-D", "warnings"],
        Need::Component("clippy"),
    ),
    cargo_step(
        "Python: frameworks",
        &["xtask", "python", "--frameworks"],
        Need::Python { frameworks: true },
    ),
    cargo_step(
        "Burn: format",
        &["fmt", "--manifest-path", BURN, "--check"],
        Need::Component("fmt"),
    ),
    cargo_step(
        "Burn: lints",
        &["clippy", "--manifest-path", BURN, "--all-targets", "--locked", "--", "-D", "warnings"],
        Need::Component("clippy"),
    ),
    // This also builds the snippets of its README.
    cargo_step(
        "Burn: tests",
        &["test", "--manifest-path", BURN, "--locked", "--no-fail-fast"],
        Need::Nothing,
    ),
    cargo_step(
        "Burn: no fusion",
        &[
            "test",
            "--manifest-path",
            BURN,
            "--locked",
            "--no-fail-fast",
            "--no-default-features",
            "--tests",
        ],
        Need::Nothing,
    ),
    cargo_step(
        "Burn: example",
        &["run", "--manifest-path", BURN, "--locked", "--example", "digits"],
        Need::Nothing,
    ),
];

/// Returns the steps of a run; `all` adds the slow ones.
pub fn list(all: bool) -> Vec<&'static Step> {
    STEPS.iter().chain(LONG_STEPS.iter().filter(|_| all)).collect()
}
