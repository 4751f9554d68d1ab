//! Outputs that are refused before the work, outputs that fail, links, and names of any bytes.

use super::writers::{WRITERS, line, prepare, refuse_early};
use super::{command, epoch_of};
use crate::cli::{devices, refuse, succeed_quietly};
use crate::common;
use std::path::Path;

#[test]
fn what_can_be_known_beforehand_is_refused_before_the_work() {
    let guard = prepare();
    let folder = guard.path();
    std::fs::create_dir(folder.join("inner")).unwrap();
    std::fs::write(folder.join("file"), "a file").unwrap();
    let long = "n".repeat(303);
    for writer in &WRITERS {
        for index in 0..writer.outputs.len() {
            for (path, why) in [
                ("none/new", "there is no folder none"),
                ("inner", "is a folder"),
                ("inner/", "is a folder"),
                ("new/", "folder"),
                (".", "is a folder"),
                ("file/new", "Not a directory"),
                (&long, "too long"),
            ] {
                let error = refuse_early(folder, writer, &line(writer, index, path), 1);
                assert!(cfg!(not(target_os = "linux")) || error.contains(why), "{path}: {error}");
            }
        }
        // Control: without a fault in its outputs, the missing device is reported.
        if !writer.line.starts_with("convert") {
            let line = format!("{} --device no-such-adapter", line(writer, 0, "new"));
            let error = refuse(folder, &line, 1);
            assert!(error.contains("no-such-adapter") || error.contains("no GPU"), "{error}");
        }
    }
    for out in ["file", "file/o"] {
        refuse(
            folder,
            &format!("study ladder --data d.csv --device no-such-adapter --out {out}"),
            1,
        );
    }
    std::fs::create_dir_all(folder.join("s/ladder-1.svg")).unwrap();
    let error = refuse(folder, "study ladder --data d.csv --device no-such-adapter --out s", 1);
    assert!(error.contains("ladder-1.svg: is a folder"), "{error}");
}

#[test]
fn a_file_has_one_output_and_the_model_and_the_data_stay() {
    use std::os::unix::fs::symlink;
    let guard = prepare();
    let folder = guard.path();
    std::fs::create_dir(folder.join("inner")).unwrap();
    symlink(".", folder.join("here")).unwrap();
    symlink("o1", folder.join("to-o1")).unwrap();
    for there in [false, true] {
        for writer in &WRITERS {
            // The second output under another name is the first.
            if writer.outputs.len() > 1 {
                for name in ["o1", "./o1", "inner/../o1", "here/o1", "to-o1"] {
                    let error = refuse_early(folder, writer, &line(writer, 0, name), 2);
                    assert!(error.contains("both name"), "{error}");
                    let flags = &writer.outputs[..2];
                    assert!(flags.iter().all(|flag| error.contains(flag)), "{error}");
                }
            }
            for kept in writer.kept {
                let hard = format!("hard-{kept}");
                let _ = std::fs::hard_link(folder.join(kept), folder.join(&hard));
                for name in [kept, &*format!("here/{kept}"), &*hard] {
                    for index in 0..writer.outputs.len() {
                        let error = refuse_early(folder, writer, &line(writer, index, name), 2);
                        assert!(error.contains("would replace the file that --"), "{error}");
                    }
                }
                std::fs::remove_file(folder.join(hard)).unwrap();
            }
        }
        if !there {
            std::fs::write(folder.join("o1"), "old").unwrap();
        }
    }
    // The files of a folder of data are data, too.
    std::fs::create_dir(folder.join("idx")).unwrap();
    for name in ["train-images-idx3-ubyte", "t10k-labels.idx1-ubyte.gz"] {
        std::fs::write(folder.join("idx").join(name), "data").unwrap();
        let error = refuse(folder, &format!("train --data idx --save idx/{name}"), 2);
        assert!(error.contains("would replace the file that --data reads"), "{error}");
    }
    // These may be replaced: an array by its own result, a network by the one that goes on from it.
    succeed_quietly(folder, "dropout --device cpu --input g.npy --output g.npy --drop .5");
    succeed_quietly(folder, "train --device cpu --data d.csv --resume net --epochs 2 --save net");
    assert_eq!(epoch_of(&folder.join("net")), 2);
    succeed_quietly(
        folder,
        "dropout --device cpu --input x.npy --output /dev/null --mask-output /dev/null --drop .5",
    );
}

