//! Remarks of `train` on a run that does less than it seems to.

use super::cli::{command, devices, refuse, run_in, succeed, succeed_quietly};
use super::{folder, saved, write_csv};
use std::path::Path;

/// Runs a line that must succeed, and returns the lines of its notes on stderr and its stdout.
fn told(folder: &Path, line: &str) -> (Vec<String>, String) {
    let output = run_in(folder, line);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "`{line}`: {stderr}");
    let notes = stderr.lines().map(|line| line.strip_prefix("note: "));
    let notes: Option<Vec<_>> = notes.map(|line| line.map(str::to_owned)).collect();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(!stdout.contains("note: "), "`{line}`: {stdout}");
    (notes.unwrap_or_else(|| panic!("`{line}`: {stderr}")), stdout)
}

#[test]
fn a_schedule_that_ended_before_the_resumed_run_is_told() {
    let (_guard, folder) = folder();
    write_csv(&folder);
    for device in devices() {
        let train = format!("train --data d.csv --hidden 8 --device {device}");
        succeed_quietly(
            &folder,
            &format!("{train} --epochs 2 --schedule lr=linear:1..0 --save done"),
        );
        for json in ["", " --json"] {
            let resume = format!(
                "train --data d.csv --resume done --epochs 4 --save more --device {device}"
            );
            let (notes, _) = told(&folder, &format!("{resume}{json}"));
            assert_eq!(notes.len(), 1, "{notes:?}");
            for part in ["epochs 3 to 4", "schedule of the learning rate is over", "--schedule lr="]
            {
                assert!(notes[0].contains(part), "{notes:?}");
            }
            // The line is right: the weights stay. The control: with another schedule they do not.
            let weights = |name: &str| {
                let (mut tensors, _) = saved(&folder.join(name));
                tensors.retain(|name, _| name.starts_with("layers."));
                tensors
            };
            assert_eq!(weights("done"), weights("more"));
            succeed_quietly(&folder, &format!("{resume}{json} --schedule lr=constant"));
            assert_ne!(weights("done"), weights("more"));
        }
    }
}

#[test]
fn epochs_without_learning_are_told_of_any_run() {
    let (_guard, folder) = folder();
    write_csv(&folder);
    let train = "train --data d.csv --hidden 8 --device cpu";
    for (options, part) in [
        ("--epochs 3 --schedule lr=early:2", "in epoch 3: the schedule"),
        ("--epochs 3 --schedule lr=late:2", "in epochs 1 to 2: the schedule"),
        ("--epochs 2 --lr 0", "in epochs 1 to 2: the learning rate is 0"),
        ("--epochs 1 --mode none --schedule drop=early:1", "the drop rate has no effect"),
        ("--epochs 2 --schedule drop=late:2", "nothing is dropped: the schedule"),
    ] {
        let (notes, _) = told(&folder, &format!("{train} {options}"));
        assert!(notes.len() == 1 && notes[0].contains(part), "{options}: {notes:?}");
    }
    let (notes, _) =
        told(&folder, "train --data d.csv --hidden none --drop 0.3 --epochs 1 --device cpu");
    assert!(notes.len() == 1 && notes[0].contains("there is no hidden layer"), "{notes:?}");
    succeed_quietly(&folder, &format!("{train} --epochs 2 --schedule lr=linear:1..0,drop=late:1"));
}

#[test]
fn batch_normalization_over_single_rows_is_refused_or_told() {
    let (_guard, folder) = folder();
    write_csv(&folder);
    for device in devices() {
        for place in ["before", "after"] {
            let train = format!(
                "train --data d.csv --hidden 8 --epochs 1 --batch-norm {place} --device {device}"
            );
            let error = refuse(&folder, &format!("{train} --batch 1"), 2);
            assert!(error.contains("2 rows or more") && error.contains("--batch is 1"), "{error}");
        }
    }
    let train = "train --data d.csv --hidden 8 --device cpu";
    // A resumed network is normalized, too.
    succeed_quietly(&folder, &format!("{train} --epochs 1 --batch-norm before --save n"));
    let error =
        refuse(&folder, "train --data d.csv --resume n --epochs 2 --batch 1 --device cpu", 2);
    assert!(error.contains("2 rows or more"), "{error}");
    // One row of the training set remains after mini-batches of one less.
    let (_, stdout) = told(&folder, &format!("{train} --epochs 1"));
    let rows = stdout.split(" training rows").next().unwrap();
    let rows: usize = rows.rsplit(' ').next().unwrap().parse().unwrap();
    let (notes, _) =
        told(&folder, &format!("{train} --epochs 1 --batch-norm before --batch {}", rows - 1));
    assert!(notes.len() == 1 && notes[0].contains("has one row"), "{notes:?}");
    for batch in [rows - 2, rows, rows + 1, 2] {
        if rows % batch != 1 {
            let line = format!("{train} --epochs 1 --batch-norm before --batch {batch}");
            succeed_quietly(&folder, &line);
        }
    }
    succeed_quietly(&folder, &format!("{train} --epochs 1 --batch 1"));
}

