//! Outputs as one transaction. A system call that fails, or a process that is killed at one, leaves
//! each output whole, the old one or the new one. strace injects the faults.

use super::{command, data, files};
use crate::cli::succeed;
use crate::common::{self, noise};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use wgpu_dropout_cli::npy;

/// A command that writes all its outputs into the folder `o`.
struct Writer {
    line: &'static str,
    /// True if equal runs write equal bytes.
    exact: bool,
    /// True if everything is written at once, at the end.
    once: bool,
}

const fn arrays(line: &'static str) -> Writer {
    Writer { line, exact: true, once: true }
}

const WRITERS: [Writer; 10] = [
    arrays(
        "dropout --input x.npy --drop .5 --output o/y --mask-output o/m --grad-output x.npy --grad-input o/dx",
    ),
    arrays(
        "linear --input x.npy --weight w.npy --drop .5 --output o/y --mask-output o/m --grad-output dy.npy --grad-input o/dx --grad-weight o/dw --grad-bias o/db",
    ),
    arrays("mask --rows 9 --cols 99 --drop .5 --output o/m"),
    arrays("mask --rows 9 --cols 99 --drop .5 --format npy --output o/m"),
    arrays(
        "predict --model net --data x.npy --samples 2 --output o/p --spread o/s --entropy o/h --information o/i",
    ),
    arrays("train --data d.csv --hidden 4 --epochs 1 --save o/net"),
    arrays("convert --to pytorch --input net --output o/t"),
    Writer { line: "demo --quick --output o/r.html", exact: false, once: true },
    Writer {
        line: "bench --quick --only dropout --elements 1024 --html o/b.html",
        exact: false,
        once: true,
    },
    Writer {
        line: "study ladder --data d.csv --updates 15 --seeds 1 --out o",
        exact: false,
        once: false,
    },
];

/// Writes everything that the commands read, and an empty folder `o`.
fn prepare(folder: &Path) {
    let save = |name: &str, shape: &[usize]| {
        let values = noise(1, shape.iter().product());
        npy::write_f32(&folder.join(name), shape, &values).unwrap();
    };
    save("x.npy", &[2, 3]);
    save("w.npy", &[3, 4]);
    save("dy.npy", &[2, 4]);
    data(folder);
    succeed(folder, "train --device cpu --data d.csv --hidden 8 --epochs 1 --save net");
    std::fs::create_dir(folder.join("o")).unwrap();
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Empties the folder `o`, or fills it with old files of these names.
fn reset(folder: &Path, old: bool, names: &Files) {
    std::fs::remove_dir_all(folder.join("o")).unwrap();
    std::fs::create_dir(folder.join("o")).unwrap();
    for path in names.keys().filter(|_| old) {
        std::fs::write(path, "old\n").unwrap();
    }
}

/// Returns true if the bytes are those of a whole new file.
fn is_new(writer: &Writer, path: &Path, bytes: &[u8], expected: &[u8]) -> bool {
    if writer.exact {
        return bytes == expected;
    }
    let text = String::from_utf8_lossy(bytes);
    match path.extension().and_then(|end| end.to_str()) {
        Some("html") => text.starts_with("<!doctype") && text.ends_with("</html>\n"),
        Some("svg") => text.starts_with("<svg") && text.ends_with("</svg>\n"),
        // Records, which are added to an old file.
        _ => {
            let mut lines = text.lines().skip_while(|line| *line == "old").peekable();
            let is_record = |line| serde_json::from_str::<serde_json::Value>(line).is_ok();
            text.ends_with('\n') && lines.peek().is_some() && lines.all(is_record)
        }
    }
}

fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "tmp")
}

/// System calls that write files, and the fault that each may have.
const CALLS: [(&str, &str); 4] = [
    ("write", "ENOSPC"),
    ("fsync", "EIO"),
    ("?rename,?renameat,?renameat2", "EIO"),
    ("?link,linkat", "EPERM"),
];

/// Runs a command under strace, which counts some calls of its main thread, or makes one of them
/// fail.
fn traced(folder: &Path, calls: &str, fault: Option<&str>, line: &str) -> (Output, usize) {
    let log = folder.join("trace");
    let mut strace = Command::new("strace");
    strace.arg("-o").arg(&log).args(["-e", &format!("trace={calls}"), "-e", "signal=none"]);
    if let Some(fault) = fault {
        strace.args(["-e", &format!("inject={calls}:{fault}")]);
    }
    let program = command(folder, &format!("{line} --device cpu"));
    strace.arg(program.get_program()).args(program.get_args()).current_dir(folder);
    // Otherwise the program would start itself again.
    strace.env("NODEVICE_SELECT", "1").stdin(std::process::Stdio::null());
    let output = strace.output().unwrap();
    let count = std::fs::read_to_string(log).unwrap().lines().filter(|l| l.contains('(')).count();
    (output, count)
}

