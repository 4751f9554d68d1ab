//! The binary `wgpu-dropout`: see [`wgpu_dropout_cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    wgpu_dropout_cli::main()
}