#[test]
fn a_run_without_epochs_says_so() {
    let (_guard, folder) = folder();
    write_csv(&folder);
    let train = "train --data d.csv --hidden 8 --device cpu";
    succeed_quietly(&folder, &format!("{train} --epochs 2 --save n"));
    for rest in ["", " --json", " --save m", " --save m --json"] {
        let (notes, stdout) =
            told(&folder, &format!("train --data d.csv --resume n --epochs 2 --device cpu{rest}"));
        assert!(
            notes.len() == 1 && notes[0].contains("n has completed 2 epochs, and --epochs 2"),
            "{notes:?}"
        );
        assert!(!rest.contains("--json") || stdout.is_empty(), "{stdout}");
    }
    assert_eq!(saved(&folder.join("m")), saved(&folder.join("n")));
    let (notes, _) = told(&folder, &format!("{train} --epochs 0"));
    assert!(notes.len() == 1 && notes[0].contains("--epochs is 0"), "{notes:?}");
    succeed_quietly(&folder, &format!("{train} --epochs 0 --save start"));
}

#[test]
fn the_heading_and_a_note_say_the_rate_in_effect() {
    let (_guard, folder) = folder();
    write_csv(&folder);
    let train = "train --data d.csv --hidden 8 --epochs 1 --device cpu";
    for (options, heading) in [
        ("", "drop 0.5 hidden, 0 input"),
        ("--drop 0.3", "drop 0.3 (0.3000030517578125 in effect) hidden, 0 input"),
        ("--keep 0.8 --input-drop 0.1", "input, seed 0"),
        ("--keep 0.8 --input-drop 0.1", "0.2 (0.19999"),
        ("--keep 0.8 --input-drop 0.1", "hidden, 0.1 (0.10000"),
    ] {
        let stdout = succeed_quietly(&folder, &format!("{train} {options}"));
        assert!(stdout.contains(heading), "{options}: {stdout}");
    }
    for (options, parts) in [
        ("--drop 0.000001", &["a drop rate of 0.000001 is 0 in effect, so nothing is dropped"][..]),
        ("--input-drop 0.00002", &["off by 23.7 %"]),
        ("--keep 0.999999", &["a keep rate of 0.999999 is 1 in effect, so nothing is dropped"]),
        ("--drop 0.0003 --input-keep 0.999999", &["off by 1.7 %", "so nothing is dropped"]),
        ("--drop 0.000001 --json", &["so nothing is dropped"]),
    ] {
        let (notes, _) = told(&folder, &format!("{train} {options}"));
        assert_eq!(notes.len(), parts.len(), "{options}: {notes:?}");
        assert!(
            notes.iter().zip(parts).all(|(note, part)| note.contains(part)),
            "{options}: {notes:?}"
        );
    }
    succeed_quietly(&folder, &format!("{train} --mode none --drop 0.000001"));
}

/// The command that converts a network takes its rates from the command line, too.
#[test]
fn a_converted_network_is_told_of_its_rate() {
    let (_guard, folder) = folder();
    write_csv(&folder);
    succeed(&folder, "train --data d.csv --hidden 8 --epochs 1 --save n --device cpu");
    succeed(&folder, "convert --to burn --input n --output b");
    let convert = "convert --from burn --input b --output c";
    let output = run_in(&folder, &format!("{convert} --drop 0.000001"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.contains("so nothing is dropped"), "{stderr}");
    let output = run_in(&folder, &format!("{convert} --drop 0.25"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !stderr.contains("in effect"), "{stderr}");
}

/// An argument that must be text, and is not, is named; the name of a file may be any bytes.
#[cfg(unix)]
#[test]
fn an_argument_that_is_not_text_is_named() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let (_guard, folder) = folder();
    write_csv(&folder);
    let odd = OsStr::from_bytes(b"odd\xff.npy");
    std::fs::copy(folder.join("d.csv"), folder.join(OsStr::from_bytes(b"odd\xff.csv"))).unwrap();
    let run = |line: &str, rest: &[&[u8]]| {
        let rest = rest.iter().map(|bytes| OsStr::from_bytes(bytes));
        let output = command(&folder, line).args(rest).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let mask = "mask --rows 2 --cols 3 --device cpu";
    for (line, rest, value, option) in [
        (mask, &[&b"--drop"[..], b"0.5\xff"][..], "`0.5\u{fffd}`", "--drop"),
        (mask, &[b"--drop=0.5\xff"], "`0.5\u{fffd}`", "--drop"),
        (mask, &[b"--output", b"odd\xff", b"--seed", b"\xff"], "`\u{fffd}`", "--seed"),
        ("train --device cpu", &[b"--save", b"\xfe", b"--lr=\xff"], "`\u{fffd}`", "--lr"),
        ("linear --activation", &[b"\xff"], "`\u{fffd}`", "--activation"),
    ] {
        let (status, error) = run(line, rest);
        assert_eq!(status, Some(2), "{line}: {error}");
        assert!([value, option, "not UTF-8"].iter().all(|part| error.contains(part)), "{error}");
        assert!(error.lines().count() <= 2, "{error}");
    }
    let (status, error) =
        run(&format!("{mask} --drop 0.5 --format npy --output"), &[b"odd\xff.npy"]);
    assert_eq!((status, &*error), (Some(0), ""));
    assert!(folder.join(odd).is_file());
    // The data are read, or the option that names them is told.
    let (status, error) = run("train --hidden 8 --epochs 1 --device cpu --data", &[b"odd\xff.csv"]);
    assert!(status == Some(0) || (status == Some(2) && error.contains("--data")), "{error}");
}