fn can_trace(folder: &Path) -> bool {
    let strace = Command::new("strace").arg("-o").arg(folder.join("trace")).arg("true").output();
    strace.is_ok_and(|output| output.status.success())
}

/// States of the outputs after a fault.
#[derive(Debug, Default)]
struct Tally {
    faults: usize,
    old: usize,
    new: usize,
    mixed: usize,
}

impl Tally {
    /// Checks the folder `o` after a run.
    fn add(&mut self, writer: &Writer, what: &str, run: &Output, states: [&Files; 3]) {
        let [before, expected, after] = states;
        let mut changed = Vec::new();
        for (path, new) in expected {
            let (then, now) = (before.get(path), after.get(path));
            let is_new = now != then && now.is_some_and(|now| is_new(writer, path, now, new));
            assert!(is_new || now == then, "{what}: {} is torn: {now:?}", path.display());
            changed.push(is_new);
        }
        let all = changed.iter().all(|&new| new);
        let none = !changed.iter().any(|&new| new);
        if run.status.signal().is_none() {
            let left: Vec<_> = after.keys().filter(|path| !expected.contains_key(*path)).collect();
            let stderr = String::from_utf8_lossy(&run.stderr);
            assert!(left.is_empty(), "{what}: {left:?} is left; {stderr}");
            assert!(!writer.once || all || none, "{what}: some files changed: {changed:?}");
            // The status of a study tells whether its claim holds.
            let ok = run.status.code() == Some(0);
            assert!(all || !ok, "{what}: success without all files");
            assert!(ok || stderr.starts_with("error: ") || stderr.is_empty(), "{what}: {stderr}");
        }
        self.faults += 1;
        self.old += usize::from(none);
        self.new += usize::from(all);
        self.mixed += usize::from(!all && !none);
    }
}

/// Every call of every command that writes fails once, and the process is killed at each once.
#[test]
fn a_fault_at_any_call_leaves_each_output_whole() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    if !can_trace(folder) {
        return common::skipped("strace is not installed, or must not trace");
    }
    prepare(folder);
    let o = folder.join("o");
    let mut total = [Tally::default(), Tally::default()];
    for writer in &WRITERS {
        let mut tallies = [Tally::default(), Tally::default()];
        reset(folder, false, &Files::new());
        command(folder, &format!("{} --device cpu", writer.line)).output().unwrap();
        let expected = files(&o);
        assert!(!expected.is_empty(), "{}", writer.line);
        // A run of the demo takes seconds, and prints much.
        let slow = writer.line.starts_with("demo");
        for old in [false, true].into_iter().filter(|old| *old || !slow) {
            for (calls, error) in CALLS.into_iter().filter(|(calls, _)| *calls != "write" || !slow)
            {
                reset(folder, old, &expected);
                let (_, count) = traced(folder, calls, None, writer.line);
                for number in 1..=count {
                    let faults = [format!("error={error}"), "signal=KILL".to_owned()];
                    for (fault, tally) in faults.iter().zip(&mut tallies) {
                        reset(folder, old, &expected);
                        let before = files(&o);
                        let fault = format!("{fault}:when={number}");
                        let (run, _) = traced(folder, calls, Some(&fault), writer.line);
                        let what = format!("`{}`, {calls} {fault}, old: {old}", writer.line);
                        tally.add(writer, &what, &run, [&before, &expected, &files(&o)]);
                        if run.status.signal().is_some() && calls.contains("rename") {
                            command(folder, &format!("{} --device cpu", writer.line))
                                .output()
                                .unwrap();
                            let left: Vec<_> =
                                files(&o).into_keys().filter(|path| is_temporary(path)).collect();
                            assert!(left.is_empty(), "{what}: {left:?} outlives the next run");
                        }
                    }
                }
            }
        }
        let noun = writer.line.split(' ').next().unwrap();
        println!("{noun}: errors {:?}, kills {:?}", tallies[0], tallies[1]);
        for (total, tally) in total.iter_mut().zip(tallies) {
            total.faults += tally.faults;
            total.old += tally.old;
            total.new += tally.new;
            total.mixed += tally.mixed;
        }
    }
    println!("all: errors {:?}, kills {:?}", total[0], total[1]);
    // Without faults between the first rename and the last, the test would show nothing.
    assert!(total.iter().all(|tally| tally.faults > 100 && tally.old > 50 && tally.new > 10));
    assert!(total[1].mixed > 5);
}
