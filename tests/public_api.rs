//! `docs/api` lists the current public API of each library, a file a package. A change to the API requires a change to
//! the list, which shows in review.

mod common;

use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "builds a package of its own and the documentation of all dependencies"]
fn the_list_of_public_items_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args([
            "run",
            "--quiet",
            "--locked",
            "--manifest-path",
            "xtask/api/Cargo.toml",
            "--target-dir",
        ])
        .arg(target);
    let output = command.args(["--", "--check"]).current_dir(root).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {}
        Some(3) => common::skipped(&said),
        _ => panic!("{said}"),
    }
}