#[test]
fn a_later_output_that_fails_leaves_the_earlier_ones_as_they_were() {
    if !Path::new("/dev/full").exists() {
        return common::skipped("there is no /dev/full");
    }
    let guard = prepare();
    let folder = guard.path();
    for device in devices() {
        for writer in WRITERS.iter().filter(|writer| writer.outputs.len() > 1) {
            for index in 0..writer.outputs.len() {
                for other in (0..writer.outputs.len()).filter(|other| *other != index) {
                    std::fs::write(folder.join(format!("o{other}")), "old").unwrap();
                }
                let line = format!("{} --device {device}", line(writer, index, "/dev/full"));
                let error = refuse(folder, &line, 1);
                assert!(error.contains("/dev/full: "), "{error}");
            }
        }
        // The input itself, as an output that is written first.
        for line in [
            "dropout --input x.npy --output x.npy --mask-output /dev/full --drop .5",
            "linear --input x.npy --weight w.npy --output x.npy --mask-output /dev/full --drop .5",
            "dropout --input x.npy --output x.npy --mask-output none/m --drop .5",
        ] {
            refuse(folder, &format!("{line} --device {device}"), 1);
        }
    }
}

#[test]
fn a_link_s_target_is_replaced_and_not_the_link() {
    let guard = prepare();
    let folder = guard.path();
    std::fs::create_dir(folder.join("inner")).unwrap();
    for there in [false, true] {
        for writer in &WRITERS[..6] {
            for index in 0..writer.outputs.len() {
                let (target, link) = (folder.join("inner/target"), folder.join("link"));
                let _ = (std::fs::remove_file(&target), std::fs::remove_file(&link));
                if there {
                    std::fs::write(&target, "old").unwrap();
                }
                std::os::unix::fs::symlink("inner/target", &link).unwrap();
                let line = format!("{} --device cpu", line(writer, index, "link"));
                succeed_quietly(folder, &line);
                assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink(), "{line}");
                assert!(std::fs::read(&target).unwrap().len() > 50, "{line}");
            }
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_need_not_be_utf_8_and_another_argument_that_is_not_is_named() {
    use std::ffi::{OsStr, OsString};
    use std::os::unix::ffi::OsStrExt;
    let guard = prepare();
    let folder = guard.path();
    let name = |end: &str| -> OsString {
        OsStr::from_bytes(&[b"\xff\xfe", end.as_bytes()].concat()).to_owned()
    };
    std::fs::copy(folder.join("d.csv"), folder.join(name(".csv"))).unwrap();
    std::fs::copy(folder.join("x.npy"), folder.join(name(".npy"))).unwrap();
    let run = |line: &str, more: &[(&str, OsString)]| {
        let mut command = command(folder, line);
        more.iter().for_each(|(option, value)| {
            command.arg(option).arg(value);
        });
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let cpu = |line: &str| format!("{line} --device cpu");
    for (line, names) in [
        ("train --hidden 4 --epochs 1", &[("--data", ".csv"), ("--save", "net")][..]),
        ("train --epochs 2", &[("--data", ".csv"), ("--resume", "net"), ("--save", "net")]),
        ("predict", &[("--data", ".npy"), ("--model", "net"), ("--output", "p")]),
        ("convert --to pytorch", &[("--input", "net"), ("--output", "t")]),
        ("dropout --drop .5", &[("--input", ".npy"), ("--output", "y"), ("--mask-output", "m")]),
        ("mask --rows 2 --cols 2 --drop .5", &[("--output", "m")]),
        ("bench --quick --only dropout --elements 1024", &[("--html", "b")]),
        ("train --json --hidden 4 --epochs 1", &[("--data", ".csv"), ("--save", "net")]),
    ] {
        let names: Vec<_> = names.iter().map(|(option, end)| (*option, name(end))).collect();
        assert_eq!(run(&cpu(line), &names), (Some(0), String::new()), "{line}");
        for (option, name) in names.iter().filter(|(option, _)| *option != "--data") {
            assert!(folder.join(name).exists(), "{line} {option}");
        }
    }
    let data = ("--data", name(".csv"));
    for option in ["--hidden", "--device", "--mode", "--epochs", "--schedule"] {
        let (status, error) = run("train", &[data.clone(), (option, name("x"))]);
        assert_eq!(status, Some(2), "{error}");
        assert!(error.contains(option) && error.contains("UTF-8"), "{error}");
        assert!(!error.contains("--data"), "{error}");
    }
    let (status, error) = run("mask", &[("--rows=2", name("x"))]);
    assert_eq!(status, Some(2), "{error}");
}
