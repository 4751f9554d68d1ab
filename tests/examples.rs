//! The examples run, check themselves and print their results. `examples/mpi` has a test of its
//! own.

mod common;

use std::process::Command;

#[test]
fn each_example_runs_and_ends_as_it_should() {
    let programs = common::build(&["--examples"]).unwrap_or_else(|error| panic!("{error}"));
    let there = common::gpu().is_some();
    for (name, needs_gpu, last) in [
        ("embed", true, "the contract's bits"),
        ("rate_schedule", true, "the contract's masks, from one prepared call"),
        ("shards", false, " in one"),
        ("three_layer", false, "standard errors at most"),
    ] {
        let output = Command::new(programs.join("examples").join(name)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}{complaint}");
        let last = if needs_gpu && !there { "no adapter here" } else { last };
        assert!(
            said.lines().last().is_some_and(|line| line.ends_with(last)),
            "{name}, expected `{last}`: {said}{complaint}"
        );
    }
}
